// Features of all images of a source, one row each.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/labelled_input.hpp>

#include "common/backbone.hpp"
#include "common/program.hpp"
#include "common/progress.hpp"

namespace dssl::programs {

/// What of an image's tokens stands for it.
enum class ImageToken : std::uint8_t { class_token, mean_patch, both };

/// Throws `OptionError`.
[[nodiscard]] inline ImageToken image_token_of(std::string_view name) {
  if (name == "class") return ImageToken::class_token;
  if (name == "mean") return ImageToken::mean_patch;
  if (name == "both") return ImageToken::both;
  throw OptionError("token", name, "class, mean or both");
}

[[nodiscard]] inline GroupSet reads_of(ImageToken token) {
  return {.class_token = token != ImageToken::mean_patch, .patch = token != ImageToken::class_token};
}

/// Features (n,W) of the images that could be read, in order.
struct FeatureTable {
  Index width = 0;
  std::vector<float> values;
  std::vector<Index> images;  ///< the place of each row's image in the source
  Index unreadable = 0;

  [[nodiscard]] MatrixView<const float> rows() const {
    return MatrixView<const float>(values.data(), static_cast<Index>(images.size()), width);
  }
};

/// Computes them, with their progress. Throws `DataError` where no image can be read, `Error` where the
/// process was asked to stop.
template <class Extractor, class Source>
[[nodiscard]] FeatureTable feature_table(Extractor& extractor, const BackboneSettings& settings,
                                         const Source& source, ImageToken token, const char* label,
                                         const Interruption& interruption) {
  const InputRenderer renderer(settings.input(), ClassMap({.classes = 1, .void_ids = {}}));
  const auto width = static_cast<std::size_t>(extractor.width());
  FeatureTable out{
      .width = extractor.width() * (token == ImageToken::both ? 2 : 1), .values = {}, .images = {}};
  std::vector<float> patches(static_cast<std::size_t>(extractor.grid().size()) * width);
  std::vector<float> own(width);
  std::stop_source stop;
  Progress progress(label, source.size(), "images");
  const auto count = pass_features(
      extractor, renderer, source, {.label_height = 1, .label_width = 1, .loader = settings.loader()},
      [&](std::string_view, std::string_view message) {
        progress.warn(one_line(join("skipped: ", message)));
      },
      stop.get_token(),
      [&](const auto& image) {
        out.images.push_back(image.index);
        if (token != ImageToken::mean_patch) {
          extractor.backend().download(std::span<float>(own), image.class_token.data());
          out.values.insert(out.values.end(), own.begin(), own.end());
        }
        if (token != ImageToken::class_token) {
          extractor.backend().download(std::span<float>(patches), image.patches.data());
          std::vector<double> sum(width);
          for (std::size_t i = 0; i < patches.size(); ++i) sum[i % width] += static_cast<double>(patches[i]);
          for (const double s : sum)
            out.values.push_back(static_cast<float>(s / static_cast<double>(extractor.grid().size())));
        }
        progress.at(static_cast<Index>(out.images.size()));
        if (interruption.requested()) stop.request_stop();
      });
  if (stop.stop_requested()) throw Error("stopped on request; no result was written");
  if (out.images.empty()) throw DataError("no image of the set can be read");
  out.unreadable = count.unreadable;
  return out;
}

}  // namespace dssl::programs
