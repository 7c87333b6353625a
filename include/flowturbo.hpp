// flowturbo for C++17: flowturbo.h with owners, views and lambdas. Header only. Licence: MIT OR Apache-2.0.
//
//   flowturbo::model model = flowturbo::model::open("models/textures");
//   flowturbo::session session(model);
//   flowturbo::request request;
//   request.classes = {model.find_class("grass"), model.find_class("sand")};
//   std::vector<flowturbo::image> images = session.generate(request);
//   images[0].save_png("grass.png");
//
// ERRORS are exceptions of type flowturbo::error. With FLOWTURBO_NO_EXCEPTIONS defined nothing throws: functions that
// can fail return a flowturbo::result<T>, true if it holds a T, otherwise with an error(). Files with and without it
// may be parts of one program: their types are different ones.
//
// OWNERSHIP. model, session and cancel_token own their handles; they move and do not copy. What a request points at
// (a cancel token, noise) must be there while it is used. A progress lambda is kept until the session takes another
// request or is reset; one that throws stops the generation, and its exception comes out of the call that ran it. An
// exception in a model's parallel_for ends the program: nothing can go on without the threads.
//
// THREADS are as flowturbo.h says: a model is for all, a session for one at a time.
#ifndef FLOWTURBO_HPP
#define FLOWTURBO_HPP

#if !(defined(_MSVC_LANG) ? _MSVC_LANG >= 201703L : __cplusplus >= 201703L)
#error "flowturbo.hpp wants C++17 or newer: -std=c++17, /std:c++17"
#elif !defined(FLOWTURBO_NO_EXCEPTIONS) && !defined(__cpp_exceptions) && !defined(__EXCEPTIONS) && !defined(_CPPUNWIND)
#error "without exceptions flowturbo.hpp wants FLOWTURBO_NO_EXCEPTIONS defined: functions then return results"
#else

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "flowturbo.h"

// One for each way to tell of errors, so that files of both ways can be linked together.
#ifdef FLOWTURBO_NO_EXCEPTIONS
#define FLOWTURBO_ERRORS results
#else
#define FLOWTURBO_ERRORS exceptions
#endif

