// Features once, then what nearest neighbours and linear classifiers make of them.
#include "classify/measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/data/apart.hpp>
#include <dssl/data/few_bits.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/features/features.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/backbone_rules.hpp>
#include <dssl/probe/linear_probe.hpp>
#include <dssl/search/knn.hpp>
#include <dssl/search/row_sample.hpp>
#include <dssl/version.hpp>

#include "classify/labels.hpp"
#include "classify/tune.hpp"
#include "common/architectures.hpp"
#include "common/backbone.hpp"
#include "common/csv.hpp"
#include "common/feature_table.hpp"
#include "common/classifier_file.hpp"
#include "common/output_files.hpp"
#include "common/program.hpp"
#include "common/progress.hpp"

namespace dssl::programs {

namespace {

using Json = nlohmann::ordered_json;
using Labels = std::vector<std::int64_t>;

/// Features with the labels of their images.
struct LabelledFeatures {
  FeatureTable table;
  Labels labels;

  [[nodiscard]] MatrixView<const float> rows() const { return table.rows(); }

  /// Some of the rows.
  [[nodiscard]] LabelledFeatures some(const std::vector<std::size_t>& chosen) const {
    LabelledFeatures out{.table = {.width = table.width, .values = {}, .images = {}}, .labels = {}};
    for (const std::size_t i : chosen) {
      const float* const row = table.rows().row(static_cast<Index>(i));
      out.table.values.insert(out.table.values.end(), row, row + table.width);
      out.table.images.push_back(table.images[i]);
      out.labels.push_back(labels[i]);
    }
    return out;
  }
};

class Classification {
 public:
  explicit Classification(const ClassifySettings& settings)
      : x_settings(settings),
        x_test_files(settings.test, x_options(settings)),
        x_train_files(x_some_of_each(x_all_to_learn_from(settings), settings)),
        x_classes(x_train_files) {}

  template <Backend B>
  void run(const B& backend) {
    x_require_output_apart();
    const Labels train_labels = x_classes.of(x_train_files);
    const Labels test_labels = x_classes.of(x_test_files);
    Json report{{"classes", x_classes.names()}};
    const std::string same = same_or_apart(x_train_files, "the training images", x_test_files, "the test images");
    for (const std::string& warning : {same, few_bits_warning(x_train_files)}) {
      if (!warning.empty()) print_error("dssl-classify", "warning: " + warning);
    }
    print_left_aside("dssl-classify", x_train_files);
    print_left_aside("dssl-classify", x_test_files);
    if (x_settings.measures("knn") || x_settings.measures("linear")) {
      x_read_features(backend, train_labels, test_labels);
      report.update({{"training_images", x_train.labels.size()},
                     {"test_images", x_test.labels.size()},
                     {"unreadable", x_train.table.unreadable + x_test.table.unreadable},
                     {"width", x_train.table.width}});
    }
    if (x_settings.measures("knn")) report["knn"] = x_by_neighbours(backend);
    if (x_settings.measures("linear")) report["linear"] = x_by_linear(backend);
    if (!x_settings.measures("knn") && !x_settings.measures("linear")) {
      x_claim_folder();
      std::printf("%s\n", x_settings.backbone.open().describe_on(backend.describe()).c_str());
      std::fflush(stdout);
    }
    if (x_settings.measures("tune")) report["tune"] = x_by_tuning(train_labels, test_labels);
    report["confusion"] = x_confusion();
    report["settings"] = x_settings.json();
    report["backend"] = backend.describe();
    report["version"] = version_string;
    x_write_predictions();
    // Of an earlier run.
    if (!x_settings.measures("linear")) std::filesystem::remove(x_classifier());
    if (!x_settings.keep_neighbours) std::filesystem::remove(neighbours_file(x_settings.out));
    write_json(x_settings.out + "/result.json", report);
  }

 private:
  /// All that may be written.
  [[nodiscard]] OutputFiles x_output() const {
    return OutputFiles({x_settings.out + "/result.json", x_predictions(), x_classifier(), neighbours_file(x_settings.out)});
  }

  void x_require_output_apart() const {
    const OutputFiles output = x_output();
    output.require_other_than_given("--train", x_settings.train);
    output.require_other_than_given("--test", x_settings.test);
    output.require_other_than_all("--train", x_train_files);
    output.require_other_than_all("--test", x_test_files);
    if (!x_settings.backbone.random_weights()) output.require_other_than_weights("--weights", x_settings.backbone.weights);
  }

