// Matrix products of all threads: operands packed and cut into blocks whose sizes depend on shapes alone.
#pragma once

#include <algorithm>
#include <cstddef>

#include <dssl/backend/cpu/packed_operand.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/tile.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// How the right operand lies in memory: element (k, j) at data[k * stride + j], or at data[j * stride + k].
enum class RightOrder { rows, columns };

namespace detail {

/// c (M,N) = or += a (M,K) b (K,N): how it is cut.
///
/// The right operand is packed into panels of two registers, so that the inner loop reads it in order. Where there
/// are many rows, all threads pack it once and then share out blocks of rows ("by rows"); where there are few, or
/// where it is too large, each task packs its own block of columns ("by columns"), and if even then there are few
/// tasks, the depth is shared out as well and the partial results are added in order ("in parts").
struct Cut {
  static constexpr Index deepest = 512;      ///< a panel of this depth and a row of tiles stay in L1 and L2
  static constexpr Index largest_block = Index{4} << 20;  ///< packed bytes of one depth, up to which rows are shared out
  static constexpr Index part_depth = 2048;

  Index depth = 0;       ///< of one block
  Index rows = 0;        ///< of one block
  Index cols = 0;        ///< of one block
  Index group = 0;       ///< depth that is packed before the threads share out rows
  bool by_rows = false;
  Index parts = 1;

  Cut(Index m, Index n, Index k, Index panel, std::size_t element, bool left_by_columns) {
    // Packed right operand that all tasks read between two visits to c. Where the left operand is copied, both stay in
    // every core's L2 (dW of 9648 rows, 192 to 768, one core of a Xeon: 130 GFLOP/s with 4 MiB, 169 with 1 MiB);
    // else visits cost more than what L3 is slower (2412 rows, 1536 to 384, one core of a Zen 5: 218 with 1 MiB, 234
    // with 4).
    const Index shared_bytes = Index{left_by_columns ? 1 : 4} << 20;
    const Index blocks = std::max(Index{1}, (k + deepest - 1) / deepest);
    depth = std::max(Index{16}, ((k + blocks - 1) / blocks + 15) / 16 * 16);
    const Index bytes_per_depth = (n + panel - 1) / panel * panel * static_cast<Index>(element);
    by_rows = m >= 192 && depth * bytes_per_depth <= largest_block;
    if (by_rows) {
      rows = m >= 384 ? 48 : 24;  // whole cache lines where the left operand lies by columns
      cols = n;
      group = std::max(Index{1}, shared_bytes / (depth * bytes_per_depth)) * depth;
      return;
    }
    rows = 96;
    cols = std::clamp((n / 16 + panel - 1) / panel * panel, panel, 4 * std::max(panel, Index{32}));
    if ((n + cols - 1) / cols < 16 && k >= 2 * part_depth) parts = (k + part_depth - 1) / part_depth;
  }
};

/// c = 0 or the bias (null for none) where `onto` assigns: what is there before any product is added.
template <class T>
void begin_row(T* c, Index n, Onto onto, const T* bias) {
  if (onto == Onto::sum) return;
  if (bias == nullptr) {
    std::fill_n(c, n, T{0});
  } else {
    std::copy_n(bias, n, c);
  }
}

/// c (M,N) = or += parts (P,M,N) added in order [+ bias (N), null for none, only with `assign`].
template <class T>
void add_parts(Workers& workers, MatrixView<T> c, const T* partial, Index parts, Onto onto, const T* bias) {
  const Index n = c.cols();
  const auto add = [](const auto& x, const auto& y) { return x + y; };
  workers.run_pieces(c.rows(), std::max(Index{1}, 4096 / n), c.size() * parts / 4, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      T* out = c.row(i);
      begin_row(out, n, onto, bias);
      for (Index p = 0; p < parts; ++p) map(out, n, add, static_cast<const T*>(out), partial + p * c.size() + i * n);
    }
  });
}

/// Does a product without rows, columns or depth, of which only the bias is left; false: there is more to do.
template <class T>
[[nodiscard]] bool empty_product(MatrixView<T> c, Index depth, Onto onto, const T* bias) {
  if (c.size() > 0 && depth > 0) return false;
  for (Index i = 0; i < c.rows(); ++i) begin_row(c.row(i), c.cols(), onto, bias);
  return true;
}

/// Packs rows [k, k + depth) and columns [j, j + cols) of b into panels, one after the other.
template <RightOrder Order, class T>
void pack_right(T* out, const T* b, Index stride, Index k, Index depth, Index j, Index cols) {
  constexpr Index panel = panel_width<T>;
  for (Index p = 0; p < cols; p += panel, out += panel * depth) {
    const Index width = std::min(panel, cols - p);
    if constexpr (Order == RightOrder::rows) {
      copy_block(out, panel, b + k * stride + j + p, stride, depth, width);
    } else {
      transpose(out, panel, b + (j + p) * stride + k, stride, width, depth);
    }
  }
}

