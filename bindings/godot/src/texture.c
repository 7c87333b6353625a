#include "texture.h"
#include <stdio.h>
#include <string.h>

/* Image.Format. */
enum { FORMAT_L8 = 0, FORMAT_RGB8 = 4 };

static const struct {
  ft_map map;
  int format;
} map_kinds[MAP_COUNT] = {
    {FT_MAP_NORMAL, FORMAT_RGB8},  {FT_MAP_HEIGHT, FORMAT_L8},    {FT_MAP_ROUGHNESS, FORMAT_L8},
    {FT_MAP_METALLIC, FORMAT_L8}, {FT_MAP_OCCLUSION, FORMAT_L8}, {FT_MAP_ORM, FORMAT_RGB8},
};

static void begin(void *instance) {
  texture *self = instance;
  self->guidance = FT_GUIDANCE_DEFAULT;
  self->seamless = FT_TILE_BOTH;
  self->mipmaps = 1;
  self->automatic = 1;
  for (int i = 0; i < MAP_COUNT; i++) gd.variant_new_nil(&self->map_textures[i]);
}

static void end(void *instance) {
  texture *self = instance;
  for (int i = 0; i < MAP_COUNT; i++) gd.variant_destroy(&self->map_textures[i]);
}

/* Several changes in a frame make one generation, at its end. */
static void changed(void *instance) {
  texture *self = instance;
  if (!self->automatic || self->awaited || !object_of(&self->model)) return;
  self->awaited = 1;
  variant me = of_object(self->base.object), method = of_name("_regenerate");
  tell(&me, "call_deferred", 1, &method);
  gd.variant_destroy(&me);
}

generation *texture_begin(texture *self) {
  model *of = instance_of(&self->model, &model_table);
  self->message[0] = 0;
  if (!of) {
    snprintf(self->message, MESSAGE_SIZE, "FlowTurboTexture.model is not set");
    return NULL;
  }
  if (!model_opened(of)) {
    memcpy(self->message, of->message, MESSAGE_SIZE);
    return NULL;
  }
  if (self->seamless < FT_TILE_NONE || self->seamless > FT_TILE_BOTH || self->image_size[0] < 0 ||
      self->image_size[1] < 0) {
    snprintf(self->message, MESSAGE_SIZE, "FlowTurboTexture.%s is out of range",
             self->image_size[0] < 0 || self->image_size[1] < 0 ? "image_size" : "seamless");
    return NULL;
  }
  int64_t unknown = self->maps;
  for (int i = 0; i < MAP_COUNT; i++) unknown &= ~(int64_t)map_kinds[i].map;
  if (unknown) {
    snprintf(self->message, MESSAGE_SIZE, "FlowTurboTexture.maps: %lld is no sum of FlowTurboTexture.MAP_...",
             (long long)self->maps);
    return NULL;
  }
  generation *made_generation = generation_new(of, self->texts, self->message);
  if (!made_generation) return NULL;
  ft_request *request = &made_generation->request;
  request->seed = (uint64_t)self->seed;
  request->guidance = (float)self->guidance;
  request->tile = (ft_tile)self->seamless;
  request->width = (uint32_t)self->image_size[0];
  request->height = (uint32_t)self->image_size[1];
  if (request->width) made_generation->width = request->width;
  if (request->height) made_generation->height = request->height;
  return made_generation;
}

/* One map as an Image: its pixels are written straight into the array that the image then holds. Nil with `message`. */
static variant image_of(texture *self, generation *done, ft_map map, int format) {
  int64_t row = (int64_t)done->width * (format == FORMAT_RGB8 ? 3 : 1), size = row * done->height;
  variant array = made(GD_PACKED_BYTE_ARRAY), wanted = of_int(size);
  tell(&array, "resize", 1, &wanted);
  variant now = call(&array, "size", 0, NULL);
  bool resized = int_of(&now) == size;
  gd.variant_destroy(&now);
  bytes memory = bytes_of(&array);
  ft_pixels pixels;
  ft_status status = ft_pixels_init(&pixels, sizeof pixels);
  pixels.format = format == FORMAT_RGB8 ? FT_PIXEL_RGB8 : FT_PIXEL_GREY8;
  pixels.data = resized ? gd.packed_byte_array_operator_index(&memory, 0) : NULL;
  pixels.size = (size_t)size;
  if (status == FT_OK && resized) status = ft_session_get_map(done->session, map, 0, &pixels);
  if (!resized) snprintf(self->message, MESSAGE_SIZE, "Godot has no memory for an image, %lld bytes", (long long)size);
  else if (status != FT_OK) message_of_library(self->message);
  variant image = nil();
  if (resized && status == FT_OK) {
    name class_name = name_of("Image");
    image = of_object(gd.classdb_construct_object(&class_name));
    variant data[] = {of_int(done->width), of_int(done->height), of_bool(false), of_int(format), of_bytes(&memory)};
    tell(&image, "set_data", 5, data);
    variant renormalize = of_bool(map == FT_MAP_NORMAL);
    if (self->mipmaps) tell(&image, "generate_mipmaps", 1, &renormalize);
  }
  bytes_free(&memory);
  return image;
}

/* Puts an image on an ImageTexture. */
static void show(const variant *on, const variant *image) {
  variant argument;
  gd.variant_new_copy(&argument, image);
  tell(on, "set_image", 1, &argument);
}

