// Trains and evaluates the probe, and writes what it found.
#include "segment/measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/features/features.hpp>
#include <dssl/io/backbone_rules.hpp>
#include <dssl/probe/segmentation_probe.hpp>

#include "common/architectures.hpp"
#include "common/backbone.hpp"
#include "common/backend.hpp"
#include "common/labelled_set.hpp"
#include "common/output_files.hpp"
#include "common/program.hpp"
#include "common/progress.hpp"
#include "common/classifier_file.hpp"
#include "common/read_options.hpp"
#include "common/segmentation_scores.hpp"
#include "segment/outcome.hpp"
#include "segment/tune.hpp"

namespace dssl::programs {

namespace {

SegmentationProbeOptions probe_options(const SegmentSettings& s) {
  SegmentationProbeOptions options;
  options.classes = s.set.class_options();
  options.epochs = s.epochs;
  options.batch = s.batch;
  options.learning_rate = s.learning_rate;
  options.augment = !s.no_augment && !s.cache_features;
  options.cache_features = s.cache_features;
  options.standardise = s.standardise;
  options.fit = s.fit == "pad" ? InputFit::pad : InputFit::stretch;
  options.seed = s.seed;
  options.loader = {.prefetch = std::max<Index>(8, 2 * s.at_once), .threads = s.threads};
  return options;
}

template <Backend B>
class Measurement {
 public:
  Measurement(const SegmentSettings& settings, const LabelledSets& sets, const B& backend)
      : x_settings(settings),
        x_sets(sets),
        x_weights(x_settings.weights, x_settings.arch, x_settings.channels, x_settings.published),
        x_extractor(backend, with_usable_map(x_feature_options(x_settings), x_weights.config(), x_settings.backend), x_weights.config()) {}

  void run() {
    // Whatever can be wrong with the arguments shows before the work begins.
    const OutputFiles output(outcome_files(x_settings, x_sets));
    x_sets.require_apart(output);
    if (!x_settings.random_weights()) output.require_other_than_weights("--weights", x_settings.weights);
    load_weights(x_extractor, x_weights, x_settings.seed);
    SegmentationProbe<ViTFamily, B> probe(x_extractor, probe_options(x_settings));
    const FolderClaim claim = claim_output_folder(x_settings.out, {"result.json", "classifier.safetensors"});
    if (x_settings.overlays > 0) prepare_output_folder(x_settings.out + "/overlays");
    x_describe(probe.classes().classes());
    for (const std::string& warning : x_sets.warnings) print_error("dssl-segment", "warning: " + warning);
    x_train(probe);
    x_evaluate(probe);
  }

 private:
  using Clock = std::chrono::steady_clock;

  static FeatureOptions x_feature_options(const SegmentSettings& s) {
    const auto [height, width] = s.input_size();
    return {.height = height,
            .width = width,
            .batch = s.at_once,
            .channels = s.channels,
            .reads = {.patch = true},
            .references = s.map.map(s.weights),
            .mean = s.published.pixels.mean,
            .deviation = s.published.pixels.deviation};
  }

  void x_describe(Index classes) const {
    const double mib = static_cast<double>(x_extractor.memory_plan().total()) / 1048576.0;
    std::printf(
        "%s; %td training and %td evaluation images at %s, %td classes; %.0f MiB for weights and activations\n",
        describe_backbone(x_extractor, x_weights).c_str(), x_sets.train.size(),
        x_sets.val.size(), x_settings.size.c_str(), classes, mib);
    std::fflush(stdout);
  }

  void x_warn_through(SegmentationProbe<ViTFamily, B>& probe, Progress& progress) {
    probe.on_skip = [&progress](std::string_view, std::string_view message) {
      progress.warn(one_line(join("skipped: ", message)));
    };
  }

  void x_check_interruption(std::stop_source& stop) const {
    if (x_interruption.requested()) stop.request_stop();
  }

