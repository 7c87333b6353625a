/* Planning: the same little memory for every size, limits, a token that stops it soon; and memory that the system
 * refuses, which is a status and not the end of the process. Argument: a bundle with a decoder of any size. */
#define _DEFAULT_SOURCE
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* As long as an edge of images that take far more memory than planning them may. */
enum { EDGE = 2048, SIZE = EDGE * EDGE * 3 };

/* Most memory that this process has had so far, in KiB. */
static long peak(void) {
  struct rusage usage;
  CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
  return usage.ru_maxrss;
}

/* Addresses in use, in bytes. */
static size_t in_use(void) {
  FILE *file = fopen("/proc/self/statm", "r");
  size_t pages = 0;
  CHECK(file && fscanf(file, "%zu", &pages) == 1);
  fclose(file);
  return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Leaves the process so many bytes more than it has, or, with 0, as many as there are. */
static void leave(size_t more) {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
  limit.rlim_cur = more ? in_use() + more : limit.rlim_max;
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
}

static pthread_t planner;
static ft_cancel_token *token;
static double cancelled_at;
static atomic_bool planned;

/* What the planning thread has computed so far, in milliseconds: a busy machine makes it wait, not compute. */
static double computed(void) {
  struct timespec time;
  clockid_t clock;
  CHECK(pthread_getcpuclockid(planner, &clock) == 0 && clock_gettime(clock, &time) == 0);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void *cancel_later(void *milliseconds) {
  const double wait = *(const double *)milliseconds, until = computed() + wait;
  while (!atomic_load(&planned) && computed() < until) nanosleep(&(struct timespec){0, 200000}, NULL);
  cancelled_at = computed();
  OK(ft_cancel_token_cancel(token));
  return NULL;
}

/* Cancels the planning of new sizes at ever later moments; none may compute for long after that. */
static void cancel_planning(ft_model *model, ft_request request) {
  request.width = request.height = 512;
  double began = computed();
  OK(ft_model_prepare(model, &request, NULL));
  const double whole = computed() - began, most = whole / 3 > 50 ? whole / 3 : 50;
  int stopped = 0;
  double longest = 0;
  for (int i = 0; i < 16; i++) {
    double wait = whole * i / 16;
    pthread_t thread;
    request.width += 64;
    atomic_store(&planned, false);
    CHECK(pthread_create(&thread, NULL, cancel_later, &wait) == 0);
    const ft_status status = ft_model_prepare(model, &request, NULL);
    const double ended = computed();
    atomic_store(&planned, true);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(status == FT_OK || status == FT_ERROR_CANCELLED);
    OK(ft_cancel_token_reset(token));
    if (status == FT_OK) continue;
    stopped++;
    if (ended - cancelled_at > longest) longest = ended - cancelled_at;
  }
  printf("%d of 16 were cancelled in %.1f ms, within %.1f ms\n", stopped, whole, longest);
  CHECK(stopped > 0 && longest < most);
}

int main(int count, char **arguments) {
  const int64_t class_number = 4;
  const char *path = given(count, arguments);
  planner = pthread_self();
  ft_model_options options;
  ft_limits limits;
  ft_model *model = NULL;

  OK(ft_model_options_init(&options, sizeof options));
  OK(ft_cancel_token_new(&token));
  OK(ft_cancel_token_cancel(token));
  options.cancel = token;
  FAILS(ft_model_open(path, &options, &model), FT_ERROR_CANCELLED, "cancelled");
  options.cancel = NULL;
  options.limits = &limits;
  OK(ft_limits_init(&limits, sizeof limits));
  limits.max_planning_ms = 0;
  FAILS(ft_model_open(path, &options, &model), FT_ERROR_LIMIT_EXCEEDED, "(max_planning)");
  OK(ft_limits_init(&limits, sizeof limits));
  limits.max_weight_bytes = 1000;
  FAILS(ft_model_open(path, &options, &model), FT_ERROR_LIMIT_EXCEEDED, "above the limit of 1000 (max_weight_bytes)");
  OK(ft_limits_init(&limits, sizeof limits));
  limits.max_arena_bytes = 1000;
  FAILS(ft_model_open(path, &options, &model), FT_ERROR_LIMIT_EXCEEDED, "above the limit of 1000 (max_arena_bytes)");
  CHECK(!model);

  model = open_model(path, 1);
  ft_session *session = new_session(model);
  ft_request small = request_for(&class_number, "E1"), large = small;
  large.width = large.height = EDGE;
  large.cancel = token;
  ft_memory memory = {.struct_size = sizeof memory};
  FAILS(ft_model_prepare(model, &large, &memory), FT_ERROR_CANCELLED, "cancelled");
  OK(ft_cancel_token_reset(token));
  const long before = peak();
  OK(ft_model_prepare(model, &large, &memory));
  const long more = peak() - before;
  printf("planning %d x %d took %ld KiB more at its peak\n", EDGE, EDGE, more);
  CHECK(more < 20 * 1024);
  CHECK(memory.session_bytes > 10 * (uint64_t)more * 1024);
  cancel_planning(model, large);
  OK(ft_model_prepare(model, &large, &memory));

  uint8_t *rgb = malloc(SIZE), *first = malloc(IMAGE), *again = malloc(IMAGE);
  CHECK(rgb && first && again);
  ft_pixels pixels = pixels_of(rgb, SIZE), of_first = pixels_of(first, IMAGE), of_again = pixels_of(again, IMAGE);
  OK(ft_session_generate(session, &small, &of_first));
  memset(rgb, 7, SIZE);
  /* Refused at once; and only after some of it was had. */
  const size_t enough_for[] = {8 << 20, (size_t)(memory.session_bytes / 4)};
  for (int i = 0; i < 2; i++) {
    leave(enough_for[i]);
    FAILS(ft_session_generate(session, &large, &pixels), FT_ERROR_OUT_OF_MEMORY, "bytes of memory");
    printf("%s\n", ft_last_error_message());
    OK(ft_session_generate(session, &small, &of_again));
    leave(0);
    CHECK(memcmp(first, again, IMAGE) == 0);
  }
  for (int i = 0; i < SIZE; i++) CHECK(rgb[i] == 7);
  /* A file takes no memory that grows with its image: this one is far larger, and cannot be compressed. */
  for (uint32_t i = 0, number = 1; i < SIZE; i++) rgb[i] = (uint8_t)((number = number * 1664525 + 1013904223) >> 24);
  leave(2 << 20);
  OK(ft_pixels_save_png(&pixels, EDGE, EDGE, "/dev/null"));
  leave(0);
  free(rgb), free(first), free(again);
  ft_session_free(session);
  ft_model_free(model);
  ft_cancel_token_free(token);
  options.limits = NULL;
  options.cancel = token;
  FAILS(ft_model_open(path, &options, &model), FT_ERROR_INVALID_HANDLE, "freed already");
  return 0;
}
