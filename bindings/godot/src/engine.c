#include "engine.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct engine gd;

#define GD_ASK(result, function, parameters) \
  gd.function = (result(*) parameters)get(#function); \
  if (!gd.function) return false;

bool engine_load(gd_get_proc_address get, void *library) {
  gd.library = library;
  GD_FUNCTIONS(GD_ASK)
  return true;
}

void engine_error(const char *message) {
  gd.print_error_with_message(message, "", "flowturbo", "flowturbo", 0, 1);
}

/* Names that were asked for. Objects are made and set on any thread. */
typedef struct known {
  const char *literal;
  name name;
  struct known *next;
} known;
static _Atomic(known *) names;

name name_of(const char *literal) {
  known *first = atomic_load(&names);
  for (known *k = first; k; k = k->next)
    if (k->literal == literal) return k->name;
  name made_name;
  gd.string_name_new_with_latin1_chars(&made_name, literal, 0);
  /* Two threads may keep the same; without memory a name is kept for good. */
  known *added = malloc(sizeof *added);
  if (!added) return made_name;
  *added = (known){literal, made_name, first};
  while (!atomic_compare_exchange_weak(&names, &added->next, added)) {
  }
  return made_name;
}

void engine_unload(void) {
  known *next = atomic_exchange(&names, NULL);
  while (next) {
    known *gone = next;
    next = gone->next;
    gd.variant_get_ptr_destructor(GD_STRING_NAME)(&gone->name);
    free(gone);
  }
}

/* Godot has each name once, so that the same name is the same pointer. */
bool same_name(const void *left, const char *literal) {
  return ((const name *)left)->data == name_of(literal).data;
}

variant nil(void) {
  variant result;
  gd.variant_new_nil(&result);
  return result;
}

variant of_type(uint32_t type, const void *value) {
  variant result;
  gd.get_variant_from_type_constructor(type)(&result, (void *)(uintptr_t)value);
  return result;
}

variant of_bool(bool value) {
  uint8_t byte = value;
  return of_type(GD_BOOL, &byte);
}

variant of_int(int64_t value) { return of_type(GD_INT, &value); }
variant of_float(double value) { return of_type(GD_FLOAT, &value); }
variant of_success(bool right) { return of_int(right ? GD_ERROR_OK : GD_ERROR_FAILED); }
variant of_object(void *object) { return object ? of_type(GD_OBJECT, &object) : nil(); }
variant of_bytes(const bytes *value) { return of_type(GD_PACKED_BYTE_ARRAY, value); }

variant of_text(const char *text) {
  name string;
  gd.string_new_with_utf8_chars(&string, text);
  variant result = of_type(GD_STRING, &string);
  gd.variant_get_ptr_destructor(GD_STRING)(&string);
  return result;
}

variant of_name(const char *literal) {
  name string_name = name_of(literal);
  return of_type(GD_STRING_NAME, &string_name);
}

variant made(uint32_t type) {
  variant result;
  gd_call_error error;
  gd.variant_construct(type, &result, NULL, 0, &error);
  return result;
}

bool reads_as(const variant *value, uint32_t type) {
  uint32_t is = gd.variant_get_type(value);
  switch (type) {
    case GD_BOOL:
    case GD_INT:
    case GD_FLOAT: return is == GD_BOOL || is == GD_INT || is == GD_FLOAT;
    case GD_STRING: return is == GD_STRING || is == GD_STRING_NAME;
    case GD_OBJECT: return is == GD_OBJECT || is == GD_NIL;
    default: return is == type;
  }
}

/* Reads a variant as the type that it has. */
static void read(uint32_t type, void *result, const variant *value) {
  gd.get_variant_to_type_constructor(type)(result, (void *)(uintptr_t)value);
}

/* The whole number below; one that int64_t does not hold is its end, not a number is 0. */
static int64_t whole(double number) {
  if (number >= 0x1p63) return INT64_MAX;
  if (number < -0x1p63) return INT64_MIN;
  return number == number ? (int64_t)number : 0;
}

int64_t int_of(const variant *value) {
  uint8_t byte;
  int64_t number;
  switch (gd.variant_get_type(value)) {
    case GD_BOOL: read(GD_BOOL, &byte, value); return byte;
    case GD_INT: read(GD_INT, &number, value); return number;
    case GD_FLOAT: return whole(float_of(value));
    default: return 0;
  }
}

double float_of(const variant *value) {
  double number;
  if (gd.variant_get_type(value) != GD_FLOAT) return (double)int_of(value);
  read(GD_FLOAT, &number, value);
  return number;
}

char *text_of(const variant *value) {
  name string;
  variant as_string = nil();
  if (gd.variant_get_type(value) == GD_STRING_NAME) {
    const void *arguments[] = {value};
    gd_call_error error;
    gd.variant_construct(GD_STRING, &as_string, arguments, 1, &error);
    value = &as_string;
  }
  read(GD_STRING, &string, value);
  int64_t size = gd.string_to_utf8_chars(&string, NULL, 0);
  char *text = malloc((size_t)size + 1);
  if (text) {
    gd.string_to_utf8_chars(&string, text, size);
    text[size] = 0;
  }
  gd.variant_get_ptr_destructor(GD_STRING)(&string);
  gd.variant_destroy(&as_string);
  return text;
}

void *object_of(const variant *value) {
  void *object = NULL;
  if (gd.variant_get_type(value) == GD_OBJECT) read(GD_OBJECT, &object, value);
  return object;
}

bytes bytes_of(variant *value) {
  bytes array;
  read(GD_PACKED_BYTE_ARRAY, &array, value);
  /* Of an array that two hold, the one that writes makes a copy. */
  gd.variant_destroy(value);
  return array;
}

void bytes_free(bytes *array) { gd.variant_get_ptr_destructor(GD_PACKED_BYTE_ARRAY)(array); }

variant call(const variant *self, const char *method, int count, variant *arguments) {
  const void *pointers[8];
  name called = name_of(method);
  variant result;
  gd_call_error error = {GD_CALL_OK, 0, 0};
  for (int i = 0; i < count; i++) pointers[i] = &arguments[i];
  gd.variant_call((void *)(uintptr_t)self, &called, pointers, count, &result, &error);
  for (int i = 0; i < count; i++) gd.variant_destroy(&arguments[i]);
  if (error.error != GD_CALL_OK) {
    char message[128];
    snprintf(message, sizeof message, "flowturbo: this Godot refuses a call of %s", method);
    engine_error(message);
    return nil();
  }
  return result;
}

void tell(const variant *self, const char *method, int count, variant *arguments) {
  variant result = call(self, method, count, arguments);
  gd.variant_destroy(&result);
}

variant callable(void *object, const char *method) {
  variant parts[] = {of_object(object), of_name(method)}, result;
  const void *pointers[] = {&parts[0], &parts[1]};
  gd_call_error error;
  gd.variant_construct(GD_CALLABLE, &result, pointers, 2, &error);
  gd.variant_destroy(&parts[0]);
  gd.variant_destroy(&parts[1]);
  return result;
}

variant singleton(const char *literal) {
  name wanted = name_of(literal);
  return of_object(gd.global_get_singleton(&wanted));
}
