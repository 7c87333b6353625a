// An image of each class, four classes at a time, on the program's own threads.
//
// c++ -std=c++17 batch.cpp -pthread $(pkg-config --cflags --libs flowturbo) && ./a.out models/textures .
#include <algorithm>
#include <cstdio>
#include <flowturbo.hpp>
#include <system_error>
#include <thread>

/// A stand-in for an engine's job system: a thread for each body. What no thread is there for may be left out.
static void run_jobs(std::uint32_t lanes, const std::function<void(std::uint32_t)>& body) {
  std::vector<std::thread> others;
  try {
    for (std::uint32_t i = 1; i < lanes; i++) others.emplace_back(body, i);
  } catch (const std::system_error&) {
  }
  body(0);
  for (std::thread& other : others) other.join();
}

int main(int count, char** arguments) try {
  if (count != 3) return std::fprintf(stderr, "usage: batch BUNDLE FOLDER\n"), 2;
  flowturbo::model_options options;
  options.lanes = std::max(1u, std::thread::hardware_concurrency());
  options.parallel_for = run_jobs;
  const flowturbo::model model = flowturbo::model::open(arguments[1], options);
  flowturbo::session session(model);
  const std::uint32_t classes = model.info().class_count;
  for (std::uint32_t first = 0; first < classes; first += 4) {
    flowturbo::request request;
    for (std::uint32_t c = first; c < std::min(first + 4, classes); c++) request.classes.push_back(c);
    request.progress = [](const ft_progress& progress) {
      std::printf("\r%u/%u", progress.step, progress.steps);
      return true;
    };
    const std::vector<flowturbo::image> images = session.generate(request);
    for (std::size_t i = 0; i < images.size(); i++) {
      const std::string label = model.class_label(request.classes[i]);
      images[i].save_png(std::string(arguments[2]) + "/" + label + ".png");
      std::printf(" %s", label.c_str());
    }
    std::printf("\n");
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
