// The inner loop of products of packed bf16 tiles, with sums in float.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/tile.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu::inline DSSL_ISA::bf16 {

/// Side of the square that the inner loop computes at once: two tiles by two.
inline constexpr Index square_extent = 2 * tile_extent;

namespace detail {

/// What products are added to: zeros where there is no address, else rows `stride` apart (0: one row for all, a
/// bias).
struct Start {
  const float* at = nullptr;
  Index stride = 0;
};

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

/// sums (32,32) = start + left (32,depth) right (depth,32); `Rows`, `Cols`: tiles of it that are computed, 1
/// or 2.
template <int Parts, int Rows, int Cols>
void square_by_tile_unit(float* sums, Index sums_stride, Start start, const std::uint32_t* left, Index left_step,
                         const std::uint32_t* right, Index right_step, Index depth_tiles) {
  const auto stride = static_cast<std::size_t>(sums_stride) * sizeof(float);
  float* const below = sums + 16 * sums_stride;
  if (start.at == nullptr) {
    _tile_zero(0);
    if constexpr (Cols > 1) _tile_zero(1);
    if constexpr (Rows > 1) _tile_zero(2);
    if constexpr (Rows > 1 && Cols > 1) _tile_zero(3);
  } else {
    const auto start_stride = static_cast<std::size_t>(start.stride) * sizeof(float);
    const float* const start_below = start.at + 16 * start.stride;
    _tile_loadd(0, start.at, start_stride);
    if constexpr (Cols > 1) _tile_loadd(1, start.at + 16, start_stride);
    if constexpr (Rows > 1) _tile_loadd(2, start_below, start_stride);
    if constexpr (Rows > 1 && Cols > 1) _tile_loadd(3, start_below + 16, start_stride);
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

/// Word of a left tile that holds a pair of a row.
template <Lines L>
[[nodiscard]] constexpr Index word_of(Index row, Index pair) {
  return L == Lines::elements ? row * 16 + pair : pair * 16 + row;
}

/// sums (Rows, 16 Cols) = start + left (Rows,depth) right (depth, 16 Cols). `left`: the first of the rows in its
/// tile. With 8 rows of 2 tiles a line is read for eight sums and a pair for two, and the sums hide how long an
/// addition takes.
template <int Parts, Lines L, int Rows, int Cols>
void rows_by_dot_product(float* sums, Index sums_stride, Start start, const std::uint32_t* left,
                         const std::uint32_t* right, Index right_step, Index depth_tiles) {
#if defined(__AVX512BF16__)
  using cpu::detail::unrolled;
  __m512 row[Rows][Cols];
  unrolled<Rows * Cols>([&](auto i) __attribute__((always_inline)) {
    row[i / Cols][i % Cols] = start.at == nullptr
                                  ? _mm512_setzero_ps()
                                  : _mm512_loadu_ps(start.at + i / Cols * start.stride + i % Cols * tile_extent);
  });
  for (const auto& [left_part, right_part] : part_pairs<Parts>) {
    const std::uint32_t* l = left + left_part * tile_words;
    const std::uint32_t* r = right + right_part * tile_words;
    for (Index k = 0; k < depth_tiles; ++k, l += Parts * tile_words, r += Parts * tile_words) {
      for (Index pair = 0; pair < 16; ++pair) {
        __m512i line[Cols];
        unrolled<Cols>([&](auto c) __attribute__((always_inline)) {
          line[c] = _mm512_loadu_si512(r + c * right_step + pair * 16);
        });
        unrolled<Rows>([&](auto i) __attribute__((always_inline)) {
          const __m512i spread = _mm512_set1_epi32(static_cast<int>(l[word_of<L>(i, pair)]));
          unrolled<Cols>([&](auto c) __attribute__((always_inline)) {
            row[i][c] = _mm512_dpbf16_ps(row[i][c], reinterpret_cast<const __m512bh&>(spread),
                                         reinterpret_cast<const __m512bh&>(line[c]));
          });
        });
      }
    }
  }
  unrolled<Rows * Cols>([&](auto i) __attribute__((always_inline)) {
    _mm512_storeu_ps(sums + i / Cols * sums_stride + i % Cols * tile_extent, row[i / Cols][i % Cols]);
  });
#else
  static_cast<void>(sums);
  static_cast<void>(sums_stride);
  static_cast<void>(start);
  static_cast<void>(left);
  static_cast<void>(right);
  static_cast<void>(right_step);
  static_cast<void>(depth_tiles);
#endif
}

/// sums (32,32) = start + left (32,depth) right (depth,32), eight rows at a time.
template <int Parts, Lines L>
void square_by_dot_product(float* sums, Index sums_stride, Start start, const std::uint32_t* left, Index left_step,
                           const std::uint32_t* right, Index right_step, Index rows, Index cols,
                           Index depth_tiles) {
  constexpr Index high = 8;
  const auto compute =
      cols > tile_extent ? rows_by_dot_product<Parts, L, high, 2> : rows_by_dot_product<Parts, L, high, 1>;
  for (Index i = 0; i < rows; i += high, sums += high * sums_stride, start.at += high * start.stride) {
    compute(sums, sums_stride, start, left + i / tile_extent * left_step + word_of<L>(i % tile_extent, 0), right,
            right_step, depth_tiles);
  }
}

/// A tile in float arithmetic on the parts: sums (16,16) = start + left (16,depth) right (depth,16).
template <int Parts, Lines L>
void tile_emulated(float* sums, Index sums_stride, Start start, const std::uint32_t* left,
                   const std::uint32_t* right, Index depth_tiles) {
  const auto early = [](std::uint32_t pair) { return std::bit_cast<float>(pair << 16U); };
  const auto late = [](std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000U); };
  for (Index r = 0; r < 16; ++r) {
    std::array<float, 16> row{};
    if (start.at != nullptr) std::copy_n(start.at + r * start.stride, 16, row.begin());
    for (const auto& [left_part, right_part] : part_pairs<Parts>) {
      for (Index k = 0; k < depth_tiles; ++k) {
        for (Index pair = 0; pair < 16; ++pair) {
          const std::uint32_t l = left[(k * Parts + left_part) * tile_words + word_of<L>(r, pair)];
          const std::uint32_t* line = right + (k * Parts + right_part) * tile_words + pair * 16;
          for (std::size_t j = 0; j < 16; ++j) row[j] += early(l) * early(line[j]) + late(l) * late(line[j]);
        }
      }
    }
    std::copy(row.begin(), row.end(), sums + r * sums_stride);
  }
}

/// sums (32,32) = start + left (rows,depth) right (depth,cols), both packed; `left_step`, `right_step`: words
/// from one tile row (tile column) to the next; `L`: lines of the left tiles. rows and cols are 1 to 32; tiles
/// that lie wholly beyond them are not computed, the others are written, beyond them too, or not.
template <int Parts, Lines L>
void square(Engine engine, float* sums, Index sums_stride, Start start, const std::uint32_t* left, Index left_step,
            const std::uint32_t* right, Index right_step, Index rows, Index cols, Index depth_tiles) {
#if defined(DSSL_CPU_HAS_AMX)
  if (L == Lines::elements && engine == Engine::tile_unit) {
    const auto compute =
        rows > 16 ? (cols > 16 ? square_by_tile_unit<Parts, 2, 2> : square_by_tile_unit<Parts, 2, 1>)
                  : (cols > 16 ? square_by_tile_unit<Parts, 1, 2> : square_by_tile_unit<Parts, 1, 1>);
    compute(sums, sums_stride, start, left, left_step, right, right_step, depth_tiles);
    return;
  }
#endif
  if (engine == Engine::dot_product) {
    square_by_dot_product<Parts, L>(sums, sums_stride, start, left, left_step, right, right_step, rows, cols,
                                    depth_tiles);
    return;
  }
  for (Index i = 0; i < rows; i += tile_extent) {
    for (Index j = 0; j < cols; j += tile_extent) {
      const Start from{start.at == nullptr ? nullptr : start.at + i * start.stride + j, start.stride};
      tile_emulated<Parts, L>(sums + i * sums_stride + j, sums_stride, from, left + i / tile_extent * left_step,
                              right + j / tile_extent * right_step, depth_tiles);
    }
  }
}

}  // namespace detail

/// c (rows,cols) = or += left right [+ bias (cols), only with `assign`], both packed from their first row and
/// column; one thread, within an `EngineScope`. Sums run in the order of depth, after what they are added to.
/// `Again`: the side that is read again for each 32 of the other, and so should be the smaller one.
/// `LeftOrder`: how the left operand lay when `pack_left` took it. `right_step`: words from one tile column of the right
/// operand to the next; 0: they follow each other.
template <Side Again, Order LeftOrder, int Parts = 1>
  requires PartCount<Parts>
void multiply(Engine engine, float* c, Index c_stride, Index rows, Index cols, const std::uint32_t* left,
              const std::uint32_t* right, Index depth_tiles, Onto onto, const float* bias = nullptr,
              Index right_step = 0) {
  using detail::Start;
  alignas(64) std::array<float, square_extent * square_extent> part{};  // of c, where tiles are not whole
  const Index step = depth_tiles * Parts * tile_words;
  if (right_step == 0) right_step = step;
  const auto compute = left_lines<LeftOrder>(engine) == Lines::pairs ? detail::square<Parts, Lines::pairs>
                                                                     : detail::square<Parts, Lines::elements>;
  const auto one = [&](Index i, Index j) {
    const Index high = std::min(square_extent, rows - i);
    const Index wide = std::min(square_extent, cols - j);
    const std::uint32_t* const l = left + i / tile_extent * step;
    const std::uint32_t* const r = right + j / tile_extent * right_step;
    float* const out = c + i * c_stride + j;
    const Start start = onto == Onto::sum ? Start{out, c_stride} : Start{bias == nullptr ? nullptr : bias + j, 0};
    if (high % tile_extent == 0 && wide % tile_extent == 0) {
      compute(engine, out, c_stride, start, l, step, r, right_step, high, wide, depth_tiles);
      return;
    }
    Start from;
    if (start.at != nullptr) {
      for (Index row = 0; row < high; ++row) {
        std::copy_n(start.at + row * start.stride, wide, part.data() + row * square_extent);
      }
      from = {part.data(), square_extent};
    }
    compute(engine, part.data(), square_extent, from, l, step, r, right_step, high, wide, depth_tiles);
    for (Index row = 0; row < high; ++row) {
      std::copy_n(part.data() + row * square_extent, wide, out + row * c_stride);
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

}  // namespace dssl::cpu::inline DSSL_ISA::bf16
