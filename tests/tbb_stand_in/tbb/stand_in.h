// A stand-in for the parts of oneTBB that dssl uses, on plain threads, for the thread sanitizer alone.
//
// A distribution's oneTBB is not compiled with the sanitizer, so that each hand-over between its tasks looks
// like a race and true races drown. Here every hand-over is a thread's start, a join or a mutex, all of which
// it sees.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace tbb {

struct split {};

namespace stand_in {

/// The places of an arena: a thread takes one while it works there, and its number is the thread's index.
class Places {
 public:
  explicit Places(int count) : x_taken(static_cast<std::size_t>(count), false) {}

  [[nodiscard]] int count() const { return static_cast<int>(x_taken.size()); }

  /// A free place, waiting for one if there is none.
  int take() {
    std::unique_lock lock{x_mutex};
    for (;;) {
      if (const int place = x_find(); place >= 0) return place;
      x_freed.wait(lock);
    }
  }
  /// A free place, or -1.
  int try_take() {
    const std::scoped_lock lock{x_mutex};
    return x_find();
  }
  void release(int place) {
    const std::scoped_lock lock{x_mutex};
    x_taken[static_cast<std::size_t>(place)] = false;
    x_freed.notify_one();
  }

 private:
  int x_find() {
    const auto free = std::find(x_taken.begin(), x_taken.end(), false);
    if (free == x_taken.end()) return -1;
    *free = true;
    return static_cast<int>(free - x_taken.begin());
  }

  std::mutex x_mutex;
  std::condition_variable x_freed;
  std::vector<bool> x_taken;
};

using Arena = std::shared_ptr<Places>;

/// Where the calling thread works.
struct Here {
  Arena arena;
  int place = -1;
};
inline Here& here() {
  thread_local Here value;
  return value;
}

inline int default_concurrency() {
  return std::max(2, static_cast<int>(std::thread::hardware_concurrency()));
}

inline const Arena& default_arena() {
  static const Arena arena = std::make_shared<Places>(default_concurrency());
  return arena;
}

/// Threads that wait for the next piece of work: starting one costs up to 0.1 s under the sanitizer.
class Pool {
 public:
  ~Pool() {
    {
      const std::scoped_lock lock{x_mutex};
      x_ended = true;
      x_changed.notify_all();
    }
    for (std::thread& thread : x_threads) thread.join();
  }

  void start(std::function<void()> work) {
    const std::scoped_lock lock{x_mutex};
    x_waiting.push_back(std::move(work));
    if (x_waiting.size() > x_idle) {
      x_threads.emplace_back([this] { x_serve(); });
      ++x_idle;
    }
    x_changed.notify_one();
  }

 private:
  void x_serve() {
    std::unique_lock lock{x_mutex};
    for (;;) {
      x_changed.wait(lock, [&] { return x_ended || !x_waiting.empty(); });
      if (x_waiting.empty()) return;
      const std::function<void()> work = std::move(x_waiting.front());
      x_waiting.pop_front();
      --x_idle;
      lock.unlock();
      work();
      lock.lock();
      ++x_idle;
    }
  }

  std::mutex x_mutex;
  std::condition_variable x_changed;
  std::deque<std::function<void()>> x_waiting;
  std::vector<std::thread> x_threads;
  std::size_t x_idle = 0;
  bool x_ended = false;
};

inline Pool& pool() {
  static Pool threads;
  return threads;
}

/// Work on a thread of the pool, to be joined like a thread.
class Job {
 public:
  template <class Work>
  explicit Job(Work&& work) : x_state(std::make_shared<State>()) {
    pool().start(
        [state = x_state, task = std::make_shared<std::decay_t<Work>>(std::forward<Work>(work))]() mutable {
          (*task)();
          task.reset();
          const std::scoped_lock lock{state->mutex};
          state->done = true;
          state->changed.notify_all();
        });
  }

  void join() {
    std::unique_lock lock{x_state->mutex};
    x_state->changed.wait(lock, [&] { return x_state->done; });
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  std::shared_ptr<State> x_state;
};

/// Puts the calling thread into an arena for its lifetime; a thread that is there already stays where it is.
class Visit {
 public:
  explicit Visit(Arena arena) : Visit(arena, here().arena == arena ? -1 : arena->take()) {}
  Visit(Arena arena, int place) : x_before(here()), x_place(place) {
    if (place >= 0) here() = Here{std::move(arena), place};
  }
  ~Visit() {
    if (x_place < 0) return;
    here().arena->release(here().place);
    here() = x_before;
  }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  Here x_before;
  int x_place;
};

inline Arena current_arena() { return here().arena ? here().arena : default_arena(); }

/// Calls work() on the calling thread and on up to `others` more, as far as there are free places; then
/// rethrows the first exception of any of them.
template <class Work>
void on_several_threads(std::size_t others, const Work& work) {
  const Arena arena = current_arena();
  const Visit visit{arena};
  std::mutex mutex;
  std::exception_ptr first;
  const auto guarded = [&] {
    try {
      work();
    } catch (...) {
      const std::scoped_lock lock{mutex};
      if (!first) first = std::current_exception();
    }
  };
  std::vector<Job> jobs;
  for (std::size_t i = 0; i < others; ++i) {
    const int place = arena->try_take();
    if (place < 0) break;
    jobs.emplace_back([&guarded, arena, place] {
      const Visit here_too{arena, place};
      guarded();
    });
  }
  guarded();
  for (Job& job : jobs) job.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace stand_in

}  // namespace tbb
