// The MLPs between a backbone and a loss: projectors, predictors, expanders, with batch norm that has running statistics.
// Tests: tests/nn/mlp.cpp, tests/nn/mlp_parity.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/nn/norm_over_ranks.hpp>
#include <dssl/nn/parameters.hpp>

namespace dssl {

/// The bias of a linear layer.
enum class Bias : std::uint8_t {
  none,
  fixed,   ///< a parameter that is stored and never trained
  learned
};

/// A batch norm after a linear layer.
enum class BatchNorm : std::uint8_t {
  none,
  plain,  ///< without weight and bias
  affine
};

/// What stands between two layers.
enum class Activation : std::uint8_t { relu, gelu };

/// Sizes and parts of an MLP: linear layers, each but the last followed by its batch norm and an activation, the last one
/// by its batch norm. All of it is integral, so a config is a template argument.
struct MlpConfig {
  Index layers = 2;     ///< linear layers
  Index hidden = 4096;  ///< width between them
  Index out = 256;      ///< width after the last one
  Bias hidden_bias = Bias::learned;           ///< of all linear layers but the last
  Bias last_bias = Bias::none;
  BatchNorm hidden_norm = BatchNorm::affine;  ///< after all linear layers but the last
  BatchNorm last_norm = BatchNorm::none;
  Activation activation = Activation::relu;

  [[nodiscard]] constexpr bool operator==(const MlpConfig&) const = default;

  /// Width, bias and batch norm of linear layer i.
  [[nodiscard]] constexpr Index width_of(Index i) const { return i + 1 == layers ? out : hidden; }
  [[nodiscard]] constexpr Bias bias_of(Index i) const { return i + 1 == layers ? last_bias : hidden_bias; }
  [[nodiscard]] constexpr BatchNorm norm_of(Index i) const { return i + 1 == layers ? last_norm : hidden_norm; }
  /// The number of linear layer i in the published list of modules, in which batch norms and activations have theirs.
  [[nodiscard]] constexpr Index place_of(Index i) const { return (hidden_norm == BatchNorm::none ? 2 : 3) * i; }
};

/// No MLP: a term without a predictor.
inline constexpr MlpConfig no_mlp{.layers = 0};
/// BYOL's projector and predictor. Source: the authors' `networks.MLP`.
inline constexpr MlpConfig byol_mlp{};
/// SimSiam's projector and predictor for features of 2048 channels. Source: the authors' `builder.py`.
inline constexpr MlpConfig simsiam_projector{.layers = 3,
                                             .hidden = 2048,
                                             .out = 2048,
                                             .hidden_bias = Bias::none,
                                             .last_bias = Bias::fixed,
                                             .last_norm = BatchNorm::plain};
inline constexpr MlpConfig simsiam_predictor{
    .hidden = 512, .out = 2048, .hidden_bias = Bias::none, .last_bias = Bias::learned};
/// MoCo v2's projector. Source: the authors' `builder.py`, with `mlp`.
inline constexpr MlpConfig moco_v2_projector{
    .hidden = 2048, .out = 128, .last_bias = Bias::learned, .hidden_norm = BatchNorm::none};
/// MoCo v3's projector and predictor of ViTs. Source: the authors' `builder.py`.
inline constexpr MlpConfig moco_v3_projector{
    .layers = 3, .hidden_bias = Bias::none, .last_norm = BatchNorm::plain};
inline constexpr MlpConfig moco_v3_predictor{.hidden_bias = Bias::none, .last_norm = BatchNorm::plain};
/// SimCLR's projector. Source: lightly's, whose last batch norm has a bias; the authors' has none.
inline constexpr MlpConfig simclr_projector{
    .hidden = 2048, .out = 128, .hidden_bias = Bias::none, .last_norm = BatchNorm::affine};
/// PixPro's projector of patches, and what it does to values before they are passed on. Source: the authors' `PixPro.py`.
inline constexpr MlpConfig pixpro_projector{.last_bias = Bias::learned};
inline constexpr MlpConfig pixpro_transform{
    .layers = 1, .last_bias = Bias::learned, .hidden_norm = BatchNorm::none};
/// SwAV's projector. Source: the authors' `resnet50.py`.
inline constexpr MlpConfig swav_projector{.hidden = 2048, .out = 128, .last_bias = Bias::learned};
/// Barlow Twins' projector. Source: the authors' `main.py`, where one more batch norm belongs to the loss.
inline constexpr MlpConfig barlow_projector{.layers = 3, .hidden = 8192, .out = 8192, .hidden_bias = Bias::none};
/// VICReg's expander. Source: the authors' `main_vicreg.py`.
inline constexpr MlpConfig vicreg_expander{.layers = 3, .hidden = 8192, .out = 8192};

/// How much of a new batch's statistics goes into the running ones. Source: PyTorch's default, which the methods keep.
inline constexpr double batch_norm_momentum = 0.1;

/// Parameters of an MLP (or their gradients), as views into the flat buffer.
template <class T>
struct MlpParameters {
  struct Layer {
    MatrixView<T> weight;       // (O,I)
    VectorView<T> bias;         // (O), or empty
    VectorView<T> norm_weight;  // (O), or empty
    VectorView<T> norm_bias;    // (O), or empty
  };
  std::vector<Layer> layers;

