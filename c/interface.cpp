// The library dssl_c: dssl.h on top of dssl::cpu. Nothing but the functions of that header is visible in it.
#include <dssl.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/defects/bank_settings.hpp>
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/defects/defect_probe.hpp>
#include <dssl/feature_instances.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/extents.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/pixel_scale.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/train/loaded_weights.hpp>
#include <dssl/version.hpp>
#include <dssl/views/image.hpp>

namespace {

using dssl::Index;
using dssl::join;
using Extractor = dssl::FeatureExtractor<dssl::ViTFamily, dssl::Cpu>;
using Probe = dssl::DefectProbe<dssl::ViTFamily, dssl::Cpu>;

/// A null pointer where something is needed.
class MissingArgument : public dssl::Error {
 public:
  explicit MissingArgument(std::string_view name) : Error(join(name, " is a null pointer")) {}
};

/// An image that is none.
class WrongImage : public dssl::Error {
 public:
  using Error::Error;
};

void require(const void* pointer, std::string_view name) {
  if (pointer == nullptr) throw MissingArgument(name);
}

/// Writes a line into the caller's memory, as much of it as fits.
void tell(std::string_view line, char* error, std::size_t size) noexcept {
  if (error == nullptr || size == 0) return;
  const std::size_t length = std::min(line.size(), size - 1);
  std::memcpy(error, line.data(), length);
  error[length] = '\0';
}

/// What `body` throws, as a status and a line.
template <class Body>
dssl_status guarded(char* error, std::size_t size, const Body& body) noexcept {
  try {
    tell("", error, size);
    body();
    return DSSL_OK;
  } catch (const MissingArgument& problem) {
    tell(problem.what(), error, size);
    return DSSL_BAD_ARGUMENT;
  } catch (const dssl::OptionError& problem) {
    tell(problem.what(), error, size);
    return DSSL_BAD_ARGUMENT;
  } catch (const WrongImage& problem) {
    tell(problem.what(), error, size);
    return DSSL_BAD_IMAGE;
  } catch (const dssl::ImageError& problem) {
    tell(problem.what(), error, size);
    return DSSL_BAD_IMAGE;
  } catch (const dssl::FileError& problem) {
    tell(problem.what(), error, size);
    return DSSL_BAD_FILE;
  } catch (const std::bad_alloc&) {
    tell("out of memory", error, size);
    return DSSL_NO_MEMORY;
  } catch (const std::exception& problem) {
    tell(problem.what(), error, size);
    return DSSL_FAILED;
  } catch (...) {
    tell("something that is no exception of the standard library was thrown", error, size);
    return DSSL_FAILED;
  }
}

dssl::CpuOptions on(const dssl_compute& compute) {
  if (compute.threads < 0) throw dssl::OptionError("threads", compute.threads, "0 (all that the process may use) or more");
  return {.threads = compute.threads, .precision = compute.bf16 != 0 ? dssl::Precision::bf16 : dssl::Precision::full};
}

/// An image of C as the library sees it; blue, green, red are put in order in `copy`.
dssl::AnyImageView view_of(const dssl_image& image, std::optional<dssl::Image<std::uint8_t>>& copy) {
  if (image.kind != DSSL_GREY && image.kind != DSSL_RGB && image.kind != DSSL_BGR)
    throw WrongImage(join("the image is of kind ", image.kind, "; expected DSSL_GREY, DSSL_RGB or DSSL_BGR"));
  if (image.pixels == nullptr) throw WrongImage("the image's pixels are a null pointer");
  if (image.height < 1 || image.width < 1)
    throw WrongImage(join("the image has ", image.height, " x ", image.width, " pixels; expected at least 1 each"));
  const Index channels = image.kind == DSSL_GREY ? 1 : 3;
  const auto row = static_cast<std::size_t>(channels * image.width);
  const std::size_t stride = image.stride == 0 ? row : image.stride;
  if (stride < row || stride > static_cast<std::size_t>(std::numeric_limits<Index>::max() / image.height))
    throw WrongImage(join("the image's rows are ", image.stride, " bytes apart; expected at least ", row, ", or 0 for no gap"));
  const dssl::ImageView<std::uint8_t> view(image.pixels, image.height, image.width, channels, static_cast<Index>(stride));
  if (image.kind != DSSL_BGR) return view;
  copy.emplace(view);
  const std::span<std::uint8_t> pixels = copy->pixels();
  for (std::size_t i = 0; i < pixels.size(); i += 3) std::swap(pixels[i], pixels[i + 2]);
  return *copy;
}

dssl_shape shape_of(const Extractor& extractor) {
  const auto number = [](Index value) { return static_cast<int>(value); };
  return {.height = number(extractor.options().height),
          .width = number(extractor.options().width),
          .grid_height = number(extractor.grid().height),
          .grid_width = number(extractor.grid().width),
          .token = number(extractor.width())};
}

std::string description(const Extractor& extractor, const std::string& weights, const dssl::WeightOrigin& loaded,
                        bool heads_are_known, const dssl::PixelScale& pixels) {
  const dssl::ViTConfig& c = extractor.config();
  return join(weights, loaded.family.empty() ? "" : join(", ", loaded.family), ": width ", c.width, ", depth ", c.depth, ", heads ",
              c.heads, heads_are_known ? "" : " (usual)", ", patch ", c.patch, ", ", extractor.layout().parameter_count(),
              " parameters", dssl::is_usual(pixels) ? "" : "; images " + dssl::describe(pixels), "; ",
              extractor.backend().describe());
}

dssl::FeatureOptions features_of(const dssl_options& o, const dssl::ViTConfig& config) {
  dssl::FeatureOptions out{.channels = config.channels, .norm = o.no_norm == 0, .flips = o.flips != 0};
  if (o.height != 0 || o.width != 0) {
    out.height = o.height != 0 ? o.height : o.width;
    out.width = o.width != 0 ? o.width : o.height;
  }
  if (o.block_count < 0 || (o.block_count > 0 && o.blocks == nullptr))
    throw dssl::OptionError("block_count", o.block_count, "the number of 'blocks'");
  out.blocks.assign(o.blocks, o.blocks + o.block_count);
  return out;
}

}  // namespace

