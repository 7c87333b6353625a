/* A generation in small pieces is the same as in one. */
#include "check.h"

#include <time.h>

static uint8_t whole[PICTURE], pieces[PICTURE], early[PICTURE];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static int32_t count_steps(void *user_data, const ft_progress *progress) {
  (void)progress;
  ++*(int *)user_data;
  return 0;
}

int main(void) {
  const int64_t wood = 10;
  ft_model *model = open_model(TEXTURES, 1);
  ft_session *session = new_session(model);
  ft_request request = request_for(&wood, "H1P2R2");
  ft_pixels pixels = pixels_of(whole, sizeof whole);
  OK(ft_session_generate(session, &request, &pixels));

  static const uint64_t BUDGETS[] = {0, 1, 1000, 1000000000, UINT64_MAX};
  for (size_t b = 0; b < sizeof BUDGETS / sizeof *BUDGETS; b++) {
    int steps = 0, calls = 0;
    bool done = false;
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
        pixels = pixels_of(early, sizeof early);
        OK(ft_session_preview(session, FT_PREVIEW_DECODED, &pixels));
        pixels = pixels_of(early, 16 * 16 * 3);
        OK(ft_session_preview(session, FT_PREVIEW_LINEAR, &pixels));
      }
    }
    printf("budget %llu us: %d calls, the longest %.2f ms\n", (unsigned long long)BUDGETS[b], calls, longest);
    CHECK(steps == 5);
    CHECK(b == 0 ? calls == 6 : b >= 3 ? calls == 1 : calls > 5);
    memset(pieces, 0, sizeof pieces);
    pixels = pixels_of(pieces, sizeof pieces);
    OK(ft_session_finish(session, &pixels));
    CHECK(!memcmp(whole, pieces, sizeof whole));
    OK(ft_session_step(session, 0, &done));
    CHECK(done);
  }

  /* Finishing early does the rest; another begin gives the first up. */
  bool done;
  request.progress = NULL;
  OK(ft_session_begin(session, &request));
  OK(ft_session_step(session, 1, &done));
  request.seed = 3;
  OK(ft_session_begin(session, &request));
  OK(ft_session_step(session, 500, &done));
  request.seed = 0;
  OK(ft_session_begin(session, &request));
  OK(ft_session_step(session, 1, &done));
  memset(pieces, 0, sizeof pieces);
  OK(ft_session_finish(session, &pixels));
  CHECK(!memcmp(whole, pieces, sizeof whole));
  static float latents[LATENT];
  OK(ft_session_get_latents(session, latents, LATENT));

  /* Latents alone. */
  request.output = FT_OUTPUT_LATENTS;
  OK(ft_session_begin(session, &request));
  FAILS(ft_session_get_latents(session, latents, LATENT), FT_ERROR_INVALID_ARGUMENT, "has steps left");
  OK(ft_session_step(session, UINT64_MAX, &done));
  CHECK(done);
  FAILS(ft_session_finish(session, &pixels), FT_ERROR_INVALID_ARGUMENT, "latents alone");
  ft_session_free(session);
  ft_model_free(model);
  return 0;
}
