// Runs kernels on the host, a block after the other: every thread is a fibre with a stack of its own.
//
// Made of one translation unit with all kernels in it. What it looks for: places outside of shared memory and of the
// memory that was allowed, threads that wait for ever, lanes of a warp that do different things.

#include "device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <mutex>
#include <vector>

#include "../kernels.cu"

// Goes on where `to` stopped, and says in `from` where to go on here.
extern "C" void emulation_switch(void **from, void *to);
#if defined(__x86_64__)
asm(R"(
.text
.globl emulation_switch
.hidden emulation_switch
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
static const int SAVED = 6;
#elif defined(__aarch64__)
asm(R"(
.text
.globl emulation_switch
.hidden emulation_switch
emulation_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp d8, d9, [sp, #80]
    stp d10, d11, [sp, #96]
    stp d12, d13, [sp, #112]
    stp d14, d15, [sp, #128]
    stp x29, x30, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp d8, d9, [sp, #80]
    ldp d10, d11, [sp, #96]
    ldp d12, d13, [sp, #112]
    ldp d14, d15, [sp, #128]
    ldp x29, x30, [sp, #144]
    add sp, sp, #160
    ret
)");
#else
#error "the emulation switches fibres on x86-64 and 64-bit Arm only"
#endif

// Fibres never leave their last frames, which the address sanitizer goes on to guard.
#if defined(__SANITIZE_ADDRESS__)
extern "C" void __asan_unpoison_memory_region(const volatile void *, size_t);
#else
static void __asan_unpoison_memory_region(const volatile void *, size_t) {}
#endif

namespace emulation {

static const uint32_t WARP = 32, THREADS = 1024;
static const uint64_t STACK = 256 << 10;
// More than kernels use of one.
static const uint64_t FRAMES = 32 << 10;

Block block;
uint32_t thread;

struct Fibre {
    void *stack_pointer;
    bool done;
    // How often it has met the block, and its warp.
    uint64_t blocks_met, warps_met;
    std::vector<std::pair<void *, uint4>> copies;
};

struct Warp {
    uint32_t lanes, here;
    uint64_t met;
    Operation operation;
    Lane *lane[WARP];
};

static Kernel *kernels;
static Fibre fibres[THREADS];
static Warp warps[THREADS / WARP];
static uint32_t threads, block_here, alive;
static uint64_t block_met;
static void *scheduler;
static char *stacks;
static const void *arguments;
static float *arena;
static Entry entry;
static bool reversed;
// Whether a thread came further since it was last looked at.
static bool progress;

static char message[400];
static std::vector<std::pair<uint64_t, uint64_t>> regions;
// The one that was touched last.
static std::pair<uint64_t, uint64_t> last;
static std::mutex one_at_a_time;

Kernel::Kernel(const char *name, uint32_t threads, uint64_t bytes, Entry entry)
    : name(name), threads(threads), bytes(bytes), entry(entry), next(kernels) {
    kernels = this;
}

void fault(const char *format, ...) {
    if (message[0]) return;
    va_list list;
    va_start(list, format);
    const int length = vsnprintf(message, sizeof message, format, list);
    va_end(list);
    if (length >= 0 && length < (int)sizeof message) {
        snprintf(message + length, sizeof message - (size_t)length, " (block %u %u, thread %u)", block.x, block.y,
                 thread);
    }
}

bool allowed(const void *at, uint64_t bytes, uint64_t boundary) {
    const uint64_t first = (uint64_t)at;
    if (first % boundary != 0) {
        fault("%llu bytes at %p are not on their boundary", (unsigned long long)bytes, at);
        return false;
    }
    if (first >= last.first && first + bytes <= last.second) return true;
    for (const auto &region : regions) {
        if (first >= region.first && first + bytes <= region.second) {
            last = region;
            return true;
        }
    }
    fault("%llu bytes at %p are nobody's", (unsigned long long)bytes, at);
    return false;
}

static void give_way() { emulation_switch(&fibres[thread].stack_pointer, scheduler); }

void meet_block() {
    Fibre &fibre = fibres[thread];
    ++block_here;
    ++fibre.blocks_met;
    progress = true;
    if (block_here == alive) {
        block_here = 0;
        ++block_met;
        return;
    }
    while (block_met < fibre.blocks_met) give_way();
}

static float number(Operation operation, uint32_t bits) {
    static std::vector<float> halves;
    if (operation == Operation::Bf16) return float_of(bits << 16);
    if (halves.empty()) {
        for (uint32_t i = 0; i < 1 << 16; ++i) halves.push_back(from_f16((unsigned short)i));
    }
    return halves[bits];
}

// What an instruction does: rows g and g + 8 of c have columns 2t and 2t + 1 in lane 4 g + t.
static void multiply(Operation operation, Warp &warp) {
    const bool wide = operation == Operation::Tf32;
    const int depth = wide ? 8 : 16;
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4, t = lane % 4;
        const Lane &of = *warp.lane[lane];
        const uint32_t words[4] = {of.a.x, of.a.y, of.a.z, of.a.w};
        for (int i = 0; i < 4; ++i) {
            const int row = g + i % 2 * 8;
            if (wide) {
                a[row][t + i / 2 * 4] = float_of(words[i]);
            } else {
                a[row][2 * t + i / 2 * 8] = number(operation, words[i] & 0xffff);
                a[row][2 * t + 1 + i / 2 * 8] = number(operation, words[i] >> 16);
            }
        }
        for (int i = 0; i < 2; ++i) {
            if (wide) {
                b[t + i * 4][g] = float_of(of.b[i]);
            } else {
                b[2 * t + i * 8][g] = number(operation, of.b[i] & 0xffff);
                b[2 * t + 1 + i * 8][g] = number(operation, of.b[i] >> 16);
            }
        }
    }
    float sums[16][8] = {};
    for (int row = 0; row < 16; ++row) {
        for (int k = 0; k < depth; ++k) {
            for (int col = 0; col < 8; ++col) sums[row][col] += a[row][k] * b[k][col];
        }
    }
    for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4, t = lane % 4;
        float(&c)[4] = *warp.lane[lane]->c;
        for (int i = 0; i < 4; ++i) c[i] += sums[g + i / 2 * 8][2 * t + i % 2];
    }
}

static void together(Operation operation, Warp &warp) {
    if (operation == Operation::Shuffle) {
        float given[WARP];
        for (uint32_t i = 0; i < WARP; ++i) given[i] = warp.lane[i]->x;
        for (uint32_t i = 0; i < WARP; ++i) warp.lane[i]->x = given[(i ^ warp.lane[i]->lanes) % WARP];
    } else if (operation != Operation::Barrier) {
        multiply(operation, warp);
    }
}

void meet_warp(Operation operation, Lane &lane) {
    Fibre &fibre = fibres[thread];
    Warp &warp = warps[thread / WARP];
    if (warp.here > 0 && warp.operation != operation) {
        fault("lanes of a warp do different things");
        for (;;) give_way();
    }
    warp.operation = operation;
    warp.lane[thread % WARP] = &lane;
    ++fibre.warps_met;
    progress = true;
    if (++warp.here == WARP) {
        warp.here = 0;
        ++warp.met;
        together(operation, warp);
        return;
    }
    while (warp.met < fibre.warps_met) give_way();
}

void copy_later(void *to, const void *from) {
    uint4 value;
    memcpy(&value, from, sizeof value);
    fibres[thread].copies.push_back({to, value});
}

void finish_copies() {
    for (const auto &copy : fibres[thread].copies) memcpy(copy.first, &copy.second, sizeof copy.second);
    fibres[thread].copies.clear();
}

// Where a fibre begins.
static void begin() {
    entry(arguments, arena);
    if (!fibres[thread].copies.empty()) fault("a thread ends before its copies");
    fibres[thread].done = progress = true;
    --alive;
    // Those that wait for it need not.
    if (alive > 0 && block_here == alive) fault("threads wait for one that has ended");
    for (;;) give_way();
}

static void run_block() {
    ++block.number;
    block_here = 0;
    block_met = 0;
    alive = threads;
    for (uint32_t i = 0; i < threads; ++i) {
        Fibre &fibre = fibres[i];
        fibre.done = false;
        fibre.blocks_met = fibre.warps_met = 0;
        fibre.copies.clear();
        // As if it had been left at its beginning; the stack is as a call leaves it.
        void **top = (void **)(stacks + (i + 1) * STACK);
        __asan_unpoison_memory_region((char *)top - FRAMES, FRAMES);
#if defined(__x86_64__)
        *--top = nullptr;
        *--top = (void *)begin;
        for (int saved = 0; saved < SAVED; ++saved) *--top = nullptr;
#else
        top -= 20;
        memset(top, 0, 160);
        top[19] = (void *)begin;
#endif
        fibre.stack_pointer = top;
    }
    memset(warps, 0, sizeof warps);
    // A warp goes as far as it can before the next one does anything, which shows best where a barrier is missing.
    bool further;
    do {
        further = false;
        for (uint32_t first = 0; first < threads; first += WARP) {
            do {
                progress = false;
                for (uint32_t i = first; i < first + WARP; ++i) {
                    thread = reversed ? threads - 1 - i : i;
                    if (!fibres[thread].done) emulation_switch(&scheduler, fibres[thread].stack_pointer);
                }
                further |= progress;
            } while (progress);
        }
    } while (further && alive > 0);
    if (alive > 0) fault("%u threads wait for ever", alive);
}

}  // namespace emulation

// Runs a kernel with what cuLaunchKernel takes. 0: all is well. 1: flowturbo_emulate_error says what is not.
extern "C" int flowturbo_emulate(const char *name, const uint32_t grid[3], const uint32_t size[3],
                                 uint32_t shared_bytes, void **parameters) {
    using namespace emulation;
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    message[0] = 0;
    block.x = block.y = thread = 0;
    const Kernel *kernel = kernels;
    while (kernel && strcmp(kernel->name, name) != 0) kernel = kernel->next;
    if (!kernel) {
        fault("no kernel '%s'", name);
        return 1;
    }
    if (size[0] != kernel->threads || size[0] % WARP != 0 || size[1] != 1 || size[2] != 1 || grid[2] != 1 ||
        shared_bytes != 0) {
        fault("%s takes blocks of %u threads and no more shared memory", name, kernel->threads);
        return 1;
    }
    if (!stacks) {
        void *memory = mmap(nullptr, THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            fault("no memory for stacks");
            return 1;
        }
        stacks = (char *)memory;
    }
    entry = kernel->entry;
    arguments = parameters[0];
    arena = *(float **)parameters[1];
    threads = kernel->threads;
    block.blocks_y = grid[1];
    for (block.y = 0; block.y < grid[1] && !message[0]; ++block.y) {
        for (block.x = 0; block.x < grid[0] && !message[0]; ++block.x) run_block();
    }
    return message[0] != 0;
}

// What went wrong in the last launch, one line; empty if nothing did.
extern "C" const char *flowturbo_emulate_error(void) { return emulation::message; }

// Lets kernels touch some memory, and no longer: they may touch none of which nobody said so.
extern "C" void flowturbo_emulate_allow(const void *base, uint64_t bytes) {
    const std::lock_guard<std::mutex> lock(emulation::one_at_a_time);
    emulation::regions.push_back({(uint64_t)base, (uint64_t)base + bytes});
}

extern "C" void flowturbo_emulate_forget(const void *base) {
    const std::lock_guard<std::mutex> lock(emulation::one_at_a_time);
    for (auto at = emulation::regions.begin(); at != emulation::regions.end(); ++at) {
        if (at->first == (uint64_t)base) {
            emulation::regions.erase(at);
            emulation::last = {};
            return;
        }
    }
}

// Runs the last thread of a block first: a barrier that is missing may show in one order alone.
extern "C" void flowturbo_emulate_reversed(int yes) {
    const std::lock_guard<std::mutex> lock(emulation::one_at_a_time);
    emulation::reversed = yes != 0;
}
