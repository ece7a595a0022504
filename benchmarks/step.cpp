// dssl-step: times the whole training step of a published workload, alone or in turn with a peer.
#include <algorithm>
#include <cstdint>
#include <ctime>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/core/random.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/train/training_step.hpp>

#include "scaling.hpp"
#include "serve.hpp"
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
  bool parts = false;
  bool scaling = false;
  bool serve = false;
  std::string start;        // weights, views, points and multipliers to begin from
  std::string write_start;  // where to write those of this program
};

/// Numbers of the update. The learning rate is the published peak for the batch; the others are the first
/// step's.
struct Numbers {
  double learning_rate = 0;
  double weight_decay = 0.04;
  double momentum = 0.996;
  double temperature = 0.04;
};

/// Where a step begins, beside its weights: a batch, and multipliers of stochastic depth for `check`.
struct Start {
  ViewBatch batch;
  std::vector<float> keep;  // (depth,2,V*B)
};

std::vector<float> floats_of(const std::vector<Point>& points) {
  std::vector<float> out;
  for (const Point& p : points) {
    out.push_back(static_cast<float>(p.x));
    out.push_back(static_cast<float>(p.y));
  }
  return out;
}

std::vector<Point> points_of(std::span<const float> xy) {
  std::vector<Point> out;
  for (std::size_t i = 0; i < xy.size(); i += 2) {
    out.push_back({static_cast<double>(xy[i]), static_cast<double>(xy[i + 1])});
  }
  return out;
}

/// (V,depth*2,B) to (depth*2,V,B), or back with the first two extents exchanged.
std::vector<float> first_two_exchanged(std::span<const float> from, Index first, Index second, Index last) {
  std::vector<float> out(from.size());
  for (Index i = 0; i < first; ++i) {
    for (Index j = 0; j < second; ++j) {
      std::copy_n(from.begin() + (i * second + j) * last, last, out.begin() + (j * first + i) * last);
    }
  }
  return out;
}

template <class Step>
Start drawn_start(const Step& step) {
  const BatchShape& shape = step.options().shape;
  Start start{.batch = ViewBatch::of(shape), .keep = std::vector<float>(step.keep_size())};
  for (std::size_t v = 0; v < start.batch.images.size(); ++v) {
    RandomStream random({.seed = 2, .view = static_cast<std::uint32_t>(v)});
    for (float& x : start.batch.images[v]) x = static_cast<float>(random.normal());
  }
  RandomStream random({.seed = 2, .purpose = Purpose::points});
  std::vector<float> xy(2 * start.batch.teacher_points.size());
  for (float& x : xy) x = static_cast<float>(random.uniform(-1, 1));
  start.batch.teacher_points = points_of(xy);
  for (float& x : xy) x = static_cast<float>(random.uniform(-1, 1));
  start.batch.student_points = points_of(xy);
  // As the step draws them: the rate grows linearly over the blocks.
  RandomStream depth({.seed = 2, .purpose = Purpose::stochastic_depth});
  const Index blocks = step.config().backbone.depth;
  const auto each = static_cast<Index>(start.keep.size()) / blocks;
  for (Index i = 0; i < static_cast<Index>(start.keep.size()); ++i) {
    const double rate =
        step.options().stochastic_depth * static_cast<double>(i / each) / static_cast<double>(blocks - 1);
    start.keep[static_cast<std::size_t>(i)] =
        depth.bernoulli(rate) ? 0.0F : static_cast<float>(1.0 / (1.0 - rate));
  }
  return start;
}

/// The weights that student and teacher begin with. A file is opened anew for each tensor, and no copy of all weights
/// made: what lies in memory here would count as the step's.
template <class Step>
void load_weights(const Step& step, const std::string& path) {
  if (path.empty()) {
    initialise(step.backend(), step.student(), step.layout(), 1);
  } else {
    for (const auto& spec : step.layout().specs()) {
      const auto values = SafetensorsFile::open(path).template read<float>("weight." + std::string(spec.name.view()));
      if (static_cast<Index>(values.size()) != spec.size) throw DataError(path + ": weights of another model");
      step.backend().upload(step.student().data() + spec.offset, std::span<const float>(values));
    }
  }
  step.backend().copy(step.teacher(), step.student());
}

