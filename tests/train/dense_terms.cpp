// Terms of maps in a whole training step of a small model: slopes, beside terms that read the same rows, bits, state.
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "../objective_fixture.hpp"
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

TEST_CASE("pooled agreement is a mean over pairs of views, of the patches' mean and a class token") {
  const Reference<double> backend;
  // Three views of two images, of two patches, two and one.
  const TermSetting setting{.batch = 2, .views = 3, .grids = {{1, 2}, {2, 1}, {1, 1}}, .parts = {{0, 3}}, .width = 3};
  PooledAgreement::Run<Reference<double>> run(setting, {});
  Memory<Reference<double>> memory(backend);
  static_cast<void>(memory.buffers([&](Arena& arena) {
    run.place_lasting(backend, arena);
    run.place_student(backend, arena, 0);
    return 0;
  }));
  RandomStream random({.seed = 3});
  const auto drawn = [&random](std::size_t rows) {
    std::vector<double> out(3 * rows);
    for (double& v : out) v = random.normal();
    return out;
  };
  const std::vector<double> map = drawn(10), classes = drawn(4);
  const auto loss_of = [&](const std::vector<double>& patches, const std::vector<double>& tokens) {
    const TermParameters<PooledAgreement, const double> p;
    const TermParameters<PooledAgreement, double> d_p;
    run.teacher(backend, {.features = {.class_level = memory.matrix(tokens, 3)}, .parameters = p});
    run.student(backend, {.part = 0,
                          .d_features = {.map = memory.zeros(10, 3)},
                          .d_parameters = d_p,
                          .features = {.map = memory.matrix(patches, 3)},
                          .parameters = p,
                          .teacher = p,
                          .numbers = {}});
    TermReport report;
    run.add_to(backend, report);
    return report.loss;
  };
  const std::vector<std::size_t> first_patch{0, 2, 4, 6, 8, 9, 10};  // of each view of each image
  double expected = 0;
  for (std::size_t v = 0; v < 3; ++v) {
    for (std::size_t b = 0; b < 2; ++b) {
      std::array<double, 3> mean{};
      const std::size_t begin = first_patch[2 * v + b], end = first_patch[2 * v + b + 1];
      for (std::size_t i = 3 * begin; i < 3 * end; ++i) mean[i % 3] += map[i] / static_cast<double>(end - begin);
      for (std::size_t q = 0; q < 2; ++q) {
        if (q == v) continue;
        double dot = 0, a = 0, c = 0;
        for (std::size_t d = 0; d < 3; ++d) {
          const double token = classes[3 * (2 * q + b) + d];
          dot += mean[d] * token, a += mean[d] * mean[d], c += token * token;
        }
        expected += (1 - dot / std::sqrt(a * c)) / 8;  // four pairs, two images
      }
    }
  }
  CHECK(loss_of(map, classes) == Approx(expected).epsilon(1e-12));
  const std::vector<double> alike(30, 0.7), ones(12, 1.0);
  CHECK(std::abs(loss_of(alike, ones)) < 1e-12);
}
