// SwAV's term: the published numbers through a term alone, and whole training steps of a small model.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
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

double entropy_of(const std::vector<double>& shares) {
  double out = 0;
  for (const double p : shares) out -= p > 0 ? p * std::log(p) : 0;
  return out;
}

/// Rows of length 1.
std::vector<double> unit_rows(std::vector<double> rows, std::size_t width) {
  for (std::size_t r = 0; r < rows.size(); r += width) {
    double squares = 0;
    for (std::size_t i = r; i < r + width; ++i) squares += rows[i] * rows[i];
    for (std::size_t i = r; i < r + width; ++i) rows[i] /= std::sqrt(squares);
  }
  return rows;
}

/// The entropies of the published assignments, worked out as they are published: scaled by turns, in no logarithms. A row's mean,
/// and of the mean row, over both assigning views.
std::array<double, 2> published_entropies(const ObjectiveFixture& fixture, const std::string& name) {
  const auto width = static_cast<std::size_t>(fixture.extent(name + ".projection", 1));
  const auto batch = fixture.config().get<std::size_t>("batch");
  const auto projection = unit_rows(fixture.file().read<double>(name + ".projection"), width);
  const auto prototypes = unit_rows(fixture.file().read<double>(name + ".prototypes.before"), width);
  const std::size_t columns = prototypes.size() / width;
  const std::vector<double> queue = name == "queue" ? fixture.file().read<double>("queue.queue.before") : std::vector<double>{};
  std::array<double, 2> out{};
  std::vector<double> mean(columns);
  for (const std::size_t view : {0U, 1U}) {
    const auto half = static_cast<std::ptrdiff_t>(queue.size() / 2), own = static_cast<std::ptrdiff_t>(batch * width);
    std::vector<double> unit(queue.begin() + static_cast<std::ptrdiff_t>(view) * half, queue.begin() + static_cast<std::ptrdiff_t>(view + 1) * half);
    const auto first = projection.begin() + static_cast<std::ptrdiff_t>(view) * own;
    unit.insert(unit.end(), first, first + own);
    const std::size_t rows = unit.size() / width;
    std::vector<double> q(rows * columns);
    for (std::size_t i = 0; i < q.size(); ++i) {
      const auto row = unit.begin() + static_cast<std::ptrdiff_t>(i / columns * width);
      q[i] = std::exp(std::inner_product(row, row + static_cast<std::ptrdiff_t>(width),
                                         prototypes.begin() + static_cast<std::ptrdiff_t>(i % columns * width), 0.0) /
                      fixture.config().get<double>("epsilon"));
    }
    for (Index turn = 0; turn < fixture.config().get<Index>("iterations"); ++turn) {
      for (std::size_t c = 0; c < columns; ++c) {
        double sum = 0;
        for (std::size_t r = 0; r < rows; ++r) sum += q[r * columns + c];
        for (std::size_t r = 0; r < rows; ++r) q[r * columns + c] /= sum;
      }
      for (std::size_t r = 0; r < rows; ++r) {
        double sum = 0;
        for (std::size_t c = 0; c < columns; ++c) sum += q[r * columns + c];
        for (std::size_t c = 0; c < columns; ++c) q[r * columns + c] /= sum;
      }
    }
    for (std::size_t r = rows - batch; r < rows; ++r) {
      const std::vector<double> shares(q.begin() + static_cast<std::ptrdiff_t>(r * columns), q.begin() + static_cast<std::ptrdiff_t>((r + 1) * columns));
      out[0] += entropy_of(shares) / static_cast<double>(2 * batch);
      for (std::size_t c = 0; c < columns; ++c) mean[c] += shares[c] / static_cast<double>(2 * batch);
    }
  }
  out[1] = entropy_of(mean);
  return out;
}

