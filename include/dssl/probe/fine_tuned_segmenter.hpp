// Few-label segmentation: the whole backbone and a linear head on its patches, trained on images with masks.
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
#include <dssl/data/source.hpp>
#include <dssl/features/bilinear.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/features/tile_pass.hpp>
#include <dssl/features/tiles.hpp>
#include <dssl/metrics/confusion.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/probe/native_crops.hpp>
#include <dssl/probe/segmentation_result.hpp>
#include <dssl/probe/tuned_network.hpp>
#include <dssl/probe/tuning_samples.hpp>

namespace dssl {

/// A backbone that is trained with a linear head on its patches to segment.
///
/// Loss: the logits of patches are enlarged bilinearly to masks of `label_extent` on their longer side, mean
/// over the labelled pixels of the batch of the cross-entropy; `weights`, one a class, weigh pixels of rare
/// classes (sum over pixels of weight x loss, over the sum of weights).
///
/// Two ways: images resized to the input (`train`, and `evaluate` as `SegmentationProbe`'s), or at their own resolution, by
/// crops in training and overlapping windows afterwards (`train_crops`, `evaluate_windows`). The result depends on weights,
/// images, masks and options alone. Test: tests/probe/tuned_network.cpp, tests/probe/native_crops.cpp.
template <class Backbone, Backend B>
class FineTunedSegmenter {
 public:
  using T = typename B::Scalar;

  std::function<void(Index, double)> on_step;  ///< steps done, loss of the last
  std::function<void(const ProbePrediction&)> on_prediction;
  std::function<void(Index)> on_images;  ///< images evaluated so far
  SkipCounter::Warn on_skip;

  /// `options.classes` is set to the number of classes. Throws `OptionError`.
  FineTunedSegmenter(const B& backend, TuningOptions options, const ClassOptions& classes,
                     const TuningSampleOptions& samples = {}, Index label_extent = 100,
                     std::vector<double> weights = {}, const typename Backbone::Config& config = Backbone::config)
      : x_network(backend, x_with_classes(options, classes), {.patch = true}, config),
        x_samples((samples.validate(), samples)),
        x_renderer(tuning_input(x_network.options(), samples), ClassMap(classes)),
        x_weights(std::move(weights)) {
    if (label_extent < 1) throw OptionError("label_extent", label_extent, "at least 1");
    if (!x_weights.empty() && static_cast<Index>(x_weights.size()) != x_network.options().classes)
      throw OptionError("weights", x_weights.size(), "one a class");
    for (const double w : x_weights) {
      if (!(w > 0 && std::isfinite(w))) throw OptionError("weights", w, "above 0");
    }
    const auto height = static_cast<double>(x_network.options().height);
    const auto width = static_cast<double>(x_network.options().width);
    const double scale = static_cast<double>(label_extent) / std::max(height, width);
    x_label_height = std::max<Index>(1, static_cast<Index>(std::lround(scale * height)));
    x_label_width = std::max<Index>(1, static_cast<Index>(std::lround(scale * width)));
    Arena measure;
    x_place(measure);
    x_room = backend.allocate(measure.high_water());
    Arena live(x_room);
    x_place(live);
  }

  [[nodiscard]] TunedNetwork<Backbone, B>& network() { return x_network; }
  [[nodiscard]] const ClassMap& classes() const { return x_renderer.classes(); }
  [[nodiscard]] const InputRenderer& renderer() const { return x_renderer; }
  [[nodiscard]] Index label_height() const { return x_label_height; }
  [[nodiscard]] Index label_width() const { return x_label_width; }

