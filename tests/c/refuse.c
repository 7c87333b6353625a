/* Every function, with what it must refuse: NULL for each pointer, handles that are none, wrong sizes, wrong
 * values. After each refusal results are as they were, and the next call works. Arguments: a bundle, one without a
 * decoder, and one whose class 8 its networks do not know. */
#include "check.h"

static const char *bundle;
static const int64_t CLASS = 1;
static uint8_t rgb[MAX_IMAGE];

static void texts(void) {
  CHECK(ft_version() == FT_VERSION);
  CHECK(!strcmp(ft_version_string(), FT_VERSION_STRING));
  CHECK(FT_VERSION == ((FT_VERSION_MAJOR << 16) | (FT_VERSION_MINOR << 8) | FT_VERSION_PATCH));
  CHECK(!strcmp(ft_status_name(FT_OK), "FT_OK"));
  CHECK(!strcmp(ft_status_name(FT_ERROR_INVALID_HANDLE), "FT_ERROR_INVALID_HANDLE"));
  CHECK(!strcmp(ft_status_name(-1), "unknown status"));
  CHECK(!strcmp(ft_last_error_message(), ""));
}

static void structs(void) {
  ft_model_options options;
  ft_reader reader;
  ft_request request;
  ft_pixels pixels;
  FAILS(ft_model_options_init(NULL, sizeof options), FT_ERROR_INVALID_ARGUMENT, "options is NULL");
  FAILS(ft_reader_init(NULL, sizeof reader), FT_ERROR_INVALID_ARGUMENT, "reader is NULL");
  FAILS(ft_request_init(NULL, sizeof request), FT_ERROR_INVALID_ARGUMENT, "request is NULL");
  FAILS(ft_pixels_init(NULL, sizeof pixels), FT_ERROR_INVALID_ARGUMENT, "pixels is NULL");
  /* The library of the tests knows a request that is one field longer. */
  for (size_t size = 0; size < 240; size += size == sizeof(ft_request) ? 9 : 1) {
    uint8_t bytes[240];
    memset(bytes, 0xee, sizeof bytes);
#define SIZES(init, type, first)                                                          \
  do {                                                                                    \
    struct aligned {                                                                      \
      char before;                                                                        \
      type it;                                                                            \
    };                                                                                    \
    ft_status wanted = size < (first)                          ? FT_ERROR_INVALID_ARGUMENT \
                       : size > sizeof(type)                   ? FT_ERROR_UNSUPPORTED     \
                       : size % offsetof(struct aligned, it) != 0 ? FT_ERROR_INVALID_ARGUMENT \
                                                               : FT_OK;                   \
    STATUS(init((type *)(void *)bytes, size), wanted);                                    \
    for (size_t i = wanted == FT_OK ? size : 0; i < sizeof bytes; i++) CHECK(bytes[i] == 0xee); \
    if (wanted != FT_OK) CHECK(strstr(ft_last_error_message(), #type ".struct_size is"));  \
    memset(bytes, 0xee, sizeof bytes);                                                    \
  } while (0)
    SIZES(ft_pixels_init, ft_pixels, sizeof(ft_pixels));
    /* Those of the first release, which still count. */
    SIZES(ft_model_options_init, ft_model_options, sizeof(void *) == 8 ? 64u : 44u);
    SIZES(ft_limits_init, ft_limits, 48u);
    SIZES(ft_reader_init, ft_reader, sizeof(void *) == 8 ? 40u : 28u);
    SIZES(ft_request_init, ft_request, sizeof(void *) == 8 ? 88u : 60u);
  }
  OK(ft_request_init(&request, sizeof request));
  CHECK(request.struct_size == sizeof request && request.image_count == 1 && !request.classes);
  CHECK(request.guidance == FT_GUIDANCE_DEFAULT && !request.schedule && !request.seed && !request.cancel);
  CHECK(!request.progress && !request.noise && request.output == FT_OUTPUT_IMAGES && !request.reserved);
  CHECK(!request.preset && !request.tile && !request.width && !request.height && request.strength == 1);
  CHECK(!request.init && !request.init_count && request.variation == 0 && !request.mask && !request.morph_classes);
  OK(ft_pixels_init(&pixels, sizeof pixels));
  CHECK(pixels.format == FT_PIXEL_RGB8 && !pixels.data && !pixels.row_stride && !pixels.image_stride);
  OK(ft_model_options_init(&options, sizeof options));
  CHECK(!options.threads && !options.batch && !options.parallel_for && !options.option_count);
  OK(ft_reader_init(&reader, sizeof reader));
  CHECK(!reader.read && !reader.release && !reader.size && !reader.reserved && !reader.reserved_end);
}

static void opening(void) {
  ft_model *model = (ft_model *)&CLASS, *before = model;
  ft_model_options options;
  FAILS(ft_model_open(NULL, NULL, &model), FT_ERROR_INVALID_ARGUMENT, "path is NULL");
  FAILS(ft_model_open(bundle, NULL, NULL), FT_ERROR_INVALID_ARGUMENT, "out_model is NULL");
  FAILS(ft_model_open("no/such/folder", NULL, &model), FT_ERROR_IO, "no/such/folder");
  FAILS(ft_model_open("tests/c/refuse.c", NULL, &model), FT_ERROR_INVALID_BUNDLE, "zip");
  FAILS(ft_model_open("\xff", NULL, &model), FT_ERROR_INVALID_ARGUMENT, "path is not UTF-8");
  FAILS(ft_model_open_memory(NULL, 5, NULL, NULL, NULL, &model), FT_ERROR_INVALID_ARGUMENT, "data is NULL");
  FAILS(ft_model_open_memory(rgb, IMAGE, NULL, NULL, NULL, &model), FT_ERROR_INVALID_BUNDLE, "memory");
  FAILS(ft_model_open_memory(rgb, SIZE_MAX, NULL, NULL, NULL, &model), FT_ERROR_INVALID_ARGUMENT, "data");
  FAILS(ft_model_open_memory(rgb, 5, NULL, NULL, NULL, NULL), FT_ERROR_INVALID_ARGUMENT, "out_model is NULL");
  FAILS(ft_model_open_reader(NULL, NULL, &model), FT_ERROR_INVALID_ARGUMENT, "reader is NULL");
  ft_reader reader;
  OK(ft_reader_init(&reader, sizeof reader));
  FAILS(ft_model_open_reader(&reader, NULL, &model), FT_ERROR_INVALID_ARGUMENT, "reader.read is NULL");
  reader.reserved = 7;
  FAILS(ft_model_open_reader(&reader, NULL, &model), FT_ERROR_INVALID_ARGUMENT, "reader.reserved");
  reader.reserved = 0;
  reader.reserved_end = 7;
  FAILS(ft_model_open_reader(&reader, NULL, &model), FT_ERROR_INVALID_ARGUMENT, "reader.reserved");

  OK(ft_model_options_init(&options, sizeof options));
  options.threads = 5000;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_INVALID_ARGUMENT, "threads");
  options.threads = 1;
  options.batch = 100000;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_LIMIT_EXCEEDED, "batch");
  options.batch = 0;
  options.struct_size = 3;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_INVALID_ARGUMENT, "struct_size");
  options.struct_size = sizeof options + 8;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_UNSUPPORTED, "newer flowturbo.h");
  options.struct_size = sizeof options;
  options.option_count = 1;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_INVALID_ARGUMENT, "options.options is NULL");
  static const struct {
    ft_option option;
    const char *part;
  } WRONG[] = {
      {{NULL, "1"}, "option.key is NULL"},
      {{"backend", NULL}, "option.value is NULL"},
      {{"bakend", "fused"}, "'bakend' is not known"},
      {{"backend", "gpu"}, "'gpu' is neither fused nor reference"},
  };
  for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
    options.options = &WRONG[i].option;
    FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_INVALID_ARGUMENT, WRONG[i].part);
  }
  ft_limits limits;
  OK(ft_model_options_init(&options, sizeof options));
  OK(ft_limits_init(&limits, sizeof limits));
  options.limits = &limits;
  limits.max_edge = 8;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_LIMIT_EXCEEDED, "max_edge");
  limits.struct_size = 0;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_INVALID_ARGUMENT, "ft_limits.struct_size is 0");
  options.limits = NULL;
  options.precision = FT_PRECISION_AUTO + 1;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_INVALID_ARGUMENT, "options.precision is 7");
  options.precision = FT_PRECISION_F16;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_UNSUPPORTED, "precision: f16 is for CUDA devices");
  options.precision = FT_PRECISION_F32;
  options.device = 2;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_INVALID_ARGUMENT, "options.device is 2");
  options.device = FT_DEVICE_CUDA + 1;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_UNSUPPORTED, "device cuda:1: this build has no CUDA");
  options.device = FT_DEVICE_CPU;
  ft_device_info device;
  uint32_t devices = 99;
  FAILS(ft_device_count(NULL), FT_ERROR_INVALID_ARGUMENT, "out_count is NULL");
  FAILS(ft_device_count(&devices), FT_ERROR_UNSUPPORTED, "this build has no CUDA");
  CHECK(devices == 99);
  FAILS(ft_device_get_info(0, NULL), FT_ERROR_INVALID_ARGUMENT, "out_info is NULL");
  device.struct_size = 0;
  FAILS(ft_device_get_info(0, &device), FT_ERROR_INVALID_ARGUMENT, "ft_device_info.struct_size is 0");
  device.struct_size = sizeof device;
  FAILS(ft_device_get_info(0, &device), FT_ERROR_UNSUPPORTED, "this build has no CUDA");
  options.release_conditioning = 2;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_INVALID_ARGUMENT, "neither 0 nor 1");
  options.release_conditioning = 0;
  options.deterministic = 2;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_INVALID_ARGUMENT, "options.deterministic");
  CHECK(model == before);
}

