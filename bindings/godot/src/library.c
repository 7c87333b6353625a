/* What Godot calls when it loads the extension: registers its classes. */
#include "generator.h"
#include "texture.h"

static const class_table *const tables[] = {&model_table, &texture_table, &generator_table};
enum { TABLE_COUNT = sizeof tables / sizeof *tables };

static void initialize(void *userdata, uint32_t level) {
  (void)userdata;
  if (level != GD_LEVEL_SCENE) return;
  for (int i = 0; i < TABLE_COUNT; i++) class_register(tables[i]);
}

static void deinitialize(void *userdata, uint32_t level) {
  (void)userdata;
  if (level != GD_LEVEL_SCENE) return;
  for (int i = TABLE_COUNT; i-- > 0;) class_unregister(tables[i]);
  engine_unload();
}

#ifdef _WIN32
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

EXPORTED uint8_t flowturbo_godot_init(gd_get_proc_address get, void *library, gd_initialization *initialization) {
  if (!engine_load(get, library)) return 0;
  initialization->minimum_initialization_level = GD_LEVEL_SCENE;
  initialization->initialize = initialize;
  initialization->deinitialize = deinitialize;
  return 1;
}