struct dssl_backbone {
  dssl_backbone(const std::string& weights, const dssl_options& o)
      : dssl_backbone(dssl::PublishedWeights(weights, dssl::backbone_file_options(o.family == nullptr ? "" : o.family, o.heads)), weights, o) {}

  dssl_backbone(dssl::PublishedWeights file, const std::string& weights, const dssl_options& o)
      : dssl_backbone(file, weights, o, file.config()) {}

  dssl_backbone(dssl::PublishedWeights& file, const std::string& weights, const dssl_options& o, const dssl::ViTConfig& config)
      : extractor(dssl::Cpu(on(o.compute)), features_of(o, config), config),
        renderer(input_of(o, extractor, file), dssl::ClassMap({.classes = 1, .void_ids = {}})) {
    dssl::WeightOrigin origin;
    extractor.load_by([&](std::span<float> flat) {
      origin = file.load(flat, extractor.layout(), extractor.config(), extractor.grid());
    });
    said = description(extractor, weights, origin, file.description().heads_are_known,
                       {renderer.options().mean, renderer.options().deviation});
  }

  static dssl::InputOptions input_of(const dssl_options& o, const Extractor& extractor, dssl::PublishedWeights& file) {
    dssl::InputOptions out{.height = extractor.options().height,
                           .width = extractor.options().width,
                           .channels = extractor.options().channels,
                           .fit = o.pad != 0 ? dssl::InputFit::pad : dssl::InputFit::stretch};
    if (o.mean != nullptr) out.mean.assign(o.mean, o.mean + out.channels);
    if (o.deviation != nullptr) out.deviation.assign(o.deviation, o.deviation + out.channels);
    if (o.mean == nullptr && o.deviation == nullptr) {
      dssl::PixelScale of_weights = dssl::pixels_of(file.named());
      out.mean = std::move(of_weights.mean);
      out.deviation = std::move(of_weights.deviation);
    }
    return out;
  }

