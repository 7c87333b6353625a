#include "generation.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A text that is set, or NULL. */
static const char *given(const generation *self, int which) {
  return self->texts[which] && *self->texts[which] ? self->texts[which] : NULL;
}

static ft_status prepare(generation *self, model *of, char *const texts[TEXT_COUNT], char *message) {
  ft_model_info info = {.struct_size = sizeof info};
  ft_status status = ft_request_init(&self->request, sizeof self->request);
  for (int i = 0; i < TEXT_COUNT; i++) {
    if (!texts[i]) continue;
    self->texts[i] = malloc(strlen(texts[i]) + 1);
    if (!self->texts[i]) {
      snprintf(message, MESSAGE_SIZE, "no memory for a request");
      return FT_ERROR_OUT_OF_MEMORY;
    }
    strcpy(self->texts[i], texts[i]);
  }
  if (status == FT_OK) status = ft_session_new(of->handle, &self->session);
  if (status == FT_OK) status = ft_cancel_token_new(&self->token);
  if (status == FT_OK) status = ft_model_get_info(of->handle, &info);
  if (status == FT_OK && given(self, TEXT_CLASS_LABEL)) {
    status = ft_model_find_class(of->handle, given(self, TEXT_CLASS_LABEL), &self->class_number);
    self->request.classes = &self->class_number;
  }
  if (status != FT_OK) message_of_library(message);
  self->request.cancel = self->token;
  self->request.schedule = given(self, TEXT_SCHEDULE);
  self->request.preset = given(self, TEXT_PRESET);
  self->request.negative_prompt = given(self, TEXT_NEGATIVE_PROMPT);
  self->width = info.width;
  self->height = info.height;
  return status;
}

generation *generation_new(model *of, char *const texts[TEXT_COUNT], char *message) {
  generation *self = calloc(1, sizeof *self);
  if (!self) {
    snprintf(message, MESSAGE_SIZE, "no memory for a generation");
    return NULL;
  }
  if (prepare(self, of, texts, message) == FT_OK) return self;
  generation_free(self);
  return NULL;
}

bool generation_step(generation *self, uint64_t microseconds) {
  const char *prompt = given(self, TEXT_PROMPT);
  uint8_t done = 0;
  uint32_t step, steps;
  if (!self->begun) {
    if (prompt) self->request.prompts = &prompt, self->request.prompt_count = 1;
    self->status = ft_session_begin(self->session, &self->request);
    self->request.prompts = NULL;
    self->begun = true;
  }
  if (self->status == FT_OK) self->status = ft_session_step(self->session, microseconds, &done);
  if (self->status != FT_OK) {
    message_of_library(self->message);
    return true;
  }
  if (ft_session_get_steps(self->session, &step, &steps) == FT_OK) {
    atomic_store(&self->steps, steps);
    atomic_store(&self->step, step);
  }
  return done != 0;
}

void generation_free(generation *self) {
  if (!self) return;
  ft_session_free(self->session);
  ft_cancel_token_free(self->token);
  for (int i = 0; i < TEXT_COUNT; i++) free(self->texts[i]);
  free(self);
}
