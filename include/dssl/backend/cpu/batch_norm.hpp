// Cpu backend: batch norm, over the rows of a call.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include <dssl/backend/cpu/column_sum.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/workers.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// Columns that one task of a batch norm takes, through all rows: no two tasks meet, and a thousand rows of
/// them stay in the L2 cache from one pass to the next.
inline constexpr Index batch_norm_columns = 64;

/// One number for each column of a task.
template <class T>
struct ColumnLine {
  alignas(64) std::array<T, batch_norm_columns> value{};
  [[nodiscard]] T* data() { return value.data(); }
  [[nodiscard]] const T* data() const { return value.data(); }
  [[nodiscard]] T& operator[](Index column) { return value[static_cast<std::size_t>(column)]; }
};

/// N sums down the columns of a task: add_row(sums, m) adds row m's terms to the lines of `sums`, in T for
/// `sum_part` rows at a time, whose sums are added in double.
template <class T, std::size_t N, class AddRow>
[[nodiscard]] std::array<ColumnLine<double>, N> sum_rows(Index rows, const AddRow& add_row) {
  std::array<ColumnLine<double>, N> whole{};
  for (Index first = 0; first < rows; first += sum_part) {
    std::array<ColumnLine<T>, N> part{};
    for (Index m = first; m < std::min(rows, first + sum_part); ++m) add_row(part, m);
    for (std::size_t n = 0; n < N; ++n) {
      for (Index c = 0; c < batch_norm_columns; ++c) whole[n][c] += static_cast<double>(part[n][c]);
    }
  }
  return whole;
}

/// The same number in each column.
template <class T>
[[nodiscard]] ColumnLine<T> line_of(T number) {
  ColumnLine<T> line;
  line.value.fill(number);
  return line;
}

/// The columns from `begin` on of a vector, or a line in its place where it is empty.
template <class T>
[[nodiscard]] const T* columns_or(VectorView<const T> vector, Index begin, const ColumnLine<T>& otherwise) {
  return vector.empty() ? otherwise.data() : vector.data() + begin;
}

/// y = (x - mean) scale * weight + bias, a row of `width` columns.
template <class T>
void norm_columns(T* y, Index width, const T* x, const T* mean, const T* scale, const T* weight, const T* bias) {
  map(
      y, width,
      [](const auto& v, const auto& mu, const auto& s, const auto& w, const auto& b) {
        return multiply_add(Lanes<T>((v - mu) * s), Lanes<T>(w), Lanes<T>(b));
      },
      x, mean, scale, weight, bias);
}

/// The sums of d_y (x - mean) scale and of d_y down the columns [begin, begin + width).
template <class T>
[[nodiscard]] std::array<ColumnLine<double>, 2> sum_norm_terms(MatrixView<const T> d_y, MatrixView<const T> x,
                                                               const T* mean, const T* scale, Index begin,
                                                               Index width) {
  return sum_rows<T, 2>(x.rows(), [&](auto& part, Index m) {
    map_two(
        part[0].data(), part[1].data(), width,
        [](const auto& with_n, const auto& alone, const auto& g, const auto& v, const auto& mu, const auto& s) {
          const Lanes<T> n = (v - mu) * s;
          return TwoLanes<T>{multiply_add(Lanes<T>(g), n, Lanes<T>(with_n)), alone + g};
        },
        part[0].data(), part[1].data(), d_y.row(m) + begin, x.row(m) + begin, mean, scale);
  });
}

/// sum (D) += a line of sums, from column `begin` on; nothing where it is empty.
template <class T>
void add_columns(VectorView<T> sum, Index begin, Index width, const ColumnLine<double>& line) {
  if (sum.empty()) return;
  for (Index c = 0; c < width; ++c) sum(begin + c) += static_cast<T>(line.value[static_cast<std::size_t>(c)]);
}

