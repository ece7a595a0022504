// The oneTBB threads that share a loop of the Cpu backend; with dssl::cpu, oneTBB's headers are compiled there alone.
#pragma once

#include <cstddef>
#include <memory>

#include <dssl/core/compiled.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/core/thread_count.hpp>

#if defined(DSSL_WITH_DEFINITIONS)
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#endif

namespace dssl::cpu {

/// A loop's body without its type: what it is, and what calls it for a task on one of the threads.
struct LoopBody {
  const void* it;
  void (*call)(const void* it, Index task, std::size_t slot);
  void operator()(Index task, std::size_t slot) const { call(it, task, slot); }
};

/// A limited set of oneTBB threads.
class LoopThreads {
 public:
  /// `threads` threads, as `threads_of` has it of those that oneTBB may use now.
  explicit LoopThreads(int threads);
  LoopThreads(const LoopThreads&) = delete;
  LoopThreads& operator=(const LoopThreads&) = delete;
  ~LoopThreads();

  [[nodiscard]] int count() const { return x_count; }

  /// Calls body(task, slot) for every task in [0, tasks), in any order, and waits for all; slots are less than `count()`,
  /// and no two calls with the same one overlap.
  void run(Index tasks, LoopBody body);

 private:
  struct x_Arena;
  std::unique_ptr<x_Arena> x_arena;
  int x_count;
};

#if defined(DSSL_WITH_DEFINITIONS)
struct LoopThreads::x_Arena {
  tbb::task_arena of;
  explicit x_Arena(int threads)
      : of(threads_of(threads, tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism))) {
    of.initialize();
  }
};

DSSL_INLINE LoopThreads::LoopThreads(int threads)
    : x_arena(std::make_unique<x_Arena>(threads)), x_count(x_arena->of.max_concurrency()) {}

DSSL_INLINE LoopThreads::~LoopThreads() = default;

DSSL_INLINE void LoopThreads::run(Index tasks, LoopBody body) {
  x_arena->of.execute([&] {
    tbb::parallel_for(Index{0}, tasks, [&](Index task) {
      body(task, static_cast<std::size_t>(tbb::this_task_arena::current_thread_index()));
    });
  });
}
#endif

}  // namespace dssl::cpu
