/* The methods of the engine's own classes: signals, images, deferred calls, a pool of threads. */
#include "host.h"
#include "objects.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char signals[8192];
static object *signalled;

void (*host_listener)(const char *signal_name);

static struct {
  object *on;
  const void *method;
} deferred[64];
static int deferred_count;

/* The pool: one thread for each task. */
static struct task {
  pthread_t thread;
  object *on;
  const void *method;
  atomic_int done;
  bool waited;
} tasks[256];
static int task_count;

static void *run_task(void *which) {
  struct task *task = which;
  gd_call_error error = {0, 0, 0};
  value *result = calloc(1, sizeof *result);
  call_object(task->on, text(&task->method), NULL, 0, result, &error);
  if (error.error) host_die("a task cannot be called");
  value_free(result);
  free(result);
  atomic_store(&task->done, 1);
  return NULL;
}

static struct task *task_of(const value *number) {
  if (number->type != GD_INT || number->as.number < 0 || number->as.number >= task_count) host_die("no such task");
  if (tasks[number->as.number].waited) host_die("a task that was waited for already");
  return &tasks[number->as.number];
}

static void wants(const value *const *arguments, int64_t count, int wanted, ...) {
  va_list types;
  if (count != wanted) host_die("%d arguments, %d are wanted", (int)count, wanted);
  va_start(types, wanted);
  for (int i = 0; i < wanted; i++) {
    uint32_t type = va_arg(types, uint32_t);
    if (arguments[i]->type != type) host_die("argument %d: type %u, not %u", i, arguments[i]->type, type);
  }
  va_end(types);
}

static void emit(object *o, const value *const *arguments, int64_t count) {
  entry *declared = find_entry(o->of, 's', text(&arguments[0]->as.pointer));
  if (!declared || declared->takes != count - 1) host_die("%s is no such signal", text(&arguments[0]->as.pointer));
  size_t used = strlen(signals);
  used += (size_t)snprintf(signals + used, sizeof signals - used, "%s%s(", used ? " " : "", declared->name);
  for (int i = 1; i < count; i++) {
    const value *v = arguments[i];
    if (v->type != declared->types[i - 1]) host_die("%s: another type", declared->name);
    if (v->type == GD_OBJECT) {
      object *image = v->as.pointer;
      object_refer(image);
      if (signalled) object_release(signalled);
      signalled = image;
      used += (size_t)snprintf(signals + used, sizeof signals - used, "%dx%d", image->width, image->height);
    } else if (v->type == GD_STRING) {
      used += (size_t)snprintf(signals + used, sizeof signals - used, "%s", text(&v->as.pointer));
    } else {
      used += (size_t)snprintf(signals + used, sizeof signals - used, "%s%d", i > 1 ? ", " : "", (int)v->as.number);
    }
  }
  snprintf(signals + used, sizeof signals - used, ")");
  if (host_listener) host_listener(declared->name);
}

bool engine_method(object *o, const char *method, const value *const *a, int64_t count, value *result) {
  if (!strcmp(method, "emit_signal")) {
    if (count < 1 || a[0]->type != GD_STRING_NAME) host_die("a signal has a name");
    emit(o, a, count);
  } else if (!strcmp(method, "call_deferred")) {
    wants(a, count, 1, GD_STRING_NAME);
    object_refer(o);
    deferred[deferred_count].on = o;
    deferred[deferred_count++].method = a[0]->as.pointer;
  } else if (is(o, "Image") && !strcmp(method, "set_data")) {
    wants(a, count, 5, GD_INT, GD_INT, GD_BOOL, GD_INT, GD_PACKED_BYTE_ARRAY);
    o->width = (int)a[0]->as.number, o->height = (int)a[1]->as.number, o->format = (int)a[3]->as.number;
    byte_array *pixels = *(byte_array **)((box *)a[4]->as.pointer)->array;
    if ((size_t)o->width * (size_t)o->height * (o->format == 4 ? 3 : 1) != pixels->size) host_die("another size");
    if (o->pixels) bytes_release(o->pixels);
    o->pixels = pixels;
    atomic_fetch_add(&pixels->references, 1);
  } else if (is(o, "Image") && !strcmp(method, "generate_mipmaps")) {
    wants(a, count, 1, GD_BOOL);
    o->mipmaps = true;
  } else if (is(o, "ImageTexture") && !strcmp(method, "set_image")) {
    wants(a, count, 1, GD_OBJECT);
    object *image = a[0]->as.pointer;
    if (!is(image, "Image") || !image->pixels) host_die("set_image wants an Image");
    object_refer(image);
    if (o->image) object_release(o->image);
    o->image = image;
  } else if (is(o, "WorkerThreadPool") && !strcmp(method, "add_task")) {
    wants(a, count, 3, GD_CALLABLE, GD_BOOL, GD_STRING);
    struct task *task = &tasks[task_count];
    task->on = a[0]->as.pair[0], task->method = a[0]->as.pair[1];
    if (pthread_create(&task->thread, NULL, run_task, task)) host_die("no thread");
    *result = (value){.type = GD_INT, .as.number = task_count++};
  } else if (is(o, "WorkerThreadPool") && !strcmp(method, "is_task_completed")) {
    wants(a, count, 1, GD_INT);
    *result = (value){.type = GD_BOOL, .as.truth = (uint8_t)atomic_load(&task_of(a[0])->done)};
  } else if (is(o, "WorkerThreadPool") && !strcmp(method, "wait_for_task_completion")) {
    wants(a, count, 1, GD_INT);
    struct task *task = task_of(a[0]);
    pthread_join(task->thread, NULL);
    task->waited = true;
    *result = (value){.type = GD_INT, .as.number = 0};
  } else {
    return false;
  }
  return true;
}

void engine_run_deferred(void) {
  for (int i = 0; i < deferred_count; i++) {
    value *result = calloc(1, sizeof *result);
    gd_call_error error = {0, 0, 0};
    call_object(deferred[i].on, text(&deferred[i].method), NULL, 0, result, &error);
    if (error.error) host_die("a deferred call is refused");
    value_free(result);
    free(result);
    object_release(deferred[i].on);
  }
  deferred_count = 0;
}

void engine_end(void) {
  for (int i = 0; i < task_count; i++)
    if (!tasks[i].waited) host_die("task %d was never waited for", i);
}

const char *host_signals(void) {
  static char told[sizeof signals];
  memcpy(told, signals, sizeof signals);
  signals[0] = 0;
  if (!*told && signalled) {
    object_release(signalled);
    signalled = NULL;
  }
  return told;
}

variant host_signalled(void) { return of_object(signalled); }
