/* Several threads: sessions of one model, one session, models freed meanwhile, messages, logs. Argument: a
 * bundle. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

static const char *bundle;
static ft_model *model;
static const int64_t CLASS = 1;
static uint8_t wanted[MAX_IMAGE];

static void *own_session(void *rounds) {
  ft_session *session = new_session(model);
  uint8_t *rgb = malloc(IMAGE);
  CHECK(rgb);
  ft_request request = request_for(&CLASS, "H1R1");
  ft_pixels pixels = pixels_of(rgb, IMAGE);
  for (int i = 0; i < *(int *)rounds; i++) {
    memset(rgb, 0, IMAGE);
    OK(ft_session_generate(session, &request, &pixels));
    CHECK(!memcmp(rgb, wanted, IMAGE));
  }
  free(rgb);
  ft_session_free(session);
  return NULL;
}

static ft_session *shared;
static atomic_int made, busy;

static void *one_session(void *unused) {
  static _Thread_local uint8_t rgb[MAX_IMAGE];
  ft_request request = request_for(&CLASS, "H1R1");
  ft_pixels pixels = pixels_of(rgb, IMAGE);
  for (int i = 0; i < 20; i++) {
    ft_status status = ft_session_generate(shared, &request, &pixels);
    CHECK(status == FT_OK || status == FT_ERROR_BUSY);
    if (status == FT_OK) {
      made++;
      CHECK(!memcmp(rgb, wanted, IMAGE));
    } else {
      busy++;
    }
  }
  return unused;
}

static void *frees(void *unused) {
  ft_session_free(shared);
  ft_model_free(model);
  return unused;
}

static void *fails(void *unused) {
  ft_model *nothing = NULL;
  CHECK(!strcmp(ft_last_error_message(), ""));
  FAILS(ft_model_open("elsewhere", NULL, &nothing), FT_ERROR_IO, "elsewhere");
  return unused;
}

static void run_all(void *(*work)(void *), void *argument, int count) {
  pthread_t threads[8];
  for (int i = 0; i < count; i++) CHECK(!pthread_create(&threads[i], NULL, work, argument));
  for (int i = 0; i < count; i++) CHECK(!pthread_join(threads[i], NULL));
}

static atomic_int heard;
static bool from_inside;

static void hear(void *user_data, ft_log_level level, const char *target, const char *message) {
  CHECK(user_data == &heard && level >= FT_LOG_ERROR && level <= FT_LOG_DEBUG && *message);
  if (!strncmp(target, "flowturbo", 9)) heard++;
  if (from_inside) FAILS(ft_log_set(NULL, NULL, FT_LOG_OFF), FT_ERROR_BUSY, "by a log callback");
}

static void logs(void) {
  OK(ft_log_set(hear, &heard, FT_LOG_DEBUG));
  from_inside = true;
  ft_model_free(open_model(bundle, 1));
  CHECK(heard >= 3);
  int before = heard;
  OK(ft_log_set(hear, &heard, FT_LOG_ERROR));
  ft_model_free(open_model(bundle, 1));
  OK(ft_log_set(NULL, NULL, FT_LOG_DEBUG));
  ft_model_free(open_model(bundle, 1));
  CHECK(heard == before);
}

/* Frees what it is called for: the call goes on. */
static int32_t free_inside(void *user_data, const ft_progress *progress) {
  if (progress->step == 1) {
    ft_session_free(user_data);
    ft_model_free(model);
  }
  return 0;
}

int main(int count, char **arguments) {
  bundle = given(count, arguments);
  logs();
  int rounds = 10;
  model = open_model(bundle, 2);
  ft_session *session = new_session(model);
  ft_request request = request_for(&CLASS, "H1R1");
  ft_pixels pixels = pixels_of(wanted, IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  run_all(own_session, &rounds, 2);
  run_all(own_session, &rounds, 4);
  shared = new_session(model);
  run_all(one_session, NULL, 3);
  CHECK(made + busy == 60 && made > 0);
  ft_session_free(shared);

  ft_model *nothing = NULL;
  FAILS(ft_model_open("here", NULL, &nothing), FT_ERROR_IO, "here");
  run_all(fails, NULL, 2);
  CHECK(strstr(ft_last_error_message(), "here"));

  /* Freed by another thread while they are at work. */
  shared = new_session(model);
  request.schedule = "H4R4";
  pthread_t thread;
  CHECK(!pthread_create(&thread, NULL, frees, NULL));
  ft_status status = ft_session_generate(shared, &request, &pixels);
  CHECK(status == FT_OK || status == FT_ERROR_INVALID_HANDLE);
  CHECK(!pthread_join(thread, NULL));
  STATUS(ft_session_generate(shared, &request, &pixels), FT_ERROR_INVALID_HANDLE);
  OK(ft_session_generate(session, &request, &pixels));
  ft_session_free(session);

  model = open_model(bundle, 1);
  session = new_session(model);
  request.progress = free_inside;
  request.progress_data = session;
  OK(ft_session_generate(session, &request, &pixels));
  STATUS(ft_session_generate(session, &request, &pixels), FT_ERROR_INVALID_HANDLE);
  return 0;
}
