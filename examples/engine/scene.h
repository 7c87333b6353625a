/* The scene: a turning cube, ground, a wall and stones, drawn with OpenGL 1.4 so that no loader is needed. */
#ifndef SCENE_H
#define SCENE_H

#include <stdbool.h>

#include "painter.h"

/* Sets up light, fog and depth. Once, with a GL context. */
void scene_init(void);

/* Draws a frame as it looks after `seconds`. `selected` is the material whose swatch is framed. */
void scene_draw(const painter *p, int selected, double seconds, int width, int height);

/* Saves what was drawn last and has not been swapped yet. False if it failed; it has been printed. */
bool scene_screenshot(int width, int height, const char *path);

#endif
