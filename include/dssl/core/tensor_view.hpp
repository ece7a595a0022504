// A pointer with extents: how every buffer is passed between layers and backends.
// Tests: tests/core/tensor_view.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace dssl {

/// Signed size and index type of the whole library.
using Index = std::ptrdiff_t;

/// View of a dense row-major tensor of `Rank` dimensions; owns nothing, copies like a pointer.
///
/// The memory may lie on a device: only the backend that allocated it may look inside.
/// Element (i, j, k) of extents (A, B, C) lies at `data()[(i * B + j) * C + k]`.
template <class T, std::size_t Rank>
class TensorView {
 public:
  using value_type = T;

  constexpr TensorView() = default;

  constexpr TensorView(T* data, const std::array<Index, Rank>& extents)
      : x_data(data), x_extents(extents) {}

  template <class... Extents>
    requires(sizeof...(Extents) == Rank && (std::is_convertible_v<Extents, Index> && ...))
  constexpr explicit TensorView(T* data, Extents... extents)
      : x_data(data), x_extents{static_cast<Index>(extents)...} {}

  /// A view of mutable elements is also a view of constant ones.
  template <class U>
    requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>)
  constexpr TensorView(const TensorView<U, Rank>& other)  // NOLINT(google-explicit-constructor)
      : x_data(other.data()), x_extents(other.extents()) {}

  [[nodiscard]] constexpr T* data() const { return x_data; }
  [[nodiscard]] constexpr const std::array<Index, Rank>& extents() const { return x_extents; }
  [[nodiscard]] constexpr Index extent(std::size_t dimension) const { return x_extents[dimension]; }
  [[nodiscard]] constexpr bool empty() const { return x_data == nullptr || size() == 0; }

  [[nodiscard]] constexpr Index size() const {
    Index product = 1;
    for (const Index e : x_extents) product *= e;
    return product;
  }

  /// Rows and columns of a matrix.
  [[nodiscard]] constexpr Index rows() const
    requires(Rank == 2)
  {
    return x_extents[0];
  }
  [[nodiscard]] constexpr Index cols() const
    requires(Rank == 2)
  {
    return x_extents[1];
  }

  /// Pointer to row i of a matrix.
  [[nodiscard]] constexpr T* row(Index i) const
    requires(Rank == 2)
  {
    return x_data + i * x_extents[1];
  }

  /// Rows [first, first + count) of a matrix.
  [[nodiscard]] constexpr TensorView rows(Index first, Index count) const
    requires(Rank == 2)
  {
    return TensorView(x_data + first * x_extents[1], count, x_extents[1]);
  }

  template <class... Indices>
    requires(sizeof...(Indices) == Rank)
  [[nodiscard]] constexpr T& operator()(Indices... indices) const {
    const std::array<Index, Rank> at{static_cast<Index>(indices)...};
    Index offset = 0;
    for (std::size_t d = 0; d < Rank; ++d) offset = offset * x_extents[d] + at[d];
    return x_data[offset];
  }

  /// All elements in memory order.
  [[nodiscard]] constexpr std::span<T> flat() const {
    return {x_data, static_cast<std::size_t>(size())};
  }

 private:
  T* x_data = nullptr;
  std::array<Index, Rank> x_extents{};
};

template <class T>
using VectorView = TensorView<T, 1>;
template <class T>
using MatrixView = TensorView<T, 2>;

}  // namespace dssl
