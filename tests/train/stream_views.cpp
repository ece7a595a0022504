// Views one after the other: the same losses, gradients and centres as all at once, in the memory of one view.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "thrown.hpp"
#include "train/instances.hpp"
#include "train/planned_bytes.hpp"
#include "train/tiny_heads.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/train/training_step.hpp>

using namespace dssl;

namespace {

constexpr ViTConfig size{.image = 8, .patch = 2, .width = 8, .depth = 3, .heads = 2, .mlp_ratio = 2, .channels = 2};

template <class Tokens, class Loss, HeadConfig H = test::tiny_head>
using Tiny = test::TinyRecipe<Tokens, Loss, size, H>;

StepOptions two_sizes() {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 2, .points = 2, .views = {{8, 8}, {8, 8}, {4, 6}, {6, 4}, {4, 6}}};
  options.accumulate = 2;
  options.seed = 11;
  options.stochastic_depth = 0.5;
  options.optimiser.kind = OptimiserKind::sgd;
  return options;
}

/// Largest difference of two tensors, over the largest number of the second.
double relative_difference(std::span<const double> actual, std::span<const double> expected) {
  double largest = 0;
  double difference = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    difference = std::max(difference, std::abs(actual[i] - expected[i]));
  }
  return difference == 0 ? 0 : difference / largest;
}

/// The same updates with views one after the other and all at once. `drops`: multipliers instead of drawn ones.
template <class Recipe, class B>
void check_same(const B& backend, StepOptions options, const std::vector<double>& drops = {}) {
  INFO(backend.describe() << ", recompute " << options.recompute << ", multipliers given: " << !drops.empty());
  TrainingStep<Recipe, B> at_once(backend, options);
  options.stream_views = true;
  TrainingStep<Recipe, B> streamed(backend, options);
  const auto student = test::drawn_weights<double>(at_once.layout(), 1);
  const auto teacher = test::drawn_weights<double>(at_once.layout(), 2);
  for (auto* step : {&at_once, &streamed}) {
    std::copy(student.begin(), student.end(), step->student().data());
    std::copy(teacher.begin(), teacher.end(), step->teacher().data());
  }
  for (Index i = 0; i < 2; ++i) {
    INFO("update " << i);
    StepReport expected, actual;
    const auto run = [&](auto& step, StepReport& report) {
      step.begin();
      for (Index pass = 0; pass < options.accumulate; ++pass) {
        step.forward_backward(report, test::drawn_batch(options.shape, 5, 4 * i + 2 * pass), 0.3, drops);
      }
    };
    run(at_once, expected);
    run(streamed, actual);
    for (const auto& spec : at_once.layout().specs()) {
      INFO("gradient of " << spec.name.view());
      const auto slope = test::tensor_of<const double>(at_once.gradients().flat(), spec);
      CHECK(std::any_of(slope.begin(), slope.end(), [](double g) { return std::abs(g) > 1e-6; }) == spec.trained);
      CHECK(relative_difference(test::tensor_of<const double>(streamed.gradients().flat(), spec), slope) < 1e-12);
    }
    const UpdateNumbers numbers{.optimiser = {.learning_rate = 0.1, .weight_decay = 0.04, .step = i},
                                .teacher_momentum = 0.9};
    at_once.update(expected, numbers);
    streamed.update(actual, numbers);
    at_once.inspect(expected);
    streamed.inspect(actual);
    CHECK(actual.loss == Approx(expected.loss).epsilon(1e-12));
    CHECK(actual.gradient_norm == Approx(expected.gradient_norm).epsilon(1e-12));
    CHECK(actual.feature_spread == Approx(expected.feature_spread).epsilon(1e-12));
    REQUIRE(actual.term_count == expected.term_count);
    for (std::size_t t = 0; t < expected.term_count; ++t) {
      const TermReport& is = actual.terms[t];
      const TermReport& should = expected.terms[t];
      CHECK(is.loss == Approx(should.loss).epsilon(1e-12));
      CHECK(is.teacher_entropy == Approx(should.teacher_entropy).epsilon(1e-12));
      CHECK(is.divergence == Approx(should.divergence).epsilon(1e-12).margin(1e-14));
      CHECK(is.centre_norm == Approx(should.centre_norm).epsilon(1e-12));
    }
    const auto same = [](VectorView<double> a, VectorView<double> b) {
      return relative_difference(a.flat(), b.flat()) < 1e-12;
    };
    CHECK(same(streamed.term_state("center"), at_once.term_state("center")));
    CHECK(same(streamed.term_state("ref_center"), at_once.term_state("ref_center")));
    CHECK(same(streamed.student(), at_once.student()));
    CHECK(same(streamed.teacher(), at_once.teacher()));
  }
}

