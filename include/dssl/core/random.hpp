// Counter-based random numbers: a value is a pure function of what it is for.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>

namespace dssl {

/// What a random number is drawn for. Two purposes never share a stream.
enum class Purpose : std::uint8_t {
  initialise = 0,
  shuffle = 1,
  box = 2,
  flip = 3,
  colour = 4,
  blur = 5,
  solarise = 6,
  points = 7,
  stochastic_depth = 8,
  synthetic = 9,
  probe = 10,
  user = 11,
  masks = 12,
  warp = 13,
  teacher_points = 14,
  photometric = 15,
  quarter_turn = 16,
};

/// Names one stream of random numbers.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint32_t epoch = 0;
  std::uint64_t sample = 0;  ///< index of the image in the data set; 40 bits are used
  std::uint32_t view = 0;    ///< index of the view; 16 bits are used
  Purpose purpose = Purpose::user;
};

namespace detail {

using PhiloxKey = std::array<std::uint32_t, 2>;

constexpr void philox_round(std::uint32_t& c0, std::uint32_t& c1, std::uint32_t& c2, std::uint32_t& c3, const PhiloxKey& key) {
  const std::uint64_t a = std::uint64_t{0xD2511F53U} * c0;
  const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * c2;
  c0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ key[0];
  c1 = static_cast<std::uint32_t>(b);
  c2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ key[1];
  c3 = static_cast<std::uint32_t>(a);
}

/// Ten rounds, each with the next key.
template <class Round>
constexpr void philox_rounds(PhiloxKey key, const Round& round) {
  for (int r = 0; r < 10; ++r) {
    round(key);
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
}

}  // namespace detail

/// One block of the Philox-4x32-10 generator: four 32-bit words from a 128-bit counter and a 64-bit key.
///
/// Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
/// Test: the published known-answer vectors (tests/core/random.cpp).
[[nodiscard]] constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                                            std::array<std::uint32_t, 2> key) {
  detail::philox_rounds(key, [&](const detail::PhiloxKey& k) {
    detail::philox_round(counter[0], counter[1], counter[2], counter[3], k);
  });
  return counter;
}

/// The stream of numbers that belongs to a `RandomKey`; the same on every machine, thread and backend.
class RandomStream {
 public:
  constexpr explicit RandomStream(const RandomKey& key)
      : x_key{static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32)},
        x_counter{0,
                  (key.view << 16) | (static_cast<std::uint32_t>(key.purpose) << 8) |
                      (static_cast<std::uint32_t>(key.sample >> 32) & 0xFFU),
                  static_cast<std::uint32_t>(key.sample), key.epoch} {}

  /// 32 uniform bits.
  constexpr std::uint32_t bits() {
    if (x_used == 4) {
      x_block = philox(x_counter, x_key);
      ++x_counter[0];
      x_used = 0;
    }
    return x_block[x_used++];
  }

  /// So many times `bits`, in a quarter of the time where there are many.
  void fill(std::span<std::uint32_t> out) {
    constexpr std::size_t lanes = 16;
    std::size_t i = 0;
    for (; i < out.size() && x_used < 4; ++i) out[i] = bits();
    for (; out.size() - i >= 4 * lanes; i += 4 * lanes) {
      std::array<std::array<std::uint32_t, lanes>, 4> c;
      for (std::size_t l = 0; l < lanes; ++l) {
        c[0][l] = x_counter[0]++;
        for (std::size_t k = 1; k < 4; ++k) c[k][l] = x_counter[k];
      }
      detail::philox_rounds(x_key, [&](const detail::PhiloxKey& key) {
        for (std::size_t l = 0; l < lanes; ++l) detail::philox_round(c[0][l], c[1][l], c[2][l], c[3][l], key);
      });
      for (std::size_t l = 0; l < lanes; ++l) {
        for (std::size_t k = 0; k < 4; ++k) out[i + 4 * l + k] = c[k][l];
      }
    }
    for (; i < out.size(); ++i) out[i] = bits();
  }

  /// Uniform in [0, 1), 53 bits.
  constexpr double uniform() {
    const std::uint64_t high = bits() >> 5;
    const std::uint64_t low = bits() >> 6;
    return static_cast<double>((high << 26) | low) * 0x1.0p-53;
  }

  /// Uniform in [low, high).
  constexpr double uniform(double low, double high) { return low + (high - low) * uniform(); }

  /// Uniform integer in [0, n), n >= 1, without bias.
  constexpr std::uint32_t below(std::uint32_t n) {
    const std::uint32_t rejected = (0U - n) % n;
    for (;;) {
      const std::uint64_t product = std::uint64_t{bits()} * n;
      if (static_cast<std::uint32_t>(product) >= rejected) return static_cast<std::uint32_t>(product >> 32);
    }
  }

  /// True with probability p.
  constexpr bool bernoulli(double p) { return uniform() < p; }

  /// Standard normal (Box-Muller; one value a call, two uniforms used).
  double normal() {
    const double u = 1.0 - uniform();
    const double v = uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
  }

 private:
  std::array<std::uint32_t, 2> x_key;
  std::array<std::uint32_t, 4> x_counter;
  std::array<std::uint32_t, 4> x_block{};
  unsigned x_used = 4;
};

}  // namespace dssl