static void model_calls(const ft_model *model, const ft_session *session) {
  ft_model_info info;
  ft_memory memory;
  const char *label = "untouched";
  int64_t number = -77;
  const ft_model *strange = (const ft_model *)(const void *)session;
  memset(&info, 0, sizeof info);
  FAILS(ft_model_get_info(model, &info), FT_ERROR_INVALID_ARGUMENT, "ft_model_info.struct_size is 0");
  info.struct_size = sizeof info + 4;
  FAILS(ft_model_get_info(model, &info), FT_ERROR_UNSUPPORTED, "update the library");
  FAILS(ft_model_get_info(model, NULL), FT_ERROR_INVALID_ARGUMENT, "out_info is NULL");
  FAILS(ft_model_get_info(NULL, &info), FT_ERROR_INVALID_ARGUMENT, "NULL, an ft_model is wanted");
  FAILS(ft_model_get_info(strange, &info), FT_ERROR_INVALID_HANDLE, "is an ft_session, an ft_model is wanted");
  FAILS(ft_model_get_info((const ft_model *)&memory, &info), FT_ERROR_INVALID_HANDLE, "was never an ft_model");
  CHECK(!info.name && !info.width);

  FAILS(ft_model_class_label(NULL, 0, &label), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_model_class_label(model, 0, NULL), FT_ERROR_INVALID_ARGUMENT, "out_label is NULL");
  FAILS(ft_model_class_label(model, 99, &label), FT_ERROR_INVALID_ARGUMENT, "class 99 has no label");
  FAILS(ft_model_find_class(NULL, "0", &number), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_model_find_class(model, NULL, &number), FT_ERROR_INVALID_ARGUMENT, "name is NULL");
  FAILS(ft_model_find_class(model, "0", NULL), FT_ERROR_INVALID_ARGUMENT, "out_class is NULL");
  FAILS(ft_model_find_class(model, "gras", &number), FT_ERROR_INVALID_ARGUMENT, "nearest is '");
  CHECK(number == -77 && !strcmp(label, "untouched"));

  ft_request request = request_for(&CLASS, NULL);
  memset(&memory, 0, sizeof memory);
  FAILS(ft_model_prepare(NULL, &request, NULL), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_model_prepare(model, NULL, NULL), FT_ERROR_INVALID_ARGUMENT, "request is NULL");
  FAILS(ft_model_prepare(model, &request, &memory), FT_ERROR_INVALID_ARGUMENT, "ft_memory.struct_size is 0");
  request.schedule = "H1Q3";
  FAILS(ft_model_prepare(model, &request, NULL), FT_ERROR_INVALID_ARGUMENT, "'Q' is no step");
  CHECK(!memory.model_bytes);
  ft_session *new_one = (ft_session *)&memory;
  FAILS(ft_session_new(NULL, &new_one), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_new(model, NULL), FT_ERROR_INVALID_ARGUMENT, "out_session is NULL");
  CHECK(new_one == (ft_session *)&memory);
}

