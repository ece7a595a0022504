// A patch embedding carried from one scale of pixels to another.
// Tests: tests/train/imitation_term.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// A patch embedding for pixels of scale `from` made one for pixels of scale `to`: the same function of the image. Where
/// `to` has one channel and `from` several, the image is grey, and each of them would have held its grey.
///
/// x_c = a_c x'_k + b_c with a_c = deviation'_k / deviation_c and b_c = (mean'_k - mean_c) / deviation_c, k = c or 0, so
/// W'_k = sum a_c W_c over the channels c of k, and bias' = bias + sum over c of b_c times the sum of W_c's row. In double,
/// rounded once; equal scales leave both as they are. `weight` (D,C,p,p) in rows of C p p; what is returned (D,C',p,p).
/// Throws `ShapeError` where the channels do not go together.
[[nodiscard]] inline std::vector<float> rescaled_patches(std::span<const float> weight, std::span<float> bias,
                                                         const PixelScale& from, const PixelScale& to) {
  std::vector<float> out(weight.begin(), weight.end());
  if (from == to) return out;
  const auto channels = from.mean.size(), kept = to.mean.size();
  require_shape(!bias.empty() && channels > 0 && (kept == channels || kept == 1) && weight.size() % (bias.size() * channels) == 0,
                "a patch embedding of ", weight.size(), " weights and ", bias.size(), " biases for ", channels,
                " channels; expected whole rows, and as many channels as views have, ", kept, ", or views of one");
  const std::size_t pixels = weight.size() / bias.size() / channels;
  out.resize(bias.size() * kept * pixels);
  std::vector<double> row(kept * pixels);
  for (std::size_t d = 0; d < bias.size(); ++d) {
    std::ranges::fill(row, 0.0);
    double shift = bias[d];
    for (std::size_t c = 0; c < channels; ++c) {
      const std::size_t k = kept == 1 ? 0 : c;
      const double a = static_cast<double>(to.deviation[k]) / from.deviation[c];
      const double b = (static_cast<double>(to.mean[k]) - from.mean[c]) / from.deviation[c];
      for (std::size_t i = 0; i < pixels; ++i) {
        const double w = weight[(d * channels + c) * pixels + i];
        row[k * pixels + i] += a * w;
        shift += b * w;
      }
    }
    for (std::size_t i = 0; i < row.size(); ++i) out[d * row.size() + i] = static_cast<float>(row[i]);
    bias[d] = static_cast<float>(shift);
  }
  return out;
}

}  // namespace dssl
