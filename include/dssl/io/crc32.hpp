// The check sum of zip files: CRC-32 of the reflected polynomial 0xEDB88320, eight bytes at a time.
// Test: tests/io/zip_archive.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace dssl {

namespace detail {

/// Row k: what a byte gives that k further bytes follow.
[[nodiscard]] constexpr std::array<std::array<std::uint32_t, 256>, 8> crc32_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1U) ^ ((value & 1U) != 0 ? 0xEDB88320U : 0U);
    tables[0][byte] = value;
  }
  for (std::size_t row = 1; row < 8; ++row) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[row - 1][byte];
      tables[row][byte] = (before >> 8U) ^ tables[0][before & 255U];
    }
  }
  return tables;
}

inline constexpr std::array<std::array<std::uint32_t, 256>, 8> crc32_rows = crc32_tables();

}  // namespace detail

/// CRC-32 as zip, gzip and PNG have it; of "123456789" it is 0xCBF43926.
[[nodiscard]] inline std::uint32_t crc32(std::span<const std::byte> bytes) {
  const auto& rows = detail::crc32_rows;
  std::uint32_t sum = 0xFFFFFFFFU;
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    std::memcpy(&low, bytes.data() + at, sizeof low);
    std::memcpy(&high, bytes.data() + at + 4, sizeof high);
    low ^= sum;
    sum = rows[7][low & 255U] ^ rows[6][(low >> 8U) & 255U] ^ rows[5][(low >> 16U) & 255U] ^
          rows[4][low >> 24U] ^ rows[3][high & 255U] ^ rows[2][(high >> 8U) & 255U] ^
          rows[1][(high >> 16U) & 255U] ^ rows[0][high >> 24U];
  }
  for (; at < bytes.size(); ++at)
    sum = (sum >> 8U) ^ rows[0][(sum ^ std::to_integer<std::uint32_t>(bytes[at])) & 255U];
  return ~sum;
}

}  // namespace dssl
