// The ordered loader: order, bounds, waiting, exceptions, cancelling, any number of threads.
#include "catch.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <tbb/global_control.h>

#include <dssl/core/thread_count.hpp>
#include <dssl/data/loader.hpp>

#include "thrown.hpp"

namespace {

using dssl::Index;
using dssl::LoaderOptions;
using dssl::OrderedLoader;
using dssl::test::contains;
using dssl::test::thrown_by;
using namespace std::chrono_literals;

std::vector<Index> drain(OrderedLoader<Index>& loader) {
  std::vector<Index> items;
  while (const std::optional<Index> item = loader.next()) items.push_back(*item);
  return items;
}

/// Work whose length differs from index to index, so that samples are ready out of order.
void uneven_work(Index i) { std::this_thread::sleep_for(std::chrono::microseconds((i * 37) % 400)); }

}  // namespace

TEST_CASE("samples arrive in order for any number of threads and any prefetch") {
  for (const int threads : {0, 1, 2, 5}) {
    for (const Index prefetch : {Index{1}, Index{2}, Index{7}, Index{200}}) {
      CAPTURE(threads, prefetch);
      OrderedLoader<Index> loader(60,
                                  [](Index i) {
                                    uneven_work(i);
                                    return std::optional<Index>(i * i);
                                  },
                                  {.prefetch = prefetch, .threads = threads});
      const std::vector<Index> items = drain(loader);
      REQUIRE(items.size() == 60);
      for (Index i = 0; i < 60; ++i) REQUIRE(items[static_cast<std::size_t>(i)] == i * i);
      REQUIRE_FALSE(loader.next().has_value());
    }
  }
}

TEST_CASE("no more samples than the prefetch are under way") {
  std::atomic<Index> begun = 0;
  std::atomic<Index> taken = 0;
  std::atomic<Index> most = 0;
  OrderedLoader<Index> loader(80,
                              [&](Index i) {
                                const Index ahead = ++begun - taken;
                                Index seen = most;
                                while (seen < ahead && !most.compare_exchange_weak(seen, ahead)) {
                                }
                                return std::optional<Index>(i);
                              },
                              {.prefetch = 6, .threads = 3});
  std::this_thread::sleep_for(20ms);
  // Nothing was taken: the workers must have stopped at the bound.
  REQUIRE(begun <= 6);
  for (;;) {
    const auto item = loader.next();
    if (!item) break;
    REQUIRE(*item == taken);
    ++taken;
  }
  REQUIRE(begun == 80);
  // One more than the bound: the loader counts a sample as taken a moment before this test does.
  REQUIRE(most <= 7);
}

TEST_CASE("every sample is produced exactly once") {
  std::vector<std::atomic<int>> calls(200);
  OrderedLoader<Index> loader(200,
                              [&](Index i) {
                                ++calls[static_cast<std::size_t>(i)];
                                return std::optional<Index>(i);
                              },
                              {.prefetch = 9, .threads = 4});
  REQUIRE(drain(loader).size() == 200);
  for (const auto& c : calls) REQUIRE(c == 1);
}

TEST_CASE("samples that give nothing are left out") {
  OrderedLoader<Index> loader(10,
                              [](Index i) { return i % 3 == 0 ? std::nullopt : std::optional<Index>(i); });
  REQUIRE(drain(loader) == std::vector<Index>{1, 2, 4, 5, 7, 8});
}

TEST_CASE("an empty sequence ends at once") {
  OrderedLoader<Index> loader(0, [](Index i) { return std::optional<Index>(i); });
  REQUIRE_FALSE(loader.next().has_value());
}

TEST_CASE("an exception reaches the consumer at its place in the order, and the sequence goes on") {
  OrderedLoader<Index> loader(8,
                              [](Index i) -> std::optional<Index> {
                                uneven_work(i);
                                if (i == 3) throw std::runtime_error("sample three");
                                return i;
                              },
                              {.prefetch = 4, .threads = 2});
  for (Index i = 0; i < 3; ++i) REQUIRE(loader.next() == i);
  REQUIRE(thrown_by<std::runtime_error>([&] { (void)loader.next(); }) == "sample three");
  REQUIRE(drain(loader) == std::vector<Index>{4, 5, 6, 7});
}

