// The oneTBB threads of a loader; with dssl::cpu, oneTBB's headers are compiled there alone.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include <dssl/core/compiled.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/core/thread_count.hpp>

#if defined(DSSL_WITH_DEFINITIONS)
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#endif

namespace dssl {

/// Threads that do one kind of work in the background, beside the thread that owns them.
class LoaderThreads {
 public:
  /// `threads` workers, 0: all; oneTBB shares out one thread a processor, the owner's being one of them.
  LoaderThreads(int threads, std::function<void()> work);
  LoaderThreads(const LoaderThreads&) = delete;
  LoaderThreads& operator=(const LoaderThreads&) = delete;
  ~LoaderThreads();

  /// Has `work` called `count` times more, by whichever workers are free.
  void start(Index count);
  /// Until all calls are done; the calling thread does those that no worker has begun.
  void wait();

 private:
  struct x_Tasks;
  std::function<void()> x_work;
  std::unique_ptr<x_Tasks> x_tasks;
};

#if defined(DSSL_WITH_DEFINITIONS)
struct LoaderThreads::x_Tasks {
  tbb::task_arena arena;
  tbb::task_group group;

  // One slot is the owner's. Loading is short and bounded: it must not starve behind the computation that waits for it.
  explicit x_Tasks(int threads)
      : arena(1 + threads_of(threads, tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism) - 1), 1,
              tbb::task_arena::priority::high) {}
};

DSSL_INLINE LoaderThreads::LoaderThreads(int threads, std::function<void()> work)
    : x_work(std::move(work)), x_tasks(std::make_unique<x_Tasks>(threads)) {}

DSSL_INLINE LoaderThreads::~LoaderThreads() = default;

DSSL_INLINE void LoaderThreads::start(Index count) {
  x_tasks->arena.execute([&] {
    for (Index i = 0; i < count; ++i) x_tasks->group.run([this] { x_work(); });
  });
}

DSSL_INLINE void LoaderThreads::wait() {
  x_tasks->arena.execute([this] { x_tasks->group.wait(); });
}
#endif

}  // namespace dssl
