// What a detector's scores and heat maps are worth: by image, by pixel, by region.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/metrics/found_regions.hpp>
#include <dssl/metrics/metrics.hpp>
#include <dssl/metrics/regions.hpp>
#include <dssl/metrics/score_tally.hpp>

namespace dssl {

/// Counts the scores of images, and their heat maps against masks, an image at a time.
///
///   image   is the image's score high where it has a defect
///   pixel   is the map high where the mask is not 0
///   region  is each connected region of the masks found, whatever its size
///   peak    is the map's highest score in each region above the highest of images without a defect
///
/// Memory: four tallies of at most `distinct` scores each, 16 bytes a region, and one image's regions.
/// Test: tests/metrics/region_overlap.cpp, tests/metrics/found_regions.cpp.
class DetectionTally {
 public:
  /// Throws `OptionError`.
  explicit DetectionTally(const ScoreTallyOptions& options = {})
      : x_images(options), x_pixels(options), x_regions(options), x_peaks(options) {}

  /// Counts an image's score. Throws `NonFiniteError`.
  void add_image(double score, bool defect) { x_images.add(score, defect); }

  /// Counts a heat map (H,W) against its mask (H,W); a pixel that is not 0 is a defect's. An image without
  /// defects has an empty mask or one of zeros. Pixels of the mask that are `ignored` are not counted. `defect`: the image
  /// has one, though perhaps no pixel of this mask. Throws `ShapeError`, `NonFiniteError`.
  template <class Label>
  void add_map(std::span<const float> scores, std::span<const Label> mask, Index height, Index width,
               std::optional<std::type_identity_t<Label>> ignored = std::nullopt, bool defect = false) {
    require_shape(
        static_cast<Index>(scores.size()) == height * width && (mask.empty() || mask.size() == scores.size()),
        "a heat map of ", scores.size(), " scores with a mask of ", mask.size(), " pixels; expected ", height,
        " x ", width);
    Regions regions;
    if (!mask.empty() && ignored) {
      std::vector<Label> counted(mask.begin(), mask.end());
      std::replace(counted.begin(), counted.end(), *ignored, Label{0});
      regions = connected_regions(std::span<const Label>(counted), height, width);
    } else if (!mask.empty()) {
      regions = connected_regions(mask, height, width);
    }
    constexpr double lowest = -std::numeric_limits<double>::infinity();
    std::vector<double> peaks(regions.sizes.size(), lowest);
    std::optional<double> highest;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (ignored && !mask.empty() && mask[i] == *ignored) continue;
      const auto score = static_cast<double>(scores[i]);
      const std::int32_t region = mask.empty() ? -1 : regions.region[i];
      double& peak = region < 0 ? highest.emplace(highest.value_or(score)) : peaks[static_cast<std::size_t>(region)];
      peak = std::max(peak, score);
      x_pixels.add(score, region >= 0);
      // Regions weigh the same, whatever their size: each pixel counts its share of its region.
      x_regions.add(
          score, region >= 0,
          region < 0 ? 1.0 : 1.0 / static_cast<double>(regions.sizes[static_cast<std::size_t>(region)]));
    }
    for (std::size_t r = 0; r < peaks.size(); ++r) {
      x_region_peaks.push_back({regions.sizes[r], peaks[r]});
      x_peaks.add(peaks[r], true);
    }
    if (peaks.empty() && !defect && highest) x_peaks.add(*highest, false);
  }

  /// Scores of images, for `auroc`, `average_precision`, `best_f1` and `at_false_alarms`.
  [[nodiscard]] const ScoreTally& images() const { return x_images; }
  /// Scores of pixels, for the same.
  [[nodiscard]] const ScoreTally& pixels() const { return x_pixels; }
  /// Scores of pixels where a defect's pixel weighs 1 / (pixels of its region).
  [[nodiscard]] const ScoreTally& regions() const { return x_regions; }
  /// Regions of all masks so far.
  [[nodiscard]] Index region_count() const { return static_cast<Index>(x_region_peaks.size()); }
  /// Each of them with its area and its highest score, for `found_regions`.
  [[nodiscard]] const std::vector<RegionPeak>& region_peaks() const { return x_region_peaks; }
  /// The highest score of each region (positive), and of each map without a defect (negative): at which threshold so many
  /// images raise a false alarm somewhere, and how many regions are found by it (`at_false_alarms`).
  [[nodiscard]] const ScoreTally& peaks() const { return x_peaks; }

  /// AUPRO: area under the per-region overlap curve up to a share `limit` of false-alarm pixels, over that
  /// share; in [0, 1].
  ///
  ///   overlap(t) = mean over regions r of |{pixels of r with score >= t}| / |r|
  ///   rate(t)    = |{normal pixels with score >= t}| / |normal pixels|, of all images
  ///   AUPRO      = (1 / limit) integral of overlap over rate from 0 to limit
  ///
  /// Regions: 8-connected pixels of a mask; those of all images weigh the same. The curve begins at (0, 0);
  /// straight lines join its points (equal scores make one piece), also where it is cut at the limit. Exact
  /// as its tally is; the bound of its error is `auroc_error(regions(), limit)`.
  /// Source: Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, section 5.2.
  /// Throws `DataError` where there is no region, or no normal pixel.
  [[nodiscard]] double aupro(double limit = 0.3) const { return auroc(x_regions, limit); }

 private:
  ScoreTally x_images;
  ScoreTally x_pixels;
  ScoreTally x_regions;
  ScoreTally x_peaks;
  std::vector<RegionPeak> x_region_peaks;
};

}  // namespace dssl