  static MlpParameters bind(ParameterCursor<T>& next, const MlpConfig& config) {
    MlpParameters p;
    for (Index i = 0; i < config.layers; ++i) {
      Layer layer;
      layer.weight = next.matrix();
      if (config.bias_of(i) != Bias::none) layer.bias = next.vector();
      if (config.norm_of(i) == BatchNorm::affine) {
        layer.norm_weight = next.vector();
        layer.norm_bias = next.vector();
      }
      p.layers.push_back(layer);
    }
    return p;
  }
};

/// Appends an MLP's parameters, which takes `width` channels, to a layout after `prefix`, under the names that they have
/// in a list of modules: `0.weight`, `0.bias`, `1.weight` and `1.bias` of the batch norm, `3.weight`, ...
/// Linear layers begin as PyTorch's do: uniform within 1 / sqrt(I), the bias too; batch norms at 1 and 0.
constexpr void add_mlp_parameters(ParameterLayout& layout, const MlpConfig& config, Index width,
                                  std::string_view prefix) {
  layout.prefix(prefix);
  Index in = width;
  for (Index i = 0; i < config.layers; ++i) {
    const Index out = config.width_of(i);
    const auto add = [&](Index place, std::string_view part, std::initializer_list<Index> extents,
                         const ParameterLayout::Options& options) {
      layout.add(ParameterName().append(place).append(part).view(), extents, options);
    };
    const Index place = config.place_of(i);
    add(place, ".weight", {out, in}, {.initial = InitialValues::uniform, .fan_in = in});
    if (config.bias_of(i) != Bias::none) {
      add(place, ".bias", {out},
          {.initial = InitialValues::uniform, .fan_in = in, .trained = config.bias_of(i) == Bias::learned});
    }
    if (config.norm_of(i) == BatchNorm::affine) {
      add(place + 1, ".weight", {out}, {.initial = InitialValues::one});
      add(place + 1, ".bias", {out}, {});
    }
    in = out;
  }
  layout.prefix("");
}

/// What the batch norms of an MLP have seen, for inference: lasting state, moved by `mlp_update_statistics` alone.
template <class T>
struct MlpStatistics {
  struct Norm {
    Index place = 0;         // in the published list of modules
    VectorView<T> mean;      // (O)
    VectorView<T> variance;  // (O), unbiased
  };
  std::vector<Norm> norms;  // in the order of the layers, those that have one

  static MlpStatistics take(Arena& arena, const MlpConfig& config) {
    MlpStatistics s;
    for (Index i = 0; i < config.layers; ++i) {
      if (config.norm_of(i) == BatchNorm::none) continue;
      const VectorView<T> mean = arena.vector<T>(config.width_of(i));
      s.norms.push_back({config.place_of(i) + 1, mean, arena.vector<T>(config.width_of(i))});
    }
    return s;
  }

  /// As before any batch: mean 0, variance 1.
  template <Backend B>
  void reset(const B& backend) const {
    for (const Norm& norm : norms) {
      backend.fill(norm.mean, T{0});
      backend.fill(norm.variance, T{1});
    }
  }

  /// Calls f(name, values) for each running mean and variance: `1.running_mean`, `1.running_var`, ... after `prefix`.
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    for (const Norm& norm : norms) {
      f(join(prefix, norm.place, ".running_mean"), norm.mean);
      f(join(prefix, norm.place, ".running_var"), norm.variance);
    }
  }
};

