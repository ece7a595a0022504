// bf16 operands in tiles, and the inner loop that multiplies them into float.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

// First, since it brings the compiler's intrinsics in with g++'s false warnings about them off.
#include <dssl/backend/cpu/tile.hpp>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif
#if defined(__AMX_TILE__) && defined(__AMX_BF16__) && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define DSSL_CPU_HAS_AMX 1
#endif

#include <dssl/core/tensor_view.hpp>

// A tile of the left operand holds 16 rows of 32 numbers, a tile of the right one 16 columns of 32; both are 1 KiB:
// 16 lines of sixteen pairs, a pair being two neighbours in depth (the earlier in the low half). A line of a left tile
// is a row, a line of a right tile a pair of depths across the 16 columns. That is what the tile unit (AMX) reads,
// and what the bf16 dot product of AVX-512 reads with the left pair spread over a register.

namespace dssl::cpu::bf16 {

inline constexpr Index tile_extent = 16;  ///< rows, or columns, of a tile
inline constexpr Index tile_depth = 32;
inline constexpr Index tile_words = tile_extent * tile_depth / 2;  ///< 32-bit words, a pair each

/// How the products are computed.
enum class Engine {
  tile_unit,    ///< AMX: 16 x 16 x 32 an instruction
  dot_product,  ///< AVX-512: 16 pairs an instruction
  emulated,     ///< rounded to bf16, multiplied in float
};

/// Tiles of an extent, or of a depth.
[[nodiscard]] constexpr Index tiles_of(Index extent) { return (extent + tile_extent - 1) / tile_extent; }
[[nodiscard]] constexpr Index depth_tiles_of(Index depth) { return (depth + tile_depth - 1) / tile_depth; }

#if defined(DSSL_CPU_HAS_AMX)
/// Asks Linux for the tile registers, which a process has only after it asked (once; asking again changes nothing).
[[nodiscard]] inline bool tile_unit_allowed() {
  constexpr long request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long tile_data = 18;               // XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#endif

/// The fastest engine that this program was compiled for and this process may use.
[[nodiscard]] inline Engine best_engine() {
#if defined(DSSL_CPU_HAS_AMX)
  if (tile_unit_allowed()) return Engine::tile_unit;
#endif
#if defined(__AVX512BF16__)
  return Engine::dot_product;
#else
  return Engine::emulated;
#endif
}

/// Holds the tile unit's shapes for this thread as long as it lives; nothing for other engines.
class EngineScope {
 public:
  explicit EngineScope(Engine engine) : x_engine(engine) {
#if defined(DSSL_CPU_HAS_AMX)
    if (engine != Engine::tile_unit) return;
    struct alignas(64) Shapes {
      std::uint8_t palette = 1;
      std::uint8_t start = 0;
      std::array<std::uint8_t, 14> reserved{};
      std::array<std::uint16_t, 16> bytes_a_line{};
      std::array<std::uint8_t, 16> lines{};
    } shapes;
    for (std::size_t i = 0; i < 8; ++i) {
      shapes.bytes_a_line[i] = 64;
      shapes.lines[i] = 16;
    }
    _tile_loadconfig(&shapes);
#endif
  }
  EngineScope(const EngineScope&) = delete;
  EngineScope& operator=(const EngineScope&) = delete;
  ~EngineScope() {
#if defined(DSSL_CPU_HAS_AMX)
    if (x_engine == Engine::tile_unit) _tile_release();
#endif
  }

 private:
  [[maybe_unused]] Engine x_engine;  // asked only where there is a tile unit
};

/// The bits of x rounded to bf16 (to nearest, ties to even), in the upper half; the lower half is not cleared.
/// (Instructions for bf16 take numbers below 1.2e-38 for 0; here they stay: no result is near enough to tell.)
[[nodiscard]] constexpr std::uint32_t rounded(std::uint32_t x) {
  // Rounding could turn a NaN into an infinity: it is made quiet instead.
  const bool is_nan = (x & 0x7fffffffU) > 0x7f800000U;
  return is_nan ? x | 0x00400000U : x + 0x7fffU + ((x >> 16U) & 1U);
}

/// Two numbers as a pair of bf16.
[[nodiscard]] constexpr std::uint32_t pair_of(std::uint32_t early, std::uint32_t late) {
  return (rounded(early) >> 16U) | (rounded(late) & 0xffff0000U);
}

/// x rounded to bf16.
[[nodiscard]] inline float round_to_bf16(float x) {
  return std::bit_cast<float>(rounded(std::bit_cast<std::uint32_t>(x)) & 0xffff0000U);
}

/// How an operand lies in memory. Its extent is its rows (left operand) or columns (right operand).
enum class Order {
  by_extent,  ///< element (extent i, depth k) at data[i * stride + k]
  by_depth,   ///< at data[k * stride + i]
};

/// A float operand of a product.
struct Operand {
  const float* data = nullptr;
  Index stride = 0;
};

namespace detail {

/// lines (16 x 16 words) = pairs of one tile in the order in which memory has them: a line for each of `extent`
/// elements (by_extent), or for each pair of depths (by_depth). What lies beyond `extent` and `depth` becomes 0.
template <Order O>
void gather_pairs(std::uint32_t* lines, const float* data, Index stride, Index extent, Index depth) {
  const auto bits = [](float x) { return std::bit_cast<std::uint32_t>(x); };
  if constexpr (O == Order::by_extent) {
    for (Index i = 0; i < extent; ++i) {
      const float* in = data + i * stride;
      std::uint32_t* out = lines + i * 16;
      if (depth == tile_depth) {
#if defined(__AVX512BF16__)
        const __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(in + 16), _mm512_loadu_ps(in));
        _mm512_storeu_si512(out, reinterpret_cast<const __m512i&>(both));
#else
        for (Index k = 0; k < 16; ++k) out[k] = pair_of(bits(in[2 * k]), bits(in[2 * k + 1]));
#endif
        continue;
      }
      for (Index k = 0; k < 16; ++k) {
        const std::uint32_t early = 2 * k < depth ? bits(in[2 * k]) : 0;
        const std::uint32_t late = 2 * k + 1 < depth ? bits(in[2 * k + 1]) : 0;
        out[k] = pair_of(early, late);
      }
    }
    std::fill(lines + extent * 16, lines + tile_words, 0U);
  } else {
    const Index pairs = (depth + 1) / 2;
    for (Index k = 0; k < pairs; ++k) {
      const float* early = data + 2 * k * stride;
      const float* late = early + stride;
      std::uint32_t* out = lines + k * 16;
      const bool whole = 2 * k + 1 < depth;
      if (extent == tile_extent && whole) {
#if defined(__AVX512BF16__)
        const __m512i low = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(early))));
        const __m512i high = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(late))));
        _mm512_storeu_si512(out, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
#else
        for (Index i = 0; i < 16; ++i) out[i] = pair_of(bits(early[i]), bits(late[i]));
#endif
        continue;
      }
      for (Index i = 0; i < extent; ++i) out[i] = pair_of(bits(early[i]), whole ? bits(late[i]) : 0);
      std::fill(out + extent, out + 16, 0U);
    }
    std::fill(lines + pairs * 16, lines + tile_words, 0U);
  }
}

