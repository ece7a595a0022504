// What a measurement of speed asks the machine: processors, memory, and who else is at work.
#pragma once

#include <sched.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace dssl::programs {

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

/// How much of all processors somebody else used, from construction to `others`.
class LoadWatch {
 public:
  /// `children`: processes whose work is this one's, too.
  explicit LoadWatch(std::vector<pid_t> children = {}) : x_children(std::move(children)) {}

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
  [[nodiscard]] static double x_seconds_of(clockid_t clock) {
    timespec time{};
    if (clock_gettime(clock, &time) != 0) return 0;
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  [[nodiscard]] double x_own_busy() const {
    double sum = x_seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    for (const pid_t child : x_children) {
      clockid_t clock{};
      if (clock_getcpuclockid(child, &clock) == 0) sum += x_seconds_of(clock);
    }
    return sum;
  }

  std::vector<pid_t> x_children;
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

/// Seconds that a call takes.
template <class Call>
[[nodiscard]] double seconds_of(const Call& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace dssl::programs
