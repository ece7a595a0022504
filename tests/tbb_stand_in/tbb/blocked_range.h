// Stand-in: half-open ranges.
#pragma once

#include <tbb/stand_in.h>

namespace tbb {

template <class Value>
class blocked_range {
 public:
  using const_iterator = Value;

  blocked_range(Value first, Value last, std::size_t grain = 1)
      : x_first(first), x_last(last), x_grain(grain) {}

  [[nodiscard]] Value begin() const { return x_first; }
  [[nodiscard]] Value end() const { return x_last; }
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(x_last - x_first); }
  [[nodiscard]] bool empty() const { return !(x_first < x_last); }
  [[nodiscard]] std::size_t grainsize() const { return x_grain; }

 private:
  Value x_first;
  Value x_last;
  std::size_t x_grain;
};

}  // namespace tbb