/* One field of a request is wrong. */
static void requests(ft_session *session) {
  ft_pixels pixels = pixels_of(rgb, IMAGE);
  const float noise[3] = {0, 0, 0};
  ft_request good = request_for(&CLASS, "E1"), request;
  int64_t strange = 99;
#define WRONG(field, value, status, part)                                 \
  do {                                                                    \
    request = good;                                                       \
    request.field = value;                                                \
    FAILS(ft_session_generate(session, &request, &pixels), status, part); \
    FAILS(ft_session_begin(session, &request), status, part);             \
    FAILS(ft_session_prepare(session, &request), status, part);           \
  } while (0)
  WRONG(struct_size, 0, FT_ERROR_INVALID_ARGUMENT, "ft_request.struct_size is 0");
  /* Half a pointer, which a careless binding's size would make one to anywhere. */
  WRONG(struct_size, (uint32_t)(offsetof(ft_request, init) + sizeof(void *) / 2), FT_ERROR_INVALID_ARGUMENT,
        "in the middle of a field");
  WRONG(struct_size, sizeof request + 64, FT_ERROR_UNSUPPORTED, "newer flowturbo.h");
  WRONG(reserved, 1, FT_ERROR_INVALID_ARGUMENT, "request.reserved");
  WRONG(image_count, 0, FT_ERROR_INVALID_ARGUMENT, "classes: empty");
  WRONG(image_count, UINT32_MAX, FT_ERROR_LIMIT_EXCEEDED, "4294967295 images");
  WRONG(classes, NULL, FT_ERROR_INVALID_ARGUMENT, "request.classes is NULL");
  WRONG(classes, &strange, FT_ERROR_INVALID_ARGUMENT, "class 99 is out of range");
  WRONG(classes, (const int64_t *)(const void *)((const char *)&CLASS + 1), FT_ERROR_INVALID_ARGUMENT, "aligned");
  WRONG(schedule, "R1", FT_ERROR_INVALID_ARGUMENT, "an R step needs a velocity");
  WRONG(schedule, "E2000", FT_ERROR_LIMIT_EXCEEDED, "2000 steps");
  WRONG(schedule, "\xc0", FT_ERROR_INVALID_ARGUMENT, "request.schedule is not UTF-8");
  WRONG(guidance, -2.0f, FT_ERROR_INVALID_ARGUMENT, "guidance -2");
  WRONG(guidance, (float)(1e300 * 1e300), FT_ERROR_INVALID_ARGUMENT, "guidance inf");
  WRONG(output, 7, FT_ERROR_INVALID_ARGUMENT, "request.output: 7");
  WRONG(preview, FT_PREVIEW_DECODED, FT_ERROR_INVALID_ARGUMENT, "request.preview: 2");
  WRONG(noise, noise, FT_ERROR_INVALID_ARGUMENT, "request.noise_count: 0");
  request = good;
  request.noise = noise;
  request.noise_count = (size_t)1 << 45;
  FAILS(ft_session_begin(session, &request), FT_ERROR_INVALID_ARGUMENT, "request.noise_count");
  WRONG(noise_count, 3, FT_ERROR_INVALID_ARGUMENT, "request.noise is NULL");
  /* What is wrong first is told first, not what follows from it. */
  good.noise = noise;
  good.noise_count = 3;
  WRONG(image_count, 0, FT_ERROR_INVALID_ARGUMENT, "classes: empty");
  WRONG(width, 1, FT_ERROR_INVALID_ARGUMENT, "must be at least");
  WRONG(width, UINT32_MAX, FT_ERROR_LIMIT_EXCEEDED, "max_edge");
  good.noise = NULL;
  good.noise_count = 0;
  WRONG(cancel, (const ft_cancel_token *)session, FT_ERROR_INVALID_HANDLE, "is an ft_session");
  FAILS(ft_session_generate(NULL, &good, &pixels), FT_ERROR_INVALID_ARGUMENT, "NULL, an ft_session is wanted");
  FAILS(ft_session_generate(session, NULL, &pixels), FT_ERROR_INVALID_ARGUMENT, "request is NULL");
  FAILS(ft_session_begin(NULL, &good), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_begin(session, NULL), FT_ERROR_INVALID_ARGUMENT, "request is NULL");
  FAILS(ft_session_prepare(NULL, &good), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_prepare(session, NULL), FT_ERROR_INVALID_ARGUMENT, "request is NULL");
  good.output = FT_OUTPUT_LATENTS;
  FAILS(ft_session_generate(session, &good, &pixels), FT_ERROR_INVALID_ARGUMENT, "must be NULL");
}