  void features(float* class_token, float* patch_map, const dssl_image& image) {
    const std::scoped_lock alone(one_at_a_time);
    std::optional<dssl::Image<std::uint8_t>> copy;
    const dssl::HeldImage held =
        dssl::with_channels(dssl::HeldImage(view_of(image, copy)), extractor.options().channels, "the image");
    const std::vector<float> input = renderer.render_image(held.view());
    const auto class_size = static_cast<std::size_t>(class_token == nullptr ? 0 : extractor.width());
    const auto patch_size = static_cast<std::size_t>(patch_map == nullptr ? 0 : extractor.grid().size() * extractor.width());
    const std::span<float> of_class(class_token, class_size), of_patches(patch_map, patch_size);
    extractor.extract(of_class, of_patches, input);
    const auto finite = [](float value) { return std::isfinite(value); };
    if (!std::ranges::all_of(of_class, finite) || !std::ranges::all_of(of_patches, finite))
      throw dssl::NonFiniteError("the features of the image hold numbers that are not finite");
  }

  std::mutex one_at_a_time;
  Extractor extractor;
  dssl::InputRenderer renderer;
  std::string said;
};

struct dssl_scorer {
  dssl_scorer(const std::string& weights, const std::string& bank, const dssl_compute& compute)
      : dssl_scorer(weights, dssl::SafetensorsFile::open(bank), compute) {}

  dssl_scorer(const std::string& weights, const dssl::SafetensorsFile& bank, const dssl_compute& compute)
      : dssl_scorer(weights, bank, usable_settings(bank), compute) {}

  /// What its settings ask for is the file's mistake, not the caller's.
  static dssl::BankSettings usable_settings(const dssl::SafetensorsFile& bank) {
    const dssl::BankSettings settings = dssl::BankSettings::of(bank);
    try {
      static_cast<void>(dssl::extents_of("size", settings.size));
      if (settings.arch != "auto") static_cast<void>(dssl::named_vit(settings.arch));
      static_cast<void>(reading_of(settings));
    } catch (const dssl::OptionError& problem) {
      throw dssl::CheckpointError(bank.path(), dssl::join("has settings that cannot be used: ", problem.what()));
    }
    if (settings.references > 0)
      throw dssl::CheckpointError(bank.path(), "was made with --read references, which this interface does not read; expected a bank of patches");
    if (settings.look.tiles)
      throw dssl::CheckpointError(bank.path(), "was made with --tiles, whose heat maps have each image's own size; expected a bank "
                                               "of whole images");
    if (settings.look.foreground_masks)
      throw dssl::CheckpointError(bank.path(), "was made with --foreground, a mask of each image, which this interface does not take; "
                                               "expected a bank without, or with --foreground-above or --foreground-below");
    return settings;
  }

  static dssl::BackboneFileOptions reading_of(const dssl::BankSettings& settings) {
    return dssl::backbone_file_options(settings.family, 0, settings.heads_run());
  }

  dssl_scorer(const std::string& weights, const dssl::SafetensorsFile& bank, const dssl::BankSettings& settings,
              const dssl_compute& compute)
      : dssl_scorer(dssl::PublishedWeights(weights, reading_of(settings)), weights, bank, settings, compute) {}

  dssl_scorer(dssl::PublishedWeights file, const std::string& weights, const dssl::SafetensorsFile& bank,
              const dssl::BankSettings& settings, const dssl_compute& compute)
      : extractor(dssl::Cpu(on(compute)), features_of_bank(settings), config_of_bank(settings, file)),
        probe(extractor, {.neighbourhood = settings.neighbourhood,
                          .standardise_images = settings.look.standardise_images,
                          .flatten = settings.look.flatten,
                          .smoothing = settings.smoothing,
                          .fit = settings.input_fit()}),
        threshold(dssl::bank_threshold(bank)) {
    dssl::WeightOrigin origin;
    extractor.load_by([&](std::span<float> flat) {
      origin = file.load(flat, extractor.layout(), extractor.config(), extractor.grid());
      dssl::require_bank_of(bank, dssl::fingerprint_of(flat, dssl::fingerprint_in(bank)), weights);
      settings.require_run_as(bank.path(), extractor.config(), extractor.patch_grid(), weights);
    });
    probe.take(dssl::load_defect_bank(extractor.backend(), bank, extractor.width()));
    const bool heads_are_known = settings.arch != "auto" || file.description().heads_are_known;
    said = join(description(extractor, weights, origin, heads_are_known, settings.pixel_scale()), "; bank of ", probe.bank()->size(), " patches");
  }

