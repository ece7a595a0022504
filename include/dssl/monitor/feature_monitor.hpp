// What held-out images say of a backbone while it is trained.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/label_census.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/metrics/effective_rank.hpp>
#include <dssl/probe/retrieval_probe.hpp>
#include <dssl/search/knn.hpp>
#include <dssl/train/report.hpp>

namespace dssl {

/// Sizes of a monitor's inputs, and how often it looks.
struct FeatureMonitorOptions {
  Index height = 224;  ///< of the inputs in pixels; a multiple of the backbone's patch
  Index width = 224;
  Index batch = 8;        ///< images at a time
  Index channels = 0;     ///< 0: the backbone's own number
  Index every = 1;        ///< epochs from one look to the next; the last epoch is always looked at
  Index neighbours = 20;  ///< of the k-NN score; fewer where its bank holds fewer
  double temperature = 0.07;
  InputFit fit = InputFit::stretch;
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<float> mean{};  ///< as in `InputOptions`
  std::vector<float> deviation{};
  LoaderOptions loader{};
  SkipPolicy skip{};

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (every < 1) throw OptionError("every", every, "at least 1 epoch");
    if (neighbours < 1) throw OptionError("neighbours", neighbours, "at least 1");
    if (!(temperature > 0)) throw OptionError("temperature", temperature, "above 0");
    loader.validate();
    skip.validate();
  }
};

/// A number under the name that logs and options call it by.
struct Figure {
  std::string name;
  double value = 0;

  [[nodiscard]] bool operator==(const Figure&) const = default;
};

/// The halves of a labelled set that a k-NN score needs: of the images of each label, in their order, every
/// other one is remembered, from the first on, and the rest are asked for.
struct LabelHalves {
  std::vector<Index> bank, queries;

  [[nodiscard]] static LabelHalves of(std::span<const std::int64_t> labels) {
    LabelHalves out;
    std::map<std::int64_t, Index> seen;
    for (std::size_t i = 0; i < labels.size(); ++i)
      (seen[labels[i]]++ % 2 == 0 ? out.bank : out.queries).push_back(static_cast<Index>(i));
    return out;
  }
};

/// Measures a backbone's weights on held-out images, again and again, with one set of buffers.
///
///   dssl::FeatureMonitor<Backbone, dssl::Cpu> monitor(backend, {.height = 96, .width = 96, .every = 5});
///   monitor.watch(images, labels);
///   trainer.on_epoch([&](const dssl::StepReport& r) {
///     if (monitor.due(r)) log(monitor.measure(trainer.teacher()));
///     return dssl::proceed;
///   });
///
/// Nothing of the run is touched: its bits are the same with a monitor and without. Figures depend on
/// weights, images and options alone. Weights are those of any relation but `all_query_relation`, whose
/// patches see other tokens (as `FeatureExtractor`'s default). Memory: a second copy of the weights, the
/// activations of a batch, and the class tokens of a set. Test: tests/monitor/feature_monitor.cpp.
template <class Backbone, Backend B>
class FeatureMonitor {
 public:
  using T = typename B::Scalar;
  using Extractor = FeatureExtractor<Backbone, B>;

  SkipCounter::Warn on_skip;

  /// Throws `OptionError`.
  /// `config`: as in `FeatureExtractor`.
  FeatureMonitor(const B& backend, const FeatureMonitorOptions& options,
                 const typename Backbone::Config& config = Backbone::config)
      : x_options((options.validate(), options)),
        x_extractor(backend, {.height = options.height,
                              .width = options.width,
                              .batch = options.batch,
                              .channels = options.channels,
                              .reads = {.class_token = true, .patch = true}}, config) {}
  FeatureMonitor(const FeatureMonitor&) = delete;
  FeatureMonitor& operator=(const FeatureMonitor&) = delete;
  ~FeatureMonitor() = default;

  [[nodiscard]] const FeatureMonitorOptions& options() const { return x_options; }
  [[nodiscard]] const Extractor& extractor() const { return x_extractor; }

