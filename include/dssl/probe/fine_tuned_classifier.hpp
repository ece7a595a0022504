// Few-label classification: the whole backbone and a linear head, trained on labelled images.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/probe/tuned_network.hpp>
#include <dssl/probe/tuning_samples.hpp>

namespace dssl {

/// A backbone that is trained with a linear head on its class token to tell classes of images apart.
///
/// Loss: mean over the batch of the cross-entropy of softmax(logits). The result depends on weights, images,
/// labels and options alone, not on the number of threads. Test: tests/probe/tuned_network.cpp.
template <class Backbone, Backend B>
class FineTunedClassifier {
 public:
  using T = typename B::Scalar;

  std::function<void(Index, double)> on_step;  ///< steps done, loss of the last
  SkipCounter::Warn on_skip;

  /// Throws `OptionError`.
  FineTunedClassifier(const B& backend, const TuningOptions& options, const TuningSampleOptions& samples = {},
                      const typename Backbone::Config& config = Backbone::config)
      : x_network(backend, options, {.class_token = true}, config),
        x_samples((samples.validate(), samples)),
        x_renderer(tuning_input(x_network.options(), samples), ClassMap({.classes = 1, .void_ids = {}})) {
    Arena measure;
    x_place(measure);
    x_room = backend.allocate(measure.high_water());
    Arena live(x_room);
    x_place(live);
  }

  [[nodiscard]] TunedNetwork<Backbone, B>& network() { return x_network; }

  /// Adds the gradients of a whole batch of images (B,C,h,w) in host memory; returns their mean loss. Throws
  /// `ShapeError`, `OptionError` for labels outside 0..C-1.
  double accumulate(std::span<const float> images, std::span<const std::int64_t> labels) {
    const B& backend = x_network.backend();
    const Index batch = x_network.options().batch;
    require_shape(static_cast<Index>(labels.size()) == batch, "fine-tuning: ", labels.size(),
                  " labels for batches of ", batch);
    std::vector<TargetRows> targets;
    for (const std::int64_t label : labels) {
      if (label < 0 || label >= x_network.options().classes)
        throw OptionError("label", label, join("0 to ", x_network.options().classes - 1));
      targets.push_back({static_cast<std::int32_t>(label), -1});
    }
    const Index count = x_network.forward(images);
    require_shape(count == batch, "fine-tuning: ", count, " images for batches of ", batch);
    backend.upload(x_targets.data(), std::span<const TargetRows>(targets));
    const MatrixView<T> logits = x_network.logits();
    backend.cross_entropy(x_losses, logits, logits, x_one_hot, x_targets, 1.0,
                          1.0 / static_cast<double>(batch));
    x_network.backward();
    std::vector<T> losses(static_cast<std::size_t>(batch));
    backend.download(std::span<T>(losses), static_cast<const T*>(x_losses.data()));
    double sum = 0;
    for (const T loss : losses) sum += static_cast<double>(loss);
    return sum / static_cast<double>(batch);
  }

  /// Trains `options.steps` steps on a source's images with a label each. Throws `DataError`, `ShapeError`,
  /// `NonFiniteError`.
  template <class Source>
  void train(const Source& source, std::span<const std::int64_t> labels, const std::stop_token& token = {}) {
    require_shape(static_cast<Index>(labels.size()) == source.size(), "fine-tuning: ", labels.size(),
                  " labels for ", source.size(), " images");
    const TuningOptions& o = x_network.options();
    each_tuning_batch(
        x_renderer, source, 1, 1, o.steps, o.batch, x_samples, o.seed, on_skip, token,
        [&](const std::vector<LoadedInput>& samples) {
          std::vector<std::int64_t> own;
          for (const LoadedInput& s : samples) own.push_back(labels[static_cast<std::size_t>(s.index)]);
          const double loss = accumulate(images_of(samples), own);
          if (!std::isfinite(loss))
            throw NonFiniteError("fine-tuning: the loss is not finite; lower the learning rate");
          const Index steps = x_network.update();
          if (on_step) on_step(steps, loss);
        });
  }

  /// Calls each(index in the source, logits (C)) for every readable image of a source, whole, in order.
  /// Throws `DataError`.
  template <class Source, class Each>
  FeaturePassCount predict(const Source& source, const std::stop_token& token, const Each& each) {
    const auto classes = static_cast<std::size_t>(x_network.options().classes);
    std::vector<T> logits(static_cast<std::size_t>(x_network.logits().size()));
    return pass_inputs(
        x_renderer, source, x_network.options().batch,
        {.label_height = 1, .label_width = 1, .loader = x_samples.loader, .skip = x_samples.skip}, on_skip,
        token, [&](const std::vector<LoadedInput>& samples) {
          x_network.forward(images_of(samples));
          x_network.backend().download(std::span<T>(logits),
                                       static_cast<const T*>(x_network.logits().data()));
          for (std::size_t i = 0; i < samples.size(); ++i)
            each(samples[i].index, std::span<const T>(logits).subspan(i * classes, classes));
        });
  }

 private:
  void x_place(Arena& arena) {
    const Index classes = x_network.options().classes;
    std::vector<T> one_hot(static_cast<std::size_t>(classes * classes));
    for (Index c = 0; c < classes; ++c) one_hot[static_cast<std::size_t>(c * classes + c)] = T{1};
    x_one_hot = MatrixView<const T>(place_copy(x_network.backend(), arena, one_hot).data(), classes, classes);
    x_losses = arena.template vector<T>(x_network.options().batch);
    x_targets = arena.template vector<TargetRows>(x_network.options().batch);
  }

  TunedNetwork<Backbone, B> x_network;
  TuningSampleOptions x_samples;
  InputRenderer x_renderer;
  Buffer x_room;
  MatrixView<const T> x_one_hot;  // (C,C): row c is the target of class c
  VectorView<T> x_losses;
  VectorView<TargetRows> x_targets;
};

}  // namespace dssl
