/* A generation under way: all that it needs is its own, so that it may be carried out on another thread. */
#ifndef GENERATION_H
#define GENERATION_H

#include "model.h"
#include <stdatomic.h>

enum { TEXT_CLASS_LABEL, TEXT_PROMPT, TEXT_NEGATIVE_PROMPT, TEXT_SCHEDULE, TEXT_PRESET, TEXT_COUNT };

typedef struct generation {
  ft_session *session;
  ft_cancel_token *token;
  ft_request request;
  int64_t class_number;
  char *texts[TEXT_COUNT];
  bool begun;
  uint32_t width, height;
  /* Looked at from the thread of the frames while another one works. */
  atomic_uint step, steps;
  /* FT_OK as long as nothing failed; with a message. For the thread of the frames once the work has ended. */
  ft_status status;
  char message[MESSAGE_SIZE];
} generation;

/* Makes a generation of `model`, which is open; the caller fills its request in, and its texts are copied. NULL with a
 * message. */
generation *generation_new(model *of, char *const texts[TEXT_COUNT], char *message);
/* Works for about so long, as ft_session_step; true once it has ended, by whatever. */
bool generation_step(generation *self, uint64_t microseconds);
void generation_free(generation *self);

#endif