/* One field of the pixels is wrong. */
static void images(ft_session *session) {
  ft_request request = request_for(&CLASS, "E1");
  ft_pixels good = pixels_of(rgb, IMAGE), pixels;
  static float latents[MAX_LATENT];
  uint8_t done = 0;
  OK(ft_session_begin(session, &request));
  OK(ft_session_step(session, FT_WHOLE_STEP, &done));
  CHECK(!done);
#undef WRONG
#define WRONG(field, value, status, part)                                          \
  do {                                                                             \
    pixels = good;                                                                 \
    pixels.field = value;                                                          \
    FAILS(ft_session_finish(session, &pixels), status, part);                      \
    FAILS(ft_session_preview(session, FT_PREVIEW_DECODED, &pixels), status, part); \
    FAILS(ft_session_decode(session, latents, LATENT, &pixels), status, part);     \
  } while (0)
  WRONG(struct_size, 4, FT_ERROR_INVALID_ARGUMENT, "ft_pixels.struct_size is 4");
  WRONG(struct_size, sizeof pixels + 8, FT_ERROR_UNSUPPORTED, "newer flowturbo.h");
  WRONG(format, 0, FT_ERROR_INVALID_ARGUMENT, "pixels.format: 0");
  WRONG(format, 9, FT_ERROR_INVALID_ARGUMENT, "pixels.format: 9");
  WRONG(format, FT_PIXEL_GREY8, FT_ERROR_INVALID_ARGUMENT, "GREY8 holds no color map");
  WRONG(format, FT_PIXEL_RGBA8, FT_ERROR_INVALID_ARGUMENT, part("take %zu", WIDTH * HEIGHT * 4, 0));
  WRONG(data, NULL, FT_ERROR_INVALID_ARGUMENT, "pixels.data is NULL");
  WRONG(size, 0, FT_ERROR_INVALID_ARGUMENT, "pixels: 0 bytes");
  WRONG(size, IMAGE - 1, FT_ERROR_INVALID_ARGUMENT, part("take %zu", IMAGE, 0));
  WRONG(size, SIZE_MAX, FT_ERROR_INVALID_ARGUMENT, "pixels.data");
  WRONG(row_stride, WIDTH * 3 - 1, FT_ERROR_INVALID_ARGUMENT, part("a row stride of %zu", WIDTH * 3 - 1, 0));
  WRONG(row_stride, WIDTH * 3 + 1, FT_ERROR_INVALID_ARGUMENT, part("take %zu", IMAGE + HEIGHT - 1, 0));
  WRONG(row_stride, SIZE_MAX, FT_ERROR_INVALID_ARGUMENT, "take");
  FAILS(ft_session_finish(session, NULL), FT_ERROR_INVALID_ARGUMENT, "pixels is NULL");
  FAILS(ft_session_preview(session, FT_PREVIEW_NONE, &good), FT_ERROR_INVALID_ARGUMENT, "kind: 0");
  FAILS(ft_session_preview(session, FT_PREVIEW_LINEAR, &good),
        FT_ERROR_INVALID_ARGUMENT, part("1 of %zu x %zu", LATENT_WIDTH, LATENT_HEIGHT));
  FAILS(ft_session_preview(session, FT_PREVIEW_LINEAR, NULL), FT_ERROR_INVALID_ARGUMENT, "pixels is NULL");
  FAILS(ft_session_preview(NULL, FT_PREVIEW_LINEAR, &good), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_finish(NULL, &good), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_reset(NULL), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_step(NULL, FT_WHOLE_STEP, &done), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_step(session, FT_WHOLE_STEP, NULL), FT_ERROR_INVALID_ARGUMENT, "out_done is NULL");
  uint32_t made = 7, all = 7;
  FAILS(ft_session_get_steps(NULL, &made, &all), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_get_steps(session, NULL, &all), FT_ERROR_INVALID_ARGUMENT, "out_made is NULL");
  FAILS(ft_session_get_steps(session, &made, NULL), FT_ERROR_INVALID_ARGUMENT, "out_all is NULL");
  CHECK(made == 7 && all == 7);
  FAILS(ft_session_get_latents(NULL, latents, LATENT), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_get_latents(session, NULL, LATENT), FT_ERROR_INVALID_ARGUMENT, "out_latents is NULL");
  FAILS(ft_session_get_latents(session, latents, LATENT - 1),
        FT_ERROR_INVALID_ARGUMENT, part("%zu floats", LATENT - 1, 0));
  FAILS(ft_session_decode(NULL, latents, LATENT, &good), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_session_decode(session, NULL, LATENT, &good), FT_ERROR_INVALID_ARGUMENT, "latents is NULL");
  FAILS(ft_session_decode(session, latents, 0, &good), FT_ERROR_INVALID_ARGUMENT, "count: 0");
  FAILS(ft_session_decode(session, latents, LATENT + 1, &good),
        FT_ERROR_INVALID_ARGUMENT, part("count: %zu", LATENT + 1, 0));
  FAILS(ft_session_decode(session, latents, LATENT, NULL), FT_ERROR_INVALID_ARGUMENT, "pixels is NULL");
  latents[7] = (float)(1e300 * 1e300);
  FAILS(ft_session_decode(session, latents, LATENT, &good), FT_ERROR_NON_FINITE, "not finite");
  for (size_t i = 0; i < IMAGE; i++) CHECK(rgb[i] == 0);
  OK(ft_session_finish(session, &good));
  FAILS(ft_pixels_save_png(NULL, 1, 1, "x.png"), FT_ERROR_INVALID_ARGUMENT, "pixels is NULL");
  FAILS(ft_pixels_save_png(&good, (uint32_t)WIDTH, (uint32_t)HEIGHT, NULL), FT_ERROR_INVALID_ARGUMENT, "path is NULL");
  FAILS(ft_pixels_save_png(&good, (uint32_t)WIDTH, (uint32_t)HEIGHT + 1, "x.png"),
        FT_ERROR_INVALID_ARGUMENT, part("%zu bytes", IMAGE, 0));
  FAILS(ft_pixels_save_png(&good, 0, 0, "x.png"), FT_ERROR_INVALID_ARGUMENT, "0 x 0");
  good.row_stride = 2;
  FAILS(ft_pixels_save_png(&good, 1, 1, "x.png"), FT_ERROR_INVALID_ARGUMENT, "rows of 2");
  good.row_stride = 0;
  FAILS(ft_pixels_save_png(&good, (uint32_t)WIDTH, (uint32_t)HEIGHT, "no/such/folder/x.png"),
        FT_ERROR_IO, "no/such/folder");
  FAILS(ft_pixels_save_png(&good, (uint32_t)WIDTH, (uint32_t)HEIGHT, "no\nsuch/x.png"), FT_ERROR_IO,
        "no\\nsuch/x.png: ");
  good.format = FT_PIXEL_RGB_F32;
  good.size = 8 * 8 * 12;
  FAILS(ft_pixels_save_png(&good, 8, 8, "x.png"), FT_ERROR_INVALID_ARGUMENT, "formats of 8 bits");
  CHECK(!strcmp(ft_last_error_message(), "pixels.format: PNG files take formats of 8 bits, and GREY16"));
  ft_model_free((ft_model *)(void *)session);
  CHECK(!strcmp(ft_last_error_message(), "pixels.format: PNG files take formats of 8 bits, and GREY16"));
}