template <class Step>
Start read_start(const Step& step, const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  Start start = drawn_start(step);
  const BatchShape& shape = step.options().shape;
  for (std::size_t v = 0; v < start.batch.images.size(); ++v) {
    file.read_into(std::span<float>(start.batch.images[v]), "view" + std::to_string(v));
  }
  start.batch.teacher_points = points_of(file.read<float>("teacher_points"));
  start.batch.student_points = points_of(file.read<float>("student_points"));
  start.keep = first_two_exchanged(file.read<float>("keep"), shape.view_count(),
                                   2 * step.config().backbone.depth, shape.batch);
  return start;
}

/// The sizes and numbers of the step, in the words of the fixtures.
template <class Step>
json config_of(const Step& step, const Numbers& numbers) {
  const auto& options = step.options();
  const auto& backbone = step.config().backbone;
  const auto& head = step.config().head;
  json sizes = json::array();
  for (const ViewSize& view : options.shape.views) sizes.push_back(view.height);
  return {{"batch", options.shape.batch},
          {"points", options.shape.points},
          {"sizes", sizes},
          {"relation", "all2pos_pos2cls_eye"},
          {"vit_image", backbone.image},
          {"vit_patch", backbone.patch},
          {"vit_channels", backbone.channels},
          {"vit_dim", backbone.width},
          {"vit_depth", backbone.depth},
          {"vit_heads", backbone.heads},
          {"vit_ratio", backbone.mlp_ratio},
          {"head_hidden", head.hidden},
          {"head_bottleneck", head.bottleneck},
          {"head_prototypes", head.prototypes},
          {"stochastic_depth", options.stochastic_depth},
          {"alpha", options.loss.alpha},
          {"student_temp", options.loss.student_temperature},
          {"center_momentum", options.loss.centre_momentum},
          {"optimizer", "adamw"},
          {"clip", options.optimiser.clip},
          {"learning_rate", numbers.learning_rate},
          {"weight_decay", numbers.weight_decay},
          {"momentum", numbers.momentum},
          {"teacher_temp", numbers.temperature}};
}

template <class Step>
void write_start(const Step& step, const Start& start, const Numbers& numbers, const std::string& path) {
  const BatchShape& shape = step.options().shape;
  const Index depth = step.config().backbone.depth;
  const Index views = shape.view_count();
  const Index batch = shape.batch;
  std::vector<float> weights(static_cast<std::size_t>(step.layout().total()));
  step.backend().download(std::span<float>(weights), static_cast<const float*>(step.student().data()));
  SafetensorsWriter writer;
  writer.metadata("config", config_of(step, numbers).dump());
  for (const auto& spec : step.layout().specs()) {
    writer.add("weight." + std::string(spec.name.view()), spec.shape(),
               std::span<const float>(weights)
                   .subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size)));
  }
  for (std::size_t v = 0; v < start.batch.images.size(); ++v) {
    writer.add("view" + std::to_string(v),
               {batch, shape.channels, shape.views[v].height, shape.views[v].width},
               std::span<const float>(start.batch.images[v]));
  }
  const auto teacher = floats_of(start.batch.teacher_points);
  const auto student = floats_of(start.batch.student_points);
  const auto keep = first_two_exchanged(start.keep, 2 * depth, views, batch);
  writer.add("teacher_points", {2, batch, views, shape.points, 2}, std::span<const float>(teacher));
  writer.add("student_points", {views, batch, 2, shape.points, 2}, std::span<const float>(student));
  writer.add("keep", {views, depth, 2, batch}, std::span<const float>(keep));
  writer.write(path);
}

