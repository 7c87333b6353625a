/* Uses the extension as a game does, in the host: tests LIBRARY ROOT OUT. Images go to OUT as PNG files, whose pixels
 * `run` compares with the command line's. */
#include "host.h"
#include <flowturbo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *root, *out;

#define CHECK(that) \
  if (!(that)) host_die("%s:%d: %s", __FILE__, __LINE__, #that)

static void same(const char *is, const char *wanted, int line) {
  if (strcmp(is, wanted)) host_die("line %d: \"%s\", not \"%s\"", line, is, wanted);
}
#define SAME(is, wanted) same(is, wanted, __LINE__)
/* Whether one is part of the other. */
static void holds(const char *is, const char *wanted, int line) {
  if (!strstr(is, wanted)) host_die("line %d: \"%s\" does not say \"%s\"", line, is, wanted);
}
#define HOLDS(is, wanted) holds(is, wanted, __LINE__)

static variant model_at(const char *file) {
  variant model = host_new("FlowTurboModel");
  host_set(&model, "file", of_text(file));
  host_set(&model, "deterministic", of_bool(true));
  return model;
}

static variant model_of(const char *below_root) {
  char path[2048];
  snprintf(path, sizeof path, "%s/%s", root, below_root);
  return model_at(path);
}

/* A texture of `model`, whose variant it takes. */
static variant texture_of(variant model, const char *label, int64_t seed) {
  variant texture = host_new("FlowTurboTexture");
  host_set(&texture, "automatic", of_bool(false));
  host_set(&texture, "seamless", of_int(FT_TILE_NONE));
  host_set(&texture, "model", model);
  host_set(&texture, "class_label", of_text(label));
  host_set(&texture, "seed", of_int(seed));
  return texture;
}

static int64_t number(variant value) {
  int64_t read = int_of(&value);
  gd.variant_destroy(&value);
  return read;
}

/* A text that a method or property gives, until the next call. */
static const char *words(variant value) {
  static char last[1024];
  char *read = text_of(&value);
  snprintf(last, sizeof last, "%s", read);
  free(read);
  gd.variant_destroy(&value);
  return last;
}

static void draw(variant image, const char *name) {
  int width, height, format;
  bool mipmaps;
  char path[2048];
  ft_pixels pixels;
  ft_pixels_init(&pixels, sizeof pixels);
  pixels.data = (void *)(uintptr_t)host_pixels(&image, &width, &height, &format, &mipmaps);
  pixels.format = format == 4 ? FT_PIXEL_RGB8 : FT_PIXEL_GREY8;
  pixels.size = (size_t)width * (size_t)height * (format == 4 ? 3 : 1);
  snprintf(path, sizeof path, "%s/%s.png", out, name);
  if (ft_pixels_save_png(&pixels, (uint32_t)width, (uint32_t)height, path)) host_die("%s", ft_last_error_message());
  gd.variant_destroy(&image);
}

static bool same_pixels(const variant *left, const variant *right) {
  int width, height, format, other_width, other_height, other_format;
  bool mipmaps;
  const uint8_t *one = host_pixels(left, &width, &height, &format, &mipmaps);
  const uint8_t *other = host_pixels(right, &other_width, &other_height, &other_format, &mipmaps);
  return width == other_width && height == other_height && format == other_format &&
         !memcmp(one, other, (size_t)width * (size_t)height * (format == 4 ? 3 : 1));
}

static void generated(const variant *texture) {
  int64_t error = number(call(texture, "generate", 0, NULL));
  if (error != GD_ERROR_OK) host_die("%s", words(call(texture, "get_error_message", 0, NULL)));
}

static void refused(const variant *texture, const char *because) {
  CHECK(number(call(texture, "generate", 0, NULL)) == GD_ERROR_FAILED);
  HOLDS(words(call(texture, "get_error_message", 0, NULL)), because);
  HOLDS(host_errors(), because);
}

static void images_are_the_command_lines(void) {
  variant texture = texture_of(model_at("res://models/textures.ftplan"), "brick", 7);
  generated(&texture);
  draw(host_image(&texture), "plan");
  gd.variant_destroy(&texture);

  texture = texture_of(model_of("models/textures"), "sand", 0);
  int32_t size[2] = {256, 128};
  host_set(&texture, "image_size", of_type(GD_VECTOR2I, size));
  host_set(&texture, "seamless", of_int(FT_TILE_BOTH));
  host_set(&texture, "schedule", of_text("H1P1R1"));
  host_set(&texture, "guidance", of_int(2));
  generated(&texture);
  draw(host_image(&texture), "large");
  gd.variant_destroy(&texture);

  texture = texture_of(model_of("models/textures"), "grass", -1);
  host_set(&texture, "preset", of_text("fast"));
  generated(&texture);
  draw(host_image(&texture), "preset");
  gd.variant_destroy(&texture);

  texture = texture_of(model_of("tests/data/prompts/bundle"), "", 0);
  host_set(&texture, "prompt", of_text("木の床"));
  host_set(&texture, "negative_prompt", of_text("rust"));
  generated(&texture);
  draw(host_image(&texture), "prompt");
  gd.variant_destroy(&texture);
  SAME(host_errors(), "");
}

static void maps_have_textures_of_their_own(void) {
  int width, height, format;
  bool mipmaps;
  variant texture = texture_of(model_of("tests/data/tiny-maps/bundle"), "1", 0);
  host_set(&texture, "maps", of_int(FT_MAP_NORMAL | FT_MAP_ROUGHNESS | FT_MAP_HEIGHT));
  generated(&texture);
  draw(host_image(&texture), "color");
  variant wanted = of_int(FT_MAP_NORMAL), normal = call(&texture, "get_map_texture", 1, &wanted);
  draw(host_image(&normal), "normal");
  variant roughness = of_int(FT_MAP_ROUGHNESS);
  variant pointed = host_call_by_pointers(&texture, "get_map_texture", &roughness, GD_OBJECT);
  draw(host_image(&pointed), "roughness");
  variant image = host_image(&pointed);
  host_pixels(&image, &width, &height, &format, &mipmaps);
  CHECK(width == 16 && height == 16 && format == 0 && mipmaps);
  gd.variant_destroy(&image);
  /* A material keeps the texture that it was given. */
  host_set(&texture, "mipmaps", of_bool(false));
  host_set(&texture, "seed", of_int(1));
  generated(&texture);
  wanted = of_int(FT_MAP_NORMAL);
  variant again = call(&texture, "get_map_texture", 1, &wanted);
  CHECK(object_of(&again) == object_of(&normal));
  image = host_image(&again);
  host_pixels(&image, &width, &height, &format, &mipmaps);
  CHECK(format == 4 && !mipmaps);
  gd.variant_destroy(&image);
  host_set(&texture, "maps", of_int(FT_MAP_HEIGHT));
  generated(&texture);
  wanted = of_int(FT_MAP_NORMAL);
  variant none = call(&texture, "get_map_texture", 1, &wanted);
  CHECK(!object_of(&none));
  host_set(&texture, "maps", of_int(FT_MAP_METALLIC));
  refused(&texture, "metallic");
  host_set(&texture, "maps", of_int(FT_MAP_HDRP_MASK));
  refused(&texture, "FlowTurboTexture.maps: 128 is no sum");
  gd.variant_destroy(&normal);
  gd.variant_destroy(&pointed);
  gd.variant_destroy(&again);
  gd.variant_destroy(&texture);
}

static void a_model_tells_what_it_is(void) {
  variant model = model_at("res://models/textures.ftplan");
  CHECK(number(call(&model, "open", 0, NULL)) == GD_ERROR_OK);
  CHECK(number(call(&model, "get_maps", 0, NULL)) == FT_MAP_COLOR);
  SAME(words(call(&model, "get_license", 0, NULL)), "CC-BY-SA-3.0");
  SAME(words(host_call_by_pointers(&model, "get_license", NULL, GD_STRING)), "CC-BY-SA-3.0");
  bytes labels, presets;
  variant texts = host_call_by_pointers(&model, "get_class_labels", NULL, GD_PACKED_STRING_ARRAY);
  gd.get_variant_to_type_constructor(GD_PACKED_STRING_ARRAY)(&labels, &texts);
  gd.variant_destroy(&texts);
  SAME((char *)gd.packed_byte_array_operator_index(&labels, 0), "brick");
  gd.variant_get_ptr_destructor(GD_PACKED_STRING_ARRAY)(&labels);
  texts = call(&model, "get_presets", 0, NULL);
  gd.get_variant_to_type_constructor(GD_PACKED_STRING_ARRAY)(&presets, &texts);
  gd.variant_destroy(&texts);
  SAME((char *)gd.packed_byte_array_operator_index(&presets, 0), "balanced");
  gd.variant_get_ptr_destructor(GD_PACKED_STRING_ARRAY)(&presets);
  CHECK(number(host_get(&model, "threads")) == 1);
  SAME(words(host_get(&model, "file")), "res://models/textures.ftplan");
  /* What is changed is opened anew. */
  host_set(&model, "file", of_text("res://nothing.ftplan"));
  CHECK(number(call(&model, "open", 0, NULL)) == GD_ERROR_FAILED);
  HOLDS(host_errors(), "res://nothing.ftplan");
  gd.variant_destroy(&model);
}

/* A texture that is shown again when it was made anew. */
static void changes_are_seen_at_the_end_of_the_frame(void) {
  variant texture = host_new("FlowTurboTexture");
  host_set(&texture, "class_label", of_text("brick"));
  host_frame(NULL);
  variant image = host_image(&texture);
  CHECK(!object_of(&image));
  host_set(&texture, "model", model_at("res://models/textures.ftplan"));
  host_set(&texture, "schedule", of_text("E1"));
  host_set(&texture, "seed", of_int(3));
  image = host_image(&texture);
  CHECK(!object_of(&image));
  host_frame(NULL);
  image = host_image(&texture);
  CHECK(object_of(&image));
  host_frame(NULL);
  variant later = host_image(&texture);
  CHECK(object_of(&later) == object_of(&image));
  gd.variant_destroy(&later);
  host_set(&texture, "seed", of_int(4));
  host_frame(NULL);
  later = host_image(&texture);
  CHECK(!same_pixels(&image, &later));
  /* Two changes, one generation. */
  host_set(&texture, "class_label", of_text("gras"));
  host_set(&texture, "seed", of_int(5));
  host_frame(NULL);
  const char *told = host_errors();
  HOLDS(told, "grass");
  CHECK(strchr(told, '\n') == strrchr(told, '\n'));
  gd.variant_destroy(&image);
  gd.variant_destroy(&later);
  gd.variant_destroy(&texture);
}

/* Frames until the node has ended; how many. */
static int frames(const variant *node, char *told, size_t size) {
  int count = 0;
  told[0] = 0;
  while (number(call(node, "is_busy", 0, NULL))) {
    host_frame(node);
    count++;
    const char *now = host_signals();
    if (*now) snprintf(told + strlen(told), size - strlen(told), "%s%s", *told ? " " : "", now);
  }
  return count;
}

static variant node_of(const variant *texture, double milliseconds) {
  variant node = host_new("FlowTurboGenerator"), copy;
  gd.variant_new_copy(&copy, texture);
  host_set(&node, "texture", copy);
  host_set(&node, "milliseconds_per_frame", of_float(milliseconds));
  return node;
}

static void the_background_makes_the_same_image(void) {
  char told[8192];
  variant texture = texture_of(model_at("res://models/textures.ftplan"), "brick", 7);
  generated(&texture);
  variant waited_for = host_image(&texture);
  /* On a thread; in pieces of the frames' thread; each a step of the schedule. */
  double ways[] = {0, 1, 1e12};
  for (int way = 0; way < 3; way++) {
    variant node = node_of(&texture, ways[way]);
    CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_OK);
    int count = frames(&node, told, sizeof told);
    HOLDS(told, "progress(");
    HOLDS(told, ", 12) finished(128x128)");
    if (way > 0) HOLDS(told, "progress(1, 12) progress(2, 12) progress(3, 12)");
    if (way == 1) CHECK(count > 12);
    variant image = host_image(&texture);
    CHECK(object_of(&image) != object_of(&waited_for) && same_pixels(&image, &waited_for));
    gd.variant_destroy(&image);
    host_free(&node);
  }
  gd.variant_destroy(&waited_for);
  gd.variant_destroy(&texture);
  SAME(host_errors(), "");
}

