// Colours for numbers and for things that are told apart.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Red, green, blue.
using Colour = std::array<std::uint8_t, 3>;

namespace detail {

/// Five stops of the public map "inferno" (CC0): black, violet, red, orange, pale yellow.
inline constexpr std::array<Colour, 5> heat_stops{
    {{0, 0, 4}, {87, 16, 110}, {188, 55, 84}, {249, 142, 9}, {252, 255, 164}}};

/// Told apart by most eyes, on any ground.
inline constexpr std::array<Colour, 8> mark_palette{{{0xff, 0xd2, 0x1f},
                                                     {0xff, 0x5a, 0x36},
                                                     {0x22, 0xc7, 0xf2},
                                                     {0x39, 0xd3, 0x53},
                                                     {0xd1, 0x6b, 0xff},
                                                     {0xff, 0x8f, 0xc7},
                                                     {0xf5, 0xf5, 0xf5},
                                                     {0x8f, 0x7b, 0xff}}};

}  // namespace detail

/// The colour of a number in [0, 1], from black (0) over red (0.5) to pale yellow (1): straight lines between
/// five stops, rounded; brighter throughout, so that it reads in grey too. What lies outside is clamped, and
/// what is not a number is grey. Test: tests/pictures/pictures.cpp.
[[nodiscard]] inline Colour heat_colour(double value) {
  if (std::isnan(value)) return {128, 128, 128};
  const double at = std::clamp(value, 0.0, 1.0) * static_cast<double>(detail::heat_stops.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(at), detail::heat_stops.size() - 2);
  const double share = at - static_cast<double>(below);
  Colour out{};
  for (std::size_t c = 0; c < 3; ++c) {
    out[c] = static_cast<std::uint8_t>((1 - share) * detail::heat_stops[below][c] +
                                       share * detail::heat_stops[below + 1][c] + 0.5);
  }
  return out;
}

/// The colour of mark `number` (a view, a point): eight in turn. Test: tests/pictures/pictures.cpp.
[[nodiscard]] constexpr Colour mark_colour(Index number) {
  const auto count = static_cast<Index>(detail::mark_palette.size());
  return detail::mark_palette[static_cast<std::size_t>((number % count + count) % count)];
}

}  // namespace dssl
