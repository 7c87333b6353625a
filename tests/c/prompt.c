/* Prompts: one for all images or one for each, without a class, what guidance goes away from, refusals.
 * Arguments: a bundle with a text encoder, and one without. */
#include "latents.h"

static const char *const PROMPTS[2] = {"mossy stone wall", "\xe6\x9c\xa8\xe3\x81\xae\xe5\xba\x8a"};

static void are_taken(ft_session *session, int64_t null_class) {
  ft_request request = asked(CLASSES);
  sample(session, &request, latents[0]);
  request.prompts = PROMPTS;
  request.prompt_count = 1;
  sample(session, &request, latents[1]);
  CHECK(!same(latents[0], latents[1]));
  const char *const twice[2] = {PROMPTS[0], PROMPTS[0]};
  request.prompts = twice;
  request.prompt_count = 2;
  sample(session, &request, latents[2]);
  CHECK(same(latents[1], latents[2]));
  request.prompts = PROMPTS;
  sample(session, &request, latents[2]);
  CHECK(!same(latents[1], latents[2]));
  request.negative_prompt = "cracked paint";
  sample(session, &request, latents[1]);
  CHECK(!same(latents[1], latents[2]));

  /* Without classes: the one that stands for none. The program's texts may change behind the call. */
  const int64_t none[2] = {null_class, null_class};
  request = asked(none);
  request.prompts = PROMPTS;
  request.prompt_count = 2;
  sample(session, &request, latents[0]);
  char first[32];
  strcpy(first, PROMPTS[0]);
  const char *const own[2] = {first, PROMPTS[1]};
  request.classes = NULL;
  request.prompts = own;
  OK(ft_session_begin(session, &request));
  strcpy(first, "lava");
  uint8_t done = 0;
  while (!done) OK(ft_session_step(session, FT_WHOLE_STEP, &done));
  OK(ft_session_get_latents(session, latents[1], 2 * LATENT));
  CHECK(same(latents[0], latents[1]));
  request.prompt_count = 1;
  sample(session, &request, latents[1]);
  CHECK(!same(latents[0], latents[1]));

  /* A request without is what it was. */
  request = asked(CLASSES);
  sample(session, &request, latents[0]);
  request.prompts = PROMPTS;
  sample(session, &request, latents[1]);
  CHECK(same(latents[0], latents[1]));
}

static void are_refused(ft_session *session) {
  ft_request request = asked(CLASSES);
  const char *const bad[2] = {"moss", "m\xff" "ss"};
  request.prompts = bad;
  request.prompt_count = 2;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.prompts is not UTF-8");
  const char *const missing[2] = {"moss", NULL};
  request.prompts = missing;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.prompts is NULL");
  request.prompt_count = 3;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT,
        "request.prompt_count: 3 for 2 images; give one for all, or one for each");
  request.prompts = NULL;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.prompts is NULL, its size is 3");
  request.prompt_count = 0;
  request.negative_prompt = "\xc3(";
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.negative_prompt is not UTF-8");
  request.negative_prompt = NULL;
  request.classes = NULL;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.classes is NULL");
  request.classes = CLASSES;
  request.reserved_end = 1;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "reserved");
  CHECK(!strchr(ft_last_error_message(), '\n'));
}

static void are_held_to_limits(const char *bundle) {
  ft_limits limits;
  ft_model_options options;
  ft_model *model = NULL;
  OK(ft_limits_init(&limits, sizeof limits));
  CHECK(limits.max_prompt_bytes == 65536);
  limits.max_prompt_bytes = 3;
  OK(ft_model_options_init(&options, sizeof options));
  options.limits = &limits;
  OK(ft_model_open(bundle, &options, &model));
  ft_session *session = new_session(model);
  ft_request request = asked(CLASSES);
  request.prompts = PROMPTS;
  request.prompt_count = 1;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_LIMIT_EXCEEDED,
        "prompt: 16 bytes, above the limit of 3 (max_prompt_bytes)");
  ft_session_free(session);
  ft_model_free(model);
  limits.max_tokenizer_bytes = 9;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_LIMIT_EXCEEDED, "above the limit of 9 (max_tokenizer_bytes)");
}

int main(int count, char **arguments) {
  const char *bundle = given(count, arguments);
  CHECK(count == 3);
  ft_model *model = open_model(bundle, 1);
  ft_model_info info;
  info.struct_size = sizeof info;
  OK(ft_model_get_info(model, &info));
  CHECK(info.networks & FT_NETWORK_TEXT);
  ft_session *session = new_session(model);
  are_taken(session, info.null_class);
  are_refused(session);
  are_held_to_limits(bundle);
  ft_session_free(session);
  ft_model_free(model);

  model = open_model(arguments[2], 1);
  OK(ft_model_get_info(model, &info));
  CHECK(!(info.networks & FT_NETWORK_TEXT));
  session = new_session(model);
  ft_request request = asked(CLASSES);
  request.prompts = PROMPTS;
  request.prompt_count = 1;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT,
        "prompt: this bundle has no text encoder (networks.text in bundle.json); leave it out");
  ft_session_free(session);
  ft_model_free(model);
  puts("ok");
  return 0;
}