  /// Adds the gradients of a whole batch: images (B,C,h,w) and labels (B,label_height,label_width) in host
  /// memory, labels outside 0..C-1 passed over; returns the mean loss, 0 without a labelled pixel. Throws
  /// `ShapeError`.
  double accumulate(std::span<const float> images, std::span<const std::uint8_t> labels) {
    const Index batch = x_network.options().batch;
    const Index pixels = x_label_height * x_label_width;
    require_shape(static_cast<Index>(labels.size()) == batch * pixels, "fine-tuning: ", labels.size(),
                  " labels; expected ", batch, " x ", x_label_height, " x ", x_label_width);
    const Index count = x_network.forward(images);
    require_shape(count == batch, "fine-tuning: ", count, " images for batches of ", batch);
    double total = 0;
    for (const std::uint8_t label : labels) total += x_weight(label);
    const MatrixView<T> logits = x_network.logits();
    double sum = 0;
    const Index patches = x_network.grid().size();
    for (Index i = 0; i < batch; ++i) {
      const MatrixView<T> own(logits.row(i * patches), patches, logits.cols());
      sum += x_image_loss(
          own, labels.subspan(static_cast<std::size_t>(i * pixels), static_cast<std::size_t>(pixels)), total);
    }
    x_network.backward();
    return total > 0 ? sum / total : 0.0;
  }

  /// Trains `options.steps` steps on a source's images and masks. Throws `DataError`, `NonFiniteError`.
  template <SegmentationSource Source>
  void train(const Source& source, const std::stop_token& token = {}) {
    const TuningOptions& o = x_network.options();
    each_tuning_batch(
        x_renderer, source, x_label_height, x_label_width, o.steps, o.batch, x_samples, o.seed, on_skip,
        token, [&](const std::vector<LoadedInput>& samples) { static_cast<void>(x_step(samples)); });
  }

  /// Trains on crops of some of a source's images, at their own resolution: up to `last` steps (0: `options.steps`, by which
  /// the rate is planned in any case). After each step `go_on(steps done)` says whether another one follows. Throws
  /// `DataError`, `OptionError`, `NonFiniteError`.
  template <SegmentationSource Source, class GoOn>
  void train_crops(const Source& source, const LabelledParts& parts, const NativeCropOptions& crops, Index last,
                   const std::stop_token& token, const GoOn& go_on) {
    const TuningOptions& o = x_network.options();
    each_crop_batch(x_renderer, source, parts, x_label_height, x_label_width, last > 0 ? std::min(last, o.steps) : o.steps, o.batch, crops,
                    x_samples.loader, x_samples.skip, o.seed, on_skip, token,
                    [&](const std::vector<LoadedInput>& samples) { return go_on(x_step(samples)); });
  }

  /// Which images of a source `train_crops` finds what on. Throws `DataError`.
  template <SegmentationSource Source>
  [[nodiscard]] LabelledParts parts(const Source& source, const std::stop_token& token = {}) const {
    return labelled_parts(source, classes(), x_samples.loader, x_samples.skip, on_skip, token);
  }

  /// Calls each(PatchMap<T>&) for every readable image of a source, whole, in order: `pass_tiles` by windows of the
  /// network's size, with logits (N,C) as its patches. Throws `DataError`, `OptionError`.
  template <class Source, class Each>
  TilePassCount predict_windows(const Source& source, const TileOptions& tiles, const std::stop_token& token, const Each& each) {
    x_Logits logits{x_network};
    return pass_tiles(logits, tiles, x_renderer, source, {.loader = x_samples.loader, .skip = x_samples.skip, .require_sound = false}, on_skip,
                      token, each);
  }

  /// As `evaluate`, of images at their own resolution (times `tiles.scale`). Throws `DataError`, `OptionError`.
  template <SegmentationSource Source>
  [[nodiscard]] SegmentationResult evaluate_windows(const Source& source, const TileOptions& tiles, const std::stop_token& token = {}) {
    SegmentationResult result(classes().classes());
    const Index patch = x_network.config().patch;
    std::vector<std::uint8_t> whole, predicted;
    const TilePassCount passed = predict_windows(source, tiles, token, [&](const PatchMap<T>& map) {
      // The last patches may reach beyond the image: what is beyond is cut off.
      const Index rows = map.grid.height * patch, columns = map.grid.width * patch;
      whole.resize(static_cast<std::size_t>(rows * columns));
      enlarged_classes<T>(whole, MatrixView<const T>(map.patches.data(), map.grid.size(), classes().classes()), map.grid, rows, columns);
      predicted.clear();
      for (Index y = 0; y < map.height; ++y)
        predicted.insert(predicted.end(), whole.begin() + y * columns, whole.begin() + y * columns + map.width);
      x_count(result, {map.index, map.input.image, map.input.labels, predicted, map.height, map.width});
    });
    x_finish(result, passed, token);
    return result;
  }

