// What a training step must keep whatever the numbers: accumulation, threads, frozen prototypes, the teacher's
// average, and what happens to values that are not finite.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "thrown.hpp"
#include "train/figures.hpp"
#include "train/instances.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/train/training_step.hpp>

using namespace dssl;

namespace {

constexpr ViTConfig size{.image = 8, .patch = 2, .width = 8, .depth = 2, .heads = 2, .mlp_ratio = 2, .channels = 1};
constexpr HeadConfig head{.layers = 2, .hidden = 8, .bottleneck = 6, .prototypes = 7};

using Dense = test::TinyRecipe<ReferenceTokens<>, ImageAndPointLoss, size, head>;
using Plain = test::TinyRecipe<ClassToken, ImageLoss, size, head>;
using Sampled = test::TinyRecipe<FeatureMap, ImageAndPointLoss, size, head>;
using PointsOnly = test::TinyRecipe<ReferenceTokens<>, PointLoss, size, head>;

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

// Large enough that the Cpu backend shares the work out.
constexpr ViTConfig wide{.image = 32, .patch = 4, .width = 64, .depth = 2, .heads = 2, .channels = 3};
constexpr HeadConfig wide_head{.hidden = 96, .bottleneck = 32, .prototypes = 512};

StepOptions small_options() {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 1, .points = 2, .views = {{8, 8}, {8, 8}, {4, 6}}};
  options.stochastic_depth = 0.5;
  options.seed = 11;
  return options;
}

template <class T>
std::vector<T> copy_of(VectorView<T> x) {
  return {x.flat().begin(), x.flat().end()};
}

template <class T>
double largest_difference(const std::vector<T>& a, const std::vector<T>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return largest;
}

template <class Recipe, class B>
void draw(TrainingStep<Recipe, B>& step) {
  using T = typename B::Scalar;
  const auto student = test::drawn_weights<T>(step.layout(), 1);
  const auto teacher = test::drawn_weights<T>(step.layout(), 2);
  std::copy(student.begin(), student.end(), step.student().data());
  std::copy(teacher.begin(), teacher.end(), step.teacher().data());
}

template <class Recipe>
void check_accumulation() {
  StepOptions whole_options = small_options();
  whole_options.shape.batch = 4;
  whole_options.optimiser.kind = OptimiserKind::sgd;
  StepOptions half_options = whole_options;
  half_options.shape.batch = 2;
  half_options.accumulate = 2;
  TrainingStep<Recipe, Reference<double>> whole({}, whole_options);
  TrainingStep<Recipe, Reference<double>> halves({}, half_options);
  draw(whole);
  draw(halves);
  for (Index i = 0; i < 2; ++i) {
    INFO("update " << i);
    const auto image_centre = copy_of(halves.term_state("center"));
    const auto point_centre = copy_of(halves.term_state("ref_center"));
    StepReport report;
    StepReport half_report;
    whole.begin();
    halves.begin();
    whole.forward_backward(report, test::drawn_batch(whole_options.shape, 5, 4 * i), 0.2);
    for (Index half = 0; half < 2; ++half) {
      halves.forward_backward(half_report, test::drawn_batch(half_options.shape, 5, 4 * i + 2 * half), 0.2);
      CHECK(copy_of(halves.term_state("center")) == image_centre);
      CHECK(copy_of(halves.term_state("ref_center")) == point_centre);
    }
    const auto gradients = copy_of(whole.gradients());
    CHECK(std::any_of(gradients.begin(), gradients.end(), [](double g) { return std::abs(g) > 1e-3; }));
    CHECK(largest_difference(gradients, copy_of(halves.gradients())) < 1e-10);
    CHECK(half_report.loss == Approx(report.loss).epsilon(1e-10));
    CHECK(test::loss_of(half_report, "image") == Approx(test::loss_of(report, "image")).epsilon(1e-10));
    CHECK(test::loss_of(half_report, "point") == Approx(test::loss_of(report, "point")).epsilon(1e-10));
    for (const TermReport& term : report.each_term()) {
      CHECK(half_report.term(term.name).teacher_entropy == Approx(term.teacher_entropy).epsilon(1e-10));
      CHECK(half_report.term(term.name).divergence == Approx(term.divergence).epsilon(1e-10));
    }

    const UpdateNumbers numbers{.optimiser = {.learning_rate = 0.1, .weight_decay = 0.04, .step = i},
                                .teacher_momentum = 0.9};
    whole.update(report, numbers);
    halves.update(half_report, numbers);
    CHECK(half_report.gradient_norm == Approx(report.gradient_norm).epsilon(1e-10));
    CHECK(largest_difference(copy_of(whole.student()), copy_of(halves.student())) < 1e-10);
    CHECK(largest_difference(copy_of(whole.teacher()), copy_of(halves.teacher())) < 1e-10);
    CHECK(largest_difference(copy_of(whole.term_state("center")), copy_of(halves.term_state("center"))) < 1e-10);
    CHECK(largest_difference(copy_of(whole.term_state("ref_center")), copy_of(halves.term_state("ref_center"))) < 1e-10);
    const bool moved = copy_of(halves.term_state("center")) != image_centre || copy_of(halves.term_state("ref_center")) != point_centre;
    CHECK(moved);
  }
}

