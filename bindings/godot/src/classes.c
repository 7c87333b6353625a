#include "classes.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What Godot gives back to us with each call: a method, or one side of a property. */
typedef struct bound {
  const class_table *table;
  const method *method;
  const property *set;
  const property *get;
  struct bound *next;
} bound;

/* All that was registered, until the library goes. */
static bound *bounds;

static void *at(void *self, const property *described) { return (char *)self + described->offset; }

static variant property_get(void *self, const property *described) {
  void *place = at(self, described);
  variant copy;
  switch (described->type) {
    case GD_STRING: return of_text(*(char **)place ? *(char **)place : "");
    case GD_OBJECT: gd.variant_new_copy(&copy, place); return copy;
    default: return of_type(described->type, place);
  }
}

/* The variant can be read as the property's type. */
static void property_set(void *self, const property *described, const variant *value) {
  void *place = at(self, described);
  switch (described->type) {
    case GD_BOOL: *(uint8_t *)place = int_of(value) != 0; break;
    case GD_INT: *(int64_t *)place = int_of(value); break;
    case GD_FLOAT: *(double *)place = float_of(value); break;
    case GD_VECTOR2I:
      gd.get_variant_to_type_constructor(GD_VECTOR2I)(place, (void *)(uintptr_t)value);
      break;
    case GD_STRING:
      free(*(char **)place);
      *(char **)place = text_of(value);
      break;
    default:
      if (object_of(value) && !instance_of(value, described->of)) {
        char message[160];
        snprintf(message, sizeof message, "%s.%s: a %s is wanted", ((instance *)self)->table->name, described->name,
                 described->of->name);
        engine_error(message);
        return;
      }
      gd.variant_destroy(place);
      gd.variant_new_copy(place, value);
  }
  if (((instance *)self)->table->changed) ((instance *)self)->table->changed(self);
}

static void run(const bound *called, void *self, const variant *argument, variant *result) {
  if (called->set) property_set(self, called->set, argument);
  else if (called->get) *result = property_get(self, called->get);
  else called->method->run(self, argument, result);
}

static uint32_t taken(const bound *called) {
  return called->set ? called->set->type : called->get ? GD_NIL : called->method->takes;
}

static uint32_t returned(const bound *called) {
  return called->get ? called->get->type : called->set ? GD_NIL : called->method->returns;
}

static void call_by_variants(void *userdata, void *self, const void *const *arguments, int64_t count, void *result,
                             gd_call_error *error) {
  const bound *called = userdata;
  int64_t wanted = taken(called) != GD_NIL;
  error->error = GD_CALL_OK;
  if (count != wanted) {
    error->error = count < wanted ? GD_CALL_TOO_FEW_ARGUMENTS : GD_CALL_TOO_MANY_ARGUMENTS;
    error->expected = (int32_t)wanted;
  } else if (wanted && !reads_as(arguments[0], taken(called))) {
    error->error = GD_CALL_INVALID_ARGUMENT;
    error->argument = 0;
    error->expected = (int32_t)taken(called);
  } else {
    /* Godot's variants may be smaller than ours: they are never assigned to. */
    variant answer = nil();
    run(called, self, wanted ? arguments[0] : NULL, &answer);
    gd.variant_new_copy(result, &answer);
    gd.variant_destroy(&answer);
  }
}

static void call_by_pointers(void *userdata, void *self, const void *const *arguments, void *result) {
  const bound *called = userdata;
  uint32_t in = taken(called), out = returned(called);
  variant argument = nil(), answer = nil();
  if (in != GD_NIL) argument = of_type(in, arguments[0]);
  run(called, self, &argument, &answer);
  if (out == GD_OBJECT) gd.ref_set_object(result, object_of(&answer));
  else if (out != GD_NIL) gd.get_variant_to_type_constructor(out)(result, &answer);
  gd.variant_destroy(&argument);
  gd.variant_destroy(&answer);
}

/* A description that lends names, which Godot keeps, and a text, which the caller destroys. */
typedef struct described {
  gd_property_info info;
  name names[2];
  name text;
} described;

static void describe(described *out, uint32_t type, const char *called, const char *of, uint32_t hint,
                     const char *text) {
  out->names[0] = name_of(called);
  out->names[1] = name_of(of ? of : "");
  gd.string_new_with_utf8_chars(&out->text, text ? text : "");
  out->info = (gd_property_info){type, &out->names[0], &out->names[1], hint, &out->text, GD_USAGE_DEFAULT};
}

static void described_free(described *out) { gd.variant_get_ptr_destructor(GD_STRING)(&out->text); }

static void register_method(const class_table *table, const char *called, bound wanted, const char *of) {
  name class_name = name_of(table->name), method_name;
  bound *kept = malloc(sizeof *kept);
  if (!kept) {
    engine_error("flowturbo: no memory for a method");
    return;
  }
  *kept = wanted;
  kept->table = table;
  kept->next = bounds;
  bounds = kept;
  uint32_t in = taken(kept), out = returned(kept), no_metadata = 0;
  described argument, result;
  describe(&argument, in, "value", in == GD_OBJECT ? of : NULL, GD_HINT_NONE, NULL);
  describe(&result, out, "", out == GD_OBJECT ? of : NULL, GD_HINT_NONE, NULL);
  gd_method_info info = {.name = &method_name,
                         .method_userdata = kept,
                         .call_func = call_by_variants,
                         .ptrcall_func = call_by_pointers,
                         .method_flags = GD_METHOD_DEFAULT,
                         .has_return_value = out != GD_NIL,
                         .return_value_info = &result.info,
                         .argument_count = in != GD_NIL,
                         .arguments_info = &argument.info,
                         .arguments_metadata = &no_metadata};
  gd.string_name_new_with_latin1_chars(&method_name, called, 0);
  gd.classdb_register_extension_class_method(gd.library, &class_name, &info);
  gd.variant_get_ptr_destructor(GD_STRING_NAME)(&method_name);
  described_free(&argument);
  described_free(&result);
}

