/* What the C tests are written with. A check that fails says where, and ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flowturbo.h"

/* The sizes of the bundle that a program is given, in pixels, bytes of RGB and floats. */
static size_t WIDTH, HEIGHT, IMAGE, LATENT, LATENT_WIDTH, LATENT_HEIGHT;
/* At most, for arrays. */
enum { MAX_IMAGE = 128 * 128 * 3, MAX_LATENT = 4 * 32 * 32 };

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: %s does not hold; last error: %s\n", __FILE__,    \
              __LINE__, #condition, ft_last_error_message());                   \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

#define STATUS(call, wanted)                                                    \
  do {                                                                          \
    ft_status found_ = (call);                                                  \
    if (found_ != (wanted)) {                                                   \
      fprintf(stderr, "%s:%d: %s is %s, not %s; last error: %s\n", __FILE__,    \
              __LINE__, #call, ft_status_name(found_), ft_status_name(wanted),  \
              ft_last_error_message());                                         \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

#define OK(call) STATUS(call, FT_OK)

/* The call fails so, and its message names this. */
#define FAILS(call, wanted, part)                                               \
  do {                                                                          \
    STATUS(call, wanted);                                                       \
    if (!strstr(ft_last_error_message(), part)) {                               \
      fprintf(stderr, "%s:%d: %s: '%s' says nothing of '%s'\n", __FILE__,       \
              __LINE__, #call, ft_last_error_message(), part);                  \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

static inline ft_model *open_model(const char *path, uint32_t threads) {
  ft_model_options options;
  ft_model *model = NULL;
  OK(ft_model_options_init(&options, sizeof options));
  options.threads = threads;
  OK(ft_model_open(path, &options, &model));
  return model;
}

/* The bundle in the first argument. */
static inline const char *given(int count, char **arguments) {
  ft_model_info info;
  CHECK(count > 1);
  ft_model *model = open_model(arguments[1], 1);
  info.struct_size = sizeof info;
  OK(ft_model_get_info(model, &info));
  WIDTH = info.width, HEIGHT = info.height, IMAGE = WIDTH * HEIGHT * 3;
  LATENT_WIDTH = info.latent_width, LATENT_HEIGHT = info.latent_height;
  LATENT = info.latent_channels * LATENT_HEIGHT * LATENT_WIDTH;
  CHECK(IMAGE <= MAX_IMAGE && LATENT <= MAX_LATENT);
  ft_model_free(model);
  return arguments[1];
}

/* A part of a message, with sizes in it. */
static inline const char *part(const char *format, size_t a, size_t b) {
  static char text[2][128];
  static int turn;
  turn = !turn;
  snprintf(text[turn], sizeof *text, format, a, b);
  return text[turn];
}

static inline ft_session *new_session(const ft_model *model) {
  ft_session *session = NULL;
  OK(ft_session_new(model, &session));
  return session;
}

/* A request of one image; the class stays where it is pointed at. */
static inline ft_request request_for(const int64_t *class_number, const char *schedule) {
  ft_request request;
  OK(ft_request_init(&request, sizeof request));
  request.classes = class_number;
  request.schedule = schedule;
  return request;
}

static inline ft_pixels pixels_of(void *data, size_t size) {
  ft_pixels pixels;
  OK(ft_pixels_init(&pixels, sizeof pixels));
  pixels.data = data;
  pixels.size = size;
  return pixels;
}

#endif
