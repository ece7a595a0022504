// Times whole training steps on a GPU and prints JSON.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/backend/cuda.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/train/training_step.hpp>

#include "machine.hpp"
#include "serve.hpp"
#include "workload.hpp"

using namespace dssl;
using namespace dssl::benchmarks;
using nlohmann::json;

namespace {

struct Options {
  std::string arch = "small16";
  std::string precision = "bf16";
  Index batch = 64;
  Index prototypes = 65'536;
  int steps = 20;
  int warm_up = 5;
};

Precision precision_of(std::string_view name) {
  if (name == "f32") return Precision::full;
  if (name == "tf32") return Precision::tf32;
  if (name == "bf16") return Precision::bf16;
  throw OptionError("precision", name, "f32, tf32 or bf16");
}

/// FLOP a second of a square linear layer, the roundings of its operands among them: what the step's own
/// products could reach at best.
double linear_layer_flops(const Cuda& cuda) {
  constexpr Index n = 8192;
  constexpr int repeats = 10;
  const Buffer room = cuda.allocate(3 * static_cast<std::size_t>(n * n) * sizeof(float));
  auto* const x = reinterpret_cast<float*>(room.data());
  const auto multiply = [&] {
    cuda.linear_forward(MatrixView<float>(x, n, n), MatrixView<const float>(x + n * n, n, n),
                        MatrixView<const float>(x + 2 * n * n, n, n), {});
  };
  multiply();
  cuda.synchronise();
  const double seconds = seconds_of([&] {
    for (int i = 0; i < repeats; ++i) multiply();
    cuda.synchronise();
  });
  return 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) * repeats / seconds;
}

/// Views and points of random numbers: what a step costs does not depend on them.
ViewBatch drawn_batch(const BatchShape& shape) {
  ViewBatch batch = ViewBatch::of(shape);
  RandomStream random({.seed = 1});
  for (auto& images : batch.images) {
    for (float& value : images) value = static_cast<float>(random.uniform(-2.0, 2.0));
  }
  for (auto* points : {&batch.teacher_points, &batch.student_points}) {
    for (Point& p : *points) {
      p.x = random.uniform(-1.0, 1.0);
      p.y = random.uniform(-1.0, 1.0);
    }
  }
  return batch;
}

template <class Recipe>
void measure(const Options& options) {
  const Workload workload{.batch = options.batch, .prototypes = options.prototypes};
  const Cuda cuda(CudaOptions{.precision = precision_of(options.precision)});
  const double products = linear_layer_flops(Cuda(CudaOptions{.precision = precision_of(options.precision)}));
  TrainingStep<Recipe, Cuda> step(cuda,
                                  StepOptions{.shape = workload.shape(Recipe::Backbone::config.channels),
                                              .prototypes = workload.prototypes});
  initialise(cuda, step.student(), step.layout(), 1);
  cuda.copy(step.teacher(), step.student());

  ViewBatch batch = drawn_batch(workload.shape(Recipe::Backbone::config.channels));
  Index done = 0;
  double loss = 0;
  const auto run = [&] {
    for (std::size_t b = 0; b < batch.samples.size(); ++b) {
      batch.samples[b] = done * workload.batch + static_cast<Index>(b);
    }
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, 0.04);
    step.update(report, {.optimiser = {.learning_rate = 1e-4, .weight_decay = 0.04, .step = done},
                         .teacher_momentum = 0.996});
    ++done;
    loss = report.loss;
    cuda.synchronise();
  };
  for (int i = 0; i < options.warm_up; ++i) run();
  std::vector<double> seconds;
  for (int i = 0; i < options.steps; ++i) seconds.push_back(seconds_of(run));

  const double middle = median(seconds);
  const double flop = step_flop(Recipe::Backbone::config, Recipe::Head::config, workload);
  json plan = json::array();
  for (const auto& entry : step.memory_plan().entries)
    plan.push_back({{"name", entry.name}, {"bytes", entry.bytes}});
  const json out{
      {"program", "dssl-cuda-step"},
      {"backend", cuda.describe()},
      {"arch", options.arch},
      {"precision", options.precision},
      {"batch", options.batch},
      {"prototypes", options.prototypes},
      {"seconds", seconds_json(seconds)},
      {"images_per_second", static_cast<double>(options.batch) / middle},
      {"flop", flop},
      {"flops", flop / middle},
      {"linear_layer_flops", products},
      {"utilisation", flop / middle / products},
      {"memory",
       {{"plan", step.memory_plan().total()}, {"scratch", cuda.scratch_bytes()}, {"plan_parts", plan}}},
      {"loss", loss},
      {"machine", machine_json()}};
  std::printf("%s\n", out.dump(2).c_str());
}

void run(const Options& options) {
  if (options.arch == "tiny16") return measure<Published<ViT<vit_tiny16>>>(options);
  if (options.arch == "small16") return measure<Published<ViT<vit_small16>>>(options);
  if (options.arch == "base16") return measure<Published<ViT<vit_base16>>>(options);
  throw OptionError("arch", options.arch, "tiny16, small16 or base16");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times training steps (2 + 4 views at 224, K 2) on a GPU and prints JSON.", "dssl-cuda-step"};
  Options options;
  app.add_option("--arch", options.arch, "tiny16, small16 or base16")->capture_default_str();
  app.add_option("--precision", options.precision, "f32, tf32 or bf16")->capture_default_str();
  app.add_option("--batch", options.batch, "images a step")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--prototypes", options.prototypes, "P")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--steps", options.steps, "timed steps")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up, "steps before them")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  return run_measurement(app, argc, argv, [&] { run(options); });
}
