/*
 * The painter: makes the textures of a scene, a few milliseconds a frame, on the thread that renders.
 * It knows flowturbo and glTexImage2D, and nothing of the scene.
 */
#ifndef PAINTER_H
#define PAINTER_H

#include <SDL_opengl.h>
#include <stdbool.h>
#include <stdint.h>

#include "flowturbo.h"

enum { CUBE, GROUND, WALL, STONE, MATERIAL_COUNT };

/* One surface and the texture that is painted for it. */
typedef struct material {
    int64_t class_index; /* what it is made of: brick, grass, ... */
    uint64_t seed;       /* class and seed together are the texture: that is all a saved game has to keep */
    GLuint texture;      /* always complete and ready to be drawn: grey, then previews, then the image */
    GLuint relief;       /* normal and roughness (see light.h): flat until the image is there, and of models without */
    bool waiting;        /* wants to be painted and has not had its turn yet */
    uint32_t step;       /* steps of the schedule done ... */
    uint32_t steps;      /* ... out of these; 0 before its turn */
} material;

typedef struct painter {
    ft_model *model;
    ft_session *session; /* one session paints one texture at a time; more sessions would only share the budget */
    ft_model_info info;
    ft_preview preview;            /* FT_PREVIEW_LINEAR or FT_PREVIEW_DECODED */
    bool has_relief;               /* whether the model makes normals and roughness beside colours */
    unsigned char *pixels;         /* room for a finished image, RGBA */
    unsigned char *roughness;      /* and for a map of one byte a pixel */
    unsigned char *preview_pixels; /* room for a linear preview, RGBA, as large as the latent */
    uint64_t next_seed;
    int current;      /* the material under way, or -1 */
    double step_ms;   /* the last painter_work: spent in ft_session_step, */
    double other_ms;  /* in beginning, previews and finishing, */
    double upload_ms; /* and in OpenGL, for textures and their smaller levels */
    material materials[MATERIAL_COUNT];
} painter;

/* Opens a bundle and does everything slow that can be done beforehand: a game's loading screen. Needs a GL context. */
bool painter_open(painter *p, const char *bundle, uint32_t threads, uint64_t seed);

/* Asks for a new texture of the same class, or of the next class. It comes in the following frames. */
void painter_reroll(painter *p, int index);
void painter_next_class(painter *p, int index);

/* Once a frame: works on the textures for about `budget_ms`. False if the library failed; it has been printed. */
bool painter_work(painter *p, double budget_ms);

/* True if nothing is under way or waiting. */
bool painter_idle(const painter *p);

/* The label of a material's class, never NULL. */
const char *painter_label(const painter *p, int index);

/* Frees everything; fine after a failed painter_open. */
void painter_close(painter *p);

/* Prints what the library says of a failure. True if there was none. */
bool painter_check(ft_status status, const char *what);

#endif
