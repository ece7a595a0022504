// Trains the pilot's tuned path.
#include "defect_pilot/tuned.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/defects/standardised_images.hpp>
#include <dssl/metrics/metrics.hpp>
#include <dssl/metrics/score_tally.hpp>

#include "common/progress.hpp"
#include "common/segment_tuner.hpp"

namespace dssl::programs {

namespace {

/// The drawn labelled images, then the normal ones.
class TrainingImages {
 public:
  TrainingImages(const Inspected& defects, const std::vector<Index>& drawn, const Inspected& normal)
      : x_defects(defects), x_drawn(drawn), x_normal(normal) {}
  [[nodiscard]] Index size() const { return static_cast<Index>(x_drawn.size()) + x_normal.size(); }
  [[nodiscard]] std::string name(Index i) const {
    return x_is_labelled(i) ? x_defects.name(x_drawn[static_cast<std::size_t>(i)]) : x_normal.name(x_of_normal(i));
  }
  [[nodiscard]] LabelledImage load(Index i) const {
    return x_is_labelled(i) ? x_defects.load(x_drawn[static_cast<std::size_t>(i)]) : x_normal.load(x_of_normal(i));
  }

 private:
  [[nodiscard]] bool x_is_labelled(Index i) const { return i < static_cast<Index>(x_drawn.size()); }
  [[nodiscard]] Index x_of_normal(Index i) const { return i - static_cast<Index>(x_drawn.size()); }

