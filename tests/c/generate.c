/* Images and latents: what the model says of itself, formats, strides, previews, callbacks.
 * Arguments: a bundle, and perhaps one that has the colours of previews and no decoder. */
#include "check.h"

static uint8_t rgb[2 * MAX_IMAGE], again[2 * MAX_IMAGE];

/* A half float, without infinities. */
static float half(const uint8_t *at) {
  uint16_t bits;
  memcpy(&bits, at, sizeof bits);
  float value = (float)(bits & 0x3ff) / 1024.0f;
  int exponent = bits >> 10 & 31;
  value = exponent ? value + 1.0f : value * 2.0f;
  for (; exponent < 15; exponent++) value /= 2.0f;
  return value;
}

static void about(const ft_model *model) {
  ft_model_info info;
  const char *label;
  int64_t number;
  info.struct_size = sizeof info;
  OK(ft_model_get_info(model, &info));
  CHECK(info.networks == (FT_NETWORK_REFINER | FT_NETWORK_DECODER | FT_NETWORK_ENCODER) ||
        info.networks == (FT_NETWORK_REFINER | FT_NETWORK_DECODER));
  CHECK(info.threads == 2 && info.null_class == info.class_count && strlen(info.hash) == 64 && info.guidance > 1);
  if (!strcmp(info.name, "textures")) {
    CHECK(info.width == 128 && info.height == 128 && info.class_count == 11 && !strcmp(info.schedule, "H1P6R5"));
    CHECK(info.latent_channels == 8 && info.latent_height == 16 && info.latent_width == 16);
    CHECK(!strcmp(info.license, "CC-BY-SA-3.0") && strstr(info.description, "textures"));
    OK(ft_model_find_class(model, "GRASS", &number));
    CHECK(number == 4);
  } else {
    CHECK(!info.license && !info.description);
  }
  for (uint32_t i = 0; i < info.class_count; i++) {
    OK(ft_model_class_label(model, i, &label));
    OK(ft_model_find_class(model, label, &number));
    CHECK(number == i);
  }
}

static void formats(ft_session *session, const ft_request *request) {
  static uint8_t other[2 * MAX_IMAGE * 4];
  static const struct {
    ft_pixel_format format;
    size_t each, red, green, blue;
  } ALL[] = {
      {FT_PIXEL_RGB8, 3, 0, 1, 2},      {FT_PIXEL_RGBA8, 4, 0, 1, 2},    {FT_PIXEL_BGRA8, 4, 2, 1, 0},
      {FT_PIXEL_RGB_F16, 6, 0, 2, 4}, {FT_PIXEL_RGB_F32, 12, 0, 4, 8},
  };
  for (size_t f = 0; f < sizeof ALL / sizeof *ALL; f++) {
    ft_pixels pixels = pixels_of(other, 2 * WIDTH * HEIGHT * ALL[f].each);
    pixels.format = ALL[f].format;
    OK(ft_session_generate(session, request, &pixels));
    for (size_t i = 0; i < 2 * WIDTH * HEIGHT; i++) {
      const uint8_t *pixel = other + i * ALL[f].each, *wanted = rgb + 3 * i;
      const size_t at[3] = {ALL[f].red, ALL[f].green, ALL[f].blue};
      for (size_t c = 0; c < 3; c++) {
        float value = pixel[at[c]], error = 0.0f;
        if (ALL[f].format == FT_PIXEL_RGB_F16) value = 255.0f * half(pixel + at[c]), error = 0.66f;
        if (ALL[f].format == FT_PIXEL_RGB_F32) memcpy(&value, pixel + at[c], 4), value *= 255.0f, error = 0.501f;
        float apart = value - (float)wanted[c];
        CHECK(apart <= error && -apart <= error);
      }
      if (ALL[f].each == 4) CHECK(pixel[3] == 255);
    }
  }
}

