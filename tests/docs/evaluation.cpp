// What a trained backbone is worth; needs dssl::codecs for files.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/data/defect_files.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/voc.hpp>
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/defects/defect_probe.hpp>
#include <dssl/defects/difference_probe.hpp>
#include <dssl/defects/template_comparison.hpp>
#include <dssl/defects/template_probe.hpp>
#include <dssl/features/features.hpp>
#include <dssl/io/png.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/metrics/calibration.hpp>
#include <dssl/metrics/detection.hpp>
#include <dssl/metrics/effective_rank.hpp>
#include <dssl/metrics/metrics.hpp>
#include <dssl/metrics/score_tally.hpp>
#include <dssl/pictures/overlay.hpp>
#include <dssl/probe/cluster_probe.hpp>
#include <dssl/probe/fine_tuned_segmenter.hpp>
#include <dssl/probe/held_out_tuning.hpp>
#include <dssl/probe/linear_probe.hpp>
#include <dssl/probe/retrieval_probe.hpp>
#include <dssl/probe/segmentation_probe.hpp>
#include <dssl/search/knn.hpp>
#include <dssl/search/nearest.hpp>

namespace snippets {

using Backbone = dssl::ViT<dssl::vit_nano8>;
using Extractor = dssl::FeatureExtractor<Backbone, dssl::Cpu>;

// [features]
/// Cosine of two images' class tokens.
double likeness(Extractor& extractor, const dssl::AnyImageView& first, const dssl::AnyImageView& second) {
  const auto a = extractor.features(first);  // any size and pixel type: resized and normalised as in training
  const auto b = extractor.features(second);
  const auto dot = [](const std::vector<float>& x, const std::vector<float>& y) {
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
  };
  return dot(a.class_token, b.class_token) /
         std::sqrt(dot(a.class_token, a.class_token) * dot(b.class_token, b.class_token));
}

Extractor extractor_of(const std::string& weights) {
  Extractor extractor(dssl::Cpu(), {.height = 224, .width = 320, .batch = 4});
  extractor.load(dssl::SafetensorsFile::open(weights));  // a teacher, a checkpoint, published weights
  return extractor;
}
// [features end]

// [blocks]
/// Tokens of the blocks 3 and 5, side by side, at two sizes; one copy of the weights.
std::vector<Extractor> at_two_sizes(const Extractor& weights) {
  std::vector<Extractor> out;
  for (const dssl::Index side : {224, 448}) {
    out.emplace_back(weights, dssl::FeatureOptions{.height = side,
                                                   .width = side,
                                                   .reads = {.patch = true},
                                                   .blocks = {3, 5},
                                                   .flips = true});
  }
  return out;
}
// [blocks end]

// [neighbours]
std::vector<std::int64_t> classes_of(dssl::MatrixView<const float> train,
                                     const std::vector<std::int64_t>& labels,
                                     dssl::MatrixView<const float> queries) {
  dssl::KnnClassifier<dssl::Cpu> knn(dssl::Cpu(), train, labels, {.classes = 7});  // train (n,D)
  return knn.predict(queries, 20);                                                 // queries (m,D), k = 20
}
// [neighbours end]

// [probe]
double mean_iou(Extractor& extractor, const std::string& voc, const std::string& pictures) {
  dssl::SegmentationProbeOptions options{
      .classes = {.classes = 21, .void_ids = {255}}, .epochs = 25, .batch = 60};
  dssl::SegmentationProbe<Backbone, dssl::Cpu> probe(extractor, options);
  probe.on_step = [](const dssl::ProbeStep& at) {
    std::printf("%td of %td: loss %.4f\n", at.step, at.steps, at.loss);
  };
  probe.train(dssl::VocFolder(voc, "train"));

  probe.on_prediction = [&](const dssl::ProbePrediction& p) {
    if (p.index >= 8) return;  // a few pictures: image, truth, prediction
    dssl::write_png(
        pictures + "/" + std::to_string(p.index) + ".png",
        dssl::prediction_overlay(probe.renderer().picture(p.input), p.truth, p.predicted, probe.classes()));
  };
  const dssl::SegmentationResult result = probe.evaluate(dssl::VocFolder(voc, "val"));
  const dssl::SegmentationScores scores = result.scores();  // absent classes are left out of the mean
  std::printf("mIoU %.4f, pixel accuracy %.4f, %td classes absent\n", scores.mean_iou, scores.pixel_accuracy,
              scores.absent);
  return scores.mean_iou;
}
// [probe end]

// [retrieval]
double retrieval_mean_iou(Extractor& extractor, const std::string& voc) {
  dssl::RetrievalProbe<Backbone, dssl::Cpu> probe(
      extractor, {.classes = {.classes = 21, .void_ids = {255}}, .memory = 102'400});
  probe.remember(dssl::VocFolder(voc, "train"));
  return probe.evaluate(dssl::VocFolder(voc, "val")).scores().mean_iou;
}
// [retrieval end]

// [clustering]
void print_clustering(Extractor& extractor, const std::string& voc) {
  for (const dssl::Index clusters : {21, 300}) {
    dssl::ClusterProbe<Backbone, dssl::Cpu> probe(
        extractor, {.classes = {.classes = 21, .void_ids = {255}}, .clusters = clusters});
    probe.fit(dssl::VocFolder(voc, "train"));  // labels are not looked at
    const dssl::ClusterProbeResult result = probe.evaluate(dssl::VocFolder(voc, "val"));
    const auto scores = clusters == 21 ? result.hungarian() : result.majority();
    std::printf("%td clusters: mIoU %.4f\n", clusters, scores.mean_iou);
  }
}
// [clustering end]

// [nearest]
/// The distance of each query (m,D) to the nearest row of a bank (n,D); all in the backend's memory.
std::vector<double> distances(const dssl::Cpu& backend, dssl::MatrixView<const float> bank,
                              dssl::MatrixView<const float> queries) {
  dssl::NearestRows<dssl::Cpu> rows(
      backend, {.width = bank.cols(), .capacity = bank.rows(), .by = dssl::Nearness::distance});
  rows.add(bank);
  std::vector<dssl::Neighbour> nearest(static_cast<std::size_t>(queries.rows()));
  rows.find(nearest, queries, 1);
  std::vector<double> out;
  for (const dssl::Neighbour& neighbour : nearest) out.push_back(neighbour.nearness);
  return out;
}
// [nearest end]

// [ranking]
void print_detection(const std::vector<float>& scores, const std::vector<int>& is_defect) {
  dssl::ScoreTally tally;  // or part by part: add(score, positive)
  tally.add(std::span<const float>(scores), std::span<const int>(is_defect));
  const dssl::OperatingPoint best = dssl::best_f1(tally);
  std::printf("AUROC %.4f, average precision %.4f, F1 %.4f from %g on\n", dssl::auroc(tally),
              dssl::average_precision(tally), best.f1(), best.threshold);
  for (const double rate : {0.01, 0.05}) {
    std::printf("%.1f %% of the defects are missed at %.0f %% false alarms\n",
                100 * dssl::at_false_alarms(tally, rate).missed(), 100 * rate);
  }
}
// [ranking end]

// [heat maps]
struct ScoredImage {
  dssl::Index height, width;
  std::vector<float> heat_map;     // (H,W)
  std::vector<std::uint8_t> mask;  // (H,W), empty for a normal image
  float score;
};

void print_localisation(const std::vector<ScoredImage>& images) {
  dssl::DetectionTally tally;
  for (const ScoredImage& image : images) {
    tally.add_image(image.score, !image.mask.empty());
    tally.add_map(std::span<const float>(image.heat_map), std::span<const std::uint8_t>(image.mask),
                  image.height, image.width);
  }
  std::printf("AUROC of images %.4f, of pixels %.4f (within %.1g); AUPRO to 30 %% %.4f of %td regions\n",
              dssl::auroc(tally.images()), dssl::auroc(tally.pixels()), dssl::auroc_error(tally.pixels()),
              tally.aupro(), tally.region_count());
}
// [heat maps end]

// [defects]
void find_defects(Extractor& extractor, const dssl::ImageFolder& normal, const dssl::ImageFolder& held_out,
                  const dssl::VocFolder& test) {
  dssl::DefectProbe<Backbone, dssl::Cpu> probe(extractor, {.pool = 100'000, .coreset = 0.1});
  probe.learn(normal);
  const double threshold = dssl::alarm_threshold(probe.evaluate(held_out).normal_scores, 0.05);

  probe.on_score = [&](const dssl::DefectScore& image) {
    if (image.score >= threshold) std::printf("%s: %.3f\n", test.name(image.index).c_str(), image.score);
  };
  const dssl::DefectResult result = probe.evaluate(test);
  std::printf("AUROC of images %.4f, AUPRO %.4f\n", dssl::auroc(result.tally.images()), result.tally.aupro());
}
// [defects end]

// [template]
/// How much each patch of a board differs from its place on the template; 0 to 2.
std::vector<float> differences(Extractor& extractor, const std::vector<float>& board_and_template) {
  extractor.forward(board_and_template);  // two images
  std::vector<float> scores(static_cast<std::size_t>(extractor.grid().size()));
  dssl::compare_with_template(extractor.backend(), std::span<float>(scores), extractor.patch_map(0),
                              extractor.patch_map(1), extractor.grid(), {.reach = 1});
  return scores;
}
// [template end]

// [linear probe]
/// The share of test features that a linear classifier names rightly, for each learning rate of the grid.
std::vector<double> linear_accuracies(dssl::MatrixView<const float> train, const std::vector<std::int64_t>& labels,
                                      dssl::MatrixView<const float> test,
                                      const std::vector<std::int64_t>& truth) {
  dssl::LinearProbe<dssl::Cpu> probe(
      dssl::Cpu(), {.width = train.cols(), .classes = 7, .learning_rates = {0.001, 0.01, 0.1}, .epochs = 100});
  probe.train(train, labels);  // features in host memory
  return probe.accuracies(test, truth);
}
// [linear probe end]

// [fine-tuning]
double fine_tuned_mean_iou(const std::vector<float>& backbone, const dssl::VocFolder& few, const dssl::VocFolder& val) {
  dssl::FineTunedSegmenter<Backbone, dssl::Cpu> tuner(
      dssl::Cpu(), {.height = 224, .width = 224, .batch = 8, .steps = 500, .layer_decay = 0.75},
      {.classes = 21, .void_ids = {255}});
  tuner.network().load(backbone);
  tuner.train(few);
  return tuner.evaluate(val).scores().mean_iou;
}
// [fine-tuning end]

// [held-out tuning]
double tuned_by_crops(const std::vector<float>& backbone, const dssl::VocFolder& few, const dssl::VocFolder& val) {
  dssl::FineTunedSegmenter<Backbone, dssl::Cpu> tuner(dssl::Cpu(), {.height = 96, .width = 96, .steps = 500},
                                                      {.classes = 21, .void_ids = {255}}, {}, 96);
  const auto mean_iou = [&](const auto& held_out, dssl::Index /*fold*/, dssl::Index /*steps*/) {
    return tuner.evaluate_windows(held_out, {}).scores().mean_iou;
  };
  const dssl::HeldOutTuning tuned = dssl::tune_held_out(tuner, std::span(backbone), few, {}, mean_iou);
  std::printf("%td steps, held-out mIoU %.4f\n", tuned.steps, tuned.figure);
  return tuner.evaluate_windows(val, {}).scores().mean_iou;
}
// [held-out tuning end]

// [effective rank]
double effective_rank_of(Extractor& extractor, const std::vector<std::vector<float>>& batches) {
  dssl::FeatureSpectrum<dssl::Cpu> spectrum(extractor.backend(), extractor.width());
  for (const std::vector<float>& images : batches) {
    const dssl::Index count = extractor.forward(images);
    for (dssl::Index i = 0; i < count; ++i) spectrum.add(extractor.patch_map(i));
  }
  return spectrum.effective_rank();
}
// [effective rank end]

// [bank file]
void keep(const dssl::DefectProbe<Backbone, dssl::Cpu>& probe, const std::string& path) {
  dssl::save_defect_bank(path, *probe.bank(), {{"weights", "teacher.safetensors"}});
}

void take_up(dssl::DefectProbe<Backbone, dssl::Cpu>& probe, const std::string& path) {
  probe.take(dssl::load_defect_bank(dssl::Cpu(), dssl::SafetensorsFile::open(path)));
}
// [bank file end]

// [pairs]
/// Scores boards against their templates: by features, and by plain differences of pixels as the floor.
void print_pairs(Extractor& extractor, const dssl::DefectFiles& boards) {
  dssl::TemplateProbe<Backbone, dssl::Cpu> probe(extractor, {.comparison = {.reach = 1}});
  std::printf("AUPRO %.4f\n", probe.evaluate(boards).tally.aupro());

  dssl::DifferenceProbe difference({.input = {.height = 224, .width = 320}});
  dssl::DefectResult floor;
  difference.on_score = [&](const dssl::DefectScore& image) { floor.add(image); };
  difference.score_pairs(boards);
  std::printf("by differences of pixels %.4f\n", floor.tally.aupro());
}
// [pairs end]

}  // namespace snippets