TEST_CASE("the time spent waiting is counted") {
  OrderedLoader<Index> slow(3,
                            [](Index i) {
                              std::this_thread::sleep_for(20ms);
                              return std::optional<Index>(i);
                            },
                            {.prefetch = 1, .threads = 1});
  REQUIRE(drain(slow).size() == 3);
  REQUIRE(slow.wait_seconds() > 0.03);

  OrderedLoader<Index> ready(3, [](Index i) { return std::optional<Index>(i); },
                             {.prefetch = 3, .threads = 1});
  std::this_thread::sleep_for(20ms);
  REQUIRE(drain(ready).size() == 3);
  REQUIRE(ready.wait_seconds() < 0.02);
}

TEST_CASE("destruction in the middle waits for running samples and starts no more") {
  std::atomic<Index> begun = 0;
  std::atomic<Index> ended = 0;
  {
    OrderedLoader<Index> loader(1000,
                                [&](Index i) {
                                  ++begun;
                                  std::this_thread::sleep_for(2ms);
                                  ++ended;
                                  return std::optional<Index>(i);
                                },
                                {.prefetch = 16, .threads = 3});
    REQUIRE(loader.next() == Index{0});
  }
  const Index after = begun;
  REQUIRE(ended == after);
  REQUIRE(after <= 17);
  std::this_thread::sleep_for(10ms);
  REQUIRE(begun == after);
}

TEST_CASE("what produce refers to is let go with the loader") {
  auto shared = std::make_shared<int>(5);
  const std::weak_ptr<int> watched = shared;
  {
    OrderedLoader<Index> loader(100, [shared](Index i) { return std::optional<Index>(i + *shared); });
    shared.reset();
    REQUIRE(loader.next() == Index{5});
  }
  REQUIRE(watched.expired());
}

TEST_CASE("a stop request wakes a waiting consumer") {
  std::stop_source stop;
  std::atomic<bool> release = false;
  std::atomic<bool> working = false;
  OrderedLoader<Index> loader(
      10,
      [&](Index i) {
        working = true;
        while (!release) std::this_thread::sleep_for(1ms);
        return std::optional<Index>(i);
      },
      {.prefetch = 2, .threads = 1}, stop.get_token());
  std::jthread other([&] {
    while (!working) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(10ms);
    stop.request_stop();
    // Where there is no worker, the consumer itself is in the sample: this ends it.
    std::this_thread::sleep_for(10ms);
    release = true;
  });
  REQUIRE_FALSE(loader.next().has_value());
  REQUIRE_FALSE(loader.next().has_value());
}

TEST_CASE("a stop requested before the start delivers nothing") {
  std::stop_source stop;
  stop.request_stop();
  OrderedLoader<Index> loader(
      10, [](Index i) { return std::optional<Index>(i); }, {}, stop.get_token());
  REQUIRE_FALSE(loader.next().has_value());
}

TEST_CASE("threads are as many as were asked for, of those that the process may use") {
  static_assert(dssl::threads_of(0, 6) == 6 && dssl::threads_of(4, 6) == 4 && dssl::threads_of(7, 6) == 6);
  static_assert(dssl::threads_of(0, 0) == 0 && dssl::threads_of(3, 0) == 0);
  static_assert(dssl::threads_of(0, static_cast<std::size_t>(-1)) == std::numeric_limits<int>::max() - 1);
}

TEST_CASE("one thread for the whole process is enough") {
  const tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
  OrderedLoader<Index> loader(50, [](Index i) { return std::optional<Index>(i); },
                              {.prefetch = 4, .threads = 1});
  REQUIRE(drain(loader).size() == 50);
}

TEST_CASE("samples that can only be moved are delivered") {
  OrderedLoader<std::unique_ptr<Index>> loader(
      5, [](Index i) { return std::optional<std::unique_ptr<Index>>(std::make_unique<Index>(i)); });
  for (Index i = 0; i < 5; ++i) {
    const auto item = loader.next();
    REQUIRE(item.has_value());
    REQUIRE(**item == i);
  }
}

TEST_CASE("impossible loader options are named") {
  const auto produce = [](Index i) { return std::optional<Index>(i); };
  const auto message = [&](const LoaderOptions& options) {
    return thrown_by<dssl::OptionError>([&] { OrderedLoader<Index>(1, produce, options); });
  };
  REQUIRE(contains(message({.prefetch = 0, .threads = 1}), "prefetch"));
  REQUIRE(contains(message({.prefetch = 1, .threads = -1}), "threads"));
}
