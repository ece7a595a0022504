// A camera as a calibration describes it: what its pictures are corrected by.
// Tests: tests/views/lens.cpp, tests/io/camera_file.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Intrinsics and distortion of a camera, by the names and in the units of OpenCV: focal lengths and the
/// principal point in pixels, where pixel 0's middle lies at 0; radial coefficients k1 to k6, the last three
/// of which divide, and tangential p1, p2. `Lens` (dssl/views/lens.hpp) has the formula. Of no camera the
/// height is 0.
struct Camera {
  Index height = 0;  ///< of its pictures, in pixels
  Index width = 0;
  double fx = 1, fy = 1;
  double cx = 0, cy = 0;
  double k1 = 0, k2 = 0, p1 = 0, p2 = 0, k3 = 0, k4 = 0, k5 = 0, k6 = 0;

  /// Whether there is a camera.
  [[nodiscard]] constexpr bool known() const { return height != 0; }
  /// The coefficients in OpenCV's order.
  [[nodiscard]] constexpr std::array<double, 8> distortion() const {
    return {k1, k2, p1, p2, k3, k4, k5, k6};
  }
  [[nodiscard]] bool operator==(const Camera&) const = default;
};

/// Throws `OptionError` naming `prefix` and the first field with a value it may not have; no camera is right.
inline void require_camera(const Camera& camera, std::string_view prefix = {}) {
  const auto require = [&](bool holds, std::string_view field, const auto& value, std::string_view expected) {
    if (!holds) throw OptionError(join(prefix, field), value, expected);
  };
  if (camera == Camera{}) return;
  constexpr Index most = Index{1} << 27;
  require(camera.height >= 1 && camera.height <= most, "height", camera.height, "1 to 2^27 pixels");
  require(camera.width >= 1 && camera.width <= most, "width", camera.width, "1 to 2^27 pixels");
  constexpr double finite = 1e9, shortest = 1e-3;
  require(camera.fx >= shortest && camera.fx <= finite, "fx", camera.fx, "a focal length of 0.001 or more in pixels");
  require(camera.fy >= shortest && camera.fy <= finite, "fy", camera.fy, "a focal length of 0.001 or more in pixels");
  require(std::abs(camera.cx) <= finite, "cx", camera.cx, "a finite number of pixels");
  require(std::abs(camera.cy) <= finite, "cy", camera.cy, "a finite number of pixels");
  constexpr std::array<std::string_view, 8> names{"k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"};
  const std::array<double, 8> values = camera.distortion();
  for (std::size_t i = 0; i < names.size(); ++i)
    require(std::abs(values[i]) <= finite, names[i], values[i], "a finite coefficient");
}

/// Two cameras that look at one plane, and the known map between them. Of no pair the first height is 0.
struct CameraPair {
  Index first_height = 0;  ///< of the first camera's pictures, in pixels
  Index first_width = 0;
  Index second_height = 0;
  Index second_width = 0;
  /// From the first camera's corrected picture to the second's, row by row, as `cv::findHomography` finds it:
  /// pixel 0's middle lies at 0.
  std::array<double, 9> between{1, 0, 0, 0, 1, 0, 0, 0, 1};
  Camera second{};  ///< the second's, by which its pictures are corrected; none where they need it not

  [[nodiscard]] constexpr bool known() const { return first_height != 0; }
  [[nodiscard]] bool operator==(const CameraPair&) const = default;
};

/// Throws `OptionError` naming `prefix` and the first field with a value it may not have; no pair is right.
inline void require_pair(const CameraPair& pair, std::string_view prefix = {}) {
  if (pair == CameraPair{}) return;
  const auto require = [&](bool holds, std::string_view field, const auto& value, std::string_view expected) {
    if (!holds) throw OptionError(join(prefix, field), value, expected);
  };
  constexpr Index most = Index{1} << 27;
  const auto extent = [&](std::string_view field, Index value) {
    require(value >= 1 && value <= most, field, value, "1 to 2^27 pixels");
  };
  extent("first_height", pair.first_height);
  extent("first_width", pair.first_width);
  extent("second_height", pair.second_height);
  extent("second_width", pair.second_width);
  for (const double value : pair.between) require(std::isfinite(value), "between", value, "finite numbers");
  require_camera(pair.second, join(prefix, "second."));
  if (!pair.second.known()) return;
  require(pair.second.height == pair.second_height, "second.height", pair.second.height,
          join("its pictures' ", pair.second_height));
  require(pair.second.width == pair.second_width, "second.width", pair.second.width,
          join("its pictures' ", pair.second_width));
}

namespace detail {

/// Numbers, to the bit, joined by blanks.
template <class Numbers>
void append_numbers(std::string& out, const Numbers& values) {
  for (const double value : values) {
    if (!out.empty()) out += ' ';
    out += exact_text(value);
  }
}

}  // namespace detail

/// All numbers of a camera, to the bit, joined by blanks: height, width, fx, fy, cx, cy and the eight
/// coefficients; of no camera nothing. What checkpoints compare; `camera_of_text` reads it.
[[nodiscard]] inline std::string text_of(const Camera& camera) {
  if (!camera.known()) return {};
  std::string out = join(camera.height, " ", camera.width);
  detail::append_numbers(out, std::array{camera.fx, camera.fy, camera.cx, camera.cy});
  detail::append_numbers(out, camera.distortion());
  return out;
}

/// The same of a pair: the extents, the nine numbers between, and the second camera's.
[[nodiscard]] inline std::string text_of(const CameraPair& pair) {
  if (!pair.known()) return {};
  std::string out =
      join(pair.first_height, " ", pair.first_width, " ", pair.second_height, " ", pair.second_width);
  detail::append_numbers(out, pair.between);
  if (pair.second.known()) out += join(" ", text_of(pair.second));
  return out;
}

/// The camera that `text_of` wrote. Throws `OptionError` where the text is of another form.
[[nodiscard]] inline Camera camera_of_text(std::string_view text) {
  Camera camera;
  if (text.empty()) return camera;
  const char* at = text.data();
  const char* const end = at + text.size();
  bool good = true;
  const auto next = [&](auto& value) {
    while (at != end && *at == ' ') ++at;
    const auto [after, problem] = std::from_chars(at, end, value);
    good = good && problem == std::errc{};
    at = after;
  };
  next(camera.height);
  next(camera.width);
  for (double* value : {&camera.fx, &camera.fy, &camera.cx, &camera.cy, &camera.k1, &camera.k2, &camera.p1,
                        &camera.p2, &camera.k3, &camera.k4, &camera.k5, &camera.k6})
    next(*value);
  if (!good || at != end || !camera.known())
    throw OptionError("camera", text.substr(0, std::min<std::size_t>(text.size(), 200)),
                      "14 numbers joined by blanks");
  require_camera(camera, "camera.");
  return camera;
}

}  // namespace dssl
