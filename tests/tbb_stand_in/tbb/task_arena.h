// Stand-in: arenas limit how many threads work at once, and number them.
#pragma once

#include <tbb/stand_in.h>

namespace tbb {

class task_arena {
 public:
  static constexpr int automatic = -1;
  enum class priority { low, normal, high };

  explicit task_arena(int max_concurrency = automatic, unsigned = 1, priority = priority::normal)
      : x_places(std::make_shared<stand_in::Places>(
            max_concurrency == automatic ? stand_in::default_concurrency() : max_concurrency)) {}
  task_arena(const task_arena& other) : task_arena(other.max_concurrency()) {}
  task_arena& operator=(const task_arena&) = delete;
  ~task_arena() { x_join(); }

  void initialize() {}
  void terminate() { x_join(); }
  [[nodiscard]] bool is_active() const { return true; }
  [[nodiscard]] int max_concurrency() const { return x_places->count(); }

  template <class Work>
  auto execute(Work&& work) -> decltype(work()) {
    const stand_in::Visit visit{x_places};
    return work();
  }

  /// Starts work that nobody waits for, but this arena's end.
  template <class Work>
  void enqueue(Work&& work) {
    const std::scoped_lock lock{x_mutex};
    x_jobs.emplace_back([places = x_places, task = std::decay_t<Work>(std::forward<Work>(work))] {
      const stand_in::Visit visit{places};
      task();
    });
  }

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

  stand_in::Arena x_places;
  std::mutex x_mutex;
  std::vector<stand_in::Job> x_jobs;
};

namespace this_task_arena {

inline int current_thread_index() { return stand_in::here().arena ? stand_in::here().place : 0; }
inline int max_concurrency() { return stand_in::current_arena()->count(); }
template <class Work>
auto isolate(Work&& work) -> decltype(work()) {
  return work();
}

}  // namespace this_task_arena

}  // namespace tbb
