// Matrix products of all threads with bf16 operands and float sums.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/product.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu::bf16 {

namespace detail {

/// How a product c (M,N) = a (M,K) b (K,N) is cut.
///
/// One operand, the one whose tiles are read again for every block of the other, is packed once by all threads ("held");
/// each task packs its own block of the other ("passing") and multiplies it with everything held. The smaller operand
/// is held. The depth goes in groups, so that what is held fits into L3 and a passing block into L2; where there are
/// few tasks and much depth, the depth is shared out too and partial results are added in order.
struct Cut {
  static constexpr Index group_depth = 2048;              ///< of one passing block
  static constexpr Index held_words = Index{2} << 20;     ///< 8 MiB
  static constexpr Index enough_tasks = 16;

  bool left_is_held = false;
  Index block = 0;  ///< rows or columns of a passing block
  Index tasks = 0;  ///< passing blocks
  Index depth = 0;  ///< of a group
  Index parts = 1;  ///< groups that are computed side by side

  Cut(Index m, Index n, Index k) {
    left_is_held = m < n;
    const Index passing = left_is_held ? n : m;
    const Index held = left_is_held ? m : n;
    const Index fitting = held_words / (tiles_of(held) * tile_extent) * 2 / tile_depth * tile_depth;
    depth = std::clamp(std::min(group_depth, fitting), tile_depth, depth_tiles_of(k) * tile_depth);
    block = std::clamp((passing / (2 * enough_tasks) + square_extent - 1) / square_extent * square_extent, square_extent,
                       4 * square_extent);
    tasks = (passing + block - 1) / block;
    if (tasks < enough_tasks && k >= 4 * 1024) {
      depth = 1024;
      parts = (k + depth - 1) / depth;
    }
  }
};

template <Order A, Order B>
class Product {
 public:
  Product(Workers& workers, Engine engine, MatrixView<float> c, Operand a, Operand b, Index depth, Onto onto,
          const float* bias)
      : x_workers(workers), x_engine(engine), x_c(c), x_a(a), x_b(b), x_depth(depth), x_onto(onto), x_bias(bias),
        x_cut(c.rows(), c.cols(), depth) {}

  void run() const {
    const Index groups = (x_depth + x_cut.depth - 1) / x_cut.depth;
    const Index at_once = x_cut.parts > 1 ? groups : 1;
    const Index group_words = tiles_of(x_held_extent()) * depth_tiles_of(x_cut.depth) * tile_words;
    const Index partial = x_cut.parts > 1 ? groups * x_c.size() : 0;
    auto* const shared = reinterpret_cast<std::uint32_t*>(
        x_workers.shared(static_cast<std::size_t>(at_once * group_words + partial) * sizeof(float)).data());
    auto* const sums = reinterpret_cast<float*>(shared + at_once * group_words);
    x_workers.reserve(static_cast<std::size_t>(tiles_of(x_cut.block) * depth_tiles_of(x_cut.depth) * tile_words) *
                      sizeof(std::uint32_t));
    for (Index first = 0; first < groups; first += at_once) {
      x_pack_held(shared, group_words, first, at_once);
      x_workers.run(x_cut.tasks * at_once, x_c.size() * x_cut.depth * at_once / 512, [&](Index task, std::size_t slot) {
        const Index group = first + task / x_cut.tasks;
        x_task(reinterpret_cast<std::uint32_t*>(x_workers.scratch(slot).data()), shared + (group - first) * group_words,
               task % x_cut.tasks, group, x_cut.parts > 1 ? sums + group * x_c.size() : nullptr);
      });
    }
    if (x_cut.parts > 1) cpu::detail::add_parts(x_workers, x_c, static_cast<const float*>(sums), groups, x_onto, x_bias);
  }

 private:
  [[nodiscard]] Index x_held_extent() const { return x_cut.left_is_held ? x_c.rows() : x_c.cols(); }
  [[nodiscard]] Index x_depth_of(Index group) const { return std::min(x_cut.depth, x_depth - group * x_cut.depth); }

  [[nodiscard]] Operand x_left(Index row, Index group) const {
    const Index k = group * x_cut.depth;
    return {x_a.data + (A == Order::by_extent ? row * x_a.stride + k : k * x_a.stride + row), x_a.stride};
  }
  [[nodiscard]] Operand x_right(Index col, Index group) const {
    const Index k = group * x_cut.depth;
    return {x_b.data + (B == Order::by_extent ? col * x_b.stride + k : k * x_b.stride + col), x_b.stride};
  }

  void x_pack_held(std::uint32_t* to, Index group_words, Index first, Index count) const {
    const Index strips = (x_held_extent() + square_extent - 1) / square_extent;
    x_workers.run(strips * count, x_held_extent() * x_cut.depth * count / 8, [&](Index task, std::size_t) {
      const Index group = first + task / strips;
      const Index at = task % strips * square_extent;
      const Index extent = std::min(square_extent, x_held_extent() - at);
      const Index depth = x_depth_of(group);
      std::uint32_t* const tiles =
          to + (group - first) * group_words + at / tile_extent * depth_tiles_of(depth) * tile_words;
      if (x_cut.left_is_held) {
        pack<Side::left, A>(tiles, x_left(at, group), extent, depth);
      } else {
        pack<Side::right, B>(tiles, x_right(at, group), extent, depth);
      }
    });
  }

  void x_task(std::uint32_t* packed, const std::uint32_t* held, Index task, Index group, float* part) const {
    const Index at = task * x_cut.block;
    const Index depth = x_depth_of(group);
    const Index n = x_c.cols();
    float* const c = part != nullptr ? part : x_c.data();
    const Onto onto = part != nullptr ? Onto::assign : group > 0 ? Onto::sum : x_onto;
    const float* const bias = part != nullptr || group > 0 ? nullptr : x_bias;
    const EngineScope scope(x_engine);
    if (x_cut.left_is_held) {
      const Index cols = std::min(x_cut.block, n - at);
      pack<Side::right, B>(packed, x_right(at, group), cols, depth);
      multiply<Side::right>(x_engine, c + at, n, x_c.rows(), cols, held, packed, depth_tiles_of(depth), onto,
               bias == nullptr ? nullptr : bias + at);
    } else {
      const Index rows = std::min(x_cut.block, x_c.rows() - at);
      pack<Side::left, A>(packed, x_left(at, group), rows, depth);
      multiply<Side::left>(x_engine, c + at * n, n, rows, n, packed, held, depth_tiles_of(depth), onto, bias);
    }
  }

  Workers& x_workers;
  Engine x_engine;
  MatrixView<float> x_c;
  Operand x_a, x_b;
  Index x_depth;
  Onto x_onto;
  const float* x_bias;
  Cut x_cut;
};

}  // namespace detail

/// c (M,N) = or += a (M,K) b (K,N) [+ bias (N), null for none, only with `assign`], operands rounded to bf16, products
/// and sums in float. The same bits for any number of threads. Extent of a: its rows; of b: its columns.
template <Order A, Order B>
void product(Workers& workers, Engine engine, MatrixView<float> c, Operand a, Operand b, Index depth, Onto onto,
             const float* bias = nullptr) {
  if (cpu::detail::empty_product(c, depth, onto, bias)) return;
  detail::Product<A, B>(workers, engine, c, a, b, depth, onto, bias).run();
}

}  // namespace dssl::cpu::bf16
