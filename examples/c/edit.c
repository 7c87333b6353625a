/* Snow that has fallen on grass: a seamless texture, of which a part is made anew as another class.
 *
 * cc edit.c $(pkg-config --cflags --libs flowturbo) && ./a.out models/textures snow_on_grass.png */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <flowturbo.h>

#define EDGE 128

static void check(ft_status status) {
  if (status != FT_OK) {
    fprintf(stderr, "%s: %s\n", ft_status_name(status), ft_last_error_message());
    exit(1);
  }
}

static ft_pixels rgb8(uint8_t *data) {
  ft_pixels pixels;
  check(ft_pixels_init(&pixels, sizeof pixels));
  pixels.data = data;
  pixels.size = EDGE * EDGE * 3;
  return pixels;
}

int main(int count, char **arguments) {
  static uint8_t texture[EDGE * EDGE * 3], edited[EDGE * EDGE * 3], mask[EDGE * EDGE];
  ft_model *model;
  ft_session *session;
  ft_request request;
  int64_t grass, snow;
  if (count != 3) return fprintf(stderr, "usage: %s BUNDLE PNG\n", arguments[0]), 2;
  check(ft_model_open(arguments[1], NULL, &model));
  check(ft_session_new(model, &session));
  check(ft_model_find_class(model, "grass", &grass));
  check(ft_model_find_class(model, "snow", &snow));

  check(ft_request_init(&request, sizeof request));
  request.classes = &grass;
  request.tile = FT_TILE_BOTH;
  const ft_pixels whole = rgb8(texture), result = rgb8(edited);
  check(ft_session_generate(session, &request, &whole));

  /* 0 keeps the grass, 255 is all snow, with a soft edge around a patch in the middle. */
  for (int y = 0; y < EDGE; y++) {
    for (int x = 0; x < EDGE; x++) {
      const int across = x - EDGE / 2, down = y - EDGE / 2, inside = 40 * 40 - across * across - down * down;
      mask[y * EDGE + x] = (uint8_t)(inside < 0 ? 0 : inside > 1020 ? 255 : inside / 4);
    }
  }
  request.classes = &snow;
  request.init = &whole;
  request.strength = 0.9f;
  request.mask = mask;
  request.mask_size = sizeof mask;
  check(ft_session_generate(session, &request, &result));
  check(ft_pixels_save_png(&result, EDGE, EDGE, arguments[2]));

  ft_session_free(session);
  ft_model_free(model);
  return 0;
}
