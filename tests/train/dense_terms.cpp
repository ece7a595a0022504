// Terms of maps in a whole training step of a small model: slopes, beside terms that read the same rows, bits, state.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
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

TEST_CASE("dense terms: slopes alone") { check_slopes_of(slopes_dense()); }

TEST_CASE("dense terms over ranks: batch norms in the projector see the patches of all") {
  SECTION("mined") { check_ranks<WeightedSum<DenseContrast<by_head(byol_mlp)>>>(); }
  SECTION("by geometry, a last norm without weights") {
    check_ranks<WeightedSum<DenseContrast<by_head(moco_v3_projector), Partners::geometry>>>();
  }
}

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

TEST_CASE("a contrast by place is a plain loop's over the patches that have a partner") {
  using Term = DenseContrast<MlpConfig{.layers = 1, .out = 3, .hidden_norm = BatchNorm::none}, Partners::geometry>;
  const Reference<double> backend;
  const GridSize grid{2, 3};
  PlacedQueueOptions options;
  options.keys = 5;
  options.temperature = 0.3;
  Term::Run<Reference<double>> run({.batch = 3, .views = 2, .grids = {grid, grid}, .parts = {{0, 2}}, .width = 3}, options);
  Memory<Reference<double>> memory(backend);
  static_cast<void>(memory.buffers([&](Arena& arena) {
    run.place_lasting(backend, arena);
    run.place_teacher(backend, arena);
    run.place_student(backend, arena, 0);
    return 0;
  }));
  RandomStream random({.seed = 3});
  std::vector<double> maps(3 * 2 * 18), of_teacher(maps.size());
  for (double& v : maps) v = random.normal();
  for (double& v : of_teacher) v = random.normal();
  const std::vector<double> eye{1, 0, 0, 0, 1, 0, 0, 0, 1};  // the projector leaves features as they are
  TermParameters<Term, const double> p;
  p.head.layers.push_back({.weight = memory.matrix(eye, 3), .bias = {}, .norm_weight = {}, .norm_bias = {}});
  TermParameters<Term, double> d_p;
  d_p.head.layers.push_back({.weight = memory.zeros(3, 3), .bias = {}, .norm_weight = {}, .norm_bias = {}});
  std::vector<double> d_maps;
  const auto loss_of = [&](const std::vector<ViewFrame>& frames) {
    run.set_frames(backend, frames);
    const auto d_map = memory.zeros(36, 3);
    run.teacher(backend, {.features = {.map = memory.matrix(of_teacher, 3)}, .parameters = p});
    run.student(backend, {.part = 0,
                          .d_features = {.map = d_map},
                          .d_parameters = d_p,
                          .features = {.map = memory.matrix(maps, 3)},
                          .parameters = p,
                          .teacher = p,
                          .numbers = {}});
    d_maps = memory.read(d_map);
    TermReport report;
    run.add_to(backend, report);
    return report.loss;
  };
  std::vector<double> queue;
  run.for_each_state([&](const std::string& name, VectorView<double> values, const auto&) {
    if (name == "placed_queue") queue = memory.read(values);
  });
  REQUIRE(queue.size() == 15);

  // Shifted, so that a column has no partner; mirrored; elsewhere altogether.
  const ViewFrame plain{{0, 0}, {6, 4}}, elsewhere{{100, 100}, {106, 104}};
  const std::vector<ViewFrame> frames{plain, plain, plain, {{2.9, 0.4}, {8.9, 4.4}}, {{5.7, 0.3}, {-0.9, 4.1}}, elsewhere};
  const auto cosine = [](const double* a, const double* b) {
    const auto dot = [](const double* u, const double* v) { return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]; };
    return dot(a, b) / std::sqrt(dot(a, a) * dot(b, b));
  };
  double sum = 0, counted = 0;
  std::vector<bool> has(18);
  for (std::size_t b = 0; b < 3; ++b) {
    const auto centre = [&](std::size_t view, std::size_t n) {
      const ViewFrame& f = frames[3 * view + b];
      const double across = (static_cast<double>(n % 3) + 0.5) / 3, down = (static_cast<double>(n / 3) + 0.5) / 2;
      return Point{f.first.x + across * (f.last.x - f.first.x), f.first.y + down * (f.last.y - f.first.y)};
    };
    for (std::size_t n = 0; n < 6; ++n) {
      std::size_t partner = 0;
      double least = std::numeric_limits<double>::infinity();
      for (std::size_t m = 0; m < 6; ++m) {
        const double off = std::hypot(centre(0, n).x - centre(1, m).x, centre(0, n).y - centre(1, m).y);
        if (off < least) partner = m, least = off;
      }
      const double diagonal = b == 1 ? std::hypot(2.2, 2) : std::hypot(2, 2);  // the larger patch's
      if (least >= 0.7 * diagonal) continue;
      has[6 * b + n] = true;
      const double* patch = maps.data() + 3 * (6 * b + n);
      const double own = std::exp(cosine(patch, of_teacher.data() + 3 * (18 + 6 * b + partner)) / 0.3);
      double all = own;
      for (std::size_t k = 0; k < 5; ++k) all += std::exp(cosine(patch, queue.data() + 3 * k) / 0.3);
      sum -= std::log(own / all);
      ++counted;
    }
  }
  CHECK(counted == 10);
  CHECK(loss_of(frames) == Approx(sum / counted).epsilon(1e-12));
  for (std::size_t i = 0; i < d_maps.size(); ++i) CHECK((d_maps[i] != 0) == (i < 54 && has[i / 3]));

  CHECK(loss_of({plain, plain, plain, elsewhere, elsewhere, elsewhere}) == 0);
  CHECK(std::ranges::all_of(d_maps, [](double d) { return d == 0; }));
  CHECK(loss_of(frames) == Approx(sum / counted).epsilon(1e-12));
  CHECK_THROWS_WITH(run.set_frames(backend, {}), Catch::Contains("'dense-contrast-placed' needs to know where the views lie: 0 frames"));
  options.reach = 0;
  CHECK_THROWS_WITH(options.validate("x."), Catch::Contains("'x.reach' is 0; expected above 0"));
}
