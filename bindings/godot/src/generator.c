#include "generator.h"
#include "texture.h"
#include <stdio.h>

typedef struct generator {
  instance base;
  variant texture;
  double milliseconds;
  generation *running;
  /* What `running` is for, whatever the properties are meanwhile. */
  variant target;
  /* Whether a thread of Godot's pool works, and its task; otherwise the frames do, for so long each. */
  bool on_thread;
  int64_t task;
  uint64_t microseconds;
  uint32_t told;
} generator;

static variant of_pool(const char *method, int count, variant *arguments) {
  variant pool = singleton("WorkerThreadPool"), result = call(&pool, method, count, arguments);
  gd.variant_destroy(&pool);
  return result;
}

static void emit(generator *self, const char *signal_name, int count, variant *values) {
  variant me = of_object(self->base.object), arguments[3] = {of_name(signal_name)};
  for (int i = 0; i < count; i++) arguments[i + 1] = values[i];
  tell(&me, "emit_signal", count + 1, arguments);
  gd.variant_destroy(&me);
}

/* Takes the generation away from the thread that works on it, which has ended then. */
static generation *taken(generator *self) {
  generation *ended = self->running;
  if (ended && self->on_thread) {
    variant task = of_int(self->task), result = of_pool("wait_for_task_completion", 1, &task);
    gd.variant_destroy(&result);
  }
  self->running = NULL;
  return ended;
}

static void give_up(void *instance) {
  generator *self = instance;
  if (!self->running) return;
  ft_cancel_token_cancel(self->running->token);
  generation_free(taken(self));
  gd.variant_destroy(&self->target);
  self->target = nil();
}

static void begin(void *instance) { ((generator *)instance)->target = nil(); }

static void end(void *instance) {
  give_up(instance);
  gd.variant_destroy(&((generator *)instance)->target);
}

static void fail(generator *self, const char *message) {
  variant text = of_text(message);
  emit(self, "failed", 1, &text);
}

/* Begins; what was under way is given up. */
static bool generate(generator *self) {
  give_up(self);
  texture *wanted = instance_of(&self->texture, &texture_table);
  if (!wanted) {
    fail(self, "FlowTurboGenerator.texture is not set");
    return false;
  }
  self->running = texture_begin(wanted);
  if (!self->running) {
    fail(self, wanted->message);
    return false;
  }
  gd.variant_destroy(&self->target);
  gd.variant_new_copy(&self->target, &self->texture);
  self->told = 0;
  self->on_thread = !(self->milliseconds > 0);
  if (!self->on_thread) {
    self->microseconds = self->milliseconds < 1e9 ? (uint64_t)(self->milliseconds * 1000) : FT_WHOLE_STEP;
    return true;
  }
  variant task[] = {callable(self->base.object, "_work"), of_bool(false), of_text("FlowTurbo")};
  variant number = of_pool("add_task", 3, task);
  self->task = int_of(&number);
  gd.variant_destroy(&number);
  return true;
}

static void generate_in_background(void *self, const variant *argument, variant *result) {
  (void)argument;
  *result = of_success(generate(self));
}

/* On a thread of Godot's pool: nothing of Godot is called here. */
static void work(void *instance, const variant *argument, variant *result) {
  generator *self = instance;
  (void)argument, (void)result;
  while (self->running && !generation_step(self->running, FT_WHOLE_STEP)) {
  }
}

static void cancel(void *instance, const variant *argument, variant *result) {
  generator *self = instance;
  (void)argument, (void)result;
  if (self->running) ft_cancel_token_cancel(self->running->token);
}

static void is_busy(void *self, const variant *argument, variant *result) {
  (void)argument;
  *result = of_bool(((generator *)self)->running != NULL);
}

static bool ended(generator *self) {
  if (!self->on_thread) return generation_step(self->running, self->microseconds);
  variant task = of_int(self->task), answer = of_pool("is_task_completed", 1, &task);
  bool completed = int_of(&answer) != 0;
  gd.variant_destroy(&answer);
  return completed;
}

/* Nothing of the generation is left in the node when its end is told, so that a script may begin the next one. */
static void finish(generator *self) {
  generation *done = taken(self);
  variant target = self->target, image = nil();
  self->target = nil();
  texture *on = instance_of(&target, &texture_table);
  if (done->status == FT_OK) {
    image = texture_take(on, done);
    if (!object_of(&image)) fail(self, on->message);
    else emit(self, "finished", 1, &image);
  } else if (done->status == FT_ERROR_CANCELLED) {
    emit(self, "cancelled", 0, NULL);
  } else {
    fail(self, done->message);
  }
  generation_free(done);
  gd.variant_destroy(&target);
}

static void process(void *instance) {
  generator *self = instance;
  if (!self->running) return;
  bool over = ended(self);
  uint32_t step = atomic_load(&self->running->step);
  if (step != self->told) {
    self->told = step;
    variant values[] = {of_int(step), of_int(atomic_load(&self->running->steps))};
    emit(self, "progress", 2, values);
  }
  /* A script that heard of progress may have begun another one, which is not over. */
  if (over && self->running && self->told == step) finish(self);
}

static const property properties[] = {
    {"texture", GD_OBJECT, offsetof(generator, texture), GD_HINT_NONE, NULL, &texture_table},
    {"milliseconds_per_frame", GD_FLOAT, offsetof(generator, milliseconds), GD_HINT_RANGE, "0,16,0.5", NULL},
    {0},
};

static const method methods[] = {
    {"generate", generate_in_background, GD_INT, GD_NIL, NULL},
    {"cancel", cancel, GD_NIL, GD_NIL, NULL},
    {"is_busy", is_busy, GD_BOOL, GD_NIL, NULL},
    {"_work", work, GD_NIL, GD_NIL, NULL},
    {0},
};

static const signal signals[] = {
    {"progress", {{"step", GD_INT, NULL}, {"steps", GD_INT, NULL}}},
    {"finished", {{"image", GD_OBJECT, "Image"}}},
    {"failed", {{"message", GD_STRING, NULL}}},
    {"cancelled", {{0}}},
    {0},
};

static const constant constants[] = {{0}};

const class_table generator_table = {
    .name = "FlowTurboGenerator",
    .parent = "Node",
    .size = sizeof(generator),
    .properties = properties,
    .methods = methods,
    .signals = signals,
    .constants = constants,
    .begin = begin,
    .end = end,
    .process = process,
    .exit_tree = give_up,
};
