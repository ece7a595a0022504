// The one file of the programs that compiles the training of a whole backbone by masks.
#include "common/segment_tuner.hpp"

#include <algorithm>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/probe/fine_tuned_segmenter.hpp>

#include "common/architectures.hpp"
#include "common/backbone.hpp"
#include "common/backend.hpp"
#include "common/program.hpp"

namespace dssl::programs {

namespace {

[[nodiscard]] TuningOptions tuning_options(const TunerSettings& s) {
  const auto [height, width] = extents_of("crop", s.tuning.crop);
  return {.height = height,
          .width = width,
          .channels = s.channels,
          .batch = s.tuning.batch,
          .steps = s.tuning.steps,
          .learning_rate = s.tuning.rate,
          .layer_decay = s.tuning.layer_decay,
          .seed = s.seed};
}

[[nodiscard]] TuningSampleOptions samples(const TunerSettings& s) {
  return {.mean = s.published.pixels.mean, .deviation = s.published.pixels.deviation, .loader = s.loader};
}

[[nodiscard]] TileOptions checked_tiles(const TunerSettings& s, const ViTConfig& config) {
  const auto [height, width] = extents_of("crop", s.tuning.crop);
  const Index patch = config.patch;
  if (height < patch || height % patch != 0 || width < patch || width % patch != 0)
    throw OptionError("crop", s.tuning.crop, join("multiples of the patch, ", patch, " pixels"));
  const Index most = (std::min(height, width) / patch - 1) * patch;
  if (s.tuning.overlap > most)
    throw OptionError("crop_overlap", s.tuning.overlap, join("0 to ", most, " pixels, for crops of ", s.tuning.crop));
  return {.scale = s.tuning.scale, .overlap = s.tuning.overlap};
}

template <Backend B>
class TunerOn final : public SegmentTuner {
 public:
  /// `s`: with what was found in the weights.
  TunerOn(const TunerSettings& s, const B& backend, ProgramWeights weights)
      : x_settings(s),
        x_weights(std::move(weights)),
        x_tiles(checked_tiles(s, x_weights.config())),
        x_segmenter(backend, tuning_options(s), s.classes, samples(s), longer_side(s), {}, x_weights.config()),
        x_backbone(weights_for(x_segmenter.network(), x_weights, s.seed)) {}

  [[nodiscard]] HeldOutTuning tune(const MaskedImages& source,
                                   const std::function<double(const Held&, Index, Index)>& figure,
                                   const std::stop_token& token) override {
    NativeCropOptions crops{.scale = x_settings.tuning.scale, .balanced = x_settings.tuning.balanced};
    if (!x_settings.augment)
      crops = {.scale = crops.scale, .balanced = crops.balanced, .flips = false, .turns = false, .brightness = 0, .contrast = 0};
    x_segmenter.on_step = on_step;
    x_segmenter.on_skip = on_skip;
    return tune_held_out(x_segmenter, std::span<const float>(x_backbone), source,
                         {.crops = crops,
                          .look_every = x_settings.tuning.look_every,
                          .patience = x_settings.tuning.patience,
                          .folds = x_settings.tuning.folds,
                          .hold_out = x_settings.tuning.hold_out},
                         figure, token);
  }

  [[nodiscard]] SegmentationResult evaluate(const MaskedImages& source, const std::stop_token& token) override {
    x_segmenter.on_prediction = on_prediction;
    x_segmenter.on_images = on_images;
    x_segmenter.on_skip = on_skip;
    return x_segmenter.evaluate_windows(source, x_tiles, token);
  }

  TilePassCount predict(const MaskedImages& source, const std::stop_token& token,
                        const std::function<void(PatchMap<float>&)>& each) override {
    x_segmenter.on_skip = on_skip;
    return x_segmenter.predict_windows(source, x_tiles, token, each);
  }

  [[nodiscard]] const InputRenderer& renderer() const override { return x_segmenter.renderer(); }
  [[nodiscard]] Index patch() const override { return x_segmenter.network().config().patch; }
  [[nodiscard]] std::string description() const override {
    return x_weights.describe_on(backend(), join(" with a linear head, ", x_segmenter.network().layout().parameter_count(), " parameters"));
  }
  [[nodiscard]] const std::string& prefix() const override { return x_weights.prefix(); }
  [[nodiscard]] std::string backend() const override { return x_segmenter.network().backend().describe(); }

 private:
  // Masks as fine as the crops.
  [[nodiscard]] static Index longer_side(const TunerSettings& s) {
    const auto [height, width] = extents_of("crop", s.tuning.crop);
    return std::max(height, width);
  }

  TunerSettings x_settings;
  ProgramWeights x_weights;
  TileOptions x_tiles;
  mutable FineTunedSegmenter<ViTFamily, B> x_segmenter;
  std::vector<float> x_backbone;
};

}  // namespace

std::unique_ptr<SegmentTuner> make_segment_tuner(const TunerSettings& settings) {
  TunerSettings own = settings;
  ProgramWeights weights(own.weights, own.arch, own.channels, own.published);
  std::unique_ptr<SegmentTuner> out;
  with_backend(settings, [&](const auto& backend) {
    out = std::make_unique<TunerOn<std::decay_t<decltype(backend)>>>(own, backend, std::move(weights));
  });
  return out;
}

nlohmann::ordered_json tuning_json(const HeldOutTuning& tuning) {
  auto looks = nlohmann::ordered_json::array();
  for (const TuningLook& look : tuning.looks)
    looks.push_back({{"step", look.step}, {"figure", number_or_null(look.figure)}});
  return {{"labelled_images", tuning.parts.labelled.size()},
          {"other_images", tuning.parts.others.size()},
          {"trainings", tuning.trainings},
          {"looks", looks},
          {"steps", tuning.steps},
          {"held_out", number_or_null(tuning.figure)},
          {"steps_run", tuning.steps_run}};
}

}  // namespace dssl::programs
