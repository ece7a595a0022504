// What pixels are normalised by, and the usual numbers.
// Tests: tests/views/photometric.cpp, tests/train/imitation_term.cpp.
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

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

/// Fills `mean` and `deviation` (C) if they are empty: with `usual_pixels`.
inline void default_normalisation(std::vector<float>& mean, std::vector<float>& deviation, Index channels) {
  if (!mean.empty()) return;
  PixelScale usual = usual_pixels(channels);
  mean = std::move(usual.mean);
  deviation = std::move(usual.deviation);
}

}  // namespace dssl
