#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void message_of_library(char *message) { snprintf(message, MESSAGE_SIZE, "%s", ft_last_error_message()); }

static void begin(void *instance) {
  model *self = instance;
  /* The frames of a game want the other processors. */
  self->threads = 1;
}

static void close_model(void *instance) {
  model *self = instance;
  ft_model_free(self->handle);
  self->handle = NULL;
}

static void release_bytes(void *lent) {
  bytes_free(lent);
  free(lent);
}

/* Opens a file that only Godot finds: in the project, in the exported game's pack, in the player's folder. */
static ft_status open_by_godot(model *self, const ft_model_options *options) {
  name class_name = name_of("FileAccess"), method = name_of("get_file_as_bytes");
  const void *bind = gd.classdb_get_method_bind(&class_name, &method, GD_HASH_GET_FILE_AS_BYTES);
  variant path = of_text(self->file), contents = nil();
  gd_call_error error = {GD_CALL_OK, 0, 0};
  if (bind) {
    const void *arguments[] = {&path};
    gd.object_method_bind_call(bind, NULL, arguments, 1, &contents, &error);
  }
  gd.variant_destroy(&path);
  variant size = bind && error.error == GD_CALL_OK ? call(&contents, "size", 0, NULL) : nil();
  int64_t count = int_of(&size);
  gd.variant_destroy(&size);
  bytes *lent = count > 0 ? malloc(sizeof *lent) : NULL;
  if (!lent) {
    gd.variant_destroy(&contents);
    snprintf(self->message, MESSAGE_SIZE,
             count > 0 ? "%s: no memory" : "%s: Godot finds no such file (a bundle that is a folder needs a path of "
                                           "the system; an exported game, *.ftplan in its export filter)",
             self->file);
    return FT_ERROR_IO;
  }
  *lent = bytes_of(&contents);
  ft_status status = ft_model_open_memory(gd.packed_byte_array_operator_index(lent, 0), (size_t)count, release_bytes,
                                          lent, options, &self->handle);
  if (status != FT_OK) snprintf(self->message, MESSAGE_SIZE, "%s: %s", self->file, ft_last_error_message());
  return status;
}

/* Whether the library can be asked for such a number. */
static bool fits(model *self, const char *property_name, int64_t number) {
  if (number >= 0 && number <= UINT32_MAX) return true;
  snprintf(self->message, MESSAGE_SIZE, "FlowTurboModel.%s: %lld is out of range", property_name, (long long)number);
  return false;
}

bool model_opened(model *self) {
  ft_model_options options;
  if (self->handle) return true;
  if (!self->file || !*self->file) {
    snprintf(self->message, MESSAGE_SIZE, "FlowTurboModel.file is not set");
    return false;
  }
  if (!fits(self, "threads", self->threads) || !fits(self, "precision", self->precision)) return false;
  if (!fits(self, "device", self->device)) return false;
  ft_status status = ft_model_options_init(&options, sizeof options);
  options.threads = (uint32_t)self->threads;
  options.precision = (ft_precision)self->precision;
  options.device = (ft_device)self->device;
  options.deterministic = self->deterministic;
  if (status == FT_OK && strstr(self->file, "://")) return open_by_godot(self, &options) == FT_OK;
  if (status == FT_OK) status = ft_model_open(self->file, &options, &self->handle);
  if (status != FT_OK) message_of_library(self->message);
  return status == FT_OK;
}

/* As model_opened, and tells Godot's log. */
static bool opened(model *self) {
  self->message[0] = 0;
  if (model_opened(self)) return true;
  engine_error(self->message);
  return false;
}

static void open_model(void *self, const variant *argument, variant *result) {
  (void)argument;
  *result = of_success(opened(self));
}

static void get_error_message(void *instance, const variant *argument, variant *result) {
  (void)argument;
  *result = of_text(((model *)instance)->message);
}

static void append(variant *texts, const char *text) {
  variant element = of_text(text);
  tell(texts, "push_back", 1, &element);
}

