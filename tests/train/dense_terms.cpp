// Terms of maps in a whole training step of a small model: slopes, beside terms that read the same rows, bits, state.
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

#include <dssl/loss/dense_terms.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

constexpr MlpConfig projector = by_head(moco_v2_projector);
using DenseTerm = DenseContrast<projector>;
using DenseClSum = ListedDenseCl;
using Twice = WeightedSum<DenseTerm, PointLevel>;
using PointsFirst = WeightedSum<PointLevel, DenseTerm>;

}  // namespace

TEST_CASE("dense terms: what every term is held to") { check_listed(listed_dense()); }

TEST_CASE("dense terms: slopes beside points") {
  SECTION("before points that are read of the same map") { check_slopes<Twice, FeatureMap>(); }
  SECTION("after points that are read of the same map") { check_slopes<PointsFirst, FeatureMap>(); }
  SECTION("beside reference tokens") { check_slopes<PointsFirst, ReferenceTokens<>>(); }
}

TEST_CASE("dense terms: what is summed does not depend on the order of the terms") {
  TrainingStep<Tiny<Twice, FeatureMap>, Reference<double>> a({}, options_of<Twice>());
  auto other = options_of<PointsFirst>();
  other.loss.of<DenseTerm>() = a.options().loss.of<DenseTerm>();
  other.loss.of<PointLevel>() = a.options().loss.of<PointLevel>();
  TrainingStep<Tiny<PointsFirst, FeatureMap>, Reference<double>> b({}, other);
  // The layouts differ in their order: weights are set by name.
  draw(a);
  for (const auto& spec : b.layout().specs()) {
    const auto& from = a.layout().find(spec.name.view());
    std::copy_n(a.student().data() + from.offset, spec.size, b.student().data() + spec.offset);
    std::copy_n(a.teacher().data() + from.offset, spec.size, b.teacher().data() + spec.offset);
  }
  const ViewBatch batch = drawn_batch(other.shape, 5);
  StepReport of_a;
  StepReport of_b;
  a.begin();
  a.forward_backward(of_a, batch, 0.4);
  b.begin();
  b.forward_backward(of_b, batch, 0.4);
  CHECK(of_b.loss == Approx(of_a.loss).epsilon(1e-12));
  for (const auto& spec : b.layout().specs()) {
    const auto& from = a.layout().find(spec.name.view());
    double off = 0;
    for (Index i = 0; i < spec.size; ++i) {
      off = std::max(off, std::abs(a.gradients()(from.offset + i) - b.gradients()(spec.offset + i)));
    }
    INFO(spec.name.view());
    CHECK(off < 1e-12);
  }
}

TEST_CASE("dense terms: streamed views, and a queue that moves in updates alone") {
  auto options = options_of<DenseClSum>();
  options.shape.views.push_back({4, 4});
  options.stream_views = true;
  // Its other half needs both views at once; alone it does not.
  CHECK(refusal_of<DenseClSum>(options) == refusal_of_streamed);
  using Alone = WeightedSum<DenseTerm>;
  auto own = options_of<Alone>();
  own.shape.views.push_back({4, 4});
  TrainingStep<Tiny<Alone>, Reference<double>> at_once({}, own);
  own.stream_views = true;
  TrainingStep<Tiny<Alone>, Reference<double>> one_by_one({}, own);
  draw(at_once);
  draw(one_by_one);
  const ViewBatch batch = drawn_batch(own.shape, 5);
  for (const double pointer : {4.0, 1.0}) {
    StepReport a;
    StepReport b;
    at_once.begin();
    at_once.forward_backward(a, batch, 0.4);
    one_by_one.begin();
    const auto before = states_of(one_by_one);
    one_by_one.forward_backward(b, batch, 0.4);
    CHECK(states_of(one_by_one) == before);
    CHECK(b.loss == Approx(a.loss).epsilon(1e-12));
    at_once.update(a, {.optimiser = {.learning_rate = 0.01}, .teacher_momentum = 0.9});
    one_by_one.update(b, {.optimiser = {.learning_rate = 0.01}, .teacher_momentum = 0.9});
    double off = 0;
    for (Index i = 0; i < at_once.layout().total(); ++i) {
      off = std::max(off, std::abs(at_once.student()(i) - one_by_one.student()(i)));
    }
    CHECK(off < 1e-10);
    const auto after = states_of(one_by_one);
    REQUIRE(after.size() == 2);
    CHECK(after[0].first == "dense_queue");
    CHECK(after[0].second != before[0].second);
    CHECK(after[1].second == std::vector<double>{pointer});
  }
}