  void x_claim_folder() {
    x_claim = claim_output_folder(x_settings.out, {});
    x_output().require_writable();
  }

  /// Features of all images; the backbone's memory is given back after.
  template <Backend B>
  void x_read_features(const B& backend, const Labels& train_labels, const Labels& test_labels) {
    const ImageToken token = image_token_of(x_settings.token);
    ProgramWeights weights = x_settings.backbone.open();
    FeatureExtractor<ViTFamily, B> extractor(backend, x_settings.backbone.features(reads_of(token)), weights.config());
    load_weights(extractor, weights, x_settings.backbone.seed, [&](std::span<const float> flat) {
      if (x_settings.keep_neighbours) x_fingerprint = fingerprint_of(flat);
    });
    x_ran = BackboneRules::of(extractor.config());
    x_claim_folder();
    std::printf(
        "%s; %td training and %td test images of %td classes at %s\n",
        describe_backbone(extractor, weights).c_str(),
        x_train_files.size(), x_test_files.size(), x_classes.size(), x_settings.backbone.size.c_str());
    std::fflush(stdout);
    x_train = x_with_labels(
        feature_table(extractor, x_settings.backbone, x_train_files, token, "training", x_interruption),
        train_labels);
    x_test = x_with_labels(
        feature_table(extractor, x_settings.backbone, x_test_files, token, "test", x_interruption),
        test_labels);
  }

  static ImageFilesOptions x_options(const ClassifySettings& s) {
    return {.folder = s.images, .read = s.backbone.reading()};
  }

  /// Throws `DataError` where a file has two classes, which neither classifiers nor their accuracy can mean, or is
  /// one's to learn from and another's to test.
  ImageFiles x_all_to_learn_from(const ClassifySettings& settings) const {
    ImageFiles files(settings.train, x_options(settings));
    require_one_label(files, x_test_files);
    return files;
  }

  /// The images that are learned from: `labels` of each class, drawn by the seed, in the order of the files.
  static ImageFiles x_some_of_each(const ImageFiles& files, const ClassifySettings& settings) {
    if (settings.labels == 0) return files;
    const ClassNames names(files);
    const Labels labels = names.of(files);
    std::vector<Index> taken(static_cast<std::size_t>(names.size()));
    std::vector<Index> chosen;
    for (const Index i : shuffled(files.size(), {.seed = settings.backbone.seed, .view = 11, .purpose = Purpose::probe})) {
      if (taken[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])]++ < settings.labels) chosen.push_back(i);
    }
    std::sort(chosen.begin(), chosen.end());
    return files.some(chosen);
  }

  static LabelledFeatures x_with_labels(FeatureTable table, const Labels& all) {
    LabelledFeatures out{.table = std::move(table), .labels = {}};
    for (const Index i : out.table.images) out.labels.push_back(all[static_cast<std::size_t>(i)]);
    return out;
  }

  static double x_share_right(const Labels& predicted, const Labels& truth) {
    Index right = 0;
    for (std::size_t i = 0; i < predicted.size(); ++i) right += predicted[i] == truth[i] ? 1 : 0;
    return static_cast<double>(right) / static_cast<double>(predicted.size());
  }

  void x_keep_predictions(std::string by, Predictions predicted, Labels truth) {
    x_predicted = std::move(predicted);
    x_truth = std::move(truth);
    x_by = std::move(by);
  }

  template <Backend B>
  Json x_by_neighbours(const B& backend) {
    KnnClassifier<B> knn(backend, x_train.rows(), x_train.labels,
                         {.classes = x_classes.size(), .temperature = x_settings.temperature});
    Json out = Json::object();
    for (const Index k : x_settings.neighbours) {
      if (k > x_train.rows().rows()) continue;
      Labels predicted = knn.predict(x_test.rows(), k);
      const double accuracy = x_share_right(predicted, x_test.labels);
      std::printf("k-NN, k %-4td   %5.1f %%\n", k, 100 * accuracy);
      out[join(k)] = accuracy;
      if (!x_by.empty()) continue;
      x_keep_predictions(join("knn ", k), {x_test.table.images, std::move(predicted)}, x_test.labels);
      if (x_settings.keep_neighbours) x_write_neighbours(k);
    }
    if (out.empty()) {
      throw OptionError("k", x_settings.neighbours.front(),
                        join("at most the number of training images, ", x_train.rows().rows()));
    }
    return out;
  }

