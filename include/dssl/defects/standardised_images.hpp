// Images whose brightness and contrast are made alike.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

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

/// A source whose images are `standardised`, or as they are.
template <SegmentationSource Source>
class StandardisedImages {
 public:
  StandardisedImages(Source source, bool standardise) : x_source(std::move(source)), x_standardise(standardise) {}
  [[nodiscard]] Index size() const { return x_source.size(); }
  [[nodiscard]] std::string name(Index i) const { return x_source.name(i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out = x_source.load(i);
    if (x_standardise) out.image = standardised(out.image);
    return out;
  }

 private:
  Source x_source;
  bool x_standardise;
};

}  // namespace dssl
