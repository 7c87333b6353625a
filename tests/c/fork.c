/* A program that forks. Its children let go of what they were given without a word, are told what they may not use, and
 * may have models of their own, whatever the parent's other threads were doing. Arguments: a bundle, the threads of
 * a model, how often to fork. */
#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *bundle;
static uint32_t threads;
static ft_model *model;
static const int64_t CLASS = 1;
static uint8_t wanted[MAX_IMAGE], rgb[MAX_IMAGE];
static ft_cancel_token *token;
static atomic_bool stop;

static ft_status draw(ft_session *session, ft_progress_callback progress, uint8_t *data) {
  ft_request request = request_for(&CLASS, "E2");
  ft_pixels pixels = pixels_of(data, IMAGE);
  request.cancel = token;
  request.progress = progress;
  return ft_session_generate(session, &request, &pixels);
}

static void from_the_start(void) {
  ft_model *own = open_model(bundle, threads);
  ft_session *session = new_session(own);
  memset(rgb, 0, IMAGE);
  OK(draw(session, NULL, rgb));
  CHECK(!memcmp(rgb, wanted, IMAGE));
  ft_session_free(session);
  ft_model_free(own);
}

static void child(ft_session *session, bool opens) {
  /* A child that hangs is killed. */
  alarm(60);
  ft_session *another = NULL;
  ft_model_info info;
  info.struct_size = sizeof info;
  const char *line = "before this process was forked";
  FAILS(draw(session, NULL, rgb), FT_ERROR_INVALID_HANDLE, line);
  FAILS(ft_session_reset(session), FT_ERROR_INVALID_HANDLE, line);
  FAILS(ft_session_new(model, &another), FT_ERROR_INVALID_HANDLE, line);
  FAILS(ft_model_get_info(model, &info), FT_ERROR_INVALID_HANDLE, line);
  OK(ft_log_set(NULL, NULL, FT_LOG_OFF));
  /* Tokens are copies. */
  uint8_t cancelled = 1;
  OK(ft_cancel_token_cancel(token));
  OK(ft_cancel_token_reset(token));
  OK(ft_cancel_token_is_cancelled(token, &cancelled));
  CHECK(!cancelled);
  if (opens) from_the_start();
  ft_cancel_token_free(token);
  ft_session_free(session);
  ft_session_free(session);
  ft_model_free(model);
  exit(0);
}

static void ends_well(pid_t child) {
  int status = 0;
  CHECK(child > 0);
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* All that may be locked or half changed at any moment. */
static void *busy(void *unused) {
  static uint8_t image[MAX_IMAGE];
  while (!stop) {
    ft_cancel_token *other = NULL;
    ft_session *session = new_session(model);
    OK(draw(session, NULL, image));
    CHECK(!memcmp(image, wanted, IMAGE));
    OK(ft_cancel_token_new(&other));
    ft_cancel_token_free(other);
    ft_session_free(session);
  }
  return unused;
}

static void hears(void *data, ft_log_level level, const char *target, const char *message) {
  CHECK(!data && level && target && message);
}

/* The callback returns twice, once in a child: its generation fails. */
static bool parent = true;
static pid_t forked;
static int forks(void *data, const ft_progress *progress) {
  CHECK(!data);
  if (progress->step == 1) {
    forked = fork();
    parent = forked != 0;
    if (!parent) alarm(60);
  }
  return 0;
}

int main(int count, char **arguments) {
  CHECK(count == 4);
  bundle = given(count, arguments);
  threads = (uint32_t)atoi(arguments[2]);
  OK(ft_log_set(hears, NULL, FT_LOG_TRACE));
  OK(ft_cancel_token_new(&token));
  model = open_model(bundle, threads);
  ft_session *session = new_session(model);
  OK(draw(session, NULL, wanted));

  pid_t pid = fork();
  if (pid == 0) child(session, true);
  ends_well(pid);
  OK(draw(session, NULL, rgb));

  ft_status status = draw(session, forks, rgb);
  if (!parent) {
    FAILS(status, FT_ERROR_RUNTIME, "before this process was forked");
    child(session, false);
  }
  OK(status);
  ends_well(forked);

  pthread_t thread;
  CHECK(!pthread_create(&thread, NULL, busy, NULL));
  for (int i = 0; i < atoi(arguments[3]); i++) {
    /* At another moment each time. */
    usleep((useconds_t)(i * 373 % 5000));
    pid = fork();
    if (pid == 0) child(session, i % 10 == 0);
    ends_well(pid);
  }
  stop = true;
  CHECK(!pthread_join(thread, NULL));
  memset(rgb, 0, IMAGE);
  OK(draw(session, NULL, rgb));
  CHECK(!memcmp(rgb, wanted, IMAGE));

  /* A child's child. */
  pid = fork();
  if (pid == 0) {
    from_the_start();
    pid_t second = fork();
    if (second == 0) child(session, true);
    ends_well(second);
    child(session, false);
  }
  ends_well(pid);
  ft_session_free(session);
  ft_model_free(model);
  ft_cancel_token_free(token);
  return 0;
}
