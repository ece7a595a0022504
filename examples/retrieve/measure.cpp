// Dense retrieval and overclustering of a frozen backbone's patches.
#include "retrieve/measure.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <dssl/backend/concept.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/data/fingerprint.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/features.hpp>
#include <dssl/io/png.hpp>
#include <dssl/pictures/overlay.hpp>
#include <dssl/probe/cluster_probe.hpp>
#include <dssl/probe/retrieval_probe.hpp>
#include <dssl/version.hpp>

#include "common/backbone.hpp"
#include "common/earlier_outputs.hpp"
#include "common/output_files.hpp"
#include "common/program.hpp"
#include "common/progress.hpp"
#include "common/rank_work.hpp"
#include "common/segmentation_scores.hpp"

namespace dssl::programs {

namespace {

using Json = nlohmann::ordered_json;

template <Backend B>
class DenseMeasurement {
 public:
  DenseMeasurement(const RetrieveSettings& settings, const LabelledSets& sets, const Communicator& ranks, const B& backend)
      : x_settings(settings),
        x_ranks(ranks),
        x_sets(sets),
        x_weights(x_settings.backbone.open()),
        x_extractor(backend, x_settings.backbone.map_features(x_weights.config()), x_weights.config()) {}

  void run() {
    const BackboneSettings& b = x_settings.backbone;
    const OutputFiles output(with_earlier_pictures(measured_files(x_settings.out, x_sets.val, x_every()), x_settings.out, "overlays"));
    x_sets.require_apart(output);
    if (!b.random_weights()) output.require_other_than_weights("--weights", b.weights);
    std::string of_weights;
    load_weights(x_extractor, x_weights, b.seed, [&](std::span<const float> flat) {
      if (!x_ranks.alone()) of_weights = fingerprint_of(flat);
    });
    x_require_same(of_weights);
    std::optional<FolderClaim> claim;
    if (x_ranks.first()) {
      claim = claim_output_folder(x_settings.out);
      for (const std::string& warning : x_sets.warnings) print_error("dssl-retrieve", "warning: " + warning);
      if (x_every() > 0)
        prepare_output_folder(x_settings.out + "/overlays");
    }
    std::printf("%s; %td training and %td evaluation images at %s\n",
                describe_backbone(x_extractor, x_weights).c_str(),
                x_sets.train.size(), x_sets.val.size(), b.size.c_str());
    std::fflush(stdout);
    Json report = Json::object();
    if (x_settings.measures("retrieval")) report["retrieval"] = x_retrieval();
    if (x_every() == 0) x_remove_earlier();
    if (x_settings.measures("clusters")) {
      report["clusters"] = Json::array();
      for (const Index count : x_settings.clusters) report["clusters"].push_back(x_clusters(count));
    }
    report["settings"] = x_settings.json();
    report["backend"] = x_extractor.backend().describe();
    report["version"] = version_string;
    if (x_ranks.first()) write_json(x_settings.out + "/result.json", report);
  }

 private:
  [[nodiscard]] Index x_every() const {
    return x_settings.measures("retrieval") ? every_shown(x_sets.val.size(), x_settings.overlays) : 0;
  }

  /// Before any rank writes.
  void x_remove_earlier() const {
    if (x_ranks.first()) {
      remove_earlier_outputs(x_settings.out, {"result.json"}, "overlays",
                             names_in(x_settings.out, "overlays", measured_files(x_settings.out, x_sets.val, x_every())));
    }
    static_cast<void>(x_ranks.any(false));  // waits for the first
  }

  void x_require_same(const std::string& of_weights) const {
    if (x_ranks.alone()) return;
    const auto of = [](const LabelledSet& set) { return fingerprint_of(SourceView(ImagesOf<LabelledSet>(set))).text(); };
    Json options = x_settings.json();
    options["overlays"] = x_settings.overlays;
    require_same_work(x_ranks, {{"--train", of(x_sets.train)}, {"--val", of(x_sets.val)}, {"weights", of_weights}}, x_settings.backbone,
                      std::move(options));
  }

  /// Options that both probes have.
  template <class Options>
  [[nodiscard]] Options x_options() const {
    Options options;
    options.classes = x_settings.set.class_options();
    options.fit = x_settings.backbone.input_fit();
    options.seed = x_settings.backbone.seed;
    options.loader = x_settings.backbone.loader();
    options.ranks = x_ranks;
    return options;
  }

  [[nodiscard]] AbsentClasses x_absent() const {
    return x_settings.set.absent_zero ? AbsentClasses::zero : AbsentClasses::excluded;
  }

