// Activations, as flowturbo-kernels has them.
#pragma once

#include "device.h"

#define LOG2_E 1.4426950408889634f

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

DEVICE float silu(float x) { return x / (1.0f + exp2f(-LOG2_E * x)); }

// x sigmoid(2u) with u = sqrt(2 / pi) (x + 0.044715 x^3), which is the tanh form.
DEVICE float gelu_tanh(float x) {
    const float c = -2.3022082f;  // -2 sqrt(2 / pi) log2(e)
    return x / (1.0f + exp2f(x * fmaf(x * x, 0.044715f * c, c)));
}

DEVICE float gelu_erf(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }
