/*
 * flowturbo: on-device image generation with flow models (FlowTurbo, arXiv 2409.18128).
 *
 * This file is made of the comments in crates/capi by cbindgen. Licence: MIT OR Apache-2.0.
 *
 *   ft_model *model;
 *   ft_session *session;
 *   ft_request request;
 *   ft_pixels pixels;
 *   int64_t grass = 4;
 *   static unsigned char rgb[128 * 128 * 3];
 *
 *   ft_model_open("models/textures", NULL, &model);
 *   ft_session_new(model, &session);
 *   ft_request_init(&request, sizeof request);
 *   request.classes = &grass;
 *   ft_pixels_init(&pixels, sizeof pixels);
 *   pixels.data = rgb;
 *   pixels.size = sizeof rgb;
 *   ft_session_generate(session, &request, &pixels);
 *
 * ERRORS. Functions that can fail return an ft_status; ft_last_error_message() says more. After a failure every
 * result is as it was, and the next call works. Nothing here aborts, exits, or throws. Memory that the system
 * refuses is FT_ERROR_OUT_OF_MEMORY wherever its size comes from a model or a request; a large piece is only taken if
 * 64 KiB are left beside it, and what the description of a graph takes (nodes, names, weights below 64 KiB) is asked
 * for as a whole before it is read. Where a small piece is refused all the same, or one of a description while other
 * threads use memory up, the process ends; docs/security.md says which these are.
 *
 * OWNERSHIP. ft_..._new and ft_..._open give a handle that the caller frees once with ft_..._free, in any order:
 * a session keeps what it needs of its model. Handles are numbers, never to be looked behind: one that was freed, or
 * is of another kind, gives FT_ERROR_INVALID_HANDLE. Texts and arrays of the caller's are only looked at during the
 * call, unless the function says that they are lent. Texts of the library's are never freed by the caller.
 *
 * THREADS. A function that takes `const ft_x *` may be called for the same x by any number of threads at a time; one
 * that takes `ft_x *` wants it for itself, unless it says otherwise. Two threads on one session do no harm: one
 * gets FT_ERROR_BUSY. A model computes on its own threads, on the caller's, or on those of
 * ft_model_options.parallel_for.
 *
 * THE PROCESS. All is computed under the default floating-point environment (to the nearest, small numbers kept,
 * nothing trapped), callbacks and lent threads included; when a call returns, rounding, traps and flags are the
 * caller's again. After fork() a child frees its parent's handles in silence, and gets FT_ERROR_INVALID_HANDLE for any
 * other use of them but of cancel tokens, which are copies; it opens models of its own.
 *
 * STRUCTS. Each begins with its size as the program knows it. Structs only grow, at the end: a program that was built
 * with an older header goes on working; one that was built with a newer header than the library gets
 * FT_ERROR_UNSUPPORTED. Fill them by their init function, or set struct_size where the comment says so.
 *
 * CALLBACKS return normally: no exceptions, no longjmp. Each is given the user_data that came with it.
 *
 * TEXT is UTF-8, paths included. docs/abi.md says what may change in which release.
 */

#ifndef FLOWTURBO_H
#define FLOWTURBO_H

#include <stddef.h>
#include <stdint.h>

/** Version of this header as text. */
#define FT_VERSION_STRING "0.1.0"

/* ==== version The version of the header and of the library =============================================== */

/**
 * Version of this header: raised when the ABI breaks.
 */
#define FT_VERSION_MAJOR 0

/**
 * Version of this header: raised when something is added.
 */
#define FT_VERSION_MINOR 1

/**
 * Version of this header: raised when something is mended.
 */
#define FT_VERSION_PATCH 0

/**
 * Version of this header as one number that grows: 0x00MMmmpp.
 */
#define FT_VERSION (((FT_VERSION_MAJOR << 16) | (FT_VERSION_MINOR << 8)) | FT_VERSION_PATCH)

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that runs, in the form of `FT_VERSION`.
 *
 * Threads: any.
 */
uint32_t ft_version(void);

/**
 * The version of the library that runs, such as "0.1.0".
 *
 * Ownership: static. Threads: any.
 */
