// A linear classifier of patch tokens, trained and read at the resolution of masks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/features/bilinear.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Sizes and numbers of a linear segmenter; the defaults of the numbers are the published ones.
struct LinearSegmenterOptions {
  Index width = 0;           ///< D of the patch tokens
  Index classes = 0;         ///< C, at most 255
  GridSize grid{};           ///< patches an image
  Index label_height = 100;  ///< of the masks it is trained on
  Index label_width = 100;
  double momentum = 0.9;
  double weight_decay = 1e-4;  ///< of weight and bias

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (width < 1) throw OptionError("width", width, "at least 1");
    if (classes < 1 || classes > ClassMap::ignored) throw OptionError("classes", classes, "1 to 255");
    if (grid.height < 1 || grid.width < 1) {
      throw OptionError("grid", join(grid.height, " x ", grid.width), "at least 1 x 1");
    }
    if (label_height < 1) throw OptionError("label_height", label_height, "at least 1");
    if (label_width < 1) throw OptionError("label_width", label_width, "at least 1");
    if (!(momentum >= 0 && momentum < 1)) throw OptionError("momentum", momentum, "0 up to 1");
    if (!(weight_decay >= 0)) throw OptionError("weight_decay", weight_decay, "0 or more");
  }
};

/// logits = x weight^T + bias a patch, enlarged bilinearly to the mask, cross-entropy over its labelled
/// pixels, SGD.
///
/// Enlarging the logits gives the numbers of enlarging the features, as both maps are linear and each pixel's
/// weights sum to 1, at C / D of the cost. All linear algebra runs in the backend's memory, an image at a
/// time; nothing is allocated after construction but for the reads of one image in `predict`. Source:
/// docs/method.md, "Evaluation". Test: evaluation.safetensors (tests/probe/linear_segmenter.cpp).
template <Backend B>
class LinearSegmenter {
 public:
  using T = typename B::Scalar;

