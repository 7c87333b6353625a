/* A program and a library of different ages. Arguments: a bundle, and "same", for the library of this header, or
 * "newer", for the one of the tests, whose request is one field longer: the step after which to panic. */
#include "check.h"

static const int64_t CLASS = 1;
static uint8_t rgb[MAX_IMAGE], expected[MAX_IMAGE];

/* A request as the header of a later release may have it. */
typedef struct {
  ft_request known;
  uint64_t panic_after;
} later_request;

int main(int count, char **arguments) {
  const char *bundle = given(count, arguments);
  CHECK(count == 3);
  const bool newer = !strcmp(arguments[2], "newer");
  ft_model *model = open_model(bundle, 2);
  ft_session *session = new_session(model), *other = new_session(model);
  ft_pixels pixels = pixels_of(expected, IMAGE);

  /* An old program's request works with either; behind its end nothing is looked at. */
  later_request request;
  memset(&request, 0xff, sizeof request);
  OK(ft_request_init(&request.known, sizeof request.known));
  CHECK(request.panic_after == UINT64_MAX && request.known.struct_size == sizeof(ft_request));
  request.known.classes = &CLASS;
  request.known.schedule = "H1R2";
  request.panic_after = 1;
  OK(ft_session_generate(session, &request.known, &pixels));

  /* A new program's request: an old library says that it is too old. */
  pixels = pixels_of(rgb, IMAGE);
  if (!newer) {
    FAILS(ft_request_init(&request.known, sizeof request), FT_ERROR_UNSUPPORTED, "update the library");
    request.known.struct_size = sizeof request;
    FAILS(ft_session_generate(session, &request.known, &pixels), FT_ERROR_UNSUPPORTED, "update the library");
    FAILS(ft_session_begin(session, &request.known), FT_ERROR_UNSUPPORTED, "update the library");
    FAILS(ft_model_prepare(model, &request.known, NULL), FT_ERROR_UNSUPPORTED, "update the library");
  } else {
    OK(ft_request_init(&request.known, sizeof request));
    CHECK(request.panic_after == 0 && request.known.struct_size == sizeof request);
    request.known.classes = &CLASS;
    request.known.schedule = "H1R2";
    OK(ft_session_generate(session, &request.known, &pixels));
    CHECK(!memcmp(rgb, expected, IMAGE));
    /* A mistake inside the library, in each step: its session can only be freed, others go on. */
    for (uint64_t step = 1; step <= 3; step++) {
      memset(rgb, 5, IMAGE);
      request.panic_after = step;
      FAILS(ft_session_generate(session, &request.known, &pixels), FT_ERROR_PANIC, "asked to panic");
      for (size_t i = 0; i < IMAGE; i++) CHECK(rgb[i] == 5);
      request.panic_after = 0;
      uint8_t done;
      FAILS(ft_session_generate(session, &request.known, &pixels), FT_ERROR_PANIC, "free it");
      FAILS(ft_session_step(session, FT_WHOLE_STEP, &done), FT_ERROR_PANIC, "free it");
      OK(ft_session_generate(other, &request.known, &pixels));
      CHECK(!memcmp(rgb, expected, IMAGE));
      ft_session_free(session);
      session = new_session(model);
      OK(ft_session_generate(session, &request.known, &pixels));
      CHECK(!memcmp(rgb, expected, IMAGE));
    }
  }
  ft_session_free(session);
  ft_session_free(other);
  ft_model_free(model);
  return 0;
}
