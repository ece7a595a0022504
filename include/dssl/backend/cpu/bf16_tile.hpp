// bf16 operands in tiles: how floats become bf16 numbers, and how these lie for the instructions that
// multiply them.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

// First, since it brings the compiler's intrinsics in with g++'s false warnings about them off.
#include <dssl/backend/cpu/isa.hpp>
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

#include <dssl/backend/cpu/bf16_engine.hpp>
#include <dssl/core/tensor_view.hpp>

// A tile of the left operand holds 16 rows of 32 numbers, a tile of the right one 16 columns of 32; both are
// 1 KiB: 16 lines of sixteen pairs, a pair being two neighbours in depth (the earlier in the low half). A
// line of a left tile is a row, a line of a right tile a pair of depths across the 16 columns. That is what
// the tile unit (AMX) reads, and what the bf16 dot product of AVX-512 reads with the left pair spread over a
// register. The latter takes a left pair from anywhere: for it a left tile may have the right one's lines, so
// that an operand that lies by depth (dW's) need not be transposed.
//
// A float can also be kept whole, as the sum of three bf16 ("parts": the number rounded, what is left
// rounded, and what is left then, 3 x 8 bits). The parts of a tile follow each other, the largest first. A
// product of two such operands is the sum of six products of parts; the three that are left out are below
// 2^-25 of |a| |b|, less than float's own rounding.

namespace dssl::cpu::inline DSSL_ISA::bf16 {

inline constexpr Index tile_extent = 16;  ///< rows, or columns, of a tile
inline constexpr Index tile_depth = 32;
inline constexpr Index tile_words = tile_extent * tile_depth / 2;  ///< 32-bit words, a pair each

using Engine = Bf16Engine;
using Mode = Bf16Mode;

/// Tiles of an extent, or of a depth.
[[nodiscard]] constexpr Index tiles_of(Index extent) { return (extent + tile_extent - 1) / tile_extent; }
[[nodiscard]] constexpr Index depth_tiles_of(Index depth) { return (depth + tile_depth - 1) / tile_depth; }

#if defined(DSSL_CPU_HAS_AMX)
/// Asks Linux for the tile registers, which a process has only after it asked (once; asking again changes
/// nothing).
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

/// The bits of x rounded to bf16 (to nearest, ties to even), in the upper half; the lower half is not
/// cleared. (Instructions for bf16 take numbers below 1.2e-38 for 0; here they stay: no result is near enough
/// to tell.)
[[nodiscard]] constexpr std::uint32_t rounded(std::uint32_t x) {
  // Rounding could turn a NaN into an infinity: it is made quiet instead.
  const bool is_nan = (x & 0x7fffffffU) > 0x7f800000U;
  return is_nan ? x | 0x00400000U : x + 0x7fffU + ((x >> 16U) & 1U);
}

/// x rounded to bf16.
[[nodiscard]] inline float round_to_bf16(float x) {
  return std::bit_cast<float>(rounded(std::bit_cast<std::uint32_t>(x)) & 0xffff0000U);
}

/// bf16 numbers that stand for a float: 1, rounded; or 3, whole (of smaller numbers than 2e-31 the smallest
/// parts are taken for 0; those above 3.39e38, and infinite ones, become NaN).
template <int Parts>
concept PartCount = Parts == 1 || Parts == 3;

/// Parts of the left and of the right operand that are multiplied, in an order in which neighbours share one
/// of them.
template <int Parts>
inline constexpr std::array<std::array<int, 2>, Parts == 1 ? 1 : 6> part_pairs{};
template <>
inline constexpr std::array<std::array<int, 2>, 6> part_pairs<3>{
    {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}}};

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

/// The parts of x as bits of bf16.
template <int Parts>
[[nodiscard]] constexpr std::array<std::uint32_t, Parts> parts_of(float x) {
  std::array<std::uint32_t, Parts> parts{};
  for (std::uint32_t& part : parts) {
    part = rounded(std::bit_cast<std::uint32_t>(x)) >> 16U;
    x -= std::bit_cast<float>(part << 16U);
  }
  return parts;
}

