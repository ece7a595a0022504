// What the machine can do at most: multiply-adds in registers, bytes through memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <new>
#include <numeric>
#include <string_view>
#include <thread>
#include <vector>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif
#if defined(__AMX_BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dssl::benchmarks {

// Every kernel does `rounds` rounds on values that stay ordinary numbers (no zero, no infinity, no denormal),
// gives back its FLOP, and adds something that depends on all of its results to `sink`.

/// float multiply-adds in the widest registers the build knows: 16 independent chains, or 12 where there are
/// 16 registers in all, two of which hold the factors.
inline double float_multiply_adds(std::int64_t rounds, double& sink) {
#if defined(__AVX512F__)
  using Register = __m512;
  const Register shrink = _mm512_set1_ps(0.999F);
  const Register shift = _mm512_set1_ps(0.001F);
  const auto multiply_add = [&](Register x) { return _mm512_fmadd_ps(x, shrink, shift); };
#elif defined(__AVX2__) && defined(__FMA__)
  using Register = __m256;
  const Register shrink = _mm256_set1_ps(0.999F);
  const Register shift = _mm256_set1_ps(0.001F);
  const auto multiply_add = [&](Register x) { return _mm256_fmadd_ps(x, shrink, shift); };
#else
  using Register = float;
  const auto multiply_add = [](Register x) { return x * 0.999F + 0.001F; };
#endif
#if defined(__AVX512F__)
  constexpr std::size_t chains = 16;
#else
  constexpr std::size_t chains = 12;
#endif
  constexpr std::size_t lanes = sizeof(Register) / sizeof(float);
  Register x[chains];
  for (std::size_t c = 0; c < chains; ++c) {
    float start[lanes];
    for (std::size_t i = 0; i < lanes; ++i) start[i] = 1.0F + 0.01F * static_cast<float>(c + i);
    x[c] = *reinterpret_cast<const Register*>(static_cast<const void*>(start));
  }
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (std::size_t c = 0; c < chains; ++c) x[c] = multiply_add(x[c]);
  }
  for (const Register& value : x) sink += static_cast<double>(*reinterpret_cast<const float*>(&value));
  return 2.0 * static_cast<double>(chains * lanes) * static_cast<double>(rounds);
}

#if defined(__AVX512BF16__)
/// bf16 dot products with float sums (vdpbf16ps): 16 independent chains.
inline double bf16_dot_products(std::int64_t rounds, double& sink) {
  constexpr std::size_t chains = 16;
  __m512 sums[chains];
  for (std::size_t c = 0; c < chains; ++c) sums[c] = _mm512_set1_ps(static_cast<float>(c) + 1.0F);
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5F), _mm512_set1_ps(-0.25F));
  const __m512bh b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.25F), _mm512_set1_ps(0.125F));
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (std::size_t c = 0; c < chains; ++c) sums[c] = _mm512_dpbf16_ps(sums[c], a, b);
  }
  for (const __m512& value : sums) sink += static_cast<double>(_mm512_cvtss_f32(value));
  return 2.0 * static_cast<double>(chains * 32) * static_cast<double>(rounds);
}
#endif

