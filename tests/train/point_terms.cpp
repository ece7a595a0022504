// Points held to the teacher's without a head: all that every term is held to, and that equal networks agree.
#include "catch.hpp"
#include "train/term_steps.hpp"

#include <dssl/loss/point_terms.hpp>

using namespace dssl;

using Alone = WeightedSum<PointAgreement<>>;

TEST_CASE("points that agree with a teacher's: what every term is held to") { test::check_term<Alone, ReferenceTokens<>>(); }

TEST_CASE("points that agree with a teacher's: a student that is its teacher, at equal points of equal views, is at 0") {
  const auto options = test::options_of<Alone>();
  TrainingStep<test::Tiny<Alone, FeatureMap>, Reference<double>> step({}, options);
  test::draw(step);
  step.backend().copy(step.teacher(), step.student());
  ViewBatch batch = test::drawn_batch(options.shape, 5);
  batch.images[1] = batch.images[0];
  std::ranges::fill(batch.teacher_points, Point{0.2, -0.3});
  std::ranges::fill(batch.student_points, Point{0.2, -0.3});
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.4);
  CHECK(report.loss < 1e-20);
  std::ranges::fill(batch.student_points, Point{0.9, 0.8});
  StepReport apart;
  step.forward_backward(apart, batch, 0.4);
  CHECK(apart.loss > 1e-3);
}