  /// Runs a pass of a probe over images with its progress.
  template <class Probe, class Pass>
  auto x_with_progress(Probe& probe, const char* label, Index total, const Pass& pass) {
    std::stop_source stop;
    Progress progress(label, total, "images");
    probe.on_images = [&](Index done) {
      progress.at(done);
      if (x_interruption.requested()) stop.request_stop();
    };
    probe.on_skip = [&](std::string_view, std::string_view message) {
      progress.warn(skipped_words(x_ranks, message));
    };
    auto result = pass(stop.get_token());
    if (stop.stop_requested()) throw Error("stopped on request; no result was written");
    return result;
  }

  Json x_retrieval() {
    auto options = x_options<RetrievalProbeOptions>();
    options.memory = x_settings.memory;
    options.sampling = x_settings.sampling == "uniform" ? PatchSampling::uniform : PatchSampling::balanced;
    options.neighbours = x_settings.neighbours;
    options.temperature = x_settings.temperature;
    RetrievalProbe<ViTFamily, B> probe(x_extractor, options);
    const FeaturePassCount passed =
        x_with_progress(probe, "remembering", x_sets.train.size(),
                        [&](const std::stop_token& token) { return probe.remember(x_sets.train, token); });
    print_labels("labels of what is remembered", passed.census, probe.classes());
    if (x_ranks.first()) warn_of_unclaimed("dssl-retrieve", passed.census, probe.classes());
    const Index every = x_every();
    if (every > 0) x_remove_earlier();
    probe.on_prediction = [&](const ProbePrediction& prediction) {
      if (every == 0 || prediction.index % every != 0) return;
      write_png(overlay_file(x_settings.out, x_sets.val, prediction.index),
                prediction_overlay(probe.renderer().picture(prediction.input), prediction.truth,
                                   prediction.predicted, probe.classes()));
    };
    const auto start = std::chrono::steady_clock::now();
    const SegmentationResult result =
        x_with_progress(probe, "retrieval", x_sets.val.size(),
                        [&](const std::stop_token& token) { return probe.evaluate(x_sets.val, token); });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const SegmentationScores scores = result.scores(x_absent());
    std::printf("retrieval from %td %s\n", probe.remembered(), x_settings.backbone.map.tokens());
    const BoundaryScores boundary = result.boundary.scores(x_absent());
    print_scores(result, scores, probe.classes(), x_sets, x_settings.set.absent_zero, &boundary);
    Json out = scores_json(scores, probe.classes(), x_sets, &boundary);
    out.update({{"remembered", probe.remembered()},
                {"images", result.images},
                {"unreadable", result.unreadable},
                {"unreadable_masks", result.unreadable_labels},
                {"labels", labels_json(result.census, probe.classes())},
                {"seconds", seconds},
                {"confusion", confusion_json(result.confusion)}});
    return out;
  }

  Json x_clusters(Index count) {
    auto options = x_options<ClusterProbeOptions>();
    options.clusters = count;
    options.patches = x_settings.patches;
    options.iterations = x_settings.iterations;
    ClusterProbe<ViTFamily, B> probe(x_extractor, options);
    x_with_progress(probe, "clustering", x_sets.train.size(), [&](const std::stop_token& token) {
      probe.fit(x_sets.train, token);
      return 0;
    });
    const ClusterProbeResult result =
        x_with_progress(probe, "clusters", x_sets.val.size(),
                        [&](const std::stop_token& token) { return probe.evaluate(x_sets.val, token); });
    const bool one_to_one = count == 0;
    const SegmentationScores scores = one_to_one ? result.hungarian(x_absent()) : result.majority(x_absent());
    const ClassMap classes(x_settings.set.class_options());
    const Index clusters = one_to_one ? classes.classes() : count;
    std::printf("%td clusters, %s\n", clusters,
                one_to_one ? "one a class" : "each named after most of its pixels");
    print_scores(result, scores, classes, x_sets, x_settings.set.absent_zero);
    Json out{{"clusters", clusters}, {"matching", one_to_one ? "hungarian" : "majority"}};
    out.update(scores_json(scores, classes, x_sets));
    out.update({{"images", result.images}, {"unreadable", result.unreadable},
                {"unreadable_masks", result.unreadable_labels}});
    return out;
  }

  RetrieveSettings x_settings;  // with what was found in the weights
  Communicator x_ranks;
  const LabelledSets& x_sets;
  Interruption x_interruption;
  ProgramWeights x_weights;
  FeatureExtractor<ViTFamily, B> x_extractor;
};

}  // namespace

void retrieve(RetrieveSettings settings, RunRanks& ranks) {
  start_rank(ranks, settings.processes, settings.backbone);
  settings.backbone.validate();
  print_ranks(ranks);
  const LabelledSets sets = open_sets(settings.set, settings.backbone.reading(), settings.backbone.seed);
  with_backend(settings.backbone, [&](const auto& backend) {
    DenseMeasurement<std::decay_t<decltype(backend)>>(settings, sets, ranks.communicator(), backend).run();
  });
}

}  // namespace dssl::programs
