// What is asked of whatever multiplies matrices for the Cpu backend.
#pragma once

#include <dssl/backend/packed_weights.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu {

/// What a product does to what c held: `sum` adds to it, `assign` replaces it (and adds a bias where there is one).
enum class Onto { sum, assign };

/// A factor of a product: element (i, j) at data[i * stride + j], or at data[j * stride + i] where it is
/// transposed.
template <class T>
struct Factor {
  const T* data = nullptr;
  Index stride = 0;
  bool transposed = false;
};

/// c (M,N) = or += a (M,K) b (K,N) [+ bias (N), null for none, only with `assign`].
///
/// Of linear layers: forward, b is the weight, transposed; backward to the input, neither is transposed;
/// backward to the weight, a is the gradient, transposed. Both never are. Any of M, N and K may be 0. Memory
/// does not overlap.
template <class T>
struct MatrixProduct {
  MatrixView<T> c;
  Factor<T> a;
  Factor<T> b;
  Index depth = 0;  ///< K
  Onto onto = Onto::assign;
  const T* bias = nullptr;
  PackedMatrix<T>* packed = nullptr;  ///< of b, where it may be packed to stay: who does that reads it by its order

  /// For whoever reads b as a tensor. Throws `Error` where it is packed.
  void require_rows() const {
    if (packed != nullptr) packed->require(WeightOrder::rows);
  }
};

}  // namespace dssl::cpu
