/* A generation in small pieces is the same as in one. Argument: a bundle. */
#include "check.h"

#include <time.h>

static uint8_t whole[MAX_IMAGE], pieces[MAX_IMAGE], early[MAX_IMAGE];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static int32_t count_steps(void *user_data, const ft_progress *progress) {
  if (!progress->decoded) ++*(int *)user_data;
  return 0;
}

int main(int count, char **arguments) {
  const int64_t wanted = 1;
  ft_model *model = open_model(given(count, arguments), 1);
  ft_session *session = new_session(model);
  ft_request request = request_for(&wanted, "H1P2R2");
  ft_pixels pixels = pixels_of(whole, IMAGE);
  OK(ft_session_generate(session, &request, &pixels));

  static const uint64_t BUDGETS[] = {FT_WHOLE_STEP, 0, 1000, 1000000000, FT_WHOLE_STEP - 1};
  for (size_t b = 0; b < sizeof BUDGETS / sizeof *BUDGETS; b++) {
    int steps = 0, calls = 0;
    uint8_t done = 0;
    request.progress = count_steps;
    request.progress_data = &steps;
    OK(ft_session_begin(session, &request));
    double longest = 0;
    while (!done) {
      double started = now();
      OK(ft_session_step(session, BUDGETS[b], &done));
      double took = now() - started;
      if (took > longest) longest = took;
      calls++;
      if (calls == 2 && !done) {
        /* Looking does not disturb. */
        pixels = pixels_of(early, IMAGE);
        OK(ft_session_preview(session, FT_PREVIEW_DECODED, &pixels));
        pixels = pixels_of(early, LATENT_WIDTH * LATENT_HEIGHT * 3);
        OK(ft_session_preview(session, FT_PREVIEW_LINEAR, &pixels));
      }
    }
    printf("budget %llu us: %d calls, the longest %.2f ms\n", (unsigned long long)BUDGETS[b], calls, longest);
    uint32_t made = 0, all = 0;
    OK(ft_session_get_steps(session, &made, &all));
    CHECK(steps == 5 && made == 5 && all == 5);
    CHECK(b == 0 ? calls == 6 : b >= 3 ? calls == 1 : b == 1 ? calls > 100 : calls > 0);
    memset(pieces, 0, IMAGE);
    pixels = pixels_of(pieces, IMAGE);
    OK(ft_session_finish(session, &pixels));
    CHECK(!memcmp(whole, pieces, IMAGE));
    OK(ft_session_step(session, FT_WHOLE_STEP, &done));
    CHECK(done);
  }

  /* Half-way through the decoder: what is decoded meanwhile, and the next generation, do not mix with it. */
  uint8_t done = 0;
  static float latents[MAX_LATENT];
  static uint8_t other[MAX_IMAGE];
  request.progress = NULL;
  request.seed = 3;
  pixels = pixels_of(other, IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  OK(ft_session_get_latents(session, latents, LATENT));
  request.seed = 0;
  OK(ft_session_begin(session, &request));
  for (uint32_t made = 0, all = 1; made < all;) {
    OK(ft_session_step(session, FT_WHOLE_STEP, &done));
    OK(ft_session_get_steps(session, &made, &all));
  }
  int looks = 0;
  while (!done) {
    OK(ft_session_step(session, 0, &done));
    pixels = pixels_of(early, IMAGE);
    if (looks++ % 5 == 0) OK(ft_session_preview(session, FT_PREVIEW_DECODED, &pixels));
    if (looks % 5 == 1) OK(ft_session_decode(session, latents, LATENT, &pixels));
    CHECK(looks < 1000);
  }
  pixels = pixels_of(pieces, IMAGE);
  OK(ft_session_finish(session, &pixels));
  CHECK(!memcmp(whole, pieces, IMAGE) && !memcmp(early, other, IMAGE));
  for (int i = 0; i < 3; i++) {
    request.seed = 3;
    OK(ft_session_begin(session, &request));
    for (uint32_t made = 0, all = 1; made < all;) {
      OK(ft_session_step(session, FT_WHOLE_STEP, &done));
      OK(ft_session_get_steps(session, &made, &all));
    }
    for (int part = 0; part < 3; part++) OK(ft_session_step(session, 0, &done));
    CHECK(!done);
    request.seed = 0;
    memset(pieces, 0, IMAGE);
    if (i == 0) OK(ft_session_generate(session, &request, &pixels));
    if (i == 1) OK(ft_session_prepare(session, &request));
    if (i > 0) OK(ft_session_begin(session, &request));
    if (i > 0) OK(ft_session_finish(session, &pixels));
    CHECK(!memcmp(whole, pieces, IMAGE));
  }
  OK(ft_session_reset(session));
  FAILS(ft_session_finish(session, &pixels), FT_ERROR_INVALID_ARGUMENT, "no generation was begun");

  /* Finishing early does the rest; another begin gives the first up. */
  OK(ft_session_begin(session, &request));
  OK(ft_session_step(session, 1, &done));
  request.seed = 3;
  OK(ft_session_begin(session, &request));
  OK(ft_session_step(session, 500, &done));
  request.seed = 0;
  OK(ft_session_begin(session, &request));
  OK(ft_session_step(session, 1, &done));
  memset(pieces, 0, IMAGE);
  OK(ft_session_finish(session, &pixels));
  CHECK(!memcmp(whole, pieces, IMAGE));
  OK(ft_session_get_latents(session, latents, LATENT));

  /* Latents alone. */
  request.output = FT_OUTPUT_LATENTS;
  OK(ft_session_begin(session, &request));
  FAILS(ft_session_get_latents(session, latents, LATENT), FT_ERROR_INVALID_ARGUMENT, "has steps left");
  OK(ft_session_step(session, 1000000000, &done));
  CHECK(done);
  FAILS(ft_session_finish(session, &pixels), FT_ERROR_INVALID_ARGUMENT, "latents alone");
  ft_session_free(session);
  ft_model_free(model);
  return 0;
}
