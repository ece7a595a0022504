// What pixels are normalised by, and the usual numbers.
// Tests: tests/views/photometric.cpp, tests/train/imitation_term.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/exact_number.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// What pixels on the scale 0..1 are normalised by, channel by channel: (v - mean) / deviation.
struct PixelScale {
  std::vector<float> mean{};       // (C)
  std::vector<float> deviation{};  // (C)

  [[nodiscard]] Index channels() const { return static_cast<Index>(mean.size()); }
  /// Whether these may be a channel's numbers on the scale 0..1, and are not those of pixels of 0..255.
  [[nodiscard]] static bool is_mean(double value) { return std::abs(value) <= 10; }
  [[nodiscard]] static bool is_deviation(double value) { return value >= 1e-6 && value <= 10; }
  [[nodiscard]] bool operator==(const PixelScale&) const = default;
};

/// The scale of views whose options name none: the published one of colour photographs for three channels, 0.5 and 0.25 for
/// any other number.
[[nodiscard]] inline PixelScale usual_pixels(Index channels) {
  if (channels == 3) return {{0.485F, 0.456F, 0.406F}, {0.229F, 0.224F, 0.225F}};
  const auto count = static_cast<std::size_t>(channels);
  return {std::vector<float>(count, 0.5F), std::vector<float>(count, 0.25F)};
}

/// Whether a scale is `usual_pixels` of its channels, which nobody has to say; so is an empty one.
[[nodiscard]] inline bool is_usual(const PixelScale& scale) { return scale == usual_pixels(scale.channels()); }

namespace detail {

/// Numbers in as few digits as tell them from all others, for files and messages.
[[nodiscard]] inline std::string number_list(const std::vector<float>& values, std::string_view separator) {
  std::string out;
  for (const float value : values) {
    if (!out.empty()) out += separator;
    out += exact_number(value);
  }
  return out;
}

}  // namespace detail

/// In words: "less (0.5, 0.5, 0.5), divided by (0.5, 0.5, 0.5)".
[[nodiscard]] inline std::string describe(const PixelScale& scale) {
  return join("less (", detail::number_list(scale.mean, ", "), "), divided by (", detail::number_list(scale.deviation, ", "), ")");
}

namespace detail {

/// The names under which a safetensors file of dssl's says its pixels, beside the tensors.
inline constexpr std::string_view pixel_mean_key = "pixel_mean", pixel_deviation_key = "pixel_deviation";

}  // namespace detail

/// What weights say beside their tensors of the pixels that they were trained on; nothing of `usual_pixels`, or of an empty scale.
[[nodiscard]] inline std::map<std::string, std::string> pixels_as_metadata(const PixelScale& scale) {
  if (is_usual(scale)) return {};
  return {{std::string(detail::pixel_mean_key), detail::number_list(scale.mean, ",")},
          {std::string(detail::pixel_deviation_key), detail::number_list(scale.deviation, ",")}};
}

/// Throws `OptionError` naming `prefix` and 'mean' or 'deviation' where a scale has not one number for each of so many channels,
/// of `whose` if it is said, or numbers that cannot be a channel's.
inline void require_pixels(const PixelScale& scale, Index channels, std::string_view whose = {}, std::string_view prefix = {}) {
  const auto require = [&](std::string_view name, const std::vector<float>& values, bool (*fits)(double), const char* expected) {
    const std::string field = join(prefix, name);
    if (static_cast<Index>(values.size()) != channels)
      throw OptionError(field, join(values.size(), " values"), join("one a channel", whose.empty() ? "" : " of ", whose, ", ", channels));
    for (const float value : values) {
      if (!fits(static_cast<double>(value))) throw OptionError(field, value, expected);
    }
  };
  require("mean", scale.mean, &PixelScale::is_mean, "-10 to 10, for pixels of 0 to 1");
  require("deviation", scale.deviation, &PixelScale::is_deviation, "1e-6 to 10, for pixels of 0 to 1");
}

/// Fills `mean` and `deviation` (C) if they are empty: with `usual_pixels`.
inline void default_normalisation(std::vector<float>& mean, std::vector<float>& deviation, Index channels) {
  if (!mean.empty()) return;
  PixelScale usual = usual_pixels(channels);
  mean = std::move(usual.mean);
  deviation = std::move(usual.deviation);
}

}  // namespace dssl
