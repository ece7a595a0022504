// Heads with batch norm in a whole training step: whose rows have a part in it, that it trains, what a run
// says of it.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "train/instances.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/train/checkpoint.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/recipe_words.hpp>
#include <dssl/train/training_step.hpp>

using namespace dssl;

namespace {

constexpr ViTConfig small{
    .image = 8, .patch = 2, .width = 8, .depth = 1, .heads = 2, .mlp_ratio = 2, .channels = 1};
constexpr HeadConfig plain_head{.layers = 2, .hidden = 8, .bottleneck = 6, .prototypes = 7};
constexpr HeadConfig small_head{
    .layers = 2, .hidden = 8, .bottleneck = 6, .prototypes = 7, .batch_norm = true};

// Large enough that the Cpu backend shares the work out.
constexpr ViTConfig wide{.image = 32, .patch = 4, .width = 64, .depth = 1, .heads = 2, .channels = 3};
constexpr HeadConfig wide_head{.hidden = 200, .bottleneck = 32, .prototypes = 512, .batch_norm = true};

/// The loss of a batch of three views, of which the last is multiplied by `contrast`.
template <class Loss, HeadConfig Head>
double loss_with_last_view(float contrast) {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 1, .points = 2, .views = {{8, 8}, {8, 8}, {4, 6}}};
  options.loss.image_all_views = false;
  options.loss.point_all_views = false;
  options.stochastic_depth = 0;
  TrainingStep<test::TinyRecipe<ReferenceTokens<>, Loss, small, Head>, Reference<double>> step({}, options);
  const auto student = test::drawn_weights<double>(step.layout(), 1);
  const auto teacher = test::drawn_weights<double>(step.layout(), 2);
  std::copy(student.begin(), student.end(), step.student().data());
  std::copy(teacher.begin(), teacher.end(), step.teacher().data());
  ViewBatch batch = test::drawn_batch(options.shape, 5);
  for (float& pixel : batch.images[2]) pixel *= contrast;
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.3);
  return report.loss;
}

struct Run {
  std::vector<double> losses;
  std::vector<float> student, teacher, before;
};

/// Eight updates on one batch.
Run trained(int threads) {
  StepOptions options;
  options.shape = {.batch = 8, .channels = 3, .points = 4, .views = {{32, 32}, {32, 32}, {16, 16}}};
  options.stochastic_depth = 0;
  TrainingStep<test::TinyRecipe<ReferenceTokens<>, ImageAndPointLoss, wide, wide_head>, Cpu> step(
      Cpu({.threads = threads}), options);
  Run run;
  run.before.resize(static_cast<std::size_t>(step.layout().total()));
  initialise(std::span(run.before), step.layout(), 7);
  std::copy(run.before.begin(), run.before.end(), step.student().data());
  std::copy(run.before.begin(), run.before.end(), step.teacher().data());
  const ViewBatch batch = test::drawn_batch(options.shape, 5);
  for (Index i = 0; i < 8; ++i) {
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, 0.04);
    step.update(report, {.optimiser = {.learning_rate = 2e-3, .weight_decay = 0.04, .step = i},
                         .teacher_momentum = 0.9});
    run.losses.push_back(report.loss);
  }
  run.student.assign(step.student().flat().begin(), step.student().flat().end());
  run.teacher.assign(step.teacher().flat().begin(), step.teacher().flat().end());
  return run;
}

}  // namespace

TEST_CASE("with batch norm, features that no loss reads have their part in the head's statistics") {
  CHECK(loss_with_last_view<ImageLoss, plain_head>(1) == loss_with_last_view<ImageLoss, plain_head>(2));
  CHECK(loss_with_last_view<PointLoss, plain_head>(1) == loss_with_last_view<PointLoss, plain_head>(2));
  CHECK(std::abs(loss_with_last_view<ImageLoss, small_head>(1) -
                 loss_with_last_view<ImageLoss, small_head>(2)) > 1e-3);
  CHECK(std::abs(loss_with_last_view<PointLoss, small_head>(1) -
                 loss_with_last_view<PointLoss, small_head>(2)) > 1e-3);
}

TEST_CASE("heads with batch norm train, to the same bits on any number of threads") {
  const Run one = trained(1);
  for (const double loss : one.losses) CHECK(std::isfinite(loss));
  INFO("from " << one.losses.front() << " to " << one.losses.back());
  CHECK(one.losses.back() < one.losses.front());
  using Recipe = test::TinyRecipe<ReferenceTokens<>, ImageAndPointLoss, wide, wide_head>;
  const ParameterLayout layout = network_layout<NetworkKindOf<Recipe>>(network_config<Recipe>());
  for (const char* head : {"head.", "ref_head."}) {
    for (const char* norm : {"mlp.1.weight", "mlp.1.bias", "mlp.4.weight", "mlp.4.bias"}) {
      const auto& spec = layout.find(std::string(head) + norm);
      INFO(spec.name.view());
      const auto student = test::tensor_of(std::span<const float>(one.student), spec);
      const auto teacher = test::tensor_of(std::span<const float>(one.teacher), spec);
      const float start = spec.initial == InitialValues::one ? 1.0F : 0.0F;
      CHECK(std::all_of(student.begin(), student.end(),
                        [&](float v) { return std::isfinite(v) && v != start; }));
      CHECK(std::all_of(teacher.begin(), teacher.end(),
                        [&](float v) { return std::isfinite(v) && v != start; }));
    }
  }
  const Run two = trained(2);
  CHECK(one.losses == two.losses);
  CHECK((one.student == two.student));
  CHECK((one.teacher == two.teacher));
}

TEST_CASE("a run says that its heads have batch norm, and says what it said before where they have none") {
  using Normed = DenseDino::with_head<ProjectionHead<HeadConfig{.batch_norm = true}>>;
  const std::string plain = describe_recipe<DenseDino>(network_config<DenseDino>(), 2);
  const std::string normed = describe_recipe<Normed>(network_config<Normed>(), 2);
  CHECK(normed == plain + ", batch norm");
}
