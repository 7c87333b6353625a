/* GPUs as C sees them. Arguments: a plan, and `driver` if there is the one of crates/cuda/tests, which is told here
 * what to be; else the machine has none. */
#include <dlfcn.h>

#include "check.h"

static const int64_t CLASS = 1;
static float latents[MAX_LATENT], wanted[MAX_LATENT];

static ft_status open_on(ft_device device, const char *plan, ft_model **model) {
  ft_model_options options;
  OK(ft_model_options_init(&options, sizeof options));
  options.device = device;
  return ft_model_open(plan, &options, model);
}

static ft_device device_of(const ft_model *model) {
  ft_model_info info;
  info.struct_size = sizeof info;
  OK(ft_model_get_info(model, &info));
  return info.device;
}

static ft_status draw(ft_session *session) {
  ft_request request = request_for(&CLASS, "H1R1");
  request.output = FT_OUTPUT_LATENTS;
  request.seed = 3;
  ft_status status = ft_session_generate(session, &request, NULL);
  if (!status) OK(ft_session_get_latents(session, latents, LATENT));
  return status;
}

static void without_driver(const char *plan) {
  static const char NONE[] = "no NVIDIA display driver is here";
  uint32_t count = 99;
  ft_device_info info;
  ft_model *model = NULL;
  FAILS(ft_device_count(&count), FT_ERROR_UNSUPPORTED, NONE);
  info.struct_size = sizeof info;
  FAILS(ft_device_get_info(0, &info), FT_ERROR_UNSUPPORTED, NONE);
  FAILS(open_on(FT_DEVICE_CUDA, plan, &model), FT_ERROR_UNSUPPORTED, NONE);
  CHECK(count == 99 && !model);
  OK(open_on(FT_DEVICE_AUTO, plan, &model));
  CHECK(device_of(model) == FT_DEVICE_CPU);
  ft_session *session = new_session(model);
  OK(draw(session));
  ft_session_free(session);
  ft_model_free(model);
}

/* What the driver is told. */
typedef void tell_number(int);
typedef void tell_memory(size_t);
typedef void tell_failure(const char *, long, int);

static void *function(void *driver, const char *name) {
  void *found = dlsym(driver, name);
  CHECK(found);
  return found;
}

static void with_driver(const char *plan) {
  tell_number *set_version, *set_devices;
  tell_memory *set_memory;
  tell_failure *fail;
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  CHECK(driver);
  *(void **)&set_version = function(driver, "fake_set_version");
  *(void **)&set_devices = function(driver, "fake_set_devices");
  *(void **)&set_memory = function(driver, "fake_set_memory");
  *(void **)&fail = function(driver, "fake_fail");

  uint32_t count = 99;
  set_version(11080);
  FAILS(ft_device_count(&count), FT_ERROR_UNSUPPORTED, "driver is too old: it speaks CUDA 11.8");
  set_version(12040), set_devices(2);
  OK(ft_device_count(&count));
  CHECK(count == 2);
  ft_device_info info;
  info.struct_size = sizeof info;
  FAILS(ft_device_get_info(2, &info), FT_ERROR_INVALID_ARGUMENT, "index is 2");
  OK(ft_device_get_info(1, &info));
  CHECK(!strcmp(info.name, "Fake GPU 1") && !strcmp(info.uuid, "GPU-10111213-1415-1617-1819-1a1b1c1d1e1f"));
  CHECK(info.memory_bytes == (uint64_t)8 << 30 && !info.integrated);
  CHECK(info.capability_major == 8 && info.capability_minor == 6);
  CHECK(info.driver_major == 12 && info.driver_minor == 4);

  ft_model *model = NULL, *other = NULL, *on_cpu = NULL;
  FAILS(open_on(FT_DEVICE_CUDA + 2, plan, &model), FT_ERROR_INVALID_ARGUMENT, "devices cuda:0 to cuda:1");
  OK(open_on(FT_DEVICE_AUTO, plan, &model));
  CHECK(device_of(model) == FT_DEVICE_CUDA);
  ft_session *session = new_session(model);
  OK(draw(session));
  memcpy(wanted, latents, sizeof wanted);

  /* Too little memory for another model; the session lives. */
  set_memory(1000);
  FAILS(open_on(FT_DEVICE_CUDA, plan, &other), FT_ERROR_OUT_OF_MEMORY, "of 1000 bytes are free");
  OK(draw(session));
  CHECK(!memcmp(latents, wanted, sizeof wanted));
  set_memory((size_t)8 << 30);
  OK(open_on(FT_DEVICE_CUDA + 1, plan, &other));
  CHECK(device_of(other) == FT_DEVICE_CUDA + 1);
  ft_model_free(other);

  /* A device that is lost stays so; the processor goes on. */
  fail("cuGraphLaunch", 1, 719);
  for (int i = 0; i < 2; i++) FAILS(draw(session), FT_ERROR_RUNTIME, "the device is lost to this process");
  OK(open_on(FT_DEVICE_CPU, plan, &on_cpu));
  ft_session *there = new_session(on_cpu);
  OK(draw(there));
  ft_session_free(there);
  ft_session_free(session);
  ft_model_free(on_cpu);
  ft_model_free(model);
  dlclose(driver);
}

int main(int count, char **arguments) {
  const char *plan = given(count, arguments);
  if (count > 2 && !strcmp(arguments[2], "driver")) with_driver(plan);
  else without_driver(plan);
  return 0;
}