/// words[p * tile_words] = the p-th parts of two neighbours in depth.
template <int Parts>
void store_pair(std::uint32_t* words, float early, float late) {
  const auto low = parts_of<Parts>(early);
  const auto high = parts_of<Parts>(late);
  for (std::size_t p = 0; p < Parts; ++p)
    words[static_cast<Index>(p) * tile_words] = low[p] | (high[p] << 16U);
}

#if defined(__AVX512BF16__)
/// words[p * tile_words + i] = the p-th parts of early[i] and late[i], neighbours in depth.
template <int Parts>
void store_pairs(std::uint32_t* words, __m512 early, __m512 late) {
  // The conversion puts the early ones into the lower half of the register, and the late ones into the upper.
  static constexpr auto order = [] {
    std::array<std::uint16_t, 32> from{};
    for (std::uint16_t i = 0; i < 32; ++i)
      from[i] = static_cast<std::uint16_t>(i / 2 + (i % 2 == 0 ? 0 : 16));
    return from;
  }();
  const __m512i interleave = _mm512_loadu_si512(order.data());
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000U));
  for (int p = 0; p < Parts; ++p, words += tile_words) {
    const __m512bh both = _mm512_cvtne2ps_pbh(late, early);
    const __m512i pairs = _mm512_permutexvar_epi16(interleave, reinterpret_cast<const __m512i&>(both));
    _mm512_storeu_si512(words, pairs);
    if (p + 1 == Parts) return;
    // With a mask of all: the plain shift makes g++ warn of what is not.
    early = _mm512_sub_ps(early, _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, pairs, 16)));
    late = _mm512_sub_ps(late, _mm512_castsi512_ps(_mm512_and_si512(pairs, upper)));
  }
}
#endif

#if defined(__AVX512BF16__)
/// 16 numbers, of which only the first `count` are read, 0 or more; zeros in the place of the others.
[[nodiscard]] inline __m512 first_of(const float* from, Index count) {
  const auto some = static_cast<unsigned>(std::min(count, Index{16}));
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << some) - 1U), from);
}
#endif

/// One line of a tile: `depth` neighbours of one element of the extent, and zeros up to a tile's depth.
template <int Parts>
void gather_element(std::uint32_t* words, const float* in, Index depth) {
#if defined(__AVX512BF16__)
  const __m512 first = first_of(in, depth);
  const __m512 second = depth > 16 ? first_of(in + 16, depth - 16) : _mm512_setzero_ps();
  if constexpr (Parts == 1) {
    const __m512bh both = _mm512_cvtne2ps_pbh(second, first);
    _mm512_storeu_si512(words, reinterpret_cast<const __m512i&>(both));
  } else {
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    store_pairs<Parts>(words, _mm512_permutex2var_ps(first, even, second),
                       _mm512_permutex2var_ps(first, odd, second));
  }
#else
  for (Index k = 0; k < 16; ++k) {
    store_pair<Parts>(words + k, 2 * k < depth ? in[2 * k] : 0.0F, 2 * k + 1 < depth ? in[2 * k + 1] : 0.0F);
  }
#endif
}

/// One line of a tile: two neighbours in depth of `extent` elements, and zeros up to a tile's extent; `late`: null
/// where there is one depth.
template <int Parts>
void gather_pair(std::uint32_t* words, const float* early, const float* late, Index extent) {
#if defined(__AVX512BF16__)
  store_pairs<Parts>(words, first_of(early, extent), late == nullptr ? _mm512_setzero_ps() : first_of(late, extent));
#else
  for (Index i = 0; i < 16; ++i) {
    store_pair<Parts>(words + i, i < extent ? early[i] : 0.0F, i < extent && late != nullptr ? late[i] : 0.0F);
  }
#endif
}

