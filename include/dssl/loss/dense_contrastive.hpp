// Patches that find their partners in the other view by themselves: the dense half of DenseCL.
// Tests: tests/loss/dense_contrastive.cpp (fixture densecl).
#pragma once

#include <cstdint>

#include <dssl/core/error.hpp>
#include <dssl/loss/contrastive.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// Buffers for maps of N patches an image, of `width` channels.
template <class T>
struct MatchBuffers {
  UnitRows<T> query, key;     // (N,C)
  MatrixView<T> similarity;   // (N,N)

  static MatchBuffers take(Arena& arena, Index patches, Index width) {
    return {UnitRows<T>::take(arena, patches, width), UnitRows<T>::take(arena, patches, width),
            arena.matrix<T>(patches, patches)};
  }
};

/// match (B,N) = for each patch of an image's query map, the patch of its key map with the largest cosine, the first among
/// equals, counted within the image.
///
/// query, key (B N,C): features of the backbone, image by image. Nothing flows back through the choice. Source: Wang et
/// al. 2021, eq. 3; DenseCL densecl.py, which matches features of the backbone, not of the projection.
template <Backend B, class T = typename B::Scalar>
void match_patches(const B& backend, const MatchBuffers<T>& buffers, MatrixView<std::int32_t> match,
                   ConstMatrixOf<B> query, ConstMatrixOf<B> key) {
  const Index patches = match.cols();
  require_shape(query.rows() == match.size() && key.rows() == query.rows(), "match_patches: ", query.rows(), " and ",
                key.rows(), " rows for ", match.rows(), " images of ", patches, " patches");
  for (Index image = 0; image < match.rows(); ++image) {
    buffers.query.forward(backend, query.rows(image * patches, patches), unit_epsilon);
    buffers.key.forward(backend, key.rows(image * patches, patches), unit_epsilon);
    backend.linear_forward(buffers.similarity, buffers.query.unit, buffers.key.unit, {});
    backend.largest_columns(match.rows(image, 1), buffers.similarity, {});
  }
}

/// matched (B N,D) = the rows of `map` (B N,D) that `match` (B,N) names, image by image: the keys that
/// `queue_contrast_loss` takes for the patches of the query.
///
/// The dense loss is that with query = the dense projection of each patch, key = the matched unit projections, and a queue
/// of its own, into which goes unit(mean over patches of the projections, not normalised before): one row an image.
template <Backend B>
void gather_matched(const B& backend, MatrixOf<B> matched, ConstMatrixOf<B> map, MatrixView<const std::int32_t> match) {
  const Index patches = match.cols();
  for (Index image = 0; image < match.rows(); ++image) {
    backend.copy_rows(matched.rows(image * patches, patches), {}, map.rows(image * patches, patches),
                      RowIndex(match.row(image), patches));
  }
}

}  // namespace dssl
