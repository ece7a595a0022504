// Weights that do not change between products, and that a backend may therefore keep packed in their own
// memory. Tests: tests/backend/packed_weights.cpp, tests/features/packed_weights.cpp.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// How the numbers of a matrix of weights lie in its memory.
enum class WeightOrder : std::uint8_t {
  rows,    ///< as a tensor
  panels,  ///< as the Cpu backend's own products read a right operand
  tiles,   ///< the same in bf16
  none     ///< in none: packing was broken off
};

/// A matrix of weights (O,I) that its owner does not change and reads through `linear_forward` alone, so that
/// a backend may have its memory in the order in which it multiplies it.
template <class T>
struct PackedMatrix {
  T* data = nullptr;                      ///< the owner's O I numbers
  WeightOrder order = WeightOrder::rows;  ///< of what lies there
  bool multiplied = false;                ///< a product has been made with it
  Buffer rest{};  ///< the backend's, of what its order has no room for in the owner's memory

  /// For whoever reads the numbers in an order. Throws `Error` where they lie in another.
  void require(WeightOrder wanted) const {
    if (order == WeightOrder::none) throw Error("weights whose packing was broken off by an error; load them anew");
    if (order != wanted) throw Error("weights that another backend has packed for itself");
  }
};

/// Such matrices of a flat buffer, one for each of its tensors: what backends made of the weights.
///
/// Who owns the buffer owns this beside it, and calls `forget` before the buffer is written. What is packed
/// replaces the tensor's numbers where they lay, so it cannot be of other weights than those that are there.
/// Threads: as for calls of the backend, by which alone it changes (`Cpu` throws where a second call is under
/// way).
template <class T>
class PackedWeights {
 public:
  PackedWeights() = default;
  /// Of `tensors` tensors in the memory at `base`.
  PackedWeights(T* base, std::size_t tensors) : x_base(base), x_matrices(tensors) {}

  [[nodiscard]] T* base() const { return x_base; }

  /// The tensor of that number in its buffer, at `offset`, which is the same whenever it is asked for. Throws `ShapeError`.
  [[nodiscard]] PackedMatrix<T>* matrix(std::size_t number, Index offset) {
    PackedMatrix<T>& matrix = x_matrices.at(number);
    require_shape(matrix.data == nullptr || matrix.data == x_base + offset, "weights that are packed lie elsewhere: tensor ",
                  number, " at ", offset, ", of another layout than before");
    matrix.data = x_base + offset;
    return &matrix;
  }

  /// The buffer will be written, in the order of tensors.
  void forget() {
    for (PackedMatrix<T>& matrix : x_matrices) matrix = PackedMatrix<T>{.data = matrix.data};
  }

  /// Bytes beside the buffer that backends keep.
  [[nodiscard]] std::size_t bytes() const {
    std::size_t sum = 0;
    for (const PackedMatrix<T>& matrix : x_matrices) sum += matrix.rest.bytes();
    return sum;
  }

 private:
  T* x_base = nullptr;
  std::vector<PackedMatrix<T>> x_matrices;
};

/// A matrix of weights: a view that also says, where that is so, that it may be packed.
///
/// Any matrix is one that may not. A backend whose `linear_forward` takes a `MatrixView` sees the view alone,
/// and the weights stay as they lie; one that takes a `WeightView` may pack them, and so has to read them by
/// their `order`.
template <class T>
struct WeightView : MatrixView<T> {
  PackedMatrix<std::remove_const_t<T>>* packed = nullptr;

  constexpr WeightView() = default;
  template <std::convertible_to<MatrixView<T>> Matrix>
  constexpr WeightView(const Matrix& matrix)
      : MatrixView<T>(matrix) {}  // NOLINT(google-explicit-constructor)
  constexpr WeightView(MatrixView<T> matrix, PackedMatrix<std::remove_const_t<T>>* state)
      : MatrixView<T>(matrix), packed(state) {}
};

}  // namespace dssl
