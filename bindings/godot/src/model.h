/* FlowTurboModel: a plan or a bundle, opened when it is first needed. */
#ifndef MODEL_H
#define MODEL_H

#include "classes.h"
#include <flowturbo.h>

/* Room for one line that says what failed. */
enum { MESSAGE_SIZE = 1024 };

typedef struct model {
  instance base;
  char *file;
  int64_t threads;
  int64_t precision;
  int64_t device;
  uint8_t deterministic;
  ft_model *handle;
  char message[MESSAGE_SIZE];
} model;

extern const class_table model_table;

/* Opens the model unless it is open; false with `message` set. */
bool model_opened(model *self);
/* Writes what the last call of flowturbo had to say. */
void message_of_library(char *message);

#endif
