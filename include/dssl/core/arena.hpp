// One memory plan: buffers are measured first, then cut from one allocation.
// Tests: tests/core/arena.cpp.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Owned bytes of a backend's memory; the deleter knows how to give them back.
class Buffer {
 public:
  using Deleter = std::function<void(std::byte*)>;

  Buffer() = default;
  Buffer(std::byte* data, std::size_t bytes, Deleter deleter)
      : x_data(data, std::move(deleter)), x_bytes(bytes) {}

  [[nodiscard]] std::byte* data() const noexcept { return x_data.get(); }
  [[nodiscard]] std::size_t bytes() const noexcept { return x_bytes; }

 private:
  std::unique_ptr<std::byte, Deleter> x_data{nullptr, [](std::byte*) {}};
  std::size_t x_bytes = 0;
};

/// One line of a memory plan.
struct MemoryPlanEntry {
  std::string name;
  std::size_t bytes = 0;
};

/// What a model, its optimiser and its activations occupy, by part.
struct MemoryPlan {
  std::vector<MemoryPlanEntry> entries;

  [[nodiscard]] std::size_t total() const {
    std::size_t sum = 0;
    for (const auto& entry : entries) sum += entry.bytes;
    return sum;
  }
};

/// Cuts aligned buffers from one block of memory, or, without a block, only counts them.
///
/// The same code runs twice: once with a measuring arena to learn the plan, once with a live one. Memory is
/// never given back singly; a part that may be overwritten is rewound with `mark` and `rewind`, and the plan
/// counts the high-water mark.
class Arena {
 public:
  /// Alignment of every buffer in bytes: a cache line, and a 512-bit register.
  static constexpr std::size_t alignment = 64;

  /// A measuring arena: hands out null views and counts.
  Arena() = default;

  /// A live arena over `buffer`, which must outlive it.
  explicit Arena(const Buffer& buffer) : x_base(buffer.data()), x_capacity(buffer.bytes()), x_live(true) {}

  /// `count` elements of T, aligned; null from a measuring arena.
  /// Throws `Error` when a live arena is asked for more than was measured.
  template <class T>
  [[nodiscard]] T* take(Index count) {
    const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(T) + alignment - 1) / alignment * alignment;
    const std::size_t begin = x_used;
    x_used += bytes;
    if (x_used > x_high) {
      x_high_growth += x_used - x_high;
      x_high = x_used;
    }
    if (!x_live) return nullptr;
    if (x_used > x_capacity) {
      throw Error(join("memory plan exceeded: ", x_used, " bytes asked of ", x_capacity, " planned"));
    }
    return reinterpret_cast<T*>(x_base + begin);
  }

  template <class T>
  [[nodiscard]] MatrixView<T> matrix(Index rows, Index cols) {
    return MatrixView<T>(take<T>(rows * cols), rows, cols);
  }
  template <class T>
  [[nodiscard]] VectorView<T> vector(Index size) {
    return VectorView<T>(take<T>(size), size);
  }

  /// The place that `rewind` goes back to; what was taken since then may be overwritten.
  [[nodiscard]] std::size_t mark() const noexcept { return x_used; }
  void rewind(std::size_t mark) noexcept { x_used = mark; }

  /// Ends a named part of the plan: all growth of the high-water mark since the last call.
  void name_part(std::string name) {
    x_plan.entries.push_back({std::move(name), x_high_growth});
    x_high_growth = 0;
  }

  [[nodiscard]] const MemoryPlan& plan() const noexcept { return x_plan; }
  [[nodiscard]] std::size_t high_water() const noexcept { return x_high; }

 private:
  std::byte* x_base = nullptr;
  std::size_t x_capacity = 0;
  std::size_t x_used = 0;
  std::size_t x_high = 0;
  std::size_t x_high_growth = 0;
  bool x_live = false;
  MemoryPlan x_plan;
};

}  // namespace dssl