#if defined(__AMX_BF16__) && defined(__linux__)
/// Whether the kernel lets this process use the tile registers; asks for it.
[[nodiscard]] inline bool tiles_allowed() {
  constexpr long request_permission = 0x1023;
  constexpr long tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

/// bf16 products of tiles of 16 x 32 by 32 x 16 with float sums: 4 independent chains.
inline double bf16_tile_products(std::int64_t rounds, double& sink) {
  struct alignas(64) Config {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
  const Config config;
  alignas(64) std::uint16_t numbers[16 * 32];
  alignas(64) float sums[16 * 16];
  // bf16 0x3f00 to 0x3f7f is 0.5 to 1, with the sign bit of every other one set.
  for (std::size_t i = 0; i < 16 * 32; ++i) {
    numbers[i] = static_cast<std::uint16_t>((i % 2 == 0 ? 0x3f00U : 0xbf00U) + i % 128);
  }
  for (std::size_t i = 0; i < 16 * 16; ++i) sums[i] = static_cast<float>(i) + 1.0F;
  _tile_loadconfig(&config);
  _tile_loadd(0, sums, 64);
  _tile_loadd(1, sums, 64);
  _tile_loadd(2, sums, 64);
  _tile_loadd(3, sums, 64);
  _tile_loadd(4, numbers, 64);
  _tile_loadd(5, numbers, 64);
  _tile_loadd(6, numbers, 64);
  _tile_loadd(7, numbers, 64);
  for (std::int64_t r = 0; r < rounds; ++r) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  sink += static_cast<double>(sums[0]);
  _tile_stored(3, sums, 64);
  sink += static_cast<double>(sums[17]);
  _tile_release();
  return 4.0 * 2.0 * 16.0 * 16.0 * 32.0 * static_cast<double>(rounds);
}
#endif

/// a = b + s c over `count` floats. Gives back the bytes that are read and written.
inline double triad(float* a, const float* b, const float* c, std::size_t count, float s) {
  for (std::size_t i = 0; i < count; ++i) a[i] = b[i] + s * c[i];
  return 12.0 * static_cast<double>(count);
}

/// The same with stores that bypass the caches; `count` is a multiple of 16, the arrays are aligned to 64.
inline double triad_around_caches(float* a, const float* b, const float* c, std::size_t count, float s) {
#if defined(__AVX512F__)
  const __m512 scale = _mm512_set1_ps(s);
  for (std::size_t i = 0; i < count; i += 16) {
    _mm512_stream_ps(a + i, _mm512_fmadd_ps(_mm512_loadu_ps(c + i), scale, _mm512_loadu_ps(b + i)));
  }
  _mm_sfence();
  return 12.0 * static_cast<double>(count);
#elif defined(__AVX2__) && defined(__FMA__)
  const __m256 scale = _mm256_set1_ps(s);
  for (std::size_t i = 0; i < count; i += 8) {
    _mm256_stream_ps(a + i, _mm256_fmadd_ps(_mm256_loadu_ps(c + i), scale, _mm256_loadu_ps(b + i)));
  }
  _mm_sfence();
  return 12.0 * static_cast<double>(count);
#else
  return triad(a, b, c, count, s);
#endif
}

/// Three arrays of floats with memory behind them.
class TriadArrays {
 public:
  explicit TriadArrays(std::size_t count)
      : x_count(count / 16 * 16), x_memory(new (std::align_val_t{64}) float[3 * x_count]) {
    for (std::size_t i = 0; i < 3 * x_count; ++i) x_memory[i] = 1.0F + 0.25F * static_cast<float>(i % 7);
  }
  TriadArrays(const TriadArrays&) = delete;
  TriadArrays& operator=(const TriadArrays&) = delete;
  ~TriadArrays() { operator delete[](x_memory, std::align_val_t{64}); }

  [[nodiscard]] std::size_t count() const { return x_count; }
  /// Part `i` of `parts` of array 0, 1 or 2, and its length.
  [[nodiscard]] float* part(std::size_t array, std::size_t i, std::size_t parts) const {
    return x_memory + array * x_count + i * length(parts);
  }
  [[nodiscard]] std::size_t length(std::size_t parts) const { return x_count / parts / 16 * 16; }

 private:
  std::size_t x_count;
  float* x_memory;
};

/// The best of `repeats` rates of `work(thread)` done by `threads` threads at once: what work gives back,
/// over each thread's own processor time, added up. So a busy machine disturbs it little.
template <class Work>
[[nodiscard]] double best_rate(int threads, int repeats, const Work& work) {
  const auto processor_seconds = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  };
  std::vector<double> rates(static_cast<std::size_t>(threads));
  std::barrier all(threads);
  double best = 0;
  const auto run = [&](std::size_t t) {
    for (int r = 0; r < repeats; ++r) {
      all.arrive_and_wait();
      const double begin = processor_seconds();
      const double done = work(t);
      rates[t] = done / (processor_seconds() - begin);
      all.arrive_and_wait();
      if (t == 0) best = std::max(best, std::accumulate(rates.begin(), rates.end(), 0.0));
    }
  };
  std::vector<std::jthread> others;
  for (std::size_t t = 1; t < rates.size(); ++t) others.emplace_back(run, t);
  run(0);
  return best;
}

/// Ceilings of a number of threads.
struct Ceilings {
  double float_flops = 0;  ///< FLOP/s of float multiply-adds
  double bf16_flops = 0;   ///< FLOP/s of bf16 products with float sums; 0 where there are none
  double bytes = 0;        ///< bytes/s through memory, triad

  /// Of the number format that a backend multiplies in: "f32" or "bf16".
  [[nodiscard]] double flops(std::string_view precision) const {
    return precision == "bf16" && bf16_flops > 0 ? bf16_flops : float_flops;
  }
};

/// Measures all ceilings; takes about two seconds and 800 MB.
[[nodiscard]] inline Ceilings measure_ceilings(int threads) {
  constexpr int repeats = 7;
  constexpr std::int64_t rounds = 3'000'000;  // 0.01 to 0.03 s
  Ceilings out;
  std::vector<double> sinks(static_cast<std::size_t>(threads));
  out.float_flops =
      best_rate(threads, repeats, [&](std::size_t t) { return float_multiply_adds(rounds, sinks[t]); });
#if defined(__AVX512BF16__)
  out.bf16_flops =
      best_rate(threads, repeats, [&](std::size_t t) { return bf16_dot_products(rounds, sinks[t]); });
#endif
#if defined(__AMX_BF16__) && defined(__linux__)
  if (tiles_allowed()) {
    out.bf16_flops = std::max(out.bf16_flops, best_rate(threads, repeats, [&](std::size_t t) {
                                return bf16_tile_products(rounds / 4, sinks[t]);
                              }));
  }
#endif
  const TriadArrays arrays(std::size_t{64} << 20U);
  const auto parts = static_cast<std::size_t>(threads);
  out.bytes = best_rate(threads, 3, [&](std::size_t t) {
    return triad(arrays.part(0, t, parts), arrays.part(1, t, parts), arrays.part(2, t, parts),
                 arrays.length(parts), 0.5F);
  });
  // What the kernels gave must look used.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  volatile double used = 0;
  for (const double sink : sinks) used = used + sink;
  return out;
}

}  // namespace dssl::benchmarks