static void a_signal_brings_the_image(void) {
  char told[256];
  variant texture = texture_of(model_at("res://models/textures.ftplan"), "brick", 7);
  host_set(&texture, "schedule", of_text("E1"));
  variant node = node_of(&texture, 1e12);
  CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_OK);
  while (number(call(&node, "is_busy", 0, NULL))) host_frame(&node);
  variant image = host_signalled(), shown = host_image(&texture);
  CHECK(object_of(&image) && object_of(&image) == object_of(&shown));
  gd.variant_destroy(&image);
  gd.variant_destroy(&shown);
  SAME(host_signals(), "progress(1, 1) finished(128x128)");
  CHECK(frames(&node, told, sizeof told) == 0);
  host_free(&node);
  gd.variant_destroy(&texture);
}

static void generations_are_cancelled_and_given_up(void) {
  char told[8192];
  variant texture = texture_of(model_at("res://models/textures.ftplan"), "brick", 7);
  host_set(&texture, "schedule", of_text("E200"));
  double ways[] = {0, 1};
  for (int way = 0; way < 2; way++) {
    variant node = node_of(&texture, ways[way]);
    tell(&node, "cancel", 0, NULL);
    CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_OK);
    CHECK(number(call(&node, "is_busy", 0, NULL)));
    tell(&node, "cancel", 0, NULL);
    frames(&node, told, sizeof told);
    HOLDS(told, "cancelled()");
    CHECK(!strstr(told, "finished"));
    /* Another one takes its place, and is not disturbed by it. */
    CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_OK);
    host_set(&texture, "schedule", of_text("E1"));
    CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_OK);
    frames(&node, told, sizeof told);
    HOLDS(told, "progress(1, 1) finished(128x128)");
    host_set(&texture, "schedule", of_text("E200"));
    /* The node leaves the scene, and comes back. */
    CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_OK);
    host_exit_tree(&node);
    CHECK(!number(call(&node, "is_busy", 0, NULL)));
    host_frame(&node);
    SAME(host_signals(), "");
    /* Freed while it is at work. */
    CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_OK);
    host_free(&node);
  }
  /* The texture is the generation's until it ends, whatever the node's property says. */
  host_set(&texture, "schedule", of_text("E1"));
  variant node = node_of(&texture, 0);
  CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_OK);
  host_set(&node, "texture", nil());
  gd.variant_destroy(&texture);
  frames(&node, told, sizeof told);
  HOLDS(told, "finished(128x128)");
  host_free(&node);
}

