/* The part of Godot's extension interface that this binding uses: the layouts and calls of Godot 4.2 and newer.
 *
 * Functions are asked for by name (GD_FUNCTIONS). Names of members are the published ones, by which tests/abi.py holds
 * all of this to what Godot publishes; names of types are ours. Godot's own values (Variant, String) are memory of a
 * known size that only Godot looks into. */
#ifndef GDEXTENSION_H
#define GDEXTENSION_H

#include <stddef.h>
#include <stdint.h>

/* Variant types. */
enum {
  GD_NIL = 0,
  GD_BOOL = 1,
  GD_INT = 2,
  GD_FLOAT = 3,
  GD_STRING = 4,
  GD_VECTOR2I = 6,
  GD_STRING_NAME = 21,
  GD_OBJECT = 24,
  GD_CALLABLE = 25,
  GD_PACKED_BYTE_ARRAY = 29,
  GD_PACKED_STRING_ARRAY = 34,
};

/* PropertyHint, PropertyUsageFlags, Error, GDExtensionInitializationLevel, GDExtensionCallErrorType. */
enum { GD_HINT_NONE = 0, GD_HINT_RANGE = 1, GD_HINT_ENUM = 2, GD_HINT_FLAGS = 6, GD_HINT_FILE = 13 };
enum { GD_HINT_RESOURCE_TYPE = 17, GD_HINT_MULTILINE_TEXT = 18 };
enum { GD_USAGE_DEFAULT = 6 };
enum { GD_ERROR_OK = 0, GD_ERROR_FAILED = 1 };
enum { GD_LEVEL_SCENE = 2 };
enum { GD_METHOD_DEFAULT = 1 };
enum { GD_CALL_OK = 0, GD_CALL_INVALID_ARGUMENT = 2, GD_CALL_TOO_MANY_ARGUMENTS = 3, GD_CALL_TOO_FEW_ARGUMENTS = 4 };

typedef void (*gd_function)(void);
typedef gd_function (*gd_get_proc_address)(const char *name);

typedef struct gd_call_error {
  uint32_t error;
  int32_t argument;
  int32_t expected;
} gd_call_error;

typedef struct gd_property_info {
  uint32_t type;
  void *name;
  void *class_name;
  uint32_t hint;
  void *hint_string;
  uint32_t usage;
} gd_property_info;

typedef void (*gd_method_call)(void *userdata, void *instance, const void *const *arguments, int64_t count,
                               void *result, gd_call_error *error);
typedef void (*gd_method_ptrcall)(void *userdata, void *instance, const void *const *arguments, void *result);

typedef struct gd_method_info {
  void *name;
  void *method_userdata;
  gd_method_call call_func;
  gd_method_ptrcall ptrcall_func;
  uint32_t method_flags;
  uint8_t has_return_value;
  gd_property_info *return_value_info;
  uint32_t return_value_metadata;
  uint32_t argument_count;
  gd_property_info *arguments_info;
  uint32_t *arguments_metadata;
  uint32_t default_argument_count;
  void **default_arguments;
} gd_method_info;

typedef void (*gd_virtual)(void *instance, const void *const *arguments, void *result);

/* GDExtensionClassCreationInfo2. */
typedef struct gd_class_info {
  uint8_t is_virtual;
  uint8_t is_abstract;
  uint8_t is_exposed;
  gd_function set_func;
  gd_function get_func;
  gd_function get_property_list_func;
  gd_function free_property_list_func;
  gd_function property_can_revert_func;
  gd_function property_get_revert_func;
  gd_function validate_property_func;
  gd_function notification_func;
  gd_function to_string_func;
  gd_function reference_func;
  gd_function unreference_func;
  void *(*create_instance_func)(void *class_userdata);
  void (*free_instance_func)(void *class_userdata, void *instance);
  gd_function recreate_instance_func;
  gd_virtual (*get_virtual_func)(void *class_userdata, const void *name);
  gd_function get_virtual_call_data_func;
  gd_function call_virtual_with_data_func;
  gd_function get_rid_func;
  void *class_userdata;
} gd_class_info;

typedef struct gd_binding_callbacks {
  void *(*create_callback)(void *token, void *instance);
  void (*free_callback)(void *token, void *instance, void *binding);
  uint8_t (*reference_callback)(void *token, void *binding, uint8_t reference);
} gd_binding_callbacks;