static bool take_maps(texture *self, generation *done) {
  for (int i = 0; i < MAP_COUNT; i++) {
    variant *place = &self->map_textures[i];
    if (!(self->maps & map_kinds[i].map)) {
      gd.variant_destroy(place);
      *place = nil();
      continue;
    }
    variant image = image_of(self, done, map_kinds[i].map, map_kinds[i].format);
    if (!object_of(&image)) return false;
    if (!object_of(place)) {
      name class_name = name_of("ImageTexture");
      *place = of_object(gd.classdb_construct_object(&class_name));
    }
    show(place, &image);
    gd.variant_destroy(&image);
  }
  return true;
}

variant texture_take(texture *self, generation *done) {
  variant image = image_of(self, done, FT_MAP_COLOR, FORMAT_RGB8);
  if (!object_of(&image)) return image;
  if (!take_maps(self, done)) {
    gd.variant_destroy(&image);
    return nil();
  }
  variant me = of_object(self->base.object);
  show(&me, &image);
  gd.variant_destroy(&me);
  return image;
}

/* Makes the image while the caller waits. */
static bool generate(texture *self) {
  generation *made_generation = texture_begin(self);
  bool right = false;
  if (made_generation) {
    while (!generation_step(made_generation, FT_WHOLE_STEP)) {
    }
    if (made_generation->status == FT_OK) {
      variant image = texture_take(self, made_generation);
      right = object_of(&image) != NULL;
      gd.variant_destroy(&image);
    } else {
      memcpy(self->message, made_generation->message, MESSAGE_SIZE);
    }
    generation_free(made_generation);
  }
  if (!right) engine_error(self->message);
  return right;
}

static void generate_now(void *self, const variant *argument, variant *result) {
  (void)argument;
  *result = of_success(generate(self));
}

static void regenerate(void *instance, const variant *argument, variant *result) {
  texture *self = instance;
  (void)argument, (void)result;
  self->awaited = 0;
  if (self->automatic) generate(self);
}

static void get_map_texture(void *instance, const variant *argument, variant *result) {
  texture *self = instance;
  int64_t wanted = int_of(argument);
  for (int i = 0; i < MAP_COUNT; i++)
    if (map_kinds[i].map == wanted) gd.variant_new_copy(result, &self->map_textures[i]);
}

static void get_error_message(void *instance, const variant *argument, variant *result) {
  (void)argument;
  *result = of_text(((texture *)instance)->message);
}

#define TEXT(which) (offsetof(texture, texts) + sizeof(char *) * (which))

static const property properties[] = {
    {"model", GD_OBJECT, offsetof(texture, model), GD_HINT_NONE, NULL, &model_table},
    {"class_label", GD_STRING, TEXT(TEXT_CLASS_LABEL), GD_HINT_NONE, NULL, NULL},
    {"prompt", GD_STRING, TEXT(TEXT_PROMPT), GD_HINT_MULTILINE_TEXT, NULL, NULL},
    {"negative_prompt", GD_STRING, TEXT(TEXT_NEGATIVE_PROMPT), GD_HINT_MULTILINE_TEXT, NULL, NULL},
    {"seed", GD_INT, offsetof(texture, seed), GD_HINT_NONE, NULL, NULL},
    {"schedule", GD_STRING, TEXT(TEXT_SCHEDULE), GD_HINT_NONE, NULL, NULL},
    {"preset", GD_STRING, TEXT(TEXT_PRESET), GD_HINT_NONE, NULL, NULL},
    {"guidance", GD_FLOAT, offsetof(texture, guidance), GD_HINT_NONE, NULL, NULL},
    {"image_size", GD_VECTOR2I, offsetof(texture, image_size), GD_HINT_NONE, NULL, NULL},
    {"seamless", GD_INT, offsetof(texture, seamless), GD_HINT_ENUM, "None:0,X:1,Y:2,Both:3", NULL},
    {"maps", GD_INT, offsetof(texture, maps), GD_HINT_FLAGS,
     "Normal:2,Height:4,Roughness:8,Metallic:16,Occlusion:32,ORM:64", NULL},
    {"mipmaps", GD_BOOL, offsetof(texture, mipmaps), GD_HINT_NONE, NULL, NULL},
    {"automatic", GD_BOOL, offsetof(texture, automatic), GD_HINT_NONE, NULL, NULL},
    {0},
};

static const method methods[] = {
    {"generate", generate_now, GD_INT, GD_NIL, NULL},
    {"get_map_texture", get_map_texture, GD_OBJECT, GD_INT, "ImageTexture"},
    {"get_error_message", get_error_message, GD_STRING, GD_NIL, NULL},
    {"_regenerate", regenerate, GD_NIL, GD_NIL, NULL},
    {0},
};

static const signal signals[] = {{0}};

static const constant constants[] = {
    {"Seamless", "SEAMLESS_NONE", FT_TILE_NONE, false},
    {"Seamless", "SEAMLESS_X", FT_TILE_X, false},
    {"Seamless", "SEAMLESS_Y", FT_TILE_Y, false},
    {"Seamless", "SEAMLESS_BOTH", FT_TILE_BOTH, false},
    {"Maps", "MAP_NORMAL", FT_MAP_NORMAL, true},
    {"Maps", "MAP_HEIGHT", FT_MAP_HEIGHT, true},
    {"Maps", "MAP_ROUGHNESS", FT_MAP_ROUGHNESS, true},
    {"Maps", "MAP_METALLIC", FT_MAP_METALLIC, true},
    {"Maps", "MAP_OCCLUSION", FT_MAP_OCCLUSION, true},
    {"Maps", "MAP_ORM", FT_MAP_ORM, true},
    {0},
};

const class_table texture_table = {
    .name = "FlowTurboTexture",
    .parent = "ImageTexture",
    .size = sizeof(texture),
    .properties = properties,
    .methods = methods,
    .signals = signals,
    .constants = constants,
    .begin = begin,
    .end = end,
    .changed = changed,
};