/// All bits that three steps leave behind.
template <class Recipe>
std::vector<float> after_three_steps(int threads, OptimiserKind kind, bool recompute = false,
                                     bool stream_views = false) {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 3, .points = 4, .views = {{32, 32}, {32, 32}, {16, 16}}};
  options.optimiser.kind = kind;
  options.seed = 3;
  options.stochastic_depth = 0.3;
  options.recompute = recompute;
  options.stream_views = stream_views;
  TrainingStep<Recipe, Cpu> step(Cpu({.threads = threads}), options);
  draw(step);
  std::vector<float> bits;
  for (Index i = 0; i < 3; ++i) {
    StepReport report;
    step.begin();
    step.forward_backward(report, test::drawn_batch(options.shape, 7, 2 * i), 0.04);
    step.update(report, {.optimiser = {.learning_rate = 1e-3, .weight_decay = 0.04, .step = i, .frozen_steps = 1},
                         .teacher_momentum = 0.99});
    bits.push_back(static_cast<float>(report.loss));
    bits.push_back(static_cast<float>(report.gradient_norm));
  }
  for (const auto part : {step.student(), step.teacher(), step.term_state("center"), step.term_state("ref_center")}) {
    bits.insert(bits.end(), part.flat().begin(), part.flat().end());
  }
  CHECK(std::all_of(bits.begin(), bits.end(), [](float v) { return std::isfinite(v); }));
  return bits;
}

template <class Tokens, class Loss>
void check_threads(OptimiserKind kind) {
  using Recipe = test::TinyRecipe<Tokens, Loss, wide, wide_head>;
  const auto one = after_three_steps<Recipe>(1, kind);
  const auto two = after_three_steps<Recipe>(2, kind);
  const auto four = after_three_steps<Recipe>(4, kind);
  CHECK((one == two));
  CHECK((one == four));
  CHECK((one == after_three_steps<Recipe>(2, kind, true)));
  const auto streamed = after_three_steps<Recipe>(1, kind, false, true);
  CHECK((streamed == after_three_steps<Recipe>(2, kind, false, true)));
  CHECK((streamed == after_three_steps<Recipe>(2, kind, true, true)));
}

/// A non-finite value reaches a step: `damage` puts it there; the error names `what` and nothing has moved.
template <class Recipe, class B, class Damage>
void check_not_finite(const B& backend, const std::string& what, const Damage& damage) {
  INFO(backend.describe() << ", expected to be named: " << what);
  const StepOptions options = small_options();
  TrainingStep<Recipe, B> step(backend, options);
  draw(step);
  ViewBatch batch = test::drawn_batch(options.shape, 5);
  damage(step, batch);
  const auto bits = [&] {
    std::vector<std::uint64_t> all;
    for (const auto part : {step.student(), step.teacher(), step.term_state("center"), step.term_state("ref_center")}) {
      for (const auto value : part.flat()) {
        // Bits, since a NaN is not equal to itself.
        all.push_back(std::bit_cast<std::uint64_t>(static_cast<double>(value)));
      }
    }
    return all;
  };
  const auto before = bits();
  const std::string message = test::thrown_by<NonFiniteError>([&] {
    StepReport report;
    step.forward_backward(report, batch, 0.1);
    step.update(report, {.optimiser = {.learning_rate = 0.1}, .teacher_momentum = 0.9});
  });
  INFO(message);
  CHECK(test::contains(message, what));
  CHECK((bits() == before));
}

