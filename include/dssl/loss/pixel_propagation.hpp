// Every patch of an image becomes a sum of all patches' values, by how alike the patches are: PixPro's propagation.
// Tests: tests/loss/pixel_propagation.cpp (fixture pixpro).
#pragma once

#include <cstddef>

#include <dssl/core/error.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// Buffers for an image of N patches of D channels with values of O.
template <class T>
struct PixelPropagationBuffers {
  UnitRows<T> x;            // (N,D)
  UnitRows<T> values;       // (N,O)
  MatrixView<T> cosines;    // (N,N), what is below 0 being 0
  MatrixView<T> likeness;   // (N,N) their powers, then gradients
  MatrixView<T> d_cosines;  // (N,N)
  MatrixView<T> d_x;        // (N,D)
  MatrixView<T> d_values;   // (N,O)

  static PixelPropagationBuffers take(Arena& arena, Index patches, Index width, Index out) {
    return {UnitRows<T>::take(arena, patches, width), UnitRows<T>::take(arena, patches, out),
            arena.matrix<T>(patches, patches),        arena.matrix<T>(patches, patches),
            arena.matrix<T>(patches, patches),        arena.matrix<T>(patches, width),
            arena.matrix<T>(patches, out)};
  }
};

namespace detail {

/// All numbers of a matrix as rows of one.
template <class T>
[[nodiscard]] MatrixView<T> one_by_one(MatrixView<T> matrix) {
  return MatrixView<T>(matrix.data(), matrix.size(), 1);
}

/// An image's unit rows, cosines and likenesses.
template <Backend B, class T = typename B::Scalar>
void liken_patches(const B& backend, const PixelPropagationBuffers<T>& buffers, ConstMatrixOf<B> x,
                   ConstMatrixOf<B> values, Index power) {
  buffers.x.forward(backend, x, unit_epsilon);
  buffers.values.forward(backend, values, unit_epsilon);
  backend.linear_forward(buffers.cosines, buffers.x.unit, buffers.x.unit, {});
  backend.relu_forward(buffers.cosines, buffers.cosines);
  if (power == 1) {
    backend.copy(numbers_of(buffers.likeness), numbers_of(buffers.cosines));
  } else {
    backend.row_dots(numbers_of(buffers.likeness), one_by_one(buffers.cosines), one_by_one(buffers.cosines));
  }
}

/// Images of the rows, or a word on what is wrong.
template <class T>
[[nodiscard]] Index propagated_images(const PixelPropagationBuffers<T>& buffers, Index rows, Index values, Index power) {
  const Index patches = buffers.cosines.rows();
  require_shape(rows % patches == 0 && rows == values, "pixel_propagation: ", rows, " rows and ", values,
                " values; buffers are for ", patches, " patches an image");
  require_shape(power == 1 || power == 2, "pixel_propagation: the power ", power, "; expected 1 or 2");
  return rows / patches;
}

}  // namespace detail

/// out (B N,O) =, for patch i of an image, the sum over its patches j of max(cos(x_i, x_j), 0)^power unit(values_j).
///
/// x (B N,D), values (B N,O), image by image: values are x behind a small network, or x. `power` is 1 or 2, as published.
/// Nothing of an image is kept, as `pixel_propagation_backward` makes it anew. Source: Xie et al. 2021, eq. 2 and 3;
/// PixPro.py featprop(). Cost: 2 N^2 (D + O) FLOP an image. Throws `ShapeError`.
template <Backend B, class T = typename B::Scalar>
void pixel_propagation_forward(const B& backend, const PixelPropagationBuffers<T>& buffers, MatrixOf<B> out,
                               ConstMatrixOf<B> x, ConstMatrixOf<B> values, Index power) {
  const Index n = buffers.cosines.rows();
  const Index images = detail::propagated_images(buffers, x.rows(), values.rows(), power);
  for (Index b = 0; b < images; ++b) {
    detail::liken_patches(backend, buffers, x.rows(b * n, n), values.rows(b * n, n), power);
    backend.linear_backward_input(out.rows(b * n, n), buffers.likeness, buffers.values.unit);
  }
}

/// d_x (B N,D) += and d_values (B N,O) += the gradients of what `pixel_propagation_forward` took, from d_out (B N,O).
/// Cost: 6 N^2 (D + O) FLOP an image. Throws `ShapeError`.
template <Backend B, class T = typename B::Scalar>
void pixel_propagation_backward(const B& backend, const PixelPropagationBuffers<T>& buffers, MatrixOf<B> d_x,
                                MatrixOf<B> d_values, ConstMatrixOf<B> d_out, ConstMatrixOf<B> x, ConstMatrixOf<B> values,
                                Index power) {
  const Index n = buffers.cosines.rows();
  const Index images = detail::propagated_images(buffers, x.rows(), values.rows(), power);
  for (Index b = 0; b < images; ++b) {
    const ConstMatrixOf<B> d = d_out.rows(b * n, n);
    detail::liken_patches(backend, buffers, x.rows(b * n, n), values.rows(b * n, n), power);
    backend.fill(numbers_of(buffers.d_values), T{0});
    backend.linear_backward_weight(buffers.d_values, {}, buffers.likeness, d);
    buffers.values.backward(backend, d_values.rows(b * n, n), buffers.d_values, unit_epsilon);

    backend.linear_forward(buffers.d_cosines, d, buffers.values.unit, {});
    if (power == 1) {
      backend.relu_backward(buffers.d_cosines, buffers.d_cosines, buffers.cosines);
    } else {
      // Twice the cosine, which is 0 where it was below.
      backend.row_dots(numbers_of(buffers.likeness), detail::one_by_one(buffers.cosines),
                       detail::one_by_one(buffers.d_cosines));
      backend.fill(numbers_of(buffers.d_cosines), T{0});
      backend.add_scaled(numbers_of(buffers.d_cosines), numbers_of(buffers.likeness), 2.0);
    }
    row_products_backward(backend, buffers.d_x, buffers.d_cosines, buffers.x.unit);
    buffers.x.backward(backend, d_x.rows(b * n, n), buffers.d_x, unit_epsilon);
  }
}

}  // namespace dssl
