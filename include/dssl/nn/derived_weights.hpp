// LayerScale and keys without bias, as weights that a block computes with in place of its own.
#pragma once

#include <array>
#include <cstddef>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/block_parameters.hpp>

namespace dssl {

/// What a block computes with where its options make that of its parameters: LayerScale, and keys without bias.
///
/// LayerScale is each branch times gamma, a learned number a channel. That is the branch's last layer with its bias and the
/// rows of its weight times gamma:
///
///   x + keep gamma (W h + b) = x + keep (W' h + b'), W' = diag(gamma) W, b' = gamma b;
///   d_gamma += diag(d_W' W^T) + d_b' b, d_W += diag(gamma) d_W', d_b += gamma d_b'.
///
/// So tokens cost nothing more, forward or backward, and nothing more is kept of them: a block costs passes over these
/// two weights, D^2 + D hidden numbers. Buffers of the block at work; those of gradients where there will be a backward
/// pass; none without these options. Source: Touvron et al. 2021, Going deeper with image transformers.
/// Test: tests/backbone/block_options.cpp, tests/nn/block_parity.cpp.
template <class T>
struct DerivedWeights {
  MatrixView<T> proj_weight, fc2_weight;      // (D,D), (D,hidden)
  VectorView<T> proj_bias, fc2_bias;          // (D)
  MatrixView<T> d_proj_weight, d_fc2_weight;
  VectorView<T> d_proj_bias;
  std::array<VectorView<T>, 2> d_fc2_bias;    // of blocks in turn: one's is asked for before the next one is through
  VectorView<T> dots;                         // (D)
  VectorView<T> qkv_bias;                     // (3D) without that of keys