/// The term alone, with a projector that changes nothing, without a queue and with a full one.
template <class B>
void check_published(const B& backend, const std::string& name) {
  using T = typename B::Scalar;
  using Term = SwappedAssignment<StopGradient, by_head({.layers = 1, .hidden_norm = BatchNorm::none})>;
  INFO(name);
  const ObjectiveFixture fixture("swav");
  const auto& file = fixture.file();
  const Index batch = fixture.config().get<Index>("batch");
  const Index width = fixture.extent(name + ".projection", 1);
  const Index views = fixture.extent(name + ".projection", 0) / batch;
  const Index prototypes = fixture.extent(name + ".prototypes.before", 0);
  const Index queue = name == "queue" ? fixture.config().get<Index>("queue") : 0;
  Memory<B> memory(backend);
  typename Term::template Run<B> run({.batch = batch,
                                      .views = views,
                                      .parts = {{0, views}},
                                      .head = {.bottleneck = width, .prototypes = prototypes},
                                      .width = width,
                                      .share = 0.5},
                                     {.temperature = fixture.config().get<double>("temperature"),
                                      .epsilon = fixture.config().get<double>("epsilon"),
                                      .iterations = fixture.config().get<Index>("iterations"),
                                      .queue = queue,
                                      .queue_first_epoch = 0});
  static_cast<void>(memory.buffers([&](Arena& arena) {
    run.place_lasting(backend, arena);
    run.place_student(backend, arena, 0);
    return 0;
  }));
  // Published queues have their oldest rows at the end, and those are written next.
  run.for_each_state([&](std::string_view state, VectorView<T> values, const std::vector<Index>& shape) {
    std::vector<T> host{static_cast<T>(2 * queue - batch)};
    if (state == "queue") {
      CHECK(shape == std::vector<Index>{2, queue, width});
      host = file.template read<T>("queue.queue.before");
    }
    backend.upload(values.data(), std::span<const T>(host));
  });
  std::vector<T> unit(static_cast<std::size_t>(width * width), T{0});
  for (Index i = 0; i < width; ++i) unit[static_cast<std::size_t>((width + 1) * i)] = T{1};
  const auto identity = memory.matrix(unit, width);
  TermParameters<Term, const T> p;
  p.head.projector.layers.push_back({.weight = identity, .bias = {}, .norm_weight = {}, .norm_bias = {}});
  p.head.prototypes = memory.matrix(file, name + ".prototypes.before");
  TermParameters<Term, T> d_p;
  d_p.head.projector.layers.push_back({.weight = memory.zeros(width, width), .bias = {}, .norm_weight = {}, .norm_bias = {}});
  d_p.head.prototypes = memory.zeros(prototypes, width);
  const auto d_features = memory.zeros(views * batch, width);
  run.begin(backend);
  CHECK(run.repeats());
  run.student(backend, {.part = 0,
                        .d_features = {.class_level = d_features},
                        .d_parameters = d_p,
                        .features = {.class_level = memory.matrix(file, name + ".projection")},
                        .parameters = p,
                        .teacher = p,
                        .numbers = {},
                        .weight = 3});
  TermReport report;
  run.start(report);
  run.add_to(backend, report);
  const auto [entropy, of_mean] = published_entropies(fixture, name);
  CHECK(2 * report.teacher_entropy == Approx(entropy).epsilon(std::is_same_v<T, double> ? 1e-10 : 1e-5));
  CHECK(2 * report.mean_entropy == Approx(of_mean).epsilon(std::is_same_v<T, double> ? 1e-10 : 1e-5));
  CHECK(of_mean > entropy + 0.1);
  CHECK(report.divergence == Approx(report.loss - report.teacher_entropy).epsilon(1e-12));
  fixture.expect(name + ".loss", std::vector<T>{static_cast<T>(2 * report.loss)});
  const auto scaled = [](std::vector<T> values, double by) {
    for (T& v : values) v = static_cast<T>(by * static_cast<double>(v));
    return values;
  };
  fixture.expect(name + ".d_projection", scaled(memory.read(d_features), 1 / 1.5));  // weight times share
  const auto d_prototypes =
      through_unit_rows(file.template read<double>(name + ".d_prototypes"),
                        file.template read<double>(name + ".prototypes.before"), static_cast<std::size_t>(width));
  const auto got = scaled(memory.read(d_p.head.prototypes), 1 / 1.5);
  CHECK(relative_difference(std::span<const T>(got), std::span<const double>(d_prototypes)) <
        (std::is_same_v<T, double> ? 1e-10 : 2e-5));
  if (queue == 0) return;
  run.update(backend);
  run.for_each_state([&](std::string_view state, VectorView<T> values, const std::vector<Index>& /*shape*/) {
    std::vector<T> host(static_cast<std::size_t>(values.size()));
    backend.download(std::span<T>(host), static_cast<const T*>(values.data()));
    if (state != "queue") {
      CHECK(host == std::vector<T>{static_cast<T>(queue)});
      return;
    }
    for (const auto half : {host.begin(), host.begin() + queue * width}) {
      std::rotate(half, half + (queue - batch) * width, half + queue * width);
    }
    fixture.expect("queue.queue.after", host);
  });
}

