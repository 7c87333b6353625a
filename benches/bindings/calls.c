/* A generation for each line that comes in: its seconds and the Adler-32 of its pixels. See measure.py. */
#define _POSIX_C_SOURCE 199309L
#include <flowturbo.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static unsigned long adler32(const unsigned char *bytes, size_t size) {
  unsigned long low = 1, high = 0;
  for (size_t i = 0; i < size; i++) {
    low = (low + bytes[i]) % 65521;
    high = (high + low) % 65521;
  }
  return high << 16 | low;
}

int main(int count, char **arguments) {
  if (count != 4) return fprintf(stderr, "usage: calls MODEL SCHEDULE THREADS\n"), 2;
  ft_model *model = NULL;
  ft_session *session = NULL;
  ft_model_options options;
  ft_model_info info = {.struct_size = sizeof info};
  ft_request request;
  ft_pixels pixels;
  int64_t class_number = 0;
  char line[8];
  ft_model_options_init(&options, sizeof options);
  options.threads = (uint32_t)atoi(arguments[3]);
  ft_request_init(&request, sizeof request);
  request.classes = &class_number, request.seed = 7, request.schedule = arguments[2];
  ft_pixels_init(&pixels, sizeof pixels);
  if (ft_model_open(arguments[1], &options, &model) || ft_model_get_info(model, &info) ||
      ft_session_new(model, &session))
    return fprintf(stderr, "%s\n", ft_last_error_message()), 1;
  pixels.size = (size_t)info.width * info.height * 3;
  pixels.data = malloc(pixels.size);
  while (fgets(line, sizeof line, stdin)) {
    double begun = now();
    if (ft_session_generate(session, &request, &pixels))
      return fprintf(stderr, "%s\n", ft_last_error_message()), 1;
    double took = now() - begun;
    printf("%.9f %lu\n", took, adler32(pixels.data, pixels.size));
    fflush(stdout);
  }
  free(pixels.data);
  ft_session_free(session);
  ft_model_free(model);
  return 0;
}
