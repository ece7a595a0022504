// What a measurement has to say beside its numbers: machine, compiler, flags.
#pragma once

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <common/machine.hpp>
#include <dssl/core/error.hpp>

#ifndef DSSL_BENCHMARK_OWN_FLAGS
#define DSSL_BENCHMARK_OWN_FLAGS ""
#endif

namespace dssl::benchmarks {

using programs::LoadWatch;
using programs::median;
using programs::proc_field;
using programs::processors;
using programs::reset_peak_memory;
using programs::resident_bytes;
using programs::seconds_of;

/// Machine and build, as names and values.
[[nodiscard]] inline std::vector<std::pair<std::string, std::string>> machine_description() {
  double load[3] = {0, 0, 0};
  if (getloadavg(load, 3) < 1) load[0] = -1;
  return {{"cpu", proc_field("/proc/cpuinfo", "model name")},
          {"processors", std::to_string(processors())},
          {"load_before", join(load[0])},
          {"compiler", DSSL_BENCHMARK_COMPILER},
          {"flags", DSSL_BENCHMARK_FLAGS DSSL_BENCHMARK_OWN_FLAGS},
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

}  // namespace dssl::benchmarks
