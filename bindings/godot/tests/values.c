#include "values.h"
#include "host.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A string: counted, or a name, which is kept to the end. */
typedef struct string {
  atomic_int references;
  struct string *next;
  char data[];
} string;

atomic_int live;
static atomic_int copies;
static string *names;
/* Names that were asked for, less those given up. */
static atomic_int held;
static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;

_Static_assert(sizeof(value) == 24, "as Godot's Variant");

int host_copies(void) { return atomic_load(&copies); }

static string *string_new(const char *contents) {
  string *made_string = malloc(sizeof *made_string + strlen(contents) + 1);
  atomic_init(&made_string->references, 1);
  made_string->next = NULL;
  strcpy(made_string->data, contents);
  return made_string;
}

static void string_release(string *s) {
  if (!s || atomic_fetch_sub(&s->references, 1) > 1) return;
  atomic_fetch_sub(&live, 1);
  free(s);
}

const char *text(const void *which) {
  const string *s = *(string *const *)which;
  return s ? s->data : "";
}

void name_lend(void *result, const char *wanted) {
  atomic_fetch_add(&held, 1);
  *(const void **)result = name_value(wanted);
}

const void *name_value(const char *wanted) {
  string *found;
  pthread_mutex_lock(&names_lock);
  for (found = names; found && strcmp(found->data, wanted);) found = found->next;
  if (!found) {
    found = string_new(wanted);
    found->next = names;
    names = found;
  }
  pthread_mutex_unlock(&names_lock);
  return found;
}

void names_free(void) {
  if (atomic_load(&held)) host_die("%d names are left", atomic_load(&held));
  while (names) {
    string *next = names->next;
    free(names);
    names = next;
  }
}

static byte_array *bytes_new(size_t size) {
  byte_array *array = calloc(1, sizeof *array + size);
  atomic_init(&array->references, 1);
  array->size = size;
  atomic_fetch_add(&live, 1);
  return array;
}

void bytes_release(byte_array *array) {
  if (!array || atomic_fetch_sub(&array->references, 1) > 1) return;
  atomic_fetch_sub(&live, 1);
  free(array);
}

/* Arrays of strings hold their texts in one array of bytes, each with its end. */
static void box_new(value *v, uint32_t type, byte_array *array) {
  box *made_box = calloc(1, sizeof *made_box);
  atomic_init(&made_box->references, 1);
  made_box->array[0] = array;
  atomic_fetch_add(&live, 1);
  *v = (value){.type = type, .as.pointer = made_box};
}

static byte_array **array_of(const value *v) { return (byte_array **)((box *)v->as.pointer)->array; }

void value_clear(value *v) { memset(v, 0, sizeof *v); }

void value_free(value *v) {
  box *shared = v->as.pointer;
  if (v->type == GD_STRING) string_release(v->as.pointer);
  if (v->type == GD_OBJECT) object_release(v->as.pointer);
  if ((v->type == GD_PACKED_BYTE_ARRAY || v->type == GD_PACKED_STRING_ARRAY) &&
      atomic_fetch_sub(&shared->references, 1) == 1) {
    bytes_release(shared->array[0]);
    atomic_fetch_sub(&live, 1);
    free(shared);
  }
  value_clear(v);
}

static void value_copy(void *result, const void *from) {
  const value *v = from;
  if (v->type == GD_STRING && v->as.pointer) atomic_fetch_add(&((string *)v->as.pointer)->references, 1);
  if (v->type == GD_OBJECT) object_refer(v->as.pointer);
  if (v->type == GD_PACKED_BYTE_ARRAY || v->type == GD_PACKED_STRING_ARRAY)
    atomic_fetch_add(&((box *)v->as.pointer)->references, 1);
  memcpy(result, v, sizeof *v);
}

static uint32_t get_type(const void *v) { return ((const value *)v)->type; }
static void new_nil(void *v) { value_clear(v); }
static void destroy(void *v) { value_free(v); }

static void from_bool(void *v, void *in) { *(value *)v = (value){.type = GD_BOOL, .as.truth = *(uint8_t *)in}; }
static void from_int(void *v, void *in) { *(value *)v = (value){.type = GD_INT, .as.number = *(int64_t *)in}; }
static void from_float(void *v, void *in) { *(value *)v = (value){.type = GD_FLOAT, .as.real = *(double *)in}; }
static void from_name(void *v, void *in) { *(value *)v = (value){.type = GD_STRING_NAME, .as.pointer = *(void **)in}; }