const char *ft_version_string(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== status How a call ended, and what is known of a failure ============================================ */

/**
 * How a call ended. The numbers never change; a newer library may return ones that are not listed here.
 */
typedef int32_t ft_status;

/**
 * The call did what it was asked to.
 */
#define FT_OK 0

/**
 * The caller asked for something that makes no sense: NULL, a class out of range, a schedule with a typo.
 */
#define FT_ERROR_INVALID_ARGUMENT 1

/**
 * The bundle is broken or contradicts itself: bad JSON, a wrong hash, shapes that disagree.
 */
#define FT_ERROR_INVALID_BUNDLE 2

/**
 * This library cannot do it: a newer bundle format, a struct of a newer header, an unknown operator.
 */
#define FT_ERROR_UNSUPPORTED 3

/**
 * A size above the limits in force.
 */
#define FT_ERROR_LIMIT_EXCEEDED 4

/**
 * A file or a reader could not be read or written.
 */
#define FT_ERROR_IO 5

/**
 * A number that is not finite, in weights or while sampling.
 */
#define FT_ERROR_NON_FINITE 6

/**
 * The generation was stopped by its token or by a callback.
 */
#define FT_ERROR_CANCELLED 7

/**
 * A network failed while it ran, a mistake inside the library stopped its planning, or the system refuses threads.
 */
#define FT_ERROR_RUNTIME 8

/**
 * A mistake inside the library. The session that it happened in can only be freed; all else goes on working.
 */
#define FT_ERROR_PANIC 9

/**
 * The session is at work on another thread, or further up on this one (a callback that calls back).
 */
#define FT_ERROR_BUSY 10

/**
 * A handle that was freed already, is of another kind, or never was one.
 */
#define FT_ERROR_INVALID_HANDLE 11

/**
 * The system refused memory; the message says how much was asked for. The next call works.
 */
#define FT_ERROR_OUT_OF_MEMORY 12

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The name of a status, such as "FT_ERROR_IO"; "unknown status" for a number that is none.
 *
 * Ownership: static. Threads: any.
 */
const char *ft_status_name(ft_status status);

/**
 * What the last call that failed on this thread had to say: one line of UTF-8 that names what failed, where,
 * and, where it helps, what to do. "" if none failed. A call that succeeds leaves it alone, and so do the
 * functions that free.
 *
 * Ownership: the library's, until the next call of this library on the same thread. Threads: any, each with its own.
 */
const char *ft_last_error_message(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== log What the library has to tell while it works ==================================================== */

/**
 * How much a message matters; a level takes in those before it.
 */
typedef uint32_t ft_log_level;

/**
 * Takes a message: UTF-8 without a line break at its end, the library's, for the time of the call. `target`
 * names the part of the library. Called from any thread, also several at a time. Calls of this library from
 * inside are fine, but for `ft_log_set`; what they log is lost.
 */
typedef void (*ft_log_callback)(void *user_data, ft_log_level level, const char *target, const char *message);

/**
 * Nothing.
 */
#define FT_LOG_OFF 0

/**
 * What went wrong.
 */
#define FT_LOG_ERROR 1

/**
 * What may be going wrong.
 */
#define FT_LOG_WARN 2

/**
 * What is good to know: a network without kernels of its own.
 */
#define FT_LOG_INFO 3

/**
 * What takes time: planning.
 */
#define FT_LOG_DEBUG 4

/**
 * Everything.
 */
#define FT_LOG_TRACE 5

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Sets who hears of what the library logs, for the whole library: nobody, unless this is called. A forked child begins
 * with nobody.
 *
 * NULL, or `FT_LOG_OFF`, ends it. Once the call returns, the former callback is not running and will not be called
 * again.
 *
 * Errors: `FT_ERROR_INVALID_ARGUMENT` (no such level), `FT_ERROR_BUSY` (called from inside a callback, or the
 * program is a Rust program with a logger of its own). Threads: any.
 */
ft_status ft_log_set(ft_log_callback callback,
                     void *user_data,
                     ft_log_level level);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== pixels The caller's memory for images ============================================================== */

/**
 * What a pixel is made of. Colours are sRGB, as in a PNG file, and other maps are linear; rows run from top to bottom:
 * what OpenGL calls the bottom of a texture is the image's top.
 */
typedef uint32_t ft_pixel_format;

/**
 * The caller's memory for one or more images; filled by `ft_pixels_init`, then by hand. During a call that takes it
 * the memory is the library's alone: nobody reads or writes it, callbacks included, and nothing else that is given to
 * the call overlaps it, but for `ft_request.init`.
 */
typedef struct ft_pixels {
  /**
   * sizeof(ft_pixels).
   */
  uint32_t struct_size;
  /**
   * `FT_PIXEL_RGB8` unless set.
   */
  ft_pixel_format format;
  /**
   * The first pixel of the first image. No alignment is asked for.
   */
  void *data;
  /**
   * Bytes at `data`. With both strides 0 they must be just as many as the images take.
   */
  size_t size;
  /**
   * Bytes from the start of a row to the start of the next; 0 for rows without gaps.
   */
  size_t row_stride;
  /**
   * Bytes from the start of an image to the start of the next; 0 for images without gaps.
   */
  size_t image_stride;
} ft_pixels;

/**
 * Three bytes: red, green, blue.
 */
#define FT_PIXEL_RGB8 1

/**
 * Four bytes: red, green, blue, 255 (but for `FT_MAP_HDRP_MASK`, which has an alpha). Of an image that is read, the
 * fourth is not looked at.
 */
#define FT_PIXEL_RGBA8 2

/**
 * Four bytes: blue, green, red and a fourth as above; read likewise.
 */
#define FT_PIXEL_BGRA8 3

/**
 * Three IEEE half floats in 0 to 1.
 */
#define FT_PIXEL_RGB_F16 4

/**
 * Three floats in 0 to 1; what is read outside of that is clamped.
 */
#define FT_PIXEL_RGB_F32 5

/**
 * One byte. This and those below are for maps of one number a pixel, see `ft_session_get_map`; of an image that is
 * read, red, green and blue are the same.
 */
#define FT_PIXEL_GREY8 6

/**
 * One number of 16 bits, 0 to 65535, in the machine's byte order.
 */
#define FT_PIXEL_GREY16 7

/**
 * One float in 0 to 1.
 */
#define FT_PIXEL_GREY_F32 8

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Sets every field to its default.
 *
 * `struct_size` is sizeof(ft_pixels). Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, a size too small),
 * `FT_ERROR_UNSUPPORTED` (this library is older than the header). Threads: any, one at a time per struct.
 */
ft_status ft_pixels_init(struct ft_pixels *pixels, size_t struct_size);

/**
 * Writes the first image at `pixels->data`, `width` x `height` pixels of 8 bits a channel or of grey in 16, to a PNG
 * file: a way to look at it; a fourth channel is left out. Other images may follow. A file that is there is replaced,
 * with its mode, once the new one is whole: after an error it is as it was. The memory is only read.
 *
 * `path` is UTF-8. Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, memory that is too small, a format of floats),
 * `FT_ERROR_OUT_OF_MEMORY`, `FT_ERROR_IO`. Threads: any.
 */
ft_status ft_pixels_save_png(const struct ft_pixels *pixels,
                             uint32_t width,
                             uint32_t height,
                             const char *path);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== cancel token Stops a generation from any thread, a signal handler included ========================= */

/**
 * A flag that stops the generations whose requests name it.
 */
typedef struct ft_cancel_token ft_cancel_token;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Makes a token that is not cancelled.
 *
 * Ownership: `*out_token` is the caller's, to be freed by `ft_cancel_token_free`. Errors:
 * `FT_ERROR_INVALID_ARGUMENT` (NULL), `FT_ERROR_LIMIT_EXCEEDED` (4096 are in use). Threads: any.
 */
ft_status ft_cancel_token_new(struct ft_cancel_token **out_token);

/**
 * Stops every generation that holds the token: each ends with `FT_ERROR_CANCELLED` after the operation at hand.
 * One atomic write.
 *
 * Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL), `FT_ERROR_INVALID_HANDLE`. Threads: any; with a good handle it may
 * be called from a signal handler too.
 */
ft_status ft_cancel_token_cancel(struct ft_cancel_token *token);

/**
 * Makes the token usable again.
 *
 * Errors: as `ft_cancel_token_cancel`. Threads: any.
 */
ft_status ft_cancel_token_reset(struct ft_cancel_token *token);

/**
 * Tells whether the token is cancelled: 1, or 0.
 *
 * Errors: as `ft_cancel_token_cancel`. Threads: any.
 */
ft_status ft_cancel_token_is_cancelled(const struct ft_cancel_token *token, uint8_t *out_cancelled);

/**
 * Frees a token; NULL is fine. Generations that hold it go on, and cannot be cancelled by it any more.
 *
 * Threads: any.
 */
void ft_cancel_token_free(struct ft_cancel_token *token);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== threads Threads that a C program lends ============================================================= */

/**
 * A piece of the library's work, given to an `ft_parallel_for` with its `body_data`. It may be called from any
 * thread and by several at a time, each index at most once, and not after the `ft_parallel_for` has returned.
 */
typedef void (*ft_parallel_body)(void *body_data, uint32_t index);

/**
 * A job system of the program's: calls `body(body_data, index)` for each index below `lanes`, on any threads and
 * in any order, and returns when all those calls have returned. No body waits for another one. An index may be left
 * out when no thread is free: its work is done by the calling thread. Called about a hundred times for each
 * evaluation of a network, also by several sessions at the same time.
 */
typedef void (*ft_parallel_for)(void *user_data, uint32_t lanes, ft_parallel_body body, void *body_data);

/* ==== reader Bundles that a C program reads for us, and memory that it lends ============================= */

/**
 * Copies `size` bytes from `offset` of a bundle's zip file, or of a plan, to `buffer`; 0 if it did. Called from any
 * thread, one call at a time.
 */
typedef int32_t (*ft_read_callback)(void *user_data, uint64_t offset, void *buffer, size_t size);

/**
 * Called once, when the library no longer needs what was lent to it; from any thread.
 */
typedef void (*ft_release_callback)(void *user_data);

/**
 * A bundle's zip file, or a plan, behind functions of the program's: an entry of an asset pack, something encrypted.
 */
typedef struct ft_reader {
  /**
   * sizeof(ft_reader).
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Bytes of the file.
   */
  uint64_t size;
  /**
   * Reads some of them.
   */
  ft_read_callback read;
  /**
   * NULL, or called once, when the library has no more use for the reader; also after a failure to open it.
   */
  ft_release_callback release;
  /**
   * For `read` and `release`.
   */
  void *user_data;
  /**
   * 0. Fills the struct up on 32-bit machines.
   */
  size_t reserved_end;
} ft_reader;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Sets every field to its default.
 *
 * `struct_size` is sizeof(ft_reader). Errors: as `ft_model_options_init`. Threads: any, one at a time per struct.
 */
ft_status ft_reader_init(struct ft_reader *reader,
                         size_t struct_size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== limits What is refused before memory is taken for it =============================================== */

/**
 * Upper bounds on what comes from outside; filled by `ft_limits_init`, then by hand. The defaults admit SiT-XL/2 at
 * 512 x 512 pixels.
 */
typedef struct ft_limits {
  /**
   * sizeof(ft_limits).
   */
  uint32_t struct_size;
  /**
   * Edge of an image or a latent, in pixels.
   */
  uint32_t max_edge;
  /**
   * Channels of a latent.
   */
  uint32_t max_channels;
  /**
   * Classes of a bundle.
   */
  uint32_t max_classes;
  /**
   * Images of a request.
   */
  uint32_t max_batch;
  /**
   * Steps of a schedule.
   */
  uint32_t max_steps;
  /**
   * The bundle's manifest, in bytes.
   */
  uint64_t max_manifest_bytes;
  /**
   * Another file of the bundle, in bytes.
   */
  uint64_t max_file_bytes;
  /**
   * The latents or images of a request as floats, in bytes.
   */
  uint64_t max_tensor_bytes;
  /**
   * Nodes of one ONNX graph, those of its subgraphs and functions among them.
   */
  uint32_t max_nodes;
  /**
   * The time that planning one network may take, in milliseconds, from reading its file to its packed weights.
   */
  uint32_t max_planning_ms;
  /**
   * All weights of one network as they are stored, in bytes.
   */
  uint64_t max_weight_bytes;
  /**
   * The scratch memory that one network computes in, in bytes.
   */
  uint64_t max_arena_bytes;
  /**
   * One prompt, in bytes of UTF-8.
   */
  uint32_t max_prompt_bytes;
  /**
   * A bundle's tokenizer, in bytes.
   */
  uint32_t max_tokenizer_bytes;
} ft_limits;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Sets every field to its default.
 *
 * `struct_size` is sizeof(ft_limits). Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, a size too small),
 * `FT_ERROR_UNSUPPORTED` (this library is older than the header). Threads: any, one at a time per struct.
 */
ft_status ft_limits_init(struct ft_limits *limits, size_t struct_size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== device What computes networks beside the processor ================================================= */

/**
 * A GPU as its driver describes it.
 */
typedef struct ft_device_info {
  /**
   * sizeof(ft_device_info), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Compute capability 9.0 is 9 here
   */
  uint32_t capability_major;
  /**
   * and 0 here.
   */
  uint32_t capability_minor;
  /**
   * The newest CUDA that the driver speaks: 12.4 is 12 here
   */
  uint32_t driver_major;
  /**
   * and 4 here.
   */
  uint32_t driver_minor;
  /**
   * 1 if its memory is the processor's too, as on a Jetson board, else 0.
   */
  uint32_t integrated;
  /**
   * All of its memory.
   */
  uint64_t memory_bytes;
  /**
   * What its maker calls it: UTF-8 that ends with 0, perhaps cut.
   */
  char name[128];
  /**
   * "GPU-", or "MIG-" of a part of one, and 32 hex digits in five groups, that ends with 0: as nvidia-smi has it.
   */
  char uuid[48];
} ft_device_info;

/**
 * Where networks are computed: `FT_DEVICE_CPU`, `FT_DEVICE_AUTO`, or `FT_DEVICE_CUDA` + N.
 */
typedef uint32_t ft_device;

/**
 * The processor.
 */
#define FT_DEVICE_CPU 0

/**
 * The first GPU that can be used, else the processor; `ft_model_info.device` says which it was.
 */
#define FT_DEVICE_AUTO 1

/**
 * NVIDIA's GPU 0; those after it follow: `FT_DEVICE_CUDA` + 1 is GPU 1. 4095 is the last. Needs a library that was
 * built with the feature `cuda`, and a display driver; never anything else in silence (docs/cuda.md).
 */
#define FT_DEVICE_CUDA 4096

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Counts the GPUs that `ft_model_options.device` can name.
 *
 * Errors: `FT_ERROR_UNSUPPORTED` (the library was built without the feature `cuda`, or the machine has no driver, an
 * old one or no GPU; `ft_last_error_message` says which), `FT_ERROR_INVALID_ARGUMENT`. Threads: any.
 */
ft_status ft_device_count(uint32_t *out_count);

/**
 * Describes GPU `index`, below `ft_device_count`.
 *
 * The caller sets `out_info->struct_size`. Errors: as `ft_device_count`. Threads: any.
 */
ft_status ft_device_get_info(uint32_t index, struct ft_device_info *out_info);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== precision In what numbers networks multiply ======================================================== */

/**
 * In what numbers networks multiply: linear layers, convolutions, attention. All else is float32.
 */
typedef uint32_t ft_precision;

/**
 * float32, exact up to rounding.
 */
#define FT_PRECISION_F32 0

/**
 * The same bits, by weights that stay float16 in memory where the files have them so.
 */
#define FT_PRECISION_F16_WEIGHTS 1

/**
 * bfloat16, approximate; for processors with AVX512-BF16 or Arm's BF16 and GPUs of compute capability 8.0 and newer,
 * else `FT_ERROR_UNSUPPORTED`.
 */
#define FT_PRECISION_BF16 2

/**
 * Linear layers of bytes, the others as FT_PRECISION_BF16 where the processor has it; approximate. Not for GPUs.
 */
#define FT_PRECISION_INT8 3

/**
 * float16, approximate; for GPUs (`FT_DEVICE_CUDA`), else `FT_ERROR_UNSUPPORTED`.
 */
#define FT_PRECISION_F16 4

/**
 * float32 rounded to 10 bits of mantissa where it is multiplied, but for attention; for GPUs of compute capability 8.0
 * and newer, else `FT_ERROR_UNSUPPORTED`.
 */
#define FT_PRECISION_TF32 5

/**
 * What `flowturbo tune` stored in the bundle, as far as this processor has it, else float32; a packed plan's own.
 */
#define FT_PRECISION_AUTO 6

/* ==== model options How a model is opened ================================================================ */

/**
 * An option by its name, for experiments: names and values may change with any release.
 */
typedef struct ft_option {
  /**
   * "backend": "fused" (the library's kernels) or "reference" (plain tract, slow, the oracle).
   */
  const char *key;
  /**
   * A text, or a number as text.
   */
  const char *value;
} ft_option;

/**
 * How a model is opened; filled by `ft_model_options_init`, then by hand.
 */
typedef struct ft_model_options {
  /**
   * sizeof(ft_model_options).
   */
  uint32_t struct_size;
  /**
   * Threads of the model's own, the calling one among them; 0 for one per processor, or as many as the system gives.
   * At most 1024; so many or `FT_ERROR_RUNTIME`.
   */
  uint32_t threads;
  /**
   * Images in a request that opening plans for; 0 is 1. Other numbers are planned when they are first wanted.
   */
  uint32_t batch;
  /**
   * With `parallel_for`: how many bodies may usefully run at the same time, at least 1. `threads` is not
   * looked at then.
   */
  uint32_t lanes;
  /**
   * NULL, or the program's job system, used instead of threads of the model's own.
   */
  ft_parallel_for parallel_for;
  /**
   * For `parallel_for`; both are needed as long as the model or a session of it lives.
   */
  void *parallel_data;
  /**
   * `option_count` options, or NULL.
   */
  const struct ft_option *options;
  /**
   * How many.
   */
  size_t option_count;
  /**
   * NULL, or other limits than the defaults.
   */
  const ft_limits *limits;
  /**
   * Gives up the weights that only times and classes need, a third of a SiT; new ones read them again.
   * 0 or 1.
   */
  uint32_t release_conditioning;
  /**
   * The same request gives the same bits on every processor and with any number of threads; a bundle that tract
   * would have to compute in part is refused (`FT_ERROR_UNSUPPORTED`). Takes longer where vectors are wider than
   * 8 floats (AVX-512). 0 or 1.
   */
  uint32_t deterministic;
  /**
   * NULL, or a token that stops the opening, which then ends with `FT_ERROR_CANCELLED`; it may be freed at any time.
   */
  const ft_cancel_token *cancel;
  /**
   * In what numbers predictor, refiner and decoder multiply; others than `FT_PRECISION_F32` are for the library's
   * own kernels. A plan whose weights are packed keeps its own when this is `FT_PRECISION_F32`, and refuses another
   * one.
   */
  ft_precision precision;
  /**
   * Where networks are computed. On another than `FT_DEVICE_CPU` nothing is left to tract: a node without a kernel
   * is refused by its name.
   */
  ft_device device;
} ft_model_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Sets every field to its default.
 *
 * `struct_size` is sizeof(ft_model_options). Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, a size too small),
 * `FT_ERROR_UNSUPPORTED` (this library is older than the header). Threads: any, one at a time per struct.
 */
ft_status ft_model_options_init(struct ft_model_options *options, size_t struct_size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== model A bundle planned for this machine ============================================================ */

/**
 * The bundle has a refiner.
 */
#define FT_NETWORK_REFINER 1

/**
 * The bundle has a decoder: it makes images.
 */
#define FT_NETWORK_DECODER 2

/**
 * The bundle has an encoder.
 */
#define FT_NETWORK_ENCODER 4

/**
 * From prompts to contexts: a request may have them.
 */
#define FT_NETWORK_TEXT 8

/**
 * A bundle planned for this machine: networks, packed weights. Shared by any number of sessions and threads.
 */
typedef struct ft_model ft_model;

/**
 * What a model says of itself. The texts are the model's, and go with it.
 */
typedef struct ft_model_info {
  /**
   * sizeof(ft_model_info), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Columns of an image; 0 without a decoder.
   */
  uint32_t width;
  /**
   * Rows of an image; 0 without a decoder.
   */
  uint32_t height;
  /**
   * Channels of a latent.
   */
  uint32_t latent_channels;
  /**
   * Rows of a latent.
   */
  uint32_t latent_height;
  /**
   * Columns of a latent.
   */
  uint32_t latent_width;
  /**
   * Classes are 0 to `class_count` - 1.
   */
  uint32_t class_count;
  /**
   * Any of `FT_NETWORK_...`, besides the predictor, which is always there.
   */
  uint32_t networks;
  /**
   * The class that stands for none: an unconditional image. -1 if the model knows none: then its guidance is 1,
   * unless it takes contexts and no class.
   */
  int64_t null_class;
  /**
   * The bundle's own scale of guidance.
   */
  float guidance;
  /**
   * Threads that work on a request.
   */
  uint32_t threads;
  /**
   * Short name.
   */
  const char *name;
  /**
   * One line for people, or NULL.
   */
  const char *description;
  /**
   * SPDX expression for the weights, or NULL.
   */
  const char *license;
  /**
   * The bundle's own schedule, such as "H1P5R3".
   */
  const char *schedule;
  /**
   * SHA-256 of the bundle's manifest, which holds those of all its files: 64 hex digits.
   */
  const char *hash;
  /**
   * Pixels that one cell of the latent stands for, across; 0 without images.
   */
  uint32_t cell_width;
  /**
   * And down.
   */
  uint32_t cell_height;
  /**
   * Presets, see `ft_model_preset_name`.
   */
  uint32_t preset_count;
  /**
   * 1 if images can be asked to tile, else 0.
   */
  uint32_t tiles;
  /**
   * 0. Fills the struct up on 32-bit machines.
   */
  size_t reserved_end;
  /**
   * Floats of a context, or of each of its tokens; 0 if the model takes none. See `ft_request.context`.
   */
  uint32_t context_width;
  /**
   * Tokens of a context; 0 if contexts are one row of `context_width` floats, or there are none.
   */
  uint32_t context_tokens;
  /**
   * Where networks are computed: what was asked for, or what `FT_DEVICE_AUTO` took.
   */
  ft_device device;
  /**
   * 0.
   */
  uint32_t reserved;
} ft_model_info;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Opens the bundle at `path`, a folder or an uncompressed zip file, checks it and plans its networks; or a plan of
 * one, which `flowturbo compile` made (docs/plan.md). libflowturbo_runtime opens plans alone.
 *
 * `path` is UTF-8. `options` may be NULL. Ownership: `*out_model` is the caller's, to be freed by
 * `ft_model_free`. Errors: `FT_ERROR_IO` (nothing readable there), `FT_ERROR_INVALID_BUNDLE` (names file and
 * field), `FT_ERROR_UNSUPPORTED`, `FT_ERROR_LIMIT_EXCEEDED`, `FT_ERROR_NON_FINITE` (NaN among the weights),
 * `FT_ERROR_OUT_OF_MEMORY`, `FT_ERROR_CANCELLED` (by `options.cancel`), `FT_ERROR_RUNTIME`,
 * `FT_ERROR_INVALID_ARGUMENT`. Threads: any. Takes from milliseconds to seconds, and memory for all weights.
 */
ft_status ft_model_open(const char *path,
                        const ft_model_options *options,
                        struct ft_model **out_model);

/**
 * Opens a bundle whose zip file is in memory, or a plan.
 *
 * Ownership: the `size` bytes at `data` are lent. They must stay as they are until `release`, if there is one, is
 * called with `user_data`: once, when model and sessions are freed, or before this call returns if it fails
 * (unless it fails for a NULL `data`). Without `release` they must outlive the model and its sessions. All else as
 * `ft_model_open`.
 */
ft_status ft_model_open_memory(const void *data,
                               size_t size,
                               ft_release_callback release,
                               void *user_data,
                               const ft_model_options *options,
                               struct ft_model **out_model);

/**
 * Opens a bundle whose zip file is behind functions of the program's, or a plan.
 *
 * Ownership: `reader` itself is only looked at during the call; what it names is lent until its `release` is
 * called, as for `ft_model_open_memory`; a struct that is refused itself (NULL, `struct_size`) is not looked into. All
 * else as `ft_model_open`; `FT_ERROR_IO` if `read` fails.
 */
ft_status ft_model_open_reader(const ft_reader *reader,
                               const ft_model_options *options,
                               struct ft_model **out_model);

/**
 * Frees a model; NULL is fine. Sessions of it go on working: what they share is freed with the last of them.
 *
 * Threads: any; not while another thread uses texts of its `ft_model_info`.
 */
void ft_model_free(struct ft_model *model);

/**
 * Tells what the model is.
 *
 * The caller sets `out_info->struct_size`. Ownership: texts are the model's until it is freed. Errors:
 * `FT_ERROR_INVALID_ARGUMENT`, `FT_ERROR_INVALID_HANDLE`, `FT_ERROR_UNSUPPORTED` (a struct of a newer header).
 * Threads: any.
 */
ft_status ft_model_get_info(const struct ft_model *model,
                            struct ft_model_info *out_info);

/**
 * The label of a class, 0 to `class_count` - 1.
 *
 * Ownership: the model's until it is freed. Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, no such class, a bundle
 * without labels), `FT_ERROR_INVALID_HANDLE`. Threads: any.
 */
ft_status ft_model_class_label(const struct ft_model *model,
                               int64_t class_number,
                               const char **out_label);

/**
 * The name of a preset, 0 to `preset_count` - 1: what `ft_request.preset` may be, in the order of the alphabet.
 *
 * Ownership: the model's until it is freed. Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, no such preset),
 * `FT_ERROR_INVALID_HANDLE`. Threads: any.
 */
ft_status ft_model_preset_name(const struct ft_model *model,
                               uint32_t index,
                               const char **out_name);

/**
 * The class called `name`: a label or one of the synonyms between its commas, in any case and with accents composed or
 * not, or a number as text. An exact spelling is meant before one that differs in case, a whole label before a
 * synonym.
 *
 * Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, no such class: the message names the nearest; several: it lists their
 * numbers), `FT_ERROR_INVALID_HANDLE`. Threads: any.
 */
ft_status ft_model_find_class(const struct ft_model *model,
                              const char *name,
                              int64_t *out_class);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== request One generation, by value =================================================================== */

/**
 * The bundle's own scale of guidance.
 */
#define FT_GUIDANCE_DEFAULT -1.0

/**
 * What a generation makes.
 */
typedef uint32_t ft_output;

/**
 * What a generation reports after each step of its schedule, and after each image that is decoded.
 */
typedef struct ft_progress {
  /**
   * sizeof(ft_progress) as the library knows it: what lies behind it, in a newer header than the library's, is not
   * there.
   */
  uint32_t struct_size;
  /**
   * Steps done, from 1.
   */
  uint32_t step;
  /**
   * Steps in all.
   */
  uint32_t steps;
  /**
   * The step just done, as its letter in the schedule: 'E', 'H', 'P' or 'R'; the last one while images are
   * decoded.
   */
  uint32_t kind;
  /**
   * The time that the step took, or the image.
   */
  uint64_t microseconds;
  /**
   * The state after the step: `latent_count` floats `[image_count, channels, height, width]`.
   */
  const float *latents;
  /**
   * How many.
   */
  size_t latent_count;
  /**
   * With `FT_PREVIEW_LINEAR`: what the images look like so far, `[image_count, preview_height,
   * preview_width]` pixels of RGB8 without gaps; otherwise, or if none could be made, NULL.
   */
  const uint8_t *preview;
  /**
   * Bytes of it.
   */
  size_t preview_size;
  /**
   * Columns of a preview.
   */
  uint32_t preview_width;
  /**
   * Rows of a preview.
   */
  uint32_t preview_height;
  /**
   * Images decoded; 0 as long as there are steps left.
   */
  uint32_t decoded;
  /**
   * Images that will be decoded; 0 for a request of `FT_OUTPUT_LATENTS`.
   */
  uint32_t pictures;
} ft_progress;

/**
 * Called after each step of the schedule and after each decoded image, on the thread that called the library.
 * `progress` and all it points at are the library's, for the time of the call. Another answer than 0 stops the
 * generation with `FT_ERROR_CANCELLED`. Calls for the same session from inside are refused with `FT_ERROR_BUSY`.
 */
typedef int32_t (*ft_progress_callback)(void *user_data, const struct ft_progress *progress);

/**
 * How a preview is made.
 */
typedef uint32_t ft_preview;

/**
 * Axes along which an image continues seamlessly on its other side.
 */
typedef uint32_t ft_tile;

/**
 * What to generate; filled by `ft_request_init`, then by hand. Looked at during the call that takes it.
 */
typedef struct ft_request {
  /**
   * sizeof(ft_request).
   */
  uint32_t struct_size;
  /**
   * Images to make, at least 1.
   */
  uint32_t image_count;
  /**
   * The class of each image: `image_count` numbers from 0 to the model's `class_count` - 1, or its `null_class` if
   * that is not -1. They are looked at, and must be there, in each call that takes the request.
   */
  const int64_t *classes;
  /**
   * Seed of the noise: the same bits on every machine.
   */
  uint64_t seed;
  /**
   * The steps, such as "H1P5R3": E Euler, H Heun, P pseudo-corrector, R refiner, each with a count. NULL for the
   * bundle's own.
   */
  const char *schedule;
  /**
   * Scale of classifier-free guidance, 0 or more; 1 is none, takes half the time, and is all that a model without a
   * null class allows, unless it takes contexts and no class. `FT_GUIDANCE_DEFAULT` for the bundle's own.
   */
  float guidance;
  /**
   * `FT_OUTPUT_IMAGES` unless set.
   */
  ft_output output;
  /**
   * NULL, or the noise to start from instead of the seed's: `noise_count` floats
   * `[image_count, channels, height, width]` of the latent.
   */
  const float *noise;
  /**
   * How many.
   */
  size_t noise_count;
  /**
   * NULL, or the token that stops the generation; it may be freed at any time.
   */
  const ft_cancel_token *cancel;
  /**
   * NULL, or called after each step and each decoded image.
   */
  ft_progress_callback progress;
  /**
   * For `progress`; both are needed until the generation ends, or the session is reset, asked for another one, or
   * freed.
   */
  void *progress_data;
  /**
   * The preview that `progress` is shown: `FT_PREVIEW_NONE` unless set, or `FT_PREVIEW_LINEAR`.
   */
  ft_preview preview;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * NULL, or a name from the bundle for a schedule and a guidance, where those above are not set.
   */
  const char *preset;
  /**
   * The axes along which the images continue seamlessly on their other side: `FT_TILE_NONE` unless set.
   */
  ft_tile tile;
  /**
   * Columns of the images; 0 for the model's own. Not below those, in steps of the pixels that one cell of the
   * latent stands for (8 in the bundled model); time and memory grow with the area. Larger images are of the
   * material that the request makes at the model's own size, unless they begin with an image (docs/editing.md).
   */
  uint32_t width;
  /**
   * Rows, likewise.
   */
  uint32_t height;
  /**
   * With `init`: how much of the way from noise to image is done anew, above 0 and at most 1, which is the
   * default and leaves nothing of `init` where there is no mask.
   */
  float strength;
  /**
   * NULL, or the images to begin with, of `width` x `height`. Only read, during the call that takes the request,
   * before anything is written: they may lie where the new ones go.
   */
  const ft_pixels *init;
  /**
   * How many there are: one for each image, or 1 for all; 0 is 1.
   */
  uint32_t init_count;
  /**
   * How far the noise is turned towards that of `variation_seed`, from 0, the default, to 1.
   */
  float variation;
  /**
   * The seed of another noise.
   */
  uint64_t variation_seed;
  /**
   * NULL, or what of `init` is to be made anew: a byte for each pixel, `[image_count, height, width]` or
   * `[height, width]` for all. Where it is 0, 8-bit colours stay to the bit; 255 is new; between they are mixed.
   */
  const uint8_t *mask;
  /**
   * Bytes of it.
   */
  size_t mask_size;
  /**
   * NULL, or a second class for each image: its velocity is mixed into the first one's.
   */
  const int64_t *morph_classes;
  /**
   * How much of it, from 0 to 1, for each image; needed with `morph_classes`.
   */
  const float *morph_amounts;
  /**
   * NULL, or a seed for each image instead of `seed`: each image is the one that a request for it alone makes
   * with its seed.
   */
  const uint64_t *seeds;
  /**
   * `image_count`.
   */
  size_t seed_count;
  /**
   * NULL, or the stream of its seed that each image's noise is taken from. Otherwise image i takes stream i of
   * `seed`, or with `seeds` stream 0 of its own: the third of four images alone is one image with stream 2.
   */
  const uint64_t *streams;
  /**
   * `image_count`.
   */
  size_t stream_count;
  /**
   * NULL, or the contexts of the images, for models that take them (`ft_model_info.context_width`): finite floats
   * `[context_rows, context_width]`, or `[context_rows, context_tokens, context_width]` where contexts are of
   * tokens. NULL is the context of no prompt. With contexts `classes` may be NULL: no class. Looked at during the
   * call that takes the request.
   */
  const float *context;
  /**
   * How many floats.
   */
  size_t context_count;
  /**
   * How many contexts: one for each image, or 1 for all; 0 is 1.
   */
  size_t context_rows;
  /**
   * NULL, or likewise what guidance goes away from, instead of the context of no prompt.
   */
  const float *negative_context;
  /**
   * How many floats.
   */
  size_t negative_context_count;
  /**
   * How many contexts, as `context_rows`.
   */
  size_t negative_context_rows;
  /**
   * NULL, or what the images show, in words, for models with a text encoder (`FT_NETWORK_TEXT`): `prompt_count`
   * texts of UTF-8, instead of contexts. With them `classes` may be NULL: no class. Looked at during the call that
   * takes the request. The model keeps what it makes of the last few hundred; what is beyond the encoder's most
   * tokens is left out, with a warning in the log.
   */
  const char *const *prompts;
  /**
   * How many: one for each image, or 1 for all.
   */
  size_t prompt_count;
  /**
   * NULL, or what the images do not show: guidance goes away from it, instead of no prompt.
   */
  const char *negative_prompt;
  /**
   * 0.
   */
  size_t reserved_end;
} ft_request;

/**
 * Latents, and images decoded from them.
 */
#define FT_OUTPUT_IMAGES 0

/**
 * The older name of `FT_OUTPUT_IMAGES`.
 */
#define FT_OUTPUT_PICTURES 0

/**
 * Latents alone: the decoder does not run.
 */
#define FT_OUTPUT_LATENTS 1

/**
 * No preview.
 */
#define FT_PREVIEW_NONE 0

/**
 * Rough, of the latent's own size, in microseconds; for bundles that have its colours (`image.preview`).
 */
#define FT_PREVIEW_LINEAR 1

/**
 * By the decoder, of an image's size.
 */
#define FT_PREVIEW_DECODED 2

/**
 * None is asked for.
 */
#define FT_TILE_NONE 0

/**
 * From the right edge to the left one.
 */
#define FT_TILE_X 1

/**
 * From the lower edge to the upper one.
 */
#define FT_TILE_Y 2

/**
 * Both.
 */
#define FT_TILE_BOTH 3

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Sets every field to its default: one image, seed 0, the bundle's own schedule and guidance. `classes` is left
 * to be set.
 *
 * `struct_size` is sizeof(ft_request). Errors: as `ft_model_options_init`. Threads: any, one at a time per struct.
 */
ft_status ft_request_init(struct ft_request *request,
                          size_t struct_size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== memory What a request takes, told beforehand ======================================================= */

/**
 * Bytes that a request takes.
 */
typedef struct ft_memory {
  /**
   * sizeof(ft_memory), set by the caller.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Held by the model, for all its sessions: packed weights, and what was computed of times, classes
   * and contexts.
   */
  uint64_t model_bytes;
  /**
   * Held by a session once it has run the request.
   */
  uint64_t session_bytes;
  /**
   * Taken for a moment besides, when times, classes or contexts are new.
   */
  uint64_t passing_bytes;
} ft_memory;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Plans what `request` needs and is not planned yet, and tells the memory it will take before any is taken for it.
 *
 * `out_memory` may be NULL; otherwise the caller sets its `struct_size`. The request's token and callback are not
 * used. Networks that the library has no kernels for take more while they run. Errors: as
 * `ft_session_generate`, for all that can be told beforehand. Threads: any. Takes up to seconds, for a new
 * `image_count` or the first use of a network.
 */
ft_status ft_model_prepare(const ft_model *model,
                           const ft_request *request,
                           struct ft_memory *out_memory);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== session Room for one generation at a time ========================================================== */

/**
 * As long as it takes to end a step of the schedule, or an image.
 */
#define FT_WHOLE_STEP 18446744073709551615ull

/**
 * Scratch memory for one generation at a time. A failed or cancelled one leaves it ready for the next.
 */
typedef struct ft_session ft_session;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Makes a session of `model`.
 *
 * Ownership: `*out_session` is the caller's, to be freed by `ft_session_free`; it keeps what it needs of the model.
 * Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL), `FT_ERROR_INVALID_HANDLE`. Threads: any.
 */
ft_status ft_session_new(const ft_model *model,
                         struct ft_session **out_session);

/**
 * Frees a session; NULL is fine. A call that is at work on it ends as if nothing had happened.
 *
 * Threads: any.
 */
void ft_session_free(struct ft_session *session);

/**
 * Does all that `request` needs before its first step: planning, memory, what depends on its times, classes and
 * contexts alone. For a loading screen: once for each class, context, `image_count`,
 * size, guided or not, with morphs or without; the last two plans of each network are kept. A generation under way is
 * given up, one that is done forgotten.
 *
 * Errors: as `ft_session_generate`, for all that can be told beforehand. Threads: one at a time per session.
 */
ft_status ft_session_prepare(struct ft_session *session,
                             const ft_request *request);

/**
 * Makes images, and returns when they are done.
 *
 * `pixels` names the memory they go to; with `FT_OUTPUT_LATENTS` it must be NULL. After a failure that memory is as
 * it was. A generation under way is given up, one that is done forgotten, also if this fails.
 *
 * Errors: `FT_ERROR_INVALID_ARGUMENT` (the message names the field), `FT_ERROR_LIMIT_EXCEEDED`,
 * `FT_ERROR_NON_FINITE` (names the step), `FT_ERROR_CANCELLED`, `FT_ERROR_RUNTIME`, `FT_ERROR_OUT_OF_MEMORY`,
 * `FT_ERROR_BUSY`, `FT_ERROR_PANIC`, `FT_ERROR_INVALID_HANDLE`, `FT_ERROR_UNSUPPORTED` (a struct of a newer header),
 * and as `ft_model_open` if a network must be read first. Threads: one at a time per session; several sessions of a
 * model share its threads.
 */
ft_status ft_session_generate(struct ft_session *session,
                              const ft_request *request,
                              const ft_pixels *pixels);

/**
 * Begins a generation that `ft_session_step` carries out. One that was under way is given up, one that was done
 * forgotten, also if this fails.
 *
 * Plans what is not planned yet and takes its memory: call `ft_session_prepare` beforehand, on a loading screen, if
 * that takes too long. What depends on the request's times and classes alone is left to the steps. Errors: as
 * `ft_session_generate`, for all that can be told beforehand. Threads: one at a time per session.
 */
ft_status ft_session_begin(struct ft_session *session,
                           const ft_request *request);

/**
 * Gives the generation under way up, or forgets the last one: its callback and pixels are no longer the library's.
 *
 * Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL), `FT_ERROR_BUSY`, `FT_ERROR_PANIC`, `FT_ERROR_INVALID_HANDLE`. Threads:
 * one at a time per session.
 */
ft_status ft_session_reset(struct ft_session *session);

/**
 * Works on the generation for about `microseconds`, or, for `FT_WHOLE_STEP`, to the end of a step of the schedule or
 * of an image. `*out_done` is set to 1 once all images, or the latents, are done, until then to 0.
 *
 * The clock is looked at between operations, so a call takes longer than asked for by at most one of them: 1 to 2 ms
 * for the bundled model and one thread. With 0 it does one operation. Networks that the library has no kernels for
 * run to their end. What depends on times and classes alone comes first, sixteen pairs of them an operation, unless
 * `ft_session_prepare` or an earlier request has computed it. A failure ends the generation. Errors: as
 * `ft_session_generate`; `FT_ERROR_INVALID_ARGUMENT` if nothing was begun. Threads: one at a time per session;
 * sessions of a model take turns on its threads, an operation at a time.
 */
ft_status ft_session_step(struct ft_session *session,
                          uint64_t microseconds,
                          uint8_t *out_done);

/**
 * Tells how many steps of the schedule are done, and how many there are, in the generation under way or the last one.
 *
 * Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, nothing was begun), `FT_ERROR_BUSY`, `FT_ERROR_PANIC`,
 * `FT_ERROR_INVALID_HANDLE`. Threads: one at a time per session.
 */
ft_status ft_session_get_steps(struct ft_session *session,
                               uint32_t *out_made,
                               uint32_t *out_all);

/**
 * Draws what the generation under way, or the last one, looks like so far. A program that steps looks when it likes,
 * in any format, and needs no callback; a new image is worth drawing when `ft_session_get_steps` tells of a new
 * step.
 *
 * `kind` is `FT_PREVIEW_LINEAR`, images of the latent's own size, or `FT_PREVIEW_DECODED`, images of full size,
 * which takes as long as decoding does. Errors: as `ft_session_decode`; `FT_ERROR_INVALID_ARGUMENT` also if nothing
 * was begun. Threads: one at a time per session.
 */
ft_status ft_session_preview(struct ft_session *session,
                             ft_preview kind,
                             const ft_pixels *pixels);

/**
 * Does what is left of the generation, and writes its images. May be called again, in another format too, until
 * another generation begins.
 *
 * After a failure the memory is as it was. Errors: as `ft_session_step`; `FT_ERROR_INVALID_ARGUMENT` for memory that
 * cannot hold the images (the generation goes on), and for a request of `FT_OUTPUT_LATENTS`. Threads: one at a time
 * per session.
 */
ft_status ft_session_finish(struct ft_session *session,
                            const ft_pixels *pixels);

/**
 * Copies the latents of the last generation: `count` floats `[image_count, channels, height, width]`.
 *
 * Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, another count, no generation that was sampled to its end),
 * `FT_ERROR_BUSY`, `FT_ERROR_PANIC`, `FT_ERROR_INVALID_HANDLE`. Threads: one at a time per session.
 */
ft_status ft_session_get_latents(struct ft_session *session, float *out_latents, size_t count);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== coding Images to latents and back, without a generation ============================================ */

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Encodes `image_count` images of `width` x `height` pixels to `count` floats
 * `[image_count, channels, latent height, latent width]`; 0 for width or height is the model's own.
 *
 * The memory of `pixels` is only read. A generation under way goes on. Errors: as `ft_session_generate`, but none is
 * `FT_ERROR_CANCELLED`; `FT_ERROR_INVALID_ARGUMENT` for NULL, a size that the encoder cannot take, another count, no
 * encoder, memory that cannot hold the images. Threads: one at a time per session.
 */
ft_status ft_session_encode(ft_session *session,
                            const ft_pixels *pixels,
                            uint32_t width,
                            uint32_t height,
                            uint32_t image_count,
                            float *out_latents,
                            size_t count);

/**
 * Decodes latents: `count` floats `[N, channels, latent height, latent width]`, for N up to the limit of a request, to
 * N images of the model's own size; see `ft_session_decode_sized` for others.
 *
 * After a failure the memory of `pixels` is as it was. A generation under way goes on. Errors: as
 * `ft_session_generate`, but none is `FT_ERROR_CANCELLED`; `FT_ERROR_INVALID_ARGUMENT` for NULL, a count that is no
 * multiple of a latent's, no decoder, memory that cannot hold the images. Threads: one at a time per session.
 */
ft_status ft_session_decode(ft_session *session,
                            const float *latents,
                            size_t count,
                            const ft_pixels *pixels);

/**
 * As `ft_session_decode`, to images of `width` x `height` pixels, those of a request with these; 0 is the model's
 * own.
 *
 * Errors: as there; `FT_ERROR_INVALID_ARGUMENT` also for a size that the decoder cannot make.
 * Threads: one at a time per session.
 */
ft_status ft_session_decode_sized(ft_session *session,
                                  const float *latents,
                                  size_t count,
                                  uint32_t width,
                                  uint32_t height,
                                  const ft_pixels *pixels);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* ==== map Normals, heights and other maps beside the colour ============================================== */

/**
 * A map of a material, or several: each number is a bit. Colours are sRGB, all other maps linear. docs/maps.md says
 * what engines do with each.
 */
typedef uint32_t ft_map;

/**
 * How a map is written: 0, or `FT_MAP_NORMAL_Y_DOWN`.
 */
typedef uint32_t ft_map_flags;

/**
 * Red, green and blue: what every other function gives. Every model that makes images has it.
 */
#define FT_MAP_COLOR 1

/**
 * The direction that the surface faces: x to the right in red, y up in green (down with `FT_MAP_NORMAL_Y_DOWN`), z out
 * of the image in blue; -1 to 1 as 0 to 255.
 */
#define FT_MAP_NORMAL 2

/**
 * How high the surface lies: 0 is the lowest place, 1 the highest.
 */
#define FT_MAP_HEIGHT 4

/**
 * How dull it is: 0 is a mirror, 1 has no highlights.
 */
#define FT_MAP_ROUGHNESS 8

/**
 * 1 where it is metal, 0 where it is not.
 */
#define FT_MAP_METALLIC 16

/**
 * How open it lies: 1 in the light from all around, 0 in the dark.
 */
#define FT_MAP_OCCLUSION 32

/**
 * Packed as glTF has it: occlusion in red, roughness in green, metallic in blue. What the model has not is 1 of
 * occlusion, 0 of metallic.
 */
#define FT_MAP_ORM 64

/**
 * Packed as the mask map of Unity's HDRP: metallic in red, occlusion in green, 0 (the detail mask) in blue,
 * smoothness, which is 1 - roughness, in alpha. What the model has not is as above.
 */
#define FT_MAP_HDRP_MASK 128

/**
 * The y of normals points down the image, as in DirectX and Unreal. Other maps are the same.
 */
#define FT_MAP_NORMAL_Y_DOWN 1

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Tells which maps the model has: the sum of their numbers, those that are packed of others among them. 0 without a
 * decoder.
 *
 * Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL), `FT_ERROR_INVALID_HANDLE`. Threads: any.
 */
ft_status ft_model_get_maps(const ft_model *model,
                            ft_map *out_maps);

/**
 * Writes one map of the images that the session made last, once they are all done: after `ft_session_generate`,
 * `ft_session_finish`, or `ft_session_step` with `*out_done` 1. May be called for any map of the model, in any format
 * that holds it, until another generation begins. The decoder makes all maps of an image at once, so this computes
 * next to nothing and takes no memory.
 *
 * `map` is one `FT_MAP_...`, `flags` 0 or `FT_MAP_NORMAL_Y_DOWN`. Colour, normals and ORM go to RGB formats, heights,
 * roughness, metallic and occlusion to grey ones, HDRP's mask map to RGBA8 and BGRA8; formats of floats hold 0 to 1.
 * Of a request with a mask, colour is kept where it says so, other maps are as decoded. After a failure the memory is
 * as it was. Errors: `FT_ERROR_INVALID_ARGUMENT` (NULL, no such map, one that the model has not: the message lists
 * those it has, other flags, a format that does not hold the map, memory that cannot hold the images, images that are
 * not done, a request of `FT_OUTPUT_LATENTS`), `FT_ERROR_BUSY`, `FT_ERROR_PANIC`, `FT_ERROR_INVALID_HANDLE`. Threads:
 * one at a time per session.
 */
ft_status ft_session_get_map(ft_session *session,
                             ft_map map,
                             ft_map_flags flags,
                             const ft_pixels *pixels);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif /* FLOWTURBO_H */