namespace flowturbo {
inline namespace FLOWTURBO_ERRORS {

/// What failed: a status for programs, a line for people.
class error : public std::runtime_error {
 public:
  error(ft_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  /// Of the call that just failed on this thread.
  explicit error(ft_status status) : error(status, ft_last_error_message()) {}
  ft_status status() const noexcept { return status_; }

 private:
  ft_status status_;
};

#ifdef FLOWTURBO_NO_EXCEPTIONS
/// A value, or why there is none.
template <class T>
class [[nodiscard]] result {
 public:
  result(T value) : value_(std::move(value)) {}
  result(flowturbo::error why) : error_(std::move(why)) {}
  explicit operator bool() const noexcept { return value_.has_value(); }
  T& operator*() & { return *value_; }
  T&& operator*() && { return std::move(*value_); }
  T* operator->() { return &*value_; }
  const flowturbo::error& error() const { return *error_; }

 private:
  std::optional<T> value_;
  std::optional<flowturbo::error> error_;
};

/// Success, or why not.
template <>
class [[nodiscard]] result<void> {
 public:
  result() = default;
  result(flowturbo::error why) : error_(std::move(why)) {}
  explicit operator bool() const noexcept { return !error_.has_value(); }
  const flowturbo::error& error() const { return *error_; }

 private:
  std::optional<flowturbo::error> error_;
};
#else
/// Just the value: errors are thrown.
template <class T>
using result = T;
#endif

namespace detail {

#ifdef FLOWTURBO_NO_EXCEPTIONS
template <class T>
result<T> fail(error why) {
  return result<T>(std::move(why));
}
#else
template <class T>
[[noreturn]] result<T> fail(error why) {
  throw why;
}
#endif

inline result<void> done(ft_status status) {
  if (status != FT_OK) return fail<void>(error(status));
  return result<void>();
}

/// No exception may go through the library: it counts as false.
template <class Call>
bool stays_inside(Call call, std::exception_ptr* thrown = nullptr) {
#ifdef FLOWTURBO_NO_EXCEPTIONS
  (void)thrown;
  return call();
#else
  try {
    return call();
  } catch (...) {
    if (thrown) *thrown = std::current_exception();
    return false;
  }
#endif
}

/// Frees a handle, and lets go of what it needs only then.
template <class T, void (*Free)(T*)>
struct free_by {
  std::shared_ptr<void> needed;
  void operator()(T* handle) const noexcept { Free(handle); }
};
template <class T, void (*Free)(T*)>
using owner = std::unique_ptr<T, free_by<T, Free>>;

}  // namespace detail

/// Some values of the caller's: a pointer and a count. Made of an array, a vector, a std::span; not of a vector that
/// is about to go.
template <class T>
class view {
  template <class Range>
  using element = std::remove_pointer_t<decltype(std::declval<Range&>().data())>;
  /// The same type, but for const.
  template <class Range>
  using fits = std::enable_if_t<std::is_convertible_v<element<Range> (*)[], T (*)[]>>;

 public:
  view() = default;
  view(T* data, std::size_t size) : data_(data), size_(size) {}
  template <class Range, class = fits<Range>>
  view(Range& range) : view(range.data(), range.size()) {}
  template <class Range, class = fits<const Range>, class = std::enable_if_t<std::is_trivially_destructible_v<Range>>>
  view(const Range&& range) : view(range.data(), range.size()) {}
  template <std::size_t N>
  view(T (&array)[N]) : view(array, N) {}
  T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  T* begin() const noexcept { return data_; }
  T* end() const noexcept { return data_ + size_; }
  T& operator[](std::size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/// What a pixel is made of.
enum class pixel_format : ft_pixel_format {
  rgb8 = FT_PIXEL_RGB8,
  rgba8 = FT_PIXEL_RGBA8,
  bgra8 = FT_PIXEL_BGRA8,
  rgb_f16 = FT_PIXEL_RGB_F16,
  rgb_f32 = FT_PIXEL_RGB_F32,
  grey8 = FT_PIXEL_GREY8,
  grey16 = FT_PIXEL_GREY16,
  grey_f32 = FT_PIXEL_GREY_F32,
};

/// The caller's memory for images; strides of 0 leave no gaps.
inline ft_pixels pixels(pixel_format format, void* data, std::size_t bytes, std::size_t row_stride = 0,
                        std::size_t image_stride = 0) {
  ft_pixels pixels{};
  pixels.struct_size = sizeof pixels;
  pixels.format = static_cast<ft_pixel_format>(format);
  pixels.data = data;
  pixels.size = bytes;
  pixels.row_stride = row_stride;
  pixels.image_stride = image_stride;
  return pixels;
}

/// One image, RGBA8, without gaps.
struct image {
  std::uint32_t width = 0, height = 0;
  std::vector<std::uint8_t> rgba;

  result<void> save_png(const std::string& path) const {
    // The library only reads these.
    void* data = const_cast<std::uint8_t*>(rgba.data());
    const ft_pixels memory = pixels(pixel_format::rgba8, data, rgba.size());
    return detail::done(ft_pixels_save_png(&memory, width, height, path.c_str()));
  }
};

/// Stops generations from any thread.
class cancel_token {
 public:
#ifndef FLOWTURBO_NO_EXCEPTIONS
  cancel_token() : handle_(std::move(make().handle_)) {}
#endif
  /// Fails if 4096 of them are in use.
  static result<cancel_token> make() {
    ft_cancel_token* handle = nullptr;
    const ft_status status = ft_cancel_token_new(&handle);
    if (status != FT_OK) return detail::fail<cancel_token>(error(status));
    return cancel_token(handle);
  }
  void cancel() const noexcept { ft_cancel_token_cancel(handle_.get()); }
  void reset() const noexcept { ft_cancel_token_reset(handle_.get()); }
  bool is_cancelled() const noexcept {
    std::uint8_t cancelled = 0;
    ft_cancel_token_is_cancelled(handle_.get(), &cancelled);
    return cancelled != 0;
  }
  ft_cancel_token* handle() const noexcept { return handle_.get(); }

 private:
  explicit cancel_token(ft_cancel_token* handle) : handle_(handle) {}

  detail::owner<ft_cancel_token, ft_cancel_token_free> handle_;
};

/// Runs body(i) for each i below lanes on the program's own threads; see ft_parallel_for.
using parallel_for = std::function<void(std::uint32_t lanes, const std::function<void(std::uint32_t)>& body)>;

/// In what numbers networks multiply; see ft_precision.
enum class precision : std::uint32_t {
  f32 = FT_PRECISION_F32,
  f16_weights = FT_PRECISION_F16_WEIGHTS,
  bf16 = FT_PRECISION_BF16,
  int8 = FT_PRECISION_INT8,
  f16 = FT_PRECISION_F16,
  tf32 = FT_PRECISION_TF32,
  automatic = FT_PRECISION_AUTO,
};

/// The GPUs that FT_DEVICE_CUDA + N names by their places.
inline result<std::vector<ft_device_info>> devices() {
  using list = std::vector<ft_device_info>;
  std::uint32_t count = 0;
  ft_status status = ft_device_count(&count);
  list found(count);
  for (std::uint32_t i = 0; status == FT_OK && i < count; i++) {
    found[i].struct_size = sizeof found[i];
    status = ft_device_get_info(i, &found[i]);
  }
  if (status != FT_OK) return detail::fail<list>(error(status));
  return found;
}

struct model_options {
  std::uint32_t threads = 0, batch = 0;
  std::uint32_t lanes = 0;
  flowturbo::parallel_for parallel_for;
  /// Upper bounds on what comes from outside: ft_limits_init, then by hand.
  std::optional<ft_limits> limits;
  bool release_conditioning = false;
  /// The same bits on every processor and with any number of threads.
  bool deterministic = false;
  /// Stops the opening from another thread.
  const cancel_token* cancel = nullptr;
  /// See ft_option.
  std::vector<std::pair<std::string, std::string>> named;
  flowturbo::precision precision = flowturbo::precision::f32;
  /// FT_DEVICE_CPU, FT_DEVICE_AUTO, or FT_DEVICE_CUDA + N.
  ft_device device = FT_DEVICE_CPU;
};

struct request;

/// A bundle planned for this machine.
class model {
 public:
  /// A folder or a zip file.
  static result<model> open(const std::string& path, const model_options& options = {}) {
    return make(options, [&](const ft_model_options* raw, ft_model** out) {
      return ft_model_open(path.c_str(), raw, out);
    });
  }

  /// A zip file in memory, which the model takes over.
  template <class Bytes>
  static result<model> open_memory(Bytes bytes, const model_options& options = {}) {
    auto kept = std::make_unique<Bytes>(std::move(bytes));
    const Bytes& lent = *kept;
    return make(options, [&](const ft_model_options* raw, ft_model** out) {
      // Given back also after a failure, unless there is no memory at all.
      void* user_data = lent.size() > 0 ? kept.release() : kept.get();
      const ft_release_callback release = [](void* owned) { delete static_cast<Bytes*>(owned); };
      return ft_model_open_memory(lent.data(), lent.size(), lent.size() > 0 ? release : nullptr, user_data, raw, out);
    });
  }

  /// A zip file of `size` bytes behind read(offset, view<unsigned char>), which gives true if it filled the view.
  template <class Read>
  static result<model> open_reader(std::uint64_t size, Read read, const model_options& options = {}) {
    auto kept = std::make_unique<Read>(std::move(read));
    ft_reader reader{};
    reader.struct_size = sizeof reader;
    reader.size = size;
    reader.user_data = kept.get();
    reader.release = [](void* owned) { delete static_cast<Read*>(owned); };
    reader.read = [](void* user_data, std::uint64_t offset, void* buffer, std::size_t count) -> std::int32_t {
      const view<unsigned char> to(static_cast<unsigned char*>(buffer), count);
      return detail::stays_inside([&] { return (*static_cast<Read*>(user_data))(offset, to); }) ? 0 : 1;
    };
    return make(options, [&](const ft_model_options* raw, ft_model** out) {
      kept.release();
      return ft_model_open_reader(&reader, raw, out);
    });
  }

  /// Sizes, names, defaults; its texts live as long as the model.
  result<ft_model_info> info() const {
    ft_model_info info{};
    info.struct_size = sizeof info;
    const ft_status status = ft_model_get_info(handle_.get(), &info);
    if (status != FT_OK) return detail::fail<ft_model_info>(error(status));
    return info;
  }

  /// The label of a class.
  result<std::string> class_label(std::int64_t class_number) const {
    const char* label = nullptr;
    const ft_status status = ft_model_class_label(handle_.get(), class_number, &label);
    if (status != FT_OK) return detail::fail<std::string>(error(status));
    return std::string(label);
  }

  /// The class of a label, or of a number as text.
  result<std::int64_t> find_class(const std::string& name) const {
    std::int64_t found = 0;
    const ft_status status = ft_model_find_class(handle_.get(), name.c_str(), &found);
    if (status != FT_OK) return detail::fail<std::int64_t>(error(status));
    return found;
  }

  /// The name of a preset, 0 to preset_count - 1.
  result<std::string> preset_name(std::uint32_t index) const {
    const char* name = nullptr;
    const ft_status status = ft_model_preset_name(handle_.get(), index, &name);
    if (status != FT_OK) return detail::fail<std::string>(error(status));
    return std::string(name);
  }

  /// The sum of the FT_MAP_... that the model has.
  result<ft_map> maps() const {
    ft_map maps = 0;
    const ft_status status = ft_model_get_maps(handle_.get(), &maps);
    if (status != FT_OK) return detail::fail<ft_map>(error(status));
    return maps;
  }

  /// Plans what a request needs, and tells the memory it will take.
  result<ft_memory> prepare(const request& what) const;

  ft_model* handle() const noexcept { return handle_.get(); }

 private:
  friend class session;
  model() = default;

  template <class Open>
  static result<model> make(const model_options& options, Open open) {
    model made;
    std::shared_ptr<flowturbo::parallel_for> threads;
    ft_model_options raw{};
    raw.struct_size = sizeof raw;
    raw.limits = options.limits ? &*options.limits : nullptr;
    raw.release_conditioning = options.release_conditioning ? 1 : 0;
    raw.deterministic = options.deterministic ? 1 : 0;
    raw.precision = static_cast<ft_precision>(options.precision);
    raw.device = options.device;
    raw.cancel = options.cancel ? options.cancel->handle() : nullptr;
    raw.threads = options.threads;
    raw.batch = options.batch;
    std::vector<ft_option> named;
    for (const auto& [key, value] : options.named) named.push_back({key.c_str(), value.c_str()});
    raw.options = named.data();
    raw.option_count = named.size();
    if (options.parallel_for) {
      threads = std::make_shared<flowturbo::parallel_for>(options.parallel_for);
      raw.lanes = options.lanes;
      raw.parallel_data = threads.get();
      raw.parallel_for = [](void* user_data, std::uint32_t lanes, ft_parallel_body body, void* data) noexcept {
        (*static_cast<flowturbo::parallel_for*>(user_data))(lanes, [=](std::uint32_t i) { body(data, i); });
      };
    }
    ft_model* handle = nullptr;
    const ft_status status = open(&raw, &handle);
    if (status != FT_OK) return detail::fail<model>(error(status));
    made.handle_ = {handle, {threads}};
    return made;
  }

  detail::owner<ft_model, ft_model_free> handle_;
};

/// One generation.
struct request {
  /// One for each image; empty for as many as there are prompts, of no class.
  std::vector<std::int64_t> classes;
  std::uint64_t seed = 0;
  /// A seed for each image instead, and the stream of its seed that each one's noise is taken from; or empty.
  std::vector<std::uint64_t> seeds, streams;
  /// Empty for the model's own.
  std::string schedule;
  float guidance = static_cast<float>(FT_GUIDANCE_DEFAULT);
  /// Starting noise, instead of the seed's.
  view<const float> noise;
  const cancel_token* cancel = nullptr;
  /// Called after each step and each decoded image; false stops the generation.
  std::function<bool(const ft_progress&)> progress;
  /// `progress` is shown small previews.
  bool preview = false;
  /// A name from the bundle for schedule and guidance, or empty.
  std::string preset;
  /// FT_TILE_X, FT_TILE_Y or FT_TILE_BOTH: the axes along which images continue on their other side.
  ft_tile tile = FT_TILE_NONE;
  /// In pixels; 0 for the model's own.
  std::uint32_t width = 0, height = 0;
  /// Images to begin with, one for all or one for each class, and how much of the way to do anew.
  std::optional<ft_pixels> init;
  std::uint32_t init_count = 1;
  float strength = 1.0f;
  /// What of `init` to make anew, a byte a pixel: 0 stays, 255 is new.
  view<const std::uint8_t> mask;
  /// How far to turn the noise towards that of another seed, 0 to 1.
  float variation = 0.0f;
  std::uint64_t variation_seed = 0;
  /// A second class for each image, and how much of it, 0 to 1; or none.
  std::vector<std::pair<std::int64_t, float>> morphs;
  /// Do not decode.
  bool latents_only = false;
  /// Contexts one after another, for models that take them: one for all images or one for each; or empty.
  view<const float> context;
  std::size_t context_rows = 1;
  /// Likewise what guidance goes away from.
  view<const float> negative_context;
  std::size_t negative_context_rows = 1;
  /// What the images show, in words, UTF-8, for models with a text encoder: one for all or one for each; or empty.
  std::vector<std::string> prompts;
  /// What they do not.
  std::optional<std::string> negative_prompt;

  /// How many.
  std::size_t images() const { return classes.empty() ? prompts.size() : classes.size(); }
};

namespace detail {

/// A request as the library reads it. Points at the request, and at itself.
struct raw_request {
  ft_request raw{};
  std::vector<std::int64_t> classes;
  std::vector<float> amounts;
  std::vector<const char*> prompts;

  raw_request(const raw_request&) = delete;
  explicit raw_request(const request& what) {
    raw.struct_size = sizeof raw;
    raw.image_count = static_cast<std::uint32_t>(what.images());
    raw.classes = what.classes.empty() ? nullptr : what.classes.data();
    raw.seed = what.seed;
    raw.schedule = what.schedule.empty() ? nullptr : what.schedule.c_str();
    raw.guidance = what.guidance;
    raw.output = what.latents_only ? FT_OUTPUT_LATENTS : FT_OUTPUT_IMAGES;
    raw.noise = what.noise.data();
    raw.noise_count = what.noise.size();
    raw.cancel = what.cancel ? what.cancel->handle() : nullptr;
    raw.preview = what.preview ? FT_PREVIEW_LINEAR : FT_PREVIEW_NONE;
    raw.preset = what.preset.empty() ? nullptr : what.preset.c_str();
    raw.tile = what.tile;
    raw.width = what.width;
    raw.height = what.height;
    raw.strength = what.strength;
    raw.init = what.init ? &*what.init : nullptr;
    raw.init_count = what.init_count;
    raw.mask = what.mask.data();
    raw.mask_size = what.mask.size();
    raw.variation = what.variation;
    raw.variation_seed = what.variation_seed;
    raw.seeds = what.seeds.empty() ? nullptr : what.seeds.data();
    raw.seed_count = what.seeds.size();
    raw.streams = what.streams.empty() ? nullptr : what.streams.data();
    raw.stream_count = what.streams.size();
    raw.context = what.context.data();
    raw.context_count = what.context.size();
    raw.context_rows = what.context_rows;
    raw.negative_context = what.negative_context.data();
    raw.negative_context_count = what.negative_context.size();
    raw.negative_context_rows = what.negative_context_rows;
    for (const std::string& prompt : what.prompts) prompts.push_back(prompt.c_str());
    raw.prompts = prompts.empty() ? nullptr : prompts.data();
    raw.prompt_count = prompts.size();
    raw.negative_prompt = what.negative_prompt ? what.negative_prompt->c_str() : nullptr;
    for (const auto& [class_number, amount] : what.morphs) {
      classes.push_back(class_number);
      amounts.push_back(amount);
    }
    // One for each class; without amounts the library refuses them, instead of reading past their end.
    raw.morph_classes = classes.empty() ? nullptr : classes.data();
    raw.morph_amounts = classes.size() == what.images() ? amounts.data() : nullptr;
  }
};

}  // namespace detail

inline result<ft_memory> model::prepare(const request& what) const {
  const detail::raw_request filled(what);
  ft_memory memory{};
  memory.struct_size = sizeof memory;
  const ft_status status = ft_model_prepare(handle_.get(), &filled.raw, &memory);
  if (status != FT_OK) return detail::fail<ft_memory>(error(status));
  return memory;
}

/// Whether there is more to do.
enum class state { busy, done };

/// Room for one generation at a time.
class session {
 public:
#ifndef FLOWTURBO_NO_EXCEPTIONS
  explicit session(const model& of) : session(make(of)) {}
#endif
  static result<session> make(const model& of) {
    session made;
    ft_session* handle = nullptr;
    const ft_status status = ft_session_new(of.handle(), &handle);
    if (status != FT_OK) return detail::fail<session>(error(status));
    made.handle_ = {handle, {of.handle_.get_deleter().needed}};
    ft_model_info info{};
    info.struct_size = sizeof info;
    const ft_status told = ft_model_get_info(of.handle(), &info);
    if (told != FT_OK) return detail::fail<session>(error(told));
    made.width_ = info.width;
    made.height_ = info.height;
    made.latent_ = {info.latent_channels, info.latent_height, info.latent_width};
    made.cell_ = {info.cell_width, info.cell_height};
    return made;
  }

  /// Makes images, one for each class.
  result<std::vector<image>> generate(const flowturbo::request& what) {
    std::vector<image> images(what.images());
    const std::uint32_t width = what.width ? what.width : width_, height = what.height ? what.height : height_;
    const std::size_t each = std::size_t{width} * height * 4;
    // What is too large for any model is left to the library to refuse.
    std::vector<std::uint8_t> all(width > largest_ || height > largest_ ? 0 : each * images.size());
    const ft_pixels memory = pixels(pixel_format::rgba8, all.data(), all.size());
    const ft_status status = take(what, [&](const ft_request* raw) {
      return ft_session_generate(handle_.get(), raw, &memory);
    });
    if (status != FT_OK) return why<std::vector<image>>(status);
    for (std::size_t i = 0; i < images.size(); i++) {
      const auto* from = all.data() + i * each;
      images[i] = {width, height, std::vector<std::uint8_t>(from, from + each)};
    }
    return images;
  }

  /// Makes images in the caller's memory.
  result<void> generate_into(const flowturbo::request& what, const ft_pixels& memory) {
    return ended(take(what, [&](const ft_request* raw) {
      return ft_session_generate(handle_.get(), raw, what.latents_only ? nullptr : &memory);
    }));
  }

  /// Samples without decoding: [N, channels, height, width].
  result<std::vector<float>> latents(flowturbo::request what) {
    what.latents_only = true;
    const ft_status status = take(what, [&](const ft_request* raw) {
      return ft_session_generate(handle_.get(), raw, nullptr);
    });
    if (status != FT_OK) return why<std::vector<float>>(status);
    return last_latents(what.images(), what.width, what.height);
  }

  /// The latents of the last generation, of so many images of a size, 0 for the model's own.
  result<std::vector<float>> last_latents(std::size_t images, std::uint32_t width = 0, std::uint32_t height = 0) {
    std::vector<float> latents(latent_of(width, height) * images);
    const ft_status status = ft_session_get_latents(handle_.get(), latents.data(), latents.size());
    if (status != FT_OK) return why<std::vector<float>>(status);
    return latents;
  }

  /// Does all that a request needs before its first step.
  result<void> prepare(const flowturbo::request& what) {
    return ended(take(what, [&](const ft_request* raw) { return ft_session_prepare(handle_.get(), raw); }));
  }

  result<void> begin(const flowturbo::request& what) {
    return ended(take(what, [&](const ft_request* raw) { return ft_session_begin(handle_.get(), raw); }));
  }

  /// Works for about so long.
  result<state> step(std::uint64_t microseconds = FT_WHOLE_STEP) {
    std::uint8_t done = 0;
    const ft_status status = ft_session_step(handle_.get(), microseconds, &done);
    if (status != FT_OK) return why<state>(status);
    return done ? state::done : state::busy;
  }

  /// Gives the generation under way up, or forgets the last one, and lets its lambda go.
  result<void> reset() {
    const ft_status status = ft_session_reset(handle_.get());
    if (status == FT_OK) watch_ = nullptr;
    return ended(status);
  }

  /// Steps done, and all of them; none if nothing was begun.
  std::pair<std::uint32_t, std::uint32_t> steps() const noexcept {
    std::uint32_t made = 0, all = 0;
    ft_session_get_steps(handle_.get(), &made, &all);
    return {made, all};
  }

  result<void> preview(ft_preview kind, const ft_pixels& memory) {
    return ended(ft_session_preview(handle_.get(), kind, &memory));
  }

  result<void> finish(const ft_pixels& memory) { return ended(ft_session_finish(handle_.get(), &memory)); }

  /// One map, FT_MAP_..., of the images that were made last.
  result<void> map(ft_map map, const ft_pixels& memory, ft_map_flags flags = 0) {
    return ended(ft_session_get_map(handle_.get(), map, flags, &memory));
  }

  /// Latents of images of a size, 0 for the model's own.
  result<std::vector<float>> encode(const ft_pixels& pixels, std::uint32_t images, std::uint32_t width = 0,
                                    std::uint32_t height = 0) {
    std::vector<float> latents(latent_of(width, height) * images);
    const ft_status status =
        ft_session_encode(handle_.get(), &pixels, width, height, images, latents.data(), latents.size());
    if (status != FT_OK) return why<std::vector<float>>(status);
    return latents;
  }

  /// To images of a size, 0 for the model's own.
  result<void> decode(view<const float> latents, const ft_pixels& memory, std::uint32_t width = 0,
                      std::uint32_t height = 0) {
    return ended(ft_session_decode_sized(handle_.get(), latents.data(), latents.size(), width, height, &memory));
  }

  ft_session* handle() const noexcept { return handle_.get(); }

 private:
  /// Who hears of the steps, at a place of its own.
  struct watch {
    std::function<bool(const ft_progress&)> progress;
    std::exception_ptr thrown;
  };

  session() = default;

  /// Calls the library with a request. What it points at is the request's, but for the lambda, which is kept once the
  /// library has taken the request: one that is at work stays where it is.
  template <class Call>
  ft_status take(const flowturbo::request& what, Call call) {
    auto watching = std::make_unique<watch>();
    watching->progress = what.progress;
    detail::raw_request filled(what);
    if (what.progress) {
      filled.raw.progress = tell;
      filled.raw.progress_data = watching.get();
    }
    const ft_status status = call(&filled.raw);
    if (status != FT_ERROR_BUSY && status != FT_ERROR_INVALID_HANDLE) watch_ = std::move(watching);
    return status;
  }

  /// Floats of one latent.
  std::size_t latent_of(std::uint32_t width, std::uint32_t height) const {
    if (width > largest_ || height > largest_) return 0;
    const std::size_t columns = width && cell_[0] ? width / cell_[0] : latent_[2];
    const std::size_t rows = height && cell_[1] ? height / cell_[1] : latent_[1];
    return latent_[0] * rows * columns;
  }

  static std::int32_t tell(void* user_data, const ft_progress* progress) {
    watch& watching = *static_cast<watch*>(user_data);
    return detail::stays_inside([&] { return watching.progress(*progress); }, &watching.thrown) ? 0 : 1;
  }

  template <class T>
  result<T> why(ft_status status) {
#ifndef FLOWTURBO_NO_EXCEPTIONS
    if (watch_ && watch_->thrown) std::rethrow_exception(std::exchange(watch_->thrown, nullptr));
#endif
    return detail::fail<T>(error(status));
  }

  result<void> ended(ft_status status) {
    if (status != FT_OK) return why<void>(status);
    return result<void>();
  }

  std::unique_ptr<watch> watch_;
  detail::owner<ft_session, ft_session_free> handle_;
  std::uint32_t width_ = 0, height_ = 0;
  static constexpr std::uint32_t largest_ = 1u << 15;
  /// Channels, rows and columns of a latent; columns and rows of pixels in its cells.
  std::array<std::size_t, 3> latent_{};
  std::array<std::uint32_t, 2> cell_{};
};

}  // namespace FLOWTURBO_ERRORS
}  // namespace flowturbo

#undef FLOWTURBO_ERRORS

#endif  // a compiler that can read this
#endif
