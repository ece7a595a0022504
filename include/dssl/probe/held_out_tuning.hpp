// How long to fine-tune, from labelled images that are held out: once where there are many, cross-validated where there
// are few.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/probe/fine_tuned_segmenter.hpp>
#include <dssl/probe/native_crops.hpp>
#include <dssl/search/row_sample.hpp>

namespace dssl {

/// When held-out images are looked at, and which they are. "Labelled" are images with a pixel that is not ground.
struct HeldOutTuningOptions {
  NativeCropOptions crops{};
  Index look_every = 50;  ///< steps between two looks; there is one after the last step too
  Index patience = 4;     ///< with one part held out: looks without a better figure after which the training ends
  Index few = 20;         ///< fewer labelled images than this are cross-validated
  Index folds = 4;        ///< parts of the labelled images, each of which is held out once in a cross-validation
  double hold_out = 0.2;  ///< where labelled images are not few, 1 in round(1 / hold_out) of them is held out

  /// Throws `OptionError` naming the field.
  void validate() const {
    crops.validate();
    if (look_every < 1) throw OptionError("look_every", look_every, "at least 1");
    if (patience < 1) throw OptionError("patience", patience, "at least 1");
    if (few < 0) throw OptionError("few", few, "0 or more");
    if (folds < 2) throw OptionError("folds", folds, "at least 2");
    if (!(hold_out >= 0.01 && hold_out <= 0.5)) throw OptionError("hold_out", hold_out, "0.01 to 0.5");
  }
};

/// A look at held-out images.
struct TuningLook {
  Index step = 0;     ///< steps done
  /// The larger the better; of a cross-validation the mean over its folds, no number where it was stopped before its end.
  double figure = std::numeric_limits<double>::quiet_NaN();
};

/// What came of a training.
struct HeldOutTuning {
  LabelledParts parts;            ///< of all images
  Index trainings = 0;            ///< with a part held out: 1, or the folds; 0 with one labelled image or none
  std::vector<TuningLook> looks;  ///< ascending
  Index steps = 0;                ///< of the weights that were kept
  double figure = std::numeric_limits<double>::quiet_NaN();  ///< of the look that they were kept for
  Index steps_run = 0;                                       ///< of all trainings together
};

namespace detail {

/// The numbers of `all` in block `fold` of `folds`, or outside it: one piece is not to be on both sides.
[[nodiscard]] inline std::vector<Index> in_fold(const std::vector<Index>& all, Index fold, Index folds, bool inside) {
  std::vector<Index> out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (in_block(static_cast<Index>(i), static_cast<Index>(all.size()), fold, folds) == inside) out.push_back(all[i]);
  }
  return out;
}

/// Images of a fold that are looked at: its labelled ones, and as many others of it, spread evenly, or all there are.
[[nodiscard]] inline std::vector<Index> looked_at(const LabelledParts& parts, Index fold, Index folds) {
  std::vector<Index> out = in_fold(parts.labelled, fold, folds, true);
  const std::vector<Index> others = in_fold(parts.others, fold, folds, true);
  const std::size_t wanted = std::min(out.size(), others.size());
  for (std::size_t i = 0; i < wanted; ++i) out.push_back(others[i * others.size() / wanted]);
  return out;
}

}  // namespace detail

/// Trains a segmenter on crops of a source's images, from `backbone` (laid out as a `FeatureExtractor`'s), for as long
/// as held-out ones say.
///
/// Held out are blocks of the labelled images and, of the others, of the same share; `figure(images, fold, steps)` says how good the
/// segmenter is on a `ChosenSamples` of them, the larger the better. With many labelled images one part is held out:
/// the weights of the best look are kept, and the training ends when `patience` looks were no better. With fewer than
/// `few` each of the folds is held out once, for all the steps; then all images train for the steps at which the mean
/// figure was best: of n labelled images min(folds, n) + 1 trainings. One labelled image, or none, cannot be held out:
/// all the steps are made, and there is no look. Of equal figures the earliest counts; one that is not a number counts
/// for nothing.
///
/// A stop request leaves the weights where they are. Throws what `FineTunedSegmenter::train_crops` throws and `figure`.
/// Test: tests/probe/native_crops.cpp.
template <class Backbone, class B, SegmentationSource Source, class Figure>
HeldOutTuning tune_held_out(FineTunedSegmenter<Backbone, B>& segmenter, std::span<const typename B::Scalar> backbone,
                            const Source& source, const HeldOutTuningOptions& options, const Figure& figure,
                            const std::stop_token& token = {}) {
  using T = typename B::Scalar;
  options.validate();
  auto& network = segmenter.network();
  const Index all_steps = network.options().steps;
  HeldOutTuning out{.parts = segmenter.parts(source, token), .looks = {}};
  const auto labelled = static_cast<Index>(out.parts.labelled.size());
  const bool cross = labelled < options.few;
  const Index folds =
      cross ? std::min(options.folds, labelled) : static_cast<Index>(std::llround(1 / options.hold_out));
  out.trainings = labelled < 2 || folds < 2 ? 0 : cross ? folds : 1;

  const auto looks_at = [&](Index step) { return step % options.look_every == 0 || step == all_steps; };
  const auto better = [&](double value) { return std::isfinite(value) && !(value <= out.figure); };
  std::vector<T> best;
  std::vector<std::pair<double, Index>> sums;  // of each look: its figures, and how many
  for (Index fold = 0; fold < out.trainings && !token.stop_requested(); ++fold) {
    LabelledParts own{.labelled = detail::in_fold(out.parts.labelled, fold, folds, false),
                      .others = detail::in_fold(out.parts.others, fold, folds, false)};
    const ChosenSamples<Source> held_out(source, detail::looked_at(out.parts, fold, folds));
    network.load(backbone);
    Index since = 0;
    std::size_t look = 0;
    segmenter.train_crops(source, own, options.crops, 0, token, [&](Index step) {
      ++out.steps_run;
      if (!looks_at(step) || token.stop_requested()) return true;
      const double value = figure(held_out, fold, step);
      if (cross) {
        if (look == sums.size()) sums.emplace_back(0.0, 0);
        if (look == out.looks.size()) out.looks.push_back({.step = step});
        if (std::isfinite(value)) {
          sums[look].first += value;
          ++sums[look].second;
        }
        ++look;
        return true;
      }
      out.looks.push_back({step, value});
      if (better(value)) {
        out.figure = value;
        out.steps = step;
        best = network.snapshot();
        since = 0;
        return true;
      }
      return ++since < options.patience;
    });
  }
  if (token.stop_requested()) return out;
  if (cross) {
    for (std::size_t i = 0; i < sums.size(); ++i) {
      out.looks[i].figure = sums[i].second > 0 ? sums[i].first / static_cast<double>(sums[i].second)
                                               : std::numeric_limits<double>::quiet_NaN();
      if (!better(out.looks[i].figure)) continue;
      out.figure = out.looks[i].figure;
      out.steps = out.looks[i].step;
    }
  }
  if (!best.empty()) {
    network.restore(best);
    return out;
  }
  // No part held out, or no figure that is a number: all the steps.
  if (out.steps == 0) out.steps = all_steps;
  network.load(backbone);
  segmenter.train_crops(source, out.parts, options.crops, out.steps, token, [&](Index /*step*/) {
    ++out.steps_run;
    return true;
  });
  return out;
}

}  // namespace dssl
