// Images whose brightness and contrast are made alike.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// The image as floats with mean 0.5 and deviation 0.25 over all its pixels and channels:
///
///   v' = 0.5 + 0.25 (v - m) / s
///
/// with m and s the image's own, in double. One pair for all channels, so that colours stay apart. Values below 0 and
/// above 1 stay, nothing is cut off; an image of one value becomes 0.5. Another exposure (a gain and an offset) gives the
/// same, to rounding. Test: tests/defects/patch_rules.cpp.
[[nodiscard]] inline AnyImage standardised(const AnyImage& image) {
  return std::visit(
      [](const auto& from) -> AnyImage {
        double mean = 0, square = 0;
        const auto count = static_cast<double>(from.pixels().size());
        for (const auto v : from.pixels()) mean += static_cast<double>(v) / count;
        for (const auto v : from.pixels()) square += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean) / count;
        const double deviation = std::sqrt(square);
        Image<float> out(from.height(), from.width(), from.channels());
        for (std::size_t i = 0; i < out.pixels().size(); ++i) {
          const double apart = deviation > 0 ? (static_cast<double>(from.pixels()[i]) - mean) / deviation : 0.0;
          out.pixels()[i] = static_cast<float>(0.5 + 0.25 * apart);
        }
        return out;
      },
      image);
}

/// The image as floats whose brightness and contrast are alike everywhere in it:
///
///   v' = 0.5 + 0.25 (v - m(y, x)) / sqrt(s(y, x)^2 + (0.2 s)^2)
///
/// with m(y, x) and s(y, x) the mean and deviation over the square of 2 `radius` + 1 pixels about a pixel, as far as it lies
/// in the image, all channels together, and s that of the whole image, so that the noise of an even ground is not made
/// large. Uneven light goes, and so does what is much larger than the square. O(H W C) whatever the radius. Throws
/// `OptionError` for a radius below 1. Test: tests/defects/patch_rules.cpp.
[[nodiscard]] inline AnyImage flattened(const AnyImage& image, Index radius) {
  if (radius < 1) throw OptionError("flatten", radius, "at least 1 pixel");
  return std::visit(
      [radius](const auto& from) -> AnyImage {
        const Index h = from.height(), w = from.width(), c = from.channels();
        double mean = 0;
        const auto count = static_cast<double>(from.pixels().size());
        for (const auto v : from.pixels()) mean += static_cast<double>(v) / count;
        // Sums over all above and left of a pixel, of what is left of the mean: small numbers, so that squares are exact enough.
        const auto at = [w](Index y, Index x) { return static_cast<std::size_t>(y * (w + 1) + x); };
        std::vector<double> sum(at(h, w) + 1), square(sum.size());
        for (Index y = 0; y < h; ++y) {
          double row = 0, row_square = 0;
          for (Index x = 0; x < w; ++x) {
            for (Index k = 0; k < c; ++k) {
              const double v = static_cast<double>(from(y, x, k)) - mean;
              row += v;
              row_square += v * v;
            }
            sum[at(y + 1, x + 1)] = sum[at(y, x + 1)] + row;
            square[at(y + 1, x + 1)] = square[at(y, x + 1)] + row_square;
          }
        }
        const double floor = 0.04 * square[at(h, w)] / count;
        Image<float> out(h, w, c);
        for (Index y = 0; y < h; ++y) {
          const Index top = std::max<Index>(0, y - radius), bottom = std::min(h, y + radius + 1);
          for (Index x = 0; x < w; ++x) {
            const Index left = std::max<Index>(0, x - radius), right = std::min(w, x + radius + 1);
            const auto over = [&](const std::vector<double>& of) {
              return (of[at(bottom, right)] - of[at(top, right)] - of[at(bottom, left)] + of[at(top, left)]) /
                     static_cast<double>((bottom - top) * (right - left) * c);
            };
            const double local = over(sum);
            const double deviation = std::sqrt(std::max(0.0, over(square) - local * local) + floor);
            for (Index k = 0; k < c; ++k) {
              const double apart = static_cast<double>(from(y, x, k)) - mean - local;
              out(y, x, k) = static_cast<float>(0.5 + (deviation > 0 ? 0.25 * apart / deviation : 0.0));
            }
          }
        }
        return out;
      },
      image);
}

/// A source whose images are `flattened` over that radius, or at 0 `standardised`, or as they are.
template <SegmentationSource Source>
class StandardisedImages {
 public:
  StandardisedImages(Source source, bool standardise, Index flatten = 0)
      : x_source(std::move(source)), x_standardise(standardise), x_flatten(flatten) {}
  [[nodiscard]] Index size() const { return x_source.size(); }
  [[nodiscard]] std::string name(Index i) const { return x_source.name(i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out = x_source.load(i);
    if (x_flatten > 0) {
      out.image = flattened(out.image, x_flatten);
    } else if (x_standardise) {
      out.image = standardised(out.image);
    }
    return out;
  }

 private:
  Source x_source;
  bool x_standardise;
  Index x_flatten;
};

}  // namespace dssl
