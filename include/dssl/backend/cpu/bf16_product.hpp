// Matrix products of all threads with bf16 operands and float sums.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <dssl/backend/cpu/bf16_multiply.hpp>
#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/packed_operand.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/product.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu::inline DSSL_ISA::bf16 {

namespace detail {

/// How a product c (M,N) = a (M,K) b (K,N) is cut.
///
/// One operand, the one whose tiles are read again for every block of the other, is packed by all threads
/// ("held"); each task packs its own block of the other ("passing") and multiplies it with everything held.
/// The smaller operand is held. The depth goes in groups of one size, so that a passing block fits into L2; where
/// there are few tasks and much depth, the depth is shared out as well and partial results are added in order.
///
/// The tile unit eats tiles faster than L3 gives them (17 GB/s): for it, what is held goes in slabs that stay in
/// every core's L2, and a passing block is packed again for each. The dot product is content with L3, by blocks
/// that are larger. (Dot product, 2412 rows, one core of a Zen 5: dW of 384 to 1536 takes 294 GFLOP/s in slabs of
/// 1 MiB, 370 so; forward of 1536 to 384 389 and 438.)
struct Cut {
  static constexpr Index enough_tasks = 16;

  bool left_is_held = false;
  Index block = 0;  ///< rows or columns of a passing block
  Index tasks = 0;  ///< passing blocks
  Index depth = 0;  ///< of a group
  Index parts = 1;  ///< groups that are computed side by side
  Index slab = 0;   ///< columns or rows that are held at a time

  /// `number`: bf16 numbers that stand for one of an operand.
  Cut(Engine engine, Index m, Index n, Index k, Index number) {
    const bool in_slabs = engine == Engine::tile_unit;
    const Index group_depth = (in_slabs ? 2048 : 1536) / number;
    const Index held_words = Index{1} << (in_slabs ? 18 : 22);  // 1 or 16 MiB
    left_is_held = m < n;
    const Index passing = left_is_held ? n : m;
    const Index held = left_is_held ? m : n;
    const auto in_groups = [k](Index most) {
      const Index groups = (k + most - 1) / most;
      return depth_tiles_of((k + groups - 1) / groups) * tile_depth;
    };
    depth = in_groups(group_depth / tile_depth * tile_depth);
    block = std::clamp(
        (passing * number / (3 * enough_tasks) + square_extent - 1) / square_extent * square_extent,
        (in_slabs ? 1 : 2) * square_extent, (number == 1 ? 4 : 8) * square_extent);
    tasks = (passing + block - 1) / block;
    if (tasks < enough_tasks && k >= 4 * 1024) {
      depth = std::min(depth, in_groups(1024));
      parts = (k + depth - 1) / depth;
    }
    const Index fitting = held_words * 2 / (depth * number) / square_extent * square_extent;
    const Index slabs = (held + std::max(fitting, square_extent) - 1) / std::max(fitting, square_extent);
    slab = ((held + slabs - 1) / slabs + square_extent - 1) / square_extent * square_extent;
  }
};

template <Order A, Order B, int Parts>
class Product {
 public:
  Product(Workers& workers, Engine engine, MatrixView<float> c, Operand a, Operand b, Index depth, Onto onto,
          const float* bias, const PackedTiles* lasting)
      : x_workers(workers),
        x_engine(engine),
        x_c(c),
        x_a(a),
        x_b(b),
        x_depth(depth),
        x_onto(onto),
        x_bias(bias),
        x_lasting(lasting),
        x_cut(engine, c.rows(), c.cols(), depth, Parts) {}

