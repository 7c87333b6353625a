#include "host.h"
#include "objects.h"
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static class *classes;
static struct {
  gd_function initialize;
  void *library;
  gd_initialization calls;
} loaded;
static char resources[1024], errors[8192];

class *find_class(const char *wanted) {
  for (class *c = classes; c; c = c->next)
    if (!strcmp(c->name, wanted)) return c;
  host_die("there is no class %s", wanted);
}

static class *add_class(const char *wanted, const char *parent) {
  class *added = calloc(1, sizeof *added);
  snprintf(added->name, sizeof added->name, "%s", wanted);
  snprintf(added->parent, sizeof added->parent, "%s", parent);
  added->next = classes;
  classes = added;
  return added;
}

bool is(const object *o, const char *wanted) {
  for (class *c = o->of; c; c = *c->parent ? find_class(c->parent) : NULL)
    if (!strcmp(c->name, wanted)) return true;
  return false;
}

entry *find_entry(const class *of, char kind, const char *wanted) {
  for (entry *e = of->entries; e; e = e->next)
    if (e->kind == kind && !strcmp(e->name, wanted)) return e;
  return NULL;
}

static void release_object(object *o) {
  if (o->of->extension) o->of->info.free_instance_func(o->of->info.class_userdata, o->instance);
  if (o->pixels) bytes_release(o->pixels);
  if (o->image) object_release(o->image);
  free(o);
  atomic_fetch_sub(&live, 1);
}

void object_refer(void *which) {
  object *o = which;
  if (atomic_load(&o->references) >= 0) atomic_fetch_add(&o->references, 1);
}

void object_release(void *which) {
  object *o = which;
  if (atomic_load(&o->references) > 0 && atomic_fetch_sub(&o->references, 1) == 1) release_object(o);
}

/* ---- what the extension asks for */

static void *construct(const void *class_name) {
  class *of = find_class(text(class_name));
  if (of->extension) return of->info.create_instance_func(of->info.class_userdata);
  object *o = calloc(1, sizeof *o);
  o->of = of;
  atomic_fetch_add(&live, 1);
  if (!is(o, "RefCounted")) atomic_store(&o->references, -1);
  return o;
}

static void set_instance(void *which, const void *class_name, void *instance) {
  object *o = which;
  class *of = find_class(text(class_name));
  if (strcmp(of->parent, o->of->name)) host_die("%s is not made of its parent, %s", of->name, of->parent);
  o->of = of;
  o->instance = instance;
}

static void set_binding(void *which, void *token, void *binding, const gd_binding_callbacks *callbacks) {
  object *o = which;
  if (!callbacks) host_die("a binding without callbacks");
  o->token = token;
  o->binding = binding;
}

static void *get_binding(void *which, void *token, const gd_binding_callbacks *callbacks) {
  object *o = which;
  if (callbacks) host_die("a binding would be made");
  return o->token == token ? o->binding : NULL;
}

static uint8_t get_class_name(const void *which, void *library, void *result) {
  const object *o = which;
  if (library != &loaded) host_die("another library asks");
  name_lend(result, o->of->name);
  return 1;
}

static void set_ref(void *ref, void *which) {
  if (which) object_refer(which);
  if (*(void **)ref) object_release(*(void **)ref);
  *(void **)ref = which;
}

static void register_class(void *library, const void *class_name, const void *parent, const gd_class_info *info) {
  (void)library;
  if (!info->free_instance_func || !info->create_instance_func) host_die("%s cannot be made", text(class_name));
  find_class(text(parent));
  class *added = add_class(text(class_name), text(parent));
  added->extension = true;
  added->info = *info;
}

static entry *add_entry(const void *class_name, char kind, const void *entry_name) {
  class *of = find_class(text(class_name));
  if (find_entry(of, kind, text(entry_name))) host_die("%s has two of %s", of->name, text(entry_name));
  entry *added = calloc(1, sizeof *added);
  added->kind = kind;
  snprintf(added->name, sizeof added->name, "%s", text(entry_name));
  added->next = of->entries;
  of->entries = added;
  return added;
}