  /// The training images for the classifiers, and those that the rate is chosen on: the same share of each
  /// class.
  [[nodiscard]] std::pair<LabelledFeatures, LabelledFeatures> x_split() const {
    std::vector<std::vector<std::size_t>> of_class(static_cast<std::size_t>(x_classes.size()));
    const auto order = shuffled(static_cast<Index>(x_train.labels.size()),
                                {.seed = x_settings.backbone.seed, .view = 9, .purpose = Purpose::probe});
    for (const Index i : order)
      of_class[static_cast<std::size_t>(x_train.labels[static_cast<std::size_t>(i)])].push_back(
          static_cast<std::size_t>(i));
    std::vector<std::size_t> kept, held_out;
    for (const auto& own : of_class) {
      const auto out =
          static_cast<std::size_t>(std::llround(x_settings.hold_out * static_cast<double>(own.size())));
      held_out.insert(held_out.end(), own.begin(), own.begin() + static_cast<std::ptrdiff_t>(out));
      kept.insert(kept.end(), own.begin() + static_cast<std::ptrdiff_t>(out), own.end());
    }
    std::sort(kept.begin(), kept.end());
    std::sort(held_out.begin(), held_out.end());
    return {x_train.some(kept), x_train.some(held_out)};
  }

  template <Backend B>
  Json x_by_linear(const B& backend) {
    const auto [kept, held_out] = x_split();
    const bool choose = x_settings.rates.size() > 1;
    if (choose && held_out.labels.empty()) {
      throw OptionError("hold-out", x_settings.hold_out,
                        "a share that leaves training images to choose a learning rate on, or a single rate");
    }
    LinearProbeOptions options{.width = x_train.table.width,
                               .classes = x_classes.size(),
                               .learning_rates = x_settings.rates,
                               .epochs = x_settings.epochs,
                               .batch = x_settings.batch,
                               .standardise = x_settings.standardise,
                               .seed = x_settings.backbone.seed};
    std::size_t best = 0;
    Json rates = Json::array();
    for (const double rate : x_settings.rates) rates.push_back({{"rate", rate}});
    if (choose) {
      LinearProbe<B> trial(backend, options);
      x_run(trial, kept, "choosing the rate");
      const std::vector<double> chosen_by = trial.accuracies(held_out.rows(), held_out.labels);
      for (std::size_t g = 0; g < chosen_by.size(); ++g) {
        rates[g]["held_out"] = number_or_null(chosen_by[g]);
        if (std::isnan(chosen_by[best]) || chosen_by[g] > chosen_by[best]) best = g;
      }
    }
    // What is told of the test set is trained on all training images, with the rate that was chosen without
    // it.
    LinearProbe<B> probe(backend, options);
    x_run(probe, x_train, "linear classifiers");
    const std::vector<double> accuracies = probe.accuracies(x_test.rows(), x_test.labels);
    for (std::size_t g = 0; g < accuracies.size(); ++g) rates[g]["test"] = number_or_null(accuracies[g]);
    if (!std::isfinite(accuracies[best]))
      throw NonFiniteError(
          "every linear classifier is not finite; lower the learning rates (--rates), or --standardise");
    x_keep_predictions("linear", {x_test.table.images, probe.predict(x_test.rows(), static_cast<Index>(best))},
                       x_test.labels);
    std::printf("linear, rate %-6g %5.1f %%\n", x_settings.rates[best], 100 * accuracies[best]);
    x_write_classifier(probe, static_cast<Index>(best));
    return {{"accuracy", accuracies[best]}, {"rate", x_settings.rates[best]}, {"rates", rates}};
  }