  void run() const {
    const Index groups = (x_depth + x_cut.depth - 1) / x_cut.depth;
    const Index at_once = x_cut.parts > 1 ? groups : 1;
    const Index group_words = tiles_of(x_cut.slab) * depth_tiles_of(x_cut.depth) * x_tile_words;
    const Index partial = x_cut.parts > 1 ? groups * x_c.size() : 0;
    auto* const shared = reinterpret_cast<std::uint32_t*>(
        x_workers.shared(static_cast<std::size_t>(at_once * group_words + partial) * sizeof(float)).data());
    auto* const sums = reinterpret_cast<float*>(shared + at_once * group_words);
    x_workers.reserve(
        static_cast<std::size_t>(tiles_of(x_cut.block) * depth_tiles_of(x_cut.depth) * x_tile_words) *
        sizeof(std::uint32_t));
    const Index held = x_cut.left_is_held ? x_c.rows() : x_c.cols();
    for (Span slab{0, x_cut.slab}; slab.begin < held; slab.begin += x_cut.slab) {
      slab.extent = std::min(x_cut.slab, held - slab.begin);
      for (Index first = 0; first < groups; first += at_once) {
        x_pack_held(shared, group_words, slab, first, at_once);
        const Index work = slab.extent * (x_c.size() / held) * x_cut.depth * at_once * Parts / 512;
        x_workers.run(x_cut.tasks * at_once, work, [&](Index task, std::size_t slot) {
          const Index group = first + task / x_cut.tasks;
          x_task(reinterpret_cast<std::uint32_t*>(x_workers.scratch(slot).data()),
                 shared + (group - first) * group_words, slab, task % x_cut.tasks, group,
                 x_cut.parts > 1 ? sums + group * x_c.size() : nullptr);
        });
      }
    }
    if (x_cut.parts > 1)
      cpu::detail::add_parts(x_workers, x_c, static_cast<const float*>(sums), groups, x_onto, x_bias);
  }

 private:
  /// Of the held operand: its rows (left) or columns.
  struct Span {
    Index begin;
    Index extent;
  };
  static constexpr Index x_tile_words = Parts * tile_words;

  [[nodiscard]] Index x_depth_of(Index group) const {
    return std::min(x_cut.depth, x_depth - group * x_cut.depth);
  }

  [[nodiscard]] Operand x_left(Index row, Index group) const {
    const Index k = group * x_cut.depth;
    return {x_a.data + (A == Order::by_extent ? row * x_a.stride + k : k * x_a.stride + row), x_a.stride};
  }
  [[nodiscard]] Operand x_right(Index col, Index group) const {
    const Index k = group * x_cut.depth;
    return {x_b.data + (B == Order::by_extent ? col * x_b.stride + k : k * x_b.stride + col), x_b.stride};
  }

  void x_pack_held(std::uint32_t* to, Index group_words, Span slab, Index first, Index count) const {
    if (x_lasting != nullptr && !x_cut.left_is_held) return;
    const Index strips = (slab.extent + square_extent - 1) / square_extent;
    x_workers.run(
        strips * count, slab.extent * x_cut.depth * count * Parts / 8, [&](Index task, std::size_t) {
          const Index group = first + task / strips;
          const Index at = task % strips * square_extent;
          const Index extent = std::min(square_extent, slab.extent - at);
          const Index depth = x_depth_of(group);
          std::uint32_t* const tiles =
              to + (group - first) * group_words + at / tile_extent * depth_tiles_of(depth) * x_tile_words;
          if (x_cut.left_is_held) {
            pack_left<A, Parts>(x_engine, tiles, x_left(slab.begin + at, group), extent, depth);
          } else {
            pack_right<B, Parts>(tiles, x_right(slab.begin + at, group), extent, depth);
          }
        });
  }

