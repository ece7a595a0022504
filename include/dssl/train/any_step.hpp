// A training step of any kind on any backend, as a run sees it.
// Tests: tests/train/run_loop.cpp, tests/cuda/views_in_training.cpp.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/optim/optimiser.hpp>
#include <dssl/train/lasting_state.hpp>
#include <dssl/train/rendered_views.hpp>
#include <dssl/train/report.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/train/view_batch.hpp>

namespace dssl {

/// What a run asks of its step: `begin`, `accumulate` times `start_pass` and `finish_pass`, `update` and `inspect`, a virtual
/// call each, as those of `BasicTrainingStep`. Nothing below them is virtual.
class AnyStep {
 public:
  AnyStep() = default;
  AnyStep(const AnyStep&) = delete;
  AnyStep& operator=(const AnyStep&) = delete;
  virtual ~AnyStep() = default;

  virtual void begin() = 0;
  /// Before a pass that no update follows.
  virtual void begin_look() { begin(); }
  virtual void start_pass(const ViewBatch& batch, double teacher_temperature) = 0;
  virtual void finish_pass(StepReport& report) = 0;
  virtual void update(StepReport& report, const UpdateNumbers& now) = 0;
  virtual void inspect(StepReport& report) = 0;

  [[nodiscard]] virtual const LastingState& state() const = 0;
  /// Whether a view of an image, as the step reads it, is finite.
  [[nodiscard]] virtual bool finite_view(Index view, Index image) const = 0;
  /// What renders packed samples, which `next` gives, into the views that the step reads; null where the backend cannot.
  [[nodiscard]] virtual std::unique_ptr<ViewsAhead> rendering(std::function<std::optional<SampleViews>()> next) const = 0;
  /// P of each head, and the backbone's width.
  [[nodiscard]] virtual Index prototypes() const = 0;
  [[nodiscard]] virtual Index width() const = 0;
};

/// A step, which outlives it, as any.
template <class Step>
class StepOf final : public AnyStep {
 public:
  explicit StepOf(Step& step) : x_step(step), x_state(step) {}

  void begin() override { x_step.begin(); }
  void begin_look() override { x_step.begin_look(); }
  void start_pass(const ViewBatch& batch, double teacher_temperature) override {
    x_step.start_pass(batch, teacher_temperature);
  }
  void finish_pass(StepReport& report) override { x_step.finish_pass(report); }
  void update(StepReport& report, const UpdateNumbers& now) override { x_step.update(report, now); }
  void inspect(StepReport& report) override { x_step.inspect(report); }

  [[nodiscard]] const LastingState& state() const override { return x_state; }
  [[nodiscard]] bool finite_view(Index view, Index image) const override {
    const auto views = x_step.view_input(view);
    const Index size = views.size() / views.extent(0);
    return detail::finite_there<T>(x_step.backend(), views.data() + image * size, size);
  }
  [[nodiscard]] std::unique_ptr<ViewsAhead> rendering([[maybe_unused]] std::function<std::optional<SampleViews>()> next) const override {
    if constexpr (RendersViews<x_Backend>) {
      std::vector<TensorView<T, 4>> inputs;
      for (Index v = 0; v < x_step.options().shape.view_count(); ++v) inputs.push_back(x_step.view_input(v));
      return std::make_unique<RenderedViews<x_Backend>>(x_step.backend(), std::move(inputs), std::move(next));
    } else {
      return nullptr;
    }
  }
  [[nodiscard]] Index prototypes() const override { return x_step.config().head.prototypes; }
  [[nodiscard]] Index width() const override { return x_step.config().backbone.width; }

 private:
  using T = typename Step::T;
  using x_Backend = std::remove_cvref_t<decltype(std::declval<const Step&>().backend())>;

  Step& x_step;
  LastingStateOf<Step> x_state;
};

}  // namespace dssl
