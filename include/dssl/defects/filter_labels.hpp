// What labelled images add to a distribution of normal patches: trees over what filters see about a patch, and their share.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/boosted_trees.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/defects/row_gaussian.hpp>
#include <dssl/defects/size_trend.hpp>
#include <dssl/metrics/metrics.hpp>
#include <dssl/metrics/score_tally.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/search/row_sample.hpp>

namespace dssl {

namespace detail {

/// The standard error of a share found of so many images. The share is taken with one more found and one more missed, so that
/// none found of few is not taken for certain.
[[nodiscard]] inline double share_error(double found, Index images) {
  const auto n = static_cast<double>(images);
  const double share = (found * n + 1) / (n + 2);
  return std::sqrt(share * (1 - share) / n);
}

}  // namespace detail

/// Numbers of what is learned from labelled images.
struct FilterLabelOptions {
  BoostedTreesOptions trees{.trees = 80, .columns = 0.3};  ///< of which all are kept, or the first half
  Index normal_images = 300;                ///< that are looked at beside the labelled ones, at most, evenly spread
  Index normal_patches = 6'000;             ///< of these that trees learn from, at most, and of the labelled ones likewise
  Index folds = 4;                          ///< that the choice is made over, at most: as many as there are labelled images
  bool free_of_size = false;                ///< the choice is by image scores without their `SizeTrend`, as they will be used

  /// Throws `OptionError` naming the field.
  void validate() const {
    trees.validate();
    if (normal_images < 1) throw OptionError("normal_images", normal_images, "at least 1");
    if (normal_patches < 1) throw OptionError("normal_patches", normal_patches, "at least 1");
    if (folds < 2) throw OptionError("folds", folds, "at least 2");
  }
};

/// An image as filters see it.
struct FilteredImage {
  GridSize grid{};
  std::vector<float> rows{};           ///< (N,W), a row a patch
  std::vector<std::int32_t> cells{};   ///< of the grid, that count
  std::vector<Index> defect_pixels{};  ///< (N)
};

/// Adds what trees are asked about a cell to `out`: its row (W), then of each of the two rings of cells about it, 8 and 16 of them,
/// the mean, the largest and the smallest of every column (6 W). Beyond the edge of the grid a ring reads the nearest cell.
///
/// Nothing of it changes where the surroundings are turned or mirrored, so that few labels say more than as many rows side by
/// side do. Test: tests/defects/filter_labels.cpp.
inline void append_surroundings(std::vector<float>& out, std::span<const float> rows, Index width, GridSize grid, Index cell) {
  const auto columns = static_cast<std::size_t>(width);
  const auto row = [&](Index y, Index x) {
    const Index at = std::clamp<Index>(y, 0, grid.height - 1) * grid.width + std::clamp<Index>(x, 0, grid.width - 1);
    return rows.subspan(static_cast<std::size_t>(at) * columns, columns);
  };
  const Index y = cell / grid.width, x = cell % grid.width;
  const auto own = row(y, x);
  out.insert(out.end(), own.begin(), own.end());
  for (const Index radius : {1, 2}) {
    const std::size_t at = out.size();
    out.resize(at + columns, 0.0F);
    out.resize(at + 2 * columns, -std::numeric_limits<float>::infinity());
    out.resize(at + 3 * columns, std::numeric_limits<float>::infinity());
    for (Index v = -radius; v <= radius; ++v) {
      for (Index u = -radius; u <= radius; ++u) {
        if (std::max(std::abs(v), std::abs(u)) != radius) continue;
        const auto other = row(y + v, x + u);
        for (std::size_t d = 0; d < columns; ++d) {
          out[at + d] += other[d] / static_cast<float>(8 * radius);
          out[at + columns + d] = std::max(out[at + columns + d], other[d]);
          out[at + 2 * columns + d] = std::min(out[at + 2 * columns + d], other[d]);
        }
      }
    }
  }
}

/// A scale on which normal patches have the mean 0 and the deviation 1.
struct NormalScale {
  double mean = 0, deviation = 1;
  [[nodiscard]] double of(double value) const { return (value - mean) / deviation; }
  [[nodiscard]] bool operator==(const NormalScale&) const = default;
};

/// How a patch's distance to the distribution and the trees' logit make one score:
///
///   (1 - share) d' + share l',   ': less the mean over normal patches, over the deviation there
struct FilterScales {
  double share = 0.75;  ///< of the logit
  NormalScale distance{}, logit{};

