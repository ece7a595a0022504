// What a measurement has to say beside its numbers: machine, compiler, flags, memory.
#pragma once

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>

namespace dssl::benchmarks {

/// The first value of a field of a file of "field: value" lines under /proc; empty if there is none.
[[nodiscard]] inline std::string proc_field(const char* path, const std::string& field) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || !line.starts_with(field)) continue;
    const std::size_t value = line.find_first_not_of(" \t", colon + 1);
    return value == std::string::npos ? std::string() : line.substr(value);
  }
  return {};
}

/// Processors that this process may use.
[[nodiscard]] inline int processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/// Bytes that /proc/self/status states in kB: `VmRSS`, or `VmHWM` for the largest so far.
[[nodiscard]] inline std::size_t resident_bytes(const char* field) {
  return 1024 * static_cast<std::size_t>(std::atoll(proc_field("/proc/self/status", field).c_str()));
}

/// Makes the kernel forget the largest resident memory so far.
inline void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

/// Machine and build, as names and values.
[[nodiscard]] inline std::vector<std::pair<std::string, std::string>> machine_description() {
  double load[3] = {0, 0, 0};
  if (getloadavg(load, 3) < 1) load[0] = -1;
  return {{"cpu", proc_field("/proc/cpuinfo", "model name")},
          {"processors", std::to_string(processors())},
          {"load_before", join(load[0])},
          {"compiler", DSSL_BENCHMARK_COMPILER},
          {"flags", DSSL_BENCHMARK_FLAGS},
          {"build_type", DSSL_BENCHMARK_BUILD_TYPE}};
}

/// Throws `Error` unless the program was built for release: other numbers are not worth writing down.
inline void require_release_build() {
#ifdef NDEBUG
  const bool assertions = false;
#else
  const bool assertions = true;
#endif
  if (assertions || std::string(DSSL_BENCHMARK_BUILD_TYPE) != "Release" ||
      !std::string(DSSL_BENCHMARK_SANITIZE).empty()) {
    throw Error("this is a build of type '" DSSL_BENCHMARK_BUILD_TYPE
                "'; speed is measured with a Release build without sanitizers and assertions");
  }
}

/// How much of all processors somebody else used, from construction to `others`.
class LoadWatch {
 public:
  /// Share from 0 to 1 of the time of all processors, stolen time included: a few percent is a quiet machine.
  [[nodiscard]] double others() const {
    const double elapsed = std::chrono::duration<double>(Clock::now() - x_start).count();
    const double busy = x_machine_busy() - x_machine - (x_own_busy() - x_own);
    return std::max(0.0, busy / elapsed / static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN)));
  }

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] static double x_machine_busy() {
    std::ifstream file("/proc/stat");
    std::string name;
    double field[8] = {};  // user, nice, system, idle, waiting, interrupts, soft interrupts, stolen
    file >> name;
    for (double& value : field) file >> value;
    return (field[0] + field[1] + field[2] + field[5] + field[6] + field[7]) /
           static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  [[nodiscard]] static double x_own_busy() {
    return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
  }

  Clock::time_point x_start = Clock::now();
  double x_machine = x_machine_busy();
  double x_own = x_own_busy();
};

/// The middle one of some numbers, or the mean of the two in the middle.
[[nodiscard]] inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n == 0 ? 0.0 : 0.5 * (values[(n - 1) / 2] + values[n / 2]);
}

}  // namespace dssl::benchmarks
