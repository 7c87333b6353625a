// What kernels are called with. Each takes one of these structs by value and then the address of the arena, so that
// the same arguments serve every instance of a network.
//
// A place is a number of floats from the arena's start, which lies on a boundary of 256 bytes. An address is one in
// the device's memory: of weights and tables, which all instances share. crates/cuda/src/arguments.rs has the same
// structs, and a test holds the two together.
#pragma once

#ifdef __CUDACC_RTC__
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef int int32_t;
typedef long long int64_t;
#else
#include <stdint.h>
#endif

// A place of something that is not there.
#define NOWHERE 0xffffffffffffffffull

// The most steps of an epilogue, and the most dimensions of a view.
#define EPILOGUE_STEPS 16
#define RANK 8

// Kinds of EpilogueStep.
#define EPILOGUE_BIAS 0
#define EPILOGUE_GELU_TANH 1
#define EPILOGUE_GELU_ERF 2
#define EPILOGUE_SILU 3
#define EPILOGUE_GATE 4
#define EPILOGUE_RESIDUAL 5
#define EPILOGUE_SCALE 6

// Operations of a ProgramStep.
#define PROGRAM_LOAD 0
#define PROGRAM_NEG 1
#define PROGRAM_ABS 2
#define PROGRAM_SQUARE 3
#define PROGRAM_SQRT 4
#define PROGRAM_RSQRT 5
#define PROGRAM_RECIP 6
#define PROGRAM_EXP 7
#define PROGRAM_LN 8
#define PROGRAM_TANH 9
#define PROGRAM_SIGMOID 10
#define PROGRAM_SILU 11
#define PROGRAM_ERF 12
#define PROGRAM_GELU_TANH 13
#define PROGRAM_GELU_ERF 14
#define PROGRAM_COS 15
#define PROGRAM_SIN 16
#define PROGRAM_ADD_NUMBER 17
#define PROGRAM_MUL_NUMBER 18
#define PROGRAM_POW 19
#define PROGRAM_CLAMP 20
#define PROGRAM_ROUNDED 21
#define PROGRAM_ADD 22
#define PROGRAM_SUB 23
#define PROGRAM_MUL 24
#define PROGRAM_DIV 25
#define PROGRAM_MAX 26
#define PROGRAM_MIN 27

// Values that a program holds at a time.
#define PROGRAM_REGISTERS 32

// What a reduction makes of a row.
#define REDUCTION_SUM 0
#define REDUCTION_MEAN 1
#define REDUCTION_MAX 2

// What a norm divides by.
#define MEASURE_DEVIATION 0
#define MEASURE_ROOT_MEAN_SQUARE 1

// What lies around an image.
#define BORDER_ZERO 0
#define BORDER_CIRCULAR 1

// How a table's numbers are stored.
#define ENCODING_F32 0
#define ENCODING_F16 1

// Rows of a product that lie evenly: row i is read at a + i * a_stride and written at c + i * c_stride. All groups of
// a product have the same number of rows.
struct Group {
    uint64_t a;
    uint64_t c;
    // The first row's number, for EPILOGUE_RESIDUAL.
    uint32_t row;
    // For EPILOGUE_GATE.
    uint32_t image;
};

struct EpilogueStep {
    uint32_t kind;
    // Of EPILOGUE_SCALE.
    float factor;
    // Of EPILOGUE_BIAS, EPILOGUE_GATE, EPILOGUE_RESIDUAL.
    uint64_t offset;
    // From one image's gate, or one row's residual, to the next one's.
    uint64_t stride;
};

// C[m, n] = epilogue(sum over s and k of A[m, s, k] * W[s, k, n]).
struct Matmul {
    // Address of the weights, packed for the kernel.
    uint64_t weights;
    // Address of rows / rows_per_group Groups.
    uint64_t groups;
    // Address of segment_count numbers (uint64_t): where the segments of a row start, from where the row starts.
    uint64_t segments;
    uint64_t a_stride;
    uint64_t c_stride;
    uint32_t rows;
    uint32_t rows_per_group;
    uint32_t segment_count;
    // Numbers of a segment.
    uint32_t k;
    uint32_t cols;
    // Whether any 4 numbers of a row, counted from its start, lie on a boundary of 16 bytes and in one segment.
    uint32_t aligned;
    uint32_t steps;
    uint32_t reserved;
    struct EpilogueStep epilogue[EPILOGUE_STEPS];
};

// Where one of q, k, v or the result lies: dim floats for each image, token and head.
struct Heads {
    uint64_t offset;
    uint64_t image_stride;
    uint64_t token_stride;
    uint64_t head_stride;
};

