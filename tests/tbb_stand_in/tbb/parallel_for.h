// Stand-in: loops whose pieces are handed out one by one.
#pragma once

#include <tbb/blocked_range.h>
#include <tbb/partitioner.h>

namespace tbb {

template <class Integer, class Body>
  requires std::is_integral_v<Integer>
void parallel_for(Integer first, Integer last, const Body& body) {
  if (!(first < last)) return;
  // Relaxed: handing out a piece must not order what the tasks write, or it would hide races between them.
  std::atomic<Integer> next{first};
  stand_in::on_several_threads(static_cast<std::size_t>(last - first) - 1, [&] {
    for (Integer i = next.fetch_add(1, std::memory_order_relaxed); i < last;
         i = next.fetch_add(1, std::memory_order_relaxed)) {
      body(i);
    }
  });
}

template <class Integer, class Body, class Partitioner>
  requires(std::is_integral_v<Integer>&& std::is_empty_v<Partitioner>)
void parallel_for(Integer first, Integer last, const Body& body, Partitioner&&) {
  parallel_for(first, last, body);
}

template <class Value, class Body>
void parallel_for(const blocked_range<Value>& range, const Body& body) {
  const std::size_t grain = std::max<std::size_t>(1, range.grainsize());
  parallel_for(std::size_t{0}, (range.size() + grain - 1) / grain, [&](std::size_t piece) {
    const std::size_t begin = piece * grain;
    const std::size_t end = std::min(range.size(), begin + grain);
    using Step = decltype(range.end() - range.begin());
    body(blocked_range<Value>{static_cast<Value>(range.begin() + static_cast<Step>(begin)),
                              static_cast<Value>(range.begin() + static_cast<Step>(end)), grain});
  });
}

template <class Value, class Body, class Partitioner>
void parallel_for(const blocked_range<Value>& range, const Body& body, Partitioner&&) {
  parallel_for(range, body);
}

}  // namespace tbb