  /// Watches images by their class tokens: figures "rank", the effective rank of the tokens as they are
  /// (`FeatureSpectrum`), and "spread" (`spread_of`). With a label from 0 on for each also "knn", before
  /// them: the share of the queries of `LabelHalves` that a `KnnClassifier` over its bank names rightly.
  /// Throws `DataError` for no images, labels that are not as many, or too few images of every label.
  template <ImageSource Source>
  void watch(Source source, std::vector<std::int64_t> labels = {}) {
    if (source.size() < 1) throw DataError("a monitor of no images");
    if (!labels.empty()) {
      if (static_cast<Index>(labels.size()) != source.size())
        throw DataError(join(labels.size(), " labels for the ", source.size(), " images of a monitor"));
      if (LabelHalves::of(labels).queries.empty())
        throw DataError("a k-NN score needs at least 2 images of some label; each has one");
    }
    const auto held = std::make_shared<const Source>(std::move(source));
    x_sets.push_back(
        [this, held, labels = std::move(labels)](std::vector<Figure>& out, const std::stop_token& token) {
          std::vector<std::int64_t> kept;
          std::vector<T> tokens = x_class_tokens(*held, labels, kept, token);
          if (token.stop_requested()) return;
          if (tokens.empty()) throw DataError("no image of a monitor can be read");
          const Index width = x_extractor.width();
          const auto count = static_cast<Index>(tokens.size()) / width;
          if (!labels.empty())
            out.push_back({"knn", x_knn(MatrixView<const T>(tokens.data(), count, width), kept)});
          out.push_back({"rank", x_rank(MatrixView<const T>(tokens.data(), count, width))});
          out.push_back({"spread", spread_of(MatrixView<T>(tokens.data(), count, width))});
        });
  }

  /// Watches labelled images by their patches: figure "retrieval", the mean IoU that a `RetrievalProbe`
  /// reaches on `queries` with `remembered` in its bank. The probe's inputs are the monitor's. Throws `DataError`
  /// where the masks of a few of `remembered` tell no classes apart (`require_classes_seen`).
  template <SegmentationSource Remembered, SegmentationSource Queries>
  void watch(Remembered remembered, Queries queries, RetrievalProbeOptions options) {
    options.fit = x_options.fit;
    options.interpolation = x_options.interpolation;
    options.mean = x_options.mean;
    options.deviation = x_options.deviation;
    options.loader = x_options.loader;
    options.skip = x_options.skip;
    static_cast<void>(RetrievalProbe<Backbone, B>(x_extractor, options));  // what is wrong shows now
    require_classes_seen(sampled_census(remembered, 16), ClassMap(options.classes), "a few of the images to remember");
    const auto bank = std::make_shared<const Remembered>(std::move(remembered));
    const auto asked = std::make_shared<const Queries>(std::move(queries));
    x_sets.push_back([this, bank, asked, options](std::vector<Figure>& out, const std::stop_token& token) {
      RetrievalProbe<Backbone, B> probe(x_extractor, options);
      probe.on_skip = on_skip;
      probe.remember(*bank, token);
      if (token.stop_requested()) return;
      const auto result = probe.evaluate(*asked, token);
      if (!token.stop_requested()) out.push_back({"retrieval", result.scores().mean_iou});
    });
  }

  /// Whether it is time to look: after the last step of every `every`-th epoch, and of the run.
  [[nodiscard]] bool due(const StepReport& report) const { return report.ends_epoch(x_options.every); }

  /// The figures of weights that come with their layout, such as a trainer's `teacher()`; taken by name, what
  /// is not of the backbone is passed over. Empty where the token says stop. Throws `ShapeError` for weights
  /// of another backbone, `DataError`.
  template <class Weights>
  [[nodiscard]] std::vector<Figure> measure(const Weights& weights, const std::stop_token& token = {}) {
    std::vector<T> flat(static_cast<std::size_t>(x_extractor.layout().total()), T{0});
    for (const auto& spec : x_extractor.layout().specs()) {
      const auto& from = weights.layout.find(spec.name.view());
      require_shape(from.size == spec.size, "a monitor of '", spec.name.view(), "' with ", spec.size,
                    " values; the weights have ", from.size);
      std::copy_n(weights.values.begin() + from.offset, spec.size, flat.begin() + spec.offset);
    }
    x_extractor.load(flat);
    std::vector<Figure> out;
    for (const auto& set : x_sets) {
      if (token.stop_requested()) return {};
      set(out, token);
    }
    if (token.stop_requested()) return {};
    return out;
  }

