/* What a program does to folders and disks while it uses the library. Arguments: a bundle in a folder, the same in a
 * zip file. */
#define _XOPEN_SOURCE 700
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static uint8_t rgb[2 * MAX_IMAGE], again[2 * MAX_IMAGE], start[MAX_IMAGE];

/* Opened by a name that means nothing any more once the program has gone elsewhere. */
static void elsewhere(const char *bundle) {
  char folder[4096], *name;
  snprintf(folder, sizeof folder, "%s", bundle);
  name = strrchr(folder, '/');
  CHECK(name);
  *name++ = 0;
  CHECK(!chdir(folder));
  ft_model_options options;
  ft_model *model = NULL;
  ft_session *session = NULL;
  OK(ft_model_options_init(&options, sizeof options));
  options.threads = 1;
  options.release_conditioning = 1;
  OK(ft_model_open(name, &options, &model));
  CHECK(!chdir("/"));

  const int64_t classes[2] = {0, 1};
  ft_request request;
  OK(ft_session_new(model, &session));
  OK(ft_request_init(&request, sizeof request));
  request.classes = classes;
  request.schedule = "H1R1";
  ft_pixels pixels, init;
  OK(ft_pixels_init(&pixels, sizeof pixels));
  pixels.data = rgb;
  for (uint32_t count = 1; count <= 2; count++) {
    request.image_count = count;
    pixels.size = count * IMAGE;
    OK(ft_session_generate(session, &request, &pixels));
  }
  init = pixels;
  init.data = start;
  init.size = IMAGE;
  request.image_count = 1;
  request.init = &init;
  request.strength = 0.5f;
  pixels.size = IMAGE;
  ft_model_info info;
  info.struct_size = sizeof info;
  OK(ft_model_get_info(model, &info));
  if (info.networks & FT_NETWORK_ENCODER) OK(ft_session_generate(session, &request, &pixels));
  ft_session_free(session);
  ft_model_free(model);
}

static size_t read_file(const char *path, uint8_t *bytes) {
  FILE *file = fopen(path, "rb");
  CHECK(file);
  const size_t size = fread(bytes, 1, sizeof rgb, file);
  fclose(file);
  return size;
}

/* An image is saved over another one, whole or not at all. */
static void saving(void) {
  char folder[] = "/tmp/flowturbo-files-XXXXXX", path[64];
  ft_pixels pixels;
  struct stat state;
  struct rlimit limit;
  CHECK(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/old.png", folder);
  OK(ft_pixels_init(&pixels, sizeof pixels));
  pixels.data = rgb;
  pixels.size = 64 * 64 * 3;
  OK(ft_pixels_save_png(&pixels, 64, 64, path));
  CHECK(!chmod(path, 0600));
  const size_t old = read_file(path, again);

  /* As on a full disk, a file cannot grow beyond some bytes, whichever write that stops. */
  static uint8_t noisy[64 * 64 * 3];
  uint32_t noise = 1;
  for (size_t i = 0; i < sizeof noisy; i++) noisy[i] = (uint8_t)((noise = noise * 1664525u + 1013904223u) >> 24);
  pixels.data = noisy;
  signal(SIGXFSZ, SIG_IGN);
  CHECK(!getrlimit(RLIMIT_FSIZE, &limit));
  for (rlim_t room = 0; room < sizeof noisy; room += 499) {
    const struct rlimit small = {room, limit.rlim_max};
    CHECK(!setrlimit(RLIMIT_FSIZE, &small));
    FAILS(ft_pixels_save_png(&pixels, 64, 64, path), FT_ERROR_IO, "old.png: cannot be written");
    CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
    CHECK(read_file(path, rgb) == old && !memcmp(rgb, again, old));
  }

  OK(ft_pixels_save_png(&pixels, 64, 64, path));
  CHECK(read_file(path, rgb) > sizeof noisy && !stat(path, &state) && (state.st_mode & 07777) == 0600);
  FAILS(ft_pixels_save_png(&pixels, 64, 64, folder), FT_ERROR_IO, "is a directory");
  /* Nothing else is left in the folder. */
  CHECK(!unlink(path) && !rmdir(folder));
}

int main(int count, char **arguments) {
  given(count, arguments);
  CHECK(count == 3);
  elsewhere(arguments[1]);
  elsewhere(arguments[2]);
  saving();
  return 0;
}