/* The first two images of an atlas of 2 x 2, with a margin that stays. */
static void strides(ft_session *session, const ft_request *request) {
  enum { EDGE = 2 * 128 + 8, ROW = EDGE * 4, SIZE = EDGE * ROW };
  static uint8_t atlas[SIZE];
  memset(atlas, 0x5a, SIZE);
  ft_pixels pixels = pixels_of(atlas + 4 * ROW + 16, SIZE - 4 * ROW - 16);
  pixels.format = FT_PIXEL_RGBA8;
  pixels.row_stride = ROW;
  pixels.image_stride = WIDTH * 4;
  FAILS(ft_session_generate(session, request, &pixels),
        FT_ERROR_INVALID_ARGUMENT, part("an image stride of %zu", WIDTH * 4, 0));
  pixels.image_stride = (HEIGHT + 2) * ROW;
  OK(ft_session_generate(session, request, &pixels));
  for (size_t y = 0; y < EDGE; y++) {
    for (size_t x = 0; x < EDGE; x++) {
      size_t image = y >= HEIGHT + 6 ? 1 : 0, top = 4 + image * (HEIGHT + 2);
      bool inside = x >= 4 && x < 4 + WIDTH && y >= top && y < top + HEIGHT;
      const uint8_t *pixel = atlas + y * ROW + x * 4;
      const uint8_t *wanted = rgb + image * IMAGE + ((y - top) * WIDTH + x - 4) * 3;
      CHECK(inside ? !memcmp(pixel, wanted, 3) && pixel[3] == 255 : pixel[0] == 0x5a && pixel[3] == 0x5a);
    }
  }
}

