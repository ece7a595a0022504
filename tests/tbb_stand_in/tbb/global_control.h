// Stand-in: limits on threads are remembered, and change nothing.
#pragma once

#include <tbb/stand_in.h>

namespace tbb {

class global_control {
 public:
  enum parameter { max_allowed_parallelism };

  global_control(parameter, std::size_t value) : x_before(x_limit().exchange(value)) {}
  global_control(const global_control&) = delete;
  global_control& operator=(const global_control&) = delete;
  ~global_control() { x_limit().store(x_before); }

  [[nodiscard]] static std::size_t active_value(parameter) { return x_limit().load(); }

 private:
  static std::atomic<std::size_t>& x_limit() {
    static std::atomic<std::size_t> limit{static_cast<std::size_t>(stand_in::default_concurrency())};
    return limit;
  }

  std::size_t x_before;
};

}  // namespace tbb
