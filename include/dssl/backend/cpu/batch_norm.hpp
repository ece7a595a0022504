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
    for (Index m = 0; m < rows; ++m) {
      map(
          y.row(m) + begin, width,
          [](const auto& v, const auto& mu, const auto& scale, const auto& w, const auto& b) {
            return multiply_add(Lanes<T>((v - mu) * scale), Lanes<T>(w), Lanes<T>(b));
          },
          x.row(m) + begin, centre, inverse_std.data() + begin, weight.data() + begin, bias.data() + begin);
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
    auto sums = sum_rows<T, 2>(rows, [&](auto& part, Index m) {
      map_two(
          part[0].data(), part[1].data(), width,
          [](const auto& with_n, const auto& alone, const auto& g, const auto& v, const auto& mu,
             const auto& s) {
            const Lanes<T> n = (v - mu) * s;
            return TwoLanes<T>{multiply_add(Lanes<T>(g), n, Lanes<T>(with_n)), alone + g};
          },
          part[0].data(), part[1].data(), d_y.row(m) + begin, x.row(m) + begin, centre, scale);
    });
    ColumnLine<T> slope, shift, factor;
    for (Index c = 0; c < width; ++c) {
      slope[c] = static_cast<T>(sums[0][c] / count);
      shift[c] = static_cast<T>(sums[1][c] / count);
      factor[c] = scale[c] * weight(begin + c);
      d_weight(begin + c) += static_cast<T>(sums[0][c]);
      d_bias(begin + c) += static_cast<T>(sums[1][c]);
    }
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
