// A residual path and the layer norm beside it, in one pass where the backend can and in several where it cannot.
#pragma once

#include <dssl/backend/concept.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Epsilon of a layer norm where nothing else is said. Source: the published ViT.
inline constexpr double layer_norm_epsilon = 1e-6;

/// Epsilon of the layer norms of a backbone of those sizes: `layer_norm_epsilon` where the sizes do not know of one.
template <class Config>
[[nodiscard]] constexpr double norm_epsilon_of(const Config& config) {
  if constexpr (requires { config.norm_epsilon(); }) {
    return config.norm_epsilon();
  } else {
    return layer_norm_epsilon;
  }
}

/// A layer norm that follows a residual path: where it goes, which rows it takes, and its parameters.
template <class T>
struct FollowingNorm {
  NormRows<T> to{};   ///< empty: no norm follows
  RowIndex packed{};  ///< of every row its row in `to`, or -1; empty: all rows
  VectorView<const T> weight{}, bias{};
  double epsilon = layer_norm_epsilon;
};

/// The residual branch that a gradient is handed on to once it is whole.
template <class T>
struct PrecedingBranch {
  MatrixView<T> d_branch{};  ///< keep * the gradient, in rows that are there; empty: there is no branch
  VectorView<T> d_bias{};    ///< of the branch's last layer: its sum over rows
  BranchRows<T> rows{};
  bool in_place = false;     ///< d_branch is the gradient itself: every row is there and kept as it is

  /// The branch with `count` rows that the gradient d_x goes to; `buffer` is used where it cannot be d_x itself.
  static PrecedingBranch of(MatrixView<T> d_x, MatrixView<T> buffer, VectorView<T> d_bias, const BranchRows<T>& rows,
                            Index count) {
    const bool in_place = rows.packed.empty() && rows.keep.empty();
    return {.d_branch = in_place ? d_x : buffer.rows(0, count), .d_bias = d_bias, .rows = rows, .in_place = in_place};
  }
};

/// Where a branch's last layer gets its bias gradient: from `norm_then_branch` on a backend with `ResidualNorms`, or
/// else beside its weight's.
template <class B, class T>
[[nodiscard]] VectorView<T> bias_left_to_product(VectorView<T> d_bias) {
  return ResidualNorms<B> ? VectorView<T>{} : d_bias;
}

/// next = LN(x), with nothing added before.
template <Backend B, class T = typename B::Scalar>
void norm_alone(const B& backend, MatrixView<const T> x, const FollowingNorm<T>& next) {
  if (next.to.y.empty()) return;
  if constexpr (ResidualNorms<B>) {
    backend.residual_norm_forward({}, next.to, x, {}, {}, next.packed, next.weight, next.bias, next.epsilon);
  } else {
    backend.layer_norm_forward(next.to.y, next.to.mean, next.to.inverse_std, x, next.weight, next.bias, next.epsilon);
  }
}

/// out = x + keep * branch, next = LN(out). out may be x. Bytes: 4 rows of D numbers a row, 5 where it takes two passes.
/// Test: "Cpu optional operations hold to the primitives they stand for".
template <Backend B, class T = typename B::Scalar>
void residual_then_norm(const B& backend, MatrixView<T> out, MatrixView<const T> x, MatrixView<const T> branch,
                        const BranchRows<T>& from, const FollowingNorm<T>& next) {
  if constexpr (ResidualNorms<B>) {
    backend.residual_norm_forward(out, next.to, x, branch, from, next.packed, next.weight, next.bias, next.epsilon);
  } else {
    backend.residual_forward(out, x, branch, from.keep, from.sequence_of_row);
    norm_alone<B, T>(backend, out, next);
  }
}

/// d_x += the gradient of a norm of x from d_y (empty: no row was normed), then the share of the branch before.
/// d_weight, d_bias and before.d_bias +=, before.d_branch =.
template <Backend B, class T = typename B::Scalar>
void norm_then_branch(const B& backend, MatrixView<T> d_x, VectorView<T> d_weight, VectorView<T> d_bias,
                      MatrixView<const T> d_y, RowIndex packed, MatrixView<const T> x, VectorView<const T> mean,
                      VectorView<const T> inverse_std, VectorView<const T> weight, const PrecedingBranch<T>& before) {
  if constexpr (ResidualNorms<B>) {
    backend.norm_residual_backward(d_x, d_weight, d_bias, before.in_place ? MatrixView<T>{} : before.d_branch,
                                   before.d_bias, d_y, packed, x, mean, inverse_std, weight, before.rows);
  } else {
    backend.layer_norm_backward(d_x, d_weight, d_bias, d_y, x, mean, inverse_std, weight);
    if (before.d_branch.empty() || before.in_place) return;
    backend.residual_backward(before.d_branch, d_x, before.rows.keep, before.rows.sequence_of_row);
  }
}

/// The share of the branch before, where no norm lies between: as `norm_then_branch`.
template <Backend B, class T = typename B::Scalar>
void branch_alone(const B& backend, MatrixView<T> d_x, const PrecedingBranch<T>& before) {
  if constexpr (ResidualNorms<B>) {
    backend.norm_residual_backward(d_x, {}, {}, before.in_place ? MatrixView<T>{} : before.d_branch, before.d_bias, {},
                                   {}, {}, {}, {}, {}, before.rows);
  } else {
    if (before.d_branch.empty() || before.in_place) return;
    backend.residual_backward(before.d_branch, d_x, before.rows.keep, before.rows.sequence_of_row);
  }
}

}  // namespace dssl