  static DerivedWeights take(Arena& arena, const BlockSize& size, bool saved) {
    DerivedWeights s;
    if (size.qkv_bias == QkvBias::no_key) s.qkv_bias = arena.vector<T>(3 * size.width);
    if (!size.layer_scale) return s;
    s.proj_weight = arena.matrix<T>(size.width, size.width);
    s.fc2_weight = arena.matrix<T>(size.width, size.hidden);
    s.proj_bias = arena.vector<T>(size.width);
    s.fc2_bias = arena.vector<T>(size.width);
    if (!saved) return s;
    s.d_proj_weight = arena.matrix<T>(size.width, size.width);
    s.d_fc2_weight = arena.matrix<T>(size.width, size.hidden);
    s.d_proj_bias = arena.vector<T>(size.width);
    for (VectorView<T>& d_bias : s.d_fc2_bias) d_bias = arena.vector<T>(size.width);
    s.dots = arena.vector<T>(size.width);
    return s;
  }
};

namespace detail {

/// A vector as a matrix of one column.
template <class T>
[[nodiscard]] MatrixView<T> as_column(VectorView<T> v) {
  return MatrixView<T>(v.data(), v.size(), 1);
}

/// The part of keys in a vector of queries, keys and values.
template <class T>
[[nodiscard]] VectorView<T> keys_of(VectorView<T> qkv) {
  return VectorView<T>(qkv.data() + qkv.size() / 3, qkv.size() / 3);
}

/// out = diag(gamma) x.
template <Backend B, class T = typename B::Scalar>
void scale_rows(const B& backend, MatrixView<T> out, MatrixView<const T> x, VectorView<const T> gamma) {
  backend.fill(VectorView<T>(out.data(), out.size()), T{0});
  backend.add_weighted_rows(out, x, gamma);
}

/// The gradient of diag(gamma) w, d_scaled -> d_gamma +=, d_w +=. `dots` is overwritten.
template <Backend B, class T = typename B::Scalar>
void scale_rows_backward(const B& backend, MatrixView<T> d_w, VectorView<T> d_gamma, VectorView<T> dots,
                         MatrixView<const T> d_scaled, MatrixView<const T> w, VectorView<const T> gamma) {
  backend.row_dots(dots, d_scaled, w);
  backend.accumulate(d_gamma, dots);
  backend.add_weighted_rows(d_w, d_scaled, gamma);
}

}  // namespace detail

/// The parameters with which a block computes: its own, but for what its options make of them in `s`.
template <Backend B, class T = typename B::Scalar>
[[nodiscard]] BlockParameters<const T> derived_parameters(const B& backend, const DerivedWeights<T>& s,
                                                          const BlockParameters<const T>& p) {
  BlockParameters<const T> q = p;
  if (!s.qkv_bias.empty()) {
    backend.copy(s.qkv_bias, p.qkv_bias);
    backend.fill(detail::keys_of(s.qkv_bias), T{0});
    q.qkv_bias = s.qkv_bias;
  }
  if (p.scale1.empty()) return q;
  detail::scale_rows<B, T>(backend, s.proj_weight, p.proj_weight, p.scale1);
  detail::scale_rows<B, T>(backend, detail::as_column(s.proj_bias), detail::as_column(p.proj_bias), p.scale1);
  detail::scale_rows<B, T>(backend, s.fc2_weight, p.fc2_weight, p.scale2);
  detail::scale_rows<B, T>(backend, detail::as_column(s.fc2_bias), detail::as_column(p.fc2_bias), p.scale2);
  q.proj_weight = s.proj_weight;
  q.proj_bias = s.proj_bias;
  q.fc2_weight = s.fc2_weight;
  q.fc2_bias = s.fc2_bias;
  return q;
}

/// Where the gradients of `derived_parameters` of block `number` go: its own place, or `s`, which leaves alone what lies
/// there for the block behind it.
template <class T>
[[nodiscard]] BlockParameters<T> derived_gradients(const DerivedWeights<T>& s, const BlockParameters<T>& d_p,
                                                  std::size_t number) {
  if (d_p.scale1.empty()) return d_p;
  BlockParameters<T> d_q = d_p;
  d_q.proj_weight = s.d_proj_weight;
  d_q.proj_bias = s.d_proj_bias;
  d_q.fc2_weight = s.d_fc2_weight;
  d_q.fc2_bias = s.d_fc2_bias[number % 2];
  return d_q;
}

/// Before the pass that hands the MLP's branch of a block its gradient: zeroes the bias's of that branch.
template <Backend B, class T = typename B::Scalar>
void begin_derived_branch(const B& backend, const BlockParameters<T>& d_q) {
  if (!d_q.scale2.empty()) backend.fill(d_q.fc2_bias, T{0});
}

/// Before a block's backward pass: zeroes what else it adds to.
template <Backend B, class T = typename B::Scalar>
void begin_derived_block(const B& backend, const BlockParameters<T>& d_q) {
  if (d_q.scale1.empty()) return;
  backend.fill(VectorView<T>(d_q.proj_weight.data(), d_q.proj_weight.size()), T{0});
  backend.fill(d_q.proj_bias, T{0});
  backend.fill(VectorView<T>(d_q.fc2_weight.data(), d_q.fc2_weight.size()), T{0});
}

/// After a block's backward pass: the gradients d_q of its derived parameters -> d_p +=.
template <Backend B, class T = typename B::Scalar>
void end_derived_block(const B& backend, const DerivedWeights<T>& s, const BlockParameters<T>& d_p,
                      const BlockParameters<T>& d_q, const BlockParameters<const T>& p) {
  if (!s.qkv_bias.empty()) backend.fill(detail::keys_of(d_p.qkv_bias), T{0});
  if (d_p.scale1.empty()) return;
  const auto back = [&](MatrixView<T> d_w, VectorView<T> d_gamma, MatrixView<const T> d_scaled, MatrixView<const T> w,
                        VectorView<const T> gamma) {
    detail::scale_rows_backward<B, T>(backend, d_w, d_gamma, s.dots, d_scaled, w, gamma);
  };
  using detail::as_column;
  back(d_p.proj_weight, d_p.scale1, d_q.proj_weight, p.proj_weight, p.scale1);
  back(as_column(d_p.proj_bias), d_p.scale1, as_column(d_q.proj_bias), as_column(p.proj_bias), p.scale1);
  back(d_p.fc2_weight, d_p.scale2, d_q.fc2_weight, p.fc2_weight, p.scale2);
  back(as_column(d_p.fc2_bias), d_p.scale2, as_column(d_q.fc2_bias), as_column(p.fc2_bias), p.scale2);
}

}  // namespace dssl