 private:
  /// Class tokens (n,D) of the images that can be read, in host memory, and their labels.
  template <class Source>
  std::vector<T> x_class_tokens(const Source& source, const std::vector<std::int64_t>& labels,
                                std::vector<std::int64_t>& kept, const std::stop_token& token) {
    const InputRenderer renderer(detail::probe_input(x_extractor, x_options), ClassMap({.classes = 1}));
    const auto width = static_cast<std::size_t>(x_extractor.width());
    std::vector<T> out;
    const auto each = [&](const PassedImage<T>& image) {
      out.resize(out.size() + width);
      x_extractor.backend().download(std::span<T>(out).last(width), image.class_token.data());
      if (!labels.empty()) kept.push_back(labels[static_cast<std::size_t>(image.index)]);
    };
    pass_features(x_extractor, renderer, source,
                  {.label_height = 1,
                   .label_width = 1,
                   .loader = x_options.loader,
                   .skip = x_options.skip,
                   .require_sound = false},  // a collapse is what its figures show
                  on_skip, token, each);
    return out;
  }

  /// Effective rank of rows (n,D) in host memory.
  [[nodiscard]] double x_rank(MatrixView<const T> rows) const {
    const B& backend = x_extractor.backend();
    Buffer room = backend.allocate(static_cast<std::size_t>(rows.size()) * sizeof(T) + Arena::alignment);
    Arena arena(room);
    const MatrixView<T> device = arena.template matrix<T>(rows.rows(), rows.cols());
    backend.upload(device.data(), std::span<const T>(rows.flat()));
    FeatureSpectrum<B> spectrum(backend, rows.cols());
    spectrum.add(device);
    return spectrum.effective_rank();
  }

  [[nodiscard]] double x_knn(MatrixView<const T> tokens, const std::vector<std::int64_t>& labels) const {
    const LabelHalves halves = LabelHalves::of(labels);
    if (halves.queries.empty()) throw DataError("too few images of a monitor can be read for a k-NN score");
    const auto rows = [&](const std::vector<Index>& numbers) {
      std::vector<T> out;
      for (const Index i : numbers) out.insert(out.end(), tokens.row(i), tokens.row(i) + tokens.cols());
      return out;
    };
    const std::vector<T> bank = rows(halves.bank);
    const std::vector<T> queries = rows(halves.queries);
    std::vector<std::int64_t> bank_labels;
    for (const Index i : halves.bank) bank_labels.push_back(labels[static_cast<std::size_t>(i)]);
    const auto size = static_cast<Index>(halves.bank.size());
    KnnClassifier<B> knn(x_extractor.backend(), MatrixView<const T>(bank.data(), size, tokens.cols()),
                         bank_labels,
                         {.classes = 1 + *std::max_element(labels.begin(), labels.end()),
                          .temperature = x_options.temperature});
    const auto asked = static_cast<Index>(halves.queries.size());
    const auto named = knn.predict(MatrixView<const T>(queries.data(), asked, tokens.cols()),
                                   std::min(x_options.neighbours, size));
    Index right = 0;
    for (std::size_t i = 0; i < named.size(); ++i)
      right += named[i] == labels[static_cast<std::size_t>(halves.queries[i])] ? 1 : 0;
    return static_cast<double>(right) / static_cast<double>(asked);
  }

  FeatureMonitorOptions x_options;
  Extractor x_extractor;
  std::vector<std::function<void(std::vector<Figure>&, const std::stop_token&)>> x_sets;
};

}  // namespace dssl
