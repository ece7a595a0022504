// The optimisers against their formulas written out a number at a time.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "../gradient_check.hpp"
#include "catch.hpp"
#include "thrown.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/rank_part.hpp>
#include <dssl/optim/optimiser.hpp>

using namespace dssl;

namespace {

/// Tensors of every kind: a decayed matrix, a bias, one that is not trained, prototypes, one with a gradient of 0.
ParameterLayout layout_of_kinds() {
  ParameterLayout layout;
  layout.add("backbone.blocks.0.matrix", {3, 7}, {});
  layout.add("backbone.blocks.1.bias", {5}, {});
  layout.add("head.fixed", {4, 1}, {.trained = false, .prototype = true});
  layout.add("head.prototypes", {4, 6}, {.prototype = true});
  layout.add("backbone.token", {1, 1, 8}, {});
  layout.add("backbone.norm.still", {2, 3}, {});
  return layout;
}

/// What is remembered of one number.
struct Number {
  double w = 0, m = 0, v = 0, g = 0, teacher = 0;
};

/// The rate of each tensor of `layout_of_kinds`, by hand, with a layer decay of 0.5 and 0.1 for vectors.
constexpr std::array<double, 6> rates{0.25, 0.5 * 0.1, 1, 1, 0.125, 1};

/// What varies besides kind, clip and frozen steps.
struct Rules {
  ClipOver over = ClipOver::tensor;
  bool rated = false;    ///< as `rates`
  bool moments = false;  ///< of frozen prototypes go on
};

struct Case {
  OptimiserOptions options;
  UpdateStep now;
  double teacher_momentum = 1;
  double rate = 1;  ///< of the tensor
  double norm = 0;  ///< of what the tensor is clipped with
};

double norm_of(const std::vector<Number>& numbers, double Number::*what) {
  double squares = 0;
  for (const Number& n : numbers) squares += n.*what * n.*what;
  return std::sqrt(squares);
}

/// One update of a tensor, straight from the formulas of PyTorch's AdamW and SGD and of LARS.
void expected_update(std::vector<Number>& numbers, const ParameterSpec& spec, const Case& c) {
  const bool frozen = spec.prototype && c.now.step < c.now.frozen_steps;
  if (!spec.trained || (frozen && !c.options.frozen_moments)) return;
  const bool matrix = spec.rank >= 2;
  const double decay = matrix ? c.now.weight_decay : 0.0;
  const double lr = frozen ? 0.0 : c.rate * c.now.learning_rate;
  const double clip = c.options.clip > 0 ? std::min(1.0, c.options.clip / (c.norm + 1e-6)) : 1.0;
  for (Number& n : numbers) n.g *= clip;
  if (c.options.kind == OptimiserKind::adamw) {
    const Index updates = 1 + c.now.step - (spec.prototype && !c.options.frozen_moments ? c.now.frozen_steps : 0);
    for (Number& n : numbers) {
      n.w -= lr * decay * n.w;
      n.m = c.options.beta1 * n.m + (1 - c.options.beta1) * n.g;
      n.v = c.options.beta2 * n.v + (1 - c.options.beta2) * n.g * n.g;
      const double m_hat = n.m / (1 - std::pow(c.options.beta1, static_cast<double>(updates)));
      const double v_hat = n.v / (1 - std::pow(c.options.beta2, static_cast<double>(updates)));
      n.w -= lr * m_hat / (std::sqrt(v_hat) + c.options.epsilon);
    }
    return;
  }
  for (Number& n : numbers) n.g += decay * n.w;
  double trust = 1;
  if (c.options.kind == OptimiserKind::lars && matrix) {
    const double w_norm = norm_of(numbers, &Number::w);
    const double g_norm = norm_of(numbers, &Number::g);
    if (w_norm > 0 && g_norm > 0) trust = c.options.trust * w_norm / g_norm;
  }
  for (Number& n : numbers) {
    n.m = c.options.momentum * n.m + trust * n.g;
    n.w -= lr * n.m;
  }
}

template <class B>
void check(const B& backend, OptimiserKind kind, double clip, Index frozen_steps, double tolerance,
           const Rules& rules = {}) {
  using T = typename B::Scalar;
  INFO(backend.describe() << ", " << name_of(kind) << ", clip " << clip << ", frozen " << frozen_steps << ", clip over "
                           << name_of(rules.over) << ", rated " << rules.rated << ", moments " << rules.moments);
  OptimiserOptions options{.kind = kind, .clip = clip, .clip_over = rules.over, .frozen_moments = rules.moments};
  if (rules.rated) options.rates = {.layer_decay = 0.5, .vectors = 0.1};
  const ParameterLayout layout = layout_of_kinds();
  VectorView<T> weights, teacher, gradients;
  OptimiserState<T> state;
  const auto place = [&](Arena& arena) {
    weights = arena.vector<T>(layout.total());
    teacher = arena.vector<T>(layout.total());
    gradients = arena.vector<T>(layout.total());
    state = OptimiserState<T>::place(backend, arena, layout, options);
  };
  Arena measure;
  place(measure);
  const Buffer buffer = backend.allocate(measure.high_water());
  Arena live(buffer);
  place(live);
  CHECK(state.first().size() == layout.total());
  CHECK(state.second().size() == (kind == OptimiserKind::adamw ? layout.total() : 0));

  std::vector<std::vector<Number>> expected;
  std::uint64_t seed = 20;
  for (const auto& spec : layout.specs()) {
    const auto drawn = test::normal_values(static_cast<std::size_t>(2 * spec.size), seed++);
    std::vector<Number> numbers;
    for (Index i = 0; i < spec.size; ++i) {
      weights(spec.offset + i) = static_cast<T>(drawn[static_cast<std::size_t>(i)]);
      teacher(spec.offset + i) = static_cast<T>(drawn[static_cast<std::size_t>(spec.size + i)]);
      numbers.push_back({.w = static_cast<double>(weights(spec.offset + i)),
                         .teacher = static_cast<double>(teacher(spec.offset + i))});
    }
    expected.push_back(std::move(numbers));
  }
  const auto initial = std::vector<T>(weights.flat().begin(), weights.flat().end());

  for (Index step = 0; step < 4; ++step) {
    INFO("step " << step);
    Case c{.options = options,
           .now = {.learning_rate = 0.02 + 0.01 * static_cast<double>(step),
                   .weight_decay = 0.3,
                   .step = step,
                   .frozen_steps = frozen_steps},
           .teacher_momentum = std::vector<double>{0.9, 0.25, 0.996, 1.0}[static_cast<std::size_t>(step)]};
    for (std::size_t s = 0; s < layout.size(); ++s) {
      const auto& spec = layout.specs()[s];
      const double scale = spec.name.view() == "backbone.norm.still" ? 0.0 : 2.0;
      const auto drawn = test::normal_values(static_cast<std::size_t>(spec.size), seed++, scale);
      for (Index i = 0; i < spec.size; ++i) {
        gradients(spec.offset + i) = static_cast<T>(drawn[static_cast<std::size_t>(i)]);
        expected[s][static_cast<std::size_t>(i)].g = static_cast<double>(gradients(spec.offset + i));
      }
    }
    const auto untouched = std::vector<T>(gradients.flat().begin(), gradients.flat().end());
    state.measure(backend, gradients);
    std::vector<double> norms;
    for (std::size_t s = 0; s < layout.size(); ++s) {
      norms.push_back(norm_of(expected[s], &Number::g));
      CHECK(state.squared_norms()(static_cast<Index>(s)) == Approx(norms.back() * norms.back()).epsilon(tolerance));
    }
    std::vector<double> measured(state.squared_norms().flat().begin(), state.squared_norms().flat().end());
    state.share_norms(backend, measured);
    const auto clipped_with = [&](std::size_t s) {
      double squares = 0;
      for (std::size_t i = 0; i < layout.size(); ++i) {
        const bool head = layout.specs()[i].name.view().starts_with("head.");
        const bool same_part = head == layout.specs()[s].name.view().starts_with("head.");
        const bool with = rules.over == ClipOver::network || (rules.over == ClipOver::part ? same_part : i == s);
        if (with) squares += norms[i] * norms[i];
      }
      return std::sqrt(squares);
    };
    state.update(backend, weights, teacher, gradients, c.options, c.now, c.teacher_momentum);
    CHECK(std::equal(untouched.begin(), untouched.end(), gradients.data()));
    for (std::size_t s = 0; s < layout.size(); ++s) {
      const auto& spec = layout.specs()[s];
      INFO(spec.name.view());
      c.rate = rules.rated ? rates[s] : 1.0;
      c.norm = clipped_with(s);
      expected_update(expected[s], spec, c);
      // The teacher follows every tensor, trained or not.
      for (Number& n : expected[s]) n.teacher = c.teacher_momentum * n.teacher + (1 - c.teacher_momentum) * n.w;
      double off = 0;
      for (Index i = 0; i < spec.size; ++i) {
        const Number& n = expected[s][static_cast<std::size_t>(i)];
        off = std::max(off, std::abs(static_cast<double>(weights(spec.offset + i)) - n.w));
        off = std::max(off, std::abs(static_cast<double>(teacher(spec.offset + i)) - n.teacher));
        off = std::max(off, std::abs(static_cast<double>(state.first()(spec.offset + i)) - n.m));
        if (kind == OptimiserKind::adamw) {
          off = std::max(off, std::abs(static_cast<double>(state.second()(spec.offset + i)) - n.v));
        }
      }
      CHECK(off < tolerance);
    }
  }
  // Gaps between tensors stay 0, and tensors that are not trained stay as they were.
  Index end = 0;
  for (const auto& spec : layout.specs()) {
    for (Index i = end; i < spec.offset; ++i) CHECK((weights(i) == T{0} && teacher(i) == T{0}));
    end = spec.offset + spec.size;
    const bool same = std::equal(weights.data() + spec.offset, weights.data() + end, initial.begin() + spec.offset);
    CHECK(same == !spec.trained);
  }
}

template <class B>
void check_all(const B& backend, double tolerance) {
  for (const OptimiserKind kind : {OptimiserKind::adamw, OptimiserKind::sgd, OptimiserKind::lars}) {
    for (const double clip : {0.0, 3.0, 1e6}) {
      check(backend, kind, clip, 0, tolerance);
      check(backend, kind, clip, 2, tolerance);
    }
    check(backend, kind, 3.0, 2, tolerance, {.over = ClipOver::part, .rated = true, .moments = true});
    check(backend, kind, 3.0, 0, tolerance, {.over = ClipOver::network, .rated = true});
  }
}

/// Two updates of all weights, and the same of parts, one by one: the same bits.
template <class B>
void check_parts(const B& backend, OptimiserKind kind, Index ranks) {
  using T = typename B::Scalar;
  INFO(backend.describe() << ", " << name_of(kind) << ", " << ranks << " parts");
  const OptimiserOptions options{.kind = kind, .clip = 0.5, .clip_over = ClipOver::part};
  const ParameterLayout layout = layout_of_kinds();
  const auto numbers = static_cast<std::size_t>(layout.total());
  std::vector<T> whole(numbers), in_parts(numbers), gradients(numbers);
  const auto state_of = [&](Buffer& buffer, const RankPart& part) {
    OptimiserState<T> state;
    const auto place = [&](Arena& arena) { state = OptimiserState<T>::place(backend, arena, layout, options, part); };
    Arena measure;
    place(measure);
    buffer = backend.allocate(measure.high_water());
    Arena live(buffer);
    place(live);
    return state;
  };
  Buffer buffer;
  const OptimiserState<T> all = state_of(buffer, RankPart::all(layout.total()));
  std::vector<Buffer> buffers(static_cast<std::size_t>(ranks));
  std::vector<OptimiserState<T>> parts;
  for (Index r = 0; r < ranks; ++r) {
    parts.push_back(state_of(buffers[static_cast<std::size_t>(r)], RankPart::of(layout.total(), ranks, r)));
  }
  std::uint64_t seed = 70;
  for (const auto& spec : layout.specs()) {
    const auto drawn = test::normal_values(static_cast<std::size_t>(spec.size), seed++);
    std::ranges::transform(drawn, whole.begin() + spec.offset, [](double value) { return static_cast<T>(value); });
  }
  in_parts = whole;
  for (Index step = 0; step < 2; ++step) {
    for (const auto& spec : layout.specs()) {
      const auto drawn = test::normal_values(static_cast<std::size_t>(spec.size), seed++);
      std::ranges::transform(drawn, gradients.begin() + spec.offset, [](double value) { return static_cast<T>(value); });
    }
    const UpdateStep now{.learning_rate = 0.1, .weight_decay = 0.3, .step = step, .frozen_steps = 1};
    const VectorView<T> g(gradients.data(), layout.total());
    all.measure(backend, g);
    const std::vector<double> measured(all.squared_norms().flat().begin(), all.squared_norms().flat().end());
    std::vector<double> sums(measured.size());
    for (const OptimiserState<T>& part : parts) {
      part.measure(backend, part.part_of(g));
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += part.squared_norms()(static_cast<Index>(i));
    }
    for (std::size_t i = 0; i < sums.size(); ++i) CHECK(sums[i] == Approx(measured[i]).epsilon(1e-6));
    std::vector<double> shared = measured;
    all.share_norms(backend, shared);
    all.update(backend, VectorView<T>(whole.data(), layout.total()), {}, g, options, now, 1);
    for (const OptimiserState<T>& part : parts) {
      shared = measured;
      part.share_norms(backend, shared, true);
      part.update(backend, part.part_of(VectorView<T>(in_parts.data(), layout.total())), {}, part.part_of(g), options, now, 1);
    }
    CHECK((in_parts == whole));
  }
  for (const OptimiserState<T>& part : parts) {
    const auto first = all.first().flat().subspan(static_cast<std::size_t>(part.part().first));
    CHECK(part.first().size() == part.part().size);
    CHECK(std::ranges::equal(part.first().flat(), first.first(static_cast<std::size_t>(part.part().size))));
  }
}

}  // namespace