/// What an MLP computes for M rows.
///
/// A batch norm norms `groups` equal consecutive parts of the rows each by itself, as if they had come in calls of their
/// own: the views of BYOL, SimSiam and Barlow Twins; one group where a method gives all its views at once (SimCLR).
/// ReLU overwrites what it takes, as its sign says all that the backward pass wants.
template <class T>
struct MlpActivations {
  struct Layer {
    MatrixView<T> linear;       // (M,O)
    MatrixView<T> normed;       // (M,O), or empty
    MatrixView<T> mean;         // (groups,O), or empty
    MatrixView<T> inverse_std;  // (groups,O), or empty
    NormOverRanks<T> over;
    MatrixView<T> y;            // (M,O) what the next layer takes
    /// What the activation takes.
    [[nodiscard]] MatrixView<T> before() const { return normed.empty() ? linear : normed; }
  };

  MatrixView<const T> x;  // (M,D)
  MatrixView<T> out;      // (M,O)
  Index groups = 1;
  std::vector<Layer> layers;

  /// `x` and `out` lie where the caller wants them: `out` of a projector may be a predictor's `x`. Throws `ShapeError`
  /// where the rows do not make `groups` equal parts, or `out` has another width than the config. `ranks`: each has as many
  /// rows, and those of a group are normed together.
  static MlpActivations take(Arena& arena, const MlpConfig& c, MatrixView<const T> x, MatrixView<T> out,
                             Index groups = 1, const Communicator& ranks = {});
  /// Those of a pass of the first `rows` alone, of one group.
  [[nodiscard]] MlpActivations first(Index rows) const {
    MlpActivations a = *this;
    a.x = x.rows(0, rows);
    a.out = out.rows(0, rows);
    for (Layer& layer : a.layers) {
      for (MatrixView<T>* matrix : {&layer.linear, &layer.normed, &layer.y}) {
        if (!matrix->empty()) *matrix = matrix->rows(0, rows);
      }
    }
    return a;
  }
};

template <class T>
MlpActivations<T> MlpActivations<T>::take(Arena& arena, const MlpConfig& c, MatrixView<const T> x, MatrixView<T> out,
                                        Index groups, const Communicator& ranks) {
  const Index rows = x.rows();
  require_shape(groups >= 1 && rows % groups == 0, "MLP: ", rows, " rows in ", groups,
                " groups; expected groups of one size");
  require_shape(out.rows() == rows && out.cols() == c.out, "MLP: out is ", out.rows(), " x ", out.cols(),
                "; expected ", rows, " x ", c.out);
  MlpActivations a;
  a.x = x;
  a.out = out;
  a.groups = groups;
  for (Index i = 0; i < c.layers; ++i) {
    const bool last = i + 1 == c.layers;
    const bool normed = c.norm_of(i) != BatchNorm::none;
    const Index width = c.width_of(i);
    Layer layer;
    layer.linear = last && !normed ? out : arena.matrix<T>(rows, width);
    if (normed) {
      layer.normed = last ? out : arena.matrix<T>(rows, width);
      layer.mean = arena.matrix<T>(groups, width);
      layer.inverse_std = arena.matrix<T>(groups, width);
      layer.over = NormOverRanks<T>::take(arena, ranks, width, groups);
    }
    const bool apart = !last && c.activation == Activation::gelu;
    layer.y = apart ? arena.matrix<T>(rows, width) : layer.normed.cols() > 0 ? layer.normed : layer.linear;
    a.layers.push_back(layer);
  }
  return a;
}

/// Buffers of an MLP's backward pass.
template <class T>
struct MlpGradients {
  MatrixView<T> d_out;  // (M,O), written by the caller; overwritten where a batch norm ends the MLP
  MatrixView<T> d_x;    // (M,D) the result
  MatrixView<T> d_hidden;
  MatrixView<T> d_other;

