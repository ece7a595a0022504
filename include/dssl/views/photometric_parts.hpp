// What a camera does to a picture, as a list of parts with strengths: exposure, noise, blur, compression.
// Tests: tests/views/photometric_parts.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>

namespace dssl {

/// What a part does. A strength s is its largest amount: a view's amount a is uniform in [0, s], of exposure
/// and gamma in [-s, s]. New kinds come last, so that the numbers of the others stay as they were.
enum class PhotometricKind : std::uint8_t {
  exposure,
  gamma,
  white_balance,
  grey_world,
  vignetting,
  shot_noise,
  read_noise,
  fixed_pattern,
  column_pattern,
  row_banding,
  hot_pixels,
  defocus,
  motion_blur,
  jpeg,
  quantise,
};

/// A kind as texts name it, its largest strength, and what a strength counts.
struct PhotometricName {
  std::string_view name;
  double most;
  std::string_view unit;
  bool both_ways;  ///< whether amounts are below 0 too
};

/// In the order of `PhotometricKind`. The formulas stand with the functions: `tone.hpp`, `sensor_noise.hpp`,
/// `point_spread.hpp`, `block_compression.hpp`.
inline constexpr std::array<PhotometricName, 15> photometric_names{{
    {"exposure", 8, "stops, to either side", true},
    {"gamma", 3, "doublings of the exponent, to either side", true},
    {"white_balance", 3, "stops of a channel, before their mean is taken off", false},
    {"grey_world", 1, "share of the way to channels of one mean", false},
    {"vignetting", 0.95, "share of the light that the corners lose", false},
    {"shot_noise", 1, "deviation at full scale: a full well of 1 / s^2 electrons", false},
    {"read_noise", 1, "deviation as a share of full scale", false},
    {"fixed_pattern", 1, "deviation of the gain of a pixel", false},
    {"column_pattern", 1, "deviation of the gain of a column", false},
    {"row_banding", 1, "deviation of the offset of a row, as a share of full scale", false},
    {"hot_pixels", 0.5, "share of the values that are at full scale", false},
    {"defocus", 32, "radius of the disc in pixels of the view", false},
    {"motion_blur", 64, "length of the path in pixels of the view", false},
    {"jpeg", 99, "100 less the quality", false},
    {"quantise", 7, "bits fewer than 8", false},
}};

[[nodiscard]] constexpr const PhotometricName& name_of(PhotometricKind kind) {
  return photometric_names[static_cast<std::size_t>(kind)];
}

/// One part: each view has it with a probability, by an amount up to the strength. Strength 0 changes
/// nothing.
struct PhotometricPart {
  PhotometricKind kind = PhotometricKind::exposure;
  double strength = 0;
  double probability = 1;