  [[nodiscard]] double of(double distance_of_patch, double logit_of_patch) const {
    return (1 - share) * distance.of(distance_of_patch) + share * logit.of(logit_of_patch);
  }
  [[nodiscard]] bool operator==(const FilterScales&) const = default;
};

/// What was learned from labelled images: trees over `append_surroundings` of a patch (7 W), and their part in its score.
struct FilterLabels {
  BoostedTrees trees;
  FilterScales scales{};
};

/// How they were learned.
struct FilterLabelChoice {
  Index images = 0, patches = 0;        ///< labelled images, and their patches that were learned as defects
  Index folds = 0;                      ///< 0: one labelled image alone, and nothing was chosen
  Index trees = 0;                      ///< that were kept
  double share = 0;                     ///< of their logit in a score
  double found = 0, found_without = 0;  ///< share of labelled images found, mean over 2, 5, 10 and 20 % false alarms: so, and by distance alone
};

/// Learns trees and their share from labelled and from normal images.
///
/// A defect's patch is one that `shows_defect`; others that a defect touches are left out. The defects of each labelled image weigh the same, and together as much as all that is normal. Half of the trees or
/// all, and a share of 0.5, 0.75 or 1: in cross-validation labelled and normal images of a fold are scored by trees that learned
/// from neither, an image by the mean of the `top` largest. What is usual, all trees and 0.75, stays unless another finds more by
/// a standard error of as many labelled images. Folds are blocks, as neighbours are often of one piece; the distribution is the
/// same in all. One labelled image alone: as usual. O(folds) trainings; memory: the images' rows, and 7 W numbers for each patch
/// that is learned. Deterministic. Test: tests/defects/filter_labels.cpp.
class FilterLabelLearner {
 public:
  /// Images without a patch of a defect are normal ones. `patch`: pixels a side. All must outlive it. Throws `OptionError`.
  FilterLabelLearner(const std::vector<FilteredImage>& normal, const std::vector<FilteredImage>& labelled, const RowGaussian& distribution,
                     Index patch, Index top, const FilterLabelOptions& options)
      : x_normal(normal), x_labelled(labelled), x_distribution(distribution), x_patch(patch), x_top(top), x_options((options.validate(), options)) {}

  /// Nothing where it was asked to stop. Throws `DataError` where no patch of the labelled images that counts shows a defect, or
  /// there is no normal patch.
  [[nodiscard]] std::optional<std::pair<FilterLabels, FilterLabelChoice>> learn(const std::stop_token& token = {}) const {
    FilterLabelChoice choice{.images = static_cast<Index>(x_labelled.size()), .trees = x_options.trees.trees, .share = FilterScales{}.share};
    for (const FilteredImage& image : x_labelled) choice.patches += static_cast<Index>(x_defects(image).size());
    if (choice.patches == 0) throw DataError(join("no patch of ", choice.images, " labelled images shows a defect that counts"));
    std::vector<x_Logits> normal(x_normal.size()), labelled(x_labelled.size());
    choice.folds = x_labelled.size() < 2 ? 0 : std::min<Index>(x_options.folds, choice.images);
    if (choice.folds > 0) {
      for (Index fold = 0; fold < choice.folds; ++fold) {
        const std::optional<BoostedTrees> trees = x_train(fold, choice.folds, token);
        if (token.stop_requested()) return std::nullopt;
        if (trees) {
          x_score(normal, x_normal, *trees, fold, choice.folds);
          x_score(labelled, x_labelled, *trees, fold, choice.folds);
        }
      }
      x_choose(choice, normal, labelled);
    }
    std::optional<BoostedTrees> trees = x_train(-1, 1, token);
    if (token.stop_requested()) return std::nullopt;
    if (!trees) throw DataError("no normal patch that counts to learn labels beside");
    trees->keep(choice.trees);
    // Without folds the scale is that of the images learned from, of most of whose patches nothing was learned; and so where the
    // folds that could be learned without hold no normal image.
    if (std::ranges::all_of(normal, &x_Logits::empty)) x_score(normal, x_normal, *trees, 0, 1);
    FilterScales scales = x_scales(x_scored(x_normal, normal, x_look_of(choice.trees)));
    scales.share = choice.share;
    return std::pair(FilterLabels{.trees = std::move(*trees), .scales = scales}, choice);
  }

