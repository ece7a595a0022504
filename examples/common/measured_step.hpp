// A training step that is measured: on drawn views, with the first numbers of a run, the same each time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/train/report.hpp>
#include <dssl/train/training_step.hpp>

namespace dssl::programs {

/// Numbers of the update. The learning rate is the published peak for the batch; the others are the first
/// step's.
struct Numbers {
  double learning_rate = 0;
  double weight_decay = 0.04;
  double momentum = 0.996;
  double temperature = 0.04;

  [[nodiscard]] static Numbers of_batch(Index batch) {
    return {.learning_rate = 5e-4 * static_cast<double>(batch) / 256.0};
  }
};

/// Where a step begins, beside its weights: a batch, and multipliers of stochastic depth for `check`.
struct Start {
  ViewBatch batch;
  std::vector<float> keep;  // (depth,2,V*B)
};

/// Drawn views, points and multipliers, the same each time and for every backend.
template <class Step>
[[nodiscard]] Start drawn_start(const Step& step) {
  const BatchShape& shape = step.options().shape;
  Start start{.batch = ViewBatch::of(shape), .keep = std::vector<float>(step.keep_size())};
  for (std::size_t v = 0; v < start.batch.images.size(); ++v) {
    RandomStream random({.seed = 2, .view = static_cast<std::uint32_t>(v)});
    for (float& x : start.batch.images[v]) x = static_cast<float>(random.normal());
  }
  RandomStream random({.seed = 2, .purpose = Purpose::points});
  for (std::vector<Point>* points : {&start.batch.teacher_points, &start.batch.student_points}) {
    for (Point& p : *points) {
      p.x = static_cast<double>(static_cast<float>(random.uniform(-1, 1)));
      p.y = static_cast<double>(static_cast<float>(random.uniform(-1, 1)));
    }
  }
  for (ViewFrame& frame : start.batch.frames) frame = {{0, 0}, {1, 1}};
  // As the step draws them: the rate grows linearly over the blocks.
  RandomStream depth({.seed = 2, .purpose = Purpose::stochastic_depth});
  const Index blocks = step.config().backbone.depth;
  const auto each = static_cast<Index>(start.keep.size()) / blocks;
  for (Index i = 0; i < static_cast<Index>(start.keep.size()); ++i) {
    const double rate = step.options().stochastic_depth * static_cast<double>(i / each) /
                        static_cast<double>(std::max(Index{1}, blocks - 1));
    start.keep[static_cast<std::size_t>(i)] =
        depth.bernoulli(rate) ? 0.0F : static_cast<float>(1.0 / (1.0 - rate));
  }
  return start;
}

/// Student and teacher begin with drawn weights: numbers in float, whatever the backend computes in.
template <class Step>
void draw_weights(const Step& step) {
  using T = typename Step::T;
  std::vector<T> same;
  initial_values<float>(step.layout(), 1, [&](std::size_t offset, std::span<const float> values) {
    same.assign(values.begin(), values.end());
    step.backend().upload(step.student().data() + offset, std::span<const T>(same));
  });
  step.backend().copy(step.teacher(), step.student());
}

/// A step that is made again and again from what it began with. The weights are the caller's to set.
template <class Step>
class MeasuredStep {
 public:
  using T = typename Step::T;

  /// `arguments`: of the step. It begins with `drawn_start`.
  template <class... Arguments>
  explicit MeasuredStep(Arguments&&... arguments)
      : x_step(std::forward<Arguments>(arguments)...), x_start(drawn_start(x_step)) {}

  /// One step, with stochastic depth drawn anew, or with these multipliers.
  StepReport run(std::span<const T> keep = {}) {
    const Index batch = x_start.batch.shape.batch;
    for (Index b = 0; b < batch; ++b) x_start.batch.samples[static_cast<std::size_t>(b)] = x_done * batch + b;
    const Numbers now = numbers();
    StepReport report;
    x_step.begin();
    x_step.forward_backward(report, x_start.batch, now.temperature, keep);
    x_step.update(report, {.optimiser = {.learning_rate = now.learning_rate,
                                         .weight_decay = now.weight_decay,
                                         .step = x_done},
                           .teacher_momentum = now.momentum});
    ++x_done;
    return report;
  }

  /// Losses and gradient norm of a step with the start's own multipliers.
  std::vector<double> check() {
    const std::vector<T> keep(x_start.keep.begin(), x_start.keep.end());
    const StepReport r = run(keep);
    const auto loss_of = [&](std::string_view name) { return r.find(name) == nullptr ? 0.0 : r.find(name)->loss; };
    return {r.loss, loss_of("image"), loss_of("point"), r.gradient_norm};
  }

  [[nodiscard]] Numbers numbers() const { return Numbers::of_batch(x_start.batch.shape.batch); }
  [[nodiscard]] const Start& start() const { return x_start; }
  void begin_with(Start start) { x_start = std::move(start); }
  [[nodiscard]] const Step& step() const { return x_step; }

 private:
  Step x_step;
  Start x_start;
  Index x_done = 0;
};

}  // namespace dssl::programs