  template <Backend B>
  void x_write_classifier(const LinearProbe<B>& probe, Index number) const {
    std::vector<float> weight(static_cast<std::size_t>(x_classes.size() * x_train.table.width)), bias(static_cast<std::size_t>(x_classes.size()));
    probe.get_weights(std::span<float>(weight), std::span<float>(bias), number);
    write_linear_head(x_classifier(), weight, bias, x_reads(), x_classes.names());
    std::printf("classifier: %s\n", x_classifier().c_str());
  }
  [[nodiscard]] HeadReads x_reads() const {
    const BackboneSettings& b = x_settings.backbone;
    return {.token = x_settings.token, .blocks = b.blocks, .norm = !b.no_norm, .flips = b.flips, .pixels = b.pixels(), .ran = x_ran, .size = b.size};
  }
  void x_write_neighbours(Index k) const {
    const std::string path = neighbours_file(x_settings.out);
    write_neighbours(path, x_train.rows(), x_train.labels, {.neighbours = k, .temperature = x_settings.temperature}, x_reads(),
                     x_classes.names(), x_fingerprint);
    std::printf("neighbours: %s\n", path.c_str());
  }
  [[nodiscard]] std::string x_predictions() const { return x_settings.out + "/predictions.csv"; }
  [[nodiscard]] std::string x_classifier() const { return classifier_file(x_settings.out); }

  template <Backend B>
  void x_run(LinearProbe<B>& probe, const LabelledFeatures& features, const char* label) const {
    std::stop_source stop;
    Progress progress(label, x_settings.epochs, "epochs");
    probe.on_epoch = [&](Index epoch, std::span<const double>) {
      progress.at(epoch + 1);
      if (x_interruption.requested()) stop.request_stop();
    };
    probe.train(features.rows(), features.labels, stop.get_token());
    if (stop.stop_requested()) throw Error("stopped on request; no result was written");
  }

  Json x_by_tuning(const Labels& train_labels, const Labels& test_labels) {
    Predictions predicted = tune_and_predict(x_settings, x_classes.size(), x_train_files, train_labels, x_test_files,
                                             x_interruption);
    Labels truth;
    for (const Index i : predicted.images) truth.push_back(test_labels[static_cast<std::size_t>(i)]);
    const double accuracy = x_share_right(predicted.classes, truth);
    std::printf("trained backbone  %5.1f %%\n", 100 * accuracy);
    Json out{{"accuracy", accuracy},
             {"training_images", train_labels.size()},
             {"test_images", truth.size()},
             {"unreadable", x_test_files.size() - static_cast<Index>(truth.size())}};
    x_keep_predictions("tune", std::move(predicted), std::move(truth));
    return out;
  }

  /// A row for each true class, a column for each predicted one.
  [[nodiscard]] Json x_confusion() const {
    const auto classes = static_cast<std::size_t>(x_classes.size());
    std::vector<std::vector<Index>> counts(classes, std::vector<Index>(classes));
    for (std::size_t i = 0; i < x_truth.size(); ++i)
      ++counts[static_cast<std::size_t>(x_truth[i])][static_cast<std::size_t>(x_predicted.classes[i])];
    return {{"by", x_by}, {"counts", counts}};
  }

  void x_write_predictions() const {
    AtomicFile table(x_predictions());
    table.write("name,class,predicted\n");
    for (std::size_t i = 0; i < x_truth.size(); ++i) {
      const auto name = [&](std::int64_t c) {
        return csv_field(x_classes.names()[static_cast<std::size_t>(c)]);
      };
      table.write(csv_field(x_test_files.id(x_predicted.images[i])) + "," + name(x_truth[i]) + "," +
                  name(x_predicted.classes[i]) + "\n");
    }
    table.commit();
  }

  ClassifySettings x_settings;  // with what was found in the weights
  BackboneRules x_ran;
  std::string x_fingerprint;  // of the weights, where neighbours are kept
  Interruption x_interruption;
  FolderClaim x_claim;
  ImageFiles x_test_files, x_train_files;
  ClassNames x_classes;
  LabelledFeatures x_train, x_test;
  // Of tuning where it was asked for, else of the linear classifier, or of the first k: a way chosen by its accuracy on
  // the test set would flatter it.
  Predictions x_predicted;
  Labels x_truth;
  std::string x_by;
};

}  // namespace

void classify(const ClassifySettings& settings) {
  settings.backbone.validate();
  if (settings.keep_neighbours && !settings.measures("knn")) throw OptionError("keep-neighbours", "given", "--by with knn");
  Classification work(settings);
  with_backend(settings.backbone, [&](const auto& backend) { work.run(backend); });
}

}  // namespace dssl::programs
