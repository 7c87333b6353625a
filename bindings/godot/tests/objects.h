/* The host's classes and objects, for the files that are the host. */
#ifndef OBJECTS_H
#define OBJECTS_H

#include "values.h"

/* A method, property, signal or constant, told apart by `kind`: m, p, s, c. */
typedef struct entry {
  char kind;
  char name[64];
  gd_method_info method;
  uint32_t takes, types[2];
  char setter[64], getter[64], of[64];
  int64_t value;
  struct entry *next;
} entry;

typedef struct class {
  char name[64], parent[64];
  bool extension;
  gd_class_info info;
  entry *entries;
  struct class *next;
} class;

typedef struct object {
  class *of;
  /* 0 until something refers to it; -1 for what is not counted. */
  atomic_int references;
  void *instance, *binding, *token;
  int width, height, format;
  bool mipmaps;
  byte_array *pixels;
  struct object *image;
} object;

/* The class of that name; ends the process if there is none. */
class *find_class(const char *wanted);
/* NULL if there is none. */
entry *find_entry(const class *of, char kind, const char *wanted);
/* Whether an object is of a class or of one below it. */
bool is(const object *o, const char *wanted);
void call_object(object *o, const char *method, const value *const *arguments, int64_t count, value *result,
                 gd_call_error *error);

/* A method of the engine's own classes; false if there is none. */
bool engine_method(object *o, const char *method, const value *const *arguments, int64_t count, value *result);
/* What was called with call_deferred. */
void engine_run_deferred(void);
/* Ends the process if a task was never waited for. */
void engine_end(void);

#endif