static const variant *listening;
static const char *awaited;

/* Begins another generation, once. */
static void begin_another(const char *signal_name) {
  if (strcmp(signal_name, awaited)) return;
  host_listener = NULL;
  CHECK(number(call(listening, "generate", 0, NULL)) == GD_ERROR_OK);
}

static void a_signal_may_begin_another_generation(void) {
  char told[8192];
  variant texture = texture_of(model_at("res://models/textures.ftplan"), "brick", 7);
  host_set(&texture, "schedule", of_text("E1"));
  /* All of it in one frame. */
  variant node = node_of(&texture, 1e6);
  listening = &node;
  /* The step that progress tells of was the last one, and what begins then is not over. */
  const char *signals[][2] = {{"progress", "progress(1, 1) progress(1, 1) finished(128x128)"},
                              {"finished", "progress(1, 1) finished(128x128) progress(1, 1) finished(128x128)"}};
  for (int i = 0; i < 2; i++) {
    awaited = signals[i][0];
    host_listener = begin_another;
    CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_OK);
    frames(&node, told, sizeof told);
    SAME(told, signals[i][1]);
  }
  host_free(&node);
  gd.variant_destroy(&texture);
}

static void failures_are_told(void) {
  char told[1024];
  variant node = host_new("FlowTurboGenerator");
  CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_FAILED);
  SAME(host_signals(), "failed(FlowTurboGenerator.texture is not set)");
  variant texture = texture_of(nil(), "brick", 7), copy;
  refused(&texture, "FlowTurboTexture.model is not set");
  gd.variant_new_copy(&copy, &texture);
  host_set(&node, "texture", copy);
  CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_FAILED);
  SAME(host_signals(), "failed(FlowTurboTexture.model is not set)");
  host_set(&texture, "model", model_at(""));
  refused(&texture, "FlowTurboModel.file is not set");
  host_set(&texture, "model", model_at("res://nothing.ftplan"));
  refused(&texture, "res://nothing.ftplan: Godot finds no such file");
  host_set(&texture, "model", model_at("res://README.md"));
  refused(&texture, "res://README.md: ");
  host_set(&texture, "model", model_at("/nothing.ftplan"));
  refused(&texture, "/nothing.ftplan");

  variant model = model_at("res://models/textures.ftplan");
  gd.variant_new_copy(&copy, &model);
  host_set(&texture, "model", copy);
  host_set(&model, "precision", of_int(99));
  refused(&texture, "precision");
  host_set(&model, "precision", of_int(-1));
  refused(&texture, "FlowTurboModel.precision: -1 is out of range");
  host_set(&model, "precision", of_int(FT_PRECISION_F32));
  host_set(&model, "device", of_int(2));
  refused(&texture, "options.device is 2");
  host_set(&model, "device", of_int(FT_DEVICE_CPU));
  host_set(&model, "threads", of_int(-3));
  refused(&texture, "FlowTurboModel.threads: -3 is out of range");
  host_set(&model, "threads", of_int(1));
  host_set(&texture, "class_label", of_text("grss"));
  refused(&texture, "grass");
  host_set(&texture, "class_label", of_text(""));
  refused(&texture, "class");
  host_set(&texture, "class_label", of_text("grass"));
  host_set(&texture, "seamless", of_int(7));
  refused(&texture, "FlowTurboTexture.seamless is out of range");
  host_set(&texture, "seamless", of_int(0));
  int32_t sizes[][2] = {{-8, 128}, {129, 128}};
  host_set(&texture, "image_size", of_type(GD_VECTOR2I, sizes[0]));
  refused(&texture, "FlowTurboTexture.image_size is out of range");
  host_set(&texture, "image_size", of_type(GD_VECTOR2I, sizes[1]));
  refused(&texture, "129");
  sizes[0][0] = 0, sizes[0][1] = 0;
  host_set(&texture, "image_size", of_type(GD_VECTOR2I, sizes[0]));
  host_set(&texture, "guidance", of_float(-7));
  refused(&texture, "guidance");
  host_set(&texture, "guidance", of_float(FT_GUIDANCE_DEFAULT));
  /* What only the work finds is told by the node when it has ended. */
  host_set(&texture, "schedule", of_text("Q9"));
  for (int way = 0; way < 2; way++) {
    host_set(&node, "milliseconds_per_frame", of_float(way));
    CHECK(number(call(&node, "generate", 0, NULL)) == GD_ERROR_OK);
    frames(&node, told, sizeof told);
    HOLDS(told, "failed(");
    HOLDS(told, "Q9");
  }
  gd.variant_destroy(&model);
  gd.variant_destroy(&texture);
  host_free(&node);
  host_errors();
}

