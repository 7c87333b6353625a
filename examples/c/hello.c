/* An image in ten lines: cc hello.c $(pkg-config --cflags --libs flowturbo) && ./a.out models/textures grass.png */
#include <flowturbo.h>
#include <stdio.h>

static unsigned char rgb[128 * 128 * 3];

int main(int count, char **arguments) {
  if (count != 3) return fprintf(stderr, "usage: hello BUNDLE OUT.png\n"), 2;
  ft_model *model = NULL;
  ft_session *session = NULL;
  ft_request request;
  ft_pixels pixels;
  int64_t grass;
  ft_pixels_init(&pixels, sizeof pixels);
  pixels.data = rgb, pixels.size = sizeof rgb;
  ft_request_init(&request, sizeof request);
  request.classes = &grass, request.seed = 7;
  ft_status status = ft_model_open(arguments[1], NULL, &model);
  if (!status) status = ft_model_find_class(model, "grass", &grass);
  if (!status) status = ft_session_new(model, &session);
  if (!status) status = ft_session_generate(session, &request, &pixels);
  if (!status) status = ft_pixels_save_png(&pixels, 128, 128, arguments[2]);
  if (status) fprintf(stderr, "%s: %s\n", ft_status_name(status), ft_last_error_message());
  ft_session_free(session);
  ft_model_free(model);
  return status;
}
