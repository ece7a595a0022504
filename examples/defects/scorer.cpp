// Banks, templates and plain differences for dssl-defects.
#include "defects/scorer.hpp"

#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/defects/bank_settings.hpp>
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/defects/defect_probe.hpp>
#include <dssl/defects/difference_probe.hpp>
#include <dssl/defects/filter_bank_file.hpp>
#include <dssl/defects/filter_probe.hpp>
#include <dssl/defects/template_probe.hpp>
#include <dssl/features/features.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/version.hpp>

#include "common/backbone.hpp"

namespace dssl::programs {

namespace {

using Json = nlohmann::ordered_json;

/// What the three have in common: calls that go on to the program.
template <class Probe>
void forward_calls(Probe& probe, Scorer& scorer) {
  probe.on_images = [&scorer](Index n) {
    if (scorer.on_images) scorer.on_images(n);
  };
  probe.on_score = [&scorer](const DefectScore& score) {
    if (scorer.on_score) scorer.on_score(score);
  };
  probe.on_skip = [&scorer](std::string_view name, std::string_view message) {
    if (scorer.on_skip) scorer.on_skip(name, message);
  };
}

/// A backbone with its weights. `like`: a fingerprint of theirs is made, of that kind where it is one.
template <Backend B>
struct Loaded {
  Loaded(const BackboneSettings& asked, const B& backend, const std::optional<std::string>& like = std::nullopt)
      : settings(asked), weights(settings.open()), extractor(backend, settings.map_features(weights.config(), true), weights.config()) {
    extractor.load_by([&](std::span<float> flat) {
      weights.load(flat, extractor.layout(), settings.seed, extractor.config(), extractor.patch_grid());
      if (like) fingerprint = fingerprint_of(flat, *like);
    });
    description = describe_backbone(extractor, weights);
  }
  BackboneSettings settings;  // with what was found in the weights
  ProgramWeights weights;
  FeatureExtractor<ViTFamily, B> extractor;
  std::string fingerprint;
  std::string description;
};

template <Backend B>
class BankScorer final : public Scorer {
 public:
  /// `bank`: the file s.bank, where one is to be taken.
  BankScorer(const DefectSettings& s, const B& backend, const Communicator& ranks, const SafetensorsFile* bank = nullptr)
      : x_settings(s),
        x_loaded(s.backbone, backend, bank ? fingerprint_in(*bank) : std::string()),
        x_probe(x_loaded.extractor, x_options(s, ranks)) {
    forward_calls(x_probe, *this);
    if (!bank) return;
    require_bank_of(*bank, x_loaded.fingerprint, s.backbone.weights);
    const auto& extractor = x_loaded.extractor;
    BankSettings::of(*bank).require_run_as(s.bank, extractor.config(), extractor.patch_grid(), s.backbone.weights);
    x_probe.take(load_defect_bank(extractor.backend(), *bank, extractor.width()));
  }

  [[nodiscard]] std::string describe() const override { return x_loaded.description; }
  [[nodiscard]] const InputRenderer& renderer() const override { return x_probe.renderer(); }
  FeaturePassCount learn(const Inspected& normal, const std::stop_token& token) override {
    return x_probe.learn(normal, token);
  }
  FeaturePassCount score(const InspectedPart& images, const std::stop_token& token) override {
    return x_probe.score(images, token);
  }
  bool save(const std::string& path, std::map<std::string, std::string> metadata) const override {
    const BackboneSettings& b = x_loaded.settings;
    metadata["weights_fingerprint"] = x_loaded.fingerprint;
    const BankSettings settings{.arch = b.arch,
                                .family = b.published.family,
                                .heads = x_settings.backbone.published.heads,
                                .size = b.size,
                                .fit = b.fit,
                                .channels = b.channels,
                                .blocks = b.blocks,
                                .norm = !b.no_norm,
                                .flips = b.flips,
                                .references = b.map.per_patch(),
                                .seed = b.seed,
                                .white = b.read.white,
                                .orient = b.read.orient,
                                .neighbourhood = x_settings.neighbourhood,
                                .smoothing = x_settings.smoothing,
                                .pixels = is_usual(b.pixels()) ? PixelScale{} : b.pixels(),
                                .look = x_settings.look,
                                .ran = BackboneRules::of(x_loaded.extractor.config())};
    metadata["settings"] = settings.json();
    metadata["version"] = version_string;
    save_defect_bank(path, *x_probe.bank(), metadata);
    return true;
  }
  bool set_size_trend(const SizeTrend& trend) override {
    x_probe.set_size_trend(trend);
    return true;
  }
  [[nodiscard]] TilePassCount tiled() const override { return x_probe.tiled(); }
  [[nodiscard]] std::string weights() const override { return x_loaded.fingerprint; }
  [[nodiscard]] Json bank() const override {
    if (!x_probe.bank()) return nullptr;
    return {{"rows", x_probe.bank()->size()},
            {"width", x_probe.bank()->options().width},
            {"radius", x_probe.bank()->radius()}};
  }