 private:
  /// Of every patch that counts, by each number of trees that is tried; empty where no fold scored it.
  using x_Logits = std::vector<std::vector<float>>;  // (looks) of (n)

  /// Numbers of trees that are tried: a half, all.
  [[nodiscard]] std::array<Index, 2> x_looks() const { return {(x_options.trees.trees + 1) / 2, x_options.trees.trees}; }
  [[nodiscard]] std::size_t x_look_of(Index trees) const { return trees == x_looks()[1] ? 1 : 0; }

  /// Whether an image of a set belongs to a fold.
  [[nodiscard]] static bool x_in(std::size_t i, std::size_t n, Index fold, Index folds) {
    return in_block(static_cast<Index>(i), static_cast<Index>(n), fold, folds);
  }

  /// The cells that count and are learned as a defect's.
  [[nodiscard]] std::vector<std::int32_t> x_defects(const FilteredImage& image) const {
    Index largest = 0;
    for (const std::int32_t cell : image.cells) largest = std::max(largest, image.defect_pixels[static_cast<std::size_t>(cell)]);
    std::vector<std::int32_t> out;
    for (const std::int32_t cell : image.cells) {
      const Index own = image.defect_pixels[static_cast<std::size_t>(cell)];
      if (shows_defect(own, largest, x_patch)) out.push_back(cell);
    }
    return out;
  }

  [[nodiscard]] Index x_width() const { return 7 * x_distribution.width(); }

  [[nodiscard]] std::span<const float> x_row(const FilteredImage& image, std::int32_t cell) const {
    return std::span<const float>(image.rows).subspan(static_cast<std::size_t>(cell * x_distribution.width()), static_cast<std::size_t>(x_distribution.width()));
  }

  /// Rows with their labels and weights.
  struct x_Learned {
    std::vector<float> rows;
    std::vector<std::uint8_t> labels;
    std::vector<double> weights;
  };

  void x_add(x_Learned& to, const FilteredImage& image, std::int32_t cell, std::uint8_t label, double weight) const {
    append_surroundings(to.rows, image.rows, x_distribution.width(), image.grid, cell);
    to.labels.push_back(label);
    to.weights.push_back(weight);
  }

