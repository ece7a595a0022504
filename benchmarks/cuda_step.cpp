// Times whole training steps on a GPU, alone or in turn with a peer, or their parts, and prints JSON.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <common/measured_step.hpp>
#include <dssl/backend/cuda.hpp>
#include <dssl/core/error.hpp>
#include <dssl/train/training_step.hpp>

#include "machine.hpp"
#include "serve.hpp"
#include "step_start.hpp"
#include "timed_backend.hpp"
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
  double stochastic_depth = 0.1;
  bool graphs = false;
  bool recompute = false;
  bool stream_views = false;
  int steps = 20;
  int warm_up = 5;
  bool parts = false;
  bool serve = false;
  std::string start;        // weights, views, points and multipliers to begin from
  std::string write_start;  // where to write those of this program
};

Precision precision_of(std::string_view name) {
  if (name == "f32") return Precision::full;
  if (name == "tf32") return Precision::tf32;
  if (name == "bf16") return Precision::bf16;
  throw OptionError("precision", name, "f32, tf32 or bf16");
}

/// Seconds that a call takes on the device, of several one after the other.
template <class Call>
double device_seconds(const Cuda& cuda, const Call& call) {
  constexpr int repeats = 10;
  call();
  cuda.synchronise();
  return seconds_of([&] {
           for (int i = 0; i < repeats; ++i) call();
           cuda.synchronise();
         }) /
         repeats;
}

/// What this device does at best.
struct DeviceCeilings {
  double flops = 0;            ///< FLOP/s of a square linear layer, the roundings of its operands among them
  double bytes = 0;            ///< bytes/s of a copy, read and written
  double launch_and_wait = 0;  ///< seconds of the smallest call that is waited for
};

/// Takes 1 GiB of the device, and gives it back.
DeviceCeilings measure_device(const Cuda& cuda) {
  constexpr Index n = 8192;
  const Buffer room = cuda.allocate(4 * static_cast<std::size_t>(n * n) * sizeof(float));
  auto* const x = reinterpret_cast<float*>(room.data());
  DeviceCeilings out;
  out.flops = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) /
              device_seconds(cuda, [&] {
                cuda.linear_forward(MatrixView<float>(x, n, n), MatrixView<const float>(x + n * n, n, n),
                                    MatrixView<const float>(x + 2 * n * n, n, n), {});
              });
  out.bytes = 4.0 * static_cast<double>(n * n) * sizeof(float) / device_seconds(cuda, [&] {
                cuda.copy(VectorView<float>(x, 2 * n * n), VectorView<const float>(x + 2 * n * n, 2 * n * n));
              });
  std::vector<double> waits;
  for (int i = 0; i < 100; ++i) {
    waits.push_back(seconds_of([&] {
      cuda.fill(VectorView<float>(x, 1), 0.0F);
      cuda.synchronise();
    }));
  }
  out.launch_and_wait = median(waits);
  return out;
}

/// A step on a device with what it begins from; B is `Cuda`, or `TimedBackend<Cuda>`.
template <class Recipe, class B>
class DeviceStep {
 public:
  DeviceStep(const Options& options, const Cuda& cuda, const B& backend)
      : x_cuda(cuda),
        x_workload{.batch = options.batch, .prototypes = options.prototypes},
        x_measured(backend, StepOptions{.shape = x_workload.shape(Recipe::Backbone::config.channels),
                                        .prototypes = x_workload.prototypes,
                                        .stochastic_depth = options.stochastic_depth,
                                        .recompute = options.recompute,
                                        .stream_views = options.stream_views}) {
    if (!options.start.empty()) x_measured.begin_with(read_start(step(), options.start));
    load_weights(step(), options.start);
  }

  /// A step until the device has done it.
  StepReport run() {
    const StepReport report = x_measured.run();
    x_cuda.synchronise();
    return report;
  }
  /// Losses and gradient norm of a step with the start's own multipliers.
  std::vector<double> check() {
    std::vector<double> found = x_measured.check();
    x_cuda.synchronise();
    return found;
  }

  [[nodiscard]] Numbers numbers() const { return x_measured.numbers(); }
  [[nodiscard]] const Start& start() const { return x_measured.start(); }
  [[nodiscard]] const TrainingStep<Recipe, B>& step() const { return x_measured.step(); }
  /// Of the device: all that the step takes.
  [[nodiscard]] std::size_t bytes() const { return step().memory_plan().total(); }

  /// What every result says of itself.
  [[nodiscard]] json describe(const Options& options) const {
    json plan = json::array();
    for (const auto& entry : step().memory_plan().entries)
      plan.push_back({{"name", entry.name}, {"bytes", entry.bytes}});
    return {{"program", "dssl-cuda-step"},
            {"backend", x_cuda.describe()},
            {"arch", options.arch},
            {"precision", options.precision},
            {"batch", options.batch},
            {"prototypes", options.prototypes},
            {"stochastic_depth", options.stochastic_depth},
            {"graphs", options.graphs},
            {"recompute", options.recompute},
            {"stream_views", options.stream_views},
            {"workload", {{"arch", options.arch}, {"batch", options.batch}, {"prototypes", options.prototypes}}},
            {"flop", step_flop(Recipe::Backbone::config, Recipe::Head::config, x_workload)},
            {"memory", {{"plan", bytes()}, {"plan_parts", plan}}},
            {"machine", machine_json()}};
  }