/// The two sides of a tile exchanged. The words only move: no arithmetic, whatever they mean as floats.
inline void exchange_sides(std::uint32_t* out, const std::uint32_t* in) {
  transpose(reinterpret_cast<float*>(out), 16, reinterpret_cast<const float*>(in), 16, 16, 16);
}

}  // namespace detail

/// The sides of a product.
enum class Side { left, right };

/// Packs a block of an operand, `extent` x `depth`, into tiles: for each 16 of the extent all depth tiles in order.
/// Everything up to whole tiles is written, with zeros.
template <Side S, Order O>
void pack(std::uint32_t* tiles, Operand from, Index extent, Index depth) {
  // A left tile has a line for each element of the extent, a right one a line for each pair of depths.
  constexpr bool as_it_lies = (S == Side::left) == (O == Order::by_extent);
  const Index depth_tiles = depth_tiles_of(depth);
  alignas(64) std::array<std::uint32_t, tile_words> lines;
  const auto pack_tile = [&](Index i, Index k) {
    const float* block = from.data + (O == Order::by_extent ? i * from.stride + k : k * from.stride + i);
    const Index some = std::min(tile_extent, extent - i);
    const Index deep = std::min(tile_depth, depth - k);
    std::uint32_t* const out = tiles + (i / tile_extent * depth_tiles + k / tile_depth) * tile_words;
    if constexpr (as_it_lies) {
      detail::gather_pairs<O>(out, block, from.stride, some, deep);
    } else {
      detail::gather_pairs<O>(lines.data(), block, from.stride, some, deep);
      detail::exchange_sides(out, lines.data());
    }
  };
  // Along the lines of memory.
  if constexpr (O == Order::by_extent) {
    for (Index i = 0; i < extent; i += tile_extent) {
      for (Index k = 0; k < depth; k += tile_depth) pack_tile(i, k);
    }
  } else {
    for (Index k = 0; k < depth; k += tile_depth) {
      for (Index i = 0; i < extent; i += tile_extent) pack_tile(i, k);
    }
  }
}