template <class B>
void check_not_finite_all(const B& backend) {
  using T = typename B::Scalar;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const auto first_of = [](auto& step, VectorView<T> flat, std::string_view name) -> T& {
    return flat(step.layout().find(name).offset);
  };
  // In a global view, which both networks see, and in a local one, which only the student sees.
  check_not_finite<Dense>(backend, "the image-level loss", [](auto&, ViewBatch& batch) { batch.images[0][3] = not_a_number; });
  check_not_finite<Dense>(backend, "the point-level loss", [](auto&, ViewBatch& batch) { batch.images[2].back() = not_a_number; });
  check_not_finite<Plain>(backend, "the image-level loss", [](auto&, ViewBatch& batch) { batch.images[1][0] = not_a_number; });
  check_not_finite<PointsOnly>(backend, "the point-level loss",
                               [](auto&, ViewBatch& batch) { batch.images[0][3] = std::numeric_limits<float>::infinity(); });
  check_not_finite<Dense>(backend, "the image-level loss", [&](auto& step, ViewBatch&) {
    first_of(step, step.student(), "backbone.blocks.1.mlp.fc1.weight") = infinity;
  });
  check_not_finite<Dense>(backend, "the image-level loss", [&](auto& step, ViewBatch&) {
    first_of(step, step.teacher(), "backbone.blocks.0.attn.qkv.weight") = infinity;
  });
  check_not_finite<Dense>(backend, "the point-level loss", [&](auto& step, ViewBatch&) {
    first_of(step, step.teacher(), "ref_head.last_layer.weight_v") = infinity;
  });
  check_not_finite<Dense>(backend, "gradient of backbone.blocks.0.mlp.fc2.weight is not finite",
                          [&](auto& step, ViewBatch&) {
                            first_of(step, step.gradients(), "backbone.blocks.0.mlp.fc2.weight") = infinity;
                          });
  check_not_finite<Dense>(backend, "gradient of head.last_layer.weight_v is not finite", [&](auto& step, ViewBatch&) {
    first_of(step, step.gradients(), "head.last_layer.weight_v") = std::numeric_limits<T>::quiet_NaN();
  });
}

}  // namespace

TEST_CASE("two passes of two images make the update of one pass of four") {
  SECTION("reference tokens") { check_accumulation<Dense>(); }
  SECTION("class token") { check_accumulation<Plain>(); }
  SECTION("sampled patches") { check_accumulation<Sampled>(); }
}

TEST_CASE("the bits of a training step depend neither on the number of threads nor on what is kept") {
  check_threads<ReferenceTokens<>, ImageAndPointLoss>(OptimiserKind::adamw);
  check_threads<ClassToken, ImageLoss>(OptimiserKind::lars);
  check_threads<FeatureMap, ImageAndPointLoss>(OptimiserKind::sgd);
}

TEST_CASE("a step that computes activations again needs less memory") {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 3, .points = 4, .views = {{32, 32}, {32, 32}, {16, 16}}};
  using Recipe = test::TinyRecipe<ReferenceTokens<>, ImageAndPointLoss, wide, wide_head>;
  const auto bytes_of = [&](bool recompute) {
    options.recompute = recompute;
    return TrainingStep<Recipe, Cpu>(Cpu({.threads = 1}), options).memory_plan().total();
  };
  const std::size_t kept = bytes_of(false);
  const std::size_t again = bytes_of(true);
  INFO(kept << " bytes, " << again << " with recompute");
  // Of two blocks the last one's activations share the first one's memory: its qkv and what attention gave are 4 D
  // numbers a row.
  const std::size_t rows = 2 * (2 * (1 + 64 + 8) + 1 + 16 + 8);
  CHECK(kept - again > rows * 4 * 64 * sizeof(float));
}

TEST_CASE("prototypes stay as they are while they are frozen, and move afterwards") {
  for (const OptimiserKind kind : {OptimiserKind::adamw, OptimiserKind::sgd, OptimiserKind::lars}) {
    INFO(name_of(kind));
    StepOptions options = small_options();
    options.optimiser.kind = kind;
    TrainingStep<Dense, Reference<double>> step({}, options);
    draw(step);
    for (Index i = 0; i < 4; ++i) {
      INFO("step " << i);
      const auto before = copy_of(step.student());
      StepReport report;
      step.begin();
      step.forward_backward(report, test::drawn_batch(options.shape, 5, 2 * i), 0.1);
      step.update(report, {.optimiser = {.learning_rate = 0.01, .weight_decay = 0.1, .step = i, .frozen_steps = 2},
                           .teacher_momentum = 0.9});
      const auto after = copy_of(step.student());
      for (const auto& spec : step.layout().specs()) {
        INFO(spec.name.view());
        const auto a = test::tensor_of<const double>(before, spec);
        const auto b = test::tensor_of<const double>(after, spec);
        const bool moved = !std::equal(a.begin(), a.end(), b.begin());
        CHECK(moved == (spec.trained && !(spec.prototype && i < 2)));
        if (spec.prototype && i < 2) {
          // Nothing is remembered of these steps either.
          const auto m = test::tensor_of(step.optimiser_states().front().first().flat(), spec);
          CHECK(std::all_of(m.begin(), m.end(), [](double v) { return v == 0; }));
        }
      }
    }
  }
}

