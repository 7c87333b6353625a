/* Classes for Godot, described by tables: their properties lie in a struct of ours, their methods take variants. */
#ifndef CLASSES_H
#define CLASSES_H

#include "engine.h"

/* What every instance begins with. */
typedef struct instance {
  void *object;
  const struct class_table *table;
} instance;

/* A property, kept in the instance: a bool as uint8_t, a whole number as int64_t, a float as double, a text as a char *
 * of its own, a Vector2i as int32_t[2], an object as variant. */
typedef struct property {
  const char *name;
  uint32_t type;
  size_t offset;
  uint32_t hint;
  const char *hint_text;
  /* The class of ours that an object must be of. */
  const struct class_table *of;
} property;

/* A method of none or one argument. `result` is nil before the call. */
typedef struct method {
  const char *name;
  void (*run)(void *self, const variant *argument, variant *result);
  uint32_t returns;
  uint32_t takes;
  /* The class of an object that is returned. */
  const char *returned;
} method;

/* A signal of none to two arguments. */
typedef struct signal {
  const char *name;
  struct {
    const char *name;
    uint32_t type;
    const char *of;
  } arguments[2];
} signal;

typedef struct constant {
  const char *enumeration;
  const char *name;
  int64_t value;
  bool flag;
} constant;

/* Tables end with an entry without a name. */
typedef struct class_table {
  const char *name;
  const char *parent;
  size_t size;
  const property *properties;
  const method *methods;
  const signal *signals;
  const constant *constants;
  /* Any may be NULL. All bytes are 0, and objects nil, before `begin`. */
  void (*begin)(void *self);
  void (*end)(void *self);
  void (*changed)(void *self);
  void (*process)(void *self);
  void (*exit_tree)(void *self);
} class_table;

void class_register(const class_table *table);
void class_unregister(const class_table *table);
/* The instance behind an object of this class, or NULL. */
void *instance_of(const variant *object, const class_table *table);

#endif
