// What becomes of queries and keys, head by head, between their layer and attention: norms, and turns by where tokens stand.
// Tests: tests/backbone/block_options.cpp.
#pragma once

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/block_parameters.hpp>

namespace dssl {

/// Which rows are changed, and by what. Norms come first.
template <class T>
struct HeadChanges {
  MatrixView<const T> rotations{};  ///< (P,D/H) as `rotation_rows` writes them
  RowIndex places{};                ///< (M) of each token the row that turns it, or -1; empty: none is turned
  /// (M H) of each token's heads the rows of queries and of keys in qkv as (3 H M,D/H): 3 H m + h, and H more. Empty without
  /// norms of heads.
  RowIndex queries{}, keys{};
};

/// What a block keeps of its norms of heads for the way back: queries or keys before them.
template <class T>
struct HeadNormActivations {
  MatrixView<T> x;  // (M H,D/H)
  VectorView<T> mean, inverse_std;

  /// Nothing where a block has no norms of heads.
  static HeadNormActivations take(Arena& arena, const BlockSize& size, Index rows) {
    if (!size.qk_norm) return {};
    HeadNormActivations a;
    a.x = arena.matrix<T>(rows * size.heads, size.width / size.heads);
    a.mean = arena.vector<T>(rows * size.heads);
    a.inverse_std = arena.vector<T>(rows * size.heads);
    return a;
  }
};

namespace detail {

/// x (M,n D/H) as rows of one head each.
template <class T>
[[nodiscard]] MatrixView<T> as_heads(MatrixView<T> x, const BlockSize& size) {
  const Index each = size.width / size.heads;
  return MatrixView<T>(x.data(), x.size() / each, each);
}

}  // namespace detail

/// Queries and keys of qkv (M,3D) = LN(queries), LN(keys) of each head over its D/H numbers, where `size.qk_norm`, then turned.
///
/// `query`, `key`: what is kept of each. `packed`: of tokens, where some are left out. `scratch` (M,D) is overwritten where there
/// are norms. Source: Dehghani et al. 2023 (ViT-22B); timm's `qk_norm`.
template <Backend B, class T = typename B::Scalar>
void change_heads(const B& backend, MatrixView<T> qkv, const HeadNormActivations<T>& query, const HeadNormActivations<T>& key,
                  const BlockParameters<const T>& p, const BlockSize& size, const HeadChanges<T>& changes, RowIndex packed,
                  MatrixView<T> scratch) {
  if (size.qk_norm) {
    const Index count = qkv.rows() * size.heads;
    const MatrixView<T> heads = detail::as_heads(qkv, size), normed = detail::as_heads(scratch, size).rows(0, count);
    const auto norm = [&](const HeadNormActivations<T>& a, RowIndex rows, VectorView<const T> weight, VectorView<const T> bias) {
      const RowIndex own(rows.data(), count);
      const MatrixView<T> x = a.x.rows(0, count);
      backend.copy_rows(x, {}, heads, own);
      backend.layer_norm_forward(normed, VectorView<T>(a.mean.data(), count), VectorView<T>(a.inverse_std.data(), count), x,
                                 weight, bias, size.norm_epsilon);
      backend.copy_rows(heads, own, normed, {});
    };
    norm(query, changes.queries, p.query_norm_weight, p.query_norm_bias);
    norm(key, changes.keys, p.key_norm_weight, p.key_norm_bias);
  }
  if (!changes.places.empty()) backend.rotate_heads(qkv, changes.rotations, changes.places, packed, size.heads, 1.0);
}

/// The way back: the gradient of what `change_heads` left -> that of what it found, both in d_qkv (M,3D); d_p +=. The scratches
/// (M,D) are overwritten where there are norms.
template <Backend B, class T = typename B::Scalar>
void change_heads_backward(const B& backend, MatrixView<T> d_qkv, const BlockParameters<T>& d_p, const HeadNormActivations<T>& query,
                           const HeadNormActivations<T>& key, const BlockParameters<const T>& p, const BlockSize& size,
                           const HeadChanges<T>& changes, RowIndex packed, MatrixView<T> scratch, MatrixView<T> other_scratch) {
  if (!changes.places.empty()) backend.rotate_heads(d_qkv, changes.rotations, changes.places, packed, size.heads, -1.0);
  if (!size.qk_norm) return;
  const Index count = d_qkv.rows() * size.heads;
  const MatrixView<T> heads = detail::as_heads(d_qkv, size);
  const MatrixView<T> d_normed = detail::as_heads(scratch, size).rows(0, count);
  const MatrixView<T> d_x = detail::as_heads(other_scratch, size).rows(0, count);
  const auto back = [&](const HeadNormActivations<T>& a, RowIndex rows, VectorView<T> d_weight, VectorView<T> d_bias,
                        VectorView<const T> weight) {
    const RowIndex own(rows.data(), count);
    backend.copy_rows(d_normed, {}, heads, own);
    backend.fill(VectorView<T>(d_x.data(), d_x.size()), T{0});
    backend.layer_norm_backward(d_x, d_weight, d_bias, d_normed, a.x.rows(0, count), VectorView<const T>(a.mean.data(), count),
                                VectorView<const T>(a.inverse_std.data(), count), weight);
    backend.copy_rows(heads, own, d_x, {});
  };
  back(query, changes.queries, d_p.query_norm_weight, d_p.query_norm_bias, p.query_norm_weight);
  back(key, changes.keys, d_p.key_norm_weight, d_p.key_norm_bias, p.key_norm_weight);
}

}  // namespace dssl
