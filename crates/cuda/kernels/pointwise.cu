// Programs over elements: each thread takes one element through all steps. Its registers are in shared memory, where
// steps can name them by number.
#include "functions.h"
#include "views.h"

// Those of a NaN and anything are NaN, as the CPU's.
DEVICE float larger(float a, float b) { return a > b || a != a ? a : b; }
DEVICE float smaller(float a, float b) { return a < b || a != a ? a : b; }

// To the nearest whole number, ties to even, between two that are whole; of zeros there is one.
DEVICE float rounded(float a, float low, float high) { return rintf(smaller(larger(a, low), high)) + 0.0f; }

DEVICE float apply(const ProgramStep &step, float a, float b) {
    switch (step.operation) {
        case PROGRAM_NEG: return -a;
        case PROGRAM_ABS: return fabsf(a);
        case PROGRAM_SQUARE: return a * a;
        case PROGRAM_SQRT: return sqrtf(a);
        case PROGRAM_RSQRT: return 1.0f / sqrtf(a);
        case PROGRAM_RECIP: return 1.0f / a;
        case PROGRAM_EXP: return expf(a);
        case PROGRAM_LN: return logf(a);
        case PROGRAM_TANH: return tanhf(a);
        case PROGRAM_SIGMOID: return sigmoid(a);
        case PROGRAM_SILU: return silu(a);
        case PROGRAM_ERF: return erff(a);
        case PROGRAM_GELU_TANH: return gelu_tanh(a);
        case PROGRAM_GELU_ERF: return gelu_erf(a);
        case PROGRAM_COS: return cosf(a);
        case PROGRAM_SIN: return sinf(a);
        case PROGRAM_ADD_NUMBER: return a + step.numbers[0];
        case PROGRAM_MUL_NUMBER: return a * step.numbers[0];
        case PROGRAM_POW: return powf(a, step.numbers[0]);
        case PROGRAM_CLAMP: return smaller(larger(a, step.numbers[0]), step.numbers[1]);
        case PROGRAM_ROUNDED: return rounded(a / step.numbers[0], step.numbers[1], step.numbers[2]);
        case PROGRAM_ADD: return a + b;
        case PROGRAM_SUB: return a - b;
        case PROGRAM_MUL: return a * b;
        case PROGRAM_DIV: return a / b;
        case PROGRAM_MAX: return larger(a, b);
        default: return smaller(a, b);
    }
}

KERNEL(pointwise, Pointwise, 128, 4) {
    const Pointwise &program = arguments;
    SHARED(float, registers, PROGRAM_REGISTERS * 128);
    const uint32_t thread = thread_index(), element = block_x() * 128 + thread;
    if (element >= program.elements) return;
    const Index index(element, program.shape, program.rank);
    const ProgramStep *steps = (const ProgramStep *)program.steps;
    const View *inputs = (const View *)program.inputs;
    for (uint32_t i = 0; i < program.step_count; ++i) {
        const ProgramStep step = read(steps + i);
        float value;
        if (step.operation == PROGRAM_LOAD) {
            const View view = read(inputs + step.a);
            value = read(arena + index.in(view));
        } else {
            const float a = registers[step.a * 128 + thread];
            value = apply(step, a, step.operation >= PROGRAM_ADD ? registers[step.b * 128 + thread] : a);
        }
        registers[step.to * 128 + thread] = value;
    }
    write(arena + index.in(program.out), registers[program.result * 128 + thread]);
}
