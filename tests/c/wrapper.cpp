// The C++ wrapper, with exceptions and without. Arguments: a bundle, and the same as a zip file.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>
#if __cplusplus >= 202002L
#include <span>
#endif

#include "flowturbo.hpp"

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      std::fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);           \
      std::exit(1);                                                                                \
    }                                                                                              \
  } while (0)

#ifdef FLOWTURBO_NO_EXCEPTIONS
template <class T>
T must(flowturbo::result<T> got) {
  if (!got) {
    std::fprintf(stderr, "%s\n", got.error().what());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return *std::move(got);
}
#define MUST(call) must(call)
#define REFUSED(call, wanted)                        \
  do {                                               \
    const auto got_ = call;                          \
    CHECK(!got_ && got_.error().status() == wanted); \
  } while (0)
#else
#define MUST(call) (call)
#define REFUSED(call, wanted)                  \
  do {                                         \
    ft_status found_ = FT_OK;                  \
    try {                                      \
      (void)call;                              \
    } catch (const flowturbo::error& why) {    \
      found_ = why.status();                   \
      CHECK(std::strlen(why.what()) > 0);      \
    }                                          \
    CHECK(found_ == (wanted));                 \
  } while (0)
#endif

namespace ft = flowturbo;

static std::vector<unsigned char> read(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Counts itself, to see that what is lent is given back.
struct counted {
  static std::atomic<int> alive;
  std::vector<unsigned char> bytes;
  explicit counted(std::vector<unsigned char> of) : bytes(std::move(of)) { alive++; }
  counted(counted&& other) noexcept : bytes(std::move(other.bytes)) { alive++; }
  counted(const counted&) = delete;
  ~counted() { alive--; }
  const unsigned char* data() const { return bytes.data(); }
  std::size_t size() const { return bytes.size(); }
};
std::atomic<int> counted::alive{0};

static void opening(const char* bundle, const char* zip, const std::vector<std::uint8_t>& wanted) {
  const auto first = [](const ft::model& model) {
    ft::session session = MUST(ft::session::make(model));
    ft::request request;
    request.classes = {1};
    request.schedule = "H1R1";
    return MUST(session.generate(request))[0].rgba;
  };
  {
    const ft::model model = MUST(ft::model::open_memory(counted(read(zip))));
    CHECK(counted::alive == 1 && first(model) == wanted);
  }
  CHECK(counted::alive == 0);
  REFUSED(ft::model::open_memory(counted({1, 2, 3})), FT_ERROR_INVALID_BUNDLE);
  REFUSED(ft::model::open_memory(counted({})), FT_ERROR_INVALID_ARGUMENT);
  CHECK(counted::alive == 0);
  const auto size = read(zip).size();
  auto serve = [bytes = counted(read(zip))](std::uint64_t offset, ft::view<unsigned char> to) {
    std::memcpy(to.data(), bytes.data() + offset, to.size());
    return true;
  };
  CHECK(first(MUST(ft::model::open_reader(size, std::move(serve)))) == wanted);
  REFUSED(ft::model::open_reader(size, [](std::uint64_t, ft::view<unsigned char>) { return false; }), FT_ERROR_IO);

  std::atomic<int> calls{0};
  ft::model_options options;
  options.lanes = 2;
  options.parallel_for = [&](std::uint32_t lanes, const std::function<void(std::uint32_t)>& body) {
    calls++;
    std::thread other(body, lanes - 1);
    body(0);
    other.join();
  };
  options.limits.emplace();
  MUST(ft::detail::done(ft_limits_init(&*options.limits, sizeof(ft_limits))));
  options.limits->max_batch = 2;
  CHECK(first(MUST(ft::model::open(bundle, options))) == wanted && calls > 20);
  options.deterministic = true;
  options.named = {{"backend", "reference"}};
  REFUSED(ft::model::open(bundle, options), FT_ERROR_INVALID_ARGUMENT);
  options.deterministic = false;
  options.precision = ft::precision::int8;
  REFUSED(ft::model::open(bundle, options), FT_ERROR_INVALID_ARGUMENT);
  options.precision = ft::precision::f32;
  options.named = {{"backend", "none"}};
  REFUSED(ft::model::open(bundle, options), FT_ERROR_INVALID_ARGUMENT);
}

static void stepping(ft::session& session, const ft_model_info& info, ft::request request,
                     const std::vector<std::uint8_t>& wanted) {
  std::vector<std::uint8_t> rgba(wanted.size()), small(std::size_t{info.latent_width} * info.latent_height * 4);
  int heard = 0;
  request.progress = [&](const ft_progress& progress) { return progress.preview && ++heard > 0; };
  request.preview = true;
  MUST(session.prepare(request));
  MUST(session.begin(request));
  // The lambda is the session's now.
  request.progress = nullptr;
  while (MUST(session.step(500)) == ft::state::busy) {
    MUST(session.preview(FT_PREVIEW_LINEAR, ft::pixels(ft::pixel_format::bgra8, small.data(), small.size())));
  }
  MUST(session.finish(ft::pixels(ft::pixel_format::rgba8, rgba.data(), rgba.size())));
  CHECK(heard == 3 && rgba == wanted);
}

static void editing(ft::session& session, const ft_model_info& info, const ft::request& plain,
                    std::vector<std::uint8_t> begun) {
  ft::request request = plain;
  request.tile = FT_TILE_X;
  request.width = 2 * info.width;
  const std::vector<float> wide = MUST(session.latents(request));
  CHECK(wide.size() == std::size_t{2} * info.latent_channels * info.latent_height * info.latent_width);
  request.width = info.width + 1;
  REFUSED(session.latents(request), FT_ERROR_INVALID_ARGUMENT);

  request = plain;
  request.morphs = {{plain.classes[0], 0.5f}};
  const std::vector<float> same = MUST(session.latents(plain)), morphed = MUST(session.latents(request));
  for (std::size_t i = 0; i < same.size(); i++) CHECK(std::abs(same[i] - morphed[i]) < 1e-3f);
  request.classes.push_back(0);
  REFUSED(session.latents(request), FT_ERROR_INVALID_ARGUMENT);
  request = plain;
  request.variation = 0.5f;
  request.variation_seed = 9;
  CHECK(MUST(session.latents(request)) != same);
  request = plain;
  request.preset = "none such";
  REFUSED(session.latents(request), FT_ERROR_INVALID_ARGUMENT);

  if (!(info.networks & FT_NETWORK_ENCODER)) return;
  const std::vector<std::uint8_t> mask(std::size_t{info.width} * info.height, 0);
  request = plain;
  request.init = ft::pixels(ft::pixel_format::rgba8, begun.data(), begun.size());
  request.mask = mask;
  CHECK(MUST(session.generate(request))[0].rgba == begun);
  CHECK(MUST(session.encode(*request.init, 1)).size() == same.size());
}

int main(int count, char** arguments) {
  CHECK(count == 3);
  REFUSED(ft::model::open("nowhere"), FT_ERROR_IO);
  ft::model model = MUST(ft::model::open(arguments[1]));
  const std::string label = MUST(model.class_label(1));
  const ft_model_info info = MUST(model.info());
  ft::session session = MUST(ft::session::make(model));
  ft::request request;
  request.classes = {MUST(model.find_class(label))};
  REFUSED(model.find_class("no class"), FT_ERROR_INVALID_ARGUMENT);
  for (std::uint32_t i = 0; i < info.preset_count; i++) {
    request.preset = MUST(model.preset_name(i));
    CHECK(MUST(model.prepare(request)).session_bytes > std::size_t{info.width} * info.height * 3 * sizeof(float));
  }
  REFUSED(model.preset_name(info.preset_count), FT_ERROR_INVALID_ARGUMENT);
  request.preset = "none such";
  REFUSED(model.prepare(request), FT_ERROR_INVALID_ARGUMENT);
  request.preset.clear();
  request.schedule = "H1R1";
  const std::vector<std::uint8_t> wanted = MUST(session.generate(request))[0].rgba;
  opening(arguments[1], arguments[2], wanted);

  // Models and sessions move; a session outlives its model.
  ft::model moved = std::move(model);
  ft::session other = MUST(ft::session::make(moved));
  session = std::move(other);
  { const ft::model gone = std::move(moved); }
  CHECK(MUST(session.generate(request))[0].rgba == wanted);
  stepping(session, info, request, wanted);
  editing(session, info, request, wanted);

  const std::vector<float> latents = MUST(session.latents(request));
  std::vector<std::uint8_t> again(wanted.size());
  const ft_pixels memory = ft::pixels(ft::pixel_format::rgba8, again.data(), again.size());
  MUST(session.decode(latents, memory));
  CHECK(again == wanted);
#if __cplusplus >= 202002L
  MUST(session.decode(std::span<const float>(latents), memory));
  CHECK(again == wanted);
#endif
  request.noise = latents;
  MUST(session.generate_into(request, memory));
  CHECK(again != wanted);
  request.noise = {};
  CHECK(MUST(MUST(ft::model::open(arguments[1])).maps()) == FT_MAP_COLOR);
  MUST(session.generate_into(request, memory));
  again.assign(again.size(), 0);
  MUST(session.map(FT_MAP_COLOR, memory, FT_MAP_NORMAL_Y_DOWN));
  CHECK(again == wanted);
  REFUSED(session.map(FT_MAP_NORMAL, memory), FT_ERROR_INVALID_ARGUMENT);
  const ft_pixels grey = ft::pixels(ft::pixel_format::grey8, again.data(), again.size());
  REFUSED(session.map(FT_MAP_COLOR, grey), FT_ERROR_INVALID_ARGUMENT);

  const ft::cancel_token token = MUST(ft::cancel_token::make());
  request.cancel = &token;
  request.progress = [&](const ft_progress&) { return token.cancel(), true; };
  REFUSED(session.generate(request), FT_ERROR_CANCELLED);
  CHECK(token.is_cancelled());
  token.reset();
  request.progress = [](const ft_progress&) { return false; };
  REFUSED(session.generate(request), FT_ERROR_CANCELLED);
#ifndef FLOWTURBO_NO_EXCEPTIONS
  request.progress = [](const ft_progress&) -> bool { throw std::logic_error("mine"); };
  bool mine = false;
  try {
    session.generate(request);
  } catch (const std::logic_error& thrown) {
    mine = !std::strcmp(thrown.what(), "mine");
  }
  CHECK(mine);
#endif
  // Called from inside, the session is at work, and its lambda stays where it is.
  int heard = 0;
  request.cancel = nullptr;
  request.progress = [&](const ft_progress&) {
    ft::request inner;
    inner.classes = {0};
    REFUSED(session.begin(inner), FT_ERROR_BUSY);
    return ++heard > 0;
  };
  CHECK(MUST(session.generate(request))[0].rgba == wanted && heard == 3);
  request.progress = nullptr;
  // The model has no text encoder.
  ft::request prompted;
  prompted.prompts = {"moss", "wet sand"};
  CHECK(prompted.images() == 2);
  REFUSED(session.generate(prompted), FT_ERROR_INVALID_ARGUMENT);
  prompted = request;
  prompted.negative_prompt = "rust";
  REFUSED(session.generate(prompted), FT_ERROR_INVALID_ARGUMENT);
  CHECK(MUST(session.generate(request))[0].rgba == wanted);
  CHECK(MUST(session.last_latents(1)) == latents);
  MUST(session.reset());
  REFUSED(session.step(), FT_ERROR_INVALID_ARGUMENT);

  // What was moved from is told, not followed.
  const ft::session last = std::move(session);
  REFUSED(session.step(), FT_ERROR_INVALID_ARGUMENT);
  REFUSED(session.generate(request), FT_ERROR_INVALID_ARGUMENT);
  static_assert(!std::is_convertible_v<std::vector<int>&, ft::view<const float>>);
  static_assert(!std::is_convertible_v<std::vector<float>, ft::view<const float>>);
  static_assert(std::is_convertible_v<const std::vector<float>&, ft::view<const float>>);
  static_assert(!std::is_convertible_v<const std::vector<float>&, ft::view<float>>);
  return 0;
}
