// What a few filters of fixed form see in each patch of an image: features that nobody trained.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/standardised_images.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/views/blur.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

/// Sizes of the filters.
struct LocalFilterOptions {
  Index patch = 8;     ///< pixels a side
  Index flatten = 16;  ///< radius over which brightness and contrast are made alike first, as in `flattened`

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (patch < 2 || patch > 4096) throw OptionError("patch", patch, "2 to 4096 pixels");
    if (flatten < 1) throw OptionError("flatten", flatten, "at least 1 pixel");
  }
};

/// Features (N,13) of the patches of an image at its own size, of grids of ceil(h / patch) x ceil(w / patch):
///
///   z = grey of `flattened`, in its deviations;   b(s) = z blurred by s pixels
///   of b(1) - b(2), b(2) - b(4), b(4) - b(8): largest, smallest, root of the mean square over the patch
///   of b(1), b(2): root of the mean square of the differences down and across
///   f = log(|response| + 0.05) less its median over the image's patches
///
/// Spots, holes and lines from one pixel to about eight, edges by direction, against what the rest of the image is like. The last
/// patches may hold fewer pixels. O(H W). Test: tests/defects/template_probe.cpp.
class LocalFilters {
 public:
  static constexpr Index width = 13;

  /// Throws `OptionError`.
  explicit LocalFilters(const LocalFilterOptions& options) : x_options((options.validate(), options)) {}

  [[nodiscard]] const LocalFilterOptions& options() const { return x_options; }
  [[nodiscard]] GridSize grid(Index image_height, Index image_width) const {
    return {(image_height + x_options.patch - 1) / x_options.patch, (image_width + x_options.patch - 1) / x_options.patch};
  }

  /// (N,13). A pure function of the image.
  [[nodiscard]] std::vector<float> of(const AnyImage& image) const {
    const Image<float> flat = std::get<Image<float>>(flattened(image, x_options.flatten));
    const Index h = flat.height(), w = flat.width(), channels = flat.channels();
    const GridSize cells = grid(h, w);
    std::array<PlanarImage<float>, 4> blurred;
    BlurWorkspace<float> work;
    for (std::size_t s = 0; s < blurred.size(); ++s) {
      blurred[s].reshape(1, h, w);
      for (Index i = 0; i < h * w; ++i) {
        float sum = 0;
        for (Index c = 0; c < channels; ++c) sum += flat.pixels()[static_cast<std::size_t>(i * channels + c)];
        blurred[s].plane(0)[i] = 4 * (sum / static_cast<float>(channels) - 0.5F);
      }
      gaussian_blur(blurred[s], static_cast<double>(1 << s), work);
    }
    std::vector<float> out(static_cast<std::size_t>(cells.size() * width));
    for (Index cell = 0; cell < cells.size(); ++cell) {
      const std::span<float, width> row(out.data() + cell * width, width);
      const Index top = cell / cells.width * x_options.patch, left = cell % cells.width * x_options.patch;
      x_responses(row, blurred, top, std::min(h, top + x_options.patch), left, std::min(w, left + x_options.patch));
      for (float& value : row) value = std::log(std::abs(value) + 0.05F);
    }
    x_less_median(out);
    return out;
  }

 private:
  static void x_responses(std::span<float, width> out, const std::array<PlanarImage<float>, 4>& blurred, Index top, Index bottom,
                          Index left, Index right) {
    const auto pixels = static_cast<float>((bottom - top) * (right - left));
    std::size_t at = 0;
    for (std::size_t s = 0; s + 1 < blurred.size(); ++s) {
      float largest = -1e30F, smallest = 1e30F, square = 0;
      for (Index y = top; y < bottom; ++y) {
        for (Index x = left; x < right; ++x) {
          const float d = blurred[s].row(0, y)[x] - blurred[s + 1].row(0, y)[x];
          largest = std::max(largest, d);
          smallest = std::min(smallest, d);
          square += d * d;
        }
      }
      out[at++] = largest;
      out[at++] = smallest;
      out[at++] = std::sqrt(square / pixels);
    }
    for (std::size_t s = 0; s < 2; ++s) {
      const PlanarImage<float>& b = blurred[s];
      float down = 0, across = 0;
      for (Index y = top; y < bottom; ++y) {
        const float* const above = b.row(0, std::max<Index>(0, y - 1));
        const float* const below = b.row(0, std::min(b.height() - 1, y + 1));
        const float* const own = b.row(0, y);
        for (Index x = left; x < right; ++x) {
          const float dy = 0.5F * (below[x] - above[x]);
          const float dx = 0.5F * (own[std::min(b.width() - 1, x + 1)] - own[std::max<Index>(0, x - 1)]);
          down += dy * dy;
          across += dx * dx;
        }
      }
      out[at++] = std::sqrt(down / pixels);
      out[at++] = std::sqrt(across / pixels);
    }
  }

  static void x_less_median(std::vector<float>& rows) {
    const std::size_t count = rows.size() / static_cast<std::size_t>(width);
    std::vector<float> column(count);
    for (std::size_t d = 0; d < static_cast<std::size_t>(width); ++d) {
      for (std::size_t i = 0; i < count; ++i) column[i] = rows[i * width + d];
      const auto middle = column.begin() + static_cast<Index>(count / 2);
      std::nth_element(column.begin(), middle, column.end());
      for (std::size_t i = 0; i < count; ++i) rows[i * width + d] -= *middle;
    }
  }

  LocalFilterOptions x_options;
};

}  // namespace dssl
