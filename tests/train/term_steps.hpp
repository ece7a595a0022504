// Small steps of any objective, for tests of its terms: slopes, bits, state.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../gradient_check.hpp"
#include "../ranks.hpp"
#include "../thrown.hpp"
#include "tiny_model.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/loss/point_contrast.hpp>
#include <dssl/loss/point_terms.hpp>
#include <dssl/loss/spread_terms.hpp>
#include <dssl/loss/two_view_terms.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/training_step.hpp>

namespace dssl::test {

inline constexpr ViTConfig term_size{
    .image = 6, .patch = 2, .width = 8, .depth = 2, .heads = 2, .mlp_ratio = 2, .channels = 1};
inline constexpr HeadConfig term_widths{.layers = 2, .hidden = 7, .bottleneck = 5, .prototypes = 6};

template <class Loss, class Tokens = ClassToken>
using Tiny = TinyRecipe<Tokens, Loss, term_size, term_widths>;

/// Short queues, and weights that are not 1.
template <class... Terms>
void set_short(TermOptions<Terms...>& options) {
  const auto set = [](auto& slot, double weight) {
    slot.weight = weight;
    if constexpr (requires { slot.options.keys; }) slot.options.keys = 7;
    if constexpr (requires { slot.options.queue_first_epoch; }) {
      slot.options.queue = 7;
      slot.options.queue_first_epoch = 0;
    }
  };
  double weight = 1;
  (set(options.template of<Terms>(), std::exchange(weight, weight * 0.6)), ...);
}

/// `more`: sizes of views after the two global ones. Points of a sum with `PointAgreement` or `PointNtXent` may not be valid.
template <class Loss>
BasicStepOptions<typename Loss::Options> options_of(Index batch = 4, const std::vector<ViewSize>& more = {}) {
  BasicStepOptions<typename Loss::Options> options;
  options.shape = {.batch = batch, .channels = 1, .points = Loss::reads.points ? 2 : 0, .views = {{6, 6}, {6, 6}},
                   .masked = Loss::reads.masked ? 2 * batch * 9 : 0};
  options.shape.views.insert(options.shape.views.end(), more.begin(), more.end());
  options.shape.checked_points = has_term<Loss, PointAgreement<>> || has_term<Loss, PointNtXent<by_head(simclr_projector)>>;
  options.stochastic_depth = 0;
  set_short(options.loss);
  return options;
}

template <class Step>
void draw(Step& step) {
  using T = typename Step::T;
  const auto student = drawn_weights<T>(step.layout(), 1);
  step.backend().upload(step.student().data(), std::span<const T>(student));
  if constexpr (Step::Loss::has_frozen) {
    step.frozen().give(step.backend(), drawn_weights<T>(step.frozen().layout(), 4));
  }
  if (step.teacher().data() == step.student().data()) return;
  const auto teacher = drawn_weights<T>(step.layout(), 2);
  step.backend().upload(step.teacher().data(), std::span<const T>(teacher));
  if constexpr (Step::Loss::snapshots > 0) {
    const auto snapshot = drawn_weights<T>(step.layout(), 3);
    step.backend().upload(step.snapshot().data(), std::span<const T>(snapshot));
  }
}

/// The words in which a step with such options is refused.
template <class Loss, class Tokens = ClassToken>
std::string refusal_of(const BasicStepOptions<typename Loss::Options>& options) {
  return thrown_by<OptionError>([&] { TrainingStep<Tiny<Loss, Tokens>, Reference<double>>({}, options); });
}
inline constexpr std::string_view refusal_of_streamed =
    "option 'stream_views' is true; expected false: a term of the loss compares all views of the batch at once";

/// All that lasts in the terms, by name.
template <class Step>
std::vector<std::pair<std::string, std::vector<typename Step::T>>> states_of(const Step& step) {
  std::vector<std::pair<std::string, std::vector<typename Step::T>>> out;
  step.for_each_term_state([&](std::string_view name, auto values, const auto&) {
    auto& host = out.emplace_back(name, std::vector<typename Step::T>(static_cast<std::size_t>(values.size()))).second;
    step.backend().download(std::span<typename Step::T>(host), static_cast<const typename Step::T*>(values.data()));
  });
  return out;
}

/// `unfelt`: tensors whose gradient is 0 by the batch norm behind them.
template <class Loss, class Tokens = ClassToken>
void check_slopes(const std::vector<std::string>& unfelt = {}, const std::vector<ViewSize>& more = {}) {
  const auto options = options_of<Loss>(4, more);
  TrainingStep<Tiny<Loss, Tokens>, Reference<double>> step({}, options);
  draw(step);
  const ViewBatch batch = drawn_batch(options.shape, 5);
  const auto before = states_of(step);
  const std::vector<ParameterGradient> found = gradient_differences(step, batch, 0.4);
  CHECK(states_of(step) == before);  // passes move nothing
  for (const ParameterGradient& p : found) {
    INFO("gradient of " << p.name << ", norm " << p.found.norm << ", difference " << p.found.difference);
    CHECK(p.found.small());
    if (!p.trained) {
      CHECK(p.found.norm == 0);
    } else if (std::find(unfelt.begin(), unfelt.end(), p.name) != unfelt.end()) {
      CHECK(p.found.norm < 1e-10);
    } else {
      CHECK(p.found.norm > 1e-6);
    }
  }
}

template <class Loss, class Tokens>
std::vector<float> bits_of(int threads, const std::vector<ViewSize>& more) {
  const auto options = options_of<Loss>(6, more);
  TrainingStep<Tiny<Loss, Tokens>, Cpu> step(Cpu({.threads = threads}), options);
  draw(step);
  for (Index i = 0; i < 3; ++i) {
    StepReport report;
    step.begin();
    step.forward_backward(report, drawn_batch(options.shape, 7, 6 * i), 0.04);
    step.update(report, {.optimiser = {.learning_rate = 1e-3, .weight_decay = 0.04, .step = i}, .teacher_momentum = 0.99});
  }
  std::vector<float> bits(step.student().flat().begin(), step.student().flat().end());
  bits.insert(bits.end(), step.teacher().flat().begin(), step.teacher().flat().end());
  for (const auto& [name, values] : states_of(step)) bits.insert(bits.end(), values.begin(), values.end());
  return bits;
}

template <class Loss, class Tokens = ClassToken>
void check_threads(const std::vector<ViewSize>& more = {}) {
  const auto one = bits_of<Loss, Tokens>(1, more);
  CHECK(std::all_of(one.begin(), one.end(), [](float v) { return std::isfinite(v); }));
  CHECK(bits_of<Loss, Tokens>(2, more) == one);
  CHECK(bits_of<Loss, Tokens>(4, more) == one);
}

/// Two passes of an update are the mean of each alone, in losses and gradients; what lasts is of the last one, but for
/// centres, which are the mean of both.
template <class Loss, class Tokens = ClassToken>
void check_accumulation() {
  using Step = TrainingStep<Tiny<Loss, Tokens>, Reference<double>>;
  auto options = options_of<Loss>();
  std::vector<Step> singles;
  singles.reserve(2);
  for (Index pass = 0; pass < 2; ++pass) singles.emplace_back(Reference<double>(), options);
  options.accumulate = 2;
  Step both({}, options);
  draw(both);
  const UpdateNumbers numbers{.optimiser = {.learning_rate = 0}, .teacher_momentum = 1};
  std::vector<double> mean(static_cast<std::size_t>(both.layout().total()), 0.0);
  double loss = 0;
  StepReport report;
  both.begin();
  for (const Index pass : {0, 1}) {
    const ViewBatch batch = test::drawn_batch(options.shape, 5, 4 * pass);
    Step& single = singles[static_cast<std::size_t>(pass)];
    draw(single);
    StepReport alone;
    single.begin();
    single.forward_backward(alone, batch, 0.4);
    loss += alone.loss / 2;
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += single.gradients().flat()[i] / 2;
    single.update(alone, numbers);
    both.forward_backward(report, batch, 0.4);
  }
  CHECK(report.loss == Approx(loss).epsilon(1e-12));
  double off = 0;
  for (std::size_t i = 0; i < mean.size(); ++i) off = std::max(off, std::abs(both.gradients().flat()[i] - mean[i]));
  CHECK(off < 1e-12);
  both.update(report, numbers);
  const auto after = states_of(both), of_first = states_of(singles[0]), of_last = states_of(singles[1]);
  REQUIRE(after.size() == of_last.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    const auto& [name, values] = after[i];
    INFO(name);
    if (name.find("center") == std::string::npos) {
      CHECK(values == of_last[i].second);
      continue;
    }
    CHECK(of_first[i].second != of_last[i].second);
    REQUIRE(values.size() == of_last[i].second.size());
    for (std::size_t k = 0; k < values.size(); ++k) {
      CHECK(values[k] == Approx((of_first[i].second[k] + of_last[i].second[k]) / 2).epsilon(1e-10).margin(1e-14));
    }
  }
}

/// Views one after the other give the losses and gradients of all at once; a term that needs the batch whole refuses.
template <class Loss, class Tokens = ClassToken>
void check_streamed() {
  using Step = TrainingStep<Tiny<Loss, Tokens>, Reference<double>>;
  auto options = options_of<Loss>(4, {{4, 4}});
  Step at_once({}, options);
  options.stream_views = true;
  if (Loss::whole == Whole::batch) {
    CHECK(refusal_of<Loss, Tokens>(options) == refusal_of_streamed);
    return;
  }
  Step streamed({}, options);
  const ViewBatch batch = drawn_batch(options.shape, 5);
  std::array<StepReport, 2> reports;
  for (Step* step : {&at_once, &streamed}) {
    draw(*step);
    step->begin();
    step->forward_backward(reports[step == &streamed ? 1 : 0], batch, 0.4);
  }
  CHECK(reports[1].loss == Approx(reports[0].loss).epsilon(1e-12));
  double off = 0, largest = 0;
  for (Index i = 0; i < at_once.layout().total(); ++i) {
    off = std::max(off, std::abs(streamed.gradients()(i) - at_once.gradients()(i)));
    largest = std::max(largest, std::abs(at_once.gradients()(i)));
  }
  CHECK(largest > 1e-6);
  CHECK(off <= 1e-12 * std::max(1.0, largest));
}

/// The images rank, rank + size, ... of a batch.
inline ViewBatch part_of(const ViewBatch& whole, const Communicator& ranks) {
  BatchShape shape = whole.shape;
  const Index size = ranks.size(), all = shape.batch;
  shape.batch /= size;
  shape.masked /= size;
  ViewBatch out = ViewBatch::of(shape);
  out.epoch = whole.epoch;
  out.masks.resize(whole.masks.size() / static_cast<std::size_t>(size));
  // Everything lies as (outer,B,inner).
  const auto take = [&](auto& to, const auto& from, Index outer) {
    const auto inner = static_cast<Index>(from.size()) / (outer * all);
    for (Index o = 0; o < outer; ++o) {
      for (Index b = 0; b < shape.batch; ++b) {
        std::copy_n(from.begin() + (o * all + b * size + ranks.rank()) * inner, inner, to.begin() + (o * shape.batch + b) * inner);
      }
    }
  };
  for (std::size_t v = 0; v < out.images.size(); ++v) take(out.images[v], whole.images[v], 1);
  take(out.samples, whole.samples, 1);
  take(out.frames, whole.frames, shape.view_count());
  take(out.masks, whole.masks, 2);
  take(out.teacher_points, whole.teacher_points, 2);
  take(out.valid, whole.valid, 2);
  take(out.student_points, whole.student_points, shape.view_count());
  return out;
}

/// What two updates leave behind.
struct TwoUpdates {
  std::array<StepReport, 2> reports;
  std::vector<double> gradients, student, teacher;
  std::vector<std::pair<std::string, std::vector<double>>> states;
};

template <class Loss, class Tokens>
TwoUpdates two_updates(BasicStepOptions<typename Loss::Options> options, const Communicator& ranks) {
  const BatchShape whole = options.shape;
  options.shape.batch /= ranks.size();
  options.shape.masked /= ranks.size();
  options.ranks = ranks;
  options.optimiser.kind = OptimiserKind::sgd;  // which does not make much of little
  TrainingStep<Tiny<Loss, Tokens>, Reference<double>> step({}, options);
  draw(step);
  TwoUpdates out;
  for (Index i = 0; i < 2; ++i) {
    StepReport& report = out.reports[static_cast<std::size_t>(i)];
    step.begin();
    for (Index pass = 0; pass < options.accumulate; ++pass) {
      const ViewBatch batch = drawn_batch(whole, 7, whole.batch * (i * options.accumulate + pass));
      step.forward_backward(report, part_of(batch, ranks), 0.4);
    }
    step.update(report, {.optimiser = {.learning_rate = 0.01, .weight_decay = 0.04, .step = i}, .teacher_momentum = 0.9});
    step.inspect(report);
  }
  const auto host = [](const auto& values) { return std::vector<double>(values.flat().begin(), values.flat().end()); };
  out.gradients = host(step.gradients());
  out.student = host(step.student());
  out.teacher = host(step.teacher());
  out.states = states_of(step);
  return out;
}

/// Both of which are the same but for rounding. `spread`: the spread of features too, which is that of class tokens, or where
/// there are none of the first rows of each rank.
inline void check_same_updates(const TwoUpdates& found, const TwoUpdates& expected, bool spread) {
  const auto near = [](const std::vector<double>& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    double off = 0, largest = 1e-3;
    for (std::size_t i = 0; i < a.size(); ++i) {
      off = std::max(off, std::abs(a[i] - b[i]));
      largest = std::max(largest, std::abs(b[i]));
    }
    return off <= 1e-12 * largest;
  };
  for (std::size_t i = 0; i < 2; ++i) {
    INFO("update " << i);
    const StepReport& is = found.reports[i];
    const StepReport& should = expected.reports[i];
    CHECK(is.loss == Approx(should.loss).epsilon(1e-12));
    CHECK(is.valid_points == Approx(should.valid_points).epsilon(1e-12));
    CHECK(is.gradient_norm == Approx(should.gradient_norm).epsilon(1e-12));
    if (spread) CHECK(is.feature_spread == Approx(should.feature_spread).epsilon(1e-12));
    for (const TermReport& term : should.each_term()) {
      INFO(term.name);
      const TermReport& own = is.term(term.name);
      CHECK(own.loss == Approx(term.loss).epsilon(1e-12));
      CHECK(own.counted == Approx(term.counted).epsilon(1e-12));
      CHECK(std::isfinite(own.teacher_entropy) == std::isfinite(term.teacher_entropy));
      if (!std::isfinite(term.teacher_entropy)) continue;
      CHECK(own.teacher_entropy == Approx(term.teacher_entropy).epsilon(1e-12));
      CHECK(own.divergence == Approx(term.divergence).epsilon(1e-11).margin(1e-13));
      const auto same = [](double a, double b) { return std::isfinite(b) ? a == Approx(b).epsilon(1e-12) : !std::isfinite(a); };
      CHECK(same(own.centre_norm, term.centre_norm));
      CHECK(same(own.mean_entropy, term.mean_entropy));
    }
  }
  CHECK(near(found.gradients, expected.gradients));
  CHECK(near(found.student, expected.student));
  CHECK(near(found.teacher, expected.teacher));
  REQUIRE(found.states.size() == expected.states.size());
  for (std::size_t i = 0; i < found.states.size(); ++i) {
    INFO(found.states[i].first);
    CHECK(found.states[i].first == expected.states[i].first);
    CHECK(near(found.states[i].second, expected.states[i].second));
  }
}

/// A batch cut over 2 and 4 ranks makes the updates of the batch as one, every rank the same ones to the bit. KoLeo
/// compares the images of all ranks here.
template <class Loss, class Tokens = ClassToken>
void check_ranks(BasicStepOptions<typename Loss::Options> options) {
  if constexpr (has_term<Loss, KoLeo>) options.loss.template of<KoLeo>().options.all_ranks = true;
  const TwoUpdates expected = two_updates<Loss, Tokens>(options, {});
  for (const Index size : {2, 4}) {
    INFO(size << " ranks");
    std::vector<TwoUpdates> found(static_cast<std::size_t>(size));
    const auto words = on_ranks(size, [&](const Communicator& ranks) {
      found[static_cast<std::size_t>(ranks.rank())] = two_updates<Loss, Tokens>(options, ranks);
    });
    REQUIRE(words == no_words(size));
    check_same_updates(found[0], expected, Loss::reads.class_level);
    for (const TwoUpdates& other : found) {
      CHECK((other.student == found[0].student));
      CHECK((other.teacher == found[0].teacher));
      CHECK((other.states == found[0].states));
    }
  }
}
/// `more`: sizes of views after the two global ones.
template <class Loss, class Tokens = ClassToken>
void check_ranks(const std::vector<ViewSize>& more = {}) {
  check_ranks<Loss, Tokens>(options_of<Loss>(4, more));
}

/// Numbers in a step's memory.
template <class Step>
std::vector<typename Step::T> host_of(const Step& step, VectorView<typename Step::T> values) {
  std::vector<typename Step::T> out(static_cast<std::size_t>(values.size()));
  step.backend().download(std::span<typename Step::T>(out), static_cast<const typename Step::T*>(values.data()));
  return out;
}

/// The largest difference, over the largest number or `least`: what should be 0 is compared with that.
inline double distance_of(std::span<const float> is, std::span<const double> should, double least) {
  REQUIRE(is.size() == should.size());
  double off = 0;
  double largest = least;
  for (std::size_t i = 0; i < is.size(); ++i) {
    off = std::max(off, std::abs(static_cast<double>(is[i]) - should[i]));
    largest = std::max(largest, std::abs(should[i]));
  }
  return off / largest;
}

/// What two updates give.
template <class Step>
struct Outcome {
  std::vector<double> losses;
  std::vector<typename Step::T> gradients;  // of the first pass
  decltype(states_of(std::declval<const Step&>())) states;
};

template <class Step>
Outcome<Step> outcome_of(Step& step) {
  Outcome<Step> out;
  draw(step);
  for (Index i = 0; i < 3; ++i) {  // the last one beside queues that have filled
    StepReport report;
    step.begin();
    step.forward_backward(report, drawn_batch(step.options().shape, 7, 4 * i), 0.2);
    if (i == 0) out.gradients = host_of(step, step.gradients());
    step.update(report, {.optimiser = {.learning_rate = 1e-3, .step = i}, .teacher_momentum = 0.9});
    out.losses.push_back(report.loss);
  }
  out.states = states_of(step);
  return out;
}

/// How far numbers in float may be from the oracle's, relative to the largest: those of a tensor, or `least` of all gradients'.
struct OutcomeLimits {
  double losses, gradients, least, states;
};

/// Holds what a step gives in float to what the oracle gives: losses, the gradient of every tensor, what lasts.
template <class Step, class Oracle>
void check_outcome(const Outcome<Step>& is, const Outcome<Oracle>& should, const ParameterLayout& layout,
                   const OutcomeLimits& limits) {
  REQUIRE(is.losses.size() == should.losses.size());
  for (std::size_t i = 0; i < is.losses.size(); ++i) CHECK(is.losses[i] == Approx(should.losses[i]).epsilon(limits.losses));
  const std::span<const float> gradients(is.gradients);
  const std::span<const double> expected(should.gradients);
  REQUIRE(gradients.size() == expected.size());
  double largest = 1e-12;
  for (const double g : expected) largest = std::max(largest, std::abs(g));
  for (const ParameterSpec& spec : layout.specs()) {
    INFO("gradient of " << spec.name.view());
    const auto first = static_cast<std::size_t>(spec.offset), size = static_cast<std::size_t>(spec.size);
    CHECK(distance_of(gradients.subspan(first, size), expected.subspan(first, size), limits.least * largest) < limits.gradients);
  }
  REQUIRE(is.states.size() == should.states.size());
  for (std::size_t i = 0; i < is.states.size(); ++i) {
    INFO(is.states[i].first);
    CHECK(is.states[i].first == should.states[i].first);
    CHECK(distance_of(is.states[i].second, should.states[i].second, 0.1) < limits.states);
  }
}

/// Cpu, which computes in float with kernels of its own, holds to the oracle.
template <class Loss, class Tokens = ClassToken>
void check_in_float(const std::vector<ViewSize>& more = {}) {
  auto options = options_of<Loss>(4, more);
  options.optimiser.kind = OptimiserKind::sgd;  // which does not make much of little
  TrainingStep<Tiny<Loss, Tokens>, Reference<double>> oracle({}, options);
  TrainingStep<Tiny<Loss, Tokens>, Cpu> step(Cpu({.threads = 2}), options);
  check_outcome(outcome_of(step), outcome_of(oracle), oracle.layout(),
                {.losses = 1e-5, .gradients = 1e-4, .least = 1e-2, .states = 1e-4});
}

/// Whether a term's targets are the student's own features: slopes see them move with the weights, though no gradient
/// flows there.
template <class... Terms>
constexpr bool own_targets(TypeList<Terms...>) {
  return (std::is_same_v<typename Terms::Teacher, StopGradient> || ...);
}

/// All that every term is held to: slopes, bits, accumulated, streamed and divided equality, the oracle in float. Terms with
/// targets of their own have tests that hold their gradients to those of a teacher of the same weights.
template <class Loss, class Tokens = ClassToken>
void check_term(const std::vector<std::string>& unfelt = {}) {
  const std::vector<ViewSize> small{{4, 4}};
  if constexpr (!own_targets(typename Loss::Terms())) {
    check_slopes<Loss, Tokens>(unfelt);
    check_slopes<Loss, Tokens>(unfelt, small);
  }
  check_threads<Loss, Tokens>(small);
  check_accumulation<Loss, Tokens>();
  check_streamed<Loss, Tokens>();
  check_ranks<Loss, Tokens>(small);
  check_in_float<Loss, Tokens>(small);
}

/// The same of each of a part of the catalogue (catalogue.hpp). Each part is held to it by a test, or "every part of the
/// catalogue is held to what terms are held to" fails.
template <class... Entries>
void check_listed(const std::tuple<Entries...>& list) {
  const auto check = []<class Entry>(const Entry& entry) {
    INFO(entry.name);
    check_term<typename Entry::Loss, typename Entry::Tokens>(entry.unfelt);
  };
  std::apply([&](const auto&... entry) { (check(entry), ...); }, list);
}

/// Slopes alone of each, with a small view.
template <class... Entries>
void check_slopes_of(const std::tuple<Entries...>& list) {
  const auto check = []<class Entry>(const Entry& entry) {
    INFO(entry.name);
    check_slopes<typename Entry::Loss, typename Entry::Tokens>(entry.unfelt, {{4, 4}});
  };
  std::apply([&](const auto&... entry) { (check(entry), ...); }, list);
}

}  // namespace dssl::test
