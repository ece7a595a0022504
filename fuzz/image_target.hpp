// What the targets of image codecs share.
#pragma once

#include <array>
#include <cstddef>

#include <dssl/io/image_codec.hpp>
#include <dssl/views/image.hpp>

#include "fuzz.hpp"

namespace dssl::fuzz {

/// Limits under which decoding takes no time worth naming.
[[nodiscard]] inline ReadOptions small_images() { return {.largest_pixels = Index{1} << 14, .largest_bytes = Index{1} << 20}; }

/// As files are read by default, with other channels and another white, and with transparency; small images alone.
[[nodiscard]] inline std::array<ReadOptions, 3> ways_to_read() {
  std::array<ReadOptions, 3> ways{small_images(), small_images(), small_images()};
  ways[1].channels = 1;
  ways[1].keep_alpha = true;
  ways[1].orient = false;
  ways[1].white = 4095;
  ways[2].keep_alpha = true;
  return ways;
}

inline void check_image(const AnyImageView& image, const ReadOptions& options) {
  const Index pixels = height(image) * width(image);
  require(pixels >= 1 && pixels <= options.largest_pixels, "an image has the pixels that are allowed");
  require(channels(image) >= 1 && channels(image) <= 4 && (options.channels == 0 || channels(image) == options.channels),
          "an image has the channels that were asked for");
}

}  // namespace dssl::fuzz
