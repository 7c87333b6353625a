// A display driver without a device, for tests: the device's memory is the process's, graphs are lists of what was
// asked for, kernels are computed by the emulation that it is linked with. It holds every call to what cuda.h says,
// counts what lives, and fails when it is told to. Nothing of it is in a library that is shipped.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
       INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, CAPTURE_WRONG = 901, LOST = 700 };
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
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct Allocation *allocations;
static long live[KINDS];
static int started, devices = 1, version = 12040, lost, capability_major = 8, capability_minor = 6;
static size_t memory = (size_t)8 << 30, used;
static char calls[1 << 20];
static size_t calls_length;
static char failing[64];
static long failing_nth;
static CUresult failing_status;
static __thread long stack;
static char context_of_device;

// What tests tell and ask.
void fake_reset(void) {
    pthread_mutex_lock(&mutex);
    started = 0, devices = 1, version = 12040, lost = 0, memory = (size_t)8 << 30;
    capability_major = 8, capability_minor = 6;
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
#define HOLD(truth, error) if (!(truth)) { status = (error); goto end; }
#define END                          \
    end:                             \
    pthread_mutex_unlock(&mutex);    \
    return status

CUresult cuDriverGetVersion(int *number) {
    BEGIN("cuDriverGetVersion");
    *number = version;
    END;
}
CUresult cuInit(unsigned flags) {
    BEGIN("cuInit");
    HOLD(flags == 0, INVALID_VALUE);
    HOLD(devices > 0, NO_DEVICE);
    started = 1;
    END;
}
CUresult cuGetErrorName(CUresult of, const char **name) {
    static const struct { CUresult status; const char *name; } names[] = {
        {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"}, {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"}, {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
        {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"}, {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
        {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"}, {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
        {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"}, {LOST, "CUDA_ERROR_ILLEGAL_ADDRESS"},
        {719, "CUDA_ERROR_LAUNCH_FAILED"}, {CAPTURE_WRONG, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
        {999, "CUDA_ERROR_UNKNOWN"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].status == of) return *name = names[i].name, OK;
    return *name = NULL, INVALID_VALUE;
}
CUresult cuGetErrorString(CUresult of, const char **text) {
    const char *name;
    if (cuGetErrorName(of, &name)) return *text = NULL, INVALID_VALUE;
    return *text = of == OUT_OF_MEMORY ? "out of memory" : "as the fake driver was told", OK;
}
CUresult cuDeviceGetCount(int *count) {
    BEGIN("cuDeviceGetCount");
    STARTED;
    *count = devices;
    END;
}
CUresult cuDeviceGet(int *device, int number) {
    BEGIN("cuDeviceGet");
    STARTED;
    HOLD(number >= 0 && number < devices, INVALID_DEVICE);
    *device = number;
    END;
}
CUresult cuDeviceGetName(char *name, int length, int device) {
    BEGIN("cuDeviceGetName");
    STARTED;
    snprintf(name, (size_t)length, "Fake GPU %d", device);
    END;
}
CUresult cuDeviceGetUuid_v2(unsigned char uuid[16], int device) {
    BEGIN("cuDeviceGetUuid_v2");
    STARTED;
    for (int i = 0; i < 16; i++) uuid[i] = (unsigned char)(16 * device + i);
    END;
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) {
    BEGIN("cuDeviceTotalMem_v2");
    STARTED;
    HOLD(device >= 0 && device < devices, INVALID_DEVICE);
    *bytes = memory;
    END;
}
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    BEGIN("cuDeviceGetAttribute");
    STARTED;
    HOLD(device >= 0 && device < devices, INVALID_DEVICE);
    *value = attribute == 75 ? capability_major : attribute == 76 ? capability_minor : attribute == 16 ? 4 : 0;
    END;
}
CUresult cuDevicePrimaryCtxRetain(void **context, int device) {
    BEGIN("cuDevicePrimaryCtxRetain");
    STARTED;
    HOLD(device >= 0 && device < devices, INVALID_DEVICE);
    live[CONTEXTS]++;
    *context = &context_of_device;
    END;
}
CUresult cuDevicePrimaryCtxRelease_v2(int device) {
    BEGIN("cuDevicePrimaryCtxRelease_v2");
    STARTED;
    HOLD(device >= 0 && live[CONTEXTS] > 0, INVALID_CONTEXT);
    // A context that nobody has takes all with it that was left, and what ailed it.
    if (--live[CONTEXTS] == 0) lost = 0;
    END;
}
CUresult cuCtxPushCurrent_v2(void *context) {
    BEGIN("cuCtxPushCurrent_v2");
    HOLD(context == &context_of_device && live[CONTEXTS] > 0, INVALID_CONTEXT);
    stack++, live[PUSHED]++;
    END;
}
CUresult cuCtxPopCurrent_v2(void **context) {
    BEGIN("cuCtxPopCurrent_v2");
    HOLD(stack > 0, INVALID_CONTEXT);
    stack--, live[PUSHED]--;
    *context = &context_of_device;
    END;
}
CUresult cuMemGetInfo_v2(size_t *unused, size_t *all) {
    BEGIN("cuMemGetInfo_v2");
    WITHIN;
    *unused = memory - used, *all = memory;
    END;
}

static CUresult allocated(char **at, size_t bytes, int of_host) {
    if (bytes == 0) return INVALID_VALUE;
    if (!of_host && (bytes > memory || used > memory - bytes)) return OUT_OF_MEMORY;
    struct Allocation *made = malloc(sizeof *made);
    void *memory_of_it = NULL;
    if (!made || posix_memalign(&memory_of_it, 256, bytes)) return free(made), OUT_OF_MEMORY;
    // What is not written is not to be read.
    memset(memory_of_it, of_host ? 0xff : 0xfe, bytes);
    *made = (struct Allocation){allocations, memory_of_it, bytes, of_host};
    allocations = made;
    live[of_host ? HOST_ALLOCATIONS : ALLOCATIONS]++;
    if (!of_host) used += bytes, flowturbo_emulate_allow(made->at, bytes);
    *at = made->at;
    return OK;
}
static CUresult freed(char *at, int of_host) {
    for (struct Allocation **link = &allocations; *link; link = &(*link)->next) {
        struct Allocation *one = *link;
        if (one->at != at || one->of_host != of_host) continue;
        *link = one->next;
        live[of_host ? HOST_ALLOCATIONS : ALLOCATIONS]--;
        if (!of_host) used -= one->bytes, flowturbo_emulate_forget(one->at);
        free(one->at), free(one);
        return OK;
    }
    return INVALID_VALUE;
}
// Whether so many bytes from there on are the device's, or the processor's to copy from.
static int inside(const char *at, size_t bytes, int of_host) {
    for (struct Allocation *one = allocations; one; one = one->next)
        if (one->of_host == of_host && at >= one->at && at + bytes <= one->at + one->bytes) return 1;
    return 0;
}
CUresult cuMemAlloc_v2(uint64_t *at, size_t bytes) {
    BEGIN("cuMemAlloc_v2");
    WITHIN;
    char *place;
    status = allocated(&place, bytes, 0);
    if (!status) *at = (uint64_t)(uintptr_t)place;
    END;
}
// A device that was lost frees what it had, and says no.
CUresult cuMemFree_v2(uint64_t at) {
    BEGIN("cuMemFree_v2");
    HOLD(stack, INVALID_CONTEXT);
    status = freed((char *)(uintptr_t)at, 0);
    if (!status) status = lost;
    END;
}
CUresult cuMemHostAlloc(void **at, size_t bytes, unsigned flags) {
    BEGIN("cuMemHostAlloc");
    WITHIN;
    HOLD(flags == 0, INVALID_VALUE);
    char *place;
    status = allocated(&place, bytes, 1);
    if (!status) *at = place;
    END;
}
CUresult cuMemFreeHost(void *at) {
    BEGIN("cuMemFreeHost");
    HOLD(stack, INVALID_CONTEXT);
    status = freed(at, 1);
    if (!status) status = lost;
    END;
}
CUresult cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
    BEGIN("cuMemcpyHtoD_v2");
    WITHIN;
    HOLD(inside((char *)(uintptr_t)to, bytes, 0), INVALID_VALUE);
    memcpy((void *)(uintptr_t)to, from, bytes);
    END;
}

static struct Work *recorded(struct Stream *stream) {
    struct Work *work = calloc(1, sizeof *work);
    struct Graph *graph = stream->capture;
    if (graph->last) graph->last->next = work;
    else graph->first = work;
    return graph->last = work;
}
static CUresult done(const struct Work *work) {
    if (!work->function) return memcpy(work->to, work->from, work->bytes), OK;
    // A struct, and the address of the arena behind it.
    void *parameters[2] = {work->arguments, (char *)work->arguments + work->bytes - sizeof(uint64_t)};
    if (!flowturbo_emulate(work->function->name, work->grid, work->block, work->shared, parameters)) return OK;
    fprintf(stderr, "%s: %s\n", work->function->name, flowturbo_emulate_error());
    return lost = 719;
}
static CUresult copied(struct Stream *stream, char *to, const char *from, size_t bytes) {
    struct Work now = {.to = to, .from = from, .bytes = bytes};
    if (!stream->capture) return done(&now);
    *recorded(stream) = now;
    return OK;
}
CUresult cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, struct Stream *stream) {
    BEGIN("cuMemcpyHtoDAsync_v2");
    WITHIN;
    HOLD(inside((char *)(uintptr_t)to, bytes, 0) && inside(from, bytes, 1), INVALID_VALUE);
    status = copied(stream, (char *)(uintptr_t)to, from, bytes);
    END;
}
CUresult cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, struct Stream *stream) {
    BEGIN("cuMemcpyDtoHAsync_v2");
    WITHIN;
    HOLD(inside((char *)(uintptr_t)from, bytes, 0) && inside(to, bytes, 1), INVALID_VALUE);
    status = copied(stream, to, (char *)(uintptr_t)from, bytes);
    END;
}
CUresult cuModuleLoadData(struct Module **module, const void *image) {
    BEGIN("cuModuleLoadData");
    WITHIN;
    // Machine code is ELF, PTX is text.
    HOLD(!memcmp(image, "\177ELF", 4) || !memcmp(image, "//", 2), 200);
    *module = calloc(1, sizeof **module);
    live[MODULES]++;
    END;
}
CUresult cuModuleUnload(struct Module *module) {
    BEGIN("cuModuleUnload");
    HOLD(stack, INVALID_CONTEXT);
    for (struct Function *one = module->functions, *next; one; one = next) next = one->next, free(one);
    free(module);
    live[MODULES]--;
    status = lost;
    END;
}
CUresult cuModuleGetFunction(struct Function **function, struct Module *module, const char *name) {
    BEGIN("cuModuleGetFunction");
    WITHIN;
    struct Function *made = calloc(1, sizeof *made);
    snprintf(made->name, sizeof made->name, "%s", name);
    made->next = module->functions;
    *function = module->functions = made;
    END;
}
CUresult cuLaunchKernel(struct Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned shared, struct Stream *stream, void **parameters, void **extra) {
    BEGIN("cuLaunchKernel");
    WITHIN;
    HOLD(function && gx && gy && gz && bx && by && bz && bx * by * bz <= 1024, INVALID_VALUE);
    HOLD(gy <= 65535 && gz <= 65535, INVALID_VALUE);
    HOLD(!parameters && extra && extra[0] == (void *)1 && extra[2] == (void *)2 && !extra[4], INVALID_VALUE);
    size_t bytes = *(size_t *)extra[3];
    // All that a kernel may be given before CUDA 12.1, and on a device before Volta.
    HOLD(bytes > 8 && bytes <= 4096, INVALID_VALUE);
    struct Work now = {.function = function, .grid = {gx, gy, gz}, .block = {bx, by, bz}, .shared = shared,
                       .bytes = bytes, .arguments = malloc(bytes)};
    memcpy(now.arguments, extra[1], bytes);
    if (stream->capture) *recorded(stream) = now;
    else status = done(&now), free(now.arguments);
    END;
}
CUresult cuStreamCreate(struct Stream **stream, unsigned flags) {
    BEGIN("cuStreamCreate");
    WITHIN;
    HOLD(flags <= 1, INVALID_VALUE);
    *stream = calloc(1, sizeof **stream);
    live[STREAMS]++;
    END;
}
CUresult cuStreamDestroy_v2(struct Stream *stream) {
    BEGIN("cuStreamDestroy_v2");
    HOLD(stack, INVALID_CONTEXT);
    free(stream);
    live[STREAMS]--;
    status = lost;
    END;
}
CUresult cuStreamSynchronize(struct Stream *stream) {
    BEGIN("cuStreamSynchronize");
    WITHIN;
    HOLD(!stream->capture, CAPTURE_WRONG);
    END;
}
static void dropped(struct Graph *graph) {
    for (struct Work *one = graph->first, *next; one; one = next) next = one->next, free(one->arguments), free(one);
    free(graph);
}
CUresult cuStreamBeginCapture_v2(struct Stream *stream, int mode) {
    BEGIN("cuStreamBeginCapture_v2");
    WITHIN;
    HOLD(mode >= 0 && mode <= 2 && !stream->capture, CAPTURE_WRONG);
    stream->capture = calloc(1, sizeof *stream->capture);
    END;
}
// A capture that failed leaves no graph.
CUresult cuStreamEndCapture(struct Stream *stream, struct Graph **graph) {
    pthread_mutex_lock(&mutex);
    CUresult status = noted("cuStreamEndCapture");
    *graph = NULL;
    if (stream->capture && status) dropped(stream->capture);
    else if (stream->capture) *graph = stream->capture, live[GRAPHS]++;
    else if (!status) status = CAPTURE_WRONG;
    stream->capture = NULL;
    pthread_mutex_unlock(&mutex);
    return status;
}
CUresult cuGraphInstantiateWithFlags(struct Graph **executable, struct Graph *graph, unsigned long long flags) {
    BEGIN("cuGraphInstantiateWithFlags");
    WITHIN;
    HOLD(flags == 0, INVALID_VALUE);
    struct Stream stream = {calloc(1, sizeof(struct Graph))};
    for (struct Work *one = graph->first; one; one = one->next) {
        struct Work copy = *one;
        copy.next = NULL;
        if (one->function) {
            copy.arguments = malloc(one->bytes);
            memcpy(copy.arguments, one->arguments, one->bytes);
        }
        *recorded(&stream) = copy;
    }
    *executable = stream.capture;
    live[EXECUTABLES]++;
    END;
}
CUresult cuGraphDestroy(struct Graph *graph) {
    BEGIN("cuGraphDestroy");
    HOLD(stack, INVALID_CONTEXT);
    dropped(graph);
    live[GRAPHS]--;
    status = lost;
    END;
}
CUresult cuGraphLaunch(struct Graph *executable, struct Stream *stream) {
    BEGIN("cuGraphLaunch");
    WITHIN;
    HOLD(!stream->capture, CAPTURE_WRONG);
    for (struct Work *one = executable->first; one && !status; one = one->next) status = done(one);
    END;
}
CUresult cuGraphExecDestroy(struct Graph *executable) {
    BEGIN("cuGraphExecDestroy");
    HOLD(stack, INVALID_CONTEXT);
    dropped(executable);
    live[EXECUTABLES]--;
    status = lost;
    END;
}
