// Patches of two views whose centres lie near each other in the image point the same way: the loss of PixPro.
// Tests: tests/loss/pixel_consistency.cpp (fixture pixpro).
#pragma once

#include <cmath>
#include <span>

#include <dssl/core/error.hpp>
#include <dssl/loss/patch_grid.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// out (N,M) = A / (sum A + 1e-6), A 1 where the centres of patch n of `query` and patch m of `key` are nearer than `ratio`
/// times the larger of the two grids' patch diagonals, else 0. All 0 where no two are.
///
/// In the host's memory: views are drawn there, and the caller uploads. Source: Xie et al. 2021, eq. 1; PixPro's
/// regression_loss. The published boxes are those of views whose flip is taken out of the features beforehand; here the
/// grid says it.
template <class T>
void near_patches(std::span<T> out, const PatchGrid& query, const PatchGrid& key, double ratio = 0.7) {
  require_shape(static_cast<Index>(out.size()) == query.patches() * key.patches(), "near_patches: ", out.size(),
                " weights for ", query.patches(), " x ", key.patches(), " patches");
  const double reach = reach_of(query, key, ratio);
  Index near = 0;
  for (Index n = 0; n < query.patches(); ++n) {
    for (Index m = 0; m < key.patches(); ++m) {
      const bool is_near = std::hypot(query.x(n) - key.x(m), query.y(n) - key.y(m)) < reach;
      out[static_cast<std::size_t>(n * key.patches() + m)] = is_near ? T{1} : T{0};
      near += is_near ? 1 : 0;
    }
  }
  for (T& weight : out) weight = static_cast<T>(static_cast<double>(weight) / (static_cast<double>(near) + 1e-6));
}

/// Buffers for an image's N patches of the query and M of the key.
template <class T>
struct PixelConsistencyBuffers {
  UnitRows<T> query, key;  // (N,D), (M,D)
  MatrixView<T> cosines;   // (N,M), then their gradients
  MatrixView<T> d_unit;    // (N,D)
  VectorView<T> loss;      // (N)

  static PixelConsistencyBuffers take(Arena& arena, Index query_patches, Index key_patches, Index width) {
    return {UnitRows<T>::take(arena, query_patches, width), UnitRows<T>::take(arena, key_patches, width),
            arena.matrix<T>(query_patches, key_patches), arena.matrix<T>(query_patches, width),
            arena.vector<T>(query_patches)};
  }
};

/// One direction: value (1) += -2 mean over images of the sum over patches n, m of weights[n,m] cos(query[n], key[m]);
/// d_query (B N,D) += weight times its gradient, keys are constants.
///
/// query (B N,D), key (B M,D), image by image; weights (B N,M) of `near_patches`. Both directions are added, so the least
/// is -4; no constant is added to make it 0. An image whose views do not overlap counts with 0 in the mean.
/// Source: Xie et al. 2021, eq. 4; PixPro's regression_loss.
template <Backend B, class T = typename B::Scalar>
void pixel_consistency_loss(const B& backend, const PixelConsistencyBuffers<T>& buffers, VectorOf<B> value,
                            MatrixOf<B> d_query, ConstMatrixOf<B> query, ConstMatrixOf<B> key, ConstMatrixOf<B> weights,
                            double weight = 1) {
  const Index of_query = buffers.cosines.rows();
  const Index of_key = buffers.cosines.cols();
  const Index images = query.rows() / of_query;
  require_shape(query.rows() == images * of_query && key.rows() == images * of_key && weights.rows() == query.rows() &&
                    weights.cols() == of_key,
                "pixel_consistency_loss: ", query.rows(), " and ", key.rows(), " rows of ", of_query, " and ", of_key,
                " patches an image, weights ", weights.rows(), " x ", weights.cols());
  const double share = 2.0 / static_cast<double>(images);
  for (Index image = 0; image < images; ++image) {
    buffers.query.forward(backend, query.rows(image * of_query, of_query), unit_epsilon);
    buffers.key.forward(backend, key.rows(image * of_key, of_key), unit_epsilon);
    backend.linear_forward(buffers.cosines, buffers.query.unit, buffers.key.unit, {});
    backend.compare_rows(buffers.loss, buffers.cosines, buffers.cosines, weights.rows(image * of_query, of_query),
                         Comparison::negative_dot, weight * share);
    add_total(backend, value, buffers.loss, share);
    backend.linear_backward_input(buffers.d_unit, buffers.cosines, buffers.key.unit);
    buffers.query.backward(backend, d_query.rows(image * of_query, of_query), buffers.d_unit, unit_epsilon);
  }
}

}  // namespace dssl