static void register_method(void *library, const void *class_name, const gd_method_info *info) {
  (void)library;
  entry *added = add_entry(class_name, 'm', info->name);
  added->method = *info;
  added->takes = info->argument_count ? info->arguments_info->type : GD_NIL;
  added->types[0] = info->has_return_value ? info->return_value_info->type : GD_NIL;
}

static void register_property(void *library, const void *class_name, const gd_property_info *info, const void *setter,
                              const void *getter) {
  (void)library;
  entry *added = add_entry(class_name, 'p', info->name);
  class *of = find_class(text(class_name));
  snprintf(added->setter, sizeof added->setter, "%s", text(setter));
  snprintf(added->getter, sizeof added->getter, "%s", text(getter));
  snprintf(added->of, sizeof added->of, "%s", text(info->class_name));
  if (*added->of) find_class(added->of);
  entry *set = find_entry(of, 'm', added->setter), *get = find_entry(of, 'm', added->getter);
  if (!set || !get || set->takes != info->type || get->types[0] != info->type)
    host_die("%s.%s has no setter and getter of its type", of->name, added->name);
}

static void register_signal(void *library, const void *class_name, const void *signal_name,
                            const gd_property_info *arguments, int64_t count) {
  (void)library;
  entry *added = add_entry(class_name, 's', signal_name);
  added->takes = (uint32_t)count;
  for (int i = 0; i < count; i++) added->types[i] = arguments[i].type;
}

static void register_constant(void *library, const void *class_name, const void *enumeration, const void *called,
                              int64_t value, uint8_t bitfield) {
  (void)library, (void)enumeration, (void)bitfield;
  add_entry(class_name, 'c', called)->value = value;
}

static void forget_class(class *gone) {
  while (gone->entries) {
    entry *next = gone->entries->next;
    free(gone->entries);
    gone->entries = next;
  }
  free(gone);
}

static void unregister_class(void *library, const void *class_name) {
  (void)library;
  for (class **place = &classes; *place; place = &(*place)->next) {
    if (strcmp((*place)->name, text(class_name))) continue;
    class *gone = *place;
    *place = gone->next;
    forget_class(gone);
    return;
  }
  host_die("%s was not registered", text(class_name));
}

static void print_error(const char *description, const char *message, const char *function, const char *file,
                        int32_t line, uint8_t notify) {
  (void)function, (void)file, (void)line, (void)notify;
  size_t used = strlen(errors);
  snprintf(errors + used, sizeof errors - used, "%s%s%s\n", description, *message ? ": " : "", message);
}

void call_object(object *o, const char *method, const value *const *arguments, int64_t count, value *result,
                 gd_call_error *error) {
  entry *own = find_entry(o->of, 'm', method);
  if (own) {
    own->method.call_func(own->method.method_userdata, o->instance, (const void *const *)arguments, count, result,
                          error);
  } else if (!engine_method(o, method, arguments, count, result)) {
    error->error = 1;
  }
}

static void call_variant(void *self, const void *method, const void *const *arguments, int64_t count, void *result,
                         gd_call_error *error) {
  value *v = self;
  value_clear(result);
  if (v->type == GD_OBJECT) {
    call_object(v->as.pointer, text(method), (const value *const *)arguments, count, result, error);
  } else if (!value_method(v, text(method), (const value *const *)arguments, count, result)) {
    error->error = 1;
  }
}

static void *get_singleton(const void *wanted) {
  static object pool;
  pool.of = find_class(text(wanted));
  atomic_store(&pool.references, -1);
  return &pool;
}

static const void *get_bind(const void *class_name, const void *method, int64_t hash) {
  bool known = !strcmp(text(class_name), "FileAccess") && !strcmp(text(method), "get_file_as_bytes");
  return known && hash == GD_HASH_GET_FILE_AS_BYTES ? &loaded : NULL;
}

