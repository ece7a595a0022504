// Finding defects without features: differences to a mean image or to a template. What every other way has to
// beat.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/foreground.hpp>
#include <dssl/defects/template_probe.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/views/blur.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

/// Numbers of the probe.
struct DifferenceProbeOptions {
  InputOptions input{};
  double smoothing = 4;  ///< standard deviation of the blur of heat maps, in pixels of the input; 0: none
  Foreground foreground{};  ///< pixels off it count as those outside the image
  ScoreTallyOptions tally{};
  LoaderOptions loader{};
  SkipPolicy skip{};

  /// Throws `OptionError` naming the field.
  void validate() const {
    input.validate();
    if (!(smoothing >= 0)) throw OptionError("smoothing", smoothing, "0 or more pixels");
    foreground.validate();
    tally.validate();
    loader.validate();
    skip.validate();
  }
};

/// Scores images by how far their pixels lie from those of the mean normal image, or of their templates.
///
///   map(y, x) = blur of mean over channels |input(c, y, x) - pattern(c, y, x)|,   score = largest of the map
///
/// with the pattern the mean of normal inputs (`learn`) or the image's own template. No backend and no
/// weights: the floor of every other way. Memory: one pattern and a few inputs. Test:
/// tests/defects/template_probe.cpp.
class DifferenceProbe {
 public:
  std::function<void(Index)> on_images;  ///< images learned, or scored, so far
  std::function<void(const DefectScore&)> on_score;
  SkipCounter::Warn on_skip;

  /// Throws `OptionError`.
  explicit DifferenceProbe(const DifferenceProbeOptions& options)
      : x_options((options.validate(), options)), x_renderer(options.input, defect_classes()) {}

  [[nodiscard]] const InputRenderer& renderer() const { return x_renderer; }
  /// The mean normal input (C,h,w); empty before `learn`.
  [[nodiscard]] std::span<const float> pattern() const { return x_pattern; }

  /// Takes the mean of a source's normal images, in place of what was learned before; pixels of defects and
  /// outside images are left out. Throws `DataError` where none can be read.
  template <class Source>
  FeaturePassCount learn(const Source& source, const std::stop_token& token = {}) {
    const auto plane = x_plane();
    const auto channels = static_cast<std::size_t>(x_renderer.options().channels);
    std::vector<double> sum(channels * plane);
    std::vector<Index> count(plane);
    Index done = 0;
    const FeaturePassCount passed = x_pass(source, token, [&](const LoadedInput& image) {
      for (std::size_t i = 0; i < plane; ++i) {
        if (image.input.labels[i] != 0) continue;
        ++count[i];
        for (std::size_t c = 0; c < channels; ++c)
          sum[c * plane + i] += static_cast<double>(image.input.image[c * plane + i]);
      }
      if (on_images) on_images(++done);
    });
    if (passed.images == 0 && !token.stop_requested()) throw DataError("no normal image can be read");
    x_pattern.assign(sum.size(), 0.0F);
    for (std::size_t i = 0; i < sum.size(); ++i) {
      const Index n = count[i % plane];
      if (n > 0) x_pattern[i] = static_cast<float>(sum[i] / static_cast<double>(n));
    }
    return passed;
  }

  /// Scores every image of a source against what was learned, each with a call of `on_score`. Throws
  /// `DataError` before `learn`, or where no image can be read.
  template <class Source>
  FeaturePassCount score(const Source& source, const std::stop_token& token = {}) {
    if (x_pattern.empty()) throw DataError("difference probe: nothing was learned before the evaluation");
    Index done = 0;
    const FeaturePassCount passed = x_pass(source, token, [&](const LoadedInput& image) {
      x_score(image.index, image.input, x_pattern);
      if (on_images) on_images(++done);
    });
    if (passed.images == 0 && !token.stop_requested()) throw DataError("no image of the set can be read");
    return passed;
  }

  /// Scores every image of a source against its own template. Throws `DataError` where no pair can be read.
  template <TemplateSource Source>
  FeaturePassCount score_pairs(const Source& source, const std::stop_token& token = {}) {
    LoadedInput waiting{.index = -1};
    Index pairs = 0;
    FeaturePassCount passed = x_pass(ImagesAndTemplates<Source>(source), token, [&](LoadedInput& image) {
      if (image.index % 2 == 0) {
        waiting = std::move(image);
        return;
      }
      if (waiting.index != image.index - 1) return;  // the image itself could not be read
      x_score(waiting.index / 2, waiting.input, image.input.image);
      ++pairs;
      if (on_images) on_images(pairs);
    });
    passed.images = pairs;
    if (pairs == 0 && !token.stop_requested())
      throw DataError("no image of the set can be read with its template");
    return passed;
  }

 private:
  [[nodiscard]] std::size_t x_plane() const {
    return static_cast<std::size_t>(x_renderer.options().height * x_renderer.options().width);
  }

  template <class Source, class Each>
  FeaturePassCount x_pass(const Source& source, const std::stop_token& token, const Each& each) {
    return pass_inputs(x_renderer, BinaryMasks<Source>(source, x_options.foreground), 1,
                       {.loader = x_options.loader, .skip = x_options.skip}, on_skip, token,
                       [&](std::vector<LoadedInput>& batch) {
                         for (LoadedInput& image : batch) each(image);
                       });
  }

  void x_score(Index index, const LabelledInput& input, std::span<const float> pattern) {
    const auto plane = x_plane();
    const auto channels = static_cast<std::size_t>(x_renderer.options().channels);
    x_heat.reshape(1, x_renderer.options().height, x_renderer.options().width);
    const std::span<float> map(x_heat.plane(0), plane);
    std::fill(map.begin(), map.end(), 0.0F);
    for (std::size_t c = 0; c < channels; ++c) {
      for (std::size_t i = 0; i < plane; ++i) {
        const bool inside = input.labels[i] != ClassMap::ignored;
        map[i] += inside ? std::abs(input.image[c * plane + i] - pattern[c * plane + i]) /
                               static_cast<float>(channels)
                         : 0.0F;
      }
    }
    gaussian_blur(x_heat, x_options.smoothing, x_blur);
    const float largest = *std::max_element(map.begin(), map.end());
    if (on_score)
      on_score(DefectScore(index, static_cast<double>(largest), input, map, x_renderer.options()));
  }

  DifferenceProbeOptions x_options;
  InputRenderer x_renderer;
  std::vector<float> x_pattern;
  PlanarImage<float> x_heat;
  BlurWorkspace<float> x_blur;
};

}  // namespace dssl
