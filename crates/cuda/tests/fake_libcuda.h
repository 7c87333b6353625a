// What the fake driver knows, what tests tell it and ask it, and how each of its calls begins and ends.
#pragma once

#define _GNU_SOURCE
#include <elf.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
       INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NO_BINARY = 209, INVALID_HANDLE = 400, NOT_FOUND = 500,
       CAPTURE_FORBIDS = 900, CAPTURE_WRONG = 901, LOST = 700 };
enum { MODULES, STREAMS, GRAPHS, EXECUTABLES, ALLOCATIONS, HOST_ALLOCATIONS, CONTEXTS, PUSHED, KINDS };

// Of kernels/emulation: runs a kernel with the addresses of its arguments; other than 0 if something is wrong.
int flowturbo_emulate(const char *kernel, const uint32_t grid[3], const uint32_t block[3], uint32_t shared,
                      void **parameters);
const char *flowturbo_emulate_error(void);
void flowturbo_emulate_allow(const void *address, uint64_t bytes);
void flowturbo_emulate_forget(const void *address);

struct Allocation {
    struct Allocation *next;
    char *at;
    size_t bytes;
    int of_host;
};
struct Module {
    char *image;
    size_t bytes;
    struct Function *functions;
};
struct Function {
    struct Function *next;
    char name[128];
};
struct Work {
    struct Work *next;
    struct Function *function;
    uint32_t grid[3], block[3], shared;
    // Of a launch its arguments; of a copy NULL.
    void *arguments;
    // Of either.
    size_t bytes;
    char *to;
    const char *from;
};
struct Graph {
    struct Work *first, *last;
};
struct Stream {
    struct Graph *capture;
    // Copies that nobody waited for yet, and nobody else sees.
    struct Graph later;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct Allocation *allocations;
static long live[KINDS];
static int started, devices = 1, version = 12040, lost, capability_major = 8, capability_minor = 6;
static int text_only, records_elsewhere;
static size_t memory = (size_t)8 << 30, used;
static char calls[1 << 20];
static size_t calls_length;
static char failing[64];
static long failing_nth;
static CUresult failing_status;
static __thread long stack;
// CU_STREAM_CAPTURE_MODE_GLOBAL to begin with.
static __thread int capture_mode;
static char context_of_device;

// What tests tell and ask.
void fake_reset(void) {
    pthread_mutex_lock(&mutex);
    started = 0, devices = 1, version = 12040, lost = 0, memory = (size_t)8 << 30;
    capability_major = 8, capability_minor = 6, text_only = records_elsewhere = 0;
    calls_length = 0, calls[0] = 0, failing[0] = 0;
    pthread_mutex_unlock(&mutex);
}
// The nth call of `name` from now on, counted from 1, gives `status`; 0 for every call from now on.
void fake_fail(const char *name, long nth, CUresult status) {
    snprintf(failing, sizeof failing, "%s", name);
    failing_nth = nth, failing_status = status;
}
void fake_set_devices(int count) { devices = count; }
void fake_set_capability(int major, int minor) { capability_major = major, capability_minor = minor; }
void fake_set_version(int number) { version = number; }
void fake_set_memory(size_t bytes) { memory = bytes; }
// A device that takes no machine code.
void fake_set_text_only(int yes) { text_only = yes; }
// An application that records on another thread, and forbids all others what might disturb it.
void fake_set_records_elsewhere(int yes) { records_elsewhere = yes; }
int fake_capture_mode(void) { return capture_mode; }
long fake_live(int kind) { return live[kind]; }
const char *fake_calls(void) { return calls; }
void fake_forget_calls(void) { calls_length = 0, calls[0] = 0; }

// The same for a whole program: FAKE_CUDA=devices=0 version=11080 memory=1000 fail=cuInit:1:100
__attribute__((constructor)) static void of_environment(void) {
    const char *text = getenv("FAKE_CUDA");
    char name[64];
    long a, b;
    for (; text && *text; text += strcspn(text, " "), text += strspn(text, " ")) {
        if (sscanf(text, "devices=%ld", &a) == 1) devices = (int)a;
        else if (sscanf(text, "version=%ld", &a) == 1) version = (int)a;
        else if (sscanf(text, "memory=%ld", &a) == 1) memory = (size_t)a;
        else if (sscanf(text, "fail=%63[^:]:%ld:%ld", name, &a, &b) == 3) fake_fail(name, a, (CUresult)b);
        else fprintf(stderr, "FAKE_CUDA: what is '%s'?\n", text), abort();
    }
}

// Notes a call, and whether it is the one that fails.
static CUresult noted(const char *name) {
    size_t length = strlen(name) + 1;
    if (calls_length + length + 1 < sizeof calls) {
        memcpy(calls + calls_length, name, length - 1);
        calls[calls_length + length - 1] = '\n';
        calls[calls_length += length] = 0;
    }
    if (!*failing || strcmp(name, failing)) return OK;
    if (failing_nth > 0) {
        if (--failing_nth > 0) return OK;
        *failing = 0;
    }
    if (failing_status >= LOST && failing_status <= LOST + 20) lost = failing_status;
    return failing_status;
}
#define BEGIN(name)                         \
    pthread_mutex_lock(&mutex);             \
    CUresult status = noted(name);          \
    if (status) goto end
#define STARTED if (!started) { status = NOT_INITIALIZED; goto end; }
#define WITHIN                                             \
    STARTED                                                \
    if (!stack) { status = INVALID_CONTEXT; goto end; }    \
    if (lost) { status = lost; goto end; }
#define UNDISTURBING if (records_elsewhere && capture_mode == 0) { status = CAPTURE_FORBIDS; goto end; }
#define HOLD(truth, error) if (!(truth)) { status = (error); goto end; }
#define END                          \
    end:                             \
    pthread_mutex_unlock(&mutex);    \
    return status
