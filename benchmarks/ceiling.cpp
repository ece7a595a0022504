// Ceilings of the machine: float and bf16 multiply-adds in registers, bytes through memory and caches.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "ceilings.hpp"

namespace {

namespace bench = dssl::benchmarks;

/// A kernel in registers: the same rate for any number of rounds.
template <class Kernel>
void in_registers(benchmark::State& state, const Kernel& kernel) {
  constexpr std::int64_t rounds = 100'000;
  double flops = 0;
  double sink = 0;
  for (auto _ : state) {
    flops += kernel(rounds, sink);
    benchmark::DoNotOptimize(sink);
  }
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsRate);
}

void ceiling_float(benchmark::State& state) { in_registers(state, bench::float_multiply_adds); }
BENCHMARK(ceiling_float)->Threads(1)->Threads(2)->UseRealTime()->Unit(benchmark::kMicrosecond);

#if defined(__AVX512BF16__)
void ceiling_bf16_dot(benchmark::State& state) { in_registers(state, bench::bf16_dot_products); }
BENCHMARK(ceiling_bf16_dot)->Threads(1)->Threads(2)->UseRealTime()->Unit(benchmark::kMicrosecond);
#endif

#if defined(__AMX_BF16__) && defined(__linux__)
void ceiling_bf16_tile(benchmark::State& state) {
  if (!bench::tiles_allowed()) {
    state.SkipWithError("the kernel does not allow tile registers");
    return;
  }
  in_registers(state, bench::bf16_tile_products);
}
BENCHMARK(ceiling_bf16_tile)->Threads(1)->Threads(2)->UseRealTime()->Unit(benchmark::kMicrosecond);
#endif

/// All threads share three arrays of range(0) kB each and take a part of each.
template <class Triad>
void through_memory(benchmark::State& state, const Triad& run) {
  static std::unique_ptr<bench::TriadArrays> arrays;
  static std::mutex mutex;
  const auto wanted = static_cast<std::size_t>(state.range(0)) * 1024 / sizeof(float);
  {
    const std::lock_guard lock(mutex);
    if (!arrays || arrays->count() != wanted) {
      arrays.reset();
      arrays = std::make_unique<bench::TriadArrays>(wanted);
    }
  }
  const auto part = static_cast<std::size_t>(state.thread_index());
  const auto parts = static_cast<std::size_t>(state.threads());
  double bytes = 0;
  for (auto _ : state) {
    bytes += run(arrays->part(0, part, parts), arrays->part(1, part, parts), arrays->part(2, part, parts),
                 arrays->length(parts), 0.5F);
    benchmark::ClobberMemory();
  }
  state.counters["bytes/s"] = benchmark::Counter(bytes, benchmark::Counter::kIsRate);
}

void ceiling_triad(benchmark::State& state) { through_memory(state, bench::triad); }
void ceiling_triad_around_caches(benchmark::State& state) {
  through_memory(state, bench::triad_around_caches);
}

// In the first cache, the second, and memory.
BENCHMARK(ceiling_triad)
    ->ArgName("kB")
    ->Arg(8)
    ->Arg(256)
    ->Arg(256 << 10)
    ->Threads(1)
    ->Threads(2)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(ceiling_triad_around_caches)
    ->ArgName("kB")
    ->Arg(256 << 10)
    ->Threads(1)
    ->Threads(2)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
