// Weights as right operands that are packed once, in their own memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/tile.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/packed_weights.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>

// The columns of the right operand are the rows of the weight. A panel, or a tile column, has the whole depth
// and lies where its rows lay, which are as many numbers, or in bf16 half as many: so tasks pack in place,
// each its own. Any block of depth that a product is cut into is a piece of it in one, so how products are
// cut, which depends on their rows, does not matter. Columns that fill no whole one lie beside, in one that
// zeros fill up.

namespace dssl::cpu::inline DSSL_ISA {

/// A right operand (K,N) whose panels have all of its depth.
template <class T>
struct PackedPanels {
  const T* whole = nullptr;  ///< panels, one after the other
  Index columns = 0;         ///< of whole panels
  const T* rest = nullptr;   ///< the panel of the columns behind
  Index depth = 0;           ///< K

  /// c (rows, cols) = or += a (rows, deep) of [k, k + deep) and the columns [j, j + cols), j that of a panel;
  /// bias: of j.
  template <bool ByColumns>
  void multiply(T* c, Index c_stride, Index rows, Index j, Index cols, Left<T> a, Index k, Index deep,
                Onto onto, const T* bias) const {
    constexpr Index panel = panel_width<T>;
    const Index first = std::clamp(columns - j, Index{0}, cols);
    if (first > 0) {
      cpu::multiply<ByColumns, T>(c, c_stride, rows, first, a,
                                  {whole + j * depth + k * panel, panel, panel * depth}, deep, onto, bias);
    }
    if (first < cols) {
      cpu::multiply<ByColumns, T>(c + first, c_stride, rows, cols - first, a, {rest + k * panel, panel, 0},
                                  deep, onto, bias == nullptr ? nullptr : bias + first);
    }
  }
};

namespace detail {

/// Packs the N rows of a matrix in place, `extent` at a time: pack(to, from, count) writes `packed` numbers.
template <class T, class Pack>
void arrange(Workers& workers, PackedMatrix<T>& w, WeightOrder order, Index n, Index k, Index extent,
             Index packed, const Pack& pack) {
  const auto bytes = static_cast<std::size_t>(packed) * sizeof(T);
  const Index whole = n / extent;
  Buffer rest;
  if (n % extent != 0) {
    rest = workers.allocate(bytes);
    pack(reinterpret_cast<T*>(rest.data()), w.data + whole * extent * k, n % extent);
  }
  workers.reserve(bytes);
  w.order = WeightOrder::none;
  workers.run(whole, n * k / 2, [&](Index task, std::size_t slot) {
    T* const copy = reinterpret_cast<T*>(workers.scratch(slot).data());
    T* const place = w.data + task * extent * k;
    pack(copy, place, extent);
    std::copy_n(copy, packed, place);
  });
  w.rest = std::move(rest);
  w.order = order;
}

/// Whether a product finds the matrix in `order`. From the second product on it does, before which `arrange`
/// puts it so: one pass alone is not held up.
template <class T, class Arrange>
[[nodiscard]] bool in_order(PackedMatrix<T>& w, WeightOrder order, const Arrange& arrange) {
  if (w.order == WeightOrder::rows) {
    if (!std::exchange(w.multiplied, true)) return false;
    arrange();
  }
  w.require(order);
  return true;
}

}  // namespace detail

/// The weight (N,K) in panels; false: it lies as a tensor yet.
template <class T>
[[nodiscard]] bool packed_panels(PackedPanels<T>& out, Workers& workers, PackedMatrix<T>& w, Index n,
                                 Index k) {
  constexpr Index panel = panel_width<T>;
  const bool ready = detail::in_order(w, WeightOrder::panels, [&] {
    detail::arrange(
        workers, w, WeightOrder::panels, n, k, panel, panel * k,
        [k](T* to, const T* from, Index columns) { transpose(to, panel_width<T>, from, k, columns, k); });
  });
  if (!ready) return false;
  out = {w.data, n / panel * panel, reinterpret_cast<const T*>(w.rest.data()), k};
  return true;
}

namespace bf16 {

/// A right operand (K,N) whose tile columns have all of its depth.
struct PackedTiles {
  const std::uint32_t* whole = nullptr;
  Index columns = 0;  ///< of whole tiles
  Index step = 0;     ///< words from one tile column to the next
  const std::uint32_t* rest = nullptr;
};

/// The weight (N,K) in tiles; false: it lies as a tensor yet, or is too shallow for its tiles to fit in its
/// place.
[[nodiscard]] inline bool packed_tiles(PackedTiles& out, Workers& workers, PackedMatrix<float>& w, Index n,
                                       Index k) {
  const Index words = depth_tiles_of(k) * tile_words;  // of a tile column
  const Index step = tile_extent * k;                  // of the rows in whose place it lies
  if (words > step) {
    w.require(WeightOrder::rows);
    return false;
  }
  const bool ready = cpu::detail::in_order(w, WeightOrder::tiles, [&] {
    cpu::detail::arrange(
        workers, w, WeightOrder::tiles, n, k, tile_extent, words,
        [k](float* to, const float* from, Index columns) {
          pack_right<Order::by_extent>(reinterpret_cast<std::uint32_t*>(to), {from, k}, columns, k);
        });
  });
  if (!ready) return false;
  out = {reinterpret_cast<const std::uint32_t*>(w.data), n / tile_extent * tile_extent, step,
         reinterpret_cast<const std::uint32_t*>(w.rest.data())};
  return true;
}

}  // namespace bf16

}  // namespace dssl::cpu::inline DSSL_ISA