  void x_task(std::uint32_t* packed, const std::uint32_t* held, Span slab, Index task, Index group,
              float* part) const {
    const Index at = task * x_cut.block;
    const Index depth = x_depth_of(group);
    const Index n = x_c.cols();
    const Index col = x_cut.left_is_held ? at : slab.begin;
    const Index row = x_cut.left_is_held ? slab.begin : at;
    float* const c = (part != nullptr ? part : x_c.data()) + row * n + col;
    const Onto onto = part != nullptr ? Onto::assign : group > 0 ? Onto::sum : x_onto;
    const float* const bias = part != nullptr || group > 0 || x_bias == nullptr ? nullptr : x_bias + col;
    const EngineScope scope(x_engine);
    if (x_cut.left_is_held) {
      const Index cols = std::min(x_cut.block, n - at);
      if (x_lasting != nullptr) return x_multiply_packed<Side::right>(c, slab.extent, col, cols, held, group, onto, bias);
      pack_right<B, Parts>(packed, x_right(at, group), cols, depth);
      multiply<Side::right, A, Parts>(x_engine, c, n, slab.extent, cols, held, packed, depth_tiles_of(depth),
                                      onto, bias);
    } else {
      const Index rows = std::min(x_cut.block, x_c.rows() - at);
      pack_left<A, Parts>(x_engine, packed, x_left(at, group), rows, depth);
      if (x_lasting != nullptr) return x_multiply_packed<Side::left>(c, rows, col, slab.extent, packed, group, onto, bias);
      multiply<Side::left, A, Parts>(x_engine, c, n, rows, slab.extent, packed, held, depth_tiles_of(depth),
                                     onto, bias);
    }
  }

  /// c = or += packed rows times the columns [col, col + cols) of what is lasting, in whose place they lie; bias: of `col`.
  template <Side Again>
  void x_multiply_packed(float* c, Index rows, Index col, Index cols, const std::uint32_t* left, Index group, Onto onto,
                         const float* bias) const {
    const Index tiles = depth_tiles_of(x_depth_of(group));
    const Index before = group * depth_tiles_of(x_cut.depth) * x_tile_words;
    const Index first = std::clamp(x_lasting->columns - col, Index{0}, cols);
    if (first > 0) {
      multiply<Again, A, Parts>(x_engine, c, x_c.cols(), rows, first, left,
                                x_lasting->whole + col / tile_extent * x_lasting->step + before, tiles, onto, bias,
                                x_lasting->step);
    }
    if (first < cols) {
      multiply<Again, A, Parts>(x_engine, c + first, x_c.cols(), rows, cols - first, left, x_lasting->rest + before, tiles,
                                onto, bias == nullptr ? nullptr : bias + first);
    }
  }

  Workers& x_workers;
  Engine x_engine;
  MatrixView<float> x_c;
  Operand x_a, x_b;
  Index x_depth;
  Onto x_onto;
  const float* x_bias;
  const PackedTiles* x_lasting;
  Cut x_cut;
};

}  // namespace detail

/// c (M,N) = or += a (M,K) b (K,N) [+ bias (N), null for none, only with `assign`], operands rounded to bf16
/// (`Parts` 1) or whole (3), products and sums in float. The same bits for any number of threads. Extent of
/// a: its rows; of b: its columns. `lasting`: b, where it is packed already; the same bits.
template <int Parts, Order A, Order B>
  requires PartCount<Parts>
void product(Workers& workers, Engine engine, MatrixView<float> c, Operand a, Operand b, Index depth,
             Onto onto, const float* bias = nullptr, const PackedTiles* lasting = nullptr) {
  if (cpu::detail::empty_product(c, depth, onto, bias)) return;
  detail::Product<A, B, Parts>(workers, engine, c, a, b, depth, onto, bias, lasting).run();
}

template <Order A, Order B>
void product(Workers& workers, Mode mode, MatrixView<float> c, Operand a, Operand b, Index depth, Onto onto,
             const float* bias = nullptr) {
  if (mode.parts == 1) {
    product<1, A, B>(workers, mode.engine, c, a, b, depth, onto, bias);
  } else {
    product<3, A, B>(workers, mode.engine, c, a, b, depth, onto, bias);
  }
}

}  // namespace dssl::cpu::inline DSSL_ISA::bf16
