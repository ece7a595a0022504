// The linear probe for classification: softmax regression on frozen features, several learning rates at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <stop_token>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/optim/schedule.hpp>
#include <dssl/search/row_sample.hpp>

namespace dssl {

/// Numbers of the probe; defaults of the numbers are DINO's, the grid of rates spans DINOv2's.
struct LinearProbeOptions {
  Index width = 0;    ///< D of the features
  Index classes = 0;  ///< C
  /// One classifier each, for 256 samples a step: a step's rate is learning_rate * batch / 256.
  std::vector<double> learning_rates{1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5};
  Index epochs = 100;
  Index batch = 256;  ///< samples a step; the last of an epoch may be smaller
  double momentum = 0.9;
  double weight_decay = 0;
  /// Trains on features of mean 0 and deviation 1 a channel (over the training features). The classifiers
  /// stay linear in the features as they are.
  bool standardise = false;
  std::uint64_t seed = 0;

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (width < 1) throw OptionError("width", width, "at least 1");
    if (classes < 2) throw OptionError("classes", classes, "at least 2");
    if (learning_rates.empty()) throw OptionError("learning_rates", "empty", "at least one");
    for (const double rate : learning_rates) {
      if (!(rate > 0 && std::isfinite(rate))) throw OptionError("learning_rates", rate, "above 0");
    }
    if (epochs < 1) throw OptionError("epochs", epochs, "at least 1");
    if (batch < 1) throw OptionError("batch", batch, "at least 1");
    if (!(momentum >= 0 && momentum < 1)) throw OptionError("momentum", momentum, "0 up to 1");
    if (!(weight_decay >= 0)) throw OptionError("weight_decay", weight_decay, "0 or more");
  }
};

/// Linear classifiers of features, one a learning rate, trained side by side.
///
///   logits = x weight^T + bias, mean cross-entropy of a batch, SGD with a cosine from the rate to 0
///
/// All classifiers see the same batches, and their weights (G C,D) are one matrix: a batch's features are
/// read once for all G of them, by one product forward and one backward. Classifier g gives what it gives
/// alone; one whose rate is too high becomes not finite and spoils no other. Weights begin as normal numbers
/// of deviation 0.01, the same for every rate, biases at 0. Features stay in host memory; the backend holds
/// the weights and one batch. The result depends on features, labels, options and seed alone. Source: the
/// public DINO and DINOv2 evaluations. Test: a slow loop in double (tests/probe/linear_probe.cpp).
template <Backend B>
class LinearProbe {
 public:
  using T = typename B::Scalar;

  std::function<void(Index, std::span<const double>)>
      on_epoch;  ///< epoch from 0, mean loss of each classifier

