// Defects made up on normal images, so that ways to find defects can be compared where nobody has labelled any.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// What defects are pasted.
enum class PastedKind : std::uint8_t {
  cut,   ///< a rectangle of the image itself at another place, its light a little changed
  scar,  ///< a thin bent line, darker or brighter
  blob   ///< a soft ellipse, darker or brighter
};

/// Sizes and strengths of pasted defects.
struct PastedOptions {
  double smallest = 0.03;  ///< longer extent over the image's shorter side, at least; sizes are even in their logarithm
  double largest = 0.3;
  double weakest = 1;  ///< change of brightness of scars and blobs, in deviations of the image's pixels, at least
  double strongest = 4;
  std::uint64_t seed = 0;

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (!(smallest > 0 && smallest <= 1)) throw OptionError("smallest", smallest, "above 0, up to 1");
    if (!(largest >= smallest && largest <= 1)) throw OptionError("largest", largest, "'smallest' to 1");
    if (!(weakest > 0)) throw OptionError("weakest", weakest, "above 0");
    if (!(strongest >= weakest && std::isfinite(strongest))) throw OptionError("strongest", strongest, "'weakest' or more");
  }
};

namespace detail {

/// A defect's shape: how much of each pixel it takes, 0 to 1, in a box of the image.
struct PastedShape {
  Index top = 0, left = 0, height = 0, width = 0;
  std::vector<float> share;  ///< (height,width)
};

/// The shape of a kind, drawn; it lies inside the image with its middle, where there is a foreground on that: of a thousand drawn
/// middles the first that does.
[[nodiscard]] inline PastedShape pasted_shape(PastedKind kind, Index image_height, Index image_width, const PastedOptions& o,
                                              RandomStream& random, const Image<std::uint8_t>& foreground) {
  const auto side = static_cast<double>(std::min(image_height, image_width));
  const double extent = std::max(2.0, side * o.smallest * std::pow(o.largest / o.smallest, random.uniform()));
  const double slim = random.uniform(0.3, 1.0);
  const double angle = random.uniform(0, std::numbers::pi);
  double middle_y = random.uniform(0, static_cast<double>(image_height));
  double middle_x = random.uniform(0, static_cast<double>(image_width));
  const auto is_off = [&] {
    const Index y = std::min(static_cast<Index>(middle_y), image_height - 1), x = std::min(static_cast<Index>(middle_x), image_width - 1);
    return !foreground.pixels().empty() && foreground(y, x, 0) == 0;
  };
  for (int drawn = 1; drawn < 1000 && is_off(); ++drawn) {
    middle_y = random.uniform(0, static_cast<double>(image_height));
    middle_x = random.uniform(0, static_cast<double>(image_width));
  }
  const double bend = random.uniform(-0.3, 0.3);
  // A scar is a line of one pixel and more; the others have two half axes.
  const double half_long = extent / 2;
  const double half_short = kind == PastedKind::scar ? std::max(0.6, extent * random.uniform(0.01, 0.05)) : std::max(1.0, half_long * slim);
  const bool turned = random.bernoulli(0.5);
  PastedShape out;
  const double reach = half_long + half_short + 2;
  out.top = std::max<Index>(0, static_cast<Index>(std::floor(middle_y - reach)));
  out.left = std::max<Index>(0, static_cast<Index>(std::floor(middle_x - reach)));
  out.height = std::min(image_height, static_cast<Index>(std::ceil(middle_y + reach))) - out.top;
  out.width = std::min(image_width, static_cast<Index>(std::ceil(middle_x + reach))) - out.left;
  for (Index y = 0; y < out.height; ++y) {
    for (Index x = 0; x < out.width; ++x) {
      const double dy = static_cast<double>(out.top + y) + 0.5 - middle_y;
      const double dx = static_cast<double>(out.left + x) + 0.5 - middle_x;
      double along = std::cos(angle) * dx + std::sin(angle) * dy;
      double across = -std::sin(angle) * dx + std::cos(angle) * dy;
      double share = 0;
      if (kind == PastedKind::cut) {  // upright, as a knife cuts it
        along = turned ? dy : dx;
        across = turned ? dx : dy;
        share = std::abs(along) <= half_long && std::abs(across) <= half_short ? 1 : 0;
      } else if (kind == PastedKind::scar) {
        across -= bend * (along * along / half_long - half_long / 3);
        share = std::abs(along) <= half_long ? std::clamp(half_short + 0.5 - std::abs(across), 0.0, 1.0) : 0;
      } else {
        const double radius = std::hypot(along / half_long, across / half_short);
        share = std::clamp(2 * (1 - radius), 0.0, 1.0);
      }
      out.share.push_back(static_cast<float>(share));
    }
  }
  // However small it is, it is there.
  if (std::ranges::all_of(out.share, [](float s) { return s < 0.5F; })) {
    const auto y = std::clamp<Index>(static_cast<Index>(middle_y), 0, image_height - 1) - out.top;
    const auto x = std::clamp<Index>(static_cast<Index>(middle_x), 0, image_width - 1) - out.left;
    out.share[static_cast<std::size_t>(y * out.width + x)] = 1;
  }
  return out;
}

template <PixelType P>
[[nodiscard]] double pixel_deviation(const Image<P>& image) {
  double mean = 0, square = 0;
  const auto count = static_cast<double>(image.pixels().size());
  for (const P v : image.pixels()) mean += static_cast<double>(v) / count;
  for (const P v : image.pixels()) square += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean) / count;
  return std::sqrt(square);
}

}  // namespace detail

