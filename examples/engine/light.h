/*
 * Light on relief: a shader that reads a material's normals and roughness beside its colours.
 * It knows OpenGL 2.0, and nothing of the scene or of flowturbo.
 */
#ifndef LIGHT_H
#define LIGHT_H

#include <SDL_opengl.h>
#include <stdbool.h>

/* Builds the shader. False where the driver has no OpenGL 2.0 or does not take it; it has been printed, and light_on
 * does nothing: surfaces are lit as fixed-function OpenGL lights them. */
bool light_init(void);

/* From here on surfaces are lit by GL_LIGHT0 through their relief (see light_surface), in GL_FOG's fog. */
void light_on(void);
void light_off(void);

/* What the next surfaces look like: colours, and a texture with the normal in red, green and blue (y up, while v grows
 * downwards) and roughness in alpha. */
void light_surface(GLuint colours, GLuint relief);

#endif
