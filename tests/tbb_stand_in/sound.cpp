// Sound uses of every part of the stand-in, with the results they must give.
#include "../catch.hpp"

#include <atomic>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_pipeline.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

TEST_CASE("loops reach every index once, inside an arena's places", "[tbb_stand_in]") {
  tbb::task_arena arena{3};
  std::vector<int> in(1000);
  std::vector<int> out(1000, 0);
  std::vector<int> of_place(3, 0);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::iota(in.begin(), in.end(), repeat);
    arena.execute([&] {
      tbb::parallel_for(std::size_t{0}, in.size(), [&](std::size_t i) {
        ++of_place[static_cast<std::size_t>(tbb::this_task_arena::current_thread_index())];
        out[i] += in[i];
      });
      tbb::parallel_for(
          tbb::blocked_range<std::size_t>{0, in.size(), 64},
          [&](const auto& range) {
            for (std::size_t i = range.begin(); i < range.end(); ++i) out[i] -= in[i];
          },
          tbb::static_partitioner{});
    });
    REQUIRE(out == std::vector<int>(1000, 0));
  }
  CHECK(std::accumulate(of_place.begin(), of_place.end(), 0) == 20 * 1000);
}

TEST_CASE("groups wait for their tasks and hand on exceptions", "[tbb_stand_in]") {
  tbb::task_arena arena{1};
  tbb::task_group group;
  std::vector<int> results(8, 0);
  arena.execute([&] {
    for (std::size_t i = 0; i < results.size(); ++i) {
      group.run([&results, i] { results[i] = static_cast<int>(i); });
    }
    group.wait();
  });
  CHECK(std::accumulate(results.begin(), results.end(), 0) == 28);
  group.run([] { throw std::runtime_error("task"); });
  CHECK_THROWS_AS(group.wait(), std::runtime_error);
  CHECK_THROWS_AS(tbb::parallel_for(0, 10,
                                    [](int i) {
                                      if (i == 3) throw std::runtime_error("loop");
                                    }),
                  std::runtime_error);
}

TEST_CASE("pipelines keep the order and bound what is under way", "[tbb_stand_in]") {
  int drawn = 0;
  std::atomic<int> under_way{0};
  std::atomic<int> most{0};
  std::vector<int> seen;
  const auto run = [&](int fails_at) {
    drawn = 0;
    under_way = 0;
    seen.clear();
    tbb::parallel_pipeline(
        3,
        tbb::make_filter<void, std::unique_ptr<int>>(tbb::filter_mode::serial_in_order,
                                                     [&](tbb::flow_control& control) -> std::unique_ptr<int> {
                                                       if (drawn == 200) {
                                                         control.stop();
                                                         return nullptr;
                                                       }
                                                       const int now = ++under_way;
                                                       if (now > most.load()) most = now;
                                                       return std::make_unique<int>(drawn++);
                                                     }) &
            tbb::make_filter<std::unique_ptr<int>, int>(tbb::filter_mode::parallel,
                                                        [=](std::unique_ptr<int> item) {
                                                          if (*item == fails_at)
                                                            throw std::runtime_error("item");
                                                          return 2 * *item;
                                                        }) &
            tbb::make_filter<int, void>(tbb::filter_mode::serial_in_order, [&](int item) {
              seen.push_back(item);
              --under_way;
            }));
  };
  run(-1);
  REQUIRE(seen.size() == 200);
  for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == 2 * static_cast<int>(i));
  CHECK(most <= 3);
  CHECK_THROWS_AS(run(50), std::runtime_error);
  CHECK(seen.size() <= 50);
}