static void from_vector2i(void *v, void *in) {
  *(value *)v = (value){.type = GD_VECTOR2I};
  memcpy(((value *)v)->as.whole, in, 8);
}

static void from_string(void *v, void *in) {
  string *s = *(string **)in;
  if (s) atomic_fetch_add(&s->references, 1);
  *(value *)v = (value){.type = GD_STRING, .as.pointer = s};
}

static void from_object(void *v, void *in) {
  object_refer(*(void **)in);
  *(value *)v = (value){.type = GD_OBJECT, .as.pointer = *(void **)in};
}

static void from_bytes(void *v, void *in) {
  byte_array *array = *(byte_array **)in;
  if (array) atomic_fetch_add(&array->references, 1);
  box_new(v, GD_PACKED_BYTE_ARRAY, array);
}

static void from_strings(void *v, void *in) {
  from_bytes(v, in);
  ((value *)v)->type = GD_PACKED_STRING_ARRAY;
}

static gd_from_type from_type(uint32_t type) {
  switch (type) {
    case GD_BOOL: return from_bool;
    case GD_INT: return from_int;
    case GD_FLOAT: return from_float;
    case GD_STRING: return from_string;
    case GD_VECTOR2I: return from_vector2i;
    case GD_STRING_NAME: return from_name;
    case GD_OBJECT: return from_object;
    case GD_PACKED_BYTE_ARRAY: return from_bytes;
    case GD_PACKED_STRING_ARRAY: return from_strings;
    default: host_die("no variant is made of type %u", type);
  }
}

static const value *of(const void *v, uint32_t type) {
  if (get_type(v) != type) host_die("a variant of type %u is read as %u", get_type(v), type);
  return v;
}

static void to_bool(void *out, void *v) { *(uint8_t *)out = of(v, GD_BOOL)->as.truth; }
static void to_int(void *out, void *v) { *(int64_t *)out = of(v, GD_INT)->as.number; }
static void to_float(void *out, void *v) { *(double *)out = of(v, GD_FLOAT)->as.real; }
static void to_vector2i(void *out, void *v) { memcpy(out, of(v, GD_VECTOR2I)->as.whole, 8); }
static void to_object(void *out, void *v) { *(void **)out = of(v, GD_OBJECT)->as.pointer; }

static void to_string(void *out, void *v) {
  string *s = of(v, GD_STRING)->as.pointer;
  if (s) atomic_fetch_add(&s->references, 1);
  *(string **)out = s;
}

static void to_array(void *out, void *v) {
  byte_array *array = *array_of(v);
  if (array) atomic_fetch_add(&array->references, 1);
  *(byte_array **)out = array;
}

static void to_bytes(void *out, void *v) { of(v, GD_PACKED_BYTE_ARRAY), to_array(out, v); }
static void to_strings(void *out, void *v) { of(v, GD_PACKED_STRING_ARRAY), to_array(out, v); }

static gd_to_type to_type(uint32_t type) {
  switch (type) {
    case GD_BOOL: return to_bool;
    case GD_INT: return to_int;
    case GD_FLOAT: return to_float;
    case GD_STRING: return to_string;
    case GD_VECTOR2I: return to_vector2i;
    case GD_OBJECT: return to_object;
    case GD_PACKED_BYTE_ARRAY: return to_bytes;
    case GD_PACKED_STRING_ARRAY: return to_strings;
    default: host_die("no variant is read as type %u", type);
  }
}

static void free_string(void *s) { string_release(*(string **)s); }
static void free_name(void *s) {
  (void)s;
  atomic_fetch_sub(&held, 1);
}
static void free_array(void *array) { bytes_release(*(byte_array **)array); }

static gd_destructor destructor(uint32_t type) {
  switch (type) {
    case GD_STRING: return free_string;
    case GD_STRING_NAME: return free_name;
    case GD_PACKED_BYTE_ARRAY:
    case GD_PACKED_STRING_ARRAY: return free_array;
    default: host_die("type %u needs no destructor", type);
  }
}

