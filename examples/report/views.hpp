// Pictures of a run's views and the points that pair them.
#pragma once

#include <string>
#include <vector>

#include <dssl/views/image.hpp>
#include <report/runs.hpp>

namespace dssl::programs {

/// A scene with the boxes of its views, and the views with their reference points, as HTML: what the run saw
/// of image `sample` in its first epoch. The points are those of the pairs with teacher view 0.
[[nodiscard]] std::string views_html(const PretrainRun& run, const AnyImage& image, Index sample);

}  // namespace dssl::programs
