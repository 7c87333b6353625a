/* Cancelling: from another thread, from a signal handler, before, again. Arguments: a bundle, a schedule, the number
 * of images, and how many milliseconds a generation may go on after it was cancelled; on a slow or busy machine a
 * thirty-second of what one step takes there. */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static ft_cancel_token *token;
static double cancelled_at;

static void *cancel_later(void *milliseconds) {
  const long wait = *(const long *)milliseconds;
  const struct timespec time = {wait / 1000, wait % 1000 * 1000000};
  nanosleep(&time, NULL);
  cancelled_at = now();
  OK(ft_cancel_token_cancel(token));
  return NULL;
}

static int by_size(const void *a, const void *b) {
  double first = *(const double *)a, second = *(const double *)b;
  return (first > second) - (first < second);
}

static void on_alarm(int signal_number) {
  (void)signal_number;
  ft_cancel_token_cancel(token);
}

int main(int count, char **arguments) {
  CHECK(count == 5);
  const uint32_t images = (uint32_t)atoi(arguments[3]);
  const double limit = atof(arguments[4]);
  int64_t *classes = calloc(images, sizeof *classes);
  CHECK(classes);
  ft_model *model = open_model(arguments[1], 0);
  ft_session *session = new_session(model);
  ft_request request = request_for(classes, arguments[2]);
  request.image_count = images;
  request.output = FT_OUTPUT_LATENTS;
  OK(ft_cancel_token_new(&token));
  request.cancel = token;
  uint8_t cancelled = 1;
  OK(ft_cancel_token_is_cancelled(token, &cancelled));
  CHECK(!cancelled);
  OK(ft_session_prepare(session, &request));
  request.schedule = "E1";
  const double began = now();
  OK(ft_session_generate(session, &request, NULL));
  const double part = (now() - began) / 32;
  request.schedule = arguments[2];

  enum { TIMES = 9 };
  double took[TIMES];
  for (long i = 0; i < TIMES; i++) {
    long wait = 20 + 37 * i;
    pthread_t thread;
    CHECK(!pthread_create(&thread, NULL, cancel_later, &wait));
    FAILS(ft_session_generate(session, &request, NULL), FT_ERROR_CANCELLED, "cancelled by its token");
    took[i] = now() - cancelled_at;
    CHECK(!pthread_join(thread, NULL));
    OK(ft_cancel_token_is_cancelled(token, &cancelled));
    CHECK(cancelled);
    /* It stays cancelled until it is reset. */
    STATUS(ft_session_begin(session, &request), FT_ERROR_CANCELLED);
    OK(ft_cancel_token_reset(token));
  }
  /* The median: of a busy machine the worst says little. */
  qsort(took, TIMES, sizeof *took, by_size);
  printf("ended %.1f ms after it was cancelled, at most %.1f ms; a thirty-second of a step is %.1f ms\n",
         took[TIMES / 2], took[TIMES - 1], part);
  CHECK(took[TIMES / 2] < (limit > part ? limit : part));

  CHECK(signal(SIGALRM, on_alarm) != SIG_ERR);
  const struct itimerval soon = {.it_value = {.tv_usec = 200000}};
  CHECK(!setitimer(ITIMER_REAL, &soon, NULL));
  request.schedule = "E900";
  STATUS(ft_session_generate(session, &request, NULL), FT_ERROR_CANCELLED);

  /* A token that is freed, or used anew by somebody else, no longer stops what held it. */
  OK(ft_cancel_token_reset(token));
  request.schedule = "E2";
  request.image_count = 1;
  OK(ft_session_begin(session, &request));
  ft_cancel_token_free(token);
  ft_cancel_token *other = NULL;
  OK(ft_cancel_token_new(&other));
  CHECK(other != token);
  OK(ft_cancel_token_cancel(other));
  STATUS(ft_cancel_token_cancel(token), FT_ERROR_INVALID_HANDLE);
  uint8_t done = 0;
  OK(ft_session_step(session, 1000000000, &done));
  CHECK(done);
  ft_cancel_token_free(other);
  ft_session_free(session);
  ft_model_free(model);
  free(classes);
  return 0;
}