  /// `d_out` and `d_x` lie where the caller wants them, and are not the same.
  static MlpGradients take(Arena& arena, const MlpConfig& c, MatrixView<T> d_out, MatrixView<T> d_x) {
    MlpGradients g;
    g.d_out = d_out;
    g.d_x = d_x;
    if (c.layers > 1) g.d_hidden = arena.matrix<T>(d_out.rows(), c.hidden);
    if (c.layers > 2) g.d_other = arena.matrix<T>(d_out.rows(), c.hidden);
    return g;
  }
  /// As `MlpActivations::first`.
  [[nodiscard]] MlpGradients first(Index rows) const {
    MlpGradients g = *this;
    for (MatrixView<T>* matrix : {&g.d_out, &g.d_x, &g.d_hidden, &g.d_other}) {
      if (!matrix->empty()) *matrix = matrix->rows(0, rows);
    }
    return g;
  }
};

namespace detail {

/// Part g of `groups` of a matrix's rows.
template <class T>
[[nodiscard]] MatrixView<T> group_of(MatrixView<T> x, Index groups, Index g) {
  return x.rows(g * (x.rows() / groups), x.rows() / groups);
}
/// Row g as a vector.
template <class T>
[[nodiscard]] VectorView<T> row_of(MatrixView<T> x, Index g) {
  return VectorView<T>(x.row(g), x.cols());
}

/// The forward pass; `norm(layer, parameters, i)` fills layer.normed, i the number of the batch norm.
template <Backend B, class T, class Norm>
void mlp_forward_by(const B& backend, const MlpActivations<T>& a, const MlpParameters<const T>& p,
                    const MlpConfig& config, const Norm& norm) {
  MatrixView<const T> x = a.x;
  std::size_t norms = 0;
  for (std::size_t i = 0; i < a.layers.size(); ++i) {
    const auto& layer = a.layers[i];
    backend.linear_forward(layer.linear, x, p.layers[i].weight, p.layers[i].bias);
    if (!layer.normed.empty()) norm(layer, p.layers[i], norms++);
    if (i + 1 == a.layers.size()) break;
    if (config.activation == Activation::relu) {
      backend.relu_forward(layer.y, layer.before());
    } else {
      backend.gelu_forward(layer.y, layer.before());
    }
    x = layer.y;
  }
}

/// The backward pass; `norm(d, layer, d_parameters, parameters, i)` turns d, the gradient of layer.normed, into that of
/// layer.linear.
template <Backend B, class T, class Norm>
void mlp_backward_by(const B& backend, const MlpGradients<T>& g, const MlpParameters<T>& d_p,
                     const MlpActivations<T>& a, const MlpParameters<const T>& p, const MlpConfig& config,
                     const Norm& norm) {
  std::size_t norms = 0;
  for (const auto& layer : a.layers) norms += layer.normed.empty() ? 0 : 1;
  MatrixView<T> d = g.d_out;
  for (std::size_t i = a.layers.size(); i-- > 0;) {
    const auto& layer = a.layers[i];
    if (i + 1 < a.layers.size()) {
      if (config.activation == Activation::relu) {
        backend.relu_backward(d, d, layer.y);
      } else {
        backend.gelu_backward(d, d, layer.before());
      }
    }
    if (!layer.normed.empty()) norm(d, layer, d_p.layers[i], p.layers[i], --norms);
    const bool learned = config.bias_of(static_cast<Index>(i)) == Bias::learned;
    backend.linear_backward_weight(d_p.layers[i].weight, learned ? d_p.layers[i].bias : VectorView<T>{}, d,
                                   i == 0 ? a.x : a.layers[i - 1].y);
    // Two hidden buffers in turn: a product may not overwrite what it reads.
    const MatrixView<T> d_in = i == 0 ? g.d_x : d.data() == g.d_hidden.data() ? g.d_other : g.d_hidden;
    backend.linear_backward_input(d_in, d, p.layers[i].weight);
    d = d_in;
  }
}

}  // namespace detail

/// Forward pass: a.x (M,D) -> a.out (M,O), batch norms by the statistics of each group of rows, which stay in `a`.
///
/// Running statistics are neither read nor moved. Cost: 2 M sum(I O) FLOP. Tests: fixtures `objectives/byol_mlp` and
/// `objectives/simsiam`.
template <Backend B, class T = typename B::Scalar>
void mlp_forward(const B& backend, const MlpActivations<T>& a, const MlpParameters<const T>& p,
                 const MlpConfig& config) {
  detail::mlp_forward_by(backend, a, p, config, [&](const auto& to, const auto& norm, std::size_t) {
    for (Index g = 0; g < a.groups; ++g) {
      to.over.forward(backend, detail::group_of(to.normed, a.groups, g), detail::row_of(to.mean, g),
                      detail::row_of(to.inverse_std, g), detail::group_of(to.linear, a.groups, g), norm.norm_weight,
                      norm.norm_bias, batch_norm_epsilon, g);
    }
  });
}