static void get_class_labels(void *instance, const variant *argument, variant *result) {
  model *self = instance;
  ft_model_info info = {.struct_size = sizeof info};
  const char *label;
  (void)argument;
  *result = made(GD_PACKED_STRING_ARRAY);
  if (!opened(self) || ft_model_get_info(self->handle, &info) != FT_OK) return;
  for (uint32_t i = 0; i < info.class_count; i++)
    if (ft_model_class_label(self->handle, i, &label) == FT_OK) append(result, label);
}

static void get_presets(void *instance, const variant *argument, variant *result) {
  model *self = instance;
  ft_model_info info = {.struct_size = sizeof info};
  const char *preset;
  (void)argument;
  *result = made(GD_PACKED_STRING_ARRAY);
  if (!opened(self) || ft_model_get_info(self->handle, &info) != FT_OK) return;
  for (uint32_t i = 0; i < info.preset_count; i++)
    if (ft_model_preset_name(self->handle, i, &preset) == FT_OK) append(result, preset);
}

static void get_maps(void *instance, const variant *argument, variant *result) {
  model *self = instance;
  ft_map maps = 0;
  (void)argument;
  if (opened(self)) ft_model_get_maps(self->handle, &maps);
  *result = of_int(maps);
}

static void get_license(void *instance, const variant *argument, variant *result) {
  model *self = instance;
  ft_model_info info = {.struct_size = sizeof info};
  (void)argument;
  bool known = opened(self) && ft_model_get_info(self->handle, &info) == FT_OK && info.license;
  *result = of_text(known ? info.license : "");
}

static const property properties[] = {
    {"file", GD_STRING, offsetof(model, file), GD_HINT_FILE, "*.ftplan,*.zip", NULL},
    {"threads", GD_INT, offsetof(model, threads), GD_HINT_RANGE, "0,64,1", NULL},
    {"precision", GD_INT, offsetof(model, precision), GD_HINT_ENUM,
     "Float32:0,Float16 weights:1,BFloat16:2,Int8:3,Float16:4,TensorFloat32:5,As tuned:6", NULL},
    {"device", GD_INT, offsetof(model, device), GD_HINT_ENUM, "CPU:0,Automatic:1,CUDA:4096", NULL},
    {"deterministic", GD_BOOL, offsetof(model, deterministic), GD_HINT_NONE, NULL, NULL},
    {0},
};

static const method methods[] = {
    {"open", open_model, GD_INT, GD_NIL, NULL},
    {"get_error_message", get_error_message, GD_STRING, GD_NIL, NULL},
    {"get_class_labels", get_class_labels, GD_PACKED_STRING_ARRAY, GD_NIL, NULL},
    {"get_presets", get_presets, GD_PACKED_STRING_ARRAY, GD_NIL, NULL},
    {"get_maps", get_maps, GD_INT, GD_NIL, NULL},
    {"get_license", get_license, GD_STRING, GD_NIL, NULL},
    {0},
};

static const signal signals[] = {{0}};

static const constant constants[] = {
    {"Precision", "PRECISION_F32", FT_PRECISION_F32, false},
    {"Precision", "PRECISION_F16_WEIGHTS", FT_PRECISION_F16_WEIGHTS, false},
    {"Precision", "PRECISION_BF16", FT_PRECISION_BF16, false},
    {"Precision", "PRECISION_INT8", FT_PRECISION_INT8, false},
    {"Precision", "PRECISION_F16", FT_PRECISION_F16, false},
    {"Precision", "PRECISION_TF32", FT_PRECISION_TF32, false},
    {"Precision", "PRECISION_AUTO", FT_PRECISION_AUTO, false},
    {"Device", "DEVICE_CPU", FT_DEVICE_CPU, false},
    {"Device", "DEVICE_AUTO", FT_DEVICE_AUTO, false},
    {"Device", "DEVICE_CUDA", FT_DEVICE_CUDA, false},
    {0},
};

const class_table model_table = {
    .name = "FlowTurboModel",
    .parent = "Resource",
    .size = sizeof(model),
    .properties = properties,
    .methods = methods,
    .signals = signals,
    .constants = constants,
    .begin = begin,
    .end = close_model,
    .changed = close_model,
};
