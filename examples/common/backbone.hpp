// The backbone of a program that measures one: its options, its weights, its extractor.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/feature_instances.hpp>
#include <dssl/features/extents.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/train/loaded_weights.hpp>

#include "common/architectures.hpp"
#include "common/backend.hpp"
#include "common/program.hpp"
#include "common/published.hpp"
#include "common/read_options.hpp"

namespace dssl::programs {

/// Options that programs share which look through a frozen backbone.
struct BackboneSettings {
  std::string weights;
  std::string arch = "tiny16";
  PublishedSettings published{};
  std::string size = "224";
  std::string fit = "stretch";
  Index channels = 3;
  std::vector<Index> blocks;
  bool no_norm = false;
  bool flips = false;
  Index at_once = 4;
  std::string backend = "cpu";
  int threads = 0;
  std::string precision = "f32";
  std::uint64_t seed = 0;
  ReadOptions read{};

  /// How image files are read for this backbone.
  [[nodiscard]] ReadOptions reading() const { return with_channels_of(read, channels); }
  [[nodiscard]] bool random_weights() const { return weights == "random"; }
  [[nodiscard]] InputFit input_fit() const { return fit == "pad" ? InputFit::pad : InputFit::stretch; }
  [[nodiscard]] LoaderOptions loader() const {
    return {.prefetch = std::max<Index>(8, 2 * at_once), .threads = threads};
  }
  /// The sizes of the backbone. Throws `OptionError`.
  [[nodiscard]] ViTConfig config() const { return architecture_for(arch, weights, published); }
  /// What `guess_of` says of the weights, where it is they that say the sizes. Throws as it does.
  [[nodiscard]] std::string guess() const {
    return arch == architecture_of_file && !random_weights() ? guess_of(weights, published.options()) : std::string();
  }
  /// What images are normalised by. Throws as `pixels_for`.
  [[nodiscard]] PixelScale pixels() const { return pixels_for(weights, channels, published); }
  /// Throws `OptionError` for a backend that is not there, before anything is opened.
  void validate() const { check_backend(backend, precision); }

  [[nodiscard]] FeatureOptions features(GroupSet reads) const {
    const auto [height, width] = extents_of("size", size);
    PixelScale scale = pixels();
    return {.height = height,
            .width = width,
            .batch = at_once,
            .channels = channels,
            .reads = reads,
            .blocks = blocks,
            .norm = !no_norm,
            .flips = flips,
            .mean = std::move(scale.mean),
            .deviation = std::move(scale.deviation)};
  }

  /// Size and values of inputs, for what reads them without an extractor.
  [[nodiscard]] InputOptions input() const {
    const auto [height, width] = extents_of("size", size);
    PixelScale scale = pixels();
    return {.height = height,
            .width = width,
            .channels = channels,
            .fit = input_fit(),
            .mean = std::move(scale.mean),
            .deviation = std::move(scale.deviation)};
  }

