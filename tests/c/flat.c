/* A hundred generations, with failures in between, take no more memory than the first few. Arguments: a bundle, and how
 * many. */
#include "check.h"

#include <malloc.h>

static uint8_t rgb[MAX_IMAGE];

static int32_t stop(void *user_data, const ft_progress *progress) { return progress->step == *(uint32_t *)user_data; }

int main(int count, char **arguments) {
  const char *bundle = given(count, arguments);
  CHECK(count == 3);
  const int rounds = atoi(arguments[2]);
  const int64_t classes[2] = {0, 1};
  uint32_t last = 2;
  size_t after_first = 0, now = 0;
  ft_model *model = open_model(bundle, 2), *nothing = NULL;
  ft_session *session = new_session(model);
  ft_pixels pixels = pixels_of(rgb, IMAGE);
  for (int i = 0; i < rounds; i++) {
    ft_request request = request_for(&classes[i % 2], "H1P1R2");
    request.seed = (uint64_t)i;
    OK(ft_session_generate(session, &request, &pixels));
    request.progress = stop;
    request.progress_data = &last;
    STATUS(ft_session_generate(session, &request, &pixels), FT_ERROR_CANCELLED);
    STATUS(ft_model_open("nowhere", NULL, &nothing), FT_ERROR_IO);
    ft_session *other = new_session(model);
    uint8_t done;
    request.progress = NULL;
    OK(ft_session_begin(other, &request));
    OK(ft_session_step(other, 100, &done));
    ft_session_free(other);
    now = mallinfo2().uordblks + mallinfo2().hblkhd;
    if (i == 2) after_first = now;
  }
  printf("%zu bytes after 3 rounds, %zu after %d\n", after_first, now, rounds);
  /* The allocator itself rounds. */
  CHECK(now < after_first + 4096);
  ft_session_free(session);
  ft_model_free(model);
  return 0;
}