static void tokens(const ft_session *session) {
  ft_cancel_token *strange = (ft_cancel_token *)(void *)session;
  uint8_t cancelled = 1;
  FAILS(ft_cancel_token_new(NULL), FT_ERROR_INVALID_ARGUMENT, "out_token is NULL");
  FAILS(ft_cancel_token_cancel(NULL), FT_ERROR_INVALID_ARGUMENT, "an ft_cancel_token is wanted");
  FAILS(ft_cancel_token_reset(NULL), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_cancel_token_is_cancelled(NULL, &cancelled), FT_ERROR_INVALID_ARGUMENT, "NULL");
  FAILS(ft_cancel_token_cancel(strange), FT_ERROR_INVALID_HANDLE, "is an ft_session");
  ft_cancel_token *token = NULL;
  OK(ft_cancel_token_new(&token));
  FAILS(ft_cancel_token_is_cancelled(token, NULL), FT_ERROR_INVALID_ARGUMENT, "out_cancelled is NULL");
  ft_cancel_token_free(token);
  FAILS(ft_cancel_token_cancel(token), FT_ERROR_INVALID_HANDLE, "freed already");
  FAILS(ft_cancel_token_is_cancelled(token, &cancelled), FT_ERROR_INVALID_HANDLE, "freed already");
  CHECK(cancelled);
  static ft_cancel_token *all[4096];
  for (size_t i = 0; i < 4096; i++) OK(ft_cancel_token_new(&all[i]));
  FAILS(ft_cancel_token_new(&token), FT_ERROR_LIMIT_EXCEEDED, "4096 cancel tokens");
  for (size_t i = 0; i < 4096; i++) ft_cancel_token_free(all[i]);
  OK(ft_cancel_token_new(&token));
  ft_cancel_token_free(token);
}

