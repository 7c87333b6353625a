/* What an image begins with, and how it lies: images, masks, variations, morphs, tiles, sizes, presets. Arguments: a
 * bundle; one without an encoder is only asked for what it can do. */
#include "check.h"

static const int64_t CLASSES[2] = {1, 0};
static uint8_t plain[2 * MAX_IMAGE], rgb[2 * MAX_IMAGE], begun[MAX_IMAGE / 3 * 5], mask[MAX_IMAGE / 3];
static float latents[2][2 * MAX_LATENT];

/* Latents of two images. */
static void sample(ft_session *session, ft_request request, float *out) {
  request.output = FT_OUTPUT_LATENTS;
  OK(ft_session_generate(session, &request, NULL));
  OK(ft_session_get_latents(session, out, 2 * LATENT));
}

static float furthest(const float *a, const float *b, size_t count) {
  float most = 0;
  for (size_t i = 0; i < count; i++) {
    const float difference = a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
    if (!(difference <= most)) most = difference;
  }
  return most;
}

static void noise_and_classes(ft_session *session, ft_request request) {
  sample(session, request, latents[0]);
  request.variation = 1;
  request.variation_seed = 6;
  sample(session, request, latents[1]);
  CHECK(furthest(latents[0], latents[1], 2 * LATENT) > 0.1f);
  request.variation = 0;
  request.seed = 6;
  sample(session, request, latents[0]);
  CHECK(furthest(latents[0], latents[1], 2 * LATENT) < 1e-3f);

  /* The same images in another order, and both by a seed of their own: the first of each. */
  const int64_t turned[2] = {CLASSES[1], CLASSES[0]};
  const uint64_t streams[2] = {1, 0}, seeds[2] = {6, 6}, first[2] = {0, 0};
  request.classes = turned;
  request.streams = streams;
  request.stream_count = 2;
  sample(session, request, latents[1]);
  CHECK(furthest(latents[0], latents[1] + LATENT, LATENT) < 1e-3f);
  CHECK(furthest(latents[0] + LATENT, latents[1], LATENT) < 1e-3f);
  request.streams = first;
  sample(session, request, latents[0]);
  CHECK(furthest(latents[0], latents[1], 2 * LATENT) > 0.1f);
  request.streams = NULL;
  request.stream_count = 0;
  request.seeds = seeds;
  request.seed_count = 2;
  request.seed = 1;
  sample(session, request, latents[1]);
  CHECK(furthest(latents[0], latents[1], 2 * LATENT) < 1e-3f);
  request.seed_count = 1;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.seeds: 1 for 2 images");
  request.seeds = NULL;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.seeds is NULL");
  request.seed_count = 0;
  request.stream_count = 2;
  FAILS(ft_session_prepare(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.streams is NULL");
  request.stream_count = 0;
  request.seed = 6;
  request.classes = CLASSES;

  /* Each image all the way to the other one's class. */
  const int64_t swapped[2] = {CLASSES[1], CLASSES[0]};
  const float amounts[2] = {1, 1};
  request.morph_classes = swapped;
  request.morph_amounts = amounts;
  sample(session, request, latents[0]);
  request.classes = swapped;
  request.morph_classes = NULL;
  sample(session, request, latents[1]);
  CHECK(furthest(latents[0], latents[1], 2 * LATENT) < 1e-3f);
}

static void tiles(ft_session *session, ft_request request, const ft_model_info *info) {
  sample(session, request, latents[0]);
  request.tile = FT_TILE_BOTH;
  sample(session, request, latents[1]);
  CHECK(furthest(latents[0], latents[1], 2 * LATENT) > 1e-4f);
  ft_pixels pixels = pixels_of(rgb, 2 * IMAGE);
  if (info->tiles) {
    OK(ft_session_generate(session, &request, &pixels));
  } else {
    FAILS(ft_session_generate(session, &request, &pixels), FT_ERROR_INVALID_ARGUMENT, "does not wrap around");
  }
  /* One image, twice as wide: as many floats as two. */
  request.image_count = 1;
  request.width = info->width * 2;
  sample(session, request, latents[1]);
  if (info->tiles) {
    OK(ft_session_generate(session, &request, &pixels));
    static uint8_t decoded[2 * MAX_IMAGE];
    const ft_pixels again = pixels_of(decoded, 2 * IMAGE);
    OK(ft_session_decode_sized(session, latents[1], 2 * LATENT, request.width, 0, &again));
    CHECK(!memcmp(rgb, decoded, 2 * IMAGE));
  }
}

static void images(ft_session *session, ft_request request) {
  /* Rows of four bytes a pixel with a gap behind each; the left half stays, a slope lies in the middle. */
  const size_t stride = WIDTH * 4 + 12;
  for (size_t y = 0; y < HEIGHT; y++) {
    for (size_t x = 0; x < WIDTH; x++) {
      uint8_t *pixel = begun + y * stride + x * 4;
      for (size_t channel = 0; channel < 4; channel++) pixel[channel] = (uint8_t)(y * 3 + x * channel);
      mask[y * WIDTH + x] = x < WIDTH / 2 ? 0 : x < WIDTH / 2 + 8 ? 128 : 255;
    }
  }
  ft_pixels init = pixels_of(begun, stride * HEIGHT);
  init.format = FT_PIXEL_RGBA8;
  init.row_stride = stride;
  request.init = &init;
  request.mask = mask;
  request.mask_size = WIDTH * HEIGHT;
  ft_pixels pixels = pixels_of(rgb, 2 * IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  size_t changed = 0;
  for (size_t i = 0; i < 2 * WIDTH * HEIGHT; i++) {
    const size_t x = i % WIDTH, y = i / WIDTH % HEIGHT;
    const int same = !memcmp(&rgb[i * 3], &begun[y * stride + x * 4], 3);
    CHECK(same || x >= WIDTH / 2);
    changed += !same;
  }
  CHECK(changed > WIDTH * HEIGHT / 2);

  /* Without a mask the weaker edit stays nearer. */
  request.mask = NULL;
  request.mask_size = 0;
  double distance[2] = {0, 0};
  for (size_t i = 0; i < 2; i++) {
    request.strength = i ? 0.9f : 0.2f;
    OK(ft_session_generate(session, &request, &pixels));
    for (size_t p = 0; p < IMAGE; p++) {
      const int difference = rgb[p] - begun[p / 3 / WIDTH * stride + p / 3 % WIDTH * 4 + p % 3];
      distance[i] += difference * difference;
    }
  }
  CHECK(distance[0] > 0 && distance[0] < distance[1]);

  /* The same image by way of its latent. */
  OK(ft_session_encode(session, &init, 0, 0, 1, latents[0], LATENT));
  pixels.size = IMAGE;
  OK(ft_session_decode(session, latents[0], LATENT, &pixels));
  double error = 0;
  for (size_t p = 0; p < IMAGE; p++) {
    const int difference = rgb[p] - begun[p / 3 / WIDTH * stride + p / 3 % WIDTH * 4 + p % 3];
    error += difference * difference;
  }
  CHECK(error < distance[1]);
}

static void refusals(ft_session *session, ft_request good, bool encoder) {
  ft_request request;
  ft_pixels init = pixels_of(plain, IMAGE), pixels = pixels_of(rgb, 2 * IMAGE);
  const int64_t strange[2] = {99, 99};
  const float amounts[2] = {0.5f, 1.5f};
#define WRONG(field, value, status, part)                                 \
  do {                                                                    \
    request.field = value;                                                \
    FAILS(ft_session_generate(session, &request, &pixels), status, part); \
    FAILS(ft_session_begin(session, &request), status, part);             \
    request = good;                                                       \
  } while (0)
  request = good;
  WRONG(tile, 4, FT_ERROR_INVALID_ARGUMENT, "request.tile: 4");
  WRONG(width, 130, FT_ERROR_INVALID_ARGUMENT, "in steps of");
  WRONG(height, 8, FT_ERROR_INVALID_ARGUMENT, "must be at least");
  WRONG(width, UINT32_MAX, FT_ERROR_LIMIT_EXCEEDED, "max_edge");
  WRONG(preset, "none such", FT_ERROR_INVALID_ARGUMENT, "none such");
  WRONG(preset, "\xff", FT_ERROR_INVALID_ARGUMENT, "request.preset is not UTF-8");
  WRONG(strength, 0.0f, FT_ERROR_INVALID_ARGUMENT, "strength 0");
  WRONG(strength, 0.5f, FT_ERROR_INVALID_ARGUMENT, "without init");
  WRONG(variation, 1.5f, FT_ERROR_INVALID_ARGUMENT, "variation: an amount of 1.5");
  WRONG(morph_classes, CLASSES, FT_ERROR_INVALID_ARGUMENT, "request.morph_amounts is NULL");
  request.morph_amounts = amounts;
  WRONG(morph_classes, strange, FT_ERROR_INVALID_ARGUMENT, "class 99");
  request.morph_amounts = amounts;
  WRONG(morph_classes, CLASSES, FT_ERROR_INVALID_ARGUMENT, "morph: an amount of 1.5");
  request.mask = mask;
  WRONG(mask_size, WIDTH * HEIGHT, FT_ERROR_INVALID_ARGUMENT, "mask: without init");
  request.mask = mask;
  WRONG(mask_size, 7, FT_ERROR_INVALID_ARGUMENT, "request.mask_size: 7 bytes");
  FAILS(ft_session_decode_sized(session, latents[0], LATENT, 3, 0, &init),
        FT_ERROR_INVALID_ARGUMENT, "must be in steps of");
  FAILS(ft_session_decode_sized(session, latents[0], LATENT, 0, UINT32_MAX, &init),
        FT_ERROR_INVALID_ARGUMENT, "must be in steps of");
  FAILS(ft_session_decode_sized(session, latents[0], LATENT, 8192, 8192, &init),
        FT_ERROR_INVALID_ARGUMENT, "a latent takes");
  if (!encoder) {
    FAILS(ft_session_encode(session, &init, 0, 0, 1, latents[0], LATENT), FT_ERROR_INVALID_ARGUMENT, "no encoder");
    return;
  }
  init.size--;
  WRONG(init, &init, FT_ERROR_INVALID_ARGUMENT, "request.init: pixels: ");
  init.format = 9;
  WRONG(init, &init, FT_ERROR_INVALID_ARGUMENT, "request.init.format: 9");
  init.struct_size = 1;
  WRONG(init, &init, FT_ERROR_INVALID_ARGUMENT, "struct_size is 1");
  init = pixels_of(NULL, IMAGE);
  WRONG(init, &init, FT_ERROR_INVALID_ARGUMENT, "request.init.data is NULL");
  init = pixels_of(plain, IMAGE);
  request.init = &init;
  WRONG(init_count, UINT32_MAX, FT_ERROR_LIMIT_EXCEEDED, "max_tensor_bytes");
  FAILS(ft_session_encode(NULL, &init, 0, 0, 1, latents[0], LATENT), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_encode(session, NULL, 0, 0, 1, latents[0], LATENT), FT_ERROR_INVALID_ARGUMENT, "pixels is NULL");
  FAILS(ft_session_encode(session, &init, 0, 0, 1, NULL, LATENT), FT_ERROR_INVALID_ARGUMENT, "out_latents is NULL");
  FAILS(ft_session_encode(session, &init, 0, 0, 0, latents[0], LATENT), FT_ERROR_INVALID_ARGUMENT, "image_count: 0");
  FAILS(ft_session_encode(session, &init, 0, 0, UINT32_MAX, latents[0], LATENT), FT_ERROR_LIMIT_EXCEEDED, "max_batch");
  FAILS(ft_session_encode(session, &init, UINT32_MAX - 7, 8, 1, latents[0], LATENT),
        FT_ERROR_LIMIT_EXCEEDED, "max_edge");
  FAILS(ft_session_encode(session, &init, 0, 0, 1, latents[0], LATENT + 1), FT_ERROR_INVALID_ARGUMENT, "count: ");
  FAILS(ft_session_encode(session, &init, 5, 5, 1, latents[0], LATENT), FT_ERROR_INVALID_ARGUMENT, "in steps of");
}

int main(int count, char **arguments) {
  const char *bundle = given(count, arguments), *name = "untouched";
  ft_model *model = open_model(bundle, 2);
  ft_session *session = new_session(model);
  ft_model_info info;
  info.struct_size = sizeof info;
  OK(ft_model_get_info(model, &info));
  CHECK(info.cell_width == WIDTH / LATENT_WIDTH && info.cell_height == HEIGHT / LATENT_HEIGHT);
  ft_request request = request_for(CLASSES, "H1P1R1");
  ft_pixels pixels = pixels_of(plain, 2 * IMAGE);
  request.image_count = 2;
  request.seed = 5;
  OK(ft_session_generate(session, &request, &pixels));

  noise_and_classes(session, request);
  tiles(session, request, &info);
  if (info.networks & FT_NETWORK_ENCODER) {
    images(session, request);
  } else {
    ft_pixels init = pixels_of(plain, IMAGE);
    request.init = &init;
    FAILS(ft_session_begin(session, &request), FT_ERROR_INVALID_ARGUMENT, "no encoder");
    request.init = NULL;
  }
  refusals(session, request, info.networks & FT_NETWORK_ENCODER);

  for (uint32_t i = 0; i < info.preset_count; i++) {
    ft_request by_name = request_for(CLASSES, NULL);
    by_name.image_count = 2;
    OK(ft_model_preset_name(model, i, &by_name.preset));
    sample(session, by_name, latents[0]);
    uint32_t made, all;
    OK(ft_session_get_steps(session, &made, &all));
    CHECK(made == all);
    if (!strcmp(info.name, "miniature")) {
      /* E1 at 1.5, and not the bundle's own. */
      CHECK(all == 1 && !strcmp(by_name.preset, "fast"));
      ft_request same = request_for(CLASSES, "E1");
      same.image_count = 2;
      same.guidance = 1.5f;
      sample(session, same, latents[1]);
      CHECK(!(furthest(latents[0], latents[1], 2 * LATENT) > 0));
    }
    /* What is set besides goes before. */
    by_name.schedule = "H1P2";
    by_name.guidance = 1;
    sample(session, by_name, latents[0]);
    OK(ft_session_get_steps(session, &made, &all));
    CHECK(all == 3);
  }
  FAILS(ft_model_preset_name(model, info.preset_count, &name), FT_ERROR_INVALID_ARGUMENT, "the bundle has");
  FAILS(ft_model_preset_name(model, 0, NULL), FT_ERROR_INVALID_ARGUMENT, "out_name is NULL");
  FAILS(ft_model_preset_name(NULL, 0, &name), FT_ERROR_INVALID_ARGUMENT, "NULL");
  CHECK(!strcmp(name, "untouched"));

  /* Nothing of all that is left in a plain request. */
  pixels = pixels_of(rgb, 2 * IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  CHECK(!memcmp(rgb, plain, 2 * IMAGE));
  ft_session_free(session);
  ft_model_free(model);
  return 0;
}