TEST_CASE("parts of the weights are updated as all of them are, to the bit") {
  for (const Index ranks : {1, 3, 8, 9}) {  // of 8 some tensors lie in two, the ninth is empty
    for (const OptimiserKind kind : {OptimiserKind::adamw, OptimiserKind::sgd}) {
      check_parts(Reference<double>(), kind, ranks);
      check_parts(Cpu({.threads = 1}), kind, ranks);
    }
  }
}

TEST_CASE("the optimisers do what their formulas say") {
  check_all(Reference<double>(), 1e-13);
  check_all(Reference<float>(), 2e-6);
  check_all(Cpu({.threads = 1}), 2e-6);
  check_all(BasicCpu<double>({.threads = 2}), 1e-13);
}

TEST_CASE("impossible numbers of the optimisation are refused by name") {
  const auto message_for = [](auto change) {
    OptimiserOptions options;
    change(options);
    return test::thrown_by<OptionError>([&] { options.validate(); });
  };
  using O = OptimiserOptions;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(message_for([](O&) {}) == "(nothing was thrown)");
  CHECK(test::contains(message_for([](O& o) { o.learning_rate = -1; }), "'optimiser.learning_rate' is -1"));
  CHECK(test::contains(message_for([&](O& o) { o.learning_rate = nan; }), "'optimiser.learning_rate'"));
  CHECK(test::contains(message_for([](O& o) { o.final_learning_rate = -1; }), "'optimiser.final_learning_rate'"));
  CHECK(test::contains(message_for([](O& o) { o.warmup_epochs = -1; }), "'optimiser.warmup_epochs'"));
  CHECK(test::contains(message_for([](O& o) { o.weight_decay = -1; }), "'optimiser.weight_decay'"));
  CHECK(test::contains(message_for([](O& o) { o.final_weight_decay = -1; }), "'optimiser.final_weight_decay'"));
  CHECK(test::contains(message_for([](O& o) { o.beta1 = 1; }), "'optimiser.beta1' is 1"));
  CHECK(test::contains(message_for([](O& o) { o.beta2 = 1; }), "'optimiser.beta2' is 1"));
  CHECK(test::contains(message_for([](O& o) { o.momentum = -0.1; }), "'optimiser.momentum'"));
  CHECK(test::contains(message_for([](O& o) { o.epsilon = 0; }), "'optimiser.epsilon' is 0"));
  CHECK(test::contains(message_for([](O& o) { o.trust = 0; }), "'optimiser.trust' is 0"));
  CHECK(test::contains(message_for([](O& o) { o.rates.layer_decay = 0; }), "'optimiser.rates.layer_decay' is 0"));
  CHECK(test::contains(message_for([&](O& o) { o.rates.vectors = nan; }), "'optimiser.rates.vectors'"));
  CHECK(test::contains(message_for([](O& o) { o.rates.patch_embedding = -1; }), "'optimiser.rates.patch_embedding'"));
  CHECK(test::contains(message_for([](O& o) { o.clip = -3; }), "'optimiser.clip' is -3"));
  CHECK(test::contains(message_for([](O& o) { o.freeze_prototypes_epochs = -1; }),
                       "'optimiser.freeze_prototypes_epochs'"));
}
