// Three whole training steps of BYOL, SimCLR and Barlow Twins against the reference numbers: losses, weights, running statistics.
#include <string>
#include <string_view>
#include <vector>

#include "../compare.hpp"
#include "../objective_fixture.hpp"
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
  std::vector<std::string> not_here{}; ///< tensors of the file that have no counterpart
};

constexpr std::string_view of_class = "backbone.cls_pos_embed";

/// The reference has the positions of class and patches in one table.
std::string published_name(std::string_view name) {
  return name == of_class || name == "backbone.patch_pos_embed" ? "backbone.pos_embed" : std::string(name);
}

/// A tensor by the name it has here: the position of the class token is the first row of the reference's table.
template <class T>
std::vector<T> tensor(const test::ObjectiveFixture& fixture, const std::string& prefix, std::string_view name, Index width) {
  const std::string published = published_name(name);
  const auto values = fixture.read<T>(prefix + published);
  if (published == name) return values;
  const auto second = values.begin() + width;
  return name == of_class ? std::vector<T>(values.begin(), second) : std::vector<T>(second, values.end());
}

/// A layout in which the positions of class and patches are one tensor, as in the reference, whose LARS adapts the rate
/// of both together; all tensors lie where they lay.
ParameterLayout with_one_table(const ParameterLayout& layout) {
  ParameterLayout out;
  for (const auto& spec : layout.specs()) {
    const Index behind = spec.offset + spec.size - out.total();
    if (spec.name.view() == of_class) continue;
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
  INFO(file_name);
  const test::ObjectiveFixture fixture(file_name);
  const test::FixtureConfig& config = fixture.config();
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
    const auto values = tensor<T>(fixture, "initial.", spec.name.view(), sizes.backbone.width);
    REQUIRE(static_cast<Index>(values.size()) == spec.size);
    backend.upload(step.student().data() + spec.offset, std::span<const T>(values));
    if (!run.teacher.empty()) backend.upload(step.teacher().data() + spec.offset, std::span<const T>(values));
  }

  // Running statistics begin with the reference's, teacher's and student's alike.
  step.for_each_term_state([&](std::string_view name, VectorView<T> values, const std::vector<Index>&) {
    const auto drawn = fixture.read<T>("initial." + std::string(name.substr(name.find('.') + 1)));
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
    for (std::size_t v = 0; v < 2; ++v) batch.images[v] = fixture.read<float>(at + "view." + std::to_string(v + 1));
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, 1);
    INFO("step " << s);
    CHECK(report.loss == Approx(fixture.read<double>(at + "loss").at(0)).epsilon(run.tolerance));
    UpdateStep now{.learning_rate = rate, .weight_decay = config.get<double>("weight_decay"), .step = s};
    if (run.lars) {
      lars.measure(backend, step.gradients());
      lars.update(backend, step.student(), {}, step.gradients(), options.optimiser, now, 1);
      now.learning_rate = 0;  // the weights have moved; running statistics follow
    }
    step.update(report, {.optimiser = now,
                         .teacher_momentum = run.teacher.empty() ? 1 : fixture.read<double>(at + "tau").at(0)});
  }

  const auto check_tensor = [&](const std::string& prefix, std::string_view name, const T* at, Index count) {
    std::vector<T> is(static_cast<std::size_t>(count));
    backend.download(std::span<T>(is), at);
    const auto should = tensor<double>(fixture, prefix, name, sizes.backbone.width);
    const std::string published = prefix + published_name(name);
    INFO(published);
    CHECK(test::relative_difference<T, double>(is, should) <= fixture.tolerance_after_steps<T>(published));
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
  CHECK(fixture.left_out() == run.not_here);
}

template <Backend B>
void check_both(const B& backend, double tolerance) {
  using ByolTerm = Cosine<Ema, by_head(byol_mlp), by_head(byol_mlp)>;
  using SimClrTerm = NtXent<by_head(simclr_projector)>;
  check<WeightedSum<ByolTerm>>(backend, "training_byol", {"final.online.", "final.target.", tolerance});
  typename WeightedSum<SimClrTerm>::Options loss;
  loss.of<SimClrTerm>().options.temperature =
      test::ObjectiveFixture("training_simclr").config().get<double>("temperature");
  check<WeightedSum<SimClrTerm>>(backend, "training_simclr", {"final.", "", tolerance}, loss);
  using BarlowTerm = CrossCorrelation<by_head(barlow_projector)>;
  // The batch norm of its loss has no running statistics here: nothing reads them, in the reference neither.
  check<WeightedSum<BarlowTerm>>(backend, "training_barlow",
                                 {"final.", "", 5 * tolerance, true,
                                  {"final.bn.running_mean", "final.bn.running_var", "initial.bn.running_mean", "initial.bn.running_var"}});
}

}  // namespace

TEST_CASE("BYOL, SimCLR and Barlow Twins train as published, in double") { check_both(Reference<double>{}, 1e-9); }

TEST_CASE("BYOL, SimCLR and Barlow Twins train as published, on Cpu in float") { check_both(Cpu{}, 2e-6); }