 private:
  static DefectProbeOptions x_options(const DefectSettings& s, const Communicator& ranks) {
    return {.pool = s.pool,
            .coreset = s.coreset,
            .coreset_size = s.coreset_size,
            .projection = s.projection,
            .reweighting = s.reweighting,
            .top = s.look.top,
            .rules = s.look.rules(),
            .neighbourhood = s.neighbourhood,
            .tiles = s.look.windows(),
            .standardise_images = s.look.standardise_images,
            .flatten = s.look.flatten,
            .smoothing = s.smoothing,
            .fit = s.backbone.input_fit(),
            .seed = s.backbone.seed,
            .loader = s.backbone.loader(),
            .ranks = ranks};
  }

  DefectSettings x_settings;
  Loaded<B> x_loaded;
  DefectProbe<ViTFamily, B> x_probe;
};

template <Backend B>
class TemplateScorer final : public Scorer {
 public:
  TemplateScorer(const DefectSettings& s, const B& backend)
      : x_loaded(s.backbone, backend),
        x_probe(x_loaded.extractor, {.comparison = {.reach = s.reach},
                                     .smoothing = s.smoothing,
                                     .fit = s.backbone.input_fit(),
                                     .loader = s.backbone.loader()}) {
    forward_calls(x_probe, *this);
  }

  [[nodiscard]] std::string describe() const override { return x_loaded.description; }
  [[nodiscard]] const InputRenderer& renderer() const override { return x_probe.renderer(); }
  FeaturePassCount learn(const Inspected&, const std::stop_token&) override { return {}; }
  FeaturePassCount score(const InspectedPart& images, const std::stop_token& token) override {
    return x_probe.score(images, token);
  }
  bool save(const std::string&, std::map<std::string, std::string>) const override { return false; }
  [[nodiscard]] Json bank() const override { return nullptr; }

 private:
  Loaded<B> x_loaded;
  TemplateProbe<ViTFamily, B> x_probe;
};

class DifferenceScorer final : public Scorer {
 public:
  /// No backbone sees these pixels.
  [[nodiscard]] static BackboneSettings without_weights(BackboneSettings settings) {
    settings.weights.clear();
    return settings;
  }
  explicit DifferenceScorer(const DefectSettings& s)
      : x_pairs(s.pairs()),
        x_probe({.input = without_weights(s.backbone).input(), .smoothing = s.smoothing, .loader = s.backbone.loader()}) {
    forward_calls(x_probe, *this);
  }

  [[nodiscard]] std::string describe() const override {
    return x_pairs ? "differences of pixels to each image's template"
                   : "differences of pixels to the mean normal image";
  }
  [[nodiscard]] const InputRenderer& renderer() const override { return x_probe.renderer(); }
  FeaturePassCount learn(const Inspected& normal, const std::stop_token& token) override {
    return x_pairs ? FeaturePassCount{} : x_probe.learn(normal, token);
  }
  FeaturePassCount score(const InspectedPart& images, const std::stop_token& token) override {
    return x_pairs ? x_probe.score_pairs(images, token) : x_probe.score(images, token);
  }
  bool save(const std::string&, std::map<std::string, std::string>) const override { return false; }
  [[nodiscard]] Json bank() const override { return nullptr; }

 private:
  bool x_pairs;
  DifferenceProbe x_probe;
};

class FilterScorer final : public Scorer {
 public:
  explicit FilterScorer(const DefectSettings& s)
      : x_settings(s),
        x_probe(s.bank.empty() ? FilterProbe({.filters = {.flatten = s.look.flatten > 0 ? s.look.flatten : LocalFilterOptions{}.flatten},
                                              .border = s.look.border,
                                              .foreground = s.look.foreground(),
                                              .top = s.look.top,
                                              .channels = s.backbone.channels,
                                              .smoothing = s.smoothing,
                                              .loader = s.backbone.loader()})
                               : load_filter_bank(SafetensorsFile::open(s.bank), s.backbone.loader())),
        x_label_options{.folds = s.label_folds, .free_of_size = s.look.free_of_size} {
    x_label_options.trees.trees = s.label_trees;  // what else they have stays as the library's defaults have it
    x_label_options.trees.seed = s.backbone.seed;
    x_label_options.trees.threads = s.backbone.threads;
    forward_calls(x_probe, *this);
  }