  void x_train(SegmentationProbe<ViTFamily, B>& probe) {
    const auto start = Clock::now();
    std::optional<Progress> progress;
    std::stop_source stop;
    std::string note;
    Index shown = 0;
    const auto begin = [&](const char* label, Index total) {
      progress.emplace(label, total, "images");
      x_warn_through(probe, *progress);
    };
    begin(x_settings.cache_features ? "features" : "training",
          (x_settings.cache_features ? 1 : x_settings.epochs) * x_sets.train.size());
    probe.on_features = [&](Index images) {
      progress->at(images);
      x_check_interruption(stop);
    };
    probe.on_step = [&](const ProbeStep& step) {
      char text[64];
      std::snprintf(text, sizeof text, "epoch %td, loss %.4f", step.epoch + 1, step.loss);
      note = text;
      x_last_loss = step.loss;
    };
    probe.on_images = [&](Index images) {
      if (x_settings.cache_features && std::exchange(shown, images) == 0)
        begin("training", x_settings.epochs * x_sets.train.size());
      progress->at(images, note);
      x_check_interruption(stop);
    };
    probe.train(x_sets.train, stop.get_token());
    if (stop.stop_requested()) throw Error("stopped on request; no result was written");
    progress.reset();
    x_trained_on = probe.trained_on();
    print_labels("labels of the training", x_trained_on, probe.classes());
    warn_of_unclaimed("dssl-segment", x_trained_on, probe.classes());
    x_train_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }

  void x_evaluate(SegmentationProbe<ViTFamily, B>& probe) {
    const auto start = Clock::now();
    remove_earlier_outcome(x_settings, x_sets);
    std::stop_source stop;
    SegmentationResult result = [&] {
      Progress progress("evaluation", x_sets.val.size(), "images");
      x_warn_through(probe, progress);
      probe.on_images = [&](Index images) {
        progress.at(images);
        x_check_interruption(stop);
      };
      probe.on_prediction = [&](const ProbePrediction& prediction) { write_overlay(x_settings, x_sets, prediction, probe.renderer()); };
      return probe.evaluate(x_sets.val, stop.get_token());
    }();
    if (stop.stop_requested()) throw Error("stopped on request; no result was written");
    x_write_classifier(probe);
    report_outcome(x_settings, x_sets, result, probe.classes(),
                   {.trained_on = x_trained_on,
                    .last_loss = x_last_loss,
                    .train_seconds = x_train_seconds,
                    .evaluation_seconds = std::chrono::duration<double>(Clock::now() - start).count(),
                    .prefix = x_weights.prefix(),
                    .backend = x_extractor.backend().describe()});
  }

  void x_write_classifier(SegmentationProbe<ViTFamily, B>& probe) const {
    const auto& segmenter = probe.segmenter();
    const Index classes = segmenter.options().classes;
    std::vector<float> weight(static_cast<std::size_t>(classes * segmenter.options().width)), bias(static_cast<std::size_t>(classes));
    segmenter.get_weights(std::span<float>(weight), std::span<float>(bias));
    std::vector<std::string> names;
    for (Index c = 0; c < classes; ++c) names.push_back(join(c));
    const std::string path = classifier_file(x_settings.out);
    write_linear_head(path, weight, bias,
                      {.token = x_settings.map.references() ? "reference" : "patch",
                       .pixels = x_weights.pixels(),
                       .ran = BackboneRules::of(x_extractor.config()),
                       .size = x_settings.size},
                      names);
    std::printf("classifier: %s\n", path.c_str());
  }

  SegmentSettings x_settings;  // with what was found in the weights
  const LabelledSets& x_sets;
  Interruption x_interruption;
  ProgramWeights x_weights;
  FeatureExtractor<ViTFamily, B> x_extractor;
  LabelCensus x_trained_on;
  double x_last_loss = 0;
  double x_train_seconds = 0;
};

}  // namespace

void measure_segmentation(SegmentSettings settings) {
  const LabelledSets sets = open_sets(settings.set, with_channels_of(settings.read, settings.channels), settings.seed);
  if (settings.tunes()) return measure_tuned(settings, sets);
  with_backend(settings, [&](const auto& backend) {
    Measurement<std::decay_t<decltype(backend)>>(settings, sets, backend).run();
  });
}

}  // namespace dssl::programs
