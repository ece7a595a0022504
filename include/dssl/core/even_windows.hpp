// How windows of one length cover a longer one: the rule of every part that cuts images.
// Tests: tests/defects/tiles.cpp, tests/data/image_tiles.cpp.
#pragma once

#include <algorithm>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// The fewest windows that cover a length whole, as evenly as that goes.
///
/// Neighbours have at least the overlap in common: count = ceil(max(0, length - window) / (window - overlap)) + 1, and window i
/// begins at floor(i (length - window) / (count - 1)). Of a length that is no longer than a window there is one, at 0, which may
/// reach beyond the end.
struct EvenWindows {
  Index beyond = 0;  ///< what is left of the length behind the first window
  Index count = 1;

  /// Throws `ShapeError` unless the length is at least 1 and the overlap 0 to window - 1.
  EvenWindows(Index length, Index window, Index overlap) : beyond(std::max<Index>(0, length - window)) {
    require_shape(length >= 1 && overlap >= 0 && overlap < window, "windows of ", window, " that overlap by ", overlap, " over ", length);
    count = (beyond + window - overlap - 1) / (window - overlap) + 1;
  }

  [[nodiscard]] Index begin(Index i) const { return count == 1 ? 0 : i * beyond / (count - 1); }
};

}  // namespace dssl
