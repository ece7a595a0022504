// Few-label fine-tuning of the whole backbone.
#include "classify/tune.hpp"

#include <algorithm>
#include <stop_token>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/probe/fine_tuned_classifier.hpp>

#include "common/backbone.hpp"
#include "common/progress.hpp"

namespace dssl::programs {

namespace {

[[nodiscard]] TuningOptions tuning_options(const ClassifySettings& s, Index classes) {
  const auto [height, width] = extents_of("size", s.backbone.size);
  return {.height = height,
          .width = width,
          .channels = s.backbone.channels,
          .batch = s.tuning.batch,
          .classes = classes,
          .steps = s.tuning.steps,
          .learning_rate = s.tuning.rate,
          .layer_decay = s.tuning.layer_decay,
          .seed = s.backbone.seed};
}

[[nodiscard]] TuningSampleOptions samples(const BackboneSettings& s) {
  PixelScale pixels = s.pixels();
  return {.fit = s.input_fit(), .mean = std::move(pixels.mean), .deviation = std::move(pixels.deviation), .loader = s.loader()};
}

}  // namespace

Predictions tune_and_predict(const ClassifySettings& settings, Index classes, const ImageFiles& train,
                             const std::vector<std::int64_t>& labels, const ImageFiles& test,
                             const Interruption& interruption) {
  Predictions out;
  with_backend(settings.backbone, [&]<class B>(const B& backend) {
    BackboneSettings s = settings.backbone;
    ProgramWeights weights = s.open();
    FineTunedClassifier<ViTFamily, B> tuner(backend, tuning_options(settings, classes), samples(s), weights.config());
    tuner.network().load(weights_for(tuner.network(), weights, s.seed));
    prepare_output_folder(settings.out);
    std::stop_source stop;
    Progress progress("training the backbone", settings.tuning.steps, "steps");
    tuner.on_skip = [&](std::string_view, std::string_view message) { progress.warn(one_line(join("skipped: ", message))); };
    tuner.on_step = [&](Index steps, double) {
      progress.at(steps);
      if (interruption.requested()) stop.request_stop();
    };
    tuner.train(train, labels, stop.get_token());
    const auto stopped = [&] {
      if (interruption.requested()) throw Error("stopped on request; no result was written");
    };
    stopped();
    tuner.predict(test, stop.get_token(), [&](Index image, auto logits) {
      if (interruption.requested()) stop.request_stop();
      out.images.push_back(image);
      out.classes.push_back(std::max_element(logits.begin(), logits.end()) - logits.begin());
    });
    stopped();
  });
  if (out.images.empty()) throw DataError("no test image could be read");
  return out;
}

}  // namespace dssl::programs