  /// Calls each(LoadedInput, logits (N,C) of its patches in host memory) for every readable image of a
  /// source, whole, in order. Throws `DataError`.
  template <class Source, class Each>
  FeaturePassCount predict(const Source& source, const std::stop_token& token, const Each& each) {
    const Index patches = x_network.grid().size();
    const Index classes = x_network.options().classes;
    std::vector<T> logits(static_cast<std::size_t>(x_network.logits().size()));
    return pass_inputs(
        x_renderer, source, x_network.options().batch, {.loader = x_samples.loader, .skip = x_samples.skip},
        on_skip, token, [&](const std::vector<LoadedInput>& samples) {
          x_network.forward(images_of(samples));
          x_network.backend().download(std::span<T>(logits),
                                       static_cast<const T*>(x_network.logits().data()));
          for (std::size_t i = 0; i < samples.size(); ++i) {
            each(samples[i], MatrixView<const T>(logits.data() + static_cast<Index>(i) * patches * classes,
                                                 patches, classes));
          }
        });
  }

  /// Predicts every image of a source and counts, as `SegmentationProbe::evaluate`. Throws `DataError`.
  template <SegmentationSource Source>
  [[nodiscard]] SegmentationResult evaluate(const Source& source, const std::stop_token& token = {}) {
    const Index height = x_network.options().height;
    const Index width = x_network.options().width;
    SegmentationResult result(classes().classes());
    std::vector<std::uint8_t> predicted(static_cast<std::size_t>(height * width));
    const FeaturePassCount passed = predict(source, token, [&](const LoadedInput& image, MatrixView<const T> logits) {
                          enlarged_classes<T>(predicted, logits, x_network.grid(), height, width);
                          x_count(result, {image.index, image.input.image, image.input.labels, predicted, height, width});
                        });
    x_finish(result, passed, token);
    return result;
  }

 private:
  /// What `pass_tiles` asks of an extractor: logits are the features.
  struct x_Logits {
    using T = typename B::Scalar;
    TunedNetwork<Backbone, B>& network;

    [[nodiscard]] GridSize grid() const { return network.grid(); }
    [[nodiscard]] const auto& config() const { return network.config(); }
    [[nodiscard]] const TuningOptions& options() const { return network.options(); }
    [[nodiscard]] const B& backend() const { return network.backend(); }
    [[nodiscard]] Index image_size() const { return network.image_size(); }
    [[nodiscard]] Index width() const { return network.options().classes; }
    void forward(std::span<const float> images) const { network.forward(images); }
    [[nodiscard]] MatrixView<const T> patch_map(Index i) const {
      return MatrixView<const T>(network.logits()).rows(i * grid().size(), grid().size());
    }
  };

  /// A step on samples; returns the steps done.
  Index x_step(const std::vector<LoadedInput>& samples) {
    std::vector<std::uint8_t> labels;
    for (const LoadedInput& s : samples) labels.insert(labels.end(), s.input.labels.begin(), s.input.labels.end());
    const double loss = accumulate(images_of(samples), labels);
    if (!std::isfinite(loss)) throw NonFiniteError("fine-tuning: the loss is not finite; lower the learning rate");
    const Index steps = x_network.update();
    if (on_step) on_step(steps, loss);
    return steps;
  }

  void x_count(SegmentationResult& result, const ProbePrediction& image) const {
    result.add(image);
    if (on_prediction) on_prediction(image);
    if (on_images) on_images(result.images);
  }

  static void x_finish(SegmentationResult& result, const FeaturePassCount& passed, const std::stop_token& token) {
    result.unreadable = passed.unreadable;
    result.unreadable_labels = passed.unreadable_labels;
    result.census = passed.census;
    if (result.images == 0 && !token.stop_requested()) throw DataError("no image of the evaluation set can be read");
  }

