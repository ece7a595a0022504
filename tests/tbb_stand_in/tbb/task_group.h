// Stand-in: groups of tasks.
#pragma once

#include <tbb/stand_in.h>

namespace tbb {

enum task_group_status { not_complete, complete, canceled };

class task_group {
 public:
  task_group() = default;
  task_group(const task_group&) = delete;
  task_group& operator=(const task_group&) = delete;
  ~task_group() { x_join(); }

  template <class Work>
  void run(Work&& work) {
    const std::scoped_lock lock{x_mutex};
    x_jobs.emplace_back(
        [this, arena = stand_in::current_arena(), task = std::decay_t<Work>(std::forward<Work>(work))] {
          const stand_in::Visit visit{arena};
          if (x_cancelled.load()) return;
          try {
            task();
          } catch (...) {
            const std::scoped_lock first_only{x_mutex};
            if (!x_first) x_first = std::current_exception();
            x_cancelled.store(true);
          }
        });
  }

  task_group_status wait() {
    // The waiting thread gives up its place, as it would work on the tasks itself in oneTBB.
    const stand_in::Here before = stand_in::here();
    if (before.arena) before.arena->release(before.place);
    x_join();
    if (before.arena) stand_in::here().place = before.arena->take();
    const bool cancelled = x_cancelled.exchange(false);
    if (const std::exception_ptr first = std::exchange(x_first, nullptr)) std::rethrow_exception(first);
    return cancelled ? canceled : complete;
  }

  template <class Work>
  task_group_status run_and_wait(Work&& work) {
    run(std::forward<Work>(work));
    return wait();
  }

  void cancel() { x_cancelled.store(true); }

 private:
  void x_join() {
    for (;;) {
      std::vector<stand_in::Job> jobs;
      {
        const std::scoped_lock lock{x_mutex};
        jobs.swap(x_jobs);
      }
      if (jobs.empty()) return;
      for (stand_in::Job& job : jobs) job.join();
    }
  }

  std::mutex x_mutex;
  std::vector<stand_in::Job> x_jobs;
  std::exception_ptr x_first;
  std::atomic<bool> x_cancelled{false};
};

}  // namespace tbb