static void call_bind(const void *bind, void *on, const void *const *arguments, int64_t count, void *result,
                      gd_call_error *error) {
  const value *path = arguments[0];
  char file[2048] = "";
  if (bind != &loaded || on || count != 1 || path->type != GD_STRING) host_die("no such static method");
  const char *asked = text(&path->as.pointer);
  if (!strncmp(asked, "res://", 6)) snprintf(file, sizeof file, "%s/%s", resources, asked + 6);
  value_of_file(result, file);
  error->error = 0;
}

/* ---- what tests ask for */

#define GIVE(function, body) \
  if (!strcmp(name, #function)) return (gd_function)body;

static gd_function get_proc_address(const char *name) {
  gd_function values = value_function(name);
  if (values) return values;
  GIVE(variant_call, call_variant)
  GIVE(global_get_singleton, get_singleton)
  GIVE(classdb_construct_object, construct)
  GIVE(classdb_get_method_bind, get_bind)
  GIVE(object_method_bind_call, call_bind)
  GIVE(object_set_instance, set_instance)
  GIVE(object_set_instance_binding, set_binding)
  GIVE(object_get_instance_binding, get_binding)
  GIVE(object_get_class_name, get_class_name)
  GIVE(ref_set_object, set_ref)
  GIVE(classdb_register_extension_class2, register_class)
  GIVE(classdb_register_extension_class_method, register_method)
  GIVE(classdb_register_extension_class_property, register_property)
  GIVE(classdb_register_extension_class_signal, register_signal)
  GIVE(classdb_register_extension_class_integer_constant, register_constant)
  GIVE(classdb_unregister_extension_class, unregister_class)
  GIVE(print_error_with_message, print_error)
  host_die("%s is not in this host", name);
}

void host_load(const char *library, const char *folder) {
  static const char *const engine[][2] = {{"Object", ""},           {"RefCounted", "Object"},
                                          {"Resource", "RefCounted"}, {"Image", "Resource"},
                                          {"Texture2D", "Resource"}, {"ImageTexture", "Texture2D"},
                                          {"Node", "Object"},       {"WorkerThreadPool", "Object"}};
  for (size_t i = 0; i < sizeof engine / sizeof *engine; i++) add_class(engine[i][0], engine[i][1]);
  snprintf(resources, sizeof resources, "%s", folder);
  loaded.library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!loaded.library) host_die("%s", dlerror());
  uint8_t (*begin)(gd_get_proc_address, void *, gd_initialization *);
  *(void **)&begin = dlsym(loaded.library, "flowturbo_godot_init");
  if (!begin || !engine_load(get_proc_address, &loaded)) host_die("no entry");
  if (!begin(get_proc_address, &loaded, &loaded.calls)) host_die("the extension refuses this host");
  for (uint32_t level = loaded.calls.minimum_initialization_level; level < 4; level++)
    loaded.calls.initialize(loaded.calls.userdata, level);
}

void host_unload(void) {
  host_signals();
  host_errors();
  for (uint32_t level = 4; level-- > loaded.calls.minimum_initialization_level;)
    loaded.calls.deinitialize(loaded.calls.userdata, level);
  while (classes) {
    class *next = classes->next;
    if (classes->extension) host_die("%s stays registered", classes->name);
    forget_class(classes);
    classes = next;
  }
  engine_end();
  engine_unload();
  if (atomic_load(&live)) host_die("%d objects, strings or arrays are left", atomic_load(&live));
  names_free();
  dlclose(loaded.library);
}

variant host_new(const char *class_name) {
  const void *interned = name_value(class_name);
  void *made_object = construct(&interned);
  return of_object(made_object);
}

void host_free(variant *node) {
  object *o = ((value *)node)->as.pointer;
  if (atomic_load(&o->references) >= 0) host_die("%s is counted", o->of->name);
  release_object(o);
}

static entry *member(const variant *which, char kind, const char *wanted) {
  const value *v = (const value *)which;
  entry *found = v->type == GD_OBJECT ? find_entry(((object *)v->as.pointer)->of, kind, wanted) : NULL;
  if (!found) host_die("there is no %s", wanted);
  return found;
}

void host_set(const variant *which, const char *property, variant given) {
  entry *found = member(which, 'p', property);
  uint32_t refusal = host_refusal(which, found->setter, 1, &given);
  if (refusal) host_die("%s: refused with %u", property, refusal);
}

variant host_get(const variant *which, const char *property) {
  return call(which, member(which, 'p', property)->getter, 0, NULL);
}

variant host_call_by_pointers(const variant *which, const char *method, const variant *argument, uint32_t returns) {
  entry *found = member(which, 'm', method);
  object *o = ((const value *)which)->as.pointer;
  if (found->types[0] != returns) host_die("%s returns %u", method, found->types[0]);
  uint64_t in[2] = {0, 0}, out[2] = {0, 0};
  const void *arguments[] = {in};
  if (argument) gd.get_variant_to_type_constructor(found->takes)(in, (void *)(uintptr_t)argument);
  found->method.ptrcall_func(found->method.method_userdata, o->instance, arguments, out);
  variant result = nil();
  void *held = (void *)(uintptr_t)out[0];
  if (returns == GD_OBJECT) result = of_object(held);
  else if (returns != GD_NIL) result = of_type(returns, out);
  if (returns == GD_OBJECT && held) object_release(held);
  if (returns == GD_STRING || returns == GD_PACKED_STRING_ARRAY) gd.variant_get_ptr_destructor(returns)(out);
  if (argument && found->takes == GD_STRING) gd.variant_get_ptr_destructor(GD_STRING)(in);
  return result;
}

uint32_t host_refusal(const variant *which, const char *method, int count, variant *given) {
  gd_call_error error = {0, 0, 0};
  /* Godot's variants are smaller than the extension's: what writes beyond them is found by AddressSanitizer. */
  value *arguments[4] = {0}, *result = calloc(1, sizeof *result);
  for (int i = 0; i < count; i++) {
    arguments[i] = malloc(sizeof(value));
    memcpy(arguments[i], &given[i], sizeof(value));
  }
  call_object(((const value *)which)->as.pointer, method, (const value *const *)arguments, count, result, &error);
  for (int i = 0; i < count; i++) {
    value_free(arguments[i]);
    free(arguments[i]);
  }
  value_free(result);
  free(result);
  return error.error;
}

static void call_virtual(const variant *node, const char *called) {
  object *o = ((const value *)node)->as.pointer;
  const void *interned = name_value(called);
  gd_virtual found = o->of->info.get_virtual_func(o->of->info.class_userdata, &interned);
  double delta = 0.016;
  const void *arguments[] = {&delta};
  if (!found) host_die("no %s", called);
  found(o->instance, arguments, NULL);
}

void host_exit_tree(const variant *node) { call_virtual(node, "_exit_tree"); }

void host_frame(const variant *node) {
  if (node) call_virtual(node, "_process");
  engine_run_deferred();
}

const char *host_errors(void) {
  static char told[sizeof errors];
  memcpy(told, errors, sizeof errors);
  errors[0] = 0;
  return told;
}

const uint8_t *host_pixels(const variant *image, int *width, int *height, int *format, bool *mipmaps) {
  const value *v = (const value *)image;
  if (v->type != GD_OBJECT || !is(v->as.pointer, "Image")) host_die("no Image");
  object *o = v->as.pointer;
  *width = o->width, *height = o->height, *format = o->format, *mipmaps = o->mipmaps;
  return o->pixels->data;
}

variant host_image(const variant *texture) {
  const value *v = (const value *)texture;
  return v->type == GD_OBJECT ? of_object(((object *)v->as.pointer)->image) : nil();
}

void host_describe(void) {
  for (class *c = classes; c; c = c->next) {
    if (!c->extension) continue;
    printf("class %s %s\n", c->name, c->parent);
    for (entry *e = c->entries; e; e = e->next) printf("%c %s %s %d\n", e->kind, c->name, e->name, (int)e->value);
  }
}

void host_die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("host: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}