  [[nodiscard]] std::string describe() const override {
    return join("fixed filters over patches of ", x_probe.options().filters.patch, " pixels, light flattened over ",
                x_probe.options().filters.flatten, ", without a backbone");
  }
  [[nodiscard]] const InputRenderer& renderer() const override { return x_probe.renderer(); }
  FeaturePassCount learn(const Inspected& normal, const std::stop_token& token) override { return x_probe.learn(normal, token); }
  std::optional<FilterLabelChoice> learn_labels(const Inspected& normal, const Inspected& labelled, const std::stop_token& token) override {
    return x_probe.learn_labels(normal, labelled, x_label_options, token);
  }
  FeaturePassCount score(const InspectedPart& images, const std::stop_token& token) override { return x_probe.score(images, token); }
  bool save(const std::string& path, std::map<std::string, std::string> metadata) const override {
    metadata["settings"] = BankSettings{.channels = x_settings.backbone.channels,
                                        .white = x_settings.backbone.read.white,
                                        .orient = x_settings.backbone.read.orient,
                                        .smoothing = x_settings.smoothing,
                                        .look = x_settings.look}
                               .json();
    metadata["version"] = version_string;
    save_filter_bank(path, x_probe, metadata);
    return true;
  }
  bool set_size_trend(const SizeTrend& trend) override {
    x_probe.set_size_trend(trend);
    return true;
  }
  [[nodiscard]] Json bank() const override { return nullptr; }

 private:
  DefectSettings x_settings;
  FilterProbe x_probe;
  FilterLabelOptions x_label_options;
};

}  // namespace

std::unique_ptr<Scorer> make_scorer(const DefectSettings& settings, const Communicator& ranks) {
  if (!ranks.alone() && settings.scorer != "bank") throw OptionError("scorer", settings.scorer, join("bank, whose work the ", ranks.size(), " ranks can share, or one process"));
  if (settings.scorer == "filters") return std::make_unique<FilterScorer>(settings);
  if (settings.scorer == "difference") return std::make_unique<DifferenceScorer>(settings);
  std::unique_ptr<Scorer> out;
  with_backend(settings.backbone, [&](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    if (settings.scorer == "template") {
      out = std::make_unique<TemplateScorer<B>>(settings, backend);
    } else if (settings.bank.empty()) {
      out = std::make_unique<BankScorer<B>>(settings, backend, ranks);
    } else {
      const auto bank = SafetensorsFile::open(settings.bank);
      out = std::make_unique<BankScorer<B>>(settings, backend, ranks, &bank);
    }
  });
  return out;
}

std::optional<double> adopt_bank_settings(DefectSettings& s) {
  const auto file = SafetensorsFile::open(s.bank);
  const BankSettings of_bank = BankSettings::of(file);
  s.backbone.arch = of_bank.arch;
  s.backbone.published.family = of_bank.family;
  s.backbone.published.heads = 0;
  s.backbone.published.heads_otherwise = of_bank.heads_run();
  s.backbone.size = of_bank.size;
  s.backbone.fit = of_bank.fit;
  s.backbone.channels = of_bank.channels;
  s.backbone.published.pixels = of_bank.pixel_scale();
  s.backbone.blocks = of_bank.blocks;
  s.backbone.no_norm = !of_bank.norm;
  s.backbone.flips = of_bank.flips;
  s.backbone.map.set_per_patch(of_bank.references);
  s.backbone.seed = of_bank.seed;
  s.backbone.read.white = of_bank.white;
  s.backbone.read.orient = of_bank.orient;
  s.neighbourhood = of_bank.neighbourhood;
  s.smoothing = of_bank.smoothing;
  s.look = of_bank.look;
  const std::optional<BankThreshold> threshold = bank_threshold(file);
  if (!threshold) return std::nullopt;
  s.false_alarms = threshold->false_alarms;
  return threshold->score;
}

}  // namespace dssl::programs
