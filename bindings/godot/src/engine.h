/* Godot's values and calls, as the rest of the binding uses them: variants that are made, read and destroyed, methods
 * called by name. */
#ifndef ENGINE_H
#define ENGINE_H

#include "gdextension.h"
#include <stdbool.h>

/* Room for a Variant: 24 bytes, or 40 where Godot is built for large worlds (precision=double). So one of Godot's is
 * looked at by its address alone, and never assigned. */
typedef struct variant {
  uint64_t words[5];
} variant;

/* A StringName, or a String: one pointer. */
typedef struct name {
  void *data;
} name;

/* A PackedByteArray. */
typedef struct bytes {
  void *words[2];
} bytes;

#define GD_MEMBER(result, function, parameters) result(*function) parameters;
struct engine {
  GD_FUNCTIONS(GD_MEMBER)
  void *library;
};
extern struct engine gd;

/* Asks for every function; false if this Godot has not all of them. */
bool engine_load(gd_get_proc_address get, void *library);
/* Writes one line to Godot's log of errors. */
void engine_error(const char *message);

/* A name by its literal, ours until the library goes: they need not be destroyed. Godot has a copy of the text, for it
 * keeps names longer than it keeps a library that is loaded anew. */
name name_of(const char *literal);
/* Gives up all names; nothing of Godot may be called any more. */
void engine_unload(void);
bool same_name(const void *left, const char *literal);

/* What is made here is destroyed by the caller, with gd.variant_destroy. */
variant nil(void);
variant of_bool(bool value);
variant of_int(int64_t value);
variant of_float(double value);
/* Godot's OK, or its FAILED. */
variant of_success(bool right);
variant of_text(const char *text);
variant of_name(const char *literal);
variant of_object(void *object);
variant of_bytes(const bytes *value);
variant of_type(uint32_t type, const void *value);
/* An empty array, or anything that needs no arguments. */
variant made(uint32_t type);

/* Whether a variant may be read as `type`: Godot mixes whole numbers and others, texts and names. */
bool reads_as(const variant *value, uint32_t type);
int64_t int_of(const variant *value);
double float_of(const variant *value);
/* UTF-8, to be freed; NULL where memory is refused. */
char *text_of(const variant *value);
/* NULL for none. */
void *object_of(const variant *value);
/* The array that the variant holds, whose memory it gives up: writing into it copies nothing. */
bytes bytes_of(variant *value);
void bytes_free(bytes *array);

/* Calls a method by its name. `arguments` are destroyed; the result is the caller's. A call that Godot refuses, for a
 * method that it has not, is told in its log and gives nil. */
variant call(const variant *self, const char *method, int count, variant *arguments);
/* The same where the result is of no use. */
void tell(const variant *self, const char *method, int count, variant *arguments);
/* A callable of an object's method. */
variant callable(void *object, const char *method);
variant singleton(const char *literal);

#endif
