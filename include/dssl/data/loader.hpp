// Loads samples ahead of their use: in parallel, delivered in order, a bounded number at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader_threads.hpp>

namespace dssl {

/// How far and on how many threads a loader works ahead.
struct LoaderOptions {
  Index prefetch = 8;  ///< samples in production or waiting to be taken, at most; bounds the memory
  /// Workers; 0 takes all. oneTBB shares out one thread a processor, the consumer's being one of them, so
  /// that there are never more than processors - 1.
  int threads = 0;

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (prefetch < 1) throw OptionError("prefetch", prefetch, "at least 1");
    if (threads < 0) throw OptionError("threads", threads, "0 (all) or more");
  }
};

/// Calls `produce(i)` for i = 0 .. count - 1 on worker threads and hands the results out in that order.
///
/// At most `prefetch` results are in production or waiting. What `next` delivers depends only on what
/// `produce(i)` gives for each i, not on the number of threads or their timing. An exception of `produce(i)`
/// is thrown by the `next` whose turn it was. `next` is for one thread; `produce` is called by several at
/// once.
///
/// The consumer produces the next sample itself when no worker has begun it: so there is progress even where
/// no worker is free. The destructor and a stop request let the running calls of `produce` end and start no
/// more. Test: tests/data/loader.cpp.
template <class Item>
class OrderedLoader {
 public:
  /// Gives the sample of an index, or nothing to leave it out of the sequence.
  using Produce = std::function<std::optional<Item>(Index)>;

  /// Starts to load at once. Throws `OptionError`.
  OrderedLoader(Index count, Produce produce, LoaderOptions options = {}, std::stop_token token = {})
      : x_work(count, std::move(produce), checked(options).prefetch),
        x_threads(options.threads, [this] { x_work.work_once(); }),
        x_on_stop(std::move(token), Cancel{&x_work}) {
    x_threads.start(std::min(count, options.prefetch));  // a task a sample within reach; which one is settled when it runs
  }

  OrderedLoader(const OrderedLoader&) = delete;
  OrderedLoader& operator=(const OrderedLoader&) = delete;

  ~OrderedLoader() {
    x_work.cancel();
    // Runs what no worker has begun here, where it finds the work cancelled and returns.
    x_threads.wait();
  }

  /// The next sample, waited for; nothing after the last one or after a stop request.
  /// Throws what `produce` threw for this sample; the sequence goes on behind it.
  [[nodiscard]] std::optional<Item> next() {
    const auto start = std::chrono::steady_clock::now();
    const auto count_wait = [&] {
      x_wait_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    try {
      std::optional<Item> item;
      while (!item && x_work.take(item)) x_threads.start(1);
      count_wait();
      return item;
    } catch (...) {
      count_wait();
      x_threads.start(1);
      throw;
    }
  }

  /// Seconds that `next` has taken so far, all calls together: the time lost to data.
  [[nodiscard]] double wait_seconds() const { return x_wait_seconds; }

 private:
  /// What workers and consumer share.
  class Work {
   public:
    Work(Index count, Produce produce, Index prefetch)
        : x_count(count), x_produce(std::move(produce)), x_slots(static_cast<std::size_t>(prefetch)) {}

    /// Produces the first sample nobody has begun, if there is one within reach.
    void work_once() {
      std::unique_lock lock(x_mutex);
      if (!x_cancelled && x_begun < std::min(x_count, x_taken + reach())) run_next(lock);
    }

    /// Takes the next sample into `item` (left empty where `produce` gave nothing). False at the end or after
    /// a stop. Throws what `produce` threw.
    [[nodiscard]] bool take(std::optional<Item>& item) {
      std::unique_lock lock(x_mutex);
      if (x_cancelled || x_taken == x_count) return false;
      if (x_begun == x_taken) run_next(lock);
      Slot& slot = slot_of(x_taken);
      x_changed.wait(lock, [&] { return slot.ready || x_cancelled; });
      if (x_cancelled) return false;
      const std::exception_ptr error = std::exchange(slot.error, nullptr);
      item = std::exchange(slot.item, std::nullopt);
      slot.ready = false;
      ++x_taken;
      lock.unlock();
      if (error) std::rethrow_exception(error);
      return true;
    }

    void cancel() {
      const std::lock_guard lock(x_mutex);
      x_cancelled = true;
      x_changed.notify_all();
    }

   private:
    struct Slot {
      bool ready = false;
      std::optional<Item> item;
      std::exception_ptr error;
    };

    [[nodiscard]] Index reach() const { return static_cast<Index>(x_slots.size()); }
    [[nodiscard]] Slot& slot_of(Index i) { return x_slots[static_cast<std::size_t>(i % reach())]; }

    /// Runs `produce` for the next index with the lock released meanwhile.
    void run_next(std::unique_lock<std::mutex>& lock) {
      const Index i = x_begun++;
      lock.unlock();
      std::optional<Item> item;
      std::exception_ptr error;
      try {
        item = x_produce(i);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      slot_of(i) = Slot{true, std::move(item), std::move(error)};
      x_changed.notify_all();
    }

    const Index x_count;
    Produce x_produce;
    std::mutex x_mutex;
    std::condition_variable x_changed;
    std::vector<Slot> x_slots;  // sample i lies in slot i mod prefetch
    Index x_begun = 0;          // samples whose production has begun: the first ones
    Index x_taken = 0;          // samples the consumer has had: the first ones
    bool x_cancelled = false;
  };

  struct Cancel {
    Work* work;
    void operator()() const { work->cancel(); }
  };

  [[nodiscard]] static const LoaderOptions& checked(const LoaderOptions& options) {
    options.validate();
    return options;
  }

  Work x_work;
  LoaderThreads x_threads;
  std::stop_callback<Cancel> x_on_stop;
  double x_wait_seconds = 0;
};

}  // namespace dssl