static void calls_with_other_arguments_are_refused(void) {
  variant texture = host_new("FlowTurboTexture"), model = host_new("FlowTurboModel");
  host_set(&texture, "automatic", of_bool(false));
  variant given[] = {of_int(1), of_int(2)};
  CHECK(host_refusal(&texture, "set_seed", 2, given) == GD_CALL_TOO_MANY_ARGUMENTS);
  CHECK(host_refusal(&texture, "set_seed", 0, NULL) == GD_CALL_TOO_FEW_ARGUMENTS);
  given[0] = of_text("7");
  CHECK(host_refusal(&texture, "set_seed", 1, given) == GD_CALL_INVALID_ARGUMENT);
  given[0] = of_int(7);
  CHECK(host_refusal(&texture, "set_prompt", 1, given) == GD_CALL_INVALID_ARGUMENT);
  given[0] = of_int(7);
  CHECK(host_refusal(&texture, "set_model", 1, given) == GD_CALL_INVALID_ARGUMENT);
  given[0] = of_int(7);
  CHECK(host_refusal(&texture, "set_image_size", 1, given) == GD_CALL_INVALID_ARGUMENT);
  given[0] = of_int(7);
  CHECK(host_refusal(&texture, "generate", 1, given) == GD_CALL_TOO_MANY_ARGUMENTS);
  /* An object of another class leaves the property as it was. */
  host_set(&texture, "model", host_new("Image"));
  HOLDS(host_errors(), "FlowTurboTexture.model: a FlowTurboModel is wanted");
  variant held = host_get(&texture, "model");
  CHECK(!object_of(&held));
  /* What Godot mixes is taken: a name for a text, whole numbers and others. */
  host_set(&texture, "class_label", of_name("sand"));
  SAME(words(host_get(&texture, "class_label")), "sand");
  host_set(&texture, "seed", of_float(1e300));
  CHECK(number(host_get(&texture, "seed")) == INT64_MAX);
  host_set(&texture, "seed", of_float(-3.5));
  CHECK(number(host_get(&texture, "seed")) == -3);
  host_set(&texture, "guidance", of_int(3));
  variant guidance = host_get(&texture, "guidance");
  CHECK(float_of(&guidance) == 3.0);
  host_set(&texture, "mipmaps", of_int(0));
  CHECK(!number(host_get(&texture, "mipmaps")));
  given[0] = of_int(9);
  host_call_by_pointers(&texture, "set_seed", given, GD_NIL);
  CHECK(number(host_get(&texture, "seed")) == 9);
  gd.variant_destroy(&texture);
  gd.variant_destroy(&model);
}

int main(int count, char **arguments) {
  if (count != 4) host_die("tests LIBRARY ROOT OUT");
  root = arguments[2], out = arguments[3];
  /* Twice, as the editor does. */
  for (int turn = 0; turn < 2; turn++) {
    host_load(arguments[1], root);
    if (turn == 0) {
      images_are_the_command_lines();
      maps_have_textures_of_their_own();
      a_model_tells_what_it_is();
      changes_are_seen_at_the_end_of_the_frame();
      the_background_makes_the_same_image();
      a_signal_brings_the_image();
      generations_are_cancelled_and_given_up();
      a_signal_may_begin_another_generation();
      failures_are_told();
      host_describe();
    }
    calls_with_other_arguments_are_refused();
    if (host_copies()) host_die("%d arrays of pixels were copied", host_copies());
    host_unload();
  }
  return 0;
}