/// Packs rows of b into panels `step` apart, `depth` (none where it is not above 0) of `cols` numbers.
template <class T>
void pack_rows(T* out, Index step, const T* b, Index stride, Index depth, Index cols) {
  constexpr Index panel = panel_width<T>;
  for (Index k = 0; k < depth; ++k, b += stride) {
    T* to = out + k * panel;
    Index j = 0;
    for (; j + panel <= cols; j += panel, to += step) std::copy_n(b + j, panel, to);
    if (j == cols) continue;
    std::copy_n(b + j, cols - j, to);
    std::fill(to + (cols - j), to + padded<T>(cols - j), T{0});
  }
}

/// Copies a block that lies by columns into slivers: of every cache line the inner loop then reads all. (dW of 2412
/// rows, 384 to 1536, one core of a Zen 3: 74 GFLOP/s with columns as they lie, 84 so; prefetching another 2.)
template <class T>
Left<T> copy_slivers(T* copy, const T* block, Index stride, Index rows, Index depth) {
  constexpr Index ahead = 16;
  constexpr Index line = 64 / static_cast<Index>(sizeof(T));
  constexpr Index stored = padded<T>(tile_rows);  // whole registers, over what comes next
  const Index step = depth * tile_rows + lane_count<T>;
  for (Index k = 0; k < depth; ++k, block += stride) {
    T* to = copy + k * tile_rows;
    if (k + ahead < depth) {
      for (Index i = 0; i < rows; i += line) __builtin_prefetch(block + ahead * stride + i);
    }
    Index i = 0;
    for (; i + stored <= rows; i += tile_rows, to += step) {
      for (Index j = 0; j < stored; j += lane_count<T>) store(to + j, load(block + i + j));
    }
    for (; i < rows; i += tile_rows, to += step) std::copy_n(block + i, std::min(rows - i, Index{tile_rows}), to);
  }
  return {copy, tile_rows, step};
}

/// A block of the left operand as the inner loop wants it. By columns it is copied, which makes it contiguous; by
/// rows it is copied only where its rows lie a multiple of 2 KiB apart and would push each other out of the L1 cache.
template <bool ByColumns, class T>
Left<T> prepare_left(T* copy, Left<T> a, Index i, Index rows, Index k, Index depth) {
  if constexpr (ByColumns) {
    const T* block = a.data + k * a.stride + i;
    if constexpr (few_registers) return copy_slivers(copy, block, a.stride, rows, depth);
    const Index stride = padded<T>(rows);
    copy_block(copy, stride, block, a.stride, depth, rows);
    return {copy, stride};
  } else {
    const T* block = a.data + i * a.stride + k;
    if (rows == 1 || a.stride * static_cast<Index>(sizeof(T)) % 2048 != 0) return {block, a.stride};
    const Index stride = padded<T>(depth) + lane_count<T>;
    copy_block(copy, stride, block, a.stride, rows, depth);
    return {copy, stride};
  }
}

template <class T>
[[nodiscard]] std::size_t left_bytes(const Cut& cut) {
  return static_cast<std::size_t>(std::max(cut.rows * (padded<T>(cut.depth) + lane_count<T>),
                                           padded<T>(cut.rows) * (cut.depth + lane_count<T>))) * sizeof(T);
}

template <bool ByColumns, RightOrder Order, class T>
void product_by_rows(Workers& workers, const Cut& cut, MatrixView<T> c, Left<T> a, const T* b, Index b_stride,
                     Index depth, Onto onto, const T* bias, const PackedPanels<T>* lasting) {
  constexpr Index panel = panel_width<T>;
  const Index n = c.cols();
  const Index panels = (n + panel - 1) / panel;
  const Index group_blocks = std::min(cut.group, (depth + cut.depth - 1) / cut.depth * cut.depth) / cut.depth;
  T* packed = nullptr;
  if (lasting == nullptr) {
    packed = reinterpret_cast<T*>(
        workers.shared(static_cast<std::size_t>(group_blocks * cut.depth * panels * panel) * sizeof(T)).data());
  }
  workers.reserve(left_bytes<T>(cut));
  for (Index group = 0; group < depth; group += cut.group) {
    const Index group_end = std::min(depth, group + cut.group);
    const Index blocks = (group_end - group + cut.depth - 1) / cut.depth;
    const auto depth_of = [&](Index k) { return std::min(cut.depth, group_end - k); };
    if (lasting != nullptr) {
      // Nothing to pack.
    } else if constexpr (few_registers && Order == RightOrder::rows) {
      // A panel is as wide as a cache line: read in order, all of them at once.
      constexpr Index chunk = 64;
      const Index chunks = (cut.depth + chunk - 1) / chunk;
      workers.run(blocks * chunks, (group_end - group) * n / 4, [&](Index task, std::size_t) {
        const Index k = group + task / chunks * cut.depth;
        const Index at = task % chunks * chunk;
        pack_rows(packed + task / chunks * cut.depth * panels * panel + at * panel, panel * depth_of(k),
                  b + (k + at) * b_stride, b_stride, std::min(chunk, depth_of(k) - at), n);
      });
    } else {
      workers.run(blocks * panels, (group_end - group) * n / 4, [&](Index task, std::size_t) {
        const Index k = group + task / panels * cut.depth;
        const Index j = task % panels * panel;
        pack_right<Order>(packed + task / panels * cut.depth * panels * panel + j * depth_of(k), b, b_stride, k,
                          depth_of(k), j, std::min(panel, n - j));
      });
    }
    const Index tasks = (c.rows() + cut.rows - 1) / cut.rows;
    workers.run(tasks, c.rows() * n * (group_end - group) / 64, [&](Index task, std::size_t slot) {
      T* copy = reinterpret_cast<T*>(workers.scratch(slot).data());
      const Index i = task * cut.rows;
      const Index rows = std::min(cut.rows, c.rows() - i);
      for (Index block = 0; block < blocks; ++block) {
        const Index k = group + block * cut.depth;
        const Left<T> left = prepare_left<ByColumns>(copy, a, i, rows, k, depth_of(k));
        const Onto now = k == 0 ? onto : Onto::sum;
        if (lasting != nullptr) {
          lasting->template multiply<ByColumns>(c.row(i), n, rows, 0, n, left, k, depth_of(k), now, bias);
          continue;
        }
        multiply<ByColumns, T>(c.row(i), n, rows, n, left,
                               {packed + block * cut.depth * panels * panel, panel, panel * depth_of(k)}, depth_of(k),
                               now, bias);
      }
    });
  }
}

