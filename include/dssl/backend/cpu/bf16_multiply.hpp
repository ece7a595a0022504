// The inner loop of products of packed bf16 tiles, with sums in float.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/tile.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu::bf16 {

/// Side of the square that the inner loop computes at once: two tiles by two.
inline constexpr Index square_extent = 2 * tile_extent;

namespace detail {

#if defined(DSSL_CPU_HAS_AMX)
/// The tile registers 0 to 3 hold a square of sums, 4 and 5 the left operand's tiles, 6 and 7 the right
/// one's.
template <int Tiles>
[[gnu::always_inline]] inline void load_left(const std::uint32_t* tile, Index step) {
  _tile_loadd(4, tile, 64);
  if constexpr (Tiles > 1) _tile_loadd(5, tile + step, 64);
}
template <int Tiles>
[[gnu::always_inline]] inline void load_right(const std::uint32_t* tile, Index step) {
  _tile_loadd(6, tile, 64);
  if constexpr (Tiles > 1) _tile_loadd(7, tile + step, 64);
}
template <int Rows, int Cols>
[[gnu::always_inline]] inline void add_products() {
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (Cols > 1) _tile_dpbf16ps(1, 4, 7);
  if constexpr (Rows > 1) _tile_dpbf16ps(2, 5, 6);
  if constexpr (Rows > 1 && Cols > 1) _tile_dpbf16ps(3, 5, 7);
}

/// sums (32,32) = or += left (32,depth) right (depth,32); `Rows`, `Cols`: tiles of it that are computed, 1
/// or 2.
template <int Parts, int Rows, int Cols>
void square_by_tile_unit(float* sums, Index sums_stride, const std::uint32_t* left, Index left_step,
                         const std::uint32_t* right, Index right_step, Index depth_tiles, Onto onto) {
  const auto stride = static_cast<std::size_t>(sums_stride) * sizeof(float);
  float* const below = sums + 16 * sums_stride;
  if (onto == Onto::assign) {
    _tile_zero(0);
    if constexpr (Cols > 1) _tile_zero(1);
    if constexpr (Rows > 1) _tile_zero(2);
    if constexpr (Rows > 1 && Cols > 1) _tile_zero(3);
  } else {
    _tile_loadd(0, sums, stride);
    if constexpr (Cols > 1) _tile_loadd(1, sums + 16, stride);
    if constexpr (Rows > 1) _tile_loadd(2, below, stride);
    if constexpr (Rows > 1 && Cols > 1) _tile_loadd(3, below + 16, stride);
  }
  constexpr Index tile_step = Parts * tile_words;
  constexpr auto& pairs = part_pairs<Parts>;
  for (Index k = 0; k < depth_tiles; ++k) {
    // Of two pairs in a row that share a part, it is loaded once.
    cpu::detail::unrolled<static_cast<int>(pairs.size())>([&](auto at) __attribute__((always_inline)) {
      constexpr std::size_t i = at;
      constexpr std::size_t before = i == 0 ? 0 : i - 1;
      if constexpr (i == 0 || pairs[i][0] != pairs[before][0]) {
        load_left<Rows>(left + k * tile_step + pairs[i][0] * tile_words, left_step);
      }
      if constexpr (i == 0 || pairs[i][1] != pairs[before][1]) {
        load_right<Cols>(right + k * tile_step + pairs[i][1] * tile_words, right_step);
      }
      add_products<Rows, Cols>();
    });
  }
  _tile_stored(0, sums, stride);
  if constexpr (Cols > 1) _tile_stored(1, sums + 16, stride);
  if constexpr (Rows > 1) _tile_stored(2, below, stride);
  if constexpr (Rows > 1 && Cols > 1) _tile_stored(3, below + 16, stride);
}
#endif

/// sums (16,16) = or += left (16,depth) right (depth,16).
template <int Parts>
void tile_by_dot_product(float* sums, Index sums_stride, const std::uint32_t* left,
                         const std::uint32_t* right, Index depth_tiles, Onto onto) {
#if defined(__AVX512BF16__)
  __m512 rows[16];
  cpu::detail::unrolled<16>([&](auto r) __attribute__((always_inline)) {
    rows[r] = onto == Onto::assign ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + r * sums_stride);
  });
  for (const auto& [left_part, right_part] : part_pairs<Parts>) {
    const std::uint32_t* l = left + left_part * tile_words;
    const std::uint32_t* r_tile = right + right_part * tile_words;
    for (Index k = 0; k < depth_tiles; ++k, l += Parts * tile_words, r_tile += Parts * tile_words) {
      for (Index pair = 0; pair < 16; ++pair) {
        const __m512i line = _mm512_loadu_si512(r_tile + pair * 16);
        cpu::detail::unrolled<16>([&](auto r) __attribute__((always_inline)) {
          const __m512i spread = _mm512_set1_epi32(static_cast<int>(l[r * 16 + pair]));
          rows[r] = _mm512_dpbf16_ps(rows[r], reinterpret_cast<const __m512bh&>(spread),
                                     reinterpret_cast<const __m512bh&>(line));
        });
      }
    }
  }
  cpu::detail::unrolled<16>([&](auto r) __attribute__((always_inline)) {
    _mm512_storeu_ps(sums + r * sums_stride, rows[r]);
  });
#else
  static_cast<void>(sums);
  static_cast<void>(sums_stride);
  static_cast<void>(left);
  static_cast<void>(right);
  static_cast<void>(depth_tiles);
  static_cast<void>(onto);
#endif
}

