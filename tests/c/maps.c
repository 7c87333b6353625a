/* Normals, heights and roughness beside the colour. Arguments: a bundle that makes these, and one of colour alone. */
#define _XOPEN_SOURCE 700
#include <unistd.h>

#include "check.h"

enum { MOST = 2 * 16 * 16 };

static uint8_t rgb[MOST * 3], again[MOST * 3], up[MOST * 4], down[MOST * 3], grey[MOST], packed[MOST * 4];
static uint16_t levels[MOST];
static float numbers[MOST];
static size_t AREA;

static ft_pixels memory_for(ft_pixel_format format, void *data, size_t size) {
  ft_pixels pixels = pixels_of(data, size);
  pixels.format = format;
  return pixels;
}

static void get(ft_session *session, ft_map map, uint32_t flags, ft_pixel_format format, void *data, size_t each) {
  const ft_pixels pixels = memory_for(format, data, AREA * each);
  OK(ft_session_get_map(session, map, flags, &pixels));
}

static int apart(double a, double b) { return (int)(a > b ? a - b + 0.999 : b - a + 0.999); }

/* How the maps of one generation hang together, whatever the networks are. */
static void maps(ft_session *session) {
  get(session, FT_MAP_COLOR, 0, FT_PIXEL_RGB8, again, 3);
  CHECK(!memcmp(rgb, again, AREA * 3));

  get(session, FT_MAP_NORMAL, 0, FT_PIXEL_RGBA8, up, 4);
  get(session, FT_MAP_NORMAL, FT_MAP_NORMAL_Y_DOWN, FT_PIXEL_RGB8, down, 3);
  size_t tilted = 0;
  for (size_t i = 0; i < AREA; i++) {
    const uint8_t *a = up + i * 4, *b = down + i * 3;
    double length = 0;
    for (size_t c = 0; c < 3; c++) length += (a[c] / 127.5 - 1) * (a[c] / 127.5 - 1);
    CHECK(length > 0.98 && length < 1.02 && a[2] >= 127 && a[3] == 255);
    CHECK(a[0] == b[0] && a[2] == b[2] && apart(a[1], 255 - b[1]) <= 1);
    tilted += a[1] > 140 || a[1] < 115;
  }
  CHECK(tilted > AREA / 8);

  get(session, FT_MAP_HEIGHT, 0, FT_PIXEL_GREY8, grey, 1);
  get(session, FT_MAP_HEIGHT, 0, FT_PIXEL_GREY16, levels, 2);
  get(session, FT_MAP_HEIGHT, FT_MAP_NORMAL_Y_DOWN, FT_PIXEL_GREY_F32, numbers, 4);
  for (size_t i = 0; i < AREA; i++) {
    const double number = (double)numbers[i];
    CHECK(number >= 0 && number <= 1);
    CHECK(apart(number * 255, grey[i]) <= 1 && apart(number * 65535, levels[i]) <= 1);
  }

  get(session, FT_MAP_ROUGHNESS, 0, FT_PIXEL_GREY8, grey, 1);
  get(session, FT_MAP_ORM, 0, FT_PIXEL_BGRA8, packed, 4);
  get(session, FT_MAP_HDRP_MASK, 0, FT_PIXEL_RGBA8, up, 4);
  size_t rough = 0;
  for (size_t i = 0; i < AREA; i++) {
    const uint8_t *orm = packed + i * 4, *mask = up + i * 4;
    CHECK(orm[2] == 255 && orm[1] == grey[i] && orm[0] == 0 && orm[3] == 255);
    CHECK(mask[0] == 0 && mask[1] == 255 && mask[2] == 0 && apart(mask[3], 255 - grey[i]) <= 1);
    rough += grey[i] > 140;
  }
  CHECK(rough > AREA / 8 && rough < AREA);
}

