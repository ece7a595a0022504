// Deflated bytes (RFC 1951) unpacked: for zip files that other hands have packed. No library is needed.
// Test: tests/io/zip_archive.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/core/error.hpp>

namespace dssl {

namespace detail {

/// A canonical prefix code: lengths of the symbols' codes -> symbols.
class PrefixCode {
 public:
  /// False for lengths that are no code: more codes than bits allow, or fewer (but for a code of one symbol).
  [[nodiscard]] bool assign(std::span<const std::uint8_t> lengths) {
    x_counts.fill(0);
    for (const std::uint8_t length : lengths) ++x_counts[length];
    x_counts[0] = 0;
    int free = 1;
    for (std::size_t length = 1; length < x_counts.size(); ++length) {
      free = 2 * free - x_counts[length];
      if (free < 0) return false;
    }
    std::array<std::uint16_t, 16> next{};
    for (std::size_t length = 1; length + 1 < next.size(); ++length)
      next[length + 1] = static_cast<std::uint16_t>(next[length] + x_counts[length]);
    x_symbols.fill(0);
    for (std::size_t symbol = 0; symbol < lengths.size(); ++symbol) {
      if (lengths[symbol] != 0) x_symbols[next[lengths[symbol]]++] = static_cast<std::uint16_t>(symbol);
    }
    return free == 0 || std::count(lengths.begin(), lengths.end(), std::uint8_t{0}) + 1 >=
                            static_cast<long>(lengths.size());
  }

  /// The symbol whose code the bits begin with (the first bit lowest) and its length; a length of 0 if there
  /// is none within `count` bits.
  struct Found {
    unsigned symbol = 0;
    unsigned length = 0;
  };
  [[nodiscard]] Found find(std::uint64_t bits, unsigned count) const {
    int code = 0;
    int first = 0;
    int index = 0;
    for (unsigned length = 1; length <= std::min(count, 15U); ++length) {
      code |= static_cast<int>(bits & 1U);
      bits >>= 1U;
      const int here = x_counts[length];
      if (code - first < here) return {x_symbols[static_cast<std::size_t>(index + code - first)], length};
      index += here;
      first = (first + here) << 1;
      code <<= 1;
    }
    return {};
  }

 private:
  std::array<std::uint16_t, 16> x_counts{};    // codes of each length
  std::array<std::uint16_t, 288> x_symbols{};  // in the order of their codes
};

/// Unpacks one deflated stream; `fail(problem)` throws.
template <class Fail>
class Inflater {
 public:
  Inflater(std::vector<std::byte>& out, std::span<const std::byte> packed, std::size_t size, const Fail& fail)
      : x_out(out), x_packed(packed), x_size(size), x_fail(fail) {}

  void run() {
    bool last = false;
    while (!last) {
      last = take(1) != 0;
      switch (take(2)) {
        case 0:
          stored();
          break;
        case 1:
          fixed_codes();
          matches();
          break;
        case 2:
          own_codes();
          matches();
          break;
        default:
          x_fail("a block of an unknown kind");
      }
    }
    if (x_out.size() != x_size) x_fail("fewer bytes than it says");
  }

 private:
  void fill() {
    while (x_count <= 48 && x_at < x_packed.size()) {
      x_bits |= std::to_integer<std::uint64_t>(x_packed[x_at++]) << x_count;
      x_count += 8;
    }
  }

  void drop(unsigned count) {
    x_bits >>= count;
    x_count -= count;
  }

  [[nodiscard]] unsigned take(unsigned count) {
    if (x_count < count) fill();
    if (x_count < count) x_fail("an early end");
    const auto value = static_cast<unsigned>(x_bits & ((std::uint64_t{1} << count) - 1));
    drop(count);
    return value;
  }

  [[nodiscard]] unsigned symbol(const PrefixCode& code) {
    if (x_count < 15) fill();
    const PrefixCode::Found found = code.find(x_bits, x_count);
    if (found.length == 0) x_fail(x_count < 15 ? "an early end" : "bits that are no code");
    drop(found.length);
    return found.symbol;
  }

  void require_room(std::size_t count) {
    if (count > x_size - x_out.size()) x_fail("more bytes than it says");
  }

  void stored() {
    drop(x_count % 8);
    const unsigned length = take(16);
    if ((take(16) ^ length) != 0xFFFFU) x_fail("a block whose length is damaged");
    require_room(length);
    for (unsigned i = 0; i < length; ++i) x_out.push_back(static_cast<std::byte>(take(8)));
  }