/// Backward pass: g.d_out (M,O) -> g.d_x (M,D) =, d_p +=; a fixed bias has no gradient. Over ranks it overwrites what batch
/// norms gave, a last one's `a.out` too.
/// Cost: 4 M sum(I O) FLOP. Tests: the same fixtures; central differences in tests/nn/mlp.cpp.
template <Backend B, class T = typename B::Scalar>
void mlp_backward(const B& backend, const MlpGradients<T>& g, const MlpParameters<T>& d_p,
                  const MlpActivations<T>& a, const MlpParameters<const T>& p, const MlpConfig& config) {
  detail::mlp_backward_by(
      backend, g, d_p, a, p, config,
      [&](MatrixView<T> d, const auto& from, const auto& d_norm, const auto& norm, std::size_t) {
        for (Index part = 0; part < a.groups; ++part) {
          from.over.backward(backend, detail::group_of(d, a.groups, part), d_norm.norm_weight, d_norm.norm_bias,
                             detail::group_of(from.normed, a.groups, part), detail::group_of(from.linear, a.groups, part),
                             detail::row_of(from.mean, part), detail::row_of(from.inverse_std, part), norm.norm_weight,
                             batch_norm_epsilon, part);
        }
      });
}

/// Moves the running statistics by those of the last `mlp_forward`, a group after the other, as PyTorch's batch norm does
/// in each forward pass: running = (1 - momentum) running + momentum new. Apart from the passes, so that a pass made again
/// moves nothing. Throws `ShapeError` where a group has one row. Test: fixture `objectives/simsiam`.
template <Backend B, class T = typename B::Scalar>
void mlp_update_statistics(const B& backend, const MlpStatistics<T>& statistics, const MlpActivations<T>& a,
                           double momentum = batch_norm_momentum) {
  std::size_t n = 0;
  for (const auto& layer : a.layers) {
    if (layer.normed.empty()) continue;
    const auto& norm = statistics.norms[n++];
    for (Index g = 0; g < a.groups; ++g) {
      backend.batch_norm_update(norm.mean, norm.variance, detail::row_of(layer.mean, g),
                                detail::row_of(layer.inverse_std, g),
                                layer.over.rows(a.x.rows() / a.groups), momentum, batch_norm_epsilon);
    }
  }
}

/// Inference: as `mlp_forward`, but batch norms by the running statistics, so that a row's result depends on that row
/// alone. Test: fixture `objectives/byol_mlp`.
template <Backend B, class T = typename B::Scalar>
void mlp_evaluate(const B& backend, const MlpActivations<T>& a, const MlpParameters<const T>& p,
                  const MlpStatistics<T>& statistics, const MlpConfig& config) {
  detail::mlp_forward_by(backend, a, p, config, [&](const auto& to, const auto& norm, std::size_t n) {
    backend.batch_norm_evaluate_forward(to.normed, to.linear, statistics.norms[n].mean, statistics.norms[n].variance,
                                        norm.norm_weight, norm.norm_bias, batch_norm_epsilon);
  });
}

/// Backward pass of `mlp_evaluate`: g.d_out (M,O) -> g.d_x (M,D) =, d_p +=; the running statistics are constants.
/// Test: fixture `objectives/byol_mlp`.
template <Backend B, class T = typename B::Scalar>
void mlp_evaluate_backward(const B& backend, const MlpGradients<T>& g, const MlpParameters<T>& d_p,
                           const MlpActivations<T>& a, const MlpParameters<const T>& p,
                           const MlpStatistics<T>& statistics, const MlpConfig& config) {
  detail::mlp_backward_by(
      backend, g, d_p, a, p, config,
      [&](MatrixView<T> d, const auto& from, const auto& d_norm, const auto& norm, std::size_t n) {
        backend.batch_norm_evaluate_backward(d, d_norm.norm_weight, d_norm.norm_bias, d, from.linear,
                                             statistics.norms[n].mean, statistics.norms[n].variance, norm.norm_weight,
                                             batch_norm_epsilon);
      });
}

}  // namespace dssl
