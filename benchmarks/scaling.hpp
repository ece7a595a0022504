// What more threads would make of a step, from how long its tasks take on one.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <queue>
#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/backend/cpu/workers.hpp>

namespace dssl::benchmarks {

/// Adds up how long the loops of a run would take on more threads than there are.
///
/// Tasks of a loop are given to whichever thread is free first, in their order, as oneTBB roughly does, and a
/// loop that threads share costs a wake-up more. Nothing else is modelled: threads do not slow each other
/// down, so where many of them want memory at once the truth is worse (`bytes` over the machine's bandwidth
/// bounds it).
class ScalingModel : public cpu::LoopObserver {
 public:
  static constexpr std::array<int, 7> threads{1, 2, 4, 8, 16, 32, 64};
  static constexpr double wake_seconds = 10e-6;  ///< measured between 5 and 20 microseconds

  void loop(bool shared, std::span<const double> seconds) override {
    ++x_loops;
    double all = 0;
    double longest = 0;
    for (const double s : seconds) {
      all += s;
      longest = std::max(longest, s);
    }
    x_critical += shared ? longest : all;
    for (std::size_t i = 0; i < threads.size(); ++i) {
      x_seconds[i] += shared && threads[i] > 1 ? makespan(seconds, threads[i]) + wake_seconds : all;
    }
  }

  void clear() {
    x_loops = 0;
    x_critical = 0;
    x_seconds = {};
  }

  /// As JSON, of a run of `steps` steps that took `seconds` a step on one thread.
  [[nodiscard]] nlohmann::json json(double seconds, int steps) const {
    const double outside = seconds - x_seconds[0] / steps;
    nlohmann::json by_threads = nlohmann::json::array();
    for (std::size_t i = 0; i < threads.size(); ++i) {
      const double step = outside + x_seconds[i] / steps;
      by_threads.push_back({{"threads", threads[i]}, {"seconds", step}, {"speed_up", seconds / step}});
    }
    return {{"loops", static_cast<double>(x_loops) / steps},
            {"outside_loops", outside},
            {"critical_path", outside + x_critical / steps},
            {"simulated", by_threads}};
  }

  /// When the last of some tasks ends, on `count` threads.
  [[nodiscard]] static double makespan(std::span<const double> seconds, int count) {
    std::priority_queue<double, std::vector<double>, std::greater<>> free;
    for (int i = 0; i < count; ++i) free.push(0);
    double end = 0;
    for (const double s : seconds) {
      const double done = free.top() + s;
      free.pop();
      free.push(done);
      end = std::max(end, done);
    }
    return end;
  }

 private:
  long x_loops = 0;
  double x_critical = 0;
  std::array<double, threads.size()> x_seconds{};
};

}  // namespace dssl::benchmarks
