// Reference backend: what blocks of some families have beside, as plain loops.
#pragma once

#include <cmath>
#include <numbers>

#include <dssl/backend/operands.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::reference {

/// SwiGLU and rotations of heads; contracts in backend/concept.hpp.
template <class T>
class BlockParts {
 public:
  void swiglu_forward(MatrixView<T> y, MatrixView<const T> x) const {
    for (Index m = 0; m < y.rows(); ++m) {
      for (Index i = 0; i < y.cols(); ++i) {
        const auto gate = static_cast<double>(x(m, i)), value = static_cast<double>(x(m, y.cols() + i));
        y(m, i) = static_cast<T>(gate * (1.0 / (1.0 + std::exp(-gate))) * value);
      }
    }
  }

  void swiglu_again_backward(MatrixView<T> y, MatrixView<T> d_x, MatrixView<const T> d_y, MatrixView<const T> x) const {
    for (Index m = 0; m < y.rows(); ++m) {
      for (Index i = 0; i < y.cols(); ++i) {
        const auto gate = static_cast<double>(x(m, i)), value = static_cast<double>(x(m, y.cols() + i));
        const auto d = static_cast<double>(d_y(m, i));
        const double share = 1.0 / (1.0 + std::exp(-gate));
        y(m, i) = static_cast<T>(gate * share * value);
        d_x(m, i) = static_cast<T>(d * value * share * (1.0 + gate * (1.0 - share)));
        d_x(m, y.cols() + i) = static_cast<T>(d * gate * share);
      }
    }
  }

  void rotation_rows(MatrixView<T> out, MatrixView<const T> coordinates, VectorView<const T> periods) const {
    const Index quarter = periods.size();
    for (Index p = 0; p < out.rows(); ++p) {
      for (Index j = 0; j < 2 * quarter; ++j) {
        const auto at = static_cast<double>(coordinates(p, j / quarter));
        const double angle = 2.0 * std::numbers::pi * at / static_cast<double>(periods(j % quarter));
        out(p, j) = static_cast<T>(std::cos(angle));
        out(p, 2 * quarter + j) = static_cast<T>(std::sin(angle));
      }
    }
  }

  void rotate_heads(MatrixView<T> x, MatrixView<const T> rotations, RowIndex places, RowIndex packed, Index heads,
                    double direction) const {
    const Index half = rotations.cols() / 2;
    for (Index n = 0; n < places.size(); ++n) {
      const Index m = packed.empty() ? n : packed(n);
      if (places(n) < 0 || m < 0) continue;
      for (Index h = 0; h < 2 * heads; ++h) {
        for (Index j = 0; j < half; ++j) {
          T& first = x(m, 2 * half * h + j);
          T& second = x(m, 2 * half * h + half + j);
          const auto a = static_cast<double>(first), b = static_cast<double>(second);
          const auto cosine = static_cast<double>(rotations(places(n), j));
          const double sine = direction * static_cast<double>(rotations(places(n), half + j));
          first = static_cast<T>(a * cosine - b * sine);
          second = static_cast<T>(b * cosine + a * sine);
        }
      }
    }
  }
};

}  // namespace dssl::reference