TEST_CASE("the teacher is the moving average of the student as it is after the update") {
  const StepOptions options = small_options();
  TrainingStep<Dense, Reference<double>> step({}, options);
  draw(step);
  Index i = 0;
  for (const double momentum : {0.9, 1.0, 0.0}) {
    INFO("momentum " << momentum);
    const auto before = copy_of(step.teacher());
    StepReport report;
    step.begin();
    step.forward_backward(report, test::drawn_batch(options.shape, 5), 0.1);
    step.update(report, {.optimiser = {.learning_rate = 0.05, .step = i++}, .teacher_momentum = momentum});
    const auto student = copy_of(step.student());
    const auto teacher = copy_of(step.teacher());
    double off = 0;
    for (std::size_t k = 0; k < teacher.size(); ++k) {
      off = std::max(off, std::abs(teacher[k] - (momentum * before[k] + (1 - momentum) * student[k])));
    }
    CHECK(off < 1e-14);
    CHECK((teacher == before) == (momentum == 1.0));
    CHECK((teacher == student) == (momentum == 0.0));
  }
}

TEST_CASE("what is not finite is named, and nothing moves") {
  check_not_finite_all(Reference<double>());
  check_not_finite_all(Reference<float>());
  check_not_finite_all(Cpu({.threads = 1}));
}

TEST_CASE("a step that begins anew knows nothing of a pass that was given up") {
  const StepOptions options = small_options();
  TrainingStep<Dense, Reference<double>> step({}, options);
  TrainingStep<Dense, Reference<double>> other({}, options);
  draw(step);
  draw(other);
  const UpdateNumbers numbers{.optimiser = {.learning_rate = 0.01}, .teacher_momentum = 0.9};
  ViewBatch bad = test::drawn_batch(options.shape, 6);
  bad.images[0][0] = not_a_number;
  StepReport ignored;
  CHECK_THROWS_AS(step.forward_backward(ignored, bad, 0.1), NonFiniteError);
  for (auto* each : {&step, &other}) {
    StepReport report;
    each->begin();
    each->forward_backward(report, test::drawn_batch(options.shape, 5), 0.1);
    each->update(report, numbers);
  }
  CHECK(copy_of(step.student()) == copy_of(other.student()));
  CHECK(copy_of(step.teacher()) == copy_of(other.teacher()));
  CHECK(copy_of(step.term_state("center")) == copy_of(other.term_state("center")));
  CHECK(copy_of(step.term_state("ref_center")) == copy_of(other.term_state("ref_center")));
}

TEST_CASE("a batch of another shape is refused") {
  const StepOptions options = small_options();
  TrainingStep<Dense, Reference<double>> step({}, options);
  BatchShape other = options.shape;
  other.batch = 3;
  StepReport report;
  CHECK_THROWS_AS(step.forward_backward(report, test::drawn_batch(other, 5), 0.1), ShapeError);
}

TEST_CASE("options that do not fit the recipe are refused by name") {
  const auto message_for = [](auto change) {
    StepOptions options = small_options();
    change(options);
    return test::thrown_by<OptionError>([&] { TrainingStep<Dense, Reference<double>>({}, options); });
  };
  CHECK(test::contains(message_for([](StepOptions& o) { o.shape.batch = 0; }), "'batch' is 0"));
  CHECK(test::contains(message_for([](StepOptions& o) { o.shape.views.resize(1); }), "'views'"));
  CHECK(test::contains(message_for([](StepOptions& o) { o.shape.views[1] = {6, 8}; }), "'views'"));
  CHECK(test::contains(message_for([](StepOptions& o) { o.shape.views[2] = {5, 8}; }), "'views.size' is 5 x 8"));
  CHECK(test::contains(message_for([](StepOptions& o) { o.shape.points = 0; }), "'points' is 0"));
  CHECK(message_for([](StepOptions&) {}) == "(nothing was thrown)");
}