// softmax(scale (q kT + bias)) v for each image and head.
struct Attention {
    struct Heads q;
    struct Heads k;
    struct Heads v;
    struct Heads out;
    // A number for each image and key; NOWHERE without.
    uint64_t bias;
    uint64_t bias_stride;
    uint32_t images;
    uint32_t heads;
    uint32_t queries;
    uint32_t keys;
    uint32_t dim;
    // Whether any 4 floats of q, k and v, counted from where they start, lie on a boundary of 16 bytes.
    uint32_t aligned;
    float scale;
    uint32_t reserved;
};

// out = (x - mean) / sqrt(variance + eps) * gamma + beta of each row, then * scale + shift of its image.
struct Norm {
    uint64_t x;
    uint64_t x_stride;
    uint64_t out;
    uint64_t out_stride;
    // Each a row, or NOWHERE.
    uint64_t gamma;
    uint64_t beta;
    uint64_t scale;
    uint64_t shift;
    // From one image's scale and shift to the next one's.
    uint64_t image_stride;
    uint32_t rows;
    uint32_t cols;
    uint32_t rows_per_image;
    uint32_t measure;
    float eps;
    uint32_t reserved;
};

// The statistics of a group norm as a scale and a shift for each channel: of group_norm_partials, then
// group_norm_fold.
struct GroupNorm {
    uint64_t x;
    uint64_t x_stride;
    uint64_t image_stride;
    // Each a row, or NOWHERE.
    uint64_t gamma;
    uint64_t beta;
    // Each image's chunks, each a row of means and a row of squares about them.
    uint64_t partial;
    // For each image a row of scales, then a row of shifts.
    uint64_t out;
    uint32_t images;
    // Of one image.
    uint32_t pixels;
    uint32_t channels;
    uint32_t groups;
    // Pixels of a chunk, and chunks of an image.
    uint32_t chunk;
    uint32_t chunks;
    float eps;
    uint32_t reserved;
};

// Images [height, width, channels] to [height * enlarge + top + bottom, width * enlarge + left + right, channels].
struct Stage {
    uint64_t x;
    uint64_t image_stride;
    uint64_t pixel_stride;
    // For each image a row of scales, then a row of shifts; NOWHERE without.
    uint64_t affine;
    uint64_t out;
    uint32_t images;
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t silu;
    uint32_t enlarge;
    uint32_t top;
    uint32_t bottom;
    uint32_t left;
    uint32_t right;
    uint32_t border;
    uint32_t reserved;
};

// A step of a program on registers: of one or two of them to another.
struct ProgramStep {
    uint32_t operation;
    uint32_t to;
    // A register; of PROGRAM_LOAD the number of an input.
    uint32_t a;
    uint32_t b;
    float numbers[4];
};

// Elements of a known shape.
struct View {
    uint64_t offset;
    uint64_t strides[RANK];
};

// out = program(inputs), elementwise.
struct Pointwise {
    // Address of the ProgramSteps.
    uint64_t steps;
    // Address of the inputs' Views.
    uint64_t inputs;
    struct View out;
    // Outermost first; ones behind the rank.
    uint32_t shape[RANK];
    uint32_t rank;
    uint32_t step_count;
    // Of all.
    uint32_t elements;
    // The register of the result.
    uint32_t result;
};

// The elements of one view to another.
struct Copy {
    struct View from;
    struct View to;
    uint32_t shape[RANK];
    uint32_t rank;
    uint32_t elements;
};

// One float of each row.
struct Reduce {
    uint64_t x;
    uint64_t x_stride;
    uint64_t out;
    uint64_t out_stride;
    uint32_t rows;
    uint32_t cols;
    uint32_t reduction;
    uint32_t reserved;
};

// out = e^x / sum of e^x for each row.
struct Softmax {
    uint64_t x;
    uint64_t x_stride;
    uint64_t out;
    uint64_t out_stride;
    uint32_t rows;
    uint32_t cols;
};

// Rows of a table in the arena by integers. These are int64_t from a place with an even number on; whoever launches
// it has held them to the table's rows, but for negative ones, which count from its end.
struct Gather {
    uint64_t table;
    uint64_t integers;
    uint64_t out;
    uint32_t rows;
    uint32_t width;
    uint32_t count;
    uint32_t reserved;
};

// Rows of a table in memory that all instances share.
struct Lookup {
    // Its address.
    uint64_t table;
    uint64_t integers;
    uint64_t out;
    uint32_t rows;
    uint32_t width;
    uint32_t count;
    uint32_t encoding;
};

// Integers as floats.
struct Integers {
    uint64_t integers;
    uint64_t out;
    uint32_t count;
    uint32_t reserved;
};
