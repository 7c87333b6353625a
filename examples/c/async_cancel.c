/* A generation on a thread of its own: the main thread watches it, and stops the second one half-way.
 *
 * cc async_cancel.c -pthread $(pkg-config --cflags --libs flowturbo) && ./a.out models/textures out.png */
#define _POSIX_C_SOURCE 200809L /* for clocks, in strict C too */

#include <flowturbo.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Written by the thread, read by the main one. */
struct job {
  const ft_model *model;
  ft_cancel_token *cancel;
  const char *schedule;
  int64_t class_number;
  ft_pixels pixels;
  atomic_uint step, steps;
  atomic_bool ended;
  ft_status status;
  char message[256];
};

static int32_t on_step(void *user_data, const ft_progress *progress) {
  struct job *job = user_data;
  job->steps = progress->steps;
  job->step = progress->step;
  return 0;
}

static void *generate(void *user_data) {
  struct job *job = user_data;
  ft_session *session = NULL;
  ft_request request;
  job->status = ft_request_init(&request, sizeof request);
  request.classes = &job->class_number;
  request.schedule = job->schedule;
  request.cancel = job->cancel;
  request.progress = on_step;
  request.progress_data = job;
  if (!job->status) job->status = ft_session_new(job->model, &session);
  if (!job->status) job->status = ft_session_generate(session, &request, &job->pixels);
  /* The message belongs to this thread. */
  snprintf(job->message, sizeof job->message, "%s", job->status ? ft_last_error_message() : "done");
  ft_session_free(session);
  job->ended = true;
  return NULL;
}

/* Waits for the job, and cancels it once it has done so many steps. */
static void watch(struct job *job, unsigned cancel_at) {
  const struct timespec a_moment = {0, 1000000};
  pthread_t thread;
  if (pthread_create(&thread, NULL, generate, job)) {
    fprintf(stderr, "no thread\n");
    exit(1);
  }
  unsigned shown = 0;
  while (!job->ended) {
    unsigned step = job->step;
    if (step != shown) printf("step %u of %u\n", shown = step, (unsigned)job->steps);
    if (step >= cancel_at) ft_cancel_token_cancel(job->cancel);
    nanosleep(&a_moment, NULL);
  }
  pthread_join(thread, NULL);
  printf("%s: %s\n", ft_status_name(job->status), job->message);
}

static ft_status run(const char *bundle, const char *out) {
  static unsigned char rgb[128 * 128 * 3];
  ft_model *model = NULL;
  struct job job = {.schedule = "H4P8R4"};
  ft_status status = ft_model_open(bundle, NULL, &model);
  if (!status) status = ft_pixels_init(&job.pixels, sizeof job.pixels);
  if (!status) status = ft_cancel_token_new(&job.cancel);
  if (!status) status = ft_model_find_class(model, "wood", &job.class_number);
  if (!status) {
    job.model = model;
    job.pixels.data = rgb;
    job.pixels.size = sizeof rgb;
    watch(&job, 1000);
    status = job.status;
  }
  if (!status) status = ft_pixels_save_png(&job.pixels, 128, 128, out);
  if (!status) {
    /* Long enough to be stopped. */
    job.schedule = "E1000";
    job.step = 0;
    job.ended = false;
    watch(&job, 5);
    if (job.status != FT_ERROR_CANCELLED) fprintf(stderr, "was to be cancelled\n"), status = FT_ERROR_RUNTIME;
  }
  ft_cancel_token_free(job.cancel);
  ft_model_free(model);
  return status;
}

int main(int count, char **arguments) {
  if (count != 3) return fprintf(stderr, "usage: async_cancel BUNDLE OUT.png\n"), 2;
  ft_status status = run(arguments[1], arguments[2]);
  /* A failure of the job has told its own message. */
  if (status) fprintf(stderr, "%s: %s\n", ft_status_name(status), ft_last_error_message());
  return status;
}