template <bool ByColumns, RightOrder Order, class T>
void product_by_columns(Workers& workers, const Cut& cut, MatrixView<T> c, Left<T> a, const T* b, Index b_stride,
                        Index depth, Onto onto, const T* bias, const PackedPanels<T>* lasting) {
  const Index n = c.cols();
  const Index across = (n + cut.cols - 1) / cut.cols;
  const std::size_t for_left = (left_bytes<T>(cut) + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
  workers.reserve(for_left + static_cast<std::size_t>(cut.cols * cut.depth) * sizeof(T));
  T* partial = nullptr;
  if (cut.parts > 1) {
    partial = reinterpret_cast<T*>(workers.shared(static_cast<std::size_t>(cut.parts * c.size()) * sizeof(T)).data());
  }
  const Index part = cut.parts > 1 ? Cut::part_depth : depth;
  workers.run(across * cut.parts, c.rows() * n * depth / 64, [&](Index task, std::size_t slot) {
    T* copy = reinterpret_cast<T*>(workers.scratch(slot).data());
    T* packed = reinterpret_cast<T*>(workers.scratch(slot).data() + for_left);
    const Index j = task % across * cut.cols;
    const Index cols = std::min(cut.cols, n - j);
    const Index begin = task / across * part;
    const Index end = std::min(depth, begin + part);
    T* out = partial == nullptr ? c.data() : partial + task / across * c.size();
    for (Index k = begin; k < end; k += cut.depth) {
      const Index deep = std::min(cut.depth, end - k);
      if (lasting == nullptr) pack_right<Order>(packed, b, b_stride, k, deep, j, cols);
      const Onto now = k > begin ? Onto::sum : partial == nullptr ? onto : Onto::assign;
      for (Index i = 0; i < c.rows(); i += cut.rows) {
        const Index rows = std::min(cut.rows, c.rows() - i);
        const Left<T> left = prepare_left<ByColumns>(copy, a, i, rows, k, deep);
        const T* shift = bias == nullptr || partial != nullptr ? nullptr : bias + j;
        if (lasting != nullptr) {
          lasting->template multiply<ByColumns>(out + i * n + j, n, rows, j, cols, left, k, deep, now, shift);
          continue;
        }
        multiply<ByColumns, T>(out + i * n + j, n, rows, cols, left,
                               {packed, panel_width<T>, panel_width<T> * deep}, deep, now, shift);
      }
    }
  });
  if (partial != nullptr) add_parts(workers, c, partial, cut.parts, onto, bias);
}

}  // namespace detail

/// c (M,N) = or += a (M,K) b (K,N) [+ bias (N), null for none, only with `assign`]. `lasting`: b, where it is packed
/// already; the same bits.
template <bool ByColumns, RightOrder Order, class T>
void product(Workers& workers, MatrixView<T> c, Left<T> a, const T* b, Index b_stride, Index depth, Onto onto,
             const T* bias = nullptr, const PackedPanels<T>* lasting = nullptr) {
  if (detail::empty_product(c, depth, onto, bias)) return;
  const detail::Cut cut(c.rows(), c.cols(), depth, panel_width<T>, sizeof(T), ByColumns);
  if (cut.by_rows) {
    detail::product_by_rows<ByColumns, Order>(workers, cut, c, a, b, b_stride, depth, onto, bias, lasting);
  } else {
    detail::product_by_columns<ByColumns, Order>(workers, cut, c, a, b, b_stride, depth, onto, bias, lasting);
  }
}

}  // namespace dssl::cpu::inline DSSL_ISA
