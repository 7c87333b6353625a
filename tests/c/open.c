/* Bundles from a path, from memory and from a reader; what is lent is given back once; threads that the program
 * lends; options by name. Arguments: a bundle, and the same as a zip file. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

static const char *bundle;
static uint8_t from_folder[MAX_IMAGE], rgb[MAX_IMAGE];
static const int64_t CLASS = 1;

static void draw(const ft_model *model, uint8_t *out) {
  ft_session *session = new_session(model);
  ft_request request = request_for(&CLASS, "H1R1");
  ft_pixels pixels = pixels_of(out, IMAGE);
  OK(ft_session_generate(session, &request, &pixels));
  ft_session_free(session);
}

struct file {
  uint8_t *bytes;
  size_t size;
  int released, reads, fail_at;
};

static struct file load(const char *path) {
  struct file file = {NULL, 0, 0, 0, 0};
  FILE *stream = fopen(path, "rb");
  CHECK(stream);
  CHECK(!fseek(stream, 0, SEEK_END));
  file.size = (size_t)ftell(stream);
  rewind(stream);
  file.bytes = malloc(file.size);
  CHECK(file.bytes && fread(file.bytes, 1, file.size, stream) == file.size);
  CHECK(!fclose(stream));
  return file;
}

static void release(void *user_data) { ((struct file *)user_data)->released++; }

static int32_t read_file(void *user_data, uint64_t offset, void *buffer, size_t size) {
  struct file *file = user_data;
  if (++file->reads == file->fail_at) return 42;
  CHECK(offset <= file->size && size <= file->size - offset);
  memcpy(buffer, file->bytes + offset, size);
  return 0;
}

static void memory(struct file *file) {
  ft_model *model = NULL;
  OK(ft_model_open_memory(file->bytes, file->size, release, file, NULL, &model));
  ft_session *session = new_session(model);
  draw(model, rgb);
  CHECK(!memcmp(rgb, from_folder, IMAGE) && !file->released);
  ft_model_free(model);
  CHECK(!file->released);
  ft_session_free(session);
  CHECK(file->released == 1);
  /* A failure gives back too; without a callback there is nobody to tell. */
  file->bytes[file->size / 2] ^= 1;
  STATUS(ft_model_open_memory(file->bytes, file->size, release, file, NULL, &model), FT_ERROR_INVALID_BUNDLE);
  file->bytes[file->size / 2] ^= 1;
  CHECK(file->released == 2);
  FAILS(ft_model_open_memory(file->bytes, 100, release, file, NULL, &model), FT_ERROR_INVALID_BUNDLE, "zip");
  CHECK(file->released == 3);
  STATUS(ft_model_open_memory(file->bytes, file->size, release, file, NULL, NULL), FT_ERROR_INVALID_ARGUMENT);
  CHECK(file->released == 4);
  OK(ft_model_open_memory(file->bytes, file->size, NULL, NULL, NULL, &model));
  ft_model_free(model);
}

static void reader(struct file *file) {
  ft_model *model = NULL;
  ft_reader reader;
  OK(ft_reader_init(&reader, sizeof reader));
  reader.size = file->size;
  reader.read = read_file;
  reader.release = release;
  reader.user_data = file;
  file->released = 0;
  OK(ft_model_open_reader(&reader, NULL, &model));
  draw(model, rgb);
  CHECK(!memcmp(rgb, from_folder, IMAGE) && file->reads > 0 && !file->released);
  ft_model_free(model);
  CHECK(file->released == 1);
  file->fail_at = file->reads;
  file->reads = 0;
  FAILS(ft_model_open_reader(&reader, NULL, &model), FT_ERROR_IO, "the read callback returned 42");
  CHECK(file->released == 2);
  file->fail_at = 0;
  reader.size -= 10;
  STATUS(ft_model_open_reader(&reader, NULL, &model), FT_ERROR_INVALID_BUNDLE);
  CHECK(file->released == 3);
}

/* A job system: a thread for each lane of each call. */
struct job {
  ft_parallel_body body;
  void *data;
  uint32_t index;
};

static atomic_int calls, mode;

static void *work(void *of) {
  struct job *job = of;
  job->body(job->data, job->index);
  return NULL;
}

