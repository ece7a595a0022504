// Features of mean 0 and deviation 1 a channel, and linear classifiers restated for them and back.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>

namespace dssl {

/// Mean and deviation of a channel of features.
struct ChannelMoments {
  double mean = 0;
  double deviation = 1;
};

/// Brings features (n,D), n >= 1, to mean 0 and deviation 1 a channel, in place: x = (x - mean) / deviation.
///
/// Returns (D) what they were. A channel that changes by no more than rounding tells nothing: it loses its
/// mean alone, and its deviation is told as 1. Sums in double; two passes. Throws `ShapeError`. Test:
/// tests/probe/segmentation_probe.cpp.
template <class T>
[[nodiscard]] std::vector<ChannelMoments> standardise(std::span<T> features, std::size_t width) {
  require_shape(width >= 1 && !features.empty() && features.size() % width == 0,
                "standardise: ", features.size(), " numbers of features of width ", width);
  const double count = static_cast<double>(features.size() / width);
  std::vector<ChannelMoments> moments(width, {.mean = 0, .deviation = 0});
  const auto each = [&](const auto& visit) {
    for (std::size_t i = 0; i < features.size(); i += width) {
      for (std::size_t d = 0; d < width; ++d) visit(moments[d], features[i + d]);
    }
  };
  each([](ChannelMoments& m, const T& x) { m.mean += static_cast<double>(x); });
  for (ChannelMoments& m : moments) m.mean /= count;
  each([](ChannelMoments& m, const T& x) {
    m.deviation += (static_cast<double>(x) - m.mean) * (static_cast<double>(x) - m.mean);
  });
  for (ChannelMoments& m : moments) {
    m.deviation = std::sqrt(m.deviation / count);
    if (m.deviation <= 1e-6 * std::abs(m.mean)) m.deviation = 1.0;
  }
  each([](const ChannelMoments& m, T& x) {
    x = static_cast<T>((static_cast<double>(x) - m.mean) / m.deviation);
  });
  return moments;
}

/// A linear classifier, weight (C,D) and bias (C), of features as they are becomes that of standardised ones,
/// or the other way: the same logits. Throws `ShapeError`. Test: tests/probe/segmentation_probe.cpp.
template <class T>
void restate_linear(std::span<T> weight, std::span<T> bias, std::span<const ChannelMoments> moments,
                    bool for_standardised) {
  const std::size_t width = moments.size();
  require_shape(weight.size() == bias.size() * width, "restated classifier: ", weight.size(),
                " weights; expected ", bias.size(), " x ", width);
  for (std::size_t c = 0; c < bias.size(); ++c) {
    double shift = 0;
    for (std::size_t d = 0; d < width; ++d) {
      T& w = weight[c * width + d];
      const auto [mean, deviation] = moments[d];
      const double raw = for_standardised ? static_cast<double>(w) : static_cast<double>(w) / deviation;
      shift += raw * mean;
      w = static_cast<T>(for_standardised ? raw * deviation : raw);
    }
    bias[c] = static_cast<T>(static_cast<double>(bias[c]) + (for_standardised ? shift : -shift));
  }
}

}  // namespace dssl