  [[nodiscard]] static TuningOptions x_with_classes(TuningOptions options, const ClassOptions& classes) {
    options.classes = ClassMap(classes).classes();
    return options;
  }

  [[nodiscard]] double x_weight(std::uint8_t label) const {
    if (label >= x_network.options().classes) return 0;
    return x_weights.empty() ? 1.0 : x_weights[label];
  }

  /// The weighted sum of one image's losses; its logits (N,C) become their gradient, over `total`.
  double x_image_loss(MatrixView<T> logits, std::span<const std::uint8_t> labels, double total) {
    const B& backend = x_network.backend();
    x_targets_host.clear();
    for (const std::uint8_t label : labels) {
      const bool labelled = label < x_network.options().classes;
      x_targets_host.push_back({labelled ? std::int32_t{label} : -1, -1});
    }
    backend.upload(x_targets.data(), std::span<const TargetRows>(x_targets_host));
    backend.sample_rows_forward(x_enlarged, MatrixView<const T>(logits), x_taps);
    // A backend takes the sum of a target row as 1: weights are put on the rows afterwards.
    backend.cross_entropy(x_losses, x_enlarged, x_enlarged, x_one_hot, x_targets, 1.0,
                          total > 0 ? 1.0 / total : 0.0);
    x_losses_host.resize(labels.size());
    backend.download(std::span<T>(x_losses_host), static_cast<const T*>(x_losses.data()));
    double sum = 0;
    for (std::size_t i = 0; i < labels.size(); ++i)
      sum += x_weight(labels[i]) * static_cast<double>(x_losses_host[i]);
    if (!x_weights.empty()) x_weigh_rows(labels);
    backend.fill(VectorView<T>(logits.data(), logits.size()), T{0});
    backend.sample_rows_backward(logits, MatrixView<const T>(x_enlarged), x_taps);
    return sum;
  }

  /// Each pixel's gradient times its class's weight.
  void x_weigh_rows(std::span<const std::uint8_t> labels) {
    const B& backend = x_network.backend();
    const auto classes = static_cast<std::size_t>(x_network.options().classes);
    x_rows_host.resize(labels.size() * classes);
    backend.download(std::span<T>(x_rows_host), static_cast<const T*>(x_enlarged.data()));
    for (std::size_t i = 0; i < x_rows_host.size(); ++i)
      x_rows_host[i] = static_cast<T>(x_weight(labels[i / classes]) * static_cast<double>(x_rows_host[i]));
    backend.upload(x_enlarged.data(), std::span<const T>(x_rows_host));
  }

  void x_place(Arena& arena) {
    const B& backend = x_network.backend();
    const Index classes = x_network.options().classes;
    const Index pixels = x_label_height * x_label_width;
    std::vector<T> one_hot(static_cast<std::size_t>(classes * classes));
    for (Index c = 0; c < classes; ++c) one_hot[static_cast<std::size_t>(c * classes + c)] = T{1};
    x_one_hot = MatrixView<const T>(place_copy(backend, arena, one_hot).data(), classes, classes);
    x_taps = place_copy(backend, arena, bilinear_taps<T>(x_label_height, x_label_width, x_network.grid()));
    x_targets = arena.template vector<TargetRows>(pixels);
    x_enlarged = arena.template matrix<T>(pixels, classes);
    x_losses = arena.template vector<T>(pixels);
  }

  TunedNetwork<Backbone, B> x_network;
  TuningSampleOptions x_samples;
  InputRenderer x_renderer;
  std::vector<double> x_weights;
  Index x_label_height = 0;
  Index x_label_width = 0;
  Buffer x_room;
  MatrixView<const T> x_one_hot;  // (C,C): row c is the target of class c
  VectorView<const Taps<T>> x_taps;
  VectorView<TargetRows> x_targets;
  MatrixView<T> x_enlarged;  // (pixels,C), then their gradient
  VectorView<T> x_losses;
  std::vector<TargetRows> x_targets_host;
  std::vector<T> x_losses_host, x_rows_host;
};

}  // namespace dssl
