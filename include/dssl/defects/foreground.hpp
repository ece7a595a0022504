// Which pixels of an image show the part that is looked at; its background, or the border of a fixture, does not count.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// Clears of counts (h,w) what is not `wanted`, as far as it is connected with the edge of the image, up, down, left or right:
/// what the part encloses, a dark hole of it or a defect, is of the part.
inline void clear_from_edge(Image<std::uint8_t>& counts, const std::vector<bool>& wanted) {
  const Index h = counts.height(), w = counts.width();
  std::vector<Index> open;
  const auto meet = [&](Index y, Index x) {
    const Index at = y * w + x;
    if (wanted[static_cast<std::size_t>(at)] || counts.pixels()[static_cast<std::size_t>(at)] == 0) return;
    counts.pixels()[static_cast<std::size_t>(at)] = 0;
    open.push_back(at);
  };
  for (Index x = 0; x < w; ++x) {
    meet(0, x);
    meet(h - 1, x);
  }
  for (Index y = 0; y < h; ++y) {
    meet(y, 0);
    meet(y, w - 1);
  }
  while (!open.empty()) {
    const Index y = open.back() / w, x = open.back() % w;
    open.pop_back();
    if (y > 0) meet(y - 1, x);
    if (y + 1 < h) meet(y + 1, x);
    if (x > 0) meet(y, x - 1);
    if (x + 1 < w) meet(y, x + 1);
  }
}

}  // namespace detail

/// Rules for the pixels that count: those that all rules that are set let count. The default lets all.
///
///   background by brightness: pixels with v <= above, or v >= below, connected with the edge of the image by such pixels;
///   v = mean over channels of the value, full scale being 255
///
/// By masks the rest of an image's own mask is background. Brightness is that of the image as it was loaded, before anything is
/// made alike. Test: tests/defects/foreground.cpp.
struct Foreground {
  bool masks = false;             ///< each image brings a mask of it (`LabelledImage::foreground`); one that does not is refused
  std::optional<double> above{};  ///< 0 up to 255
  std::optional<double> below{};  ///< above 0, to 255

  [[nodiscard]] bool operator==(const Foreground&) const = default;

  /// Whether a rule is set.
  [[nodiscard]] bool any() const { return masks || above || below; }

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (above && !(*above >= 0 && *above < 255)) throw OptionError("foreground_above", *above, "0 or more, below 255");
    if (below && !(*below > 0 && *below <= 255)) throw OptionError("foreground_below", *below, "above 0, up to 255");
    if (above && below && !(*above < *below))
      throw OptionError("foreground_above", *above, join("a value below that of foreground_below, ", *below));
  }

  /// (H,W,1): 1 where the picture counts, else 0; with no rule nothing. O(H W C). Throws `LabelError` naming the picture where it
  /// brings no mask though it should, `ImageError` where nothing of it counts, `ShapeError` for a mask of another size.
  [[nodiscard]] Image<std::uint8_t> of(const LabelledImage& picture, const std::string& name) const {
    if (!any()) return {};
    Image<std::uint8_t> counts(height(picture.image), width(picture.image), 1);
    std::ranges::fill(counts.pixels(), std::uint8_t{1});
    if (above || below) detail::clear_from_edge(counts, x_wanted(picture.image));
    if (masks) {
      const Image<std::uint8_t>& own = picture.foreground;
      if (own.pixels().empty()) throw LabelError(name, "has no mask of its foreground");
      require_shape(own.height() == counts.height() && own.width() == counts.width(), name, ": a foreground of ", own.height(), " x ",
                    own.width(), " pixels for an image of ", counts.height(), " x ", counts.width());
      for (std::size_t i = 0; i < counts.pixels().size(); ++i) {
        if (own.pixels()[i] == 0) counts.pixels()[i] = 0;
      }
    }
    if (std::ranges::none_of(counts.pixels(), [](std::uint8_t v) { return v != 0; })) throw ImageError(name, "has no pixel on its foreground");
    return counts;
  }

 private:
  /// Of every pixel whether its brightness is one of the part's.
  [[nodiscard]] std::vector<bool> x_wanted(const AnyImage& image) const {
    return std::visit(
        [&]<class P>(const Image<P>& from) {
          const auto each = static_cast<std::size_t>(from.channels());
          const double unit = 255.0 / (static_cast<double>(full_scale<P>) * static_cast<double>(each));
          std::vector<bool> out(from.pixels().size() / each);
          for (std::size_t i = 0; i < out.size(); ++i) {
            double sum = 0;
            for (std::size_t c = 0; c < each; ++c) sum += static_cast<double>(from.pixels()[i * each + c]);
            out[i] = (!above || sum * unit > *above) && (!below || sum * unit < *below);
          }
          return out;
        },
        image);
  }
};

}  // namespace dssl
