/* FlowTurboGenerator: a node that makes a texture in the background. */
#ifndef GENERATOR_H
#define GENERATOR_H

#include "classes.h"

extern const class_table generator_table;

#endif
