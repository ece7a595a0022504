// Everything that is done to a view's values after it was cut out, up to the network's input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/blur.hpp>
#include <dssl/views/colour.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

namespace detail {

/// v / scale - mean over deviation, as factor * v + offset.
struct NormalisationTerms {
  float factor;
  float offset;
};

template <WorkType W>
[[nodiscard]] NormalisationTerms normalisation_terms(float mean, float deviation) {
  constexpr double scale = std::is_same_v<W, std::uint8_t> ? 255.0 : 1.0;
  return {static_cast<float>(1.0 / (scale * static_cast<double>(deviation))),
          static_cast<float>(-static_cast<double>(mean) / static_cast<double>(deviation))};
}

}  // namespace detail

/// Planes to the network's input: out = (v / scale - mean[c]) / deviation[c], scale 255 in 8 bits and 1 in
/// float.
///
/// `out` (C,h,w), `mean` (C), `deviation` (C). Throws `ShapeError` if a length does not fit the planes.
/// Test: augment.safetensors (tests/views/photometric.cpp).
template <WorkType W>
void normalise(std::span<float> out, const PlanarImage<W>& planes, std::span<const float> mean,
               std::span<const float> deviation) {
  const auto channels = static_cast<std::size_t>(planes.channels());
  require_shape(out.size() == channels * static_cast<std::size_t>(planes.plane_size()),
                "normalise: ", out.size(), " values for ", channels, " planes of ", planes.height(), " x ",
                planes.width());
  require_shape(mean.size() == channels && deviation.size() == channels, "normalise: ", mean.size(),
                " means and ", deviation.size(), " deviations for ", channels,
                " channels; expected one of each a channel");
  for (std::size_t c = 0; c < channels; ++c) {
    const W* __restrict from = planes.plane(static_cast<Index>(c));
    float* __restrict to = out.data() + static_cast<Index>(c) * planes.plane_size();
    const auto [factor, offset] = detail::normalisation_terms<W>(mean[c], deviation[c]);
    for (Index i = 0; i < planes.plane_size(); ++i) to[i] = static_cast<float>(from[i]) * factor + offset;
  }
}

}  // namespace dssl

#if defined(DSSL_INSTANCE)  // dssl::cpu has them: the same bits whatever a program is compiled with
DSSL_INSTANCE void dssl::normalise(std::span<float>, const PlanarImage<std::uint8_t>&, std::span<const float>,
                                   std::span<const float>);
DSSL_INSTANCE void dssl::normalise(std::span<float>, const PlanarImage<float>&, std::span<const float>, std::span<const float>);
#endif