/// See `BatchNormPrimitives` in backend/concept.hpp. Sums are taken of differences, from the first row and
/// then from the mean: a column of one value has no variance, and a large mean costs the variance no digits.
template <class T>
void batch_norm_forward(Workers& workers, MatrixView<T> y, VectorView<T> mean, VectorView<T> inverse_std,
                        MatrixView<const T> x, VectorView<const T> weight, VectorView<const T> bias,
                        double epsilon) {
  const Index rows = x.rows();
  const auto count = static_cast<double>(rows);
  workers.run_pieces(x.cols(), batch_norm_columns, x.size() / 2, [&](Index begin, Index end) {
    const Index width = end - begin;
    const T* const first = x.row(0) + begin;
    auto sums = sum_rows<T, 1>(rows, [&](auto& part, Index m) {
      map(
          part[0].data(), width, [](const auto& s, const auto& v, const auto& f) { return s + (v - f); },
          part[0].data(), x.row(m) + begin, first);
    });
    for (Index c = 0; c < width; ++c) {
      mean(begin + c) = static_cast<T>(static_cast<double>(first[c]) + sums[0][c] / count);
    }
    const T* const centre = mean.data() + begin;
    sums = sum_rows<T, 1>(rows, [&](auto& part, Index m) {
      map(
          part[0].data(), width,
          [](const auto& s, const auto& v, const auto& mu) {
            const Lanes<T> off = v - mu;
            return multiply_add(off, off, Lanes<T>(s));
          },
          part[0].data(), x.row(m) + begin, centre);
    });
    for (Index c = 0; c < width; ++c) {
      inverse_std(begin + c) = static_cast<T>(1.0 / std::sqrt(sums[0][c] / count + epsilon));
    }
    const ColumnLine<T> ones = line_of(T{1});
    const ColumnLine<T> zeros{};
    for (Index m = 0; m < rows; ++m) {
      norm_columns(y.row(m) + begin, width, x.row(m) + begin, centre, inverse_std.data() + begin,
                   columns_or(weight, begin, ones), columns_or(bias, begin, zeros));
    }
  });
}

/// See `BatchNormPrimitives` in backend/concept.hpp. With n = (x - mean) inverse_std:
/// d_x = inverse_std weight (d_y - mean(d_y) - n mean(d_y n)), means down the columns.
template <class T>
void batch_norm_backward(Workers& workers, MatrixView<T> d_x, VectorView<T> d_weight, VectorView<T> d_bias,
                         MatrixView<const T> d_y, MatrixView<const T> x, VectorView<const T> mean,
                         VectorView<const T> inverse_std, VectorView<const T> weight) {
  const Index rows = x.rows();
  const auto count = static_cast<double>(rows);
  workers.run_pieces(x.cols(), batch_norm_columns, x.size() / 2, [&](Index begin, Index end) {
    const Index width = end - begin;
    const T* const centre = mean.data() + begin;
    const T* const scale = inverse_std.data() + begin;
    auto sums = sum_norm_terms(d_y, x, centre, scale, begin, width);
    ColumnLine<T> slope, shift, factor;
    for (Index c = 0; c < width; ++c) {
      slope[c] = static_cast<T>(sums[0][c] / count);
      shift[c] = static_cast<T>(sums[1][c] / count);
      factor[c] = weight.empty() ? scale[c] : scale[c] * weight(begin + c);
    }
    add_columns(d_weight, begin, width, sums[0]);
    add_columns(d_bias, begin, width, sums[1]);
    for (Index m = 0; m < rows; ++m) {
      map(
          d_x.row(m) + begin, width,
          [](const auto& g, const auto& v, const auto& mu, const auto& s, const auto& by_n,
             const auto& by_one, const auto& f) {
            const Lanes<T> n = (v - mu) * s;
            return Lanes<T>(f * (g - by_one - n * by_n));
          },
          d_y.row(m) + begin, x.row(m) + begin, centre, scale, slope.data(), shift.data(), factor.data());
    }
  });
}

}  // namespace dssl::cpu::inline DSSL_ISA
