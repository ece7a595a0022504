// A whole backbone trained to segment at images' own resolution, whatever its sizes and backend.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/features/tile_pass.hpp>
#include <dssl/probe/held_out_tuning.hpp>
#include <dssl/probe/segmentation_result.hpp>

#include "common/crop_tuning.hpp"
#include "common/published.hpp"

namespace dssl::programs {

/// What a tuner is made of.
struct TunerSettings {
  CropTuning tuning{};
  std::string weights, arch;
  PublishedSettings published{};
  Index channels = 3;
  ClassOptions classes{};
  bool augment = true;
  LoaderOptions loader{};
  std::uint64_t seed = 0;
  std::string backend = "cpu", precision = "f32";
  int threads = 0;
};

/// Images with masks, without the type of their source.
class MaskedImages {
 public:
  /// `source` must outlive it.
  template <SegmentationSource Source>
    requires(!std::same_as<Source, MaskedImages>)
  explicit MaskedImages(const Source& source)
      : x_size(source.size()),
        x_name([&source](Index i) -> std::string { return source.name(i); }),
        x_load([&source](Index i) -> LabelledImage { return source.load(i); }) {}

  [[nodiscard]] Index size() const { return x_size; }
  [[nodiscard]] std::string name(Index i) const { return x_name(i); }
  [[nodiscard]] LabelledImage load(Index i) const { return x_load(i); }

 private:
  Index x_size;
  std::function<std::string(Index)> x_name;
  std::function<LabelledImage(Index)> x_load;
};

/// A `FineTunedSegmenter` on the backend that the settings name.
class SegmentTuner {
 public:
  using Held = ChosenSamples<MaskedImages>;

  std::function<void(Index, double)> on_step;  ///< of one training: steps done, loss of the last
  std::function<void(const ProbePrediction&)> on_prediction;
  std::function<void(Index)> on_images;
  SkipCounter::Warn on_skip;

  SegmentTuner() = default;
  SegmentTuner(const SegmentTuner&) = delete;
  SegmentTuner& operator=(const SegmentTuner&) = delete;
  virtual ~SegmentTuner() = default;

  /// `tune_held_out` from the settings' weights. `figure(held out, fold, step)` may call `evaluate` and `predict`.
  [[nodiscard]] virtual HeldOutTuning tune(const MaskedImages& source,
                                           const std::function<double(const Held&, Index, Index)>& figure,
                                           const std::stop_token& token) = 0;
  [[nodiscard]] virtual SegmentationResult evaluate(const MaskedImages& source, const std::stop_token& token) = 0;
  /// Calls each(map) with the logits of the classes as the map's patches.
  virtual TilePassCount predict(const MaskedImages& source, const std::stop_token& token,
                                const std::function<void(PatchMap<float>&)>& each) = 0;
  [[nodiscard]] virtual const InputRenderer& renderer() const = 0;
  [[nodiscard]] virtual Index patch() const = 0;
  [[nodiscard]] virtual std::string description() const = 0;
  [[nodiscard]] virtual const std::string& prefix() const = 0;  ///< of the weights' names in their file
  [[nodiscard]] virtual std::string backend() const = 0;
};

/// Throws `OptionError` for settings that cannot be, `CheckpointError`, `FileError`.
[[nodiscard]] std::unique_ptr<SegmentTuner> make_segment_tuner(const TunerSettings& settings);

/// {"labelled_images", "other_images", "trainings", "looks", "steps", "held_out", "steps_run"}.
[[nodiscard]] nlohmann::ordered_json tuning_json(const HeldOutTuning& tuning);

}  // namespace dssl::programs