static void register_property(const class_table *table, const property *wanted) {
  char setter[64], getter[64];
  const char *of = wanted->of ? wanted->of->name : NULL;
  snprintf(setter, sizeof setter, "set_%s", wanted->name);
  snprintf(getter, sizeof getter, "get_%s", wanted->name);
  register_method(table, setter, (bound){.set = wanted}, of);
  register_method(table, getter, (bound){.get = wanted}, of);
  name class_name = name_of(table->name), set, get;
  described info;
  gd.string_name_new_with_latin1_chars(&set, setter, 0);
  gd.string_name_new_with_latin1_chars(&get, getter, 0);
  describe(&info, wanted->type, wanted->name, of, of ? GD_HINT_RESOURCE_TYPE : wanted->hint,
           of ? of : wanted->hint_text);
  gd.classdb_register_extension_class_property(gd.library, &class_name, &info.info, &set, &get);
  gd.variant_get_ptr_destructor(GD_STRING_NAME)(&set);
  gd.variant_get_ptr_destructor(GD_STRING_NAME)(&get);
  described_free(&info);
}

static void register_signal(const class_table *table, const signal *wanted) {
  name class_name = name_of(table->name), signal_name = name_of(wanted->name);
  described arguments[2];
  gd_property_info infos[2];
  int count = 0;
  for (; count < 2 && wanted->arguments[count].name; count++) {
    const char *of = wanted->arguments[count].of;
    describe(&arguments[count], wanted->arguments[count].type, wanted->arguments[count].name, of, GD_HINT_NONE, NULL);
    infos[count] = arguments[count].info;
  }
  gd.classdb_register_extension_class_signal(gd.library, &class_name, &signal_name, infos, count);
  while (count--) described_free(&arguments[count]);
}

/* An address that only this library has: Godot tells our bindings from others' by it. */
static int token;
static const gd_binding_callbacks no_callbacks;

static void *create(void *userdata) {
  const class_table *table = userdata;
  name class_name = name_of(table->name), parent = name_of(table->parent);
  instance *self = calloc(1, table->size);
  if (!self) {
    engine_error("flowturbo: no memory for an object");
    return NULL;
  }
  self->table = table;
  for (const property *p = table->properties; p->name; p++)
    if (p->type == GD_OBJECT) gd.variant_new_nil(at(self, p));
  if (table->begin) table->begin(self);
  self->object = gd.classdb_construct_object(&parent);
  gd.object_set_instance(self->object, &class_name, self);
  gd.object_set_instance_binding(self->object, &token, self, &no_callbacks);
  return self->object;
}

static void destroy(void *userdata, void *self) {
  const class_table *table = userdata;
  if (table->end) table->end(self);
  for (const property *p = table->properties; p->name; p++) {
    if (p->type == GD_OBJECT) gd.variant_destroy(at(self, p));
    if (p->type == GD_STRING) free(*(char **)at(self, p));
  }
  free(self);
}

static void process(void *self, const void *const *arguments, void *result) {
  (void)arguments, (void)result;
  ((instance *)self)->table->process(self);
}

static void exit_tree(void *self, const void *const *arguments, void *result) {
  (void)arguments, (void)result;
  ((instance *)self)->table->exit_tree(self);
}

static gd_virtual get_virtual(void *userdata, const void *wanted) {
  const class_table *table = userdata;
  if (table->process && same_name(wanted, "_process")) return process;
  if (table->exit_tree && same_name(wanted, "_exit_tree")) return exit_tree;
  return NULL;
}

void class_register(const class_table *table) {
  name class_name = name_of(table->name), parent = name_of(table->parent);
  gd_class_info info = {.is_exposed = 1,
                        .create_instance_func = create,
                        .free_instance_func = destroy,
                        .get_virtual_func = get_virtual,
                        .class_userdata = (void *)(uintptr_t)table};
  gd.classdb_register_extension_class2(gd.library, &class_name, &parent, &info);
  for (const constant *c = table->constants; c->name; c++) {
    name enumeration = name_of(c->enumeration), constant_name = name_of(c->name);
    gd.classdb_register_extension_class_integer_constant(gd.library, &class_name, &enumeration, &constant_name,
                                                         c->value, c->flag);
  }
  for (const method *m = table->methods; m->name; m++)
    register_method(table, m->name, (bound){.method = m}, m->returned);
  for (const property *p = table->properties; p->name; p++) register_property(table, p);
  for (const signal *s = table->signals; s->name; s++) register_signal(table, s);
}

void class_unregister(const class_table *table) {
  name class_name = name_of(table->name);
  gd.classdb_unregister_extension_class(gd.library, &class_name);
  for (bound **place = &bounds; *place;) {
    bound *kept = *place;
    if (kept->table != table) {
      place = &kept->next;
      continue;
    }
    *place = kept->next;
    free(kept);
  }
}

void *instance_of(const variant *object, const class_table *table) {
  void *found = object_of(object);
  name class_name;
  if (!found || !gd.object_get_class_name(found, gd.library, &class_name)) return NULL;
  bool same = same_name(&class_name, table->name);
  gd.variant_get_ptr_destructor(GD_STRING_NAME)(&class_name);
  return same ? gd.object_get_instance_binding(found, &token, NULL) : NULL;
}
