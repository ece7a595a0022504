// Patches of an image that are alike for the teacher are alike for the student: patch kernel alignment (PaKA).
// Tests: tests/loss/kernel_alignment.cpp (fixture paka).
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include <dssl/core/error.hpp>
#include <dssl/loss/cosine.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// Buffers for images of at most `tokens` patches each.
template <class T>
struct KernelAlignmentBuffers {
  MatrixView<T> student, teacher;        // (N,D), (N,E) of one image, less their mean
  MatrixView<T> of_student, of_teacher;  // (1,N N) their products, as one row
  MatrixView<T> d_products;              // (1,N N)
  MatrixView<T> d;                       // (N,D)
  VectorView<T> mean, ones;              // max(D,E)
  CosineBuffers<T> cosine;

  static KernelAlignmentBuffers take(Arena& arena, Index tokens, Index width, Index teacher_width) {
    const Index products = tokens * tokens, widest = std::max(width, teacher_width);
    return {arena.matrix<T>(tokens, width),
            arena.matrix<T>(tokens, teacher_width),
            arena.matrix<T>(1, products),
            arena.matrix<T>(1, products),
            arena.matrix<T>(1, products),
            arena.matrix<T>(tokens, width),
            arena.vector<T>(widest),
            arena.vector<T>(widest),
            CosineBuffers<T>::take(arena, 1, products)};
  }
};

namespace detail {

/// centred (n,D) = the rows of `features` that `kept` names, or all of them, less their mean.
template <Backend B, class T>
void centre_rows(const B& backend, const KernelAlignmentBuffers<T>& buffers, MatrixView<T> centred,
                 MatrixView<const T> features, RowIndex kept) {
  const VectorView<T> mean(buffers.mean.data(), centred.cols()), ones(buffers.ones.data(), centred.cols());
  backend.fill(mean, T{0});
  backend.fill(ones, T{1});
  backend.add_column_sum(mean, features, kept, 1.0 / static_cast<double>(centred.rows()));
  backend.copy_rows(centred, {}, features, kept);
  backend.batch_norm_evaluate_forward(centred, centred, mean, ones, {}, {}, 0.0);
}

}  // namespace detail

/// value (1) += the mean over images of 1 - <K_s, K_t> / (|K_s| |K_t|), K = Z Z^T, Z the n patches' features of an
/// image less their mean, <,> and | | over all n^2 numbers; d_student (M,D) += weight times its gradient.
///
/// student (M,D), teacher (M,E): features of patches, row m of both at the same place. tokens (images), in the host's
/// memory: how many rows of each image count. kept (sum of tokens), in the backend's: which rows these are, image by
/// image and none twice; empty: every row, in order. The others have no part in anything. Images of fewer than 2 tokens
/// are left out of the mean; where none is left the loss is 0. A norm below 1e-3 counts as that, and is a constant.
/// Throws `ShapeError` where rows, tokens and buffers do not fit.
///
/// Centring the features centres both sides of K, as the published code does to K itself. It is the cosine of two rows
/// of n^2 numbers, and their gradient has columns of sum 0 as they have, so that the mean needs no way back. Cost: 8
/// n^2 D FLOP an image where D = E. Sources: Patch-Level Kernel Alignment for Dense Self-Supervised Learning, 2025
/// (arXiv 2509.05606); lightly e8d317f patch_kernel_alignment_loss.py, whose max_tokens is a choice of `kept`.
template <Backend B, class T = typename B::Scalar>
void kernel_alignment_loss(const B& backend, const KernelAlignmentBuffers<T>& buffers, VectorOf<B> value,
                           MatrixOf<B> d_student, ConstMatrixOf<B> student, ConstMatrixOf<B> teacher,
                           std::span<const Index> tokens, RowIndex kept = {}, double weight = 1) {
  Index rows = 0, images = 0;
  for (const Index n : tokens) {
    require_shape(n >= 0 && n <= buffers.student.rows(), "kernel_alignment_loss: ", n,
                  " tokens of an image; expected 0 to ", buffers.student.rows());
    rows += n;
    if (n > 1) ++images;
  }
  require_shape(teacher.rows() == student.rows(), "kernel_alignment_loss: ", student.rows(),
                " rows of the student and ", teacher.rows(), " of the teacher");
  if (images == 0) return;
  const Index given = kept.empty() ? student.rows() : kept.size();
  require_shape(rows == given, "kernel_alignment_loss: ", given, " rows for images of ", rows, " tokens in all");

  const double share = 1.0 / static_cast<double>(images);
  Index first = 0;
  for (const Index n : tokens) {
    const Index begin = first;
    first += n;
    if (n < 2) continue;
    const RowIndex own = kept.empty() ? RowIndex{} : RowIndex(kept.data() + begin, n);
    const auto of_image = [&](auto matrix) { return kept.empty() ? matrix.rows(begin, n) : matrix; };
    const MatrixOf<B> s = buffers.student.rows(0, n), t = buffers.teacher.rows(0, n);
    detail::centre_rows<B, T>(backend, buffers, s, of_image(student), own);
    detail::centre_rows<B, T>(backend, buffers, t, of_image(teacher), own);
    const auto square = [n](MatrixOf<B> row) { return MatrixOf<B>(row.data(), n, n); };
    const auto row = [n](MatrixOf<B> whole) { return MatrixOf<B>(whole.data(), 1, n * n); };
    backend.linear_forward(square(buffers.of_student), s, s, {});
    backend.linear_forward(square(buffers.of_teacher), t, t, {});

    CosineBuffers<T> cosine = buffers.cosine;
    cosine.prediction.unit = row(cosine.prediction.unit);
    cosine.target.unit = row(cosine.target.unit);
    cosine.d_unit = row(cosine.d_unit);
    const MatrixOf<B> d_products = row(buffers.d_products);
    backend.fill(numbers_of(d_products), T{0});
    cosine_loss(backend, cosine, value, d_products, row(buffers.of_student), row(buffers.of_teacher),
                {.factor = share, .offset = share, .epsilon = 1e-3}, weight);
    const MatrixOf<B> d = buffers.d.rows(0, n);
    row_products_backward<B>(backend, d, square(buffers.d_products), s);
    backend.add_rows(of_image(d_student), own, d, {});
  }
}

}  // namespace dssl