static void request_is_refused(ft_session *session) {
  ft_request request = request_for(&CLASS, "E1");
  uint8_t done;
  OK(ft_session_begin(session, &request));
  request.classes = NULL;
  STATUS(ft_session_begin(session, &request), FT_ERROR_INVALID_ARGUMENT);
  FAILS(ft_session_step(session, 1, &done), FT_ERROR_INVALID_ARGUMENT, "no generation was begun");
}

int main(int count, char **arguments) {
  texts();
  bundle = given(count, arguments);
  CHECK(count == 4);
  structs();
  opening();
  FAILS(ft_log_set(NULL, NULL, 6), FT_ERROR_INVALID_ARGUMENT, "level: 6");
  ft_model *model = open_model(bundle, 1);
  ft_session *session = new_session(model);
  uint8_t done;
  ft_pixels pixels = pixels_of(rgb, IMAGE);
  FAILS(ft_session_step(session, FT_WHOLE_STEP, &done), FT_ERROR_INVALID_ARGUMENT, "no generation was begun");
  FAILS(ft_session_finish(session, &pixels), FT_ERROR_INVALID_ARGUMENT, "no generation was begun");
  FAILS(ft_session_preview(session, FT_PREVIEW_LINEAR, &pixels), FT_ERROR_INVALID_ARGUMENT, "no generation");
  model_calls(model, session);
  requests(session);
  images(session);
  tokens(session);

  /* A request that is refused gives up the generation before it, as one that is taken does. */
  request_is_refused(session);

  /* No decoder: latents work, images are refused. */
  ft_model *tiny = open_model(arguments[2], 1);
  ft_session *latents = new_session(tiny);
  ft_request request = request_for(&CLASS, "E1");
  FAILS(ft_session_generate(latents, &request, &pixels), FT_ERROR_INVALID_ARGUMENT, "has no decoder");
  request.output = FT_OUTPUT_LATENTS;
  request.preview = FT_PREVIEW_LINEAR;
  FAILS(ft_session_generate(latents, &request, NULL), FT_ERROR_INVALID_ARGUMENT, "request.preview");
  request.preview = FT_PREVIEW_NONE;
  OK(ft_session_generate(latents, &request, NULL));

  /* Networks that fail while they run; then they run again. */
  ft_model *overstated = open_model(arguments[3], 2);
  ft_session *fails = new_session(overstated);
  const int64_t unknown = 8, known = 1;
  request = request_for(&unknown, "H1R1");
  request.guidance = 1;
  request.output = FT_OUTPUT_LATENTS;
  FAILS(ft_session_generate(fails, &request, NULL), FT_ERROR_RUNTIME, "predictor.onnx");
  request.classes = &known;
  OK(ft_session_generate(fails, &request, NULL));
  ft_session_free(fails);
  ft_model_free(overstated);

  /* In any order, also twice. */
  ft_model_free(model);
  FAILS(ft_session_new(model, &latents), FT_ERROR_INVALID_HANDLE, "an ft_model was freed already");
  request = request_for(&CLASS, "E1");
  OK(ft_session_generate(session, &request, &pixels));
  ft_session_free(session);
  FAILS(ft_session_generate(session, &request, &pixels), FT_ERROR_INVALID_HANDLE, "an ft_session was freed already");
  ft_session_free(session);
  ft_model_free(model);
  ft_session_free(latents);
  ft_model_free(tiny);
  ft_model_free(NULL);
  ft_session_free(NULL);
  ft_cancel_token_free(NULL);
  return 0;
}
