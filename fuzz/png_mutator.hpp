// Mutations that get past the check sums of PNG, without which libpng looks at nothing else.
#pragma once

#ifdef DSSL_FUZZING

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <zlib.h>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// libFuzzer's own mutation; three times out of four every whole chunk then gets the check sum of what it holds.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  constexpr std::string_view magic = "\x89PNG\r\n\x1a\n";
  if (seed % 4 == 0 || size < magic.size() ||
      !std::equal(magic.begin(), magic.end(), data, [](char c, std::uint8_t b) { return static_cast<std::uint8_t>(c) == b; }))
    return size;
  const auto number = [data](std::size_t i) {
    return std::size_t{data[i]} << 24U | std::size_t{data[i + 1]} << 16U | std::size_t{data[i + 2]} << 8U | data[i + 3];
  };
  // A chunk: the length of its data, four letters, the data, the sum of letters and data.
  for (std::size_t at = magic.size(); at + 12 <= size && number(at) <= size - at - 12; at += number(at) + 12) {
    const std::size_t checked = number(at) + 4;
    const auto sum = crc32(0, data + at + 4, static_cast<uInt>(checked));
    for (unsigned i = 0; i < 4; ++i) data[at + 4 + checked + i] = static_cast<std::uint8_t>(sum >> (24 - 8 * i));
  }
  return size;
}

#endif
