// The main function of dssl_benchmarks: Google Benchmark's, for release builds only, with the build in its
// output.
#include <cstdio>
#include <exception>

#include <benchmark/benchmark.h>

#include "machine.hpp"

int main(int argc, char** argv) {
  try {
    dssl::benchmarks::require_release_build();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "dssl_benchmarks: %s\n", error.what());
    return 1;
  }
  for (const auto& [name, value] : dssl::benchmarks::machine_description())
    benchmark::AddCustomContext(name, value);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
