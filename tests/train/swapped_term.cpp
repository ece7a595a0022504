// SwAV's term: the published numbers through a term alone, and whole training steps of a small model.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../objective_fixture.hpp"
#include "catch.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

#include <dssl/loss/swapped_term.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

using OwnTargets = SwappedAssignment<StopGradient, by_head(swav_projector)>;
using OfTeacher = SwappedAssignment<Ema, by_head(swav_projector)>;
using SwavLoss = ListedSwav;
using Twin = ListedSwapped;

/// The gradient of rows behind unit rows: less its part along them, over their lengths.
std::vector<double> through_unit_rows(std::vector<double> d_unit, const std::vector<double>& rows, std::size_t width) {
  for (std::size_t r = 0; r < rows.size(); r += width) {
    double squares = 0;
    double along = 0;
    for (std::size_t i = r; i < r + width; ++i) {
      squares += rows[i] * rows[i];
      along += rows[i] * d_unit[i];
    }
    for (std::size_t i = r; i < r + width; ++i) d_unit[i] = (d_unit[i] - along / squares * rows[i]) / std::sqrt(squares);
  }
  return d_unit;
}

/// The term alone, with a projector that changes nothing.
template <class B>
void check_published(const B& backend) {
  using T = typename B::Scalar;
  using Term = SwappedAssignment<StopGradient, MlpConfig{.layers = 1, .out = 16, .hidden_norm = BatchNorm::none}>;
  const ObjectiveFixture fixture("swav");
  const auto& file = fixture.file();
  const Index batch = fixture.config().get<Index>("batch");
  const Index views = fixture.extent("plain.projection", 0) / batch;
  const Index prototypes = fixture.extent("plain.prototypes.before", 0);
  Memory<B> memory(backend);
  typename Term::template Run<B> run({.batch = batch,
                                      .views = views,
                                      .parts = {{0, views}},
                                      .head = {.prototypes = prototypes},
                                      .width = 16,
                                      .share = 0.5},
                                     {.temperature = fixture.config().get<double>("temperature"),
                                      .epsilon = fixture.config().get<double>("epsilon"),
                                      .iterations = fixture.config().get<Index>("iterations")});
  static_cast<void>(memory.buffers([&](Arena& arena) {
    run.place_lasting(backend, arena);
    run.place_student(backend, arena, 0);
    return 0;
  }));
  std::vector<T> unit(16 * 16, T{0});
  for (std::size_t i = 0; i < 16; ++i) unit[17 * i] = T{1};
  const auto identity = memory.matrix(unit, 16);
  TermParameters<Term, const T> p;
  p.head.projector.layers.push_back({.weight = identity, .bias = {}, .norm_weight = {}, .norm_bias = {}});
  p.head.prototypes = memory.matrix(file, "plain.prototypes.before");
  TermParameters<Term, T> d_p;
  d_p.head.projector.layers.push_back({.weight = memory.zeros(16, 16), .bias = {}, .norm_weight = {}, .norm_bias = {}});
  d_p.head.prototypes = memory.zeros(prototypes, 16);
  const auto d_features = memory.zeros(views * batch, 16);
  run.student(backend, {.part = 0,
                        .d_features = {.class_level = d_features},
                        .d_parameters = d_p,
                        .features = {.class_level = memory.matrix(file, "plain.projection")},
                        .parameters = p,
                        .teacher = p,
                        .numbers = {},
                        .weight = 3});
  TermReport report;
  run.add_to(backend, report);
  fixture.expect("plain.loss", std::vector<T>{static_cast<T>(2 * report.loss)});
  const auto scaled = [](std::vector<T> values, double by) {
    for (T& v : values) v = static_cast<T>(by * static_cast<double>(v));
    return values;
  };
  fixture.expect("plain.d_projection", scaled(memory.read(d_features), 1 / 1.5));  // weight times share
  const auto d_prototypes = through_unit_rows(file.template read<double>("plain.d_prototypes"),
                                              file.template read<double>("plain.prototypes.before"), 16);
  const auto got = scaled(memory.read(d_p.head.prototypes), 1 / 1.5);
  CHECK(relative_difference(std::span<const T>(got), std::span<const double>(d_prototypes)) <
        (std::is_same_v<T, double> ? 1e-10 : 2e-5));
}

}  // namespace

