// The point samplers that programs know by name.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <common/names.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/weight_files.hpp>
#include <dssl/points/any_sampler.hpp>
#include <dssl/points/even_points.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/points/jittered_grid.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/points/salient_points.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/points/weighted_points.hpp>

namespace dssl::programs {

/// Which points a command line asks for.
struct SamplerSettings {
  std::string sampler = "random";  ///< a name, or several: NAME+NAME:K
  Index points = 2;                ///< K of each that says no number
  std::string weights{};           ///< folder of the maps of "weighted"
};

inline constexpr const char* sampler_help =
    "Where points lie in what two views both show: random; grid (centres of equal cells) and jittered (one "
    "at random in each "
    "cell), with a square number of points; even (spread evenly, any number); salient (where the image has "
    "edges); weighted (by "
    "--point-weights); attention (where the teacher's class token attends) and disagreement (where its features of the two "
    "global views differ), drawn after its pass. Several joined by +, each with its own number where it says one: grid:9+salient";
inline constexpr const char* point_weights_help =
    "Folder of the maps of --sampler weighted, grey pictures named after their images, NAME.png or "
    "NAME_mask.png, of the image's "
    "size or a whole part of it; the brighter, the likelier; an image without one has uniform points; "
    "default: none";

namespace detail {

using Maps = std::shared_ptr<const WeightFiles>;

struct NamedSampler {
  std::string_view name;
  AnySampler (*make)(Index points, const Maps& maps);
};

/// Cells a side of a grid of so many points. Throws `OptionError`.
[[nodiscard]] inline Index side_of(Index points, std::string_view sampler) {
  const auto side = static_cast<Index>(std::lround(std::sqrt(static_cast<double>(points))));
  if (side * side == points) return side;
  const auto below = static_cast<Index>(std::sqrt(static_cast<double>(points)));
  throw OptionError("points", points,
                    join("a square number with --sampler ", sampler, ", as ", below * below, " or ",
                         (below + 1) * (below + 1)));
}

inline constexpr std::array<NamedSampler, 8> samplers{{
    {"random", [](Index points, const Maps&) -> AnySampler { return RandomPoints<>(points); }},
    {"grid", [](Index points, const Maps&) -> AnySampler { return GridPoints<>(side_of(points, "grid")); }},
    {"jittered",
     [](Index points, const Maps&) -> AnySampler { return JitteredGrid<>(side_of(points, "jittered")); }},
    {"even", [](Index points, const Maps&) -> AnySampler { return EvenPoints<>(points); }},
    {"salient", [](Index points, const Maps&) -> AnySampler { return SalientPoints<>(points); }},
    {"weighted",
     [](Index points, const Maps& maps) -> AnySampler {
       return WeightedPoints(
           points,
           [maps](const SampledScene& scene) -> std::optional<PointWeights> {
             const auto map = maps->load(scene.index, height(scene.image), width(scene.image));
             return map ? std::optional(weights_of(*map)) : std::nullopt;
           },
           maps->fingerprint());
     }},
    {"attention", [](Index points, const Maps&) -> AnySampler { return AttentionPoints<>(points); }},
    {"disagreement", [](Index points, const Maps&) -> AnySampler { return DisagreementPoints<>(points); }},
}};

/// A sampler of a list, and its own number of points.
struct SamplerPart {
  const NamedSampler* sampler;
  Index points;
};

/// Throws `OptionError`.
[[nodiscard]] inline std::vector<SamplerPart> parts_of(const SamplerSettings& settings) {
  constexpr Index most_points = Index{1} << 40;  // so that sums of them are numbers
  if (settings.points < 1 || settings.points > most_points)
    throw OptionError("points", settings.points, join("at least 1 and at most ", most_points));
  std::vector<SamplerPart> out;
  for (std::string_view rest = settings.sampler;;) {
    const std::string_view part = rest.substr(0, rest.find('+'));
    const std::size_t colon = part.find(':');
    const auto found = std::ranges::find(samplers, part.substr(0, colon), &NamedSampler::name);
    Index points = settings.points;
    bool good = found != samplers.end();
    if (good && colon != std::string_view::npos) {
      const std::string_view number = part.substr(colon + 1);
      const auto [end, problem] = std::from_chars(number.data(), number.data() + number.size(), points);
      good = problem == std::errc{} && end == number.data() + number.size() && points >= 1 &&
             points <= most_points;
    }
    if (!good)
      throw OptionError("sampler", settings.sampler,
                        names_of(samplers) + ", or several as random:4+salient:4");
    out.push_back({&*found, points});
    if (part.size() == rest.size()) return out;
    rest.remove_prefix(part.size() + 1);
  }
}

}  // namespace detail

/// The sampler of the settings. `open`: opens the maps of weights, and is called where one needs them. Throws
/// `OptionError` naming `sampler`, `points` or `point_weights`, and what `open` throws.
[[nodiscard]] inline AnySampler sampler_of(const SamplerSettings& settings,
                                           const std::function<WeightFiles()>& open) {
  const std::vector<detail::SamplerPart> parts = detail::parts_of(settings);
  const bool weighs =
      std::ranges::any_of(parts, [](const auto& part) { return part.sampler->name == "weighted"; });
  if (weighs && settings.weights.empty())
    throw OptionError("point_weights", "empty", join("a folder with --sampler ", settings.sampler));
  if (!weighs && !settings.weights.empty()) {
    throw OptionError("point_weights", settings.weights,
                      join("none with --sampler ", settings.sampler, ", but with weighted"));
  }
  const detail::Maps maps = weighs ? std::make_shared<const WeightFiles>(open()) : nullptr;
  std::vector<AnySampler> made;
  for (const auto& part : parts) made.push_back(part.sampler->make(part.points, maps));
  return made.size() == 1 ? std::move(made.front()) : AnySampler(std::move(made));
}

}  // namespace dssl::programs
