// What kernels are written with: the words of the GPU, or of its emulation on the host.
//
// Global memory is read and written by `read` and `write`, shared memory is declared by SHARED: there the emulation
// looks whether it is the kernel's own. Lanes of a warp meet in all of its operations; none may be missing.
#pragma once

#include "arguments.h"

// What Turing's tensor cores lack: bf16 and tf32.
#if !defined(__CUDACC_RTC__) || __CUDA_ARCH__ >= 800
#define HAS_BF16
#endif

#ifndef __CUDACC_RTC__
#include "emulation/device.h"
#else

#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define UNROLL_SOME _Pragma("unroll 4")
#define UNROLL_PAIRS _Pragma("unroll 2")
#define ROLLED _Pragma("unroll 1")
#define INFINITY __int_as_float(0x7f800000)

// A kernel by its name, the struct that it takes, the threads of a block, and how many blocks a multiprocessor should
// have room for.
#define KERNEL(name, Arguments, threads, blocks) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const Arguments arguments, float *arena)

// Shared memory by numbered places.
template <class T> struct Places {
    T *values;
    __device__ __forceinline__ T &operator[](int i) const { return values[i]; }
    // A part as another type, from a place on.
    template <class U> __device__ __forceinline__ Places<U> as(int first = 0) const { return {(U *)(values + first)}; }
};
#define SHARED(Type, name, count)                         \
    __shared__ __align__(16) Type name##_memory[count];   \
    const Places<Type> name = {name##_memory}

DEVICE uint32_t thread_index() { return threadIdx.x; }
DEVICE uint32_t block_x() { return blockIdx.x; }
DEVICE uint32_t block_y() { return blockIdx.y; }
DEVICE uint32_t blocks_y() { return gridDim.y; }

DEVICE void barrier() { __syncthreads(); }
DEVICE void warp_barrier() { __syncwarp(); }
DEVICE float shuffle_xor(float x, uint32_t lanes) { return __shfl_xor_sync(0xffffffffu, x, lanes); }

template <class T> DEVICE T read(const T *from) { return *from; }
template <class T> DEVICE void write(T *to, T value) { *to = value; }

// Two floats as two small numbers, the first in the lower half.
DEVICE uint32_t to_f16(float low, float high) {
    uint32_t packed;
    asm("{ .reg .b16 l, h; cvt.rn.f16.f32 l, %1; cvt.rn.f16.f32 h, %2; mov.b32 %0, {l, h}; }"
        : "=r"(packed)
        : "f"(low), "f"(high));
    return packed;
}

DEVICE float from_f16(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

// Copies 16 bytes to shared memory, at the latest when they are waited for.
DEVICE void copy_ahead(void *to, const void *from) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(to)), "l"(from)
                 : "memory");
#else
    *(uint4 *)to = *(const uint4 *)from;
#endif
}

DEVICE void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// c += a b of a whole warp: a is 16 by 16 (8 of tf32), b 16 (8) by 8. What a lane has of them is said at `pack` of
// crates/cuda/src/product.rs and in matmul_tensor.cu. Lanes that branched apart meet at a `warp_barrier` before.
#if __CUDA_ARCH__ >= 800
DEVICE void multiply_f16(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

DEVICE void multiply_bf16(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

DEVICE void multiply_tf32(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

DEVICE uint32_t to_bf16(float low, float high) {
    uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

DEVICE uint32_t to_tf32(float x) {
    uint32_t rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return rounded;
}
#else
// Turing takes half of the rows of b at a time.
DEVICE void multiply_f16(float (&c)[4], const uint4 &a, uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a.x), "r"(a.y), "r"(b0));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a.z), "r"(a.w), "r"(b1));
}
#endif

#endif

// Up to 4 floats, of which `count` are there; zeros for the others.
DEVICE float4 read_some(const float *from, int count) {
    if (count >= 4 && (uint64_t)from % 16 == 0) {
        return read((const float4 *)from);
    }
    float4 x = {0.0f, 0.0f, 0.0f, 0.0f};
    if (count > 0) x.x = read(from);
    if (count > 1) x.y = read(from + 1);
    if (count > 2) x.z = read(from + 2);
    if (count > 3) x.w = read(from + 3);
    return x;
}

DEVICE void write_some(float *to, const float4 &x, int count) {
    if (count >= 4 && (uint64_t)to % 16 == 0) {
        write((float4 *)to, x);
        return;
    }
    if (count > 0) write(to, x.x);
    if (count > 1) write(to + 1, x.y);
    if (count > 2) write(to + 2, x.z);
    if (count > 3) write(to + 3, x.w);
}

// The sum, or the largest, of what the lanes of a warp have; of a NaN among them the largest may know nothing.
DEVICE float warp_sum(float x) {
    UNROLL for (uint32_t lanes = 16; lanes > 0; lanes /= 2) x += shuffle_xor(x, lanes);
    return x;
}

DEVICE float warp_largest(float x) {
    UNROLL for (uint32_t lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, shuffle_xor(x, lanes));
    return x;
}
