// Threads of the Cpu backend and the memory they work in.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory_resource>
#include <span>
#include <vector>

#include <dssl/backend/cpu/loop_threads.hpp>
#include <dssl/backend/cpu/memory.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu {

/// Is told of every loop that threads could share, how long each of its tasks took on one of them.
///
/// With it, a run on one thread says what a run on many would wait for: `benchmarks/scaling.hpp`.
class LoopObserver {
 public:
  LoopObserver() = default;
  LoopObserver(const LoopObserver&) = delete;
  LoopObserver& operator=(const LoopObserver&) = delete;
  virtual ~LoopObserver() = default;

  /// `shared`: whether several threads would have taken part. `seconds`: of each task, in their order.
  virtual void loop(bool shared, std::span<const double> seconds) = 0;
};

/// A limited set of oneTBB threads, a piece of scratch memory for each, and one that a whole call shares.
///
/// Scratch only grows, and always for every thread at once: after the first call with the largest shapes
/// nothing is allocated, whichever threads took part in it. One call at a time.
class Workers {
 public:
  /// Work (in units of about a nanosecond) below which a call stays on the calling thread: waking another one
  /// and waiting for it costs 5 to 20 microseconds.
  static constexpr Index alone_below = 30'000;

  /// `threads`: as of `LoopThreads`.
  /// `memory`: where buffers and scratch come from; null: from the system.
  /// `observer`: is told of every loop, and loops then run on one thread; null: none.
  explicit Workers(int threads, std::pmr::memory_resource* memory = nullptr, LoopObserver* observer = nullptr)
      : x_memory(memory), x_observer(observer), x_threads(threads), x_slots(static_cast<std::size_t>(x_threads.count())) {}

  [[nodiscard]] int threads() const { return x_threads.count(); }

  /// These workers for the time of one call.
  class Call {
   public:
    explicit Call(Workers& workers) : x_workers(workers) {
      if (x_workers.x_in_call.test_and_set(std::memory_order_acquire)) {
        throw Error("this Cpu backend is in a call on another thread: copies of a backend share threads and memory; "
                    "make one for each thread that works at the same time");
      }
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() { x_workers.x_in_call.clear(std::memory_order_release); }
    [[nodiscard]] Workers& operator*() const { return x_workers; }

   private:
    Workers& x_workers;
  };
  /// Throws `Error` while another call is under way: scratch would be written by both. Ten nanoseconds.
  /// Test: tests/backend/cpu_shared.cpp.
  [[nodiscard]] Call enter() { return Call(*this); }

  /// Calls body(task, slot) for every task in [0, tasks), in any order, and waits for all; no two calls with
  /// the same slot overlap. `work` is about how many nanoseconds one thread would take for all tasks.
  ///
  /// A body is compiled once, behind a pointer, and oneTBB's loop once for all bodies: a call of a task costs nothing
  /// beside a task, and each loop of its own would cost every program half a second of compilation.
  template <class Body>
  void run(Index tasks, Index work, const Body& body) {
    x_run(tasks, work, {&body, [](const void* it, Index task, std::size_t slot) {
                          (*static_cast<const Body*>(it))(task, slot);
                        }});
  }

  /// As `run`, over the elements [0, count) in pieces of `piece`: body(begin, end).
  template <class Body>
  void run_pieces(Index count, Index piece, Index work, const Body& body) {
    run((count + piece - 1) / piece, work, [&](Index task, std::size_t) {
      const Index begin = task * piece;
      body(begin, begin + piece < count ? begin + piece : count);
    });
  }

  /// Memory from where these workers have theirs.
  [[nodiscard]] Buffer allocate(std::size_t bytes) const { return cpu::allocate(bytes, x_memory); }

  /// Makes each slot's scratch at least `bytes` long. Not from within a task.
  void reserve(std::size_t bytes) {
    for (Buffer& slot : x_slots) x_grow(slot, bytes);
  }
  /// Scratch of one slot; its contents do not outlive a task.
  [[nodiscard]] const Buffer& scratch(std::size_t slot) const { return x_slots[slot]; }

  /// Scratch that all tasks of a call share, at least `bytes` long. Not from within a task.
  [[nodiscard]] const Buffer& shared(std::size_t bytes) {
    x_grow(x_shared, bytes);
    return x_shared;
  }

  /// Bytes of all scratch.
  [[nodiscard]] std::size_t scratch_bytes() const {
    std::size_t sum = x_shared.bytes();
    for (const Buffer& slot : x_slots) sum += slot.bytes();
    return sum;
  }

 private:
  void x_run(Index tasks, Index work, LoopBody body) {
    if (x_observer != nullptr) return x_observed(tasks, work, body);
    if (tasks <= 1 || threads() == 1 || work < alone_below) {
      for (Index task = 0; task < tasks; ++task) body(task, std::size_t{0});
      return;
    }
    x_threads.run(tasks, body);
  }

  void x_observed(Index tasks, Index work, LoopBody body) {
    using Clock = std::chrono::steady_clock;
    x_seconds.resize(static_cast<std::size_t>(tasks));
    for (Index task = 0; task < tasks; ++task) {
      const auto begin = Clock::now();
      body(task, std::size_t{0});
      x_seconds[static_cast<std::size_t>(task)] = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    x_observer->loop(tasks > 1 && work >= alone_below, x_seconds);
  }

  void x_grow(Buffer& buffer, std::size_t bytes) const {
    if (buffer.bytes() >= bytes) return;
    buffer = Buffer();
    buffer = allocate(bytes);
  }

  std::atomic_flag x_in_call;
  std::pmr::memory_resource* x_memory;
  LoopObserver* x_observer;
  std::vector<double> x_seconds;  // of an observed loop's tasks
  LoopThreads x_threads;
  std::vector<Buffer> x_slots;
  Buffer x_shared;
};

}  // namespace dssl::cpu