static void run(void *user_data, uint32_t lanes, ft_parallel_body body, void *data) {
  CHECK(user_data == &calls && lanes == 3);
  calls++;
  struct job jobs[3] = {{body, data, 0}, {body, data, 1}, {body, data, 2}};
  pthread_t threads[3];
  switch (atomic_load(&mode)) {
    case 0:
      for (int i = 0; i < 3; i++) CHECK(!pthread_create(&threads[i], NULL, work, &jobs[i]));
      for (int i = 0; i < 3; i++) CHECK(!pthread_join(threads[i], NULL));
      break;
    case 1: /* One after another, backwards. */
      for (int i = 2; i >= 0; i--) work(&jobs[i]);
      break;
    default: /* Numbers that nobody asked for, and one left out. */
      body(data, 2);
      body(data, 77);
  }
}

static void lent_threads(void) {
  ft_model *model = NULL;
  ft_model_options options;
  OK(ft_model_options_init(&options, sizeof options));
  options.parallel_for = run;
  options.parallel_data = &calls;
  FAILS(ft_model_open(bundle, &options, &model), FT_ERROR_INVALID_ARGUMENT, "lanes: 0");
  options.lanes = 3;
  OK(ft_model_open(bundle, &options, &model));
  for (int i = 0; i < 3; i++) {
    mode = i;
    draw(model, rgb);
    /* Another number of threads may round otherwise. */
    for (size_t p = 0; p < IMAGE; p++) CHECK(abs(rgb[p] - from_folder[p]) <= 1);
  }
  CHECK(calls > 20);
  ft_model_free(model);
}

static void named_options(void) {
  ft_model *model = NULL;
  ft_model_options options;
  const ft_option reference = {"backend", "reference"};
  ft_limits limits;
  OK(ft_limits_init(&limits, sizeof limits));
  limits.max_batch = 3;
  OK(ft_model_options_init(&options, sizeof options));
  options.options = &reference;
  options.option_count = 1;
  options.limits = &limits;
  options.release_conditioning = 1;
  OK(ft_model_open(bundle, &options, &model));
  draw(model, rgb);
  for (size_t p = 0; p < IMAGE; p++) CHECK(abs(rgb[p] - from_folder[p]) <= 1);
  ft_session *session = new_session(model);
  const int64_t four[4] = {0, 1, 2, 3};
  ft_request request = request_for(four, "E1");
  request.image_count = 4;
  FAILS(ft_session_begin(session, &request), FT_ERROR_LIMIT_EXCEEDED, "4 images, above the limit of 3 (max_batch)");
  ft_session_free(session);
  ft_model_free(model);
}

/* Half weights give the same bytes, and so does what was measured where nothing was; whole ones near ones. */
static void small_numbers(void) {
  ft_model_options options;
  OK(ft_model_options_init(&options, sizeof options));
  options.threads = 1;
  static uint8_t exact[MAX_IMAGE];
  static const ft_precision PRECISIONS[] = {FT_PRECISION_F32, FT_PRECISION_F16_WEIGHTS, FT_PRECISION_INT8,
                                            FT_PRECISION_AUTO};
  for (size_t i = 0; i < sizeof PRECISIONS / sizeof *PRECISIONS; i++) {
    ft_model *model = NULL;
    options.precision = PRECISIONS[i];
    OK(ft_model_open(bundle, &options, &model));
    draw(model, i == 0 ? exact : rgb);
    size_t differ = 0;
    for (size_t p = 0; i > 0 && p < IMAGE; p++) {
      CHECK(abs(rgb[p] - exact[p]) <= 24);
      differ += rgb[p] != exact[p];
    }
    CHECK((differ > 0) == (PRECISIONS[i] == FT_PRECISION_INT8));
    ft_model_free(model);
  }
}

int main(int count, char **arguments) {
  bundle = given(count, arguments);
  CHECK(count == 3);
  ft_model *model = NULL;
  OK(ft_model_open(bundle, NULL, &model));
  draw(model, from_folder);
  ft_model_free(model);
  OK(ft_model_open(arguments[2], NULL, &model));
  draw(model, rgb);
  CHECK(!memcmp(rgb, from_folder, IMAGE));
  ft_model_free(model);
  struct file file = load(arguments[2]);
  memory(&file);
  reader(&file);
  free(file.bytes);
  lent_threads();
  named_options();
  small_numbers();
  return 0;
}
