/* The host's values: variants of 24 bytes, strings, names that are kept once, arrays that are copied when two hold them
 * and one writes. Everything that is made is counted in `live`. */
#ifndef VALUES_H
#define VALUES_H

#include "../src/gdextension.h"
#include <stdatomic.h>
#include <stdbool.h>

typedef struct byte_array {
  atomic_int references;
  size_t size;
  uint8_t data[];
} byte_array;

/* What a variant of an array points at: all copies of the variant share it. */
typedef struct box {
  atomic_int references;
  void *array[2];
} box;

typedef struct value {
  uint32_t type;
  union {
    uint8_t truth;
    int64_t number;
    double real;
    int32_t whole[2];
    void *pointer;
    void *pair[2];
  } as;
} value;

extern atomic_int live;

/* The characters of a String or a StringName. */
const char *text(const void *string);
const void *name_value(const char *wanted);
/* The same as a StringName that is to be given back. */
void name_lend(void *result, const char *wanted);
void names_free(void);

void value_clear(value *v);
void value_free(value *v);
/* A method of a variant that is no object; false if there is none. */
bool value_method(value *v, const char *method, const value *const *arguments, int64_t count, value *result);
/* A file's bytes, none if it cannot be read. */
void value_of_file(value *result, const char *path);
void bytes_release(byte_array *array);
/* The functions of the interface that are about values. */
gd_function value_function(const char *name);

/* The host's objects. */
void object_refer(void *which);
void object_release(void *which);

#endif
