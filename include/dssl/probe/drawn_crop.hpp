// The part of an image that a training sample shows.
#pragma once

#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/box_search.hpp>
#include <dssl/views/geometry.hpp>

namespace dssl {

/// A `random_box` of an image, mirrored with probability `flip`; the same for the same key. Test:
/// tests/probe/tuned_network.cpp.
[[nodiscard]] inline CropMap drawn_crop(Index height, Index width, const AreaRange& area,
                                        const AspectRange& aspect, double flip, const RandomKey& key) {
  RandomStream random(key);
  const Box box = random_box(height, width, area, aspect, random);
  return {.box = box, .flip = random.bernoulli(flip)};
}

}  // namespace dssl
