// Which photometric parts a view has, drawn first, and carried out later.
// Tests: tests/views/photometric_parts.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/block_compression.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/photometric_parts.hpp>
#include <dssl/views/planar_image.hpp>
#include <dssl/views/point_spread.hpp>
#include <dssl/views/sensor_noise.hpp>
#include <dssl/views/tone.hpp>

namespace dssl {

/// One part of a view with its numbers drawn.
struct PhotometricStep {
  PhotometricKind kind = PhotometricKind::exposure;
  double amount = 0;       ///< in the unit of the kind's strength
  double direction = 0;    ///< of a movement, in radians
  std::uint64_t seed = 0;  ///< of the numbers that it draws a pixel, row, column or channel

  [[nodiscard]] bool operator==(const PhotometricStep&) const = default;
};

/// The memory of photometric parts, reused from one view to the next; one for each thread.
struct PhotometricWorkspace {
  PlanarImage<float> planes;
  std::vector<float> values;
};

/// Draws a view's steps from `random`: which of the parts it has, by which amounts, in an order drawn
/// uniformly from all.
///
/// Numbers are drawn for every kind, asked for or not: what a part is in a view depends neither on the other
/// parts nor on their order. Without parts nothing is drawn.
[[nodiscard]] DSSL_INLINE std::vector<PhotometricStep> plan_parts(const std::vector<PhotometricPart>& parts,
                                                                  RandomStream random);

/// Carries out a step on planes (C,h,w) of values in [0, 1], in place; an amount of 0 leaves them as they
/// are. Throws `OptionError` about "parts" for an amount beyond the kind's largest strength, or below 0 where
/// the kind has none such.
DSSL_INLINE void apply(PlanarImage<float>& planes, const PhotometricStep& step,
                       PhotometricWorkspace& workspace);

/// Carries out steps, in their order. Views of 8 bits become floats before the first and are rounded after
/// the last. Where all channels are alike, as of a grey view, the camera has one, and they are alike after.
DSSL_INLINE void apply(PlanarImage<float>& planes, std::span<const PhotometricStep> steps,
                       PhotometricWorkspace& workspace);
DSSL_INLINE void apply(PlanarImage<std::uint8_t>& planes, std::span<const PhotometricStep> steps,
                       PhotometricWorkspace& workspace);

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE std::vector<PhotometricStep> plan_parts(const std::vector<PhotometricPart>& parts,
                                                    RandomStream random) {
  std::vector<PhotometricStep> out;
  if (parts.empty()) return out;
  std::vector<std::pair<double, PhotometricStep>> placed;
  for (std::size_t i = 0; i < photometric_names.size(); ++i) {
    const double has = random.uniform(), share = random.uniform(), turn = random.uniform(),
                 place = random.uniform();
    const std::uint64_t high = random.bits(), low = random.bits();
    const auto kind = static_cast<PhotometricKind>(i);
    const auto part = std::ranges::find(parts, kind, &PhotometricPart::kind);
    if (part == parts.end() || !(has < part->probability)) continue;
    const double amount = part->strength * (name_of(kind).both_ways ? 2 * share - 1 : share);
    if (amount != 0)
      placed.push_back({place, {kind, amount, 2 * std::numbers::pi * turn, high << 32U | low}});
  }
  std::ranges::stable_sort(placed, {}, &std::pair<double, PhotometricStep>::first);
  for (const auto& [place, step] : placed) out.push_back(step);
  return out;
}

DSSL_INLINE void apply(PlanarImage<float>& planes, const PhotometricStep& step,
                       PhotometricWorkspace& workspace) {
  if (step.amount == 0) return;
  detail::require_amount("parts", step.kind, step.amount, true);
  RandomStream random({.seed = step.seed, .purpose = Purpose::photometric});
  switch (step.kind) {
    case PhotometricKind::exposure:
      return change_exposure(planes, step.amount);
    case PhotometricKind::gamma:
      return change_gamma(planes, step.amount);
    case PhotometricKind::white_balance:
      return change_white_balance(planes, step.amount, random);
    case PhotometricKind::grey_world:
      return grey_world(planes, step.amount);
    case PhotometricKind::vignetting:
      return vignette(planes, step.amount);
    case PhotometricKind::shot_noise:
      return shot_noise(planes, step.amount, random);
    case PhotometricKind::read_noise:
      return read_noise(planes, step.amount, random);
    case PhotometricKind::fixed_pattern:
      return fixed_pattern(planes, step.amount, random);
    case PhotometricKind::column_pattern:
      return column_pattern(planes, step.amount, random);
    case PhotometricKind::row_banding:
      return row_banding(planes, step.amount, random);
    case PhotometricKind::hot_pixels:
      return hot_pixels(planes, step.amount, random);
    case PhotometricKind::defocus:
      return spread_light(planes, disc_spread(step.amount), workspace.values);
    case PhotometricKind::motion_blur:
      return spread_light(planes, line_spread(step.amount, step.direction), workspace.values);
    case PhotometricKind::jpeg:
      return compress_blocks(planes, static_cast<int>(std::clamp(std::round(100 - step.amount), 1.0, 100.0)),
                             workspace.values);
    case PhotometricKind::quantise:
      return quantise(planes, step.amount);
  }
}

namespace detail {

template <WorkType W>
void apply_to_copy(PlanarImage<W>& planes, std::span<const PhotometricStep> steps,
                   PhotometricWorkspace& workspace) {
  if (steps.empty()) return;
  const Index size = planes.plane_size(), channels = planes.channels();
  Index own = 1;  // channels that differ
  for (Index c = 1; c < channels && own == 1; ++c)
    own = std::equal(planes.plane(c), planes.plane(c) + size, planes.plane(0)) ? 1 : channels;
  PlanarImage<float>& floats = workspace.planes;
  floats.reshape(own, planes.height(), planes.width());
  constexpr float full = full_scale<W>;
  for (Index i = 0; i < own * size; ++i)
    floats.plane(0)[i] = static_cast<float>(planes.plane(0)[i]) * (1 / full);
  for (const PhotometricStep& step : steps) apply(floats, step, workspace);
  for (Index i = 0; i < own * size; ++i) {
    if constexpr (std::is_same_v<W, float>) {
      planes.plane(0)[i] = floats.plane(0)[i];
    } else {
      planes.plane(0)[i] = static_cast<W>(cut(floats.plane(0)[i]) * full + 0.5F);
    }
  }
  for (Index c = own; c < channels; ++c) std::copy_n(planes.plane(0), size, planes.plane(c));
}

}  // namespace detail

DSSL_INLINE void apply(PlanarImage<float>& planes, std::span<const PhotometricStep> steps,
                       PhotometricWorkspace& workspace) {
  detail::apply_to_copy(planes, steps, workspace);
}
DSSL_INLINE void apply(PlanarImage<std::uint8_t>& planes, std::span<const PhotometricStep> steps,
                       PhotometricWorkspace& workspace) {
  detail::apply_to_copy(planes, steps, workspace);
}
#endif

}  // namespace dssl
