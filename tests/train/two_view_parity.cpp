// Three whole training steps of BYOL, SimCLR and Barlow Twins against the reference numbers: losses, weights, running statistics.
#include <string>
#include <string_view>
#include <vector>

#include "../compare.hpp"
#include "../fixtures.hpp"
#include "catch.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/training_step.hpp>

using namespace dssl;

namespace {

/// What differs from fixture to fixture.
struct Run {
  std::string student;  ///< before the names of final tensors
  std::string teacher;  ///< the same; empty: none
  double tolerance = 0; ///< of losses
  bool lars = false;    ///< with a rate of its own for vectors; else SGD
};

/// A tensor by the name it has here: the position of the class token is the first row of the reference's table.
template <class T>
std::vector<T> tensor(const SafetensorsFile& file, const std::string& prefix, std::string_view name, Index width) {
  constexpr std::string_view of_class = "backbone.cls_pos_embed";
  constexpr std::string_view of_patches = "backbone.patch_pos_embed";
  if (name != of_class && name != of_patches) return file.read<T>(prefix + std::string(name));
  const auto table = file.read<T>(prefix + "backbone.pos_embed");
  const auto second = table.begin() + width;
  return name == of_class ? std::vector<T>(table.begin(), second) : std::vector<T>(second, table.end());
}

/// A layout in which the positions of class and patches are one tensor, as in the reference, whose LARS adapts the rate
/// of both together; all tensors lie where they lay.
ParameterLayout with_one_table(const ParameterLayout& layout) {
  ParameterLayout out;
  for (const auto& spec : layout.specs()) {
    const Index behind = spec.offset + spec.size - out.total();
    if (spec.name.view() == "backbone.cls_pos_embed") continue;
    const ParameterLayout::Options kept{.trained = spec.trained, .prototype = spec.prototype};
    if (spec.rank >= 2) {
      out.add(spec.name.view(), {1, behind}, kept);
    } else {
      out.add(spec.name.view(), {behind}, kept);
    }
  }
  return out;
}

template <class Loss, Backend B>
void check(const B& backend, const std::string& file_name, const Run& run, const typename Loss::Options& loss = {}) {
  using T = typename B::Scalar;
  using Kind = NetworkKind<ViTFamily, ClassToken, Loss>;
  const auto file = SafetensorsFile::open(test::objective_path(file_name));
  const test::FixtureConfig config(file);
  const auto index = [&](const char* key) { return config.get<Index>(key); };
  const Index image = index("image");
  const NetworkConfig<ViTConfig> sizes{{.image = image,
                                        .patch = index("patch"),
                                        .width = index("dim"),
                                        .depth = index("depth"),
                                        .heads = index("heads"),
                                        .mlp_ratio = static_cast<Index>(config.get<double>("ratio"))},
                                       {.hidden = index("hidden"), .bottleneck = index("output")}};
  typename BasicTrainingStep<Kind, B>::Options options;
  options.shape = {.batch = index("batch"), .channels = 3, .points = 0, .views = {{image, image}, {image, image}}};
  options.stochastic_depth = 0;
  const double rate = config.get<double>(run.lars ? "lr_weights" : "lr");
  options.optimiser = {.kind = run.lars ? OptimiserKind::lars : OptimiserKind::sgd,
                       .momentum = config.get<double>("momentum"),
                       .clip = 0};
  if (run.lars) {
    options.optimiser.trust = config.get<double>("eta");
    options.optimiser.rates.vectors = config.get<double>("lr_biases") / rate;
  }
  options.loss = loss;
  BasicTrainingStep<Kind, B> step(backend, options, sizes);
  for (const auto& spec : step.layout().specs()) {
    const auto values = tensor<T>(file, "initial.", spec.name.view(), sizes.backbone.width);
    REQUIRE(static_cast<Index>(values.size()) == spec.size);
    backend.upload(step.student().data() + spec.offset, std::span<const T>(values));
    if (!run.teacher.empty()) backend.upload(step.teacher().data() + spec.offset, std::span<const T>(values));
  }

  // Running statistics begin with the reference's, teacher's and student's alike.
  step.for_each_term_state([&](std::string_view name, VectorView<T> values, const std::vector<Index>&) {
    const auto drawn = file.read<T>("initial." + std::string(name.substr(name.find('.') + 1)));
    REQUIRE(static_cast<Index>(drawn.size()) == values.size());
    backend.upload(values.data(), std::span<const T>(drawn));
  });

  const ParameterLayout tables = with_one_table(step.layout());
  REQUIRE(tables.total() == step.layout().total());
  OptimiserState<T> lars;
  const auto place = [&](Arena& arena) { lars = OptimiserState<T>::place(backend, arena, tables, options.optimiser); };
  Arena measure;
  place(measure);
  const Buffer buffer = backend.allocate(measure.high_water());
  Arena live(buffer);
  place(live);

  const auto steps = index("steps");
  for (Index s = 0; s < steps; ++s) {
    const std::string at = std::to_string(s) + ".";
    ViewBatch batch = ViewBatch::of(options.shape);
    for (std::size_t v = 0; v < 2; ++v) batch.images[v] = file.read<float>(at + "view." + std::to_string(v + 1));
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, 1);
    INFO("step " << s);
    CHECK(report.loss == Approx(file.read<double>(at + "loss").at(0)).epsilon(run.tolerance));
    UpdateStep now{.learning_rate = rate, .weight_decay = config.get<double>("weight_decay"), .step = s};
    if (run.lars) {
      lars.measure(backend, step.gradients());
      lars.update(backend, step.student(), {}, step.gradients(), options.optimiser, now, 1);
      now.learning_rate = 0;  // the weights have moved; running statistics follow
    }
    step.update(report, {.optimiser = now,
                         .teacher_momentum = run.teacher.empty() ? 1 : file.read<double>(at + "tau").at(0)});
  }