/// Side of the square that the inner loop computes at once: two tiles by two.
inline constexpr Index square_extent = 2 * tile_extent;

namespace detail {

#if defined(DSSL_CPU_HAS_AMX)
/// sums (32,32) = left (32,depth) right (depth,32); `Rows`, `Cols`: tiles of it that are computed, 1 or 2.
template <int Rows, int Cols>
void square_by_tile_unit(float* sums, Index sums_stride, const std::uint32_t* left, Index left_step, const std::uint32_t* right,
                         Index right_step, Index depth_tiles) {
  _tile_zero(0);
  if constexpr (Cols > 1) _tile_zero(1);
  if constexpr (Rows > 1) _tile_zero(2);
  if constexpr (Rows > 1 && Cols > 1) _tile_zero(3);
  for (Index k = 0; k < depth_tiles; ++k) {
    _tile_loadd(4, left + k * tile_words, 64);
    _tile_loadd(6, right + k * tile_words, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (Cols > 1) {
      _tile_loadd(7, right + right_step + k * tile_words, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (Rows > 1) {
      _tile_loadd(5, left + left_step + k * tile_words, 64);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (Cols > 1) _tile_dpbf16ps(3, 5, 7);
    }
  }
  const auto stride = static_cast<std::size_t>(sums_stride) * sizeof(float);
  float* const below = sums + 16 * sums_stride;
  _tile_stored(0, sums, stride);
  if constexpr (Cols > 1) _tile_stored(1, sums + 16, stride);
  if constexpr (Rows > 1) _tile_stored(2, below, stride);
  if constexpr (Rows > 1 && Cols > 1) _tile_stored(3, below + 16, stride);
}
#endif

/// sums (16,16) = left (16,depth) right (depth,16).
inline void tile_by_dot_product(float* sums, Index sums_stride, const std::uint32_t* left, const std::uint32_t* right, Index depth_tiles) {
#if defined(__AVX512BF16__)
  __m512 rows[16];
  cpu::detail::unrolled<16>([&](auto r) __attribute__((always_inline)) { rows[r] = _mm512_setzero_ps(); });
  for (Index k = 0; k < depth_tiles; ++k, left += tile_words, right += tile_words) {
    for (Index pair = 0; pair < 16; ++pair) {
      const __m512i line = _mm512_loadu_si512(right + pair * 16);
      cpu::detail::unrolled<16>([&](auto r) __attribute__((always_inline)) {
        const __m512i spread = _mm512_set1_epi32(static_cast<int>(left[r * 16 + pair]));
        rows[r] = _mm512_dpbf16_ps(rows[r], reinterpret_cast<const __m512bh&>(spread),
                                   reinterpret_cast<const __m512bh&>(line));
      });
    }
  }
  cpu::detail::unrolled<16>([&](auto r) __attribute__((always_inline)) { _mm512_storeu_ps(sums + r * sums_stride, rows[r]); });
#else
  static_cast<void>(sums);
  static_cast<void>(sums_stride);
  static_cast<void>(left);
  static_cast<void>(right);
  static_cast<void>(depth_tiles);
#endif
}

/// The same in float arithmetic on the rounded numbers.
inline void tile_emulated(float* sums, Index sums_stride, const std::uint32_t* left, const std::uint32_t* right, Index depth_tiles) {
  const auto early = [](std::uint32_t pair) { return std::bit_cast<float>(pair << 16U); };
  const auto late = [](std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000U); };
  for (Index r = 0; r < 16; ++r) {
    std::array<float, 16> row{};
    for (Index k = 0; k < depth_tiles; ++k) {
      for (Index pair = 0; pair < 16; ++pair) {
        const std::uint32_t l = left[k * tile_words + r * 16 + pair];
        const std::uint32_t* line = right + k * tile_words + pair * 16;
        for (std::size_t j = 0; j < 16; ++j) row[j] += early(l) * early(line[j]) + late(l) * late(line[j]);
      }
    }
    std::copy(row.begin(), row.end(), sums + r * sums_stride);
  }
}

}  // namespace detail

/// sums (32,32) = left (rows,depth) right (depth,cols), both packed; `left_step`, `right_step`: words from one tile
/// row (tile column) to the next. rows and cols are 1 to 32; tiles that lie wholly beyond them are not computed, the
/// others are written whole.
inline void square(Engine engine, float* sums, Index sums_stride, const std::uint32_t* left, Index left_step, const std::uint32_t* right,
                   Index right_step, Index rows, Index cols, Index depth_tiles) {
#if defined(DSSL_CPU_HAS_AMX)
  if (engine == Engine::tile_unit) {
    const auto compute = rows > 16 ? (cols > 16 ? detail::square_by_tile_unit<2, 2> : detail::square_by_tile_unit<2, 1>)
                                   : (cols > 16 ? detail::square_by_tile_unit<1, 2> : detail::square_by_tile_unit<1, 1>);
    compute(sums, sums_stride, left, left_step, right, right_step, depth_tiles);
    return;
  }
#endif
  for (Index i = 0; i * tile_extent < rows; ++i) {
    for (Index j = 0; j * tile_extent < cols; ++j) {
      float* const out = sums + i * tile_extent * sums_stride + j * tile_extent;
      const auto* l = left + i * left_step;
      const auto* r = right + j * right_step;
      if (engine == Engine::dot_product) {
        detail::tile_by_dot_product(out, sums_stride, l, r, depth_tiles);
      } else {
        detail::tile_emulated(out, sums_stride, l, r, depth_tiles);
      }
    }
  }
}

/// c (rows,cols) = or += left right [+ bias (cols)], both packed from their first row and column; one thread, within
/// an `EngineScope`. Sums run in the order of depth. `Again`: the side that is read again for each 32 of the other,
/// and so should be the smaller one.
template <Side Again>
void multiply(Engine engine, float* c, Index c_stride, Index rows, Index cols, const std::uint32_t* left,
              const std::uint32_t* right, Index depth_tiles, Onto onto, const float* bias = nullptr) {
  alignas(64) std::array<float, square_extent * square_extent> sums;
  const Index step = depth_tiles * tile_words;
  const auto one = [&](Index i, Index j) {
    const Index high = std::min(square_extent, rows - i);
    const Index wide = std::min(square_extent, cols - j);
    const std::uint32_t* const l = left + i / tile_extent * step;
    const std::uint32_t* const r = right + j / tile_extent * step;
    if (onto == Onto::assign && bias == nullptr && high == square_extent && wide == square_extent) {
      square(engine, c + i * c_stride + j, c_stride, l, step, r, step, high, wide, depth_tiles);
      return;
    }
    square(engine, sums.data(), square_extent, l, step, r, step, high, wide, depth_tiles);
    const auto add = [](const auto& x, const auto& y) { return x + y; };
    for (Index row = 0; row < high; ++row) {
      float* const out = c + (i + row) * c_stride + j;
      const float* const in = sums.data() + row * square_extent;
      if (onto == Onto::sum) {
        map(out, wide, add, static_cast<const float*>(out), in);
      } else if (bias != nullptr) {
        map(out, wide, add, in, bias + j);
      } else {
        map(out, wide, [](const auto& x) { return x; }, in);
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
