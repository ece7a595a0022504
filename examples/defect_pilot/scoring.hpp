// Ways to score the patches of a set: distance to normal ones, a linear head on labelled ones, both together.
#pragma once

#include <cstdint>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/eval/defect_bank.hpp>

#include "common/cpu.hpp"
#include "defect_pilot/patches.hpp"

namespace dssl::programs {

/// Scores of every image of a set, in its order.
struct SetScores {
  std::vector<double> images;
  std::vector<std::vector<float>> patches;  ///< (N) of each
};

/// A bank of patches of normal images.
class NormalBank {
 public:
  /// Throws `OptionError`, `DataError`.
  NormalBank(const Cpu& backend, const PatchSet& normal, Index pool, double coreset, std::uint64_t seed);

  [[nodiscard]] SetScores score(const PatchSet& set);
  [[nodiscard]] Index size() const { return x_bank.size(); }

 private:
  Cpu x_backend;
  DefectBank<Cpu> x_bank;
  Buffer x_room;
};

/// A linear classifier of patches, trained on the masks of a few images and on normal images.
class DefectHead {
 public:
  /// `labelled`: images of `defects` whose masks are used. Throws `DataError`
  /// where no patch of the labelled images shows a defect.
  DefectHead(const Cpu& backend, const PatchSet& normal, const PatchSet& defects,
             const std::vector<Index>& labelled, Index patch, std::uint64_t seed);

  /// Patch score: logit of a defect; image score: the largest.
  [[nodiscard]] SetScores score(const PatchSet& set) const;

 private:
  std::vector<float> x_weight;
  float x_bias = 0;
};

/// The mean of two ways' scores, each less its mean and over its deviation on normal images of `first_normal`
/// and `second_normal`.
[[nodiscard]] SetScores combined(const SetScores& first, const SetScores& first_normal,
                                 const SetScores& second, const SetScores& second_normal);

}  // namespace dssl::programs