 private:
  Cuda x_cuda;
  Workload x_workload;
  programs::MeasuredStep<TrainingStep<Recipe, B>> x_measured;
};

/// Seconds of each of the timed steps, after those of the warm-up.
template <class Step, class Begin>
std::vector<double> timed_steps(const Options& options, Step& step, double& loss, const Begin& begin) {
  for (int i = 0; i < options.warm_up; ++i) step.run();
  begin();
  std::vector<double> seconds;
  for (int i = 0; i < options.steps; ++i) seconds.push_back(seconds_of([&] { loss = step.run().loss; }));
  return seconds;
}

template <class Recipe>
void measure(const Options& options) {
  const CudaOptions how{.precision = precision_of(options.precision), .graphs = options.graphs};
  const Cuda cuda(how);
  // By a backend of its own, which gives its scratch back.
  const bool alone = !options.serve && options.write_start.empty();
  const DeviceCeilings best = alone ? measure_device(Cuda(how)) : DeviceCeilings{};
  DeviceStep<Recipe, Cuda> step(options, cuda, cuda);
  if (!options.write_start.empty()) return write_start(step.step(), step.start(), step.numbers(), options.write_start);
  if (options.serve) {
    serve(
        step.describe(options), 0, [&] { step.run(); }, [&] { return step.check(); }, [&] { return step.bytes(); });
    return;
  }
  double loss = 0;
  const std::vector<double> seconds = timed_steps(options, step, loss, [] {});
  const double middle = median(seconds);
  json out = step.describe(options);
  const double flop = out["flop"];
  out.update({{"seconds", seconds_json(seconds)},
              {"images_per_second", static_cast<double>(options.batch) / middle},
              {"flops", flop / middle},
              {"linear_layer_flops", best.flops},
              {"copy_bytes", best.bytes},
              {"utilisation", flop / middle / best.flops},
              {"loss", loss}});
  std::printf("%s\n", out.dump(2).c_str());
}

/// The same steps with every primitive waited for: where their time goes.
template <class Recipe>
void measure_parts(const Options& options) {
  const CudaOptions how{.precision = precision_of(options.precision), .graphs = options.graphs};
  const Cuda cuda(how);
  const DeviceCeilings best = measure_device(Cuda(how));
  TimedBackend<Cuda> timed(cuda);
  DeviceStep<Recipe, TimedBackend<Cuda>> step(options, cuda, timed);
  double loss = 0;
  const std::vector<double> seconds = timed_steps(options, step, loss, [&] { timed.clear(); });
  double mean = 0;
  for (const double s : seconds) mean += s / options.steps;
  double inside = 0;
  for (const auto& [key, part] : timed.ledger()) inside += part.seconds / options.steps;
  json out = step.describe(options);
  out.update({{"seconds", seconds_json(seconds)},
              {"linear_layer_flops", best.flops},
              {"copy_bytes", best.bytes},
              {"launch_and_wait_seconds", best.launch_and_wait},
              {"parts", parts_json(timed.ledger(), options.steps, best.flops, best.bytes)},
              {"outside_parts", mean - inside},
              {"loss", loss}});
  std::printf("%s\n", out.dump(2).c_str());
}

template <class Recipe>
void measure_as_asked(const Options& options) {
  if (options.parts) {
    measure_parts<Recipe>(options);
  } else {
    measure<Recipe>(options);
  }
}

void run(const Options& options) {
  if (options.arch == "tiny16") return measure_as_asked<Published<ViT<vit_tiny16>>>(options);
  if (options.arch == "small16") return measure_as_asked<Published<ViT<vit_small16>>>(options);
  if (options.arch == "base16") return measure_as_asked<Published<ViT<vit_base16>>>(options);
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
  app.add_option("--stochastic-depth", options.stochastic_depth, "rate of the last block")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.99));
  auto* const graphs = app.add_flag("--graphs", options.graphs,
                                    "passes that repeat as CUDA graphs: the teacher's, the student's at rate 0");
  app.add_flag("--recompute", options.recompute, "keep only what enters each block and compute the rest again");
  app.add_flag("--stream-views", options.stream_views, "the student's views one after the other");
  app.add_option("--steps", options.steps, "timed steps")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up, "steps before them")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_flag("--parts", options.parts, "time every primitive, each waited for, in place of whole steps")
      ->excludes(graphs);
  app.add_flag("--serve", options.serve, "make a step for each line 'step' on stdin");
  app.add_option("--start", options.start, "begin from the weights and views of this file");
  app.add_option("--write-start", options.write_start, "write weights and views for --start and for a peer, no more");
  return run_measurement(app, argc, argv, [&] { run(options); });
}