  [[nodiscard]] bool operator==(const PhotometricPart&) const = default;
};

/// Throws `OptionError` about `prefix` + "parts" for a strength or probability outside its range, or a kind
/// that is there twice.
DSSL_INLINE void validate(const std::vector<PhotometricPart>& parts, const std::string& prefix = {});

/// `exposure=1,jpeg=60@0.5`: name and strength, and after an at sign the probability where that is not 1,
/// numbers to the bit, in the order of `PhotometricKind`. Parts that no view has, of a strength or
/// probability of 0, are left out: lists that make the same views have the same text.
[[nodiscard]] DSSL_INLINE std::string text_of(const std::vector<PhotometricPart>& parts);

/// The parts of such a text. Throws `OptionError` about "parts" where it is of another form, or `validate`
/// does.
[[nodiscard]] DSSL_INLINE std::vector<PhotometricPart> photometric_parts_of(std::string_view text);

/// `parts` with those of `others` added, in the place of their kind where it is there already; a strength of
/// 0 takes the kind out.
[[nodiscard]] DSSL_INLINE std::vector<PhotometricPart> merged(std::vector<PhotometricPart> parts,
                                                              const std::vector<PhotometricPart>& others);

namespace detail {

/// Throws `OptionError` about `field` for a kind that is none, or an `amount` outside [0, its most], with
/// `both_ways` [-most, most] where the kind has such.
DSSL_INLINE void require_amount(const std::string& field, PhotometricKind kind, double amount,
                                bool both_ways);

}  // namespace detail

#if defined(DSSL_WITH_DEFINITIONS)
namespace detail {

DSSL_INLINE void require_amount(const std::string& field, PhotometricKind kind, double amount,
                                bool both_ways) {
  const auto index = static_cast<std::size_t>(kind);
  if (index >= photometric_names.size())
    throw OptionError(field, index, join("a kind below ", photometric_names.size()));
  const auto& [name, most, unit, has_both] = photometric_names[index];
  const double least = both_ways && has_both ? -most : 0;
  if (!(amount >= least && amount <= most))
    throw OptionError(field, join(name, "=", amount),
                      join(name, " from ", least, " to ", most, " (", unit, ")"));
}

}  // namespace detail

DSSL_INLINE void validate(const std::vector<PhotometricPart>& parts, const std::string& prefix) {
  std::array<bool, photometric_names.size()> seen{};
  for (const PhotometricPart& part : parts) {
    detail::require_amount(prefix + "parts", part.kind, part.strength, false);
    const auto index = static_cast<std::size_t>(part.kind);
    const std::string_view name = photometric_names[index].name;
    if (!(part.probability >= 0 && part.probability <= 1)) {
      throw OptionError(prefix + "parts", join(name, "=", part.strength, "@", part.probability),
                        join(name, " with a probability in [0, 1]"));
    }
    if (seen[index]) throw OptionError(prefix + "parts", join(name, " twice"), "every part once");
    seen[index] = true;
  }
}

DSSL_INLINE std::string text_of(const std::vector<PhotometricPart>& parts) {
  std::string out;
  for (std::size_t i = 0; i < photometric_names.size(); ++i) {
    const auto part = std::ranges::find(parts, static_cast<PhotometricKind>(i), &PhotometricPart::kind);
    if (part == parts.end() || part->strength == 0 || part->probability == 0) continue;
    if (!out.empty()) out += ',';
    out += photometric_names[i].name;
    out += '=';
    out += exact_text(part->strength);
    if (part->probability == 1) continue;
    out += '@';
    out += exact_text(part->probability);
  }
  return out;
}

DSSL_INLINE std::vector<PhotometricPart> photometric_parts_of(std::string_view text) {
  std::vector<PhotometricPart> out;
  if (text.empty()) return out;
  const auto number = [](std::string_view digits, double& value) {
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return problem == std::errc{} && end == digits.data() + digits.size();
  };
  for (std::string_view rest = text;;) {
    const std::string_view one = rest.substr(0, rest.find(','));
    const std::size_t equals = one.find('='), at = one.find('@');
    const auto found = std::ranges::find(photometric_names, one.substr(0, equals), &PhotometricName::name);
    PhotometricPart part;
    bool good =
        found != photometric_names.end() && equals != std::string_view::npos &&
        number(one.substr(equals + 1, at == std::string_view::npos ? at : at - equals - 1), part.strength);
    if (good && at != std::string_view::npos) good = number(one.substr(at + 1), part.probability);
    if (!good) {
      std::string names;
      for (const PhotometricName& known : photometric_names)
        names += join(names.empty() ? "" : ", ", known.name);
      throw OptionError("parts", one.substr(0, std::min<std::size_t>(one.size(), 80)),
                        join("NAME=STRENGTH or NAME=STRENGTH@PROBABILITY, joined by commas, of ", names));
    }
    part.kind = static_cast<PhotometricKind>(found - photometric_names.begin());
    out.push_back(part);
    if (one.size() == rest.size()) break;
    rest.remove_prefix(one.size() + 1);
  }
  validate(out);
  return out;
}

DSSL_INLINE std::vector<PhotometricPart> merged(std::vector<PhotometricPart> parts,
                                                const std::vector<PhotometricPart>& others) {
  for (const PhotometricPart& other : others) {
    const auto same = std::ranges::find(parts, other.kind, &PhotometricPart::kind);
    if (other.strength == 0) {
      if (same != parts.end()) parts.erase(same);
    } else if (same != parts.end()) {
      *same = other;
    } else {
      parts.push_back(other);
    }
  }
  return parts;
}
#endif

}  // namespace dssl
