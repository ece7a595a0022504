// Gradients of a whole small model through a training step, against central differences of the reported loss.
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "../gradient_check.hpp"
#include "catch.hpp"
#include "train/figures.hpp"
#include "train/instances.hpp"
#include "train/tiny_heads.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/reference.hpp>
#include <dssl/train/training_step.hpp>

using namespace dssl;
using dssl::test::gradient_difference;

namespace {

constexpr ViTConfig size{.image = 6, .patch = 2, .width = 8, .depth = 2, .heads = 2, .mlp_ratio = 2, .channels = 1};

template <class Tokens, class Loss, HeadConfig H = test::tiny_head>
using Tiny = test::TinyRecipe<Tokens, Loss, size, H>;

template <class Recipe>
void check(const LossOptions& loss_options, bool with_keep) {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 1, .points = 2, .views = {{6, 6}, {6, 6}, {4, 6}}};
  options.loss = loss_options;
  options.loss.student_temperature = 0.3;
  options.stochastic_depth = 0;
  TrainingStep<Recipe, Reference<double>> step({}, options);
  const std::vector<double> student = test::drawn_weights<double>(step.layout(), 1);
  const std::vector<double> teacher = test::drawn_weights<double>(step.layout(), 2);
  std::copy(student.begin(), student.end(), step.student().data());
  std::copy(teacher.begin(), teacher.end(), step.teacher().data());
  if (!step.term_state("center").empty()) test::fill_normal(step.term_state("center").flat(), 3, 0.2);
  if (!step.term_state("ref_center").empty()) test::fill_normal(step.term_state("ref_center").flat(), 4, 0.2);
  const ViewBatch batch = test::drawn_batch(options.shape, 5);
  std::vector<double> keep;
  if (with_keep) {
    for (std::size_t i = 0; i < step.keep_size(); ++i) keep.push_back(i % 7 == 2 ? 0.0 : 1.0 + 0.25 * static_cast<double>(i % 3));
  }

  StepReport first;
  step.forward_backward(first, batch, 0.4, keep);
  CHECK(first.loss > 0.1);
  CHECK((test::loss_of(first, "image") > 0) == has_term<typename Recipe::Loss, ImageLevel>);
  CHECK((test::loss_of(first, "point") > 0) == has_term<typename Recipe::Loss, PointLevel>);
  const std::vector<double> gradients(step.gradients().flat().begin(), step.gradients().flat().end());
  // A second pass adds the same again.
  StepReport second;
  step.forward_backward(second, batch, 0.4, keep);
  CHECK(second.loss == first.loss);
  double off = 0;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    off = std::max(off, std::abs(step.gradients().flat()[i] - 2 * gradients[i]));
  }
  CHECK(off < 1e-12);
  CHECK(std::equal(student.begin(), student.end(), step.student().data()));
  CHECK(std::equal(teacher.begin(), teacher.end(), step.teacher().data()));

  const auto loss = [&] {
    StepReport report;
    step.forward_backward(report, batch, 0.4, keep);
    return report.loss;
  };
  std::uint64_t seed = 100;
  for (const auto& spec : step.layout().specs()) {
    INFO("gradient of " << spec.name.view());
    const auto d_x = test::tensor_of<const double>(gradients, spec);
    if (!spec.trained) {
      CHECK(std::all_of(d_x.begin(), d_x.end(), [](double v) { return v == 0; }));
      continue;
    }
    const auto found = gradient_difference(test::tensor_of(step.student().flat(), spec), d_x, loss, seed++, 0);
    INFO("norm " << found.norm << ", difference " << found.difference);
    // What is added to every row of a head alike, its first batch norm takes away: the bias before it, and the bias of
    // the backbone's last norm (but of patches that are sampled near an edge, which have only a part of it).
    const bool unfelt = Recipe::Head::config.batch_norm &&
                        (spec.name.view().ends_with("mlp.0.bias") ||
                         (Recipe::Tokens::point_features == PointFeatures::reference_tokens &&
                          spec.name.view() == "backbone.norm.bias"));
    if (unfelt) {
      CHECK(found.norm < 1e-12);
    } else {
      CHECK(found.norm > 1e-5);
    }
    CHECK(found.small());
  }
}

}  // namespace

TEST_CASE("reference tokens with both levels: the step's gradients are its slopes") {
  check<Tiny<ReferenceTokens<private_relation, test::learned_reference>, ImageAndPointLoss>>({.alpha = 0.3}, true);
}

TEST_CASE("class token with the image level: the step's gradients are its slopes") {
  check<Tiny<ClassToken, ImageLoss>>({}, true);
}

TEST_CASE("sampled patches with both levels: the step's gradients are its slopes") {
  check<Tiny<FeatureMap, ImageAndPointLoss>>({}, true);
}

TEST_CASE("the point level alone: the step's gradients are its slopes") {
  check<Tiny<ReferenceTokens<>, PointLoss, test::tiny_head_with_norm>>({}, false);
}

TEST_CASE("the image level over all views, points over the two global ones: the step's gradients are its slopes") {
  check<Tiny<ReferenceTokens<>, ImageAndPointLoss>>({.image_all_views = true, .point_all_views = false}, false);
}

TEST_CASE("references that everyone sees: the step's gradients are its slopes") {
  check<Tiny<ReferenceTokens<open_relation>, ImageAndPointLoss>>({}, false);
}

TEST_CASE("heads with batch norm: the step's gradients are its slopes") {
  check<Tiny<ReferenceTokens<>, ImageAndPointLoss, test::tiny_head_with_batch_norm>>({}, true);
  check<Tiny<FeatureMap, PointLoss, test::tiny_head_with_batch_norm>>({.point_all_views = false}, false);
}
