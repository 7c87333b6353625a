// A display driver without a device, for tests: the device's memory is the process's, graphs are lists of what was
// asked for, kernels are computed by the emulation that it is linked with. It holds every call to what cuda.h says,
// counts what lives, and fails when it is told to. Nothing of it is in a library that is shipped.
#include "fake_libcuda.h"

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
        {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"}, {NO_BINARY, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
        {CAPTURE_FORBIDS, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}, {LOST, "CUDA_ERROR_ILLEGAL_ADDRESS"},
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
    HOLD(!lost, lost);
    live[CONTEXTS]++;
    *context = &context_of_device;
    END;
}
CUresult cuDevicePrimaryCtxRelease_v2(int device) {
    BEGIN("cuDevicePrimaryCtxRelease_v2");
    STARTED;
    HOLD(device >= 0 && live[CONTEXTS] > 0, INVALID_CONTEXT);
    // What was lost is lost to the process, whoever gives up what.
    live[CONTEXTS]--;
    status = lost;
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
CUresult cuThreadExchangeStreamCaptureMode(int *mode) {
    BEGIN("cuThreadExchangeStreamCaptureMode");
    HOLD(*mode >= 0 && *mode <= 2, INVALID_VALUE);
    const int before = capture_mode;
    capture_mode = *mode, *mode = before;
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
    UNDISTURBING;
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
    UNDISTURBING;
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

static struct Work *entered(struct Graph *graph) {
    struct Work *work = calloc(1, sizeof *work);
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
static void emptied(struct Graph *graph) {
    for (struct Work *one = graph->first, *next; one; one = next) next = one->next, free(one->arguments), free(one);
    graph->first = graph->last = NULL;
}
static CUresult finished(struct Stream *stream) {
    CUresult status = OK;
    for (struct Work *one = stream->later.first; one && !status; one = one->next) status = done(one);
    emptied(&stream->later);
    return status;
}
// As late as may be: when somebody waits for it.
static CUresult copied(struct Stream *stream, char *to, const char *from, size_t bytes) {
    struct Graph *graph = stream->capture ? stream->capture : &stream->later;
    *entered(graph) = (struct Work){.to = to, .from = from, .bytes = bytes};
    return OK;
}
CUresult cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, struct Stream *stream) {
    BEGIN("cuMemcpyHtoDAsync_v2");
    WITHIN;
    HOLD(stream && inside((char *)(uintptr_t)to, bytes, 0), INVALID_VALUE);
    // A graph copies again and again what lies there; only pinned memory stays where it is.
    HOLD(!stream->capture || inside(from, bytes, 1), INVALID_VALUE);
    status = copied(stream, (char *)(uintptr_t)to, from, bytes);
    END;
}
CUresult cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, struct Stream *stream) {
    BEGIN("cuMemcpyDtoHAsync_v2");
    WITHIN;
    HOLD(stream && inside((char *)(uintptr_t)from, bytes, 0) && inside(to, bytes, 1), INVALID_VALUE);
    status = copied(stream, to, (char *)(uintptr_t)from, bytes);
    END;
}
static int is_code(const char *image) { return !memcmp(image, "\177ELF", 4); }
// Whether an image, machine code or text, has a kernel of this name.
static int has(const struct Module *module, const char *name) {
    char wanted[160];
    const int code = is_code(module->image);
    const int length = snprintf(wanted, sizeof wanted, code ? ".text.%s" : ".entry %s(", name);
    return memmem(module->image, module->bytes, wanted, (size_t)length + (code ? 1 : 0)) != NULL;
}
CUresult cuModuleLoadData(struct Module **module, const void *image) {
    BEGIN("cuModuleLoadData");
    WITHIN;
    UNDISTURBING;
    HOLD(is_code(image) || !memcmp(image, "//", 2), INVALID_IMAGE);
    HOLD(!is_code(image) || !text_only, NO_BINARY);
    struct Module made = {.bytes = is_code(image) ? 0 : strlen(image)};
    if (is_code(image)) {
        // An ELF file ends with its tables, of sections or of segments.
        Elf64_Ehdr head;
        memcpy(&head, image, sizeof head);
        const size_t sections = head.e_shoff + (size_t)head.e_shnum * head.e_shentsize;
        const size_t segments = head.e_phoff + (size_t)head.e_phnum * head.e_phentsize;
        made.bytes = sections > segments ? sections : segments;
    }
    made.image = malloc(made.bytes);
    memcpy(made.image, image, made.bytes);
    if (!has(&made, "matmul_f32_64")) {
        free(made.image);
        HOLD(0, INVALID_IMAGE);
    }
    *module = malloc(sizeof **module);
    **module = made;
    live[MODULES]++;
    END;
}
CUresult cuModuleUnload(struct Module *module) {
    BEGIN("cuModuleUnload");
    HOLD(stack, INVALID_CONTEXT);
    for (struct Function *one = module->functions, *next; one; one = next) next = one->next, free(one);
    free(module->image), free(module);
    live[MODULES]--;
    status = lost;
    END;
}
CUresult cuModuleGetFunction(struct Function **function, struct Module *module, const char *name) {
    BEGIN("cuModuleGetFunction");
    WITHIN;
    HOLD(has(module, name), NOT_FOUND);
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
    if (stream->capture) *entered(stream->capture) = now;
    else status = done(&now), free(now.arguments);
    END;
}
CUresult cuStreamCreate(struct Stream **stream, unsigned flags) {
    BEGIN("cuStreamCreate");
    WITHIN;
    // Never one that meets the driver's own, on which applications work.
    HOLD(flags == 1, INVALID_VALUE);
    *stream = calloc(1, sizeof **stream);
    live[STREAMS]++;
    END;
}
CUresult cuStreamDestroy_v2(struct Stream *stream) {
    BEGIN("cuStreamDestroy_v2");
    HOLD(stack, INVALID_CONTEXT);
    emptied(&stream->later), free(stream);
    live[STREAMS]--;
    status = lost;
    END;
}
CUresult cuStreamSynchronize(struct Stream *stream) {
    BEGIN("cuStreamSynchronize");
    WITHIN;
    HOLD(stream && !stream->capture, CAPTURE_WRONG);
    status = finished(stream);
    END;
}
static void dropped(struct Graph *graph) {
    emptied(graph);
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
    struct Graph *made = calloc(1, sizeof *made);
    for (struct Work *one = graph->first; one; one = one->next) {
        struct Work copy = *one;
        copy.next = NULL;
        if (one->function) {
            copy.arguments = malloc(one->bytes);
            memcpy(copy.arguments, one->arguments, one->bytes);
        }
        *entered(made) = copy;
    }
    *executable = made;
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
    status = finished(stream);
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
