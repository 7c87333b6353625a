/* The floating-point environment of the program: exceptions that trap, another rounding, small numbers flushed to zero,
 * flags that are set. Argument: a bundle. */
#define _GNU_SOURCE
#include "check.h"

#include <fenv.h>
#include <pthread.h>
#if defined __SSE__
#include <xmmintrin.h>
#endif

static const char *bundle;
static const int64_t CLASS = 1;
static uint8_t wanted[MAX_IMAGE], rgb[MAX_IMAGE];

static void round_upwards(void) { CHECK(!fesetround(FE_UPWARD)); }
static void trap(void) {
#if defined __GLIBC__
  CHECK(feenableexcept(FE_ALL_EXCEPT) != -1);
#endif
}
static void set_a_flag(void) { CHECK(!feraiseexcept(FE_DIVBYZERO)); }
static void flush(void) {
#if defined __SSE__
  /* Flush to zero, denormals are zero. */
  _mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined __aarch64__
  unsigned long control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  __asm__ volatile("msr fpcr, %0" ::"r"(control | 1ul << 24));
#endif
}
static void as_it_is(void) {}

static void (*const ODD[])(void) = {as_it_is, round_upwards, set_a_flag, flush, trap};
enum { ODDS = sizeof ODD / sizeof *ODD };

/* All of it that a program can see. */
typedef struct {
  int rounding, flags, traps;
  unsigned long control;
} environment;

static environment seen(void) {
  environment now = {fegetround(), fetestexcept(FE_ALL_EXCEPT), 0, 0};
#if defined __GLIBC__
  now.traps = fegetexcept();
#endif
#if defined __SSE__
  now.control = _mm_getcsr();
#elif defined __aarch64__
  __asm__ volatile("mrs %0, fpcr" : "=r"(now.control));
#endif
  return now;
}

static void same(environment before) {
  const environment now = seen();
  CHECK(now.rounding == before.rounding && now.flags == before.flags);
  CHECK(now.traps == before.traps && now.control == before.control);
}

static int changes_it(void *odd, const ft_progress *progress) {
  CHECK(fegetround() == FE_TONEAREST && progress->step > 0);
  ODD[*(int *)odd]();
  return 0;
}

/* Every call that computes. */
static void draw(const ft_model_options *options, int odd) {
  ft_model *model = NULL;
  ft_model_info info;
  info.struct_size = sizeof info;
  OK(ft_model_open(bundle, options, &model));
  OK(ft_model_get_info(model, &info));
  ft_session *session = new_session(model);
  ft_request request = request_for(&CLASS, "H1P1R1");
  ft_pixels pixels = pixels_of(rgb, IMAGE);
  request.progress = changes_it;
  request.progress_data = &odd;
  OK(ft_model_prepare(model, &request, NULL));
  OK(ft_session_prepare(session, &request));
  memset(rgb, 0, IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  CHECK(!memcmp(rgb, wanted, IMAGE));
  OK(ft_session_begin(session, &request));
  for (uint8_t done = 0; !done;) OK(ft_session_step(session, 200, &done));
  OK(ft_session_preview(session, FT_PREVIEW_DECODED, &pixels));
  memset(rgb, 0, IMAGE);
  OK(ft_session_finish(session, &pixels));
  CHECK(!memcmp(rgb, wanted, IMAGE));
  if (info.networks & FT_NETWORK_ENCODER) {
    static float latents[MAX_LATENT];
    OK(ft_session_encode(session, &pixels, 0, 0, 1, latents, LATENT));
    OK(ft_session_decode(session, latents, LATENT, &pixels));
  }
  ft_session_free(session);
  ft_model_free(model);
}

/* A job system whose threads have an environment of their own. */
typedef struct {
  ft_parallel_body body;
  void *data;
  uint32_t index;
  int odd;
} job;

static void *work(void *data) {
  const job *job = data;
  ODD[job->odd]();
  const environment before = seen();
  job->body(job->data, job->index);
  same(before);
  return NULL;
}

static void lend(void *odd, uint32_t lanes, ft_parallel_body body, void *data) {
  CHECK(lanes == 2);
  job jobs[2] = {{body, data, 0, *(int *)odd}, {body, data, 1, *(int *)odd}};
  pthread_t thread;
  CHECK(!pthread_create(&thread, NULL, work, &jobs[1]));
  work(&jobs[0]);
  CHECK(!pthread_join(thread, NULL));
}

int main(int count, char **arguments) {
  bundle = given(count, arguments);
  fenv_t usual;
  CHECK(!fegetenv(&usual));
  ft_model *model = open_model(bundle, 1);
  ft_session *session = new_session(model);
  ft_request request = request_for(&CLASS, "H1P1R1");
  ft_pixels pixels = pixels_of(wanted, IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  ft_session_free(session);
  ft_model_free(model);
  /* What a call that fails leaves. */
  ft_model *nothing = NULL;

  for (int odd = 0; odd < ODDS; odd++) {
    for (uint32_t lanes = 0; lanes <= 2; lanes++) {
      ft_model_options options;
      OK(ft_model_options_init(&options, sizeof options));
      options.threads = lanes;
      if (lanes == 0) {
        options.parallel_for = lend;
        options.parallel_data = &odd;
        options.lanes = 2;
      }
      /* The library's own threads are made in it too. */
      ODD[odd]();
      const environment before = seen();
      draw(&options, (odd + 2) % ODDS);
      STATUS(ft_model_open("nowhere", &options, &nothing), FT_ERROR_IO);
      same(before);
      CHECK(!fesetenv(&usual));
    }
  }
  return 0;
}