  /// Trees that have seen all images but those of a fold; none where these show no defect.
  [[nodiscard]] std::optional<BoostedTrees> x_train(Index fold, Index folds, const std::stop_token& token) const {
    x_Learned learned;
    Index left = 0;  // normal images that are not in the fold
    for (std::size_t i = 0; i < x_normal.size(); ++i) left += x_in(i, x_normal.size(), fold, folds) ? 0 : 1;
    Index done = 0;
    for (std::size_t i = 0; i < x_normal.size(); ++i) {
      if (x_in(i, x_normal.size(), fold, folds)) continue;
      const FilteredImage& image = x_normal[i];
      for (const std::int32_t n : sample_rows(static_cast<Index>(image.cells.size()), row_quota(done++, left, x_options.normal_patches),
                                              {.seed = x_options.trees.seed, .sample = i, .view = 15, .purpose = Purpose::probe}))
        x_add(learned, image, image.cells[static_cast<std::size_t>(n)], 0, 1);
    }
    double defects = 0;
    for (std::size_t i = 0; i < x_labelled.size(); ++i) {
      if (x_in(i, x_labelled.size(), fold, folds)) continue;
      const FilteredImage& image = x_labelled[i];
      std::vector<std::int32_t> clear = image.cells;
      std::erase_if(clear, [&](std::int32_t cell) { return image.defect_pixels[static_cast<std::size_t>(cell)] > 0; });
      for (const std::int32_t n : sample_rows(static_cast<Index>(clear.size()), row_quota(static_cast<Index>(i), static_cast<Index>(x_labelled.size()), x_options.normal_patches),
                                              {.seed = x_options.trees.seed, .sample = i, .view = 16, .purpose = Purpose::probe}))
        x_add(learned, image, clear[static_cast<std::size_t>(n)], 0, 1);
      const std::vector<std::int32_t> own = x_defects(image);
      for (const std::int32_t cell : own) x_add(learned, image, cell, 1, 1 / static_cast<double>(own.size()));
      defects += own.empty() ? 0 : 1;
    }
    const auto normals = static_cast<double>(std::ranges::count(learned.labels, std::uint8_t{0}));
    if (defects == 0 || normals == 0) return std::nullopt;
    for (std::size_t i = 0; i < learned.labels.size(); ++i) {
      if (learned.labels[i] != 0) learned.weights[i] *= normals / defects;
    }
    return BoostedTrees::train(learned.rows, x_width(), learned.labels, learned.weights, x_options.trees,
                               [&](Index, double) { return !token.stop_requested(); });
  }

  /// The logits of the images of a fold.
  void x_score(std::vector<x_Logits>& out, const std::vector<FilteredImage>& images, const BoostedTrees& trees, Index fold, Index folds) const {
    const std::array<Index, 2> looks = x_looks();
    std::vector<double> logits(static_cast<std::size_t>(trees.size()) + 1);
    std::vector<float> row;
    for (std::size_t i = 0; i < images.size(); ++i) {
      if (!x_in(i, images.size(), fold, folds)) continue;
      out[i].assign(looks.size(), {});
      for (const std::int32_t cell : images[i].cells) {
        row.clear();
        append_surroundings(row, images[i].rows, x_distribution.width(), images[i].grid, cell);
        trees.logits(logits, row);
        for (std::size_t l = 0; l < looks.size(); ++l)
          out[i][l].push_back(static_cast<float>(logits[static_cast<std::size_t>(std::min(looks[l], trees.size()))]));
      }
    }
  }

  /// Mean and deviation over all.
  class x_Moments {
   public:
    void add(double value) {
      ++x_count;
      const double before = value - x_mean;
      x_mean += before / x_count;
      x_square += before * (value - x_mean);
    }
    [[nodiscard]] NormalScale scale() const {
      const double deviation = x_count > 0 ? std::sqrt(x_square / x_count) : 0;
      return {.mean = x_mean, .deviation = deviation > 0 ? deviation : 1.0};
    }

   private:
    double x_count = 0, x_mean = 0, x_square = 0;
  };