typedef struct gd_initialization {
  uint32_t minimum_initialization_level;
  void *userdata;
  void (*initialize)(void *userdata, uint32_t level);
  void (*deinitialize)(void *userdata, uint32_t level);
} gd_initialization;

typedef void (*gd_from_type)(void *variant, void *value);
typedef void (*gd_to_type)(void *value, void *variant);
typedef void (*gd_destructor)(void *value);

/* Result, name, parameters. Out-parameters come first as Godot has them, and are memory without a value before. */
#define GD_FUNCTIONS(X) \
  X(void, variant_new_nil, (void *result)) \
  X(void, variant_new_copy, (void *result, const void *from)) \
  X(void, variant_destroy, (void *variant)) \
  X(uint32_t, variant_get_type, (const void *variant)) \
  X(void, variant_call, \
    (void *self, const void *method, const void *const *arguments, int64_t count, void *result, gd_call_error *error)) \
  X(void, variant_construct, \
    (uint32_t type, void *result, const void *const *arguments, int32_t count, gd_call_error *error)) \
  X(gd_from_type, get_variant_from_type_constructor, (uint32_t type)) \
  X(gd_to_type, get_variant_to_type_constructor, (uint32_t type)) \
  X(gd_destructor, variant_get_ptr_destructor, (uint32_t type)) \
  X(void, string_new_with_utf8_chars, (void *result, const char *text)) \
  X(int64_t, string_to_utf8_chars, (const void *string, char *text, int64_t size)) \
  X(void, string_name_new_with_latin1_chars, (void *result, const char *text, uint8_t is_static)) \
  X(uint8_t *, packed_byte_array_operator_index, (void *array, int64_t index)) \
  X(void *, global_get_singleton, (const void *name)) \
  X(void *, classdb_construct_object, (const void *class_name)) \
  X(const void *, classdb_get_method_bind, (const void *class_name, const void *method, int64_t hash)) \
  X(void, object_method_bind_call, \
    (const void *bind, void *object, const void *const *arguments, int64_t count, void *result, gd_call_error *error)) \
  X(void, object_set_instance, (void *object, const void *class_name, void *instance)) \
  X(void, object_set_instance_binding, \
    (void *object, void *token, void *binding, const gd_binding_callbacks *callbacks)) \
  X(void *, object_get_instance_binding, (void *object, void *token, const gd_binding_callbacks *callbacks)) \
  X(uint8_t, object_get_class_name, (const void *object, void *library, void *result)) \
  X(void, ref_set_object, (void *ref, void *object)) \
  X(void, classdb_register_extension_class2, \
    (void *library, const void *name, const void *parent, const gd_class_info *info)) \
  X(void, classdb_register_extension_class_method, \
    (void *library, const void *class_name, const gd_method_info *info)) \
  X(void, classdb_register_extension_class_property, \
    (void *library, const void *class_name, const gd_property_info *info, const void *setter, const void *getter)) \
  X(void, classdb_register_extension_class_signal, \
    (void *library, const void *class_name, const void *name, const gd_property_info *arguments, int64_t count)) \
  X(void, classdb_register_extension_class_integer_constant, \
    (void *library, const void *class_name, const void *enum_name, const void *name, int64_t value, uint8_t bitfield)) \
  X(void, classdb_unregister_extension_class, (void *library, const void *class_name)) \
  X(void, print_error_with_message, \
    (const char *description, const char *message, const char *function, const char *file, int32_t line, \
     uint8_t notify_editor))

/* FileAccess.get_file_as_bytes: static methods are called by a bind, which is looked up with their signature's hash. */
#define GD_HASH_GET_FILE_AS_BYTES 659035735

#if UINTPTR_MAX == 0xffffffffffffffff
_Static_assert(sizeof(gd_call_error) == 12, "GDExtensionCallError");
_Static_assert(sizeof(gd_property_info) == 48 && offsetof(gd_property_info, usage) == 40, "GDExtensionPropertyInfo");
_Static_assert(sizeof(gd_method_info) == 88 && offsetof(gd_method_info, argument_count) == 52, "ClassMethodInfo");
_Static_assert(sizeof(gd_class_info) == 160 && offsetof(gd_class_info, class_userdata) == 152, "ClassCreationInfo2");
_Static_assert(sizeof(gd_binding_callbacks) == 24, "GDExtensionInstanceBindingCallbacks");
_Static_assert(sizeof(gd_initialization) == 32, "GDExtensionInitialization");
#endif

#endif
