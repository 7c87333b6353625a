/* A system that refuses threads (Linux: RLIMIT_NPROC, which root is exempt from). Arguments: a bundle as a folder, and
 * as a zip file. */
#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

static int warnings;

static void hears(void *data, ft_log_level level, const char *target, const char *message) {
  CHECK(!data && target);
  if (level <= FT_LOG_WARN && strstr(message, "the system refuses")) warnings++;
}

static void *nothing(void *data) { return data; }

int main(int count, char **arguments) {
  static uint8_t rgb[MAX_IMAGE], wanted[MAX_IMAGE];
  static const int64_t CLASS = 1;
  const char *bundle = given(count, arguments);
  CHECK(count == 3);
  ft_model *model = open_model(bundle, 1);
  ft_session *session = new_session(model);
  ft_request request = request_for(&CLASS, NULL);
  ft_pixels pixels = pixels_of(wanted, IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  ft_session_free(session);
  ft_model_free(model);

  /* Read beforehand: nobody may not be allowed to. */
  FILE *file = fopen(arguments[2], "rb");
  CHECK(file && !fseek(file, 0, SEEK_END));
  const long size = ftell(file);
  void *zip = malloc((size_t)size);
  CHECK(zip && !fseek(file, 0, SEEK_SET) && fread(zip, 1, (size_t)size, file) == (size_t)size);
  fclose(file);
  const struct rlimit none = {0, 0};
  CHECK(!setrlimit(RLIMIT_NPROC, &none));
  if (getuid() == 0) CHECK(!setresuid(65534, 65534, 65534));
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, nothing, NULL));

  OK(ft_log_set(hears, NULL, FT_LOG_WARN));
  static const char *const BACKENDS[] = {"fused", "reference"};
  for (int i = 0; i < 2; i++) {
    ft_model_options options;
    ft_option backend = {"backend", BACKENDS[i]};
    OK(ft_model_options_init(&options, sizeof options));
    options.options = &backend;
    options.option_count = 1;
    options.threads = 3;
    model = NULL;
    FAILS(ft_model_open_memory(zip, (size_t)size, NULL, NULL, &options, &model), FT_ERROR_RUNTIME, "refuses");
    CHECK(!model && strstr(ft_last_error_message(), "3"));
    options.threads = 1;
    OK(ft_model_open_memory(zip, (size_t)size, NULL, NULL, &options, &model));
    ft_model_free(model);
    options.threads = 0;
    warnings = 0;
    OK(ft_model_open_memory(zip, (size_t)size, NULL, NULL, &options, &model));
    /* Said once, where there is more than one processor. */
    CHECK(warnings == (sysconf(_SC_NPROCESSORS_ONLN) > 1));
    session = new_session(model);
    pixels = pixels_of(rgb, IMAGE);
    OK(ft_session_generate(session, &request, &pixels));
    for (size_t at = 0; at < IMAGE; at++) CHECK(abs(rgb[at] - wanted[at]) <= 1);
    ft_session_free(session);
    ft_model_free(model);
  }
  free(zip);
  return 0;
}
