// Which part of the image a view shows: random boxes, and boxes that overlap.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/geometry.hpp>

namespace dssl {

/// Bounds of a box's area as a share of the image's area.
struct AreaRange {
  double low = 0.25;
  double high = 1.0;

  [[nodiscard]] constexpr bool operator==(const AreaRange&) const = default;
};

/// Bounds of width / height of a box.
struct AspectRange {
  double low = 3.0 / 4.0;
  double high = 4.0 / 3.0;

  [[nodiscard]] constexpr bool operator==(const AspectRange&) const = default;
};

/// The largest box of an allowed aspect in the middle of the image, each extent rounded and at least one
/// pixel.
[[nodiscard]] inline Box centre_box(Index height, Index width, const AspectRange& aspect) {
  const double h = static_cast<double>(height);
  const double w = static_cast<double>(width);
  Box box{0, 0, height, width};
  if (w / h < aspect.low) {
    box.height = std::clamp<Index>(static_cast<Index>(std::lround(w / aspect.low)), 1, height);
  } else if (w / h > aspect.high) {
    box.width = std::clamp<Index>(static_cast<Index>(std::lround(h * aspect.high)), 1, width);
  }
  box.y = (height - box.height) / 2;
  box.x = (width - box.width) / 2;
  return box;
}

/// A random box of an image of `height` x `width` pixels.
///
/// Area uniform in `area` times the image's area, width / height log-uniform in `aspect`, extents rounded to
/// whole pixels, position uniform; after ten draws that do not fit, `centre_box`. At most 10 draws, no
/// allocation. Source: docs/method.md, "Views and their geometry". Test: bounds and statistics
/// (tests/views/box_search.cpp).
[[nodiscard]] inline Box random_box(Index height, Index width, const AreaRange& area,
                                    const AspectRange& aspect, RandomStream& random) {
  constexpr int tries = 10;
  const double image_area = static_cast<double>(height) * static_cast<double>(width);
  for (int t = 0; t < tries; ++t) {
    const double target = image_area * random.uniform(area.low, area.high);
    const double ratio = std::exp(random.uniform(std::log(aspect.low), std::log(aspect.high)));
    const auto w = static_cast<Index>(std::lround(std::sqrt(target * ratio)));
    const auto h = static_cast<Index>(std::lround(std::sqrt(target / ratio)));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const auto y = static_cast<Index>(random.below(static_cast<std::uint32_t>(height - h + 1)));
    const auto x = static_cast<Index>(random.below(static_cast<std::uint32_t>(width - w + 1)));
    return {y, x, h, w};
  }
  return centre_box(height, width, aspect);
}

/// The share of the image's area that `box` has.
[[nodiscard]] inline double share_of_image(const Box& box, Index height, Index width) {
  return static_cast<double>(box.area()) / (static_cast<double>(height) * static_cast<double>(width));
}

/// Whether `box` has more than `least` of the image's area in common with each of `others`, or more than half of the smaller of
/// the two, where that is less.
[[nodiscard]] inline bool overlaps_enough(const Box& box, std::span<const Box> others, double least, Index height, Index width) {
  const double own = share_of_image(box, height, width);
  return std::ranges::all_of(others, [&](const Box& other) {
    const double smaller = std::min(own, share_of_image(other, height, width));
    return share_of_image(intersect(box, other), height, width) > std::min(least, 0.5 * smaller);
  });
}

/// A random box that overlaps `others` enough: `overlaps_enough`.
///
/// Draws `random_box` until one does, at most 1 + `redraws` times. After that, in this order:
/// 1. the last box drawn, moved so that its middle lies on the middle of the others' common part (and then into the image), if
///    it now overlaps enough;
/// 2. the common part of the others itself, which overlaps each of them as much as any box can that lies in all;
/// 3. if the others have no common part, the last box drawn.
/// Rule 2 satisfies the demand whenever it is reached with views that overlap enough themselves; on images so small that whole
/// pixels do not do, it is the best that can be done. Never loops, whatever the image's size. Test: tests/views/box_search.cpp.
[[nodiscard]] inline Box overlapping_box(Index height, Index width, const AreaRange& area,
                                         const AspectRange& aspect, std::span<const Box> others, double least,
                                         int redraws, RandomStream& random) {
  Box box;
  for (int t = 0; t <= redraws; ++t) {
    box = random_box(height, width, area, aspect, random);
    if (overlaps_enough(box, others, least, height, width)) return box;
  }
  Box common = others.front();
  for (const Box& other : others) common = intersect(common, other);
  if (common.area() == 0) return box;
  box.y = std::clamp<Index>(common.y + (common.height - box.height) / 2, 0, height - box.height);
  box.x = std::clamp<Index>(common.x + (common.width - box.width) / 2, 0, width - box.width);
  return overlaps_enough(box, others, least, height, width) ? box : common;
}

}  // namespace dssl
