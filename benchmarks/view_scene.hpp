// A picture to time views on.
#pragma once

#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/image.hpp>

namespace dssl::benchmarks {

/// Shading, edges and noise: no operation meets a constant picture or one hue only.
template <PixelType T>
[[nodiscard]] Image<T> view_scene(Index height, Index width, Index channels) {
  Image<T> image(height, width, channels);
  RandomStream random({.seed = 1, .purpose = Purpose::synthetic});
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      for (Index c = 0; c < channels; ++c) {
        const auto shade = static_cast<double>((x * (c + 1) + 2 * y) % 256) / 256.0;
        const double edge = (x / 31 + y / 19) % 2 == 0 ? 0.2 : 0.0;
        image(y, x, c) = static_cast<T>((0.6 * shade + edge + 0.2 * random.uniform()) *
                                        static_cast<double>(full_scale<T>));
      }
    }
  }
  return image;
}

}  // namespace dssl::benchmarks
