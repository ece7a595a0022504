// Cpu backend: patches, row moves and interpolated reads.
#pragma once

#include <algorithm>

#include <dssl/backend/cpu/column_sum.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/operands.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// How many rows a move touches.
[[nodiscard]] inline Index row_count(RowIndex dst_rows, RowIndex src_rows, Index src_extent) {
  return !dst_rows.empty() ? dst_rows.size() : !src_rows.empty() ? src_rows.size() : src_extent;
}

/// Rows of a given width that make a task of about 32 Ki elements.
[[nodiscard]] inline Index rows_per_task(Index width) {
  return std::max(Index{1}, Index{32'768} / std::max(Index{1}, width));
}

template <class T>
void unfold_patches(Workers& workers, MatrixView<T> patches, TensorView<const T, 4> images, Index p) {
  const Index h = images.extent(2) / p;
  const Index w = images.extent(3) / p;
  workers.run_pieces(images.extent(0) * h, std::max(Index{1}, rows_per_task(patches.cols()) / std::max(Index{1}, w)),
                     patches.size() / 8, [&](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) {
      const Index s = row / h;
      const Index i = row % h;
      for (Index j = 0; j < w; ++j) {
        T* out = patches.row(row * w + j);
        for (Index c = 0; c < images.extent(1); ++c) {
          for (Index y = 0; y < p; ++y, out += p) std::copy_n(&images(s, c, i * p + y, j * p), p, out);
        }
      }
    }
  });
}

template <class T>
void copy_rows(Workers& workers, MatrixView<T> dst, RowIndex dst_rows, MatrixView<const T> src, RowIndex src_rows) {
  const Index count = row_count(dst_rows, src_rows, src.rows());
  workers.run_pieces(count, rows_per_task(src.cols()), count * src.cols() / 8, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      std::copy_n(src.row(row_at(src_rows, i)), src.cols(), dst.row(row_at(dst_rows, i)));
    }
  });
}

template <class T>
void add_rows(Workers& workers, MatrixView<T> dst, RowIndex dst_rows, MatrixView<const T> src, RowIndex src_rows) {
  const Index count = row_count(dst_rows, src_rows, src.rows());
  const Index work = count * src.cols() / 4;
  const auto add = [](const auto& a, const auto& b) { return a + b; };
  if (dst_rows.empty()) {
    workers.run_pieces(count, rows_per_task(src.cols()), work, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) map(dst.row(i), src.cols(), add, dst.row(i), src.row(row_at(src_rows, i)));
    });
    return;
  }
  // Rows may repeat: a task owns columns, not rows.
  workers.run_pieces(src.cols(), 64, work, [&](Index begin, Index end) {
    for (Index i = 0; i < count; ++i) {
      T* out = dst.row(dst_rows(i)) + begin;
      map(out, end - begin, add, out, src.row(row_at(src_rows, i)) + begin);
    }
  });
}

template <class T>
void sample_rows_forward(Workers& workers, MatrixView<T> out, MatrixView<const T> table,
                         VectorView<const Taps<T>> taps) {
  workers.run_pieces(out.rows(), std::max(Index{1}, rows_per_task(out.cols()) / 8), out.size() * 4,
                     [&](Index begin, Index end) {
    for (Index m = begin; m < end; ++m) {
      const Taps<T>& tap = taps(m);
      std::fill_n(out.row(m), out.cols(), T{0});
      for (std::size_t t = 0; t < tap.row.size(); ++t) {
        const auto weight = spread(tap.weight[t]);
        map(out.row(m), out.cols(), [&](const auto& a, const auto& b) { return multiply_add(weight, b, a); },
            out.row(m), table.row(tap.row[t]));
      }
    }
  });
}

template <class T>
void sample_rows_backward(Workers& workers, MatrixView<T> d_table, MatrixView<const T> d_out,
                          VectorView<const Taps<T>> taps) {
  // Rows of the table repeat: a task owns columns, not rows.
  workers.run_pieces(d_out.cols(), 64, d_out.size() * 4, [&](Index begin, Index end) {
    for (Index m = 0; m < d_out.rows(); ++m) {
      const Taps<T>& tap = taps(m);
      for (std::size_t t = 0; t < tap.row.size(); ++t) {
        const auto weight = spread(tap.weight[t]);
        T* out = d_table.row(tap.row[t]) + begin;
        map(out, end - begin, [&](const auto& a, const auto& b) { return multiply_add(weight, b, a); }, out,
            d_out.row(m) + begin);
      }
    }
  });
}

}  // namespace dssl::cpu::inline DSSL_ISA