/* In rows with a gap, which stays. */
static void strides(ft_session *session) {
  static uint8_t wide[MOST * 2 + 2 * 16 * 6];
  const size_t row = WIDTH * 2 + 6;
  memset(wide, 0x5a, sizeof wide);
  ft_pixels pixels = memory_for(FT_PIXEL_GREY16, wide, sizeof wide);
  pixels.row_stride = row;
  OK(ft_session_get_map(session, FT_MAP_HEIGHT, 0, &pixels));
  for (size_t y = 0; y < 2 * HEIGHT; y++) {
    CHECK(!memcmp(wide + y * row, levels + y * WIDTH, WIDTH * 2));
    for (size_t gap = WIDTH * 2; gap < row; gap++) CHECK(wide[y * row + gap] == 0x5a);
  }
}

static void refusals(ft_session *session) {
  const ft_pixels good = memory_for(FT_PIXEL_GREY8, grey, AREA);
  ft_pixels wrong = good;
  memset(grey, 7, sizeof grey);
  FAILS(ft_session_get_map(NULL, FT_MAP_HEIGHT, 0, &good), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_get_map(session, FT_MAP_HEIGHT, 0, NULL), FT_ERROR_INVALID_ARGUMENT, "pixels is NULL");
  FAILS(ft_session_get_map(session, 0, 0, &good), FT_ERROR_INVALID_ARGUMENT, "map: 0 is no FT_MAP_");
  FAILS(ft_session_get_map(session, FT_MAP_HEIGHT | FT_MAP_ROUGHNESS, 0, &good), FT_ERROR_INVALID_ARGUMENT, "map: 12");
  FAILS(ft_session_get_map(session, 256, 0, &good), FT_ERROR_INVALID_ARGUMENT, "map: 256");
  FAILS(ft_session_get_map(session, FT_MAP_HEIGHT, 2, &good), FT_ERROR_INVALID_ARGUMENT, "flags: 2");
  FAILS(ft_session_get_map(session, FT_MAP_METALLIC, 0, &good), FT_ERROR_INVALID_ARGUMENT,
        "has no metallic map; it has color, height, normal, roughness, orm, mask");
  FAILS(ft_session_get_map(session, FT_MAP_NORMAL, 0, &good), FT_ERROR_INVALID_ARGUMENT, "GREY8 holds no normal map");
  wrong.size--;
  FAILS(ft_session_get_map(session, FT_MAP_HEIGHT, 0, &wrong), FT_ERROR_INVALID_ARGUMENT, "GREY8 take");
  for (size_t i = 0; i < AREA; i++) CHECK(grey[i] == 7);
}

/* Colour stays where the mask says so; what the image was does not show in other maps. */
static void masked(ft_session *session, ft_request request) {
  static uint8_t init[MOST * 3 / 2], mask[MOST / 2];
  for (size_t i = 0; i < sizeof init; i++) init[i] = (uint8_t)(i * 37);
  for (size_t i = 0; i < sizeof mask; i++) mask[i] = i % WIDTH < WIDTH / 2 ? 0 : 255;
  const ft_pixels begun = pixels_of(init, sizeof init), pixels = pixels_of(rgb, AREA * 3);
  request.init = &begun;
  request.mask = mask;
  request.mask_size = sizeof mask;
  OK(ft_session_generate(session, &request, &pixels));
  for (size_t i = 0; i < AREA; i++) {
    if (i % WIDTH < WIDTH / 2) CHECK(!memcmp(rgb + i * 3, init + i % (AREA / 2) * 3, 3));
  }
  maps(session);
}

static void saving(ft_session *session) {
  const ft_pixels heights = memory_for(FT_PIXEL_GREY16, levels, AREA * 2);
  OK(ft_session_get_map(session, FT_MAP_HEIGHT, 0, &heights));
  char name[] = "/tmp/flowturbo-height-XXXXXX";
  CHECK(!close(mkstemp(name)));
  OK(ft_pixels_save_png(&heights, (uint32_t)WIDTH, (uint32_t)HEIGHT, name));
  uint8_t header[26];
  FILE *file = fopen(name, "rb");
  CHECK(file && fread(header, 1, sizeof header, file) == sizeof header && !fclose(file));
  CHECK(!remove(name));
  /* 16 bits of grey. */
  CHECK(header[19] == WIDTH && header[23] == HEIGHT && header[24] == 16 && header[25] == 0);
}

