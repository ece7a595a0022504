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
#include "tiny_model.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
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
  };
  double weight = 1;
  (set(options.template of<Terms>(), std::exchange(weight, weight * 0.6)), ...);
}

/// `more`: sizes of views after the two global ones.
template <class Loss>
BasicStepOptions<typename Loss::Options> options_of(Index batch = 4, const std::vector<ViewSize>& more = {}) {
  BasicStepOptions<typename Loss::Options> options;
  options.shape = {.batch = batch, .channels = 1, .points = Loss::reads.points ? 2 : 0, .views = {{6, 6}, {6, 6}},
                   .masked = Loss::reads.masked ? 2 * batch * 9 : 0};
  options.shape.views.insert(options.shape.views.end(), more.begin(), more.end());
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
    CHECK_THROWS_AS(Step({}, options), OptionError);
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

/// All that every term is held to: slopes, bits, accumulated and streamed equality.
template <class Loss, class Tokens = ClassToken>
void check_term() {
  check_slopes<Loss, Tokens>();
  check_threads<Loss, Tokens>();
  check_accumulation<Loss, Tokens>();
  check_streamed<Loss, Tokens>();
}

/// Slopes of each of a part of the catalogue (catalogue.hpp), beside a small view, too. Each part is held to them by a test.
template <class... Entries>
void check_listed_slopes(const std::tuple<Entries...>& list) {
  const auto check = []<class Entry>(const Entry& entry) {
    INFO(entry.name);
    check_slopes<typename Entry::Loss, typename Entry::Tokens>(entry.unfelt);
    check_slopes<typename Entry::Loss, typename Entry::Tokens>(entry.unfelt, {{4, 4}});
  };
  std::apply([&](const auto&... entry) { (check(entry), ...); }, list);
}

/// Slopes and the rest: for parts whose sums no other test takes.
template <class... Entries>
void check_listed(const std::tuple<Entries...>& list) {
  check_listed_slopes(list);
  const auto check = []<class Entry>(const Entry& entry) {
    INFO(entry.name);
    using Loss = typename Entry::Loss;
    using Tokens = typename Entry::Tokens;
    check_threads<Loss, Tokens>({{4, 4}});
    check_accumulation<Loss, Tokens>();
    check_streamed<Loss, Tokens>();
  };
  std::apply([&](const auto&... entry) { (check(entry), ...); }, list);
}

}  // namespace dssl::test