/// The state of a term by its name.
template <class Step>
std::vector<double> state_of(const Step& step, std::string_view name) {
  for (const auto& [known, values] : states_of(step)) {
    if (known == name) return values;
  }
  return {};
}

/// A step that trains nothing: passes of other batches see the same weights.
template <class Step>
double still_update(Step& step, Index number, Index epoch = 0) {
  ViewBatch batch = drawn_batch(step.options().shape, 5, 4 * number);
  batch.epoch = epoch;
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.4);
  step.update(report, {.optimiser = {.learning_rate = 0, .step = number}, .teacher_momentum = 1});
  return report.loss;
}

/// Fills the queues of a step with random unit rows, Q in all; the next one goes to the second row.
template <class Step>
void fill_queue(Step& step) {
  step.for_each_term_state([&](std::string_view name, VectorView<double> values, const std::vector<Index>& shape) {
    if (name == "queue_ptr") values(0) = static_cast<double>(step.term_state("queue").size() / 2 / term_widths.bottleneck + 1);
    if (name != "queue") return;
    const auto width = static_cast<std::size_t>(shape[2]);
    const auto drawn = normal_values(static_cast<std::size_t>(values.size()), 11);
    for (std::size_t r = 0; r < drawn.size(); r += width) {
      double squares = 0;
      for (std::size_t i = r; i < r + width; ++i) squares += drawn[i] * drawn[i];
      for (std::size_t i = r; i < r + width; ++i) values(static_cast<Index>(i)) = drawn[i] / std::sqrt(squares);
    }
  });
}

}  // namespace

TEST_CASE("SwAV's term alone gives the published numbers, without a queue and with one") {
  for (const std::string name : {"plain", "queue"}) {
    check_published(Reference<double>{}, name);
    check_published(Cpu({.threads = 2}), name);
  }
}

TEST_CASE("SwAV: slopes beside a full queue") {
  const auto options = options_of<Twin>(4, {{4, 4}});
  TrainingStep<Tiny<Twin>, Reference<double>> step({}, options);
  draw(step);
  const ViewBatch batch = drawn_batch(options.shape, 5);
  const auto loss = [&] {
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, 0.4);
    return report.loss;
  };
  const double without = loss();
  fill_queue(step);
  CHECK(std::abs(loss() - without) > 1e-3);
  for (const ParameterGradient& p : gradient_differences(step, batch, 0.4)) {
    INFO("gradient of " << p.name << ", norm " << p.found.norm << ", difference " << p.found.difference);
    CHECK(p.found.small());
  }
}

TEST_CASE("SwAV: a run that stays at equal shares is a collapse in words, with its figures") {
  auto options = options_of<SwavLoss>();
  auto& numbers = options.loss.of<OwnTargets>().options;
  const auto report_with = [&](double epsilon, double temperature) {
    numbers.epsilon = epsilon;
    numbers.temperature = temperature;
    TrainingStep<Tiny<SwavLoss>, Reference<double>> step({}, options);
    draw(step);
    StepReport report;
    step.begin();
    step.forward_backward(report, drawn_batch(options.shape, 5), 0.4);
    return report.term("swapped-assignment");
  };
  const TermReport flat = report_with(1e3, 1e3);
  CHECK(collapse_of(flat, 6) == Collapse::uniform);
  const std::string words = advice_for(Collapse::uniform, flat, 6);
  CHECK(contains(words, "of SwAV a smaller epsilon"));
  CHECK(contains(words, "(term 'swapped-assignment': loss 1.79176, entropy of targets 1.79176, of their mean 1.79176; ln P 1.79176)"));
  CHECK(collapse_of(report_with(0.05, 0.1), 6) == Collapse::none);
  CHECK(collapse_of(report_with(0.05, 1e3), 6) == Collapse::none);  // flat predictions of targets that are not
}

