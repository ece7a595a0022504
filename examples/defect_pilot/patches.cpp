// Reads patch features with any of the architectures.
#include "defect_pilot/patches.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include <dssl/backend/concept.hpp>
#include <dssl/defects/patch_reader.hpp>
#include <dssl/features/features.hpp>

#include "common/progress.hpp"

namespace dssl::programs {

namespace {

template <Backend B>
class ReaderOf final : public SetReader {
 public:
  ReaderOf(const BackboneSettings& settings, const std::string& weights, const B& backend)
      : ReaderOf(with_weights(settings, weights), backend) {}

  ReaderOf(BackboneSettings settings, const B& backend)
      : x_settings(std::move(settings)), x_weights(x_settings.open()), x_extractor(backend, x_settings.map_features(x_weights.config(), true), x_weights.config()) {
    load_weights(x_extractor, x_weights, x_settings.seed);
    x_description = describe_backbone(x_extractor, x_weights);
  }

  [[nodiscard]] static BackboneSettings with_weights(BackboneSettings settings, const std::string& weights) {
    settings.weights = weights;
    return settings;
  }

  [[nodiscard]] PatchSet read(const PilotView& view, const LookSettings& look, const char* label,
                              const Interruption& interruption) override {
    const auto start = std::chrono::steady_clock::now();
    const PilotImages images(view, look.foreground());
    const Foreground brought{.masks = look.foreground().any()};
    // All are kept; windows over images of any size are more.
    require_room(x_settings.map, static_cast<double>(images.size() * x_extractor.grid().size()), x_extractor.width());
    PatchSet out{.width = x_extractor.width(), .patch = map_cell(x_extractor), .images = {}, .padded = x_settings.input_fit() == InputFit::pad && !look.tiles};
    std::stop_source stop;
    Progress progress(label, images.size(), "images");
    dssl::PatchReader<ViTFamily, B> reader(x_extractor, {.tiles = look.windows(),
                                                         .standardise_images = look.standardise_images,
                                                         .flatten = look.flatten,
                                                         .foreground = brought,
                                                         .fit = x_settings.input_fit(),
                                                         .loader = x_settings.loader()});
    reader.on_skip = [&](std::string_view, std::string_view message) { progress.warn(one_line(join("skipped: ", message))); };
    const auto count = reader.read(images, stop.get_token(), [&](PatchMap<float>& map) {
      static_cast<void>(counted_patches(map.input.labels, map.height, map.width, map.grid, out.patch, {.foreground = brought}, images.name(map.index)));
      PatchImage own{.index = images.number(map.index),
                     .name = images.name(map.index),
                     .defect = images.defect(map.index),
                     .facts = images.facts(map.index),
                     .grid = map.grid,
                     .height = map.height,
                     .width = map.width,
                     .cells = std::vector<std::int32_t>(static_cast<std::size_t>(map.grid.size())),
                     .patches = std::move(map.patches),
                     .truth = std::move(map.input.labels)};
      std::iota(own.cells.begin(), own.cells.end(), 0);
      out.images.push_back(std::move(own));
      progress.at(static_cast<Index>(out.images.size()));
      if (interruption.requested()) stop.request_stop();
    });
    if (stop.stop_requested()) throw Error("stopped on request; no report was written");
    if (out.images.empty()) throw DataError("no image of a set can be read");
    out.unreadable = count.unreadable;
    out.windows = reader.tiled().windows;
    out.smaller = reader.tiled().smaller;
    out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return out;
  }

  [[nodiscard]] const std::string& description() const override { return x_description; }

  void require_usable(const LookSettings& look) const override {
    const GridSize grid = x_extractor.grid();
    if (look.tiles) {
      look.windows()->validate(std::min(x_extractor.options().height, x_extractor.options().width), map_cell(x_extractor));
    } else if (2 * look.border >= std::min(grid.height, grid.width)) {
      throw OptionError("border", look.border, join("0 to ", (std::min(grid.height, grid.width) - 1) / 2, ", as images have ",
                                                    grid.height, " x ", grid.width, " patches"));
    }
  }

 private:
  /// Throws `OptionError` where so many references do not fit into the machine's memory.
  static void require_room(const MapSettings& map, double rows, Index width) {
    const double gib = sizeof(float) * rows * static_cast<double>(width) / 1073741824.0, there = memory_there() / 1073741824.0;
    if (map.references() && gib > there)
      throw OptionError("points", map.points, join("fewer: the references of all images take ", gib, " GiB, and the machine has ", there));
  }

  BackboneSettings x_settings;
  ProgramWeights x_weights;
  FeatureExtractor<ViTFamily, B> x_extractor;
  std::string x_description;
};

}  // namespace

PatchSet ruled(PatchSet set, const PatchRules& rules) {
  const auto width = static_cast<std::size_t>(set.width);
  for (PatchImage& image : set.images) {
    std::vector<std::int32_t> counted =
        counted_patches(image.truth, image.height, image.width, image.grid, set.patch, rules, image.name);
    if (counted.size() != image.cells.size()) {
      std::vector<float> some;
      for (const std::int32_t cell : counted) {
        const auto from = image.patches.begin() + static_cast<Index>(static_cast<std::size_t>(cell) * width);
        some.insert(some.end(), from, from + set.width);
      }
      image.patches = std::move(some);
      image.cells = std::move(counted);
    }
    if (rules.standardise) standardise_columns(std::span<float>(image.patches), set.width);
  }
  return set;
}

std::unique_ptr<SetReader> make_set_reader(const BackboneSettings& settings, const std::string& weights) {
  std::unique_ptr<SetReader> out;
  with_backend(settings, [&](const auto& backend) {
    out = std::make_unique<ReaderOf<std::decay_t<decltype(backend)>>>(settings, weights, backend);
  });
  return out;
}

}  // namespace dssl::programs
