/* A model that knows no class for none: it says so, is sampled, and refuses guidance. Arguments: such a bundle, and the
 * same with a null class. */
#include "check.h"

static uint8_t plain[MAX_IMAGE], rgb[MAX_IMAGE];
static const int64_t CLASS = 1;

static void draw(ft_session *session, float guidance, uint8_t *out) {
  ft_request request = request_for(&CLASS, NULL);
  request.guidance = guidance;
  ft_pixels pixels = pixels_of(out, IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
}

static void is_refused(ft_session *session, ft_request request, const char *why) {
  ft_pixels pixels = pixels_of(rgb, IMAGE);
  FAILS(ft_session_generate(session, &request, &pixels), FT_ERROR_INVALID_ARGUMENT, why);
  CHECK(!strchr(ft_last_error_message(), '\n'));
  FAILS(ft_session_begin(session, &request), FT_ERROR_INVALID_ARGUMENT, why);
}

int main(int count, char **arguments) {
  const char *bundle = given(count, arguments);
  CHECK(count == 3);
  ft_model *model = open_model(bundle, 1), *whole = open_model(arguments[2], 1);
  ft_model_info info;
  info.struct_size = sizeof info;
  OK(ft_model_get_info(whole, &info));
  CHECK(info.null_class == info.class_count && info.guidance != 1);
  OK(ft_model_get_info(model, &info));
  CHECK(info.null_class == -1 && info.class_count == 2 && info.guidance == 1);

  ft_session *session = new_session(whole);
  draw(session, 1, plain);
  ft_session_free(session);
  session = new_session(model);
  draw(session, 1, rgb);
  CHECK(!memcmp(rgb, plain, IMAGE));
  memset(rgb, 0, IMAGE);
  draw(session, FT_GUIDANCE_DEFAULT, rgb);
  CHECK(!memcmp(rgb, plain, IMAGE));

  static const float SCALES[] = {0, 0.5f, 2};
  for (size_t i = 0; i < sizeof SCALES / sizeof *SCALES; i++) {
    ft_request request = request_for(&CLASS, NULL);
    request.guidance = SCALES[i];
    is_refused(session, request, "must be 1, since this model knows no \"no class\" to guide away from");
  }
  /* Neither what the information calls it, nor the number it has elsewhere, is a class. */
  static const int64_t NONE[] = {-1, 2};
  is_refused(session, request_for(&NONE[0], NULL), "class -1 is out of range; this bundle has classes 0 to 1");
  is_refused(session, request_for(&NONE[1], NULL), "class 2 is out of range; this bundle has classes 0 to 1");
  draw(session, 1, rgb);
  CHECK(!memcmp(rgb, plain, IMAGE));

  ft_session_free(session);
  ft_model_free(model);
  ft_model_free(whole);
  puts("ok");
  return 0;
}
