/* A game loop of 60 frames a second that makes textures on the side: each frame gives the library a few milliseconds,
 * on the frame's own thread, and none is late for it.
 *
 * cc step_in_loop.c $(pkg-config --cflags --libs flowturbo) && ./a.out models/textures out.png */
#define _POSIX_C_SOURCE 200809L /* for clocks, in strict C too */

#include <flowturbo.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BUDGET = 4000, FRAME = 16667, TEXTURES = 6, EDGE = 128 };

static unsigned char texture[EDGE * EDGE * 4];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void check(ft_status status) {
  if (status == FT_OK) return;
  fprintf(stderr, "%s: %s\n", ft_status_name(status), ft_last_error_message());
  exit(1);
}

/* Where a game would draw: the rest of the frame. */
static void end_frame(double started) {
  double left = FRAME - (now() - started);
  if (left <= 0) return;
  const struct timespec rest = {0, (long)(left * 1e3)};
  nanosleep(&rest, NULL);
}

int main(int count, char **arguments) {
  if (count != 3) return fprintf(stderr, "usage: step_in_loop BUNDLE OUT.png\n"), 2;
  ft_model *model = NULL;
  ft_session *session = NULL;
  ft_request request;
  ft_pixels pixels;
  int64_t class_number = 0;
  check(ft_model_open(arguments[1], NULL, &model));
  check(ft_session_new(model, &session));
  check(ft_request_init(&request, sizeof request));
  request.classes = &class_number;
  check(ft_pixels_init(&pixels, sizeof pixels));
  pixels.format = FT_PIXEL_RGBA8;
  pixels.data = texture;
  pixels.size = sizeof texture;

  /* On the loading screen. */
  for (class_number = 0; class_number < TEXTURES; class_number++) check(ft_session_prepare(session, &request));

  int frames = 0, late = 0;
  double longest = 0, spent = 0;
  for (class_number = 0; class_number < TEXTURES; class_number++) {
    uint8_t done = 0;
    request.seed = (uint64_t)class_number;
    check(ft_session_begin(session, &request));
    while (!done) {
      double frame = now();
      check(ft_session_step(session, BUDGET, &done));
      if (done) check(ft_session_finish(session, &pixels));
      double took = now() - frame;
      if (took > longest) longest = took;
      if (took > FRAME) late++;
      spent += took;
      frames++;
      end_frame(frame);
    }
  }
  printf("%d textures in %d frames; %.1f ms of each on the mean, %.1f ms at most, %d frames late\n", TEXTURES, frames,
         spent / frames / 1e3, longest / 1e3, late);
  check(ft_pixels_save_png(&pixels, EDGE, EDGE, arguments[2]));
  ft_session_free(session);
  ft_model_free(model);
  return 0;
}
