// dssl-step: times the whole training step of a published workload, alone or in turn with a peer.
#include <algorithm>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include <common/measured_step.hpp>
#include <dssl/train/training_step.hpp>

#include "scaling.hpp"
#include "serve.hpp"
#include "step_start.hpp"
#include "timed_backend.hpp"
#include "workload.hpp"

namespace {

using namespace dssl;
using namespace dssl::benchmarks;
using nlohmann::json;

struct Options {
  std::string arch = "small16";
  std::string precision = "f32";
  int threads = 0;
  int steps = 7;
  int warm_up = 3;
  Index batch = 0;       // 0: the workload's own
  Index prototypes = 0;  // 0: the workload's own
  bool recompute = false;
  bool stream_views = false;
  bool parts = false;
  bool scaling = false;
  bool serve = false;
  std::string start;        // weights, views, points and multipliers to begin from
  std::string write_start;  // where to write those of this program
};

template <class Recipe, class B>
void measure(const Options& options, Workload workload, std::string_view name, B backend,
             ScalingModel* scaling = nullptr) {
  const std::size_t at_start = resident_bytes("VmRSS");
  if (options.batch > 0) workload.batch = options.batch;
  if (options.prototypes > 0) workload.prototypes = options.prototypes;
  StepOptions step_options{.shape = workload.shape(Recipe::Backbone::config.channels),
                           .prototypes = workload.prototypes,
                           .recompute = options.recompute,
                           .stream_views = options.stream_views};
  programs::MeasuredStep<TrainingStep<Recipe, B>> measured(backend, step_options);
  const auto& step = measured.step();
  if (!options.start.empty()) measured.begin_with(read_start(step, options.start));
  load_weights(step, options.start);
  if (!options.write_start.empty()) {
    return write_start(step, measured.start(), measured.numbers(), options.write_start);
  }

  const double flop = step_flop(Recipe::Backbone::config, Recipe::Head::config, workload);
  json out{{"program", "dssl-step"},
           {"workload",
            {{"arch", name},
             {"batch", workload.batch},
             {"views", step_options.shape.view_count()},
             {"global_size", workload.global_size},
             {"local_size", workload.local_size},
             {"points", workload.points},
             {"prototypes", workload.prototypes}}},
           {"parameters", step.layout().parameter_count()},
           {"backend", backend.describe()},
           {"precision", options.precision},
           {"recompute", options.recompute},
           {"stream_views", options.stream_views},
           {"flop", flop},
           {"machine", machine_json()}};
  json plan = json::array();
  for (const auto& entry : step.memory_plan().entries)
    plan.push_back({{"name", entry.name}, {"bytes", entry.bytes}});
  if (options.serve) {
    serve(
        out, at_start, [&] { measured.run(); }, [&] { return measured.check(); });
    return;
  }

  const int threads = options.threads > 0 ? options.threads : processors();
  const Ceilings ceilings = measure_ceilings(threads);
  for (int i = 0; i < options.warm_up; ++i) measured.run();
  reset_peak_memory();
  if constexpr (requires { backend.ledger(); }) backend.clear();
  if (scaling != nullptr) scaling->clear();
  const LoadWatch watch;
  const std::clock_t processor = std::clock();
  std::vector<double> seconds;
  for (int i = 0; i < options.steps; ++i) seconds.push_back(seconds_of([&] { measured.run(); }));

  const double others = watch.others();
  const double processor_seconds =
      static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC / static_cast<double>(seconds.size());
  const double middle = median(seconds);
  out["threads"] = threads;
  out["others_load"] = others;
  out["processor_seconds"] = processor_seconds;
  out["warm_up_steps"] = options.warm_up;
  out["seconds"] = seconds_json(seconds);
  out["images_per_second"] = static_cast<double>(workload.batch) / middle;
  out["flops"] = flop / middle;
  out["ceiling"] = {{"flops", ceilings.flops(options.precision)}, {"bytes", ceilings.bytes}};
  out["of_ceiling"] = flop / middle / ceilings.flops(options.precision);
  out["memory"] = {{"plan", step.memory_plan().total()},
                   {"plan_parts", plan},
                   {"scratch", backend.scratch_bytes()},
                   {"peak", resident_bytes("VmHWM")},
                   {"at_start", at_start}};
  if constexpr (requires { backend.ledger(); }) {
    double timed = 0;
    for (const auto& [key, part] : backend.ledger()) timed += part.seconds / options.steps;
    double mean = 0;
    for (const double s : seconds) mean += s / options.steps;
    out["parts"] = parts_json(backend.ledger(), options.steps, ceilings.flops(options.precision), ceilings.bytes);
    out["outside_parts"] = mean - timed;
    if (scaling != nullptr) {
      double bytes = 0;
      for (const auto& [key, part] : backend.ledger()) bytes += part.bytes / options.steps;
      out["scaling"] = scaling->json(mean, options.steps);
      out["scaling"]["bytes"] = bytes;
    }
  }
  std::printf("%s\n", out.dump(2).c_str());
}

void run(const Options& options) {
  bool found = false;
  each_workload([&]<class Recipe>(std::string_view name, const Workload& workload) {
    if (name != options.arch) return;
    found = true;
    ScalingModel scaling;
    if (options.scaling) {
      with_backend(
          options.precision, 1,
          [&]<class B>(const B& backend) {
            measure<Recipe>(options, workload, name, TimedBackend<B>(backend), &scaling);
          },
          &scaling);
      return;
    }
    with_backend(options.precision, options.threads, [&]<class B>(const B& backend) {
      if (options.parts) {
        measure<Recipe>(options, workload, name, TimedBackend<B>(backend));
      } else {
        measure<Recipe>(options, workload, name, backend);
      }
    });
  });
  if (!found) throw OptionError("arch", options.arch, "small16, tiny16 or nano8");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times the training step of a published workload and prints JSON.", "dssl-step"};
  Options options;
  app.add_option("--arch", options.arch, "small16, tiny16 or nano8")->capture_default_str();
  app.add_option("--precision", options.precision, "f32, f32-plain (no bf16 parts), or bf16 products")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "0: as many as the process may use")->capture_default_str();
  app.add_option("--steps", options.steps, "timed steps")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up, "steps before them")->capture_default_str();
  app.add_option("--batch", options.batch, "images a step; 0: the workload's own")->capture_default_str();
  app.add_option("--prototypes", options.prototypes, "0: the workload's own")->capture_default_str();
  app.add_flag("--recompute", options.recompute, "keep only what enters each block and compute the rest again");
  app.add_flag("--stream-views", options.stream_views, "the student's views one after the other");
  app.add_flag("--parts", options.parts, "time every primitive too");
  app.add_flag("--scaling", options.scaling,
               "one thread, and what up to 64 would take by the times of all tasks");
  app.add_flag("--serve", options.serve, "make a step for each line 'step' on stdin");
  app.add_option("--start", options.start, "begin from the weights and views of this file");
  app.add_option("--write-start", options.write_start,
                 "write weights and views for --start and for a peer, no more");
  return run_measurement(app, argc, argv, [&] { run(options); });
}
