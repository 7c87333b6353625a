/* A host in Godot's place: the functions that the extension asks for, strict about types and about who holds what.
 * Classes, strings, variants, reference counts, signals and a pool of threads, no more of the engine than that. */
#ifndef HOST_H
#define HOST_H

#include "../src/engine.h"

/* Loads the extension, and lets it register its classes. `resources` is what res:// stands for. */
void host_load(const char *library, const char *resources);
/* Unregisters the classes; ends the process unless all objects, strings and arrays are gone. */
void host_unload(void);

/* A new object of a class; a node is to be freed. */
variant host_new(const char *class_name);
void host_free(variant *node);
/* Through the registered setter and getter. A setter that refuses the type ends the process. */
void host_set(const variant *object, const char *property, variant value);
variant host_get(const variant *object, const char *property);
/* Calls a method by pointers, as compiled languages do. */
variant host_call_by_pointers(const variant *object, const char *method, const variant *argument, uint32_t returns);
/* What a call of a method with such arguments says: 0 if it was carried out. */
uint32_t host_refusal(const variant *object, const char *method, int count, variant *arguments);

/* A frame: the node's _process, then what was deferred. */
void host_frame(const variant *node);
void host_exit_tree(const variant *node);

/* The signals since the last call of this, as "name(arguments) name(arguments)"; images as their size. */
const char *host_signals(void);
/* Called with the name of each signal, as a script's function would be; NULL for none. */
extern void (*host_listener)(const char *signal_name);
/* The last object that a signal carried, held until the next signal. */
variant host_signalled(void);
/* Lines that were written to the log of errors since the last call of this. */
const char *host_errors(void);

/* An Image's pixels, and those that came with it. */
const uint8_t *host_pixels(const variant *image, int *width, int *height, int *format, bool *mipmaps);
/* The Image of an ImageTexture, or nil. */
variant host_image(const variant *texture);
/* Arrays of bytes that were copied because two held them. */
int host_copies(void);
/* Ends the process with a line that says why. */
_Noreturn void host_die(const char *format, ...);

/* "Class: method property signal" lines of all that was registered, for tests/abi.py. */
void host_describe(void);

#endif
