/* Contexts: what a model says of them, one for all images or one for each, what guidance goes away from, refusals.
 * Arguments: a bundle that takes contexts [N, 12], and one that takes none. */
#include "latents.h"

enum { FLOATS = 12 };
static float contexts[2 * FLOATS], zeros[2 * FLOATS];

static void are_taken(ft_session *session) {
  ft_request request = asked(CLASSES);
  sample(session, &request, latents[0]);
  /* No context is one of zeros, for all images or for each. */
  request.context = zeros;
  request.context_count = FLOATS;
  sample(session, &request, latents[1]);
  CHECK(same(latents[0], latents[1]));
  request.context_count = 2 * FLOATS;
  request.context_rows = 2;
  request.negative_context = zeros;
  request.negative_context_count = FLOATS;
  sample(session, &request, latents[1]);
  CHECK(same(latents[0], latents[1]));

  /* Contexts make other images, and so do those that guidance goes away from. The program's may change behind the
   * call: they were copied. */
  request.context = contexts;
  sample(session, &request, latents[1]);
  CHECK(!same(latents[0], latents[1]));
  OK(ft_session_begin(session, &request));
  const float first = contexts[0];
  contexts[0] = 100;
  uint8_t done = 0;
  while (!done) OK(ft_session_step(session, FT_WHOLE_STEP, &done));
  contexts[0] = first;
  OK(ft_session_get_latents(session, latents[2], 2 * LATENT));
  CHECK(same(latents[1], latents[2]));
  request.negative_context = contexts;
  sample(session, &request, latents[2]);
  CHECK(!same(latents[1], latents[2]));
  request.negative_context_count = 2 * FLOATS;
  request.negative_context_rows = 2;
  sample(session, &request, latents[1]);
  CHECK(!same(latents[1], latents[2]));

  /* One for all is not one for each. */
  request.negative_context = NULL;
  request.negative_context_count = request.negative_context_rows = 0;
  request.context_count = FLOATS;
  request.context_rows = 1;
  sample(session, &request, latents[2]);
  CHECK(!same(latents[1], latents[2]));

  /* A request without is what it was. */
  request = asked(CLASSES);
  sample(session, &request, latents[1]);
  CHECK(same(latents[0], latents[1]));
}

/* Without classes an image is of no class. */
static void are_enough(ft_session *session, int64_t null_class) {
  const int64_t none[2] = {null_class, null_class};
  ft_request request = asked(CLASSES);
  request.context = contexts;
  request.context_count = FLOATS;
  request.classes = none;
  sample(session, &request, latents[0]);
  request.classes = NULL;
  sample(session, &request, latents[1]);
  CHECK(same(latents[0], latents[1]));
  request.context_count = 2 * FLOATS;
  request.context_rows = 2;
  sample(session, &request, latents[1]);
  CHECK(!same(latents[0], latents[1]));
}

static void are_refused(ft_session *session) {
  ft_request request = asked(CLASSES);
  request.context = contexts;
  request.context_count = FLOATS - 1;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT,
        "request.context_count: 11 floats, 1 of [12] take 12");
  request.context_count = 2 * FLOATS;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "24 floats, 1 of [12] take 12");
  request.context_rows = SIZE_MAX;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "take more than there can be");
  const float three[3 * FLOATS] = {0};
  request.context = three;
  request.context_count = 3 * FLOATS;
  request.context_rows = 3;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT,
        "context: shape [3, 12], must be [2, 12], or [1, 12] for all");
  request.context = NULL;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.context is NULL, its size is 36");
  request.context_count = request.context_rows = 0;
  request.negative_context = contexts;
  request.negative_context_count = 5;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.negative_context_count: 5 floats");
  float endless[FLOATS] = {0};
  const uint32_t infinity = 0x7f800000u;
  memcpy(&endless[FLOATS - 1], &infinity, sizeof infinity);
  request.negative_context = endless;
  request.negative_context_count = FLOATS;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_NON_FINITE,
        "negative context: holds a number that is not finite");
  CHECK(!strchr(ft_last_error_message(), '\n'));
}

int main(int count, char **arguments) {
  const char *bundle = given(count, arguments);
  CHECK(count == 3);
  for (size_t i = 0; i < 2 * FLOATS; i++) contexts[i] = (float)(i % 7) / 3 - 1;
  ft_model *model = open_model(bundle, 1);
  ft_model_info info;
  info.struct_size = sizeof info;
  OK(ft_model_get_info(model, &info));
  CHECK(info.context_width == FLOATS && info.context_tokens == 0);
  ft_session *session = new_session(model);
  are_taken(session);
  are_enough(session, info.null_class);
  are_refused(session);
  ft_session_free(session);
  ft_model_free(model);

  model = open_model(arguments[2], 1);
  OK(ft_model_get_info(model, &info));
  CHECK(info.context_width == 0 && info.context_tokens == 0);
  session = new_session(model);
  const int64_t classes[2] = {0, 1};
  ft_request request = asked(CLASSES);
  request.classes = classes;
  request.context = contexts;
  request.context_count = FLOATS;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT,
        "request.context: this model takes no contexts");
  request.context = NULL;
  request.context_count = 0;
  request.negative_context = contexts;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT,
        "request.negative_context: this model takes no contexts");
  request.negative_context = NULL;
  request.negative_context_count = 0;
  OK(ft_session_prepare(session, &request));
  ft_session_free(session);
  ft_model_free(model);
  puts("ok");
  return 0;
}
