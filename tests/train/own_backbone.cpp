// A backbone that is no ViT: slopes of what a loss reads of it, bits for any number of threads, a run with its words.
#include <cmath>
#include <string>
#include <vector>

#include "backbone/convolution.hpp"
#include "catch.hpp"
#include "noise_images.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "train/term_steps.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/loss/dense_terms.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/trainer.hpp>

using namespace dssl;

namespace {

constexpr test::ConvolutionConfig sizes{.patch = 2, .width = 8, .layers = 2, .channels = 1};
using Dense = WeightedSum<ImageLevel, DenseContrast<by_head(moco_v2_projector)>>;
using Points = WeightedSum<ImageLevel, PointLevel>;

template <class LossT, class TokensT>
struct Small {
  using Backbone = test::Convolutional<sizes>;
  using Tokens = TokensT;
  using Loss = LossT;
  using Head = ProjectionHead<test::term_widths>;
};

template <class Loss, class Tokens>
void check() {
  auto options = test::options_of<Loss>();
  options.shape.views.push_back({4, 6});
  options.shape.views.push_back({2, 6});
  TrainingStep<Small<Loss, Tokens>, Reference<double>> step({}, options);
  test::draw(step);
  const ViewBatch batch = test::drawn_batch(options.shape, 5);
  for (const ParameterGradient& p : gradient_differences(step, batch, 0.4)) {
    INFO("gradient of " << p.name);
    CHECK(p.found.small());
    CHECK((p.found.norm > 1e-6) == p.trained);
  }
}

}  // namespace

TEST_CASE("a convolutional backbone's gradients are its slopes") {
  SECTION("class level and map") { check<Dense, ClassToken>(); }
  SECTION("points that are read of the map") { check<Points, FeatureMap>(); }
}

TEST_CASE("a teacher without attention draws points where its features disagree, and says that it has none") {
  using Step = TrainingStep<Small<Points, FeatureMap>, Reference<double>>;
  auto options = test::options_of<Points>();
  options.shape.drawn = {{.first = 1, .count = 1, .by = TeacherSays::disagreement, .numbers = {}}};
  Step step({}, options);
  test::draw(step);
  const ViewBatch batch = test::drawn_batch(options.shape, 5);
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.4);
  CHECK(std::isfinite(report.loss));
  CHECK((step.teacher_draws().teacher_points()[0] == batch.teacher_points[0]));
  CHECK_FALSE((step.teacher_draws().teacher_points()[1] == batch.teacher_points[1]));
  options.shape.drawn[0].by = TeacherSays::attention;
  CHECK(test::contains(test::thrown_by<OptionError>([&] { Step({}, options); }),
                       "'sampler' is attention; expected disagreement, or points that need no teacher: the backbone has no attention"));
}

TEST_CASE("a run of a convolutional backbone: bits, resume, words") {
  using Recipe = FeatureMapDino::with_backbone<test::Convolutional<test::ConvolutionConfig{.patch = 4}>>::with_head<
      ProjectionHead<test::term_widths>>;
  const test::NoiseImages images(9);
  const test::TemporaryFolder folder;
  TrainerOptions options;
  options.epochs = 3;
  options.batch = 4;
  options.views.locals = 1;
  options.views.global_size = {16, 16};
  options.views.local_size = {8, 8};
  options.optimiser.warmup_epochs = 0;
  options.optimiser.learning_rate = 0.05;
  options.checkpoint = folder / "checkpoint.safetensors";
  const auto bits = [](const auto& trainer) {
    const auto flat = trainer.step().student().flat();
    return std::vector<float>(flat.begin(), flat.end());
  };
  Trainer<Recipe, Cpu> one(options, Cpu({.threads = 1}));
  double first = 0, last = 0;
  one.on_step([&](const StepReport& report) {
    if (report.step == 0) first = report.gradient_norm;
    last = report.loss;
    return proceed;
  });
  REQUIRE(one.fit(images).finished);
  CHECK(first > 0);
  CHECK(std::isfinite(last));
  CHECK(test::contains(one.recipe(), "backbone: convolution, patch 4, width 16, layers 2, channels 3; "));

  Trainer<Recipe, Cpu> cut(options, Cpu({.threads = 2}));
  cut.on_step([](const StepReport& report) { return report.step + 1 == 3 ? stop : proceed; });
  static_cast<void>(cut.fit(images));
  Trainer<Recipe, Cpu> resumed(options, Cpu({.threads = 4}));
  resumed.resume(options.checkpoint);
  REQUIRE(resumed.fit(images).finished);
  CHECK(bits(resumed) == bits(one));
}