TEST_CASE("SwAV's queue has the rows of the newest updates, from its first epoch on, and is used once it is full") {
  auto options = options_of<SwavLoss>();
  auto& numbers = options.loss.of<OwnTargets>().options;
  const auto step_with = [&](Index queue, Index first) {
    numbers.queue = queue;
    numbers.queue_first_epoch = first;
    TrainingStep<Tiny<SwavLoss>, Reference<double>> step({}, options);
    draw(step);
    return step;
  };
  // A queue of a batch has the last update's rows.
  const Index width = term_widths.bottleneck;
  std::vector<std::vector<double>> rows;
  auto newest = step_with(4, 0);
  for (Index i = 0; i < 6; ++i) {
    static_cast<void>(still_update(newest, i));
    rows.push_back(state_of(newest, "queue"));
  }
  auto without = step_with(0, 0);
  CHECK(state_of(without, "queue").empty());
  auto step = step_with(10, 2);
  const std::vector<double> pointers{0, 0, 4, 8, 12, 16};
  std::vector<double> expected(static_cast<std::size_t>(2 * 10 * width), 0.0);
  for (Index i = 0; i < 6; ++i) {
    INFO("update " << i);
    const double loss = still_update(step, i, i);
    const double plain = still_update(without, i);
    if (i < 5) {
      CHECK(loss == plain);
    } else {
      CHECK(std::abs(loss - plain) > 1e-4);
    }
    for (Index row = 0; i >= 2 && row < 4; ++row) {
      for (const Index view : {0, 1}) {
        const auto from = rows[static_cast<std::size_t>(i)].begin() + (view * 4 + row) * width;
        std::copy_n(from, width, expected.begin() + (view * 10 + ((i - 2) * 4 + row) % 10) * width);
      }
    }
    CHECK(state_of(step, "queue") == expected);
    CHECK(state_of(step, "queue_ptr") == std::vector<double>{pointers[static_cast<std::size_t>(i)]});
  }
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
  REQUIRE(before.size() == 4);
  CHECK(before[0].first == "statistics.projector.1.running_mean");
  CHECK(before[2].first == "queue");
  StepReport report;
  step.begin();
  step.forward_backward(report, drawn_batch(step.options().shape, 5), 0.4);
  CHECK(states_of(step) == before);
  step.update(report, {.optimiser = {.learning_rate = 0.01}, .teacher_momentum = 0.9});
  CHECK(states_of(step)[0].second != before[0].second);
  CHECK(states_of(step)[1].second != before[1].second);
  CHECK(states_of(step)[2].second != before[2].second);
}

TEST_CASE("SwAV: a batch cut over ranks meets a full queue as the batch as one does") {
  auto options = options_of<SwavLoss>();
  options.loss.of<OwnTargets>().options.queue = 4;  // the second update is beside the first one's rows
  const TwoUpdates expected = two_updates<SwavLoss, ClassToken>(options, {});
  std::vector<TwoUpdates> found(2);
  const auto words = on_ranks(2, [&](const Communicator& ranks) {
    found[static_cast<std::size_t>(ranks.rank())] = two_updates<SwavLoss, ClassToken>(options, ranks);
  });
  REQUIRE(words == no_words(2));
  check_same_updates(found[0], expected, true);
  CHECK((found[1].student == found[0].student));
  CHECK((found[1].states == found[0].states));
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
  options.of<OwnTargets>().options = {.queue = -1};
  CHECK_THROWS_WITH(options.validate(), Catch::Contains("loss.swapped-assignment.queue' is -1; expected 0 to 8388608"));
  options.of<OwnTargets>().options = {.queue_first_epoch = -1};
  CHECK_THROWS_WITH(options.validate(), Catch::Contains("loss.swapped-assignment.queue_first_epoch"));
  auto short_queue = options_of<SwavLoss>();
  short_queue.loss.of<OwnTargets>().options.queue = 3;
  CHECK_THROWS_WITH((TrainingStep<Tiny<SwavLoss>, Reference<double>>({}, short_queue)),
                    Catch::Contains("option 'batch' is 4; expected at most the rows of the queue, 3"));
  TrainingStep<Tiny<SwavLoss>, Reference<double>> step({}, options_of<SwavLoss>());
  for (const double pointer : {14.0, -1.0, 1e30}) {
    step.term_state("queue_ptr")(0) = pointer;
    CHECK_THROWS_WITH(step.begin(), Catch::Contains("'queue_ptr', is ") && Catch::Contains("expected 0 to 13"));
  }
}