/// lines (16 x 16 words) = pairs of one tile in the order in which memory has them: a line for each of
/// `extent` elements (by_extent), or for each pair of depths (by_depth). What lies beyond `extent` and
/// `depth` becomes 0. The other parts follow, tile after tile.
template <Order O, int Parts>
void gather_pairs(std::uint32_t* lines, const float* data, Index stride, Index extent, Index depth) {
  const Index filled = O == Order::by_extent ? extent : (depth + 1) / 2;
  for (Index line = 0; line < filled; ++line) {
    if constexpr (O == Order::by_extent) {
      gather_element<Parts>(lines + line * 16, data + line * stride, depth);
    } else {
      const float* const early = data + 2 * line * stride;
      gather_pair<Parts>(lines + line * 16, early, 2 * line + 1 < depth ? early + stride : nullptr, extent);
    }
  }
  for (int p = 0; p < Parts; ++p, lines += tile_words) std::fill(lines + filled * 16, lines + tile_words, 0U);
}

/// The two sides of a tile exchanged. The words only move: no arithmetic, whatever they mean as floats.
inline void exchange_sides(std::uint32_t* out, const std::uint32_t* in) {
  transpose(reinterpret_cast<float*>(out), 16, reinterpret_cast<const float*>(in), 16, 16, 16);
}

}  // namespace detail

/// What the lines of a tile are.
enum class Lines {
  elements,  ///< sixteen pairs of one element of the extent
  pairs,     ///< one pair of depths of sixteen elements
};

/// The lines in which an engine reads the left operand, which lies in memory by `O`.
template <Order O>
[[nodiscard]] constexpr Lines left_lines(Engine engine) {
  return O == Order::by_depth && engine != Engine::tile_unit ? Lines::pairs : Lines::elements;
}

namespace detail {

template <Lines L, Order O, int Parts>
void pack(std::uint32_t* tiles, Operand from, Index extent, Index depth) {
  constexpr bool as_it_lies = (L == Lines::elements) == (O == Order::by_extent);
  const Index depth_tiles = depth_tiles_of(depth);
  alignas(64) std::array<std::uint32_t, Parts * tile_words> lines;
  const auto pack_tile = [&](Index i, Index k) {
    const float* block = from.data + (O == Order::by_extent ? i * from.stride + k : k * from.stride + i);
    const Index some = std::min(tile_extent, extent - i);
    const Index deep = std::min(tile_depth, depth - k);
    std::uint32_t* const out = tiles + (i / tile_extent * depth_tiles + k / tile_depth) * Parts * tile_words;
    if constexpr (as_it_lies) {
      gather_pairs<O, Parts>(out, block, from.stride, some, deep);
    } else {
      gather_pairs<O, Parts>(lines.data(), block, from.stride, some, deep);
      for (Index p = 0; p < Parts; ++p)
        exchange_sides(out + p * tile_words, lines.data() + p * tile_words);
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

}  // namespace detail

/// The sides of a product.
enum class Side { left, right };

/// Packs a block of the left operand, `extent` x `depth`, into tiles for this engine: for each 16 of the extent
/// all depth tiles in order, of each all parts. Everything up to whole tiles is written, with zeros.
template <Order O, int Parts = 1>
  requires PartCount<Parts>
void pack_left(Engine engine, std::uint32_t* tiles, Operand from, Index extent, Index depth) {
  if (left_lines<O>(engine) == Lines::pairs) {
    detail::pack<Lines::pairs, O, Parts>(tiles, from, extent, depth);
  } else {
    detail::pack<Lines::elements, O, Parts>(tiles, from, extent, depth);
  }
}

/// The same for the right operand, for any engine.
template <Order O, int Parts = 1>
  requires PartCount<Parts>
void pack_right(std::uint32_t* tiles, Operand from, Index extent, Index depth) {
  detail::pack<Lines::pairs, O, Parts>(tiles, from, extent, depth);
}

}  // namespace dssl::cpu::inline DSSL_ISA::bf16
