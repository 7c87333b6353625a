/* The same image of a bundle and of its plan, by a library that compiles and by one that does not. Arguments: what to
 * open, a file, and nothing, to write latents and image there, or `same`, to have the same ones. Then bundles that
 * this library cannot open. */
#include "check.h"

static float latents[MAX_LATENT], wanted_latents[MAX_LATENT];
static uint8_t rgb[MAX_IMAGE], wanted_rgb[MAX_IMAGE];
static const int64_t CLASS = 1;

static void draw(ft_model *model) {
  ft_session *session = new_session(model);
  ft_request request = request_for(&CLASS, NULL);
  request.seed = 7;
  ft_pixels pixels = pixels_of(rgb, IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  OK(ft_session_get_latents(session, latents, LATENT));
  ft_session_free(session);
  ft_model_free(model);
}

static void same(ft_model *model) {
  memset(latents, 0, sizeof latents);
  memset(rgb, 0, sizeof rgb);
  draw(model);
  CHECK(!memcmp(latents, wanted_latents, LATENT * sizeof *latents) && !memcmp(rgb, wanted_rgb, IMAGE));
}

struct bytes {
  uint8_t *data;
  size_t size;
  int released;
};

static struct bytes load(const char *path) {
  struct bytes bytes = {NULL, 0, 0};
  FILE *stream = fopen(path, "rb");
  CHECK(stream && !fseek(stream, 0, SEEK_END));
  bytes.size = (size_t)ftell(stream);
  rewind(stream);
  bytes.data = malloc(bytes.size);
  CHECK(bytes.data && fread(bytes.data, 1, bytes.size, stream) == bytes.size);
  CHECK(!fclose(stream));
  return bytes;
}

static void release(void *user_data) { ((struct bytes *)user_data)->released++; }

static int32_t read_bytes(void *user_data, uint64_t offset, void *buffer, size_t size) {
  const struct bytes *bytes = user_data;
  CHECK(offset <= bytes->size && size <= bytes->size - offset);
  memcpy(buffer, bytes->data + offset, size);
  return 0;
}

static void from_anywhere(const char *path) {
  ft_model *model = NULL;
  OK(ft_model_open(path, NULL, &model));
  same(model);
  struct bytes bytes = load(path);
  OK(ft_model_open_memory(bytes.data, bytes.size, release, &bytes, NULL, &model));
  same(model);
  CHECK(bytes.released == 1);
  ft_reader reader;
  OK(ft_reader_init(&reader, sizeof reader));
  reader.size = bytes.size;
  reader.read = read_bytes;
  reader.release = release;
  reader.user_data = &bytes;
  OK(ft_model_open_reader(&reader, NULL, &model));
  same(model);
  CHECK(bytes.released == 2);
  /* What is no plan any more. */
  bytes.data[bytes.size / 2] ^= 1;
  bytes.data[bytes.size - 1] ^= 1;
  STATUS(ft_model_open_memory(bytes.data, bytes.size, release, &bytes, NULL, &model), FT_ERROR_INVALID_BUNDLE);
  CHECK(bytes.released == 3);
  free(bytes.data);
}

static void refused(const char *path) {
  ft_model *model = NULL;
  FAILS(ft_model_open(path, NULL, &model), FT_ERROR_UNSUPPORTED, "flowturbo compile");
  CHECK(!model);
}

int main(int count, char **arguments) {
  const char *path = given(count, arguments);
  CHECK(count > 2);
  FILE *stream = fopen(arguments[2], count == 3 ? "wb" : "rb");
  CHECK(stream);
  if (count == 3) {
    ft_model *model = NULL;
    OK(ft_model_open(path, NULL, &model));
    draw(model);
    CHECK(fwrite(latents, sizeof *latents, LATENT, stream) == LATENT);
    CHECK(fwrite(rgb, 1, IMAGE, stream) == IMAGE);
  } else {
    CHECK(!strcmp(arguments[3], "same"));
    CHECK(fread(wanted_latents, sizeof *latents, LATENT, stream) == LATENT);
    CHECK(fread(wanted_rgb, 1, IMAGE, stream) == IMAGE);
    for (int i = 4; i < count; i++) refused(arguments[i]);
    from_anywhere(path);
  }
  CHECK(!fclose(stream));
  return 0;
}
