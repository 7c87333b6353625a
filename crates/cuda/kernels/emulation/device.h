// The words of device.h on the host: threads of a block are fibres, one runs at a time, and gives way where it waits.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#define DEVICE static inline
#define DEVICE_MEMBER inline
#define UNROLL
#define UNROLL_SOME
#define UNROLL_PAIRS
#define ROLLED

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};

namespace emulation {

// What runs.
struct Block {
    uint32_t x, y, blocks_y;
    // Counts all blocks of all launches.
    uint64_t number;
};
extern Block block;
extern uint32_t thread;

// Notes what went wrong, the first time in a launch.
void fault(const char *format, ...);
// Whether a kernel may touch these bytes.
bool allowed(const void *at, uint64_t bytes, uint64_t boundary);
// Waits until the block's threads are all here.
void meet_block();

// What lanes bring to an operation of their warp.
struct Lane {
    float (*c)[4];
    uint4 a;
    uint32_t b[2];
    float x;
    uint32_t lanes;
};
enum class Operation { Barrier, Shuffle, F16, Bf16, Tf32 };
// Waits until all lanes of the warp are here, and does what they came for.
void meet_warp(Operation operation, Lane &lane);

void copy_later(void *to, const void *from);
void finish_copies();

// Shared memory: filled with what is no number when a block first looks at it, and held to its length.
template <class T, int COUNT> struct Shared {
    alignas(16) T values[COUNT];
    uint64_t owner = 0;

    T *of_block() {
        if (owner != block.number) {
            memset(values, 0xff, sizeof values);
            owner = block.number;
        }
        return values;
    }
};

template <class T> struct Places {
    T *values;
    int64_t count;

    T &operator[](int64_t i) const {
        if (i < 0 || i >= count) {
            fault("shared memory: place %lld of %lld", (long long)i, (long long)count);
            i = 0;
        }
        return values[i];
    }
    // A part as another type, from a place on.
    template <class U> Places<U> as(int64_t first = 0) const {
        if (first < 0 || first > count) fault("shared memory: from place %lld", (long long)first);
        return {(U *)(values + first), (int64_t)((count - first) * sizeof(T) / sizeof(U))};
    }
};

typedef void (*Entry)(const void *arguments, float *arena);
struct Kernel {
    Kernel(const char *name, uint32_t threads, uint64_t bytes, Entry entry);
    const char *name;
    uint32_t threads;
    // Of the arguments.
    uint64_t bytes;
    Entry entry;
    Kernel *next;
};

}  // namespace emulation

#define KERNEL(name, Arguments, threads, blocks)                                                          \
    static void name(const Arguments &arguments, float *arena);                                           \
    static emulation::Kernel name##_registered(                                                           \
        #name, threads, sizeof(Arguments),                                                                \
        [](const void *arguments, float *arena) { name(*(const Arguments *)arguments, arena); });         \
    static void name(const Arguments &arguments, float *arena)

template <class T> using Places = emulation::Places<T>;
#define SHARED(Type, name, count)                            \
    static emulation::Shared<Type, count> name##_memory;     \
    const Places<Type> name = {name##_memory.of_block(), count}

DEVICE uint32_t thread_index() { return emulation::thread; }
DEVICE uint32_t block_x() { return emulation::block.x; }
DEVICE uint32_t block_y() { return emulation::block.y; }
DEVICE uint32_t blocks_y() { return emulation::block.blocks_y; }

DEVICE void barrier() { emulation::meet_block(); }

DEVICE void warp_barrier() {
    emulation::Lane lane = {};
    emulation::meet_warp(emulation::Operation::Barrier, lane);
}

DEVICE float shuffle_xor(float x, uint32_t lanes) {
    emulation::Lane lane = {};
    lane.x = x;
    lane.lanes = lanes;
    emulation::meet_warp(emulation::Operation::Shuffle, lane);
    return lane.x;
}

template <class T> DEVICE T read(const T *from) {
    if (!emulation::allowed(from, sizeof(T), alignof(T))) return T{};
    T value;
    memcpy(&value, from, sizeof value);
    return value;
}

template <class T> DEVICE void write(T *to, T value) {
    if (emulation::allowed(to, sizeof(T), alignof(T))) memcpy(to, &value, sizeof value);
}

DEVICE uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

DEVICE float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// To the nearest, of two equally near to the even one.
DEVICE uint32_t half_bits(float x) {
    const uint32_t sign = bits_of(x) >> 16 & 0x8000;
    const float size = fabsf(x);
    if (size != size) return 0x7fff;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size == 0.0f) return sign;
    // Steps of the last place: of numbers below the smallest normal one they do not shrink further.
    int exponent;
    frexpf(size, &exponent);
    const int last = (exponent > -13 ? exponent : -13) - 11;
    const uint32_t steps = (uint32_t)lrintf(ldexpf(size, -last));
    return sign | ((uint32_t)(last + 24) * 0x400 + steps);
}

DEVICE float from_f16(unsigned short bits) {
    const uint32_t exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
    float size = exponent ? ldexpf((float)(0x400 | mantissa), (int)exponent - 25) : ldexpf((float)mantissa, -24);
    if (exponent == 31) size = mantissa ? NAN : INFINITY;
    return bits & 0x8000 ? -size : size;
}

DEVICE uint32_t to_f16(float low, float high) { return half_bits(low) | half_bits(high) << 16; }

DEVICE uint32_t bfloat_bits(float x) {
    const uint32_t bits = bits_of(x);
    return x == x ? (bits + 0x7fff + (bits >> 16 & 1)) >> 16 : 0x7fff;
}

DEVICE uint32_t to_bf16(float low, float high) { return bfloat_bits(low) | bfloat_bits(high) << 16; }

DEVICE uint32_t to_tf32(float x) {
    return isfinite(x) ? (bits_of(x) + 0x1000) & ~0x1fffu : bits_of(x);
}

DEVICE void copy_ahead(void *to, const void *from) {
    if (emulation::allowed(from, 16, 16)) emulation::copy_later(to, from);
}

DEVICE void wait_for_copies() { emulation::finish_copies(); }

DEVICE void multiply(emulation::Operation operation, float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
    emulation::Lane lane = {};
    lane.c = &c;
    lane.a = a;
    lane.b[0] = b0;
    lane.b[1] = b1;
    emulation::meet_warp(operation, lane);
}

DEVICE void multiply_f16(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
    multiply(emulation::Operation::F16, c, a, b0, b1);
}

DEVICE void multiply_bf16(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
    multiply(emulation::Operation::Bf16, c, a, b0, b1);
}

DEVICE void multiply_tf32(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
    multiply(emulation::Operation::Tf32, c, a, b0, b1);
}
