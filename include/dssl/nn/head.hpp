// The projection head: an MLP to a unit vector, then prototypes with normalised weights.
#pragma once

#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/norm_over_ranks.hpp>
#include <dssl/nn/parameters.hpp>

namespace dssl {

/// Sizes of a projection head. All of it is integral, so a config is a template argument.
struct HeadConfig {
  Index layers = 3;          ///< linear layers of the MLP
  Index hidden = 2048;       ///< width between them
  Index bottleneck = 256;    ///< width of the unit vector
  Index prototypes = 65536;  ///< P; programs may set another number at run time
  bool learned_norm = false; ///< train the prototypes' norms g (published: fixed at 1)
  /// A batch norm between each hidden linear layer and its GELU (DINO's `use_bn_in_head`), over all rows of a pass, of all
  /// ranks, teacher's and student's each by themselves. There are no running statistics: no head outlives pretraining.
  bool batch_norm = false;
  /// The prototypes are a linear layer's rows as they are, of any norms, where others are g v / |v|: DINOv3's.
  bool plain_prototypes = false;

  [[nodiscard]] constexpr bool operator==(const HeadConfig&) const = default;
};

/// Epsilon of the bottleneck's L2 normalisation. Source: the published head.
inline constexpr double normalise_epsilon = 1e-12;
/// Epsilon of the batch norms between the MLP's layers. Source: PyTorch's default, which the published head keeps.
inline constexpr double batch_norm_epsilon = 1e-5;

/// Parameters of a projection head (or their gradients), as views into the flat buffer.
template <class T>
struct HeadParameters {
  struct Linear {
    MatrixView<T> weight;  // (O,I)
    VectorView<T> bias;
  };
  struct Norm {
    VectorView<T> weight;
    VectorView<T> bias;
  };
  std::vector<Linear> mlp;
  std::vector<Norm> norms;       // one after each hidden layer, or none
  VectorView<T> prototype_norm;  // (P), empty where prototypes are plain
  MatrixView<T> prototypes;      // (P,bottleneck)

  static HeadParameters bind(ParameterCursor<T>& next, const HeadConfig& config) {
    HeadParameters p;
    for (Index i = 0; i < config.layers; ++i) {
      const MatrixView<T> weight = next.matrix();
      p.mlp.push_back({weight, next.vector()});
      if (!config.batch_norm || i + 1 == config.layers) continue;
      const VectorView<T> scale = next.vector();
      p.norms.push_back({scale, next.vector()});
    }
    if (!config.plain_prototypes) p.prototype_norm = next.vector();
    p.prototypes = next.matrix();
    return p;
  }
};

/// Appends a head's parameters to a layout under their published names, after `prefix`.
constexpr void add_head_parameters(ParameterLayout& layout, const HeadConfig& c, Index width,
                                   std::string_view prefix) {
  layout.prefix(prefix);
  Index in = width;
  for (Index i = 0; i < c.layers; ++i) {
    const Index out = i + 1 == c.layers ? c.bottleneck : c.hidden;
    // The published MLP is a list: linear layer, batch norm where there is one, GELU, and so on; its places are
    // numbered. A single layer is no list.
    const auto name = [&](Index place, std::string_view part) {
      ParameterName full(std::string_view("mlp."));
      if (c.layers > 1) full.append(place).append(".");
      return full.append(part);
    };
    const Index place = (c.batch_norm ? 3 : 2) * i;
    layout.add(name(place, "weight").view(), {out, in}, {.initial = InitialValues::truncated_normal});
    layout.add(name(place, "bias").view(), {out}, {});
    if (c.batch_norm && i + 1 < c.layers) {
      layout.add(name(place + 1, "weight").view(), {out}, {.initial = InitialValues::one});
      layout.add(name(place + 1, "bias").view(), {out}, {});
    }
    in = out;
  }
  if (c.plain_prototypes) {
    layout.add("last_layer.weight", {c.prototypes, c.bottleneck},
               {.initial = InitialValues::truncated_normal, .prototype = true});
  } else {
    layout.add("last_layer.weight_g", {c.prototypes, 1},
               {.initial = InitialValues::one, .trained = c.learned_norm, .prototype = true});
    layout.add("last_layer.weight_v", {c.prototypes, c.bottleneck},
               {.initial = InitialValues::uniform, .fan_in = c.bottleneck, .prototype = true});
  }
  layout.prefix("");
}

/// What a head computes for M rows, up to the unit vectors.
template <class T>
struct HeadActivations {
  /// A batch norm's output and statistics.
  struct Normed {
    MatrixView<T> y;            // (M,hidden), before GELU
    VectorView<T> mean;         // (hidden)
    VectorView<T> inverse_std;  // (hidden)
    NormOverRanks<T> over;
  };

  MatrixView<T> x;                        // (M,D), written by the caller
  std::vector<MatrixView<T>> hidden;      // of the linear layers
  std::vector<Normed> normed;             // empty without batch norm
  std::vector<MatrixView<T>> activated;   // after GELU
  MatrixView<T> bottleneck;               // (M,256)
  MatrixView<T> unit;                     // (M,256)
  VectorView<T> norm;                     // (M)

  /// What the GELU after hidden layer i takes.
  [[nodiscard]] MatrixView<T> before_gelu(std::size_t i) const { return normed.empty() ? hidden[i] : normed[i].y; }

