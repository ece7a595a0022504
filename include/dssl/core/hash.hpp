// Hashes of bytes that files keep: of a checkpoint's numbers, of a bank's weights, of the names of images. Their values last.
// Not for secrets: two inputs may have the same by design. Test: tests/core/hash.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

namespace dssl::detail {

/// FNV-1a, a byte at a time: four cycles of a processor each.
class Fnv1a {
 public:
  constexpr void add(std::uint64_t byte) { x_value = (x_value ^ byte) * 1099511628211ULL; }
  [[nodiscard]] constexpr std::uint64_t value() const { return x_value; }

 private:
  std::uint64_t x_value = 14695981039346656037ULL;
};

[[nodiscard]] inline std::uint64_t hash_of_bytes(std::span<const std::byte> bytes) {
  Fnv1a hash;
  for (const std::byte byte : bytes) hash.add(static_cast<std::uint64_t>(byte));
  return hash.value();
}

/// What words are multiplied by: odd, so that nothing is lost.
inline constexpr std::uint64_t word_factor = 0x9E3779B97F4A7C15ULL;

/// So many bytes, 8 at most, as the processor reads a word, zeros after them.
[[nodiscard]] inline std::uint64_t word_at(const std::byte* bytes, std::size_t count = 8) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, count);
  return word;
}

/// Goes on from `sum`, 0 at first, eight bytes at a time. What is left is folded with the number of bytes, so that the sum
/// depends on how they are split into calls.
[[nodiscard]] inline std::uint64_t check_sum(std::uint64_t sum, std::span<const std::byte> bytes) {
  const auto mix = [&sum](std::uint64_t word) {
    sum = (sum ^ word) * word_factor;
    sum ^= sum >> 29U;
  };
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) mix(word_at(bytes.data() + i));
  std::uint64_t tail = bytes.size();
  for (; i < bytes.size(); ++i) tail = (tail << 8U) | static_cast<std::uint64_t>(bytes[i]);
  mix(tail);
  return sum;
}

/// Over words of eight bytes, the last filled up with zeros, in four rows that do not wait for each other: word i belongs to
/// row i mod 4. The upper half of a product goes into the lower one and through another product: else changed signs cancel.
[[nodiscard]] inline std::uint64_t hash_of_words(std::span<const std::byte> bytes) {
  const auto step = [](std::uint64_t hash, std::uint64_t word) {
    hash = (hash ^ word) * word_factor;
    return (hash ^ (hash >> 32U)) * word_factor;
  };
  std::array<std::uint64_t, 4> rows{0, 1, 2, 3};
  const std::size_t whole = bytes.size() / 32 * 32;
  for (std::size_t at = 0; at < whole; at += 32) {
    for (std::size_t row = 0; row < 4; ++row) rows[row] = step(rows[row], word_at(bytes.data() + at + 8 * row));
  }
  for (std::size_t at = whole; at < bytes.size(); at += 8) {
    std::uint64_t& row = rows[(at - whole) / 8];
    row = step(row, word_at(bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at)));
  }
  std::uint64_t hash = bytes.size();
  for (const std::uint64_t row : rows) hash = step(hash, row);
  return hash;
}

/// "0123456789abcdef".
[[nodiscard]] inline std::string hexadecimal(std::uint64_t number) {
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[number >> shift & 15U];
  return out;
}

}  // namespace dssl::detail
