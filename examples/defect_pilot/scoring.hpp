// Ways to score the patches of a set: distance to normal ones, a linear head on labelled ones, both together.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/size_trend.hpp>

#include "common/backbone.hpp"
#include "defect_pilot/patches.hpp"

namespace dssl::programs {

/// Scores of every image of a set, in its order.
struct SetScores {
  std::vector<double> images;
  std::vector<std::vector<float>> patches;  ///< (N) of each: all cells of its grid, those that do not count as the lowest other
};

/// Scores of an image's patches that count, those of `cells`, as scores of its whole grid.
[[nodiscard]] std::vector<float> over_grid(const std::vector<float>& scores, const std::vector<std::int32_t>& cells,
                                           GridSize grid);

/// A bank of patches of normal images, on a backend that is known at run time.
class NormalBank {
 public:
  NormalBank() = default;
  NormalBank(const NormalBank&) = delete;
  NormalBank& operator=(const NormalBank&) = delete;
  virtual ~NormalBank() = default;

  [[nodiscard]] virtual SetScores score(const PatchSet& set) = 0;
  [[nodiscard]] virtual Index size() const = 0;
};

/// The bank of patches after the rules, on the backend that the settings name, with their seed. Throws `OptionError`, `DataError`.
[[nodiscard]] std::unique_ptr<NormalBank> make_normal_bank(const BackboneSettings& settings, const PatchSet& normal,
                                                           Index pool, double coreset, const LookSettings& look);

/// The image scores of a mean of the `top` largest distances, from scores of a bank whose `top` is 1.
[[nodiscard]] std::vector<double> with_top(const SetScores& scores, const PatchSet& set, Index top);

/// A set, as its scores and how many patches of each image they were chosen from.
struct SizedScores {
  std::vector<double>& images;
  std::vector<Index> patches;

  SizedScores(std::vector<double>& scores, const PatchSet& set);
  SizedScores(SetScores& scores, const PatchSet& set) : SizedScores(scores.images, set) {}
  SizedScores(std::vector<double>& scores, std::vector<Index> counts) : images(scores), patches(std::move(counts)) {}
};

/// Image scores without that trend.
void take_size_off(const std::vector<SizedScores>& sets, const SizeTrend& trend);
/// Image scores without their trend, which is that of the first set, normal images; returns it.
SizeTrend take_size_off(const std::vector<SizedScores>& sets);

/// A linear classifier of patches.
struct DefectHead {
  std::vector<float> weight;  // (D)
  float bias = 0;

  /// Patch score: logit of a defect; image score: the mean of the `top` largest.
  [[nodiscard]] SetScores score(const PatchSet& set, Index top) const;
};

/// Trains classifiers of patches, all on one backend that is known at run time.
class HeadTrainer {
 public:
  HeadTrainer() = default;
  HeadTrainer(const HeadTrainer&) = delete;
  HeadTrainer& operator=(const HeadTrainer&) = delete;
  virtual ~HeadTrainer() = default;

  /// One trained on the masks of a few images and on normal images. `labelled`: images of `defects` whose masks are
  /// used. Throws `DataError` where no patch of the labelled images shows a defect.
  [[nodiscard]] DefectHead train(const PatchSet& normal, const PatchSet& defects, const std::vector<Index>& labelled,
                                 std::uint64_t seed) const;

 private:
  [[nodiscard]] virtual DefectHead x_train(MatrixView<const float> rows, const std::vector<std::int64_t>& labels,
                                           std::uint64_t seed) const = 0;
};

/// The trainer on the backend that the settings name. Throws `OptionError`.
[[nodiscard]] std::unique_ptr<HeadTrainer> make_head_trainer(const BackboneSettings& settings);

/// The mean of two ways' scores, each less its mean and over its deviation on normal images of `first_normal`
/// and `second_normal`; of images alone where there are no patches.
[[nodiscard]] SetScores combined(const SetScores& first, const SetScores& first_normal,
                                 const SetScores& second, const SetScores& second_normal);

}  // namespace dssl::programs
