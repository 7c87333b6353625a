/* A plugin that embeds the archive, built so that nothing but its entry is seen. */
#include <stdlib.h>

#include "plugin.h"

static uint64_t paint(const char *bundle) {
  static const int64_t CLASS = 1;
  uint64_t sum = 0;
  ft_model *model = NULL;
  ft_session *session = NULL;
  ft_model_info info;
  ft_request request;
  ft_pixels pixels;
  info.struct_size = sizeof info;
  if (ft_model_open(bundle, NULL, &model) == FT_OK && ft_model_get_info(model, &info) == FT_OK &&
      ft_session_new(model, &session) == FT_OK && ft_request_init(&request, sizeof request) == FT_OK &&
      ft_pixels_init(&pixels, sizeof pixels) == FT_OK) {
    const size_t size = (size_t)info.width * info.height * 3;
    unsigned char *const rgb = malloc(size);
    request.classes = &CLASS;
    pixels.data = rgb;
    pixels.size = size;
    if (rgb && ft_session_generate(session, &request, &pixels) == FT_OK) {
      for (size_t i = 0; i < size; i++) sum = sum * 31 + rgb[i] + 1;
    }
    free(rgb);
  }
  ft_session_free(session);
  ft_model_free(model);
  return sum;
}

extern __attribute__((visibility("default"))) const plugin_calls *plugin(void);

const plugin_calls *plugin(void) {
  static const plugin_calls CALLS = {ft_cancel_token_new, ft_cancel_token_cancel, paint};
  return &CALLS;
}
