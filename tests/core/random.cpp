// Philox against its published vectors, and what a random stream promises.
#include "catch.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include <dssl/core/random.hpp>

using dssl::Purpose;
using dssl::RandomKey;
using dssl::RandomStream;

namespace {

std::array<std::uint32_t, 4> first_block(const RandomKey& key) {
  RandomStream stream{key};
  return {stream.bits(), stream.bits(), stream.bits(), stream.bits()};
}

}  // namespace

TEST_CASE("philox gives the published vectors", "[random]") {
  using Words = std::array<std::uint32_t, 4>;
  constexpr std::uint32_t ones = 0xFFFFFFFFU;
  CHECK(dssl::philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U});
  CHECK(dssl::philox({ones, ones, ones, ones}, {ones, ones}) ==
        Words{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU});
  CHECK(dssl::philox({0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}, {0xa4093822U, 0x299f31d0U}) ==
        Words{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U});
}

TEST_CASE("philox can be computed by the compiler", "[random]") {
  static_assert(dssl::philox({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5U);
  constexpr std::uint32_t drawn = RandomStream{RandomKey{.seed = 3}}.bits();
  CHECK(drawn == RandomStream{RandomKey{.seed = 3}}.bits());
}

TEST_CASE("a stream counts its blocks up from zero", "[random]") {
  RandomStream stream{RandomKey{.purpose = Purpose::initialise}};
  for (std::uint32_t block = 0; block < 3; ++block) {
    const auto expected = dssl::philox({block, 0, 0, 0}, {0, 0});
    for (const std::uint32_t word : expected) CHECK(stream.bits() == word);
  }
}

TEST_CASE("words that are drawn together are those drawn one by one", "[random]") {
  RandomStream one{RandomKey{.seed = 5, .epoch = 6, .sample = 7}}, many = one;
  for (const std::size_t count : {3U, 0U, 70U, 1U, 64U, 200U, 2U, 66U}) {
    std::vector<std::uint32_t> words(count);
    many.fill(words);
    for (const std::uint32_t word : words) REQUIRE(word == one.bits());
    CHECK(many.bits() == one.bits());
  }
}

TEST_CASE("every part of a key changes the stream", "[random]") {
  const RandomKey base{.seed = 1, .epoch = 2, .sample = 3, .view = 4, .purpose = Purpose::box};
  std::set<std::array<std::uint32_t, 4>> seen{first_block(base)};
  std::size_t streams = 1;
  const auto add = [&](const RandomKey& key) {
    seen.insert(first_block(key));
    ++streams;
  };
  for (unsigned bit = 0; bit < 64; ++bit) {
    RandomKey key = base;
    key.seed ^= std::uint64_t{1} << bit;
    add(key);
  }
  for (unsigned bit = 0; bit < 32; ++bit) {
    RandomKey key = base;
    key.epoch ^= std::uint32_t{1} << bit;
    add(key);
  }
  for (unsigned bit = 0; bit < 40; ++bit) {
    RandomKey key = base;
    key.sample ^= std::uint64_t{1} << bit;
    add(key);
  }
  for (unsigned bit = 0; bit < 16; ++bit) {
    RandomKey key = base;
    key.view ^= std::uint32_t{1} << bit;
    add(key);
  }
  for (unsigned purpose = 0; purpose <= static_cast<unsigned>(Purpose::user); ++purpose) {
    if (static_cast<Purpose>(purpose) == base.purpose) continue;
    RandomKey key = base;
    key.purpose = static_cast<Purpose>(purpose);
    add(key);
  }
  CHECK(seen.size() == streams);
}

TEST_CASE("streams of different purposes are not shifted copies of each other", "[random]") {
  std::set<std::uint32_t> colour;
  RandomStream a{RandomKey{.purpose = Purpose::colour}};
  for (int i = 0; i < 1000; ++i) colour.insert(a.bits());
  RandomStream b{RandomKey{.purpose = Purpose::blur}};
  int shared = 0;
  for (int i = 0; i < 1000; ++i) shared += static_cast<int>(colour.count(b.bits()));
  CHECK(shared <= 2);  // two sets of 1000 out of 2^32 values meet by chance once in 4000 tries
}

TEST_CASE("uniform numbers keep to their range and spread over it", "[random]") {
  RandomStream stream{RandomKey{.seed = 11}};
  constexpr int n = 40000;
  double low = 1.0;
  double high = 0.0;
  double sum = 0.0;
  double squares = 0.0;
  for (int i = 0; i < n; ++i) {
    const double u = stream.uniform();
    low = std::min(low, u);
    high = std::max(high, u);
    sum += u;
    squares += u * u;
  }
  CHECK(low >= 0.0);
  CHECK(high < 1.0);
  CHECK(low < 1e-3);
  CHECK(high > 1.0 - 1e-3);
  const double mean = sum / n;
  CHECK(std::abs(mean - 0.5) < 5.0 * std::sqrt(1.0 / 12.0 / n));
  CHECK(std::abs(squares / n - mean * mean - 1.0 / 12.0) < 0.002);

  for (int i = 0; i < 1000; ++i) {
    const double u = stream.uniform(-3.0, 5.0);
    REQUIRE(u >= -3.0);
    REQUIRE(u < 5.0);
  }
}

TEST_CASE("below(n) reaches every value equally often", "[random]") {
  for (const std::uint32_t n : {1U, 2U, 3U, 7U, 10U, 64U}) {
    RandomStream stream{RandomKey{.seed = 5, .sample = n}};
    const int draws = 2000 * static_cast<int>(n);
    std::vector<int> counts(n, 0);
    for (int i = 0; i < draws; ++i) {
      const std::uint32_t value = stream.below(n);
      REQUIRE(value < n);
      ++counts[value];
    }
    double chi_square = 0.0;
    for (const int count : counts) chi_square += (count - 2000.0) * (count - 2000.0) / 2000.0;
    // Chi-square of n - 1 degrees of freedom has mean n - 1 and variance 2 (n - 1).
    CHECK(chi_square <= n - 1.0 + 5.0 * std::sqrt(2.0 * (n - 1.0)) + 1e-9);
  }
}

TEST_CASE("below(n) is not biased towards low values for large n", "[random]") {
  // Without rejection, n = 3 * 2^30 would give values below 2^30 twice as often as each other third.
  constexpr std::uint32_t n = 3U << 30;
  RandomStream stream{RandomKey{.seed = 8}};
  std::array<int, 3> thirds{};
  constexpr int draws = 30000;
  for (int i = 0; i < draws; ++i) ++thirds[stream.below(n) >> 30];
  std::array<int, 4> remainders{};
  for (int i = 0; i < draws; ++i) ++remainders[stream.below(n) & 3U];
  for (const int count : thirds) CHECK(std::abs(count - draws / 3) < 500);
  for (const int count : remainders) CHECK(std::abs(count - draws / 4) < 500);
}

TEST_CASE("bernoulli and normal draws have their moments", "[random]") {
  RandomStream stream{RandomKey{.seed = 21}};
  constexpr int n = 40000;
  int heads = 0;
  for (int i = 0; i < n; ++i) heads += stream.bernoulli(0.2) ? 1 : 0;
  CHECK(std::abs(heads / double{n} - 0.2) < 5.0 * std::sqrt(0.2 * 0.8 / n));
  CHECK_FALSE(stream.bernoulli(0.0));
  CHECK(stream.bernoulli(1.0));

  double sum = 0.0;
  double squares = 0.0;
  double fourth = 0.0;
  for (int i = 0; i < n; ++i) {
    const double z = stream.normal();
    REQUIRE(std::isfinite(z));
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  CHECK(std::abs(sum / n) < 5.0 / std::sqrt(double{n}));
  CHECK(std::abs(squares / n - 1.0) < 5.0 * std::sqrt(2.0 / n));
  CHECK(std::abs(fourth / n - 3.0) < 5.0 * std::sqrt(96.0 / n));
}
