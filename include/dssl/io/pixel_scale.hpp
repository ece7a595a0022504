// What the pixels were normalised by that weights were trained on, as a file beside them says.
// Tests: tests/io/hugging_face_config.cpp.
#pragma once

#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/json_writer.hpp>

namespace dssl {

/// As `preprocessor_config.json` of Transformers says, which may lie beside a file of weights: `image_mean`, `image_std`.
/// Nothing where there is none, or it does not say both. Throws `FileError` where it is there and cannot be read,
/// `CheckpointError` where it is damaged, or says what is no such scale: pixels that are not normalised or not divided by
/// 255, means and deviations of which one has no channel. Test: tests/io/hugging_face_config.cpp.
[[nodiscard]] inline std::optional<PixelScale> pixels_beside(const std::string& weights) {
  const std::string path = (std::filesystem::path(weights).parent_path() / "preprocessor_config.json").string();
  const auto fields = detail::config_fields(path);
  if (!fields) return std::nullopt;
  using Kind = detail::ConfigValue::Kind;
  const auto said = [&](std::string_view field) -> const detail::ConfigValue* {
    const auto found = fields->find(field);
    return found == fields->end() || found->second.kind == Kind::null ? nullptr : &found->second;
  };
  const auto refuse = [&](const auto&... what) { throw CheckpointError(path, join(what...)); };
  const detail::ConfigValue* const mean = said("image_mean");
  const detail::ConfigValue* const deviation = said("image_std");
  if (mean == nullptr || deviation == nullptr) return std::nullopt;
  for (const char* const field : {"do_normalize", "do_rescale"}) {
    const detail::ConfigValue* const does = said(field);
    if (does != nullptr && (does->kind != Kind::boolean || does->number != 1)) {
      refuse("has ", field, " that is not true; expected pixels that are divided by 255 and normalised");
    }
  }
  if (const detail::ConfigValue* const factor = said("rescale_factor");
      factor != nullptr && (factor->kind != Kind::number || std::abs(factor->number * 255 - 1) > 1e-6)) {
    refuse("has rescale_factor ", factor->kind == Kind::number ? detail::exact_number(factor->number) : "that is no number",
           "; expected 1/255, ", detail::exact_number(1.0 / 255));
  }
  if (mean->kind != Kind::numbers || deviation->kind != Kind::numbers || mean->numbers.empty() ||
      mean->numbers.size() != deviation->numbers.size()) {
    refuse("has image_mean and image_std that are not as many numbers each; expected one a channel");
  }
  PixelScale out;
  for (std::size_t c = 0; c < mean->numbers.size(); ++c) {
    const double own = deviation->numbers[c];
    if (!PixelScale::is_mean(mean->numbers[c]) || !PixelScale::is_deviation(own)) {
      refuse("has image_mean ", detail::exact_number(mean->numbers[c]), " and image_std ", detail::exact_number(own),
             "; expected means of -10 to 10 and deviations of 1e-6 to 10, for pixels of 0 to 1");
    }
    out.mean.push_back(static_cast<float>(mean->numbers[c]));
    out.deviation.push_back(static_cast<float>(own));
  }
  return out;
}

}  // namespace dssl