int main(int count, char **arguments) {
  const int64_t classes[2] = {0, 1};
  const char *bundle = given(count, arguments);
  uint8_t done = 0;
  ft_map known = 0;
  CHECK(count == 3);
  AREA = 2 * WIDTH * HEIGHT;
  CHECK(AREA == MOST);

  ft_model *model = open_model(bundle, 1);
  OK(ft_model_get_maps(model, &known));
  CHECK(known == (FT_MAP_COLOR | FT_MAP_NORMAL | FT_MAP_HEIGHT | FT_MAP_ROUGHNESS | FT_MAP_ORM | FT_MAP_HDRP_MASK));
  FAILS(ft_model_get_maps(model, NULL), FT_ERROR_INVALID_ARGUMENT, "out_maps is NULL");
  FAILS(ft_model_get_maps(NULL, &known), FT_ERROR_INVALID_ARGUMENT, "NULL, an ft_model is wanted");

  ft_session *session = new_session(model);
  ft_request request = request_for(classes, NULL);
  request.image_count = 2;
  request.seed = 3;
  ft_pixels pixels = pixels_of(rgb, AREA * 3);
  const ft_pixels heights = memory_for(FT_PIXEL_GREY16, levels, AREA * 2);
  FAILS(ft_session_get_map(session, FT_MAP_HEIGHT, 0, &heights), FT_ERROR_INVALID_ARGUMENT, "no generation was begun");
  OK(ft_session_generate(session, &request, &pixels));
  maps(session);
  strides(session);
  refusals(session);
  saving(session);

  /* In pieces: once all is done, colour or not. */
  static uint16_t whole[MOST];
  memcpy(whole, levels, sizeof whole);
  OK(ft_session_begin(session, &request));
  while (!done) {
    FAILS(ft_session_get_map(session, FT_MAP_HEIGHT, 0, &heights), FT_ERROR_INVALID_ARGUMENT, "images left to make");
    OK(ft_session_step(session, FT_WHOLE_STEP, &done));
  }
  memset(levels, 0, sizeof levels);
  OK(ft_session_get_map(session, FT_MAP_HEIGHT, 0, &heights));
  CHECK(!memcmp(whole, levels, sizeof whole));
  masked(session, request);

  request.output = FT_OUTPUT_LATENTS;
  OK(ft_session_generate(session, &request, NULL));
  FAILS(ft_session_get_map(session, FT_MAP_COLOR, 0, &pixels), FT_ERROR_INVALID_ARGUMENT, "latents alone");
  ft_session_free(session);
  ft_model_free(model);

  /* A model of colour alone. */
  model = open_model(arguments[2], 1);
  OK(ft_model_get_maps(model, &known));
  CHECK(known == FT_MAP_COLOR);
  session = new_session(model);
  request = request_for(classes, "E1");
  static uint8_t plain[MAX_IMAGE], same[MAX_IMAGE];
  pixels = pixels_of(plain, MAX_IMAGE);
  pixels.row_stride = 128 * 3;
  OK(ft_session_generate(session, &request, &pixels));
  pixels.data = same;
  OK(ft_session_get_map(session, FT_MAP_COLOR, 0, &pixels));
  CHECK(!memcmp(plain, same, sizeof same));
  FAILS(ft_session_get_map(session, FT_MAP_NORMAL, 0, &pixels), FT_ERROR_INVALID_ARGUMENT,
        "no normal map; it has color");
  ft_session_free(session);
  ft_model_free(model);
  return 0;
}