/// Multipliers under which the second image of view 1 and all of view 2 take part in no branch.
std::vector<double> drops(const StepOptions& options) {
  const auto batch = static_cast<std::size_t>(options.shape.batch);
  const std::size_t sequences = options.shape.views.size() * batch;
  std::vector<double> keep;
  for (std::size_t i = 0; i < static_cast<std::size_t>(2 * size.depth) * sequences; ++i) {
    const std::size_t s = i % sequences;
    keep.push_back(s == batch + 1 || s / batch == 2 ? 0.0 : 1.0 + 0.25 * static_cast<double>(i % 3));
  }
  return keep;
}

template <class Recipe>
void check_everywhere(const LossOptions& loss) {
  StepOptions options = two_sizes();
  options.loss = loss;
  options.loss.student_temperature = 0.3;
  check_same<Recipe>(Reference<double>(), options);
  const BasicCpu<double> cpu({.threads = 1});
  check_same<Recipe>(cpu, options);
  check_same<Recipe>(cpu, options, drops(options));
  options.recompute = true;
  check_same<Recipe>(cpu, options);
  options.stochastic_depth = 0;
  check_same<Recipe>(cpu, options);
}

StepOptions published(Index batch, Index views) {
  StepOptions options;
  options.shape = {.batch = batch,
                   .channels = 3,
                   .points = 2,
                   .views = std::vector<ViewSize>(static_cast<std::size_t>(views), {224, 224})};
  return options;
}

/// What a backbone's pass over so many views and its way back take.
std::size_t activations(const StepOptions& options, Index views) {
  const ViTConfig& config = vit_small16;
  const TokenLayout tokens({{.count = views * options.shape.batch,
                             .grid = config.native_grid(),
                             .references = 2 * options.shape.points}},
                           {.class_token = true, .reference = true});
  Arena measure;
  static_cast<void>(ViTActivations<float>::take(measure, config, tokens, true, options.recompute));
  static_cast<void>(BlockGradients<float>::take(measure, config.block(), tokens.rows(), tokens.read_count()));
  return measure.high_water();
}

}  // namespace

TEST_CASE("views one after the other give the losses, gradients and centres of all at once") {
  SECTION("reference tokens") {
    check_everywhere<Tiny<ReferenceTokens<>, ImageAndPointLoss>>({.alpha = 0.3});
    check_everywhere<Tiny<ReferenceTokens<open_relation, test::learned_reference>, ImageAndPointLoss>>(
        {.image_all_views = true, .point_all_views = false});
    check_everywhere<
        Tiny<ReferenceTokens<private_relation, test::learned_reference>, PointLoss, test::tiny_head_with_norm>>({});
  }
  SECTION("class token") {
    check_everywhere<Tiny<ClassToken, ImageLoss>>({.image_all_views = true});
    check_everywhere<Tiny<ClassToken, ImageLoss>>({});  // three views that no loss reads
  }
  SECTION("sampled patches") {
    check_everywhere<Tiny<FeatureMap, ImageAndPointLoss>>({.alpha = 0.7, .image_all_views = true});
    check_everywhere<Tiny<FeatureMap, PointLoss>>({.point_all_views = false});
  }
}

TEST_CASE("with views one after the other, the student's activations are those of one view") {
  for (const bool recompute : {false, true}) {
    for (const Index views : {2, 6}) {
      StepOptions options = published(8, views);
      options.recompute = recompute;
      const std::size_t at_once = test::planned_bytes<vit_small16>(options);
      if (!recompute) {  // what the teacher's pass keeps for points that it chooses lies under the student's
        StepOptions drawn = options;
        drawn.shape.drawn = {{.first = 0, .count = 1, .by = TeacherSays::attention, .numbers = {}}};
        CHECK(test::planned_bytes<vit_small16>(drawn) == at_once);
      }
      options.stream_views = true;
      const std::size_t streamed = test::planned_bytes<vit_small16>(options);
      const std::size_t all = activations(options, views);
      const std::size_t one = activations(options, 1);
      INFO(views << " views, recompute " << recompute << ": " << at_once << " bytes at once, " << streamed
                 << " streamed; activations of all views " << all << ", of one " << one);
      CHECK(static_cast<double>(one) == Approx(static_cast<double>(all) / static_cast<double>(views)).epsilon(1e-2));
      // Beside the weights and views there is the larger of the teacher's pass over two views and the student's over
      // one, whose gradient buffers the heads' may be larger than.
      REQUIRE(at_once > streamed);
      const double saved = static_cast<double>(at_once - streamed);
      if (!recompute) {
        CHECK(saved > 0.98 * static_cast<double>(all - one));
        CHECK(saved < 1.02 * static_cast<double>(all - one));
      } else {
        CHECK(saved > 0.5 * static_cast<double>(all - one));
      }
    }
  }
}

TEST_CASE("where heads have batch norm, views cannot be one after the other") {
  StepOptions options = two_sizes();
  options.stream_views = true;
  const std::string message = test::thrown_by<OptionError>([&] {
    TrainingStep<Tiny<ReferenceTokens<>, ImageAndPointLoss, test::tiny_head_with_batch_norm>, Reference<double>>(
        {}, options);
  });
  CHECK(test::contains(message, "'stream_views' is true"));
  CHECK(test::contains(message, "batch norm"));
}