static void latents(ft_session *session, ft_request request) {
  static float first[2 * MAX_LATENT], second[2 * MAX_LATENT];
  ft_pixels pixels = pixels_of(again, 2 * IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  OK(ft_session_get_latents(session, first, 2 * LATENT));
  OK(ft_session_decode(session, first, 2 * LATENT, &pixels));
  CHECK(!memcmp(rgb, again, 2 * IMAGE));
  request.output = FT_OUTPUT_LATENTS;
  OK(ft_session_generate(session, &request, NULL));
  OK(ft_session_get_latents(session, second, 2 * LATENT));
  CHECK(!memcmp(first, second, 2 * LATENT * sizeof *first));
  /* Noise of the caller's: another image, the same twice. */
  static float noise[2 * MAX_LATENT];
  for (size_t i = 0; i < 2 * LATENT; i++) noise[i] = (float)((i * 2654435761u >> 16) % 4001) / 1000.0f - 2.0f;
  request.noise = noise;
  request.noise_count = 2 * LATENT;
  for (int i = 0; i < 2; i++) {
    OK(ft_session_generate(session, &request, NULL));
    OK(ft_session_get_latents(session, i ? second : first, 2 * LATENT));
  }
  CHECK(!memcmp(first, second, 2 * LATENT * sizeof *first));
}

struct heard {
  ft_session *session;
  uint32_t steps, stop_at;
  char kinds[16];
  uint32_t decoded;
};

static int32_t hear(void *user_data, const ft_progress *progress) {
  struct heard *heard = user_data;
  CHECK(progress->struct_size == sizeof *progress && progress->pictures == 2 && progress->microseconds > 0);
  if (progress->decoded) {
    CHECK(progress->step == progress->steps && progress->kind == 'R' && progress->decoded == ++heard->decoded);
    return 0;
  }
  CHECK(progress->step == heard->steps + 1);
  CHECK(progress->latent_count == 2 * LATENT && progress->latents);
  CHECK(progress->preview_width == LATENT_WIDTH && progress->preview_height == LATENT_HEIGHT);
  CHECK(progress->preview_size == 2 * LATENT_WIDTH * LATENT_HEIGHT * 3);
  /* Rough, but of the image's mean colour in the end, if the decoder is a trained one. */
  if (progress->step == progress->steps && LATENT_WIDTH == LATENT_HEIGHT) {
    for (size_t c = 0; c < 3; c++) {
      double small = 0, large = 0;
      for (size_t i = 0; i < 16 * 16; i++) small += progress->preview[3 * i + c] / 256.0;
      for (size_t i = 0; i < WIDTH * HEIGHT; i++) large += rgb[3 * i + c] / (double)(WIDTH * HEIGHT);
      CHECK(small - large < 20 && large - small < 20);
    }
  }
  heard->kinds[heard->steps++] = (char)progress->kind;
  /* From inside, the session is at work; other calls are fine. */
  uint8_t done;
  FAILS(ft_session_step(heard->session, FT_WHOLE_STEP, &done), FT_ERROR_BUSY, "at work");
  return heard->steps == heard->stop_at;
}

static void progress(ft_session *session, ft_request request) {
  struct heard heard = {session, 0, 0, "", 0};
  ft_pixels pixels = pixels_of(again, 2 * IMAGE);
  request.progress = hear;
  request.progress_data = &heard;
  request.preview = FT_PREVIEW_LINEAR;
  OK(ft_session_generate(session, &request, &pixels));
  CHECK(!strcmp(heard.kinds, "HPPR") && heard.decoded == 2 && !memcmp(rgb, again, 2 * IMAGE));
  heard = (struct heard){session, 0, 1, "", 0};
  FAILS(ft_session_generate(session, &request, &pixels), FT_ERROR_CANCELLED, "step 1 of 4 (H)");
  heard = (struct heard){session, 0, 2, "", 0};
  memset(again, 9, 2 * IMAGE);
  FAILS(ft_session_generate(session, &request, &pixels), FT_ERROR_CANCELLED, "step 2 of 4 (P)");
  for (size_t i = 0; i < 2 * IMAGE; i++) CHECK(again[i] == 9);
  CHECK(heard.steps == 2);
}

static void memory(const ft_model *model, ft_request request) {
  ft_memory two, one;
  two.struct_size = one.struct_size = sizeof one;
  OK(ft_model_prepare(model, &request, &two));
  request.image_count = 1;
  OK(ft_model_prepare(model, &request, &one));
  OK(ft_model_prepare(model, &request, NULL));
  CHECK(one.model_bytes > 10000 && one.model_bytes < 60000000 && one.reserved == 0);
  CHECK(two.session_bytes > one.session_bytes && one.session_bytes > 100000 && two.session_bytes < 60000000);
}

/* What the manifest says: red and green are the first two channels, blue is always 0.5 of [-1, 1]. */
static int32_t is_coloured(void *user_data, const ft_progress *progress) {
  size_t area = LATENT_WIDTH * LATENT_HEIGHT;
  ++*(int *)user_data;
  CHECK(progress->preview && progress->preview_size == area * 3);
  for (size_t i = 0; i < area; i++) {
    for (size_t c = 0; c < 3; c++) {
      float colour = c == 2 ? 0.5f : progress->latents[c * area + i];
      float wanted = 127.5f * ((colour < -1 ? -1 : colour > 1 ? 1 : colour) + 1);
      float difference = progress->preview[3 * i + c] - wanted;
      CHECK(-0.51f < difference && difference < 0.51f);
    }
  }
  return 0;
}

/* No decoder, but the colours of previews in the manifest. From here on, sizes are this bundle's. */
static void colours(char **arguments, ft_request request) {
  ft_model *model = open_model(given(2, arguments), 1);
  ft_session *session = new_session(model);
  int shown = 0;
  request.image_count = 1;
  request.schedule = "E1";
  request.output = FT_OUTPUT_LATENTS;
  request.progress = is_coloured;
  request.progress_data = &shown;
  request.preview = FT_PREVIEW_LINEAR;
  OK(ft_session_generate(session, &request, NULL));
  CHECK(shown == 1);
  ft_session_free(session);
  ft_model_free(model);
}

int main(int count, char **arguments) {
  const int64_t classes[2] = {0, 1};
  ft_model *model = open_model(given(count, arguments), 2);
  about(model);
  ft_session *session = new_session(model);
  ft_request request = request_for(classes, "H1P2R1");
  request.image_count = 2;
  request.seed = 7;
  ft_pixels pixels = pixels_of(rgb, 2 * IMAGE);
  memory(model, request);
  OK(ft_session_prepare(session, &request));
  OK(ft_session_generate(session, &request, &pixels));
  CHECK(memcmp(rgb, rgb + IMAGE, IMAGE));
  formats(session, &request);
  strides(session, &request);
  latents(session, request);
  progress(session, request);
  ft_session_free(session);
  ft_model_free(model);
  if (count > 2) colours(arguments + 1, request);
  return 0;
}
