// Gradients that are added over ranks while the backward pass still computes others.
// Tests: tests/train/ranks.cpp.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/parameters.hpp>

namespace dssl {

/// The flat buffer of gradients cut into buckets, from its end on: a bucket is of whole blocks, and ends where it has
/// `least` numbers; what lies behind the last block (the last norm, heads) is of the first bucket, what lies before the
/// first block is the last one. Of a layout without blocks in their order, or where some of the backbone lies behind them,
/// all is one bucket.
struct GradientBuckets {
  std::vector<Index> begins;        ///< of each bucket, falling to 0; each ends where the one before begins
  std::vector<Index> block_begins;  ///< of each block: when its gradients are there, all behind it is; empty: never before the end

  [[nodiscard]] DSSL_INLINE static GradientBuckets of(const ParameterLayout& layout, Index least);
  /// f(begin, count) of each bucket, of `total` numbers.
  template <class F>
  void each(Index total, const F& f) const {
    Index end = total;
    for (const Index begin : begins) {
      f(begin, end - begin);
      end = begin;
    }
  }
  /// Numbers of the largest bucket, of `total`.
  [[nodiscard]] Index largest(Index total) const {
    Index out = 0;
    each(total, [&](Index /*begin*/, Index count) { out = std::max(out, count); });
    return out;
  }
};

/// Adds the buckets of an update on a thread of its own, one after the other. All ranks have the same buckets, and in the
/// meantime exchange nothing else.
class BucketSums {
 public:
  /// sum(begin, count): adds so many numbers over ranks.
  BucketSums(std::vector<Index> begins, Index total, std::function<void(Index, Index)> sum)
      : x_begins(std::move(begins)), x_total(total), x_sum(std::move(sum)), x_thread([this] { x_run(); }) {}
  BucketSums(const BucketSums&) = delete;
  BucketSums& operator=(const BucketSums&) = delete;
  /// Leaves what has not begun.
  ~BucketSums() { x_end(true); }

  /// All from `begin` on is there.
  void ready(Index begin) {
    {
      const std::lock_guard lock(x_mutex);
      x_ready = begin;
    }
    x_changed.notify_one();
  }
  /// All is there: until all is added. Throws what `sum` threw.
  void finish() {
    ready(0);
    x_end(false);
    if (x_error) std::rethrow_exception(x_error);
  }

 private:
  DSSL_INLINE void x_run();
  void x_end(bool leaves) {
    {
      const std::lock_guard lock(x_mutex);
      x_leaves = leaves;
    }
    x_changed.notify_one();
    if (x_thread.joinable()) x_thread.join();
  }

  std::vector<Index> x_begins;
  Index x_total;
  std::function<void(Index, Index)> x_sum;
  std::mutex x_mutex;
  std::condition_variable x_changed;
  Index x_ready = x_total;
  bool x_leaves = false;
  std::exception_ptr x_error;
  std::thread x_thread;  // last: it sees all of the above
};

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE GradientBuckets GradientBuckets::of(const ParameterLayout& layout, Index least) {
  constexpr std::string_view backbone = "backbone.";
  GradientBuckets out;
  std::vector<Index>& blocks = out.block_begins;
  bool ordered = true;
  for (const ParameterSpec& spec : layout.specs()) {
    const std::string_view name = spec.name.view();
    if (!name.starts_with(backbone)) continue;
    const Index block = block_number(name.substr(backbone.size())), next = static_cast<Index>(blocks.size());
    if (block == next) blocks.push_back(spec.offset);
    const bool before = block < 0 && next == 0, behind = block < 0 && is_last_norm(name.substr(backbone.size()));
    ordered = ordered && (before || behind || block == next || block + 1 == next);
  }
  if (!ordered) blocks.clear();
  Index end = layout.total();
  for (std::size_t i = blocks.size(); i-- > 0;) {
    if (end - blocks[i] < least || blocks[i] == 0) continue;
    out.begins.push_back(blocks[i]);
    end = blocks[i];
  }
  out.begins.push_back(0);
  return out;
}

DSSL_INLINE void BucketSums::x_run() {
  Index end = x_total;
  for (const Index begin : x_begins) {
    {
      std::unique_lock lock(x_mutex);
      x_changed.wait(lock, [&] { return x_ready <= begin || x_leaves; });
      if (x_leaves) return;
    }
    try {
      x_sum(begin, end - begin);
    } catch (...) {
      x_error = std::current_exception();
      return;
    }
    end = begin;
  }
}
#endif

}  // namespace dssl