TEST_CASE("SwAV's term alone gives the published numbers") {
  check_published(Reference<double>{});
  check_published(Cpu({.threads = 2}));
}

TEST_CASE("SwAV: what every term is held to") { check_listed(listed_swapped()); }

TEST_CASE("SwAV: slopes of a term whose targets are a teacher's, after DINO's term, which reads the same rows") {
  check_slopes<WeightedSum<ImageLevel, OfTeacher, KoLeo>>({"projector.0.bias"}, {{4, 4}});
}

TEST_CASE("SwAV's own targets are those of a teacher of the same weights") {
  TrainingStep<Tiny<SwavLoss>, Reference<double>> step({}, options_of<SwavLoss>());
  TrainingStep<Tiny<Twin>, Reference<double>> twin({}, options_of<Twin>());
  REQUIRE(step.layout().total() == twin.layout().total());
  CHECK(step.teacher().data() == step.student().data());
  draw(step);
  draw(twin);
  std::copy(twin.student().flat().begin(), twin.student().flat().end(), twin.teacher().data());
  const ViewBatch batch = drawn_batch(step.options().shape, 5);
  StepReport report;
  StepReport of_twin;
  step.begin();
  twin.begin();
  step.forward_backward(report, batch, 0.4);
  twin.forward_backward(of_twin, batch, 0.4);
  CHECK(report.loss == Approx(of_twin.loss).epsilon(1e-12));
  const double largest = std::abs(*std::ranges::max_element(step.gradients().flat(), {}, [](double v) { return std::abs(v); }));
  CHECK(largest > 1e-3);
  for (Index i = 0; i < step.layout().total(); ++i) {
    if (std::abs(step.gradients()(i) - twin.gradients()(i)) > 1e-12) FAIL("gradient " << i);
  }
}

TEST_CASE("SwAV: statistics move in updates alone") {
  TrainingStep<Tiny<SwavLoss>, Reference<double>> step({}, options_of<SwavLoss>());
  draw(step);
  const auto before = states_of(step);
  REQUIRE(before.size() == 2);
  CHECK(before[0].first == "statistics.projector.1.running_mean");
  StepReport report;
  step.begin();
  step.forward_backward(report, drawn_batch(step.options().shape, 5), 0.4);
  CHECK(states_of(step) == before);
  step.update(report, {.optimiser = {.learning_rate = 0.01}, .teacher_momentum = 0.9});
  CHECK(states_of(step)[0].second != before[0].second);
  CHECK(states_of(step)[1].second != before[1].second);
}

TEST_CASE("SwAV: prototypes are frozen as DINO's are") {
  TrainingStep<Tiny<SwavLoss>, Reference<double>> step({}, options_of<SwavLoss>());
  draw(step);
  const auto& spec = step.layout().find("prototypes.weight");
  const auto prototypes = [&] {
    const auto of = tensor_of<const double>(step.student().flat(), spec);
    return std::vector<double>(of.begin(), of.end());
  };
  const auto first = prototypes();
  for (const bool frozen : {true, false}) {
    StepReport report;
    step.begin();
    step.forward_backward(report, drawn_batch(step.options().shape, 5), 0.4);
    step.update(report, {.optimiser = {.learning_rate = 0.01, .step = frozen ? 0 : 1, .frozen_steps = 1}});
    CHECK((prototypes() == first) == frozen);
  }
}

TEST_CASE("SwAV: what cannot be is refused in words") {
  auto streamed = options_of<SwavLoss>();
  streamed.stream_views = true;
  CHECK_THROWS_WITH((TrainingStep<Tiny<SwavLoss>, Reference<double>>({}, streamed)), Catch::Contains("stream_views"));
  CHECK_THROWS_WITH((TrainingStep<Tiny<SwavLoss>, Reference<double>>({}, options_of<SwavLoss>(1))),
                    Catch::Contains("'swapped-assignment' assigns the images of a batch"));
  typename SwavLoss::Options options;
  options.of<OwnTargets>().options.iterations = 0;
  CHECK_THROWS_WITH(options.validate(), Catch::Contains("loss.swapped-assignment.iterations"));
  options.of<OwnTargets>().options = {.epsilon = 0};
  CHECK_THROWS_WITH(options.validate(), Catch::Contains("loss.swapped-assignment.epsilon"));
  CHECK(SwavLoss::describe() != Twin::describe());
}
