// Batches whose views the backend renders, one batch ahead of the step that eats them.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/views/view_sheet.hpp>

namespace dssl {

/// Batches whose views are made where the step reads them, on any backend.
class ViewsAhead {
 public:
  ViewsAhead() = default;
  ViewsAhead(const ViewsAhead&) = delete;
  ViewsAhead& operator=(const ViewsAhead&) = delete;
  virtual ~ViewsAhead() = default;

  /// Takes the samples of one batch. What is thrown meanwhile, the next `render` throws.
  virtual void take() = 0;
  /// Renders the batch that was taken, or is taken now, and gives its samples, valid until the next call;
  /// none where the samples came to their end before the batch was whole.
  [[nodiscard]] virtual std::span<const SampleViews> render() = 0;
};

/// Takes packed samples and renders their views into a step's inputs.
///
/// `take` collects a batch and begins its copy; `render` has its views rendered. Called in turn, `take` after
/// the step was given to the backend, the copy of a batch and the wait for its images happen while the step
/// before is computed. Test: tests/cuda/views_in_training.cpp.
template <class B>
class RenderedViews final : public ViewsAhead {
 public:
  static_assert(RendersViews<B>,
                "RenderedViews: the backend renders no views, see RendersViews in dssl/backend/concept.hpp");

  using T = typename B::Scalar;

  /// `inputs`: where the step reads each view, (B,C,h,w). `next`: the next sample, packed; nothing at the
  /// end.
  RenderedViews(const B& backend, std::vector<TensorView<T, 4>> inputs,
                std::function<std::optional<SampleViews>()> next)
      : x_renderer(backend), x_inputs(std::move(inputs)), x_next(std::move(next)) {}

  void take() override {
    x_ahead.clear();
    x_error = nullptr;
    x_taken = true;
    try {
      const Index batch = x_inputs.front().extent(0);
      while (static_cast<Index>(x_ahead.size()) < batch) {
        std::optional<SampleViews> sample = x_next();
        if (!sample) {
          x_ahead.clear();
          return;
        }
        x_ahead.push_back(std::move(*sample));
      }
      x_send();
    } catch (...) {
      x_error = std::current_exception();
    }
  }

  [[nodiscard]] std::span<const SampleViews> render() override {
    if (!x_taken) take();
    x_taken = false;
    if (x_error) std::rethrow_exception(std::exchange(x_error, nullptr));
    x_now.swap(x_ahead);
    if (!x_now.empty()) x_renderer.render(x_runs);
    return x_now;
  }

  /// Memory of the backend that batches have needed, beside its scratch.
  [[nodiscard]] std::size_t device_bytes() const { return x_renderer.device_bytes(); }

 private:
  void x_send() {
    x_sheet.clear();
    for (std::size_t b = 0; b < x_ahead.size(); ++b) {
      x_outs.clear();
      for (const TensorView<T, 4>& input : x_inputs) {
        x_outs.push_back(input.data() + static_cast<Index>(b) * (input.size() / input.extent(0)));
      }
      x_sheet.add(x_ahead[b].pack, x_outs);
    }
    x_sheet.write(x_renderer.stage(x_sheet.bytes()));
    x_renderer.send(x_sheet.views());
    x_runs.assign(x_sheet.runs().begin(), x_sheet.runs().end());
    x_sheet.clear();
    for (SampleViews& sample : x_ahead) sample.pack = {};  // they are in pinned memory now
  }

  typename B::ViewRenderer x_renderer;
  std::vector<TensorView<T, 4>> x_inputs;
  std::function<std::optional<SampleViews>()> x_next;
  ViewSheet x_sheet;
  std::vector<ViewRun> x_runs;  // of the batch that was taken
  std::vector<void*> x_outs;
  std::vector<SampleViews> x_ahead, x_now;
  std::exception_ptr x_error;
  bool x_taken = false;
};

}  // namespace dssl
