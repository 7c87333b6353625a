/* FlowTurboTexture: a request, and the textures that are made of its answer. */
#ifndef TEXTURE_H
#define TEXTURE_H

#include "generation.h"
#include "model.h"

/* The maps beside colour that Godot has a use for. */
enum { MAP_COUNT = 6 };

typedef struct texture {
  instance base;
  variant model;
  char *texts[TEXT_COUNT];
  int64_t seed;
  double guidance;
  int32_t image_size[2];
  int64_t seamless;
  int64_t maps;
  uint8_t mipmaps;
  uint8_t automatic;
  /* A new generation is already asked for, for the end of this frame. */
  uint8_t awaited;
  /* ImageTextures, nil where there is none. */
  variant map_textures[MAP_COUNT];
  char message[MESSAGE_SIZE];
} texture;

extern const class_table texture_table;

/* Begins what the properties ask for; NULL with `message` set. */
generation *texture_begin(texture *self);
/* Writes what was made into the textures: the image of colours, to be destroyed, or nil with `message` set. */
variant texture_take(texture *self, generation *done);

#endif