/// The same in float arithmetic on the parts.
template <int Parts>
void tile_emulated(float* sums, Index sums_stride, const std::uint32_t* left, const std::uint32_t* right,
                   Index depth_tiles, Onto onto) {
  const auto early = [](std::uint32_t pair) { return std::bit_cast<float>(pair << 16U); };
  const auto late = [](std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000U); };
  for (Index r = 0; r < 16; ++r) {
    std::array<float, 16> row{};
    if (onto == Onto::sum) std::copy_n(sums + r * sums_stride, 16, row.begin());
    for (const auto& [left_part, right_part] : part_pairs<Parts>) {
      for (Index k = 0; k < depth_tiles; ++k) {
        for (Index pair = 0; pair < 16; ++pair) {
          const std::uint32_t l = left[(k * Parts + left_part) * tile_words + r * 16 + pair];
          const std::uint32_t* line = right + (k * Parts + right_part) * tile_words + pair * 16;
          for (std::size_t j = 0; j < 16; ++j) row[j] += early(l) * early(line[j]) + late(l) * late(line[j]);
        }
      }
    }
    std::copy(row.begin(), row.end(), sums + r * sums_stride);
  }
}

}  // namespace detail

/// sums (32,32) = or += left (rows,depth) right (depth,cols), both packed; `left_step`, `right_step`: words
/// from one tile row (tile column) to the next. rows and cols are 1 to 32; tiles that lie wholly beyond them
/// are not computed, the others are written whole.
template <int Parts>
void square(Engine engine, float* sums, Index sums_stride, const std::uint32_t* left, Index left_step,
            const std::uint32_t* right, Index right_step, Index rows, Index cols, Index depth_tiles,
            Onto onto) {
#if defined(DSSL_CPU_HAS_AMX)
  if (engine == Engine::tile_unit) {
    const auto compute = rows > 16 ? (cols > 16 ? detail::square_by_tile_unit<Parts, 2, 2>
                                                : detail::square_by_tile_unit<Parts, 2, 1>)
                                   : (cols > 16 ? detail::square_by_tile_unit<Parts, 1, 2>
                                                : detail::square_by_tile_unit<Parts, 1, 1>);
    compute(sums, sums_stride, left, left_step, right, right_step, depth_tiles, onto);
    return;
  }
#endif
  const auto compute =
      engine == Engine::dot_product ? detail::tile_by_dot_product<Parts> : detail::tile_emulated<Parts>;
  for (Index i = 0; i * tile_extent < rows; ++i) {
    for (Index j = 0; j * tile_extent < cols; ++j) {
      compute(sums + i * tile_extent * sums_stride + j * tile_extent, sums_stride, left + i * left_step,
              right + j * right_step, depth_tiles, onto);
    }
  }
}

/// c (rows,cols) = or += left right [+ bias (cols), only with `assign`], both packed from their first row and
/// column; one thread, within an `EngineScope`. Sums run in the order of depth. `Again`: the side that is
/// read again for each 32 of the other, and so should be the smaller one.
template <Side Again, int Parts = 1>
  requires PartCount<Parts>
void multiply(Engine engine, float* c, Index c_stride, Index rows, Index cols, const std::uint32_t* left,
              const std::uint32_t* right, Index depth_tiles, Onto onto, const float* bias = nullptr) {
  alignas(64) std::array<float, square_extent * square_extent> sums;
  const Index step = depth_tiles * Parts * tile_words;
  const auto one = [&](Index i, Index j) {
    const Index high = std::min(square_extent, rows - i);
    const Index wide = std::min(square_extent, cols - j);
    const std::uint32_t* const l = left + i / tile_extent * step;
    const std::uint32_t* const r = right + j / tile_extent * step;
    if (bias == nullptr && high == square_extent && wide == square_extent) {
      square<Parts>(engine, c + i * c_stride + j, c_stride, l, step, r, step, high, wide, depth_tiles, onto);
      return;
    }
    square<Parts>(engine, sums.data(), square_extent, l, step, r, step, high, wide, depth_tiles,
                  Onto::assign);
    const auto add = [](const auto& x, const auto& y) { return x + y; };
    for (Index row = 0; row < high; ++row) {
      float* const out = c + (i + row) * c_stride + j;
      const float* const in = sums.data() + row * square_extent;
      if (onto == Onto::sum) {
        map(out, wide, add, static_cast<const float*>(out), in);
      } else if (bias != nullptr) {
        map(out, wide, add, in, bias + j);
      } else {
        map(
            out, wide, [](const auto& x) { return x; }, in);
      }
    }
  };
  if constexpr (Again == Side::left) {
    for (Index j = 0; j < cols; j += square_extent) {
      for (Index i = 0; i < rows; i += square_extent) one(i, j);
    }
  } else {
    for (Index i = 0; i < rows; i += square_extent) {
      for (Index j = 0; j < cols; j += square_extent) one(i, j);
    }
  }
}

}  // namespace dssl::cpu::bf16