static void construct(uint32_t type, void *result, const void *const *arguments, int32_t count, gd_call_error *error) {
  const value *const *given = (const value *const *)arguments;
  error->error = 0;
  if (type == GD_CALLABLE && count == 2 && given[0]->type == GD_OBJECT && given[1]->type == GD_STRING_NAME)
    *(value *)result = (value){.type = type, .as.pair = {given[0]->as.pointer, given[1]->as.pointer}};
  else if (type == GD_STRING && count == 1 && given[0]->type == GD_STRING_NAME) {
    string *copy = string_new(text(&given[0]->as.pointer));
    atomic_fetch_add(&live, 1);
    *(value *)result = (value){.type = type, .as.pointer = copy};
  } else if ((type == GD_PACKED_BYTE_ARRAY || type == GD_PACKED_STRING_ARRAY) && !count)
    box_new(result, type, NULL);
  else
    host_die("type %u is not made so", type);
}

bool value_method(value *v, const char *method, const value *const *arguments, int64_t count, value *result) {
  bool is_bytes = v->type == GD_PACKED_BYTE_ARRAY, is_texts = v->type == GD_PACKED_STRING_ARRAY;
  if (is_bytes && !strcmp(method, "size") && !count) {
    *result = (value){.type = GD_INT, .as.number = *array_of(v) ? (int64_t)(*array_of(v))->size : 0};
  } else if (is_bytes && !strcmp(method, "resize") && count == 1) {
    bytes_release(*array_of(v));
    *array_of(v) = bytes_new((size_t)of(arguments[0], GD_INT)->as.number);
    *result = (value){.type = GD_INT};
  } else if (is_texts && !strcmp(method, "push_back") && count == 1) {
    const char *added = text(&of(arguments[0], GD_STRING)->as.pointer);
    byte_array *before = *array_of(v);
    size_t size = before ? before->size : 0;
    byte_array *after = bytes_new(size + strlen(added) + 1);
    if (before) memcpy(after->data, before->data, size);
    strcpy((char *)after->data + size, added);
    bytes_release(before);
    *array_of(v) = after;
    *result = (value){.type = GD_BOOL};
  } else {
    return false;
  }
  return true;
}

void value_of_file(value *result, const char *path) {
  FILE *file = fopen(path, "rb");
  byte_array *array = NULL;
  if (file && !fseek(file, 0, SEEK_END)) {
    array = bytes_new((size_t)ftell(file));
    rewind(file);
    if (fread(array->data, 1, array->size, file) != array->size) host_die("%s cannot be read", path);
  }
  if (file) fclose(file);
  box_new(result, GD_PACKED_BYTE_ARRAY, array);
}

static void new_string(void *result, const char *contents) {
  string *s = NULL;
  if (*contents) {
    s = string_new(contents);
    atomic_fetch_add(&live, 1);
  }
  *(string **)result = s;
}

static int64_t to_utf8(const void *s, char *out, int64_t size) {
  int64_t length = (int64_t)strlen(text(s));
  if (out) memcpy(out, text(s), (size_t)(length < size ? length : size));
  return length;
}

static void new_name(void *result, const char *contents, uint8_t is_static) {
  if (is_static) host_die("%s lies in a library that may go before its name", contents);
  name_lend(result, contents);
}

static uint8_t *at(void *which, int64_t index) {
  byte_array **place = which, *array = *place;
  if (!array || index < 0 || (size_t)index >= array->size) host_die("byte %d of another array", (int)index);
  if (atomic_load(&array->references) > 1) {
    atomic_fetch_add(&copies, 1);
    *place = bytes_new(array->size);
    memcpy((*place)->data, array->data, array->size);
    bytes_release(array);
  }
  return (*place)->data + index;
}

#define GIVE(function, body) \
  if (!strcmp(name, #function)) return (gd_function)body;

gd_function value_function(const char *name) {
  GIVE(variant_new_nil, new_nil)
  GIVE(variant_new_copy, value_copy)
  GIVE(variant_destroy, destroy)
  GIVE(variant_get_type, get_type)
  GIVE(variant_construct, construct)
  GIVE(get_variant_from_type_constructor, from_type)
  GIVE(get_variant_to_type_constructor, to_type)
  GIVE(variant_get_ptr_destructor, destructor)
  GIVE(string_new_with_utf8_chars, new_string)
  GIVE(string_to_utf8_chars, to_utf8)
  GIVE(string_name_new_with_latin1_chars, new_name)
  GIVE(packed_byte_array_operator_index, at)
  return NULL;
}