/// The image with one defect of that kind, and its mask: 1 where the defect takes half of a pixel or more, else 0.
///
///   v' = v + share x shift (scar, blob: the same shift in all channels),   v' = share x gain x v(elsewhere) (cut)
///
/// cut off at black and full scale; everything outside the shape is as it was. What is drawn (kind apart: size, place,
/// angle, shift) depends on the options' seed, `sample` and `foreground` (H,W,1; empty: all) alone. Throws `OptionError`. Source: the cut-outs and scars of
/// Li et al. (CutPaste), CVPR 2021, and blobs. Test: tests/defects/patch_rules.cpp.
[[nodiscard]] inline LabelledImage paste_defect(const AnyImage& image, PastedKind kind, std::uint64_t sample,
                                                const PastedOptions& options = {}, const Image<std::uint8_t>& foreground = {}) {
  options.validate();
  RandomStream random({.seed = options.seed, .sample = sample, .view = 13, .purpose = Purpose::probe});
  return std::visit(
      [&](const auto& from) -> LabelledImage {
        using P = typename std::decay_t<decltype(from)>::value_type;
        LabelledImage out{.image = from, .mask = Image<std::uint8_t>(from.height(), from.width(), 1)};
        auto& to = std::get<Image<P>>(out.image);
        const detail::PastedShape shape = detail::pasted_shape(kind, from.height(), from.width(), options, random, foreground);
        const double full = static_cast<double>(full_scale<P>);
        // An image of one value has no deviation to go by.
        const double unit = std::max(detail::pixel_deviation(from), full / 50);
        const double shift =
            random.uniform(options.weakest, options.strongest) * unit * (random.bernoulli(0.5) ? 1.0 : -1.0);
        const double gain = random.uniform(0.75, 1.25);
        const auto elsewhere_y = static_cast<Index>(random.below(static_cast<std::uint32_t>(from.height() - shape.height + 1)));
        const auto elsewhere_x = static_cast<Index>(random.below(static_cast<std::uint32_t>(from.width() - shape.width + 1)));
        for (Index y = 0; y < shape.height; ++y) {
          for (Index x = 0; x < shape.width; ++x) {
            const auto share = static_cast<double>(shape.share[static_cast<std::size_t>(y * shape.width + x)]);
            if (share <= 0) continue;
            out.mask(shape.top + y, shape.left + x, 0) = share >= 0.5 ? 1 : 0;
            for (Index c = 0; c < from.channels(); ++c) {
              const auto old = static_cast<double>(from(shape.top + y, shape.left + x, c));
              const double pasted = kind == PastedKind::cut
                                        ? gain * static_cast<double>(from(elsewhere_y + y, elsewhere_x + x, c))
                                        : old + shift;
              const double value = std::clamp(old + share * (pasted - old), 0.0, full);
              to(shape.top + y, shape.left + x, c) =
                  std::is_same_v<P, float> ? static_cast<P>(value) : static_cast<P>(std::lround(value));
            }
          }
        }
        return out;
      },
      image);
}

/// The kind of the `number`th defect on image `image`: every image has all kinds before any comes again.
[[nodiscard]] constexpr PastedKind pasted_kind(Index image, Index number) {
  return std::array{PastedKind::cut, PastedKind::scar, PastedKind::blob}[static_cast<std::size_t>((image + number) % 3)];
}

/// Every image of a source of normal images `each` times, with a defect pasted, on its foreground: the kinds in turn.
template <class Source>
class PastedDefects {
 public:
  /// `source` must outlive this. Throws `OptionError`.
  PastedDefects(const Source& source, Index each, PastedOptions options = {})
      : x_source(source), x_each(each), x_options((options.validate(), options)) {
    if (each < 1) throw OptionError("each", each, "at least 1");
  }
  [[nodiscard]] Index size() const { return x_each * x_source.size(); }
  [[nodiscard]] std::string name(Index i) const { return join(x_source.name(i / x_each), ", with a pasted ", x_word(kind(i))); }
  [[nodiscard]] PastedKind kind(Index i) const { return pasted_kind(i / x_each, i % x_each); }
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage own = detail::with_mask(x_source.load(i / x_each));
    LabelledImage out = paste_defect(own.image, kind(i), static_cast<std::uint64_t>(i), x_options, own.foreground);
    out.foreground = std::move(own.foreground);
    return out;
  }

 private:
  [[nodiscard]] static const char* x_word(PastedKind kind) {
    return kind == PastedKind::cut ? "cut" : kind == PastedKind::scar ? "scar" : "blob";
  }

  const Source& x_source;
  Index x_each;
  PastedOptions x_options;
};

}  // namespace dssl
