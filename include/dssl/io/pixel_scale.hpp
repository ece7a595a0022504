// What the pixels were normalised by that weights were trained on, as their file or one beside it says.
// Tests: tests/io/hugging_face_config.cpp.
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/json_writer.hpp>
#include <dssl/io/tensor_file.hpp>

namespace dssl {

namespace detail {

inline constexpr const char* expected_pixels = "; expected means of -10 to 10 and deviations of 1e-6 to 10, for pixels of 0 to 1";

/// Two lists of a file as a scale, by the names that the file has for them. Throws `CheckpointError` where it is none.
[[nodiscard]] inline PixelScale checked_pixels(std::string_view path, std::string_view mean_name, const std::vector<double>& mean,
                                               std::string_view deviation_name, const std::vector<double>& deviation) {
  if (mean.empty() || mean.size() != deviation.size()) {
    throw CheckpointError(path, join("has ", mean_name, " of ", mean.size(), " numbers and ", deviation_name, " of ", deviation.size(),
                                     "; expected one a channel"));
  }
  PixelScale out;
  for (std::size_t c = 0; c < mean.size(); ++c) {
    if (!PixelScale::is_mean(mean[c]) || !PixelScale::is_deviation(deviation[c])) {
      throw CheckpointError(path, join("has ", mean_name, " ", exact_text(mean[c]), " and ", deviation_name, " ",
                                       exact_text(deviation[c]), expected_pixels));
    }
    out.mean.push_back(static_cast<float>(mean[c]));
    out.deviation.push_back(static_cast<float>(deviation[c]));
  }
  return out;
}

/// Two lists among the fields of a configuration; nothing where it does not say both.
[[nodiscard]] inline std::optional<PixelScale> pixels_in(const std::string& path, const ConfigFields& fields,
                                                         const std::string& mean_name, const std::string& deviation_name) {
  using Kind = ConfigValue::Kind;
  const auto said = [&](const std::string& field) -> const ConfigValue* {
    const auto found = fields.find(field);
    return found == fields.end() || found->second.kind == Kind::null ? nullptr : &found->second;
  };
  const ConfigValue* const mean = said(mean_name);
  const ConfigValue* const deviation = said(deviation_name);
  if (mean == nullptr || deviation == nullptr) return std::nullopt;
  for (const auto& [name, value] : {std::pair(&mean_name, mean), std::pair(&deviation_name, deviation)}) {
    if (value->kind != Kind::numbers) throw CheckpointError(path, join("has ", *name, " that is no list of numbers; expected one a channel"));
  }
  return checked_pixels(path, mean_name, mean->numbers, deviation_name, deviation->numbers);
}

/// A list of numbers joined by commas, in a file's strings. Throws `CheckpointError`.
[[nodiscard]] inline std::vector<double> numbers_in(const std::string& path, std::string_view key, std::string_view text) {
  std::vector<double> out;
  for (std::string_view rest = text;; rest.remove_prefix(1)) {
    double value = 0;
    const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    if (problem != std::errc{} || (!rest.empty() && rest.front() != ','))
      throw CheckpointError(path, join("has ", key, " '", text, "'; expected numbers joined by commas"));
    out.push_back(value);
    if (rest.empty()) return out;
  }
}

}  // namespace detail

/// Where Transformers keeps what it makes inputs by, for a file of weights.
[[nodiscard]] inline std::string preprocessor_beside(const std::string& weights) {
  return (std::filesystem::path(weights).parent_path() / "preprocessor_config.json").string();
}

/// As `preprocessor_config.json` of Transformers says, which may lie beside a file of weights: `image_mean`, `image_std`.
/// Nothing where there is none, or it does not say both. Throws `FileError` where it is there and cannot be read,
/// `CheckpointError` where it is damaged, or says what is no such scale: pixels that are not normalised or not divided by
/// 255, means and deviations of which one has no channel. Test: tests/io/hugging_face_config.cpp.
[[nodiscard]] inline std::optional<PixelScale> pixels_beside(const std::string& weights) {
  const std::string path = preprocessor_beside(weights);
  const auto fields = detail::config_fields(path);
  if (!fields) return std::nullopt;
  using Kind = detail::ConfigValue::Kind;
  const auto scale = detail::pixels_in(path, *fields, "image_mean", "image_std");
  if (!scale) return std::nullopt;
  const auto said = [&](std::string_view field) -> const detail::ConfigValue* {
    const auto found = fields->find(field);
    return found == fields->end() || found->second.kind == Kind::null ? nullptr : &found->second;
  };
  for (const char* const field : {"do_normalize", "do_rescale"}) {
    const detail::ConfigValue* const does = said(field);
    if (does != nullptr && (does->kind != Kind::boolean || does->number != 1)) {
      throw CheckpointError(path, join("has ", field, " that is not true; expected pixels that are divided by 255 and normalised"));
    }
  }
  if (const detail::ConfigValue* const factor = said("rescale_factor");
      factor != nullptr && (factor->kind != Kind::number || std::abs(factor->number * 255 - 1) > 1e-6)) {
    throw CheckpointError(path, join("has rescale_factor ", factor->kind == Kind::number ? exact_text(factor->number) : "that is no number",
                                     "; expected 1/255, ", exact_text(1.0 / 255)));
  }
  return scale;
}

/// As `timm_config_beside` says: `pretrained_cfg.mean` and `std`; nothing where it does not. Throws as `pixels_beside`.
[[nodiscard]] inline std::optional<PixelScale> timm_pixels_beside(const std::string& weights) {
  const detail::ConfigFields fields = timm_config_beside(weights);
  if (fields.empty()) return std::nullopt;
  return detail::pixels_in(HuggingFaceConfig::path_beside(weights), fields, "pretrained_cfg.mean", "pretrained_cfg.std");
}

/// What dssl says in a file's strings, beside the tensors (`pixels_as_metadata`). Throws `CheckpointError` where it is no such
/// scale.
[[nodiscard]] inline std::optional<PixelScale> pixels_in_strings(const TensorFile& file) {
  const auto& said = file.metadata();
  const auto mean = said.find(std::string(detail::pixel_mean_key)), deviation = said.find(std::string(detail::pixel_deviation_key));
  if (mean == said.end() || deviation == said.end()) return std::nullopt;
  return detail::checked_pixels(file.path(), mean->first, detail::numbers_in(file.path(), mean->first, mean->second), deviation->first,
                                detail::numbers_in(file.path(), deviation->first, deviation->second));
}

/// What pixels the weights of a file of that family were trained on, where somebody says it: `pixels_in_strings`, else
/// Transformers or timm, in a file beside weights that have their names. Throws as `pixels_beside`.
/// Test: tests/io/hugging_face_config.cpp.
[[nodiscard]] inline std::optional<PixelScale> stated_pixels(const TensorFile& file, WeightFamily family) {
  if (std::optional<PixelScale> said = pixels_in_strings(file)) return said;
  return family == WeightFamily::hugging_face ? pixels_beside(file.path()) : timm_pixels_beside(file.path());
}

/// The same of a backbone. Throws `CheckpointError` too where what is said is not of its channels.
[[nodiscard]] inline std::optional<PixelScale> stated_pixels(const BackboneFile& file) {
  const Index channels = file.description().channels;
  std::optional<PixelScale> out = stated_pixels(file, file.description().family);
  if (out && out->channels() != channels) {
    throw CheckpointError(file.path(), join("has ", channels, " channels, and its pixels (in its strings, or in preprocessor_config.json or "
                                            "config.json beside it) ", out->channels(), " means; expected as many"));
  }
  return out;
}

/// `stated_pixels`, and where nobody says it `usual_pixels`, by which nearly all of them were trained.
[[nodiscard]] inline PixelScale pixels_of(const BackboneFile& file) {
  return stated_pixels(file).value_or(usual_pixels(file.description().channels));
}

/// The `preprocessor_config.json` with which Transformers makes inputs for a backbone as dssl's programs do: stretched to
/// the size of its position table, or to 224 pixels or a little less where it has none, bilinearly, and normalised by `scale`.
/// Test: tests/interop/strict_loads.py.
[[nodiscard]] inline std::string hugging_face_preprocessor(const BackboneDescription& d, const PixelScale& scale) {
  const Index side = d.usual_image();
  const auto list = [](const std::vector<float>& values) {
    std::string out;
    for (const float value : values) out += join(out.empty() ? "" : ", ", detail::as_fraction(exact_text(value)));
    return out;
  };
  return join("{\n  \"image_processor_type\": \"ViTImageProcessor\",\n  \"do_resize\": true,\n  \"size\": {\"height\": ", side,
              ", \"width\": ", side, "},\n  \"resample\": 2,\n  \"do_rescale\": true,\n  \"rescale_factor\": ",
              exact_text(1.0 / 255), ",\n  \"do_normalize\": true,\n  \"image_mean\": [",
              list(scale.mean), "],\n  \"image_std\": [", list(scale.deviation), "]\n}\n");
}

}  // namespace dssl