  void fixed_codes() {
    std::array<std::uint8_t, 288> lengths{};
    std::fill(lengths.begin(), lengths.begin() + 144, std::uint8_t{8});
    std::fill(lengths.begin() + 144, lengths.begin() + 256, std::uint8_t{9});
    std::fill(lengths.begin() + 256, lengths.begin() + 280, std::uint8_t{7});
    std::fill(lengths.begin() + 280, lengths.end(), std::uint8_t{8});
    std::array<std::uint8_t, 32> distances{};
    distances.fill(5);
    assign(lengths, distances);
  }

  void assign(std::span<const std::uint8_t> lengths, std::span<const std::uint8_t> distances) {
    if (!x_lengths.assign(lengths) || !x_distances.assign(distances)) x_fail("lengths that are no code");
  }

  void own_codes() {
    const unsigned lengths = take(5) + 257;
    const unsigned distances = take(5) + 1;
    const unsigned codes = take(4) + 4;
    if (lengths > 286 || distances > 30) x_fail("more codes than there are");
    constexpr std::array<std::uint8_t, 19> order{16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                 11, 4,  12, 3, 13, 2, 14, 1, 15};
    std::array<std::uint8_t, 320> read{};
    for (unsigned i = 0; i < codes; ++i) read[order[i]] = static_cast<std::uint8_t>(take(3));
    if (!x_lengths.assign(std::span(read).first(19))) x_fail("lengths that are no code");
    read.fill(0);
    for (unsigned i = 0; i < lengths + distances;) {
      const unsigned what = symbol(x_lengths);
      if (what < 16) {
        read[i++] = static_cast<std::uint8_t>(what);
        continue;
      }
      if (what == 16 && i == 0) x_fail("a repetition of nothing");
      const std::uint8_t value = what == 16 ? read[i - 1] : std::uint8_t{0};
      const unsigned times = what == 16 ? 3 + take(2) : what == 17 ? 3 + take(3) : 11 + take(7);
      if (times > lengths + distances - i) x_fail("more codes than it says");
      for (unsigned k = 0; k < times; ++k) read[i++] = value;
    }
    if (read[256] == 0) x_fail("a block without end");
    assign(std::span(read).first(lengths), std::span(read).subspan(lengths, distances));
  }

  void matches() {
    constexpr std::array<std::uint16_t, 29> length_base{3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                                        15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                                        67, 83, 99, 115, 131, 163, 195, 227, 258};
    constexpr std::array<std::uint8_t, 29> length_bits{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                       2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    constexpr std::array<std::uint16_t, 30> distance_base{
        1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
        193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    for (;;) {
      const unsigned what = symbol(x_lengths);
      if (what < 256) {
        require_room(1);
        x_out.push_back(static_cast<std::byte>(what));
        continue;
      }
      if (what == 256) return;
      if (what > 285) x_fail("a length that is none");
      const std::size_t length = length_base[what - 257] + take(length_bits[what - 257]);
      const unsigned far = symbol(x_distances);
      if (far > 29) x_fail("a distance that is none");
      const std::size_t distance = distance_base[far] + take(far < 4 ? 0 : far / 2 - 1);
      if (distance > x_out.size()) x_fail("a distance to before its start");
      require_room(length);
      for (std::size_t i = 0; i < length; ++i) x_out.push_back(x_out[x_out.size() - distance]);
    }
  }

  std::vector<std::byte>& x_out;
  std::span<const std::byte> x_packed;
  std::size_t x_size;
  const Fail& x_fail;
  std::size_t x_at = 0;
  std::uint64_t x_bits = 0;
  unsigned x_count = 0;
  PrefixCode x_lengths, x_distances;
};

}  // namespace detail

/// Unpacks a deflated stream of `size` bytes into out, =. `fail(problem)` is called, and must throw, if the
/// stream is damaged or has another size; memory is taken as bytes come, never for the size alone.
template <class Fail>
void inflate(std::vector<std::byte>& out, std::span<const std::byte> packed, std::size_t size,
             const Fail& fail) {
  out.clear();
  // No stream gets shorter by more than this.
  if (size / 1033 > packed.size()) fail("more bytes than such a stream can have");
  out.reserve(std::min<std::size_t>(size, std::size_t{1} << 26U));
  detail::Inflater<Fail>(out, packed, size, fail).run();
}

}  // namespace dssl