  const auto check_tensor = [&](const std::string& prefix, std::string_view name, const T* at, Index count) {
    std::vector<T> is(static_cast<std::size_t>(count));
    backend.download(std::span<T>(is), at);
    const auto should = tensor<double>(file, prefix, name, sizes.backbone.width);
    INFO(prefix << name);
    // The reference's weights are rounded to float.
    CHECK(test::relative_difference<T, double>(is, should) < std::max(1e-6, 100 * run.tolerance));
  };
  for (const auto& spec : step.layout().specs()) {
    const std::string_view name = spec.name.view();
    check_tensor(run.student, name, step.student().data() + spec.offset, spec.size);
    if (run.teacher.empty() || name.starts_with("predictor.")) continue;
    check_tensor(run.teacher, name, step.teacher().data() + spec.offset, spec.size);
  }
  step.for_each_term_state([&](std::string_view name, VectorView<T> values, const std::vector<Index>&) {
    constexpr std::string_view own = "statistics.";
    constexpr std::string_view teachers = "teacher_statistics.";
    if (name.starts_with(teachers)) {
      check_tensor(run.teacher, name.substr(teachers.size()), values.data(), values.size());
    } else {
      REQUIRE(name.starts_with(own));
      check_tensor(run.student, name.substr(own.size()), values.data(), values.size());
    }
  });
}

template <Backend B>
void check_both(const B& backend, double tolerance) {
  using ByolTerm = Cosine<Ema, by_head(byol_mlp), by_head(byol_mlp)>;
  using SimClrTerm = NtXent<by_head(simclr_projector)>;
  check<WeightedSum<ByolTerm>>(backend, "training_byol.safetensors",
                               {"final.online.", "final.target.", tolerance});
  const auto file = SafetensorsFile::open(test::objective_path("training_simclr.safetensors"));
  typename WeightedSum<SimClrTerm>::Options loss;
  loss.of<SimClrTerm>().options.temperature = test::FixtureConfig(file).get<double>("temperature");
  check<WeightedSum<SimClrTerm>>(backend, "training_simclr.safetensors", {"final.", "", tolerance}, loss);
  using BarlowTerm = CrossCorrelation<by_head(barlow_projector)>;
  check<WeightedSum<BarlowTerm>>(backend, "training_barlow.safetensors",
                                 {"final.", "", 5 * tolerance, true});
}

}  // namespace

TEST_CASE("BYOL, SimCLR and Barlow Twins train as published, in double") { check_both(Reference<double>{}, 1e-9); }

TEST_CASE("BYOL, SimCLR and Barlow Twins train as published, on Cpu in float") { check_both(Cpu{}, 2e-6); }
