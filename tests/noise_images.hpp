// Images of noise.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/image.hpp>

namespace dssl::test {

/// An image whose values are what `level(random)` gives, one after the other.
template <PixelType P = std::uint8_t, class Level>
[[nodiscard]] Image<P> noise_image(Index height, Index width, Index channels, const RandomKey& key, const Level& level) {
  Image<P> image(height, width, channels);
  RandomStream random(key);
  for (P& p : image.pixels()) p = static_cast<P>(level(random));
  return image;
}

/// Images of all levels and of several heights, some of which cannot be read.
class NoiseImages {
 public:
  explicit NoiseImages(Index count, std::vector<Index> unreadable = {}, Index image_channels = 3)
      : x_count(count), x_unreadable(std::move(unreadable)), x_channels(image_channels) {}

  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return "noise " + std::to_string(i); }
  [[nodiscard]] AnyImage load(Index i) const {
    if (std::find(x_unreadable.begin(), x_unreadable.end(), i) != x_unreadable.end()) {
      throw ImageError(name(i), "is damaged");
    }
    return noise_image(24 + i % 5, 30, x_channels,
                       {.seed = 3, .sample = static_cast<std::uint64_t>(i), .purpose = Purpose::user},
                       [](RandomStream& random) { return random.bits() & 255U; });
  }

 private:
  Index x_count;
  std::vector<Index> x_unreadable;
  Index x_channels;
};

}  // namespace dssl::test
