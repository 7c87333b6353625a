/* The archive and another Rust library in one program: each has a standard library of its own. Argument: a bundle. */
#include "check.h"

/* From beside.rs: panics inside and tells how often it did so far. */
uint32_t other_panics(void);

int main(int count, char **arguments) {
  const char *bundle = given(count, arguments);
  static const int64_t CLASS = 1;
  static unsigned char rgb[MAX_IMAGE];
  CHECK(other_panics() == 1);
  ft_model *model = open_model(bundle, 2);
  ft_session *session = new_session(model);
  const ft_request request = request_for(&CLASS, "H1R1");
  const ft_pixels pixels = pixels_of(rgb, IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  CHECK(other_panics() == 2);
  OK(ft_session_generate(session, &request, &pixels));
  ft_session_free(session);
  ft_model_free(model);
  return 0;
}