/// Parts in the order of their time, each with what the machine would need for it at the ceiling.
json parts_json(const Ledger& ledger, int steps, const Ceilings& ceilings, std::string_view precision) {
  std::vector<Ledger::const_iterator> order;
  for (auto it = ledger.begin(); it != ledger.end(); ++it) order.push_back(it);
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a->second.seconds > b->second.seconds; });
  json out = json::array();
  for (const auto& it : order) {
    const Part& part = it->second;
    const double n = steps;
    out.push_back({{"name", it->first.first},
                   {"shape", it->first.second},
                   {"calls", static_cast<double>(part.calls) / n},
                   {"seconds", part.seconds / n},
                   {"flop", part.flops / n},
                   {"bytes", part.bytes / n},
                   {"floor_seconds",
                    std::max(part.flops / ceilings.flops(precision), part.bytes / ceilings.bytes) / n}});
  }
  return out;
}

template <class Recipe, class B>
void measure(const Options& options, Workload workload, std::string_view name, B backend,
             ScalingModel* scaling = nullptr) {
  const std::size_t at_start = resident_bytes("VmRSS");
  if (options.batch > 0) workload.batch = options.batch;
  if (options.prototypes > 0) workload.prototypes = options.prototypes;
  StepOptions step_options{.shape = workload.shape(Recipe::Backbone::config.channels),
                           .prototypes = workload.prototypes};
  TrainingStep<Recipe, B> step(backend, step_options);
  const Numbers numbers{.learning_rate = 5e-4 * static_cast<double>(workload.batch) / 256.0};

  Start start = options.start.empty() ? drawn_start(step) : read_start(step, options.start);
  load_weights(step, options.start);
  if (!options.write_start.empty()) return write_start(step, start, numbers, options.write_start);

  Index done = 0;
  const auto run = [&](std::span<const float> keep) {
    // Other samples each time, so that stochastic depth draws anew.
    for (std::size_t b = 0; b < start.batch.samples.size(); ++b) {
      start.batch.samples[b] = done * workload.batch + static_cast<Index>(b);
    }
    StepReport report;
    step.begin();
    step.forward_backward(report, start.batch, numbers.temperature, keep);
    step.update(report, {.optimiser = {.learning_rate = numbers.learning_rate,
                                       .weight_decay = numbers.weight_decay,
                                       .step = done},
                         .teacher_momentum = numbers.momentum});
    ++done;
    return report;
  };
  const auto check = [&] {
    const StepReport r = run(start.keep);
    return std::vector<double>{r.loss, r.image.loss, r.point.loss, r.gradient_norm};
  };

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
           {"flop", flop},
           {"machine", machine_json()}};
  json plan = json::array();
  for (const auto& entry : step.memory_plan().entries)
    plan.push_back({{"name", entry.name}, {"bytes", entry.bytes}});
  if (options.serve) {
    serve(
        out, at_start, [&] { run({}); }, check);
    return;
  }

  const int threads = options.threads > 0 ? options.threads : processors();
  const Ceilings ceilings = measure_ceilings(threads);
  for (int i = 0; i < options.warm_up; ++i) run({});
  reset_peak_memory();
  if constexpr (requires { backend.ledger(); }) backend.clear();
  if (scaling != nullptr) scaling->clear();
  const LoadWatch watch;
  const std::clock_t processor = std::clock();
  std::vector<double> seconds;
  for (int i = 0; i < options.steps; ++i) seconds.push_back(seconds_of([&] { run({}); }));

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
    out["parts"] = parts_json(backend.ledger(), options.steps, ceilings, options.precision);
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
  app.add_flag("--parts", options.parts, "time every primitive too");
  app.add_flag("--scaling", options.scaling,
               "one thread, and what up to 64 would take by the times of all tasks");
  app.add_flag("--serve", options.serve, "make a step for each line 'step' on stdin");
  app.add_option("--start", options.start, "begin from the weights and views of this file");
  app.add_option("--write-start", options.write_start,
                 "write weights and views for --start and for a peer, no more");
  return run_measurement(app, argc, argv, [&] { run(options); });
}
