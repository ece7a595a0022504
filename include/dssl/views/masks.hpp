// Which patches of the global views the student does not see.
// Tests: tests/views/masks.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/exact_number.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/views/multi_crop_options.hpp>

namespace dssl {

/// Numbers of `BlockMasks`; the defaults are DINOv2's.
struct MaskOptions {
  double views = 0.5;       ///< share of a batch's global views that are masked, in [0, 1]
  double low = 0.1;         ///< share of a masked view's patches: between low ...
  double high = 0.5;        ///< ... and high, below 1
  Index least_block = 4;    ///< patches of a block, at least
  double aspect = 0.3;      ///< height / width of a block: between this and its inverse, in (0, 1]

  [[nodiscard]] bool operator==(const MaskOptions&) const = default;

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate(std::string_view prefix = "masks.") const {
    const auto require = [&](bool holds, std::string_view field, auto value, std::string_view expected) {
      if (!holds) throw OptionError(join(prefix, field), value, std::string(expected));
    };
    require(views >= 0 && views <= 1, "views", views, "a share in [0, 1]");
    require(low >= 0 && low < 1, "low", low, "a share in [0, 1)");
    require(high >= low && high < 1, "high", high, "a share from the low end to below 1");
    require(least_block >= 1, "least_block", least_block, "at least 1");
    require(aspect > 0 && aspect <= 1, "aspect", aspect, "a ratio in (0, 1]");
  }
};

/// Blocks of patches that are masked, in some of a batch's global views.
///
/// A share `views` of them, drawn without order, is masked; the i-th of these M is asked for a share of its patches drawn
/// from the i-th of M equal slices of [low, high], so that a batch always has many and few. Blocks are added until that
/// many are masked: of an area uniform in [least_block, what is left], of an aspect whose logarithm is uniform, somewhere
/// within the view, never more than asked, ten tries each; so a view may end with fewer. Nothing is drawn of the images.
/// Source: dinov2 data/masking.py and collate.py.
class BlockMasks {
 public:
  using Options = MaskOptions;

  /// Throws `OptionError` naming the field.
  explicit BlockMasks(const MaskOptions& options = {}) : x_options(options) { x_options.validate(); }

  [[nodiscard]] const MaskOptions& options() const { return x_options; }

  /// Patches of so many views that may be masked, at most.
  [[nodiscard]] Index most(Index views, GridSize grid) const {
    Index out = 0;
    const Index masked = x_masked(views);
    for (Index i = 0; i < masked; ++i) out += x_patches(x_share(i + 1, masked), grid);
    return out;
  }

  /// masks (views,N) = 1 where a patch is masked, else 0. `masks` has one entry a patch.
  void draw(std::span<std::uint8_t> masks, Index views, GridSize grid, RandomStream& random) const {
    require_shape(static_cast<Index>(masks.size()) == views * grid.size(), "masks of ", masks.size(), " patches for ", views,
                  " views of ", grid.size());
    std::ranges::fill(masks, std::uint8_t{0});
    std::vector<Index> order(static_cast<std::size_t>(views));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<Index>(i);
    for (std::size_t i = order.size(); i > 1; --i) {
      std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
    }
    const auto patches = static_cast<std::size_t>(grid.size());
    const Index masked = x_masked(views);
    for (Index i = 0; i < masked; ++i) {
      const double share = random.uniform(x_share(i, masked), x_share(i + 1, masked));
      const auto view = static_cast<std::size_t>(order[static_cast<std::size_t>(i)]);
      x_mask(masks.subspan(view * patches, patches), grid, x_patches(share, grid), random);
    }
  }

  /// In words, for checkpoints.
  [[nodiscard]] std::string words() const {
    // All digits: other numbers are other masks.
    return join("blocks in ", exact_number(x_options.views), " of the views, ", exact_number(x_options.low), " to ",
                exact_number(x_options.high), " of their patches, blocks of ", x_options.least_block, " patches and aspect ",
                exact_number(x_options.aspect), " at least");
  }

 private:
  static constexpr int x_tries = 10;

  [[nodiscard]] Index x_masked(Index views) const { return static_cast<Index>(static_cast<double>(views) * x_options.views); }
  [[nodiscard]] double x_share(Index slice, Index slices) const {
    return x_options.low + (x_options.high - x_options.low) * static_cast<double>(slice) / static_cast<double>(slices);
  }
  static Index x_patches(double share, GridSize grid) {
    return static_cast<Index>(share * static_cast<double>(grid.size()));
  }

  void x_mask(std::span<std::uint8_t> mask, GridSize grid, Index asked, RandomStream& random) const {
    Index left = asked;
    while (left > 0) {
      const Index added = x_add_block(mask, grid, left, random);
      if (added == 0) return;
      left -= added;
    }
  }

  /// Adds a block of 1 to `left` patches that were not masked; 0 where no try fits.
  Index x_add_block(std::span<std::uint8_t> mask, GridSize grid, Index left, RandomStream& random) const {
    for (int i = 0; i < x_tries; ++i) {
      const double area = random.uniform(static_cast<double>(x_options.least_block), static_cast<double>(left));
      const double aspect = std::exp(random.uniform(std::log(x_options.aspect), -std::log(x_options.aspect)));
      const auto height = static_cast<Index>(std::lround(std::sqrt(area * aspect)));
      const auto width = static_cast<Index>(std::lround(std::sqrt(area / aspect)));
      if (height >= grid.height || width >= grid.width) continue;
      const auto top = static_cast<Index>(random.below(static_cast<std::uint32_t>(grid.height - height + 1)));
      const auto first = static_cast<Index>(random.below(static_cast<std::uint32_t>(grid.width - width + 1)));
      Index added = 0;
      const auto each = [&](auto&& f) {
        for (Index y = top; y < top + height; ++y) {
          for (Index x = first; x < first + width; ++x) f(mask[static_cast<std::size_t>(y * grid.width + x)]);
        }
      };
      each([&](std::uint8_t m) { added += m == 0 ? 1 : 0; });
      if (added == 0 || added > left) continue;
      each([](std::uint8_t& m) { m = 1; });
      return added;
    }
    return 0;
  }

  MaskOptions x_options;
};

/// A view generator whose global views are masked for the student: that of `Views`, and which patches of a batch are
/// masked. For objectives that read masked patches (`MaskedLevel`), on backbones that mask (`ViT`).
///
///   using Mine = Dino::with_views<Masked<MultiCrop<>>>::with_loss<WeightedSum<ImageLevel, MaskedLevel>>;
template <class Views, class Masks = BlockMasks>
class Masked : public Views {
 public:
  /// The view options of methods that mask: those of `Views`, or where it has none of its own DINO's.
  [[nodiscard]] static MultiCropOptions published() {
    if constexpr (requires { Views::published(); }) {
      return Views::published();
    } else {
      return dino_multi_crop_options();
    }
  }

  /// Throws `OptionError` naming the field that has a value it may not have.
  explicit Masked(const MultiCropOptions& views = {}, const typename Masks::Options& masks = {}) : Views(views), x_masks(masks) {}

  /// What draws the masks: `most(views, grid)`, `draw(masks, views, grid, random)`, `words()`.
  [[nodiscard]] const Masks& masks() const { return x_masks; }

 private:
  Masks x_masks;
};

}  // namespace dssl