  [[nodiscard]] std::vector<std::vector<double>> x_distances(const std::vector<FilteredImage>& images) const {
    std::vector<std::vector<double>> out;
    for (const FilteredImage& image : images) {
      out.emplace_back();
      for (const std::int32_t cell : image.cells) out.back().push_back(x_distribution.distance(x_row(image, cell)));
    }
    return out;
  }
 private:
  /// Images of a set by one number of trees, as far as a fold scored them: their distances, logits, and numbers of patches.
  struct x_Scored {
    std::vector<std::vector<double>> distances;
    std::vector<std::vector<float>> logits;
    std::vector<Index> sizes;
  };
  [[nodiscard]] x_Scored x_scored(const std::vector<FilteredImage>& images, const std::vector<x_Logits>& logits, std::size_t look) const {
    x_Scored out;
    const std::vector<std::vector<double>> distances = x_distances(images);
    for (std::size_t i = 0; i < images.size(); ++i) {
      if (logits[i].empty()) continue;
      out.distances.push_back(distances[i]);
      out.logits.push_back(logits[i][look]);
      out.sizes.push_back(static_cast<Index>(images[i].cells.size()));
    }
    return out;
  }

  /// The scales of normal patches, with the usual share.
  [[nodiscard]] static FilterScales x_scales(const x_Scored& normal) {
    x_Moments distance, logit;
    for (const auto& own : normal.distances) {
      for (const double value : own) distance.add(value);
    }
    for (const auto& own : normal.logits) {
      for (const float value : own) logit.add(static_cast<double>(value));
    }
    return {.distance = distance.scale(), .logit = logit.scale()};
  }

  /// Image scores.
  [[nodiscard]] std::vector<double> x_images(const x_Scored& set, const FilterScales& by) const {
    std::vector<double> out;
    for (std::size_t i = 0; i < set.sizes.size(); ++i) {
      std::vector<float> scores;
      for (std::size_t n = 0; n < set.distances[i].size(); ++n)
        scores.push_back(static_cast<float>(by.of(set.distances[i][n], static_cast<double>(set.logits[i][n]))));
      out.push_back(mean_of_largest(std::move(scores), x_top));
    }
    return out;
  }

  /// Share of the labelled images found, mean over shares of false alarms.
  [[nodiscard]] double x_found(const x_Scored& normal, const x_Scored& labelled, const FilterScales& by) const {
    const std::vector<double> of_normal = x_images(normal, by), of_labelled = x_images(labelled, by);
    const SizeTrend trend = x_options.free_of_size ? SizeTrend::of(of_normal, normal.sizes) : SizeTrend{};
    ScoreTally tally;
    for (std::size_t i = 0; i < of_normal.size(); ++i) tally.add(trend.without(of_normal[i], normal.sizes[i]), false);
    for (std::size_t i = 0; i < of_labelled.size(); ++i) tally.add(trend.without(of_labelled[i], labelled.sizes[i]), true);
    return found_at_few_alarms(tally);
  }

  /// Takes the number of trees and the share that find most of what was held out, where that is more than chance tells apart.
  void x_choose(FilterLabelChoice& choice, const std::vector<x_Logits>& normal, const std::vector<x_Logits>& labelled) const {
    FilterLabelChoice best = choice;
    for (const std::size_t look : {std::size_t{1}, std::size_t{0}}) {
      const x_Scored of_normal = x_scored(x_normal, normal, look), of_labelled = x_scored(x_labelled, labelled, look);
      if (of_normal.sizes.empty() || of_labelled.sizes.empty()) return;  // no fold showed a defect to learn from
      FilterScales scales = x_scales(of_normal);
      if (look == 1) {
        choice.found = x_found(of_normal, of_labelled, scales);
        scales.share = 0;
        choice.found_without = x_found(of_normal, of_labelled, scales);
        best = choice;
      }
      for (const double share : {0.5, 0.75, 1.0}) {
        scales.share = share;
        const double found = x_found(of_normal, of_labelled, scales);
        if (found <= best.found) continue;
        best.found = found;
        best.share = share;
        best.trees = x_looks()[look];
      }
    }
    if (best.found > choice.found + detail::share_error(choice.found, choice.images)) choice = best;
  }

  const std::vector<FilteredImage>& x_normal;
  const std::vector<FilteredImage>& x_labelled;
  const RowGaussian& x_distribution;
  Index x_patch, x_top;
  FilterLabelOptions x_options;
};

}  // namespace dssl