  /// Weights are drawn by `initialise(0)`. Throws `OptionError`.
  LinearSegmenter(const B& backend, const LinearSegmenterOptions& options)
      : x_backend(backend), x_options(options) {
    options.validate();
    x_layout.add("weight", {options.classes, options.width, 1, 1}, {});
    x_layout.add("bias", {options.classes}, {});
    Arena measure;
    x_place(measure);
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live);
    x_targets_host.resize(static_cast<std::size_t>(x_pixels()));
    x_logits_host.resize(static_cast<std::size_t>(x_logits.size()));
    initialise(0);
  }

  [[nodiscard]] const LinearSegmenterOptions& options() const { return x_options; }

  /// Draws the weight from a normal distribution of deviation 0.01; bias, momentum and gradients 0.
  void initialise(std::uint64_t seed) {
    RandomStream random({.seed = seed, .purpose = Purpose::probe});
    std::vector<T> weight(static_cast<std::size_t>(x_options.classes * x_options.width));
    for (T& w : weight) w = static_cast<T>(0.01 * random.normal());
    set_weights(weight, std::vector<T>(static_cast<std::size_t>(x_options.classes)));
  }

  /// weight (C,D) and bias (C) from host memory; momentum and gradients 0. Throws `ShapeError`.
  void set_weights(std::span<const T> weight, std::span<const T> bias) {
    require_shape(static_cast<Index>(weight.size()) == x_weight().size() &&
                      static_cast<Index>(bias.size()) == x_options.classes,
                  "linear segmenter: ", weight.size(), " weights and ", bias.size(), " biases for ",
                  x_options.classes, " classes of width ", x_options.width);
    x_backend.upload(x_weight().data(), weight);
    x_backend.upload(x_bias().data(), bias);
    x_backend.fill(x_momentum, T{0});
    x_backend.fill(x_gradients, T{0});
    x_backend.fill(x_loss_sum, T{0});
    x_labelled = 0;
  }

  /// weight (C,D) = and bias (C) = in host memory. Throws `ShapeError`.
  void get_weights(std::span<T> weight, std::span<T> bias) const {
    require_shape(static_cast<Index>(weight.size()) == x_weight().size() &&
                      static_cast<Index>(bias.size()) == x_options.classes,
                  "linear segmenter: room for ", weight.size(), " weights and ", bias.size(), " biases");
    x_backend.download(weight, static_cast<const T*>(x_weight().data()));
    x_backend.download(bias, static_cast<const T*>(x_bias().data()));
  }

  /// Adds the gradient of one image's loss: patches (N,D) in the backend's memory, labels (label_height,
  /// label_width) in host memory; labels outside 0..C-1 are passed over. Throws `ShapeError`.
  void accumulate(MatrixView<const T> patches, std::span<const std::uint8_t> labels) {
    x_check(patches);
    require_shape(static_cast<Index>(labels.size()) == x_pixels(), "linear segmenter: ", labels.size(),
                  " labels; expected ", x_options.label_height, " x ", x_options.label_width);
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const bool labelled = labels[i] < x_options.classes;
      x_targets_host[i] = {labelled ? std::int32_t{labels[i]} : -1, -1};
      x_labelled += labelled ? 1 : 0;
    }
    x_backend.upload(x_target_rows.data(), std::span<const TargetRows>(x_targets_host));
    x_backend.linear_forward(x_logits, patches, x_weight(), x_bias());
    x_backend.sample_rows_forward(x_enlarged, x_logits, x_taps);
    x_backend.cross_entropy(x_losses, x_enlarged, x_enlarged, x_one_hot, x_target_rows, 1.0, 1.0);
    x_backend.add_column_sum(x_loss_sum, MatrixView<const T>(x_losses.data(), x_pixels(), 1), {}, 1.0);
    x_backend.fill(VectorView<T>(x_logits.data(), x_logits.size()), T{0});
    x_backend.sample_rows_backward(x_logits, x_enlarged, x_taps);
    x_backend.linear_backward_weight(x_weight_of(x_gradients), x_bias_of(x_gradients), x_logits, patches);
  }

  /// One step of SGD on the mean loss over the labelled pixels of all images since the last step; returns
  /// that loss. Without labelled pixels nothing changes and the loss is 0.
  double update(double learning_rate) {
    if (x_labelled == 0) return 0;
    const double share = 1.0 / static_cast<double>(x_labelled);
    x_backend.lerp(x_gradients, x_zeros, share);
    x_backend.sgd_step(x_parameters, x_momentum, x_gradients, x_norms, x_segments,
                       {.learning_rate = learning_rate,
                        .weight_decay = x_options.weight_decay,
                        .momentum = x_options.momentum});
    T sum{};
    x_backend.download(std::span<T>(&sum, 1), static_cast<const T*>(x_loss_sum.data()));
    x_backend.fill(x_gradients, T{0});
    x_backend.fill(x_loss_sum, T{0});
    x_labelled = 0;
    return static_cast<double>(sum) * share;
  }

  /// classes (height, width) = the class with the largest enlarged logit of each pixel (the lowest among
  /// equals), for patches (N,D) in the backend's memory. Throws `ShapeError`.
  void predict(std::span<std::uint8_t> classes, MatrixView<const T> patches, Index height, Index width) {
    x_check(patches);
    require_shape(static_cast<Index>(classes.size()) == height * width && height >= 1 && width >= 1,
                  "linear segmenter: room for ", classes.size(), " predictions; expected ", height, " x ",
                  width);
    x_backend.linear_forward(x_logits, patches, x_weight(), x_bias());
    x_backend.download(std::span<T>(x_logits_host), static_cast<const T*>(x_logits.data()));
    enlarged_classes<T>(classes, MatrixView<const T>(x_logits_host.data(), x_logits.rows(), x_logits.cols()),
                        x_options.grid, height, width);
  }

 private:
  [[nodiscard]] Index x_pixels() const { return x_options.label_height * x_options.label_width; }
  [[nodiscard]] MatrixView<T> x_weight_of(VectorView<T> flat) const {
    return MatrixView<T>(flat.data() + x_layout.specs()[0].offset, x_options.classes, x_options.width);
  }
  [[nodiscard]] VectorView<T> x_bias_of(VectorView<T> flat) const {
    return VectorView<T>(flat.data() + x_layout.specs()[1].offset, x_options.classes);
  }
  [[nodiscard]] MatrixView<T> x_weight() const { return x_weight_of(x_parameters); }
  [[nodiscard]] VectorView<T> x_bias() const { return x_bias_of(x_parameters); }

  void x_check(MatrixView<const T> patches) const {
    require_shape(patches.rows() == x_options.grid.size() && patches.cols() == x_options.width,
                  "linear segmenter: patches ", patches.rows(), " x ", patches.cols(), "; expected ",
                  x_options.grid.size(), " x ", x_options.width);
  }

  void x_place(Arena& arena) {
    x_parameters = arena.template vector<T>(x_layout.total());
    x_momentum = arena.template vector<T>(x_layout.total());
    x_gradients = arena.template vector<T>(x_layout.total());
    x_zeros = place_copy(x_backend, arena, std::vector<T>(static_cast<std::size_t>(x_layout.total())));
    // Weight decay acts on the bias too: the published optimiser has one group of parameters.
    std::vector<Segment> segments = x_layout.segments();
    for (Segment& segment : segments) segment.decayed = true;
    x_segments = place_copy(x_backend, arena, segments);
    x_norms = place_copy(x_backend, arena, std::vector<double>(segments.size()));
    std::vector<T> one_hot(static_cast<std::size_t>(x_options.classes * x_options.classes));
    for (Index c = 0; c < x_options.classes; ++c)
      one_hot[static_cast<std::size_t>(c * x_options.classes + c)] = T{1};
    x_one_hot = MatrixView<const T>(place_copy(x_backend, arena, one_hot).data(), x_options.classes,
                                    x_options.classes);
    x_taps = place_copy(x_backend, arena,
                        bilinear_taps<T>(x_options.label_height, x_options.label_width, x_options.grid));
    x_target_rows = arena.template vector<TargetRows>(x_pixels());
    x_logits = arena.template matrix<T>(x_options.grid.size(), x_options.classes);
    x_enlarged = arena.template matrix<T>(x_pixels(), x_options.classes);
    x_losses = arena.template vector<T>(x_pixels());
    x_loss_sum = arena.template vector<T>(1);
  }

  B x_backend;
  LinearSegmenterOptions x_options;
  ParameterLayout x_layout;
  Buffer x_buffer;
  VectorView<T> x_parameters, x_momentum, x_gradients;
  VectorView<const T> x_zeros;
  VectorView<const Segment> x_segments;
  VectorView<const double> x_norms;
  MatrixView<const T> x_one_hot;  // (C,C): row c is the target of class c
  VectorView<const Taps<T>> x_taps;
  VectorView<TargetRows> x_target_rows;
  MatrixView<T> x_logits;    // (N,C), then their gradient
  MatrixView<T> x_enlarged;  // (pixels,C), then their gradient
  VectorView<T> x_losses, x_loss_sum;
  Index x_labelled = 0;
  std::vector<TargetRows> x_targets_host;
  std::vector<T> x_logits_host;
};

}  // namespace dssl