  /// Throws `OptionError`.
  LinearProbe(const B& backend, const LinearProbeOptions& options)
      : x_backend(backend),
        x_options((options.validate(), options)),
        x_grid(static_cast<Index>(options.learning_rates.size())) {
    x_layout.add("weight", {x_grid, options.classes, options.width}, {});
    x_layout.add("bias", {x_grid, options.classes}, {});
    Arena measure;
    x_place(measure);
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live);
    x_mean.assign(static_cast<std::size_t>(options.width), 0.0);
    x_inverse_deviation.assign(static_cast<std::size_t>(options.width), 1.0);
    x_initialise();
  }

  [[nodiscard]] const LinearProbeOptions& options() const { return x_options; }
  /// G.
  [[nodiscard]] Index size() const { return x_grid; }

  /// Trains from the initial weights on features (n,D) with labels (n), in host memory. A stop request ends
  /// it with the epoch it is in. Throws `ShapeError`, `OptionError` for labels outside 0..C-1.
  void train(MatrixView<const T> features, std::span<const std::int64_t> labels,
             const std::stop_token& token = {}) {
    x_check(features, labels);
    if (x_options.standardise) x_measure(features);
    x_initialise();
    const Index n = features.rows();
    const Index steps = (n + x_options.batch - 1) / x_options.batch;
    const CosineSchedule fall{.start = 1, .end = 0, .steps = steps * x_options.epochs};
    Index step = 0;
    for (Index epoch = 0; epoch < x_options.epochs && !token.stop_requested(); ++epoch) {
      const std::vector<Index> order = shuffled(n, {.seed = x_options.seed,
                                                    .epoch = static_cast<std::uint32_t>(epoch),
                                                    .view = 8,
                                                    .purpose = Purpose::probe});
      std::vector<double> losses(static_cast<std::size_t>(x_grid));
      for (Index first = 0; first < n; first += x_options.batch) {
        const Index count = std::min(x_options.batch, n - first);
        x_step(features, labels,
               std::span<const Index>(order).subspan(static_cast<std::size_t>(first),
                                                     static_cast<std::size_t>(count)),
               fall(step++), losses);
      }
      for (double& loss : losses) loss /= static_cast<double>(n);
      if (on_epoch) on_epoch(epoch, losses);
    }
  }

  /// The class with the largest logit of classifier g (the lowest among equals), for features (m,D) in host
  /// memory. Throws `ShapeError`.
  [[nodiscard]] std::vector<std::int64_t> predict(MatrixView<const T> features, Index g) {
    require_shape(g >= 0 && g < x_grid, "linear probe of ", x_grid, " classifiers: number ", g);
    std::vector<std::int64_t> out;
    x_each_logits(features, [&](std::span<const T> logits) {
      const auto own = logits.subspan(static_cast<std::size_t>(g * x_options.classes),
                                      static_cast<std::size_t>(x_options.classes));
      out.push_back(std::max_element(own.begin(), own.end()) - own.begin());
    });
    return out;
  }

  /// The share of features (m,D) that each classifier gives its label; NaN for one that is not finite.
  /// Throws as `train`.
  [[nodiscard]] std::vector<double> accuracies(MatrixView<const T> features,
                                               std::span<const std::int64_t> labels) {
    x_check(features, labels);
    std::vector<double> right(static_cast<std::size_t>(x_grid));
    std::size_t i = 0;
    x_each_logits(features, [&](std::span<const T> logits) {
      for (std::size_t g = 0; g < right.size(); ++g) {
        const auto classes = static_cast<std::size_t>(x_options.classes);
        const auto own = logits.subspan(g * classes, classes);
        const bool finite = std::all_of(own.begin(), own.end(), [](T v) { return std::isfinite(v); });
        const auto best = std::max_element(own.begin(), own.end()) - own.begin();
        right[g] += !finite ? std::numeric_limits<double>::quiet_NaN() : best == labels[i] ? 1.0 : 0.0;
      }
      ++i;
    });
    for (double& share : right) share /= static_cast<double>(features.rows());
    return right;
  }

  /// weight (C,D) = and bias (C) = of classifier g, of the features as they are. Throws `ShapeError`.
  void get_weights(std::span<T> weight, std::span<T> bias, Index g) const {
    const Index size = x_options.classes * x_options.width;
    require_shape(g >= 0 && g < x_grid && static_cast<Index>(weight.size()) == size &&
                      static_cast<Index>(bias.size()) == x_options.classes,
                  "linear probe: room for ", weight.size(), " weights and ", bias.size(),
                  " biases of classifier ", g);
    x_backend.download(weight, static_cast<const T*>(x_weight(x_parameters).data() + g * size));
    x_backend.download(bias, static_cast<const T*>(x_bias(x_parameters).data() + g * x_options.classes));
    for (Index c = 0; c < x_options.classes; ++c) {
      double shift = 0;
      for (std::size_t d = 0; d < x_mean.size(); ++d) {
        T& w = weight[static_cast<std::size_t>(c) * x_mean.size() + d];
        w = static_cast<T>(static_cast<double>(w) * x_inverse_deviation[d]);
        shift += static_cast<double>(w) * x_mean[d];
      }
      T& b = bias[static_cast<std::size_t>(c)];
      b = static_cast<T>(static_cast<double>(b) - shift);
    }
  }

 private:
  [[nodiscard]] MatrixView<T> x_weight(VectorView<T> flat) const {
    return MatrixView<T>(flat.data() + x_layout.specs()[0].offset, x_grid * x_options.classes,
                         x_options.width);
  }
  [[nodiscard]] VectorView<T> x_bias(VectorView<T> flat) const {
    return VectorView<T>(flat.data() + x_layout.specs()[1].offset, x_grid * x_options.classes);
  }

  void x_check(MatrixView<const T> features, std::span<const std::int64_t> labels) const {
    require_shape(features.rows() >= 1 && features.rows() == static_cast<Index>(labels.size()) &&
                      features.cols() == x_options.width,
                  "linear probe of width ", x_options.width, ": features ", features.rows(), " x ",
                  features.cols(), " with ", labels.size(), " labels");
    for (const std::int64_t label : labels) {
      if (label < 0 || label >= x_options.classes)
        throw OptionError("label", label, join("0 to ", x_options.classes - 1));
    }
  }

  void x_place(Arena& arena) {
    const Index rows = x_options.batch * x_grid;
    x_parameters = arena.template vector<T>(x_layout.total());
    x_momentum = arena.template vector<T>(x_layout.total());
    x_gradients = arena.template vector<T>(x_layout.total());
    x_segments.clear();
    for (Index g = 0; g < x_grid; ++g) {
      const Index size = x_options.classes * x_options.width;
      const std::vector<Segment> own{
          {.offset = x_layout.specs()[0].offset + g * size, .size = size, .decayed = true},
          {.offset = x_layout.specs()[1].offset + g * x_options.classes,
           .size = x_options.classes,
           .decayed = true}};
      x_segments.push_back(place_copy(x_backend, arena, own));
    }
    x_norms = place_copy(x_backend, arena, std::vector<double>(2));
    std::vector<T> one_hot(static_cast<std::size_t>(x_options.classes * x_options.classes));
    for (Index c = 0; c < x_options.classes; ++c)
      one_hot[static_cast<std::size_t>(c * x_options.classes + c)] = T{1};
    x_one_hot = MatrixView<const T>(place_copy(x_backend, arena, one_hot).data(), x_options.classes,
                                    x_options.classes);
    x_batch = arena.template matrix<T>(x_options.batch, x_options.width);
    x_logits = arena.template matrix<T>(rows, x_options.classes);
    x_losses = arena.template vector<T>(rows);
    x_targets = arena.template vector<TargetRows>(rows);
  }

  void x_initialise() {
    RandomStream random({.seed = x_options.seed, .purpose = Purpose::probe});
    std::vector<T> one(static_cast<std::size_t>(x_options.classes * x_options.width));
    for (T& w : one) w = static_cast<T>(0.01 * random.normal());
    x_backend.fill(x_parameters, T{0});
    x_backend.fill(x_momentum, T{0});
    for (Index g = 0; g < x_grid; ++g)
      x_backend.upload(x_weight(x_parameters).data() + g * x_options.classes * x_options.width,
                       std::span<const T>(one));
  }

  /// Mean and deviation of each channel. One that changes by no more than rounding is left as it is.
  void x_measure(MatrixView<const T> features) {
    const auto n = static_cast<double>(features.rows());
    for (Index d = 0; d < features.cols(); ++d) {
      double sum = 0;
      for (Index i = 0; i < features.rows(); ++i) sum += static_cast<double>(features(i, d));
      const double mean = sum / n;
      double squared = 0;
      for (Index i = 0; i < features.rows(); ++i) {
        const double apart = static_cast<double>(features(i, d)) - mean;
        squared += apart * apart;
      }
      const double deviation = std::sqrt(squared / n);
      x_mean[static_cast<std::size_t>(d)] = mean;
      x_inverse_deviation[static_cast<std::size_t>(d)] =
          deviation <= 1e-6 * std::abs(mean) ? 1.0 : 1 / deviation;
    }
  }

  /// One row of features as the classifiers take it, into the staging memory.
  void x_stage(const T* row) {
    for (std::size_t d = 0; d < x_mean.size(); ++d)
      x_staging.push_back(static_cast<T>((static_cast<double>(row[d]) - x_mean[d]) * x_inverse_deviation[d]));
  }

  void x_step(MatrixView<const T> features, std::span<const std::int64_t> labels,
              std::span<const Index> samples, double share_of_rate, std::vector<double>& losses) {
    x_staging.clear();
    x_targets_host.clear();
    for (const Index i : samples) {
      x_stage(features.row(i));
      // Row m G + g of the logits is sample m's for classifier g.
      x_targets_host.insert(x_targets_host.end(), static_cast<std::size_t>(x_grid),
                            TargetRows{static_cast<std::int32_t>(labels[static_cast<std::size_t>(i)]), -1});
    }
    const auto count = static_cast<Index>(samples.size());
    const MatrixView<T> batch = x_batch.rows(0, count);
    const MatrixView<T> rows = x_logits.rows(0, count * x_grid);
    const MatrixView<T> side_by_side(rows.data(), count, x_grid * x_options.classes);
    const VectorView<T> row_losses(x_losses.data(), rows.rows());
    const VectorView<TargetRows> targets(x_targets.data(), rows.rows());
    x_backend.upload(batch.data(), std::span<const T>(x_staging));
    x_backend.upload(targets.data(), std::span<const TargetRows>(x_targets_host));
    x_backend.linear_forward(side_by_side, batch, x_weight(x_parameters), x_bias(x_parameters));
    x_backend.cross_entropy(row_losses, rows, rows, x_one_hot, targets, 1.0,
                            1.0 / static_cast<double>(count));
    x_backend.fill(x_gradients, T{0});
    x_backend.linear_backward_weight(x_weight(x_gradients), x_bias(x_gradients), side_by_side, batch);
    for (Index g = 0; g < x_grid; ++g) {
      const double rate = x_options.learning_rates[static_cast<std::size_t>(g)] *
                          static_cast<double>(x_options.batch) / 256.0;
      x_backend.sgd_step(x_parameters, x_momentum, x_gradients, x_norms,
                         x_segments[static_cast<std::size_t>(g)],
                         {.learning_rate = rate * share_of_rate,
                          .weight_decay = x_options.weight_decay,
                          .momentum = x_options.momentum});
    }
    x_losses_host.resize(static_cast<std::size_t>(rows.rows()));
    x_backend.download(std::span<T>(x_losses_host), static_cast<const T*>(row_losses.data()));
    for (std::size_t i = 0; i < x_losses_host.size(); ++i)
      losses[i % losses.size()] += static_cast<double>(x_losses_host[i]);
  }

  /// Calls each(logits (G C)) for each of the features (m,D).
  template <class Each>
  void x_each_logits(MatrixView<const T> features, const Each& each) {
    require_shape(features.cols() == x_options.width, "linear probe of width ", x_options.width,
                  ": features of width ", features.cols());
    const auto width = static_cast<std::size_t>(x_grid * x_options.classes);
    for (Index first = 0; first < features.rows(); first += x_options.batch) {
      const Index count = std::min(x_options.batch, features.rows() - first);
      x_staging.clear();
      for (Index i = 0; i < count; ++i) x_stage(features.row(first + i));
      const MatrixView<T> batch = x_batch.rows(0, count);
      const MatrixView<T> logits(x_logits.data(), count, x_grid * x_options.classes);
      x_backend.upload(batch.data(), std::span<const T>(x_staging));
      x_backend.linear_forward(logits, batch, x_weight(x_parameters), x_bias(x_parameters));
      x_logits_host.resize(static_cast<std::size_t>(logits.size()));
      x_backend.download(std::span<T>(x_logits_host), static_cast<const T*>(logits.data()));
      for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
        each(std::span<const T>(x_logits_host).subspan(i * width, width));
    }
  }

  B x_backend;
  LinearProbeOptions x_options;
  Index x_grid;
  ParameterLayout x_layout;
  Buffer x_buffer;
  VectorView<T> x_parameters, x_momentum, x_gradients;
  std::vector<VectorView<const Segment>> x_segments;  // of each classifier
  VectorView<const double> x_norms;
  MatrixView<const T> x_one_hot;  // (C,C): row c is the target of class c
  MatrixView<T> x_batch;          // (batch,D)
  MatrixView<T> x_logits;         // (batch G,C), then their gradient
  VectorView<T> x_losses;
  VectorView<TargetRows> x_targets;
  std::vector<double> x_mean, x_inverse_deviation;
  std::vector<T> x_staging, x_losses_host, x_logits_host;
  std::vector<TargetRows> x_targets_host;
};

}  // namespace dssl
