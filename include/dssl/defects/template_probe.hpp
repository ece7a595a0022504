// Finding defects by comparison with a template: heat maps of aligned pairs, and what they are worth.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/template_comparison.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/labelled_input.hpp>

namespace dssl {

/// Images with masks of their defects, and for each an aligned template.
template <class S>
concept TemplateSource = SegmentationSource<S> && requires(const S& source, Index i) {
  { source.load_template(i) } -> std::convertible_to<AnyImage>;
};

/// The images of a `TemplateSource`, each followed by its template. Where the two differ in size, each is
/// brought to the input's size by itself.
template <TemplateSource Source>
class ImagesAndTemplates {
 public:
  explicit ImagesAndTemplates(const Source& source) : x_source(source) {}
  [[nodiscard]] Index size() const { return 2 * x_source.size(); }
  [[nodiscard]] std::string name(Index i) const {
    return i % 2 == 0 ? std::string(x_source.name(i / 2)) : join("the template of ", x_source.name(i / 2));
  }
  [[nodiscard]] LabelledImage load(Index i) const {
    return i % 2 == 0 ? x_source.load(i / 2) : detail::with_mask(AnyImage(x_source.load_template(i / 2)));
  }

 private:
  const Source& x_source;
};

/// Numbers of the probe; the input's size is the feature extractor's.
struct TemplateProbeOptions {
  TemplateOptions comparison{};
  double smoothing = 4;  ///< standard deviation of the blur of heat maps, in pixels of the input; 0: none
  InputFit fit = InputFit::stretch;
  Interpolation interpolation = Interpolation::bilinear;
  std::vector<float> mean{};  ///< as in `InputOptions`; both empty: the extractor's
  std::vector<float> deviation{};
  ScoreTallyOptions tally{};
  LoaderOptions loader{};
  SkipPolicy skip{};

  /// Throws `OptionError` naming the field.
  void validate() const {
    comparison.validate();
    if (!(smoothing >= 0)) throw OptionError("smoothing", smoothing, "0 or more pixels");
    tally.validate();
    loader.validate();
    skip.validate();
  }
};

/// Scores images by how far their patches are from those at the same place of their templates.
///
/// An image's score is the largest score of its patches, as `compare_with_template` gives them; its heat map
/// is these scores, enlarged and blurred. Pairs of which either cannot be read are left out. Memory: a few
/// batches of images and one patch map. The result depends on weights, images and options alone. Test:
/// tests/defects/template_probe.cpp.
template <class Backbone, Backend B>
class TemplateProbe {
 public:
  using T = typename B::Scalar;
  using Extractor = FeatureExtractor<Backbone, B>;

  std::function<void(Index)> on_images;  ///< pairs compared so far
  std::function<void(const DefectScore&)> on_score;
  SkipCounter::Warn on_skip;

  /// `extractor` must read patches, hold its weights, and outlive the probe. Throws `OptionError`.
  TemplateProbe(Extractor& extractor, const TemplateProbeOptions& options)
      : x_extractor(extractor),
        x_options((options.validate(), options)),
        x_renderer(detail::probe_input(extractor, options), defect_classes()),
        x_heat_maps(extractor.grid(), extractor.options().height, extractor.options().width,
                    options.smoothing),
        x_room(extractor.backend().allocate(
            static_cast<std::size_t>(extractor.grid().size() * extractor.width()) * sizeof(T))) {}

  [[nodiscard]] const TemplateProbeOptions& options() const { return x_options; }
  [[nodiscard]] const InputRenderer& renderer() const { return x_renderer; }

  /// Scores every pair of a source, each with a call of `on_score`. Throws `DataError` where none can be
  /// read.
  template <TemplateSource Source>
  FeaturePassCount score(const Source& source, const std::stop_token& token = {}) {
    return x_each_score(source, token, [](const DefectScore&) {});
  }

  /// Scores every pair of a source and counts. Throws as `score`.
  template <TemplateSource Source>
  [[nodiscard]] DefectResult evaluate(const Source& source, const std::stop_token& token = {}) {
    DefectResult result{.tally = DetectionTally(x_options.tally)};
    result.unreadable =
        x_each_score(source, token, [&](const DefectScore& image) { result.add(image); }).unreadable;
    return result;
  }

 private:
  template <class Source, class Each>
  FeaturePassCount x_each_score(const Source& source, const std::stop_token& token, const Each& each) {
    const B& backend = x_extractor.backend();
    const MatrixView<T> test(reinterpret_cast<T*>(x_room.data()), x_extractor.grid().size(),
                             x_extractor.width());
    std::vector<float> scores(static_cast<std::size_t>(test.rows()));
    LabelledInput input;
    Index waiting = -1;  // the image whose template comes next
    Index pairs = 0;
    const ImagesAndTemplates<Source> all(source);
    FeaturePassCount passed =
        pass_features(x_extractor, x_renderer, BinaryMasks<ImagesAndTemplates<Source>>(all),
                      {.loader = x_options.loader, .skip = x_options.skip}, on_skip, token,
                      [&](const PassedImage<T>& image) {
                        if (image.index % 2 == 0) {
                          waiting = image.index;
                          input = image.input;
                          backend.copy(VectorView<T>(test.data(), test.size()),
                                       VectorView<const T>(image.patches.data(), image.patches.size()));
                          return;
                        }
                        if (waiting != image.index - 1) return;  // the image itself could not be read
                        const float largest = compare_with_template(backend, std::span<float>(scores),
                                                                    MatrixView<const T>(test), image.patches,
                                                                    x_extractor.grid(), x_options.comparison);
                        const DefectScore score(waiting / 2, static_cast<double>(largest), input,
                                                x_heat_maps.of(scores), x_renderer.options());
                        each(score);
                        if (on_score) on_score(score);
                        ++pairs;
                        if (on_images) on_images(pairs);
                      });
    passed.images = pairs;
    if (pairs == 0 && !token.stop_requested())
      throw DataError("no image of the set can be read with its template");
    return passed;
  }

  Extractor& x_extractor;
  TemplateProbeOptions x_options;
  InputRenderer x_renderer;
  HeatMaps x_heat_maps;
  Buffer x_room;  // (N,W) of the image that waits for its template
};

}  // namespace dssl