  static dssl::FeatureOptions features_of_bank(const dssl::BankSettings& settings) {
    const auto [height, width] = dssl::extents_of("size", settings.size);
    return {.height = height,
            .width = width,
            .channels = settings.channels,
            .reads = {.patch = true},
            .blocks = settings.blocks,
            .norm = settings.norm,
            .flips = settings.flips,
            .mean = settings.pixel_scale().mean,
            .deviation = settings.pixel_scale().deviation};
  }

  static dssl::ViTConfig config_of_bank(const dssl::BankSettings& settings, dssl::PublishedWeights& file) {
    return settings.arch == "auto" ? file.config() : dssl::named_vit(settings.arch);
  }

  double score(float* heat_map, const dssl_image& image) {
    const std::scoped_lock alone(one_at_a_time);
    std::optional<dssl::Image<std::uint8_t>> copy;
    const dssl::DefectScore found = probe.score_image(view_of(image, copy));
    if (heat_map != nullptr) std::ranges::copy(found.heat_map, heat_map);
    return found.score;
  }

  std::mutex one_at_a_time;
  Extractor extractor;
  Probe probe;
  std::optional<dssl::BankThreshold> threshold;
  std::string said;
};

extern "C" {

const char* dssl_version(void) { return dssl::version_string.data(); }

dssl_status dssl_backbone_open(dssl_backbone** out, const char* weights, const dssl_options* options, char* error,
                               size_t error_size) {
  if (out != nullptr) *out = nullptr;
  return guarded(error, error_size, [&] {
    require(out, "out");
    require(weights, "weights");
    *out = new dssl_backbone(weights, options == nullptr ? dssl_options{} : *options);
  });
}

void dssl_backbone_close(dssl_backbone* backbone) { delete backbone; }

dssl_shape dssl_backbone_shape(const dssl_backbone* backbone) {
  return backbone == nullptr ? dssl_shape{} : shape_of(backbone->extractor);
}

const char* dssl_backbone_describe(const dssl_backbone* backbone) { return backbone == nullptr ? "" : backbone->said.c_str(); }

dssl_status dssl_features(dssl_backbone* backbone, float* class_token, float* patch_map, const dssl_image* image, char* error,
                          size_t error_size) {
  return guarded(error, error_size, [&] {
    require(backbone, "backbone");
    require(image, "image");
    if (class_token == nullptr) require(patch_map, "class_token, and patch_map too,");
    backbone->features(class_token, patch_map, *image);
  });
}

dssl_status dssl_scorer_open(dssl_scorer** out, const char* weights, const char* bank, const dssl_compute* compute, char* error,
                             size_t error_size) {
  if (out != nullptr) *out = nullptr;
  return guarded(error, error_size, [&] {
    require(out, "out");
    require(weights, "weights");
    require(bank, "bank");
    *out = new dssl_scorer(weights, std::string(bank), compute == nullptr ? dssl_compute{} : *compute);
  });
}

void dssl_scorer_close(dssl_scorer* scorer) { delete scorer; }

dssl_shape dssl_scorer_shape(const dssl_scorer* scorer) {
  return scorer == nullptr ? dssl_shape{} : shape_of(scorer->extractor);
}

const char* dssl_scorer_describe(const dssl_scorer* scorer) { return scorer == nullptr ? "" : scorer->said.c_str(); }

dssl_threshold dssl_scorer_threshold(const dssl_scorer* scorer) {
  if (scorer == nullptr || !scorer->threshold) return {};
  return {.known = 1, .score = scorer->threshold->score, .false_alarms = scorer->threshold->false_alarms};
}

dssl_status dssl_score(dssl_scorer* scorer, double* score, float* heat_map, const dssl_image* image, char* error,
                       size_t error_size) {
  return guarded(error, error_size, [&] {
    require(scorer, "scorer");
    require(score, "score");
    require(image, "image");
    *score = scorer->score(heat_map, *image);
  });
}

}  // extern "C"
