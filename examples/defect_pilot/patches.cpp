// Reads patch features with any of the architectures.
#include "defect_pilot/patches.hpp"

#include <chrono>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/neighbourhood.hpp>
#include <dssl/features/features.hpp>

#include "common/progress.hpp"

namespace dssl::programs {

namespace {

template <Backend B>
class ReaderOf final : public PatchReader {
 public:
  ReaderOf(const BackboneSettings& settings, const std::string& weights, const B& backend)
      : x_settings(settings),
        x_extractor(backend, settings.features({.patch = true}),
                    architecture_for(settings.arch, weights, settings.published)),
        x_renderer(settings.input(), defect_classes()) {
    const LoadedWeights loaded = load_weights(weights, x_extractor.layout(), settings.seed, x_extractor.config(), x_extractor.grid(), settings.published);
    x_extractor.load(loaded.flat);
    x_description = describe_backbone(x_extractor, settings.arch, weights, loaded.prefix);
    Arena measure;
    x_place(measure);
    x_room = x_extractor.backend().allocate(measure.high_water());
    Arena live(x_room);
    x_place(live);
  }

  [[nodiscard]] PatchSet read(const Inspected& images, const Exposure& how, const char* label,
                              const Interruption& interruption) override {
    const auto start = std::chrono::steady_clock::now();
    PatchSet out{.grid = x_extractor.grid(), .width = x_extractor.width(), .images = {}};
    std::stop_source stop;
    Progress progress(label, images.size(), "images");
    const auto count = pass_features(
        x_extractor, x_renderer, ExposedImages(images, how), {.loader = x_settings.loader()},
        [&](std::string_view, std::string_view message) {
          progress.warn(one_line(join("skipped: ", message)));
        },
        stop.get_token(),
        [&](const PassedImage<float>& image) {
          x_extractor.backend().sample_rows_forward(x_mean, image.patches, x_taps);
          PatchImage own{.index = image.index,
                         .defect = images.truth(image.index) == Truth::defect,
                         .patches = std::vector<float>(static_cast<std::size_t>(x_mean.size())),
                         .truth = image.input.labels};
          x_extractor.backend().download(std::span<float>(own.patches),
                                         static_cast<const float*>(x_mean.data()));
          out.images.push_back(std::move(own));
          progress.at(static_cast<Index>(out.images.size()));
          if (interruption.requested()) stop.request_stop();
        });
    if (stop.stop_requested()) throw Error("stopped on request; no report was written");
    if (out.images.empty()) throw DataError("no image of a set can be read");
    out.unreadable = count.unreadable;
    out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return out;
  }

  [[nodiscard]] const std::string& description() const override { return x_description; }

 private:
  void x_place(Arena& arena) {
    x_mean = arena.template matrix<float>(x_extractor.grid().size(), x_extractor.width());
    x_taps = place_copy(x_extractor.backend(), arena, neighbourhood_taps<float>(x_extractor.grid(), 3));
  }

  BackboneSettings x_settings;
  FeatureExtractor<ViTFamily, B> x_extractor;
  InputRenderer x_renderer;
  std::string x_description;
  Buffer x_room;
  MatrixView<float> x_mean;
  VectorView<const Taps<float>> x_taps;
};

}  // namespace

std::unique_ptr<PatchReader> make_patch_reader(const BackboneSettings& settings, const std::string& weights) {
  std::unique_ptr<PatchReader> out;
  with_backend(settings, [&](const auto& backend) {
    out = std::make_unique<ReaderOf<std::decay_t<decltype(backend)>>>(settings, weights, backend);
  });
  return out;
}

}  // namespace dssl::programs