  /// `unit` lies where the caller wants it: a teacher's outlives its other buffers. `ranks`: whose rows are normed together.
  static HeadActivations take(Arena& arena, const HeadConfig& c, Index width, MatrixView<T> unit, const Communicator& ranks = {}) {
    const Index rows = unit.rows();
    HeadActivations a;
    a.x = arena.matrix<T>(rows, width);
    for (Index i = 0; i + 1 < c.layers; ++i) {
      a.hidden.push_back(arena.matrix<T>(rows, c.hidden));
      if (c.batch_norm) {
        const MatrixView<T> y = arena.matrix<T>(rows, c.hidden);
        const VectorView<T> mean = arena.vector<T>(c.hidden);
        const VectorView<T> inverse_std = arena.vector<T>(c.hidden);
        a.normed.push_back({y, mean, inverse_std, NormOverRanks<T>::take(arena, ranks, c.hidden)});
      }
      a.activated.push_back(arena.matrix<T>(rows, c.hidden));
    }
    a.bottleneck = arena.matrix<T>(rows, c.bottleneck);
    a.unit = unit;
    a.norm = arena.vector<T>(rows);
    return a;
  }
};

/// Buffers of a head's backward pass.
template <class T>
struct HeadGradients {
  MatrixView<T> d_unit;        // (M,256), written by the caller; overwritten
  MatrixView<T> d_hidden;      // (M,hidden)
  MatrixView<T> d_activated;   // (M,hidden)
  MatrixView<T> d_x;           // (M,D) the result

  static HeadGradients take(Arena& arena, const HeadConfig& c, Index width, Index rows) {
    HeadGradients g;
    g.d_unit = arena.matrix<T>(rows, c.bottleneck);
    g.d_hidden = arena.matrix<T>(rows, c.hidden);
    g.d_activated = arena.matrix<T>(rows, c.hidden);
    g.d_x = arena.matrix<T>(rows, width);
    return g;
  }
};

/// Forward pass: a.x (M,D) -> a.unit (M,256) = MLP(x) / |MLP(x)|. The prototypes come after it (prototype_loss.hpp).
///
/// With batch norm the rows are normed together: what one row gives depends on all M, in training and ever after.
/// Cost: 2 M (D hidden + hidden^2 + hidden 256) FLOP. Test: fixture `head`; batch norm written out in tests/nn.
template <Backend B, class T = typename B::Scalar>
void head_forward(const B& backend, const HeadActivations<T>& a, const HeadParameters<const T>& p) {
  MatrixView<const T> x = a.x;
  for (std::size_t i = 0; i < p.mlp.size(); ++i) {
    const bool last = i + 1 == p.mlp.size();
    const MatrixView<T> y = last ? a.bottleneck : a.hidden[i];
    backend.linear_forward(y, x, p.mlp[i].weight, p.mlp[i].bias);
    if (last) break;
    if (!p.norms.empty()) {
      const auto& to = a.normed[i];
      to.over.forward(backend, to.y, to.mean, to.inverse_std, y, p.norms[i].weight, p.norms[i].bias, batch_norm_epsilon);
    }
    backend.gelu_forward(a.activated[i], a.before_gelu(i));
    x = a.activated[i];
  }
  backend.l2_normalise_forward(a.unit, a.norm, a.bottleneck, normalise_epsilon);
}

/// Backward pass: g.d_unit (M,256) -> g.d_x (M,D) =, d_p.mlp +=, d_p.norms +=. Over ranks it overwrites `normed`.
/// Test: fixture `head`; central differences in tests/nn.
template <Backend B, class T = typename B::Scalar>
void head_backward(const B& backend, const HeadGradients<T>& g, const HeadParameters<T>& d_p,
                   const HeadActivations<T>& a, const HeadParameters<const T>& p) {
  backend.l2_normalise_backward(g.d_unit, g.d_unit, a.unit, a.norm, normalise_epsilon);
  MatrixView<T> d_y = g.d_unit;
  for (std::size_t i = p.mlp.size(); i-- > 0;) {
    const bool first = i == 0;
    backend.linear_backward_weight(d_p.mlp[i].weight, d_p.mlp[i].bias, d_y, first ? a.x : a.activated[i - 1]);
    // Two hidden buffers in turn: a product may not overwrite what it reads.
    const MatrixView<T> d_in = first ? g.d_x : d_y.data() == g.d_hidden.data() ? g.d_activated : g.d_hidden;
    backend.linear_backward_input(d_in, d_y, p.mlp[i].weight);
    if (!first) backend.gelu_backward(d_in, d_in, a.before_gelu(i - 1));
    if (!first && !p.norms.empty()) {
      const auto& from = a.normed[i - 1];
      from.over.backward(backend, d_in, d_p.norms[i - 1].weight, d_p.norms[i - 1].bias, from.y, a.hidden[i - 1], from.mean,
                         from.inverse_std, p.norms[i - 1].weight, batch_norm_epsilon);
    }
    d_y = d_in;
  }
}

/// The projection head as a policy.
template <HeadConfig C>
struct ProjectionHead {
  static_assert(C.layers >= 1 && C.hidden >= 1 && C.bottleneck >= 1,
                "every size of a projection head must be at least 1");
  static_assert(C.prototypes >= 2, "a projection head needs at least 2 prototypes");
  static_assert(!C.plain_prototypes || !C.learned_norm, "plain prototypes have the norms that they have: learned_norm is of others");

  static constexpr HeadConfig config = C;
};

}  // namespace dssl
