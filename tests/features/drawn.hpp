// Numbers for small backbones and their images.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace dssl::test {

/// Thousandths from -1 up to 1, the same for a seed in any type.
template <class T>
std::vector<T> drawn(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<T> out(count);
  for (T& v : out) v = static_cast<T>(static_cast<double>(random() % 2000) / 1000.0 - 1.0);
  return out;
}

}  // namespace dssl::test