  [[nodiscard]] nlohmann::ordered_json json() const {
    nlohmann::ordered_json out{{"weights", weights},     {"arch", arch},     {"size", size},     {"fit", fit},
                               {"channels", channels},   {"blocks", blocks}, {"norm", !no_norm}, {"flips", flips},
                               {"backend", backend},     {"precision", precision_on(backend, precision)}, {"seed", seed},
                               {"read", read_json(read)}};
    published.add_to(out);
    return out;
  }
};

/// Adds them all, with their help, to the program.
inline void add_backbone_options(CLI::App& app, BackboneSettings& s, bool weights_required = true) {
  const std::string group = "Backbone";
  auto* const weights =
      app.add_option("--weights", s.weights, weights_help);
  if (weights_required) weights->required();
  app.add_option("--arch", s.arch, architecture_help)
      ->check(CLI::IsMember(architecture_choices()))
      ->capture_default_str()
      ->group(group);
  add_published_options(app, s.published, group);
  app.add_option("--size", s.size,
                 "Input in pixels: one number, or HEIGHTxWIDTH for inputs that are not square")
      ->capture_default_str()
      ->group(group);
  app.add_option("--fit", s.fit, "How images of another shape fit: 'stretch', or 'pad' to keep theirs")
      ->check(CLI::IsMember({"stretch", "pad"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--channels", s.channels, "Channels of the backbone's images")
      ->check(CLI::Range(Index{1}, Index{1024}))
      ->capture_default_str()
      ->group(group);
  app.add_option(
         "--blocks", s.blocks,
         "Blocks whose tokens are read, side by side, joined by commas; from 0, or from the end with -1 "
         "the last (default: the last alone)")
      ->delimiter(',')
      ->group(group);
  app.add_flag("--no-norm", s.no_norm, "Tokens as the blocks give them, without the backbone's last norm")
      ->group(group);
  app.add_flag("--flips", s.flips, "Tokens are the mean of those of the image and of its mirror image")
      ->group(group);
  app.add_option("--at-once", s.at_once,
                 "Images the backbone takes at a time; changes memory and speed alone")
      ->check(CLI::Range(Index{1}, Index{4096}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--backend", s.backend, backend_help)->capture_default_str()->group(group);
  app.add_option("--threads", s.threads, "Threads; 0 takes all processors")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str()
      ->group(group);
  app.add_option("--precision", s.precision, precision_help)
      ->check(CLI::IsMember({"f32", "bf16", "auto", "tf32"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--seed", s.seed, "Seed of random weights and of everything that is drawn")
      ->capture_default_str()
      ->group(group);
  add_read_options(app, s.read);
}

/// The weights of a file of any family, or random ones for the name "random", into `flat` as `load_any_backbone`. Throws
/// `CheckpointError`, `FileError`, `OptionError`.
inline WeightOrigin load_weights(std::span<float> flat, const std::string& name, const ParameterLayout& layout,
                                               std::uint64_t seed, const ViTConfig& config, GridSize grid,
                                               const PublishedSettings& published) {
  if (name != "random") return load_any_backbone(flat, name, layout, config, grid, published.options());
  initialise(flat, layout, seed);
  return {};
}

/// The same, for an extractor, where its backend computes.
template <class Extractor>
WeightOrigin load_weights(Extractor& extractor, const std::string& name, std::uint64_t seed, const PublishedSettings& published) {
  WeightOrigin origin;
  extractor.load_by([&](std::span<float> flat) {
    origin = load_weights(flat, name, extractor.layout(), seed, extractor.config(), extractor.patch_grid(), published);
  });
  return origin;
}

/// The same, on the host, for a network that is trained (`TunedNetwork::load`).
template <class Network>
[[nodiscard]] LoadedWeights weights_for(const Network& network, const std::string& name, std::uint64_t seed,
                                        const PublishedSettings& published) {
  ParameterLayout layout;
  ViTFamily::add_parameters(layout, network.config(), {}, "");
  LoadedWeights out;
  out.flat.resize(static_cast<std::size_t>(layout.total()));
  static_cast<WeightOrigin&>(out) = load_weights(out.flat, name, layout, seed, network.config(), network.grid(), published);
  return out;
}

/// What a program says of its backbone, and of images that are not normalised as usual, before it begins.
template <class Extractor>
[[nodiscard]] std::string describe_backbone(const Extractor& extractor, const std::string& arch,
                                            const std::string& weights, const std::string& prefix, const PixelScale& pixels) {
  return join(extractor.backend().describe(), pixels_line(pixels), "\n", arch, ", ", extractor.layout().parameter_count(),
              " parameters, weights ", weights, prefix.empty() ? "" : " (" + prefix + "*)");
}
/// The same of a `FeatureExtractor`, which has what images are normalised by.
template <class Extractor>
[[nodiscard]] std::string describe_backbone(const Extractor& extractor, const std::string& arch,
                                            const std::string& weights, const std::string& prefix) {
  return describe_backbone(extractor, arch, weights, prefix, PixelScale{extractor.options().mean, extractor.options().deviation});
}

}  // namespace dssl::programs
