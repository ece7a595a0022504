// The backbone of a program that measures one: its options, its weights, its extractor.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
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
#include <dssl/io/backbone_description.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/train/loaded_weights.hpp>

#include "common/architectures.hpp"
#include "common/backend.hpp"
#include "common/program.hpp"
#include "common/published.hpp"
#include "common/read_options.hpp"
#include "common/references.hpp"

namespace dssl::programs {

/// Weights that a program looks through: their file, opened once, or random ones.
class ProgramWeights {
 public:
  /// Of a file, or of "random". What is used of it goes into `s`, so that results say it and nobody guesses it again: what
  /// images of so many channels are normalised by and, with the architecture "auto", the number of heads. Throws `OptionError`,
  /// `CheckpointError`, `FileError`.
  ProgramWeights(std::string name, std::string arch, Index channels, PublishedSettings& s)
      : x_name(std::move(name)), x_arch(std::move(arch)) {
    if (x_name != "random") x_file.emplace(x_name, s.options());
    const bool of_file = x_arch == architecture_of_file;
    if (of_file && !x_file) throw OptionError("arch", x_arch, "an architecture by name where no file of weights says it");
    x_config = of_file ? x_file->config() : architecture(x_arch);
    if (!of_file) require_heads_of(x_config, x_arch, s.heads);
    if (of_file) {
      if (const BackboneDescription said = x_file->description(); !said.heads_are_known) x_guess = describe(said) + "\n";
      s.heads = x_config.heads;
    }
    if (s.pixels == PixelScale{}) {
      s.pixels = x_file ? x_file->pixels(channels) : usual_pixels(channels);
    } else {
      require_pixels(s.pixels, channels);
    }
    x_pixels = s.pixels;
  }

  [[nodiscard]] const ViTConfig& config() const { return x_config; }
  [[nodiscard]] const PixelScale& pixels() const { return x_pixels; }
  /// What stands before the weights' names in their file, once they are loaded.
  [[nodiscard]] const std::string& prefix() const { return x_origin.prefix; }

  /// Writes them, as `PublishedWeights::load`, random ones as `initialise`, and closes the file: once. Throws as these.
  void load(std::span<float> flat, const ParameterLayout& layout, std::uint64_t seed, const ViTConfig& config, GridSize grid) {
    if (x_name == "random") return initialise(flat, layout, seed);
    x_origin = x_file.value().load(flat, layout, config, grid);
    x_file.reset();
  }

  /// What a program says before it begins: the backbone where the number of its heads is the usual one, which nobody said;
  /// what computes; images that are not normalised as usual; the architecture; whose weights; and how much of their file is not read.
  [[nodiscard]] std::string describe_on(const std::string& backend, const std::string& more = {}) const {
    return join(x_guess, backend, pixels_line(x_pixels), "\n", x_arch, more, ", weights ", x_name,
                x_origin.prefix.empty() ? "" : " (" + x_origin.prefix + "*)", ignored_text(x_origin.ignored));
  }

 private:
  std::string x_name, x_arch, x_guess;
  WeightOrigin x_origin;
  std::optional<PublishedWeights> x_file;
  ViTConfig x_config;
  PixelScale x_pixels;
};

/// Bytes of memory of the machine.
[[nodiscard]] inline double memory_there() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
}

/// The options, unless they ask for a map of references that cannot be made: more than one a pixel, with `whole_cells` cells
/// that are no whole pixels, or on a processor more memory for their tokens than the machine has. Throws `OptionError`.
[[nodiscard]] inline FeatureOptions with_usable_map(FeatureOptions options, const ViTConfig& config, const std::string& backend,
                                                    bool whole_cells = false, const std::string& option = "points") {
  const Index n = options.references.per_patch;
  if (n == 0) return options;
  const std::string said = join(n, "x");
  if (n > config.patch) throw OptionError(option, said, join("1x to ", config.patch, "x, a reference a pixel"));
  if (whole_cells && !options.references.has_whole_cells(config.patch))
    throw OptionError(option, said, join("Nx of which the patch, ", config.patch, " pixels, is a multiple"));
  // At least: the token, its norm, query, key, value and their sum, and twice the width of the network between.
  const double each = 8.0 * sizeof(float) * static_cast<double>(config.width) * static_cast<double>(n * n * options.batch);
  const double bytes = each * static_cast<double>(options.height / config.patch) * static_cast<double>(options.width / config.patch);
  const double there = memory_there();
  if (backend == "cpu" && bytes > there) {
    throw OptionError(option, said, join("fewer, a smaller --size or --at-once: their tokens take at least ", bytes / 1073741824.0,
                                           " GiB, and the machine has ", there / 1073741824.0));
  }
  return options;
}

/// Options that programs share which look through a frozen backbone.
struct BackboneSettings {
  std::string weights;
  std::string arch = "tiny16";
  PublishedSettings published{};
  MapSettings map{};  ///< of programs that add its options
  std::string size = "224";
  std::string fit = "stretch";
  Index channels = 3;
  std::vector<Index> blocks;
  bool no_norm = false;
  bool flips = false;
  Index at_once = 4;
  std::string backend = "cpu";
  int device = 0;  ///< number of the GPU
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
  /// Opens the weights and keeps in `published` what is used of them. Throws as `ProgramWeights`.
  [[nodiscard]] ProgramWeights open() { return {weights, arch, channels, published}; }
  /// What images are normalised by where the weights were opened, or there are none.
  [[nodiscard]] PixelScale pixels() const { return published.pixels == PixelScale{} ? usual_pixels(channels) : published.pixels; }
  /// Throws `OptionError` for a backend that is not there, before anything is opened.
  void validate() const { check_backend(backend, precision); }

  /// Throws `OptionError`, `CheckpointError` for a map of references that cannot be.
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
            .references = map.map(weights),
            .flips = flips,
            .mean = std::move(scale.mean),
            .deviation = std::move(scale.deviation)};
  }

  /// Those of a map of patches, or of references on a grid. Throws as `with_usable_map`.
  [[nodiscard]] FeatureOptions map_features(const ViTConfig& config, bool whole_cells = false) const {
    return with_usable_map(features({.patch = true}), config, backend, whole_cells);
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
    map.add_to(out);
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

/// Loads them where an extractor's backend computes.
template <class Extractor>
void load_weights(Extractor& extractor, ProgramWeights& weights, std::uint64_t seed, const auto& look) {
  extractor.load_by([&](std::span<float> flat) {
    weights.load(flat, extractor.layout(), seed, extractor.config(), extractor.patch_grid());
    look(std::span<const float>(flat));
  });
}
template <class Extractor>
void load_weights(Extractor& extractor, ProgramWeights& weights, std::uint64_t seed) {
  load_weights(extractor, weights, seed, [](std::span<const float>) {});
}

/// The same, on the host, for a network that is trained (`TunedNetwork::load`).
template <class Network>
[[nodiscard]] std::vector<float> weights_for(const Network& network, ProgramWeights& weights, std::uint64_t seed) {
  ParameterLayout layout;
  ViTFamily::add_parameters(layout, network.config(), {}, "");
  std::vector<float> flat(static_cast<std::size_t>(layout.total()));
  weights.load(flat, layout, seed, network.config(), network.grid());
  return flat;
}

/// What a program says of a backbone before it begins.
template <class Extractor>
[[nodiscard]] std::string describe_backbone(const Extractor& extractor, const ProgramWeights& weights) {
  return weights.describe_on(extractor.backend().describe(), join(", ", extractor.layout().parameter_count(), " parameters"));
}

}  // namespace dssl::programs