  const Inspected& x_defects;
  const std::vector<Index>& x_drawn;
  const Inspected& x_normal;
};

[[nodiscard]] TunerSettings tuner_settings(const PilotSettings& s, const std::string& weights, std::uint64_t seed) {
  return {.tuning = s.tuning,
          .weights = weights,
          .arch = s.backbone.arch,
          .published = s.backbone.published,
          .channels = s.backbone.channels,
          .classes = {.classes = 2, .void_ids = {}},
          .loader = s.backbone.loader(),
          .seed = seed,
          .backend = s.backbone.backend,
          .precision = s.backbone.precision,
          .threads = s.backbone.threads};
}

/// Logit of a defect less that of none, of every patch.
[[nodiscard]] std::vector<float> differences(const PatchMap<float>& map) {
  std::vector<float> out;
  for (std::size_t n = 0; n < map.patches.size(); n += 2) out.push_back(map.patches[n + 1] - map.patches[n]);
  return out;
}

/// Adds the pixels of a map to a tally, each with its patch's score.
void add_pixels(ScoreTally& tally, const std::vector<float>& scores, const PatchMap<float>& map, Index patch) {
  std::vector<double> defect(scores.size()), normal(scores.size());
  for (std::size_t i = 0; i < map.input.labels.size(); ++i) {
    const std::size_t cell = cell_of(static_cast<Index>(i), map.width, map.grid, patch);
    (map.input.labels[i] == 1 ? defect : normal)[cell] += 1;
  }
  for (std::size_t n = 0; n < scores.size(); ++n) {
    if (defect[n] > 0) tally.add(static_cast<double>(scores[n]), true, defect[n]);
    if (normal[n] > 0) tally.add(static_cast<double>(scores[n]), false, normal[n]);
  }
}

}  // namespace

void require_tunable(const PilotSettings& settings) {
  if (settings.tuning.steps > 0) static_cast<void>(make_segment_tuner(tuner_settings(settings, "random", 0)));
}

SetScores on_grids_of(const SetScores& scores, const PatchSet& from, const PatchSet& to) {
  SetScores out{.images = scores.images, .patches = {}};
  const auto shown = [](const PatchSet& set, std::size_t i) {
    const PatchImage& image = set.images[i];
    return set.padded ? ShownGrid::of(image.truth, image.height, image.width, image.grid, set.patch)
                      : ShownGrid{image.grid, set.patch, 0, 0, image.height, image.width};
  };
  for (std::size_t i = 0; i < scores.patches.size(); ++i)
    out.patches.push_back(on_other_grid(scores.patches[i], shown(from, i), shown(to, i)));
  return out;
}

TunedPath tuned_path(const PilotSettings& settings, const Inspected& normal, const Inspected& defects,
                     const Inspected& held_out, const Inspected& test_normal, const Inspected& test_defects,
                     const std::vector<Index>& drawn, const std::string& weights, const LookSettings& look,
                     std::uint64_t seed, bool compare, const std::string& label, const Interruption& interruption) {
  // The images as the bank sees them, if each for itself is made alike.
  const auto seen = [&]<class Source>(const Source& source) {
    return StandardisedImages<BinaryMasks<Source>>(BinaryMasks<Source>(source, look.foreground()), look.standardise_images, look.flatten);
  };
  const std::unique_ptr<SegmentTuner> tuner = make_segment_tuner(tuner_settings(settings, weights, seed));
  const TrainingImages training(defects, drawn, normal);
  const auto seen_training = seen(training);
  const auto seen_held_out = seen(held_out);
  // Enough normal images of those that nothing learns from to compare with, spread evenly.
  std::vector<Index> some(static_cast<std::size_t>(std::min<Index>(20, held_out.size())));
  for (std::size_t i = 0; i < some.size(); ++i)
    some[i] = static_cast<Index>(i) * held_out.size() / static_cast<Index>(some.size());
  const ChosenSamples some_held_out(seen_held_out, some);

  std::stop_source stop;
  const auto scored = [&](const MaskedImages& source, const auto& each) {
    tuner->predict(source, stop.get_token(), [&](PatchMap<float>& map) {
      const std::vector<float> all = differences(map);
      const std::vector<std::int32_t> cells = counted_patches(map.input.labels, map.height, map.width, map.grid, tuner->patch(),
                                                              look.rules(), source.name(map.index));
      std::vector<float> counted;
      for (const std::int32_t cell : cells) counted.push_back(all[static_cast<std::size_t>(cell)]);
      each(map, mean_of_largest(counted, look.top), over_grid(counted, cells, map.grid), cells);
      if (interruption.requested()) stop.request_stop();
    });
    if (stop.stop_requested()) throw Error("stopped on request; no report was written");
  };
  std::unique_ptr<Progress> progress;
  Index trainings = 0;
  tuner->on_skip = [](std::string_view, std::string_view message) {
    std::fprintf(stderr, "%s\n", one_line(join("skipped: ", message)).c_str());
  };
  tuner->on_step = [&](Index step, double /*loss*/) {
    if (step == 1)
      progress = std::make_unique<Progress>(join(label, ", training ", ++trainings), settings.tuning.steps, "steps");
    progress->at(step);
    if (interruption.requested()) stop.request_stop();
  };
  std::map<std::pair<Index, Index>, HeldOutFold> looks;  // by fold and step
  TunedPath out;
  out.tuning = tuner->tune(
      MaskedImages(seen_training),
      [&](const SegmentTuner::Held& images, Index fold, Index step) {
        ScoreTally pixels;
        HeldOutFold& own = looks[{fold, step}];
        scored(MaskedImages(images), [&](const PatchMap<float>& map, double score, std::vector<float>&& scores, const std::vector<std::int32_t>& cells) {
          add_pixels(pixels, scores, map, tuner->patch());
          const Index place = images.number(map.index);
          if (place >= static_cast<Index>(drawn.size())) return;
          own.labelled.push_back(place);
          own.defects.images.push_back(score);
          own.defect_patches.push_back(static_cast<Index>(cells.size()));
        });
        if (compare) {
          scored(MaskedImages(some_held_out), [&](const PatchMap<float>& map, double score, std::vector<float>&&, const std::vector<std::int32_t>& cells) {
            own.normal_images.push_back(some[static_cast<std::size_t>(map.index)]);
            own.normal.images.push_back(score);
            own.normal_patches.push_back(static_cast<Index>(cells.size()));
          });
        }
        return pixels.positives() > 0 ? average_precision(pixels) : std::numeric_limits<double>::quiet_NaN();
      },
      stop.get_token());
  if (stop.stop_requested()) throw Error("stopped on request; no report was written");
  for (auto& [key, look_of] : looks) {
    if (compare && key.second == out.tuning.steps) out.folds.push_back(std::move(look_of));
  }

  const auto scores_of = [&](const Inspected& images) {
    const auto source = seen(images);
    TunedSet set{.shape = {.patch = tuner->patch(), .images = {}}, .scores = {}};
    scored(MaskedImages(source), [&](PatchMap<float>& map, double score, std::vector<float>&& scores, const std::vector<std::int32_t>& cells) {
      PatchImage own{.index = map.index,
                     .name = images.name(map.index),
                     .defect = images.truth(map.index) == Truth::defect,
                     .grid = map.grid,
                     .height = map.height,
                     .width = map.width,
                     .cells = cells,
                     .patches = {},
                     .truth = std::move(map.input.labels)};
      set.shape.images.push_back(std::move(own));
      set.scores.images.push_back(score);
      set.scores.patches.push_back(std::move(scores));
    });
    return set;
  };
  out.held_out = scores_of(held_out);
  out.test_normal = scores_of(test_normal);
  out.test_defects = scores_of(test_defects);
  return out;
}

}  // namespace dssl::programs
