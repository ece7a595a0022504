// Cameras and homographies as calibrations leave them: the YAML of OpenCV's FileStorage and of ROS.
// Tests: tests/io/camera_file.cpp.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include <dssl/core/camera.hpp>
#include <dssl/core/error.hpp>

#ifdef DSSL_WITH_YAML
#include <charconv>
#include <cmath>
#include <cstddef>
#include <optional>
#include <system_error>
#include <type_traits>
#include <vector>

#include <yaml-cpp/yaml.h>

#include <dssl/core/tensor_view.hpp>
#include <dssl/io/mapped_file.hpp>
#endif

namespace dssl {

/// The camera of a calibration file: `image_width`, `image_height`, `camera_matrix` and
/// `distortion_coefficients` (4, 5 or 8 numbers, or 12 or 14 whose others are 0; none where there are none),
/// in capitals or not, as `cv::FileStorage` writes them into YAML or JSON and as ROS does, with
/// `distortion_model` plumb_bob or rational_polynomial where it is said. ROS's rectification and projection,
/// which are for two cameras, have no say.
///
/// Read by yaml-cpp. Throws `FileError` naming the field where the file is no such file, or where the build
/// is without yaml-cpp; of a skewed or mirrored camera matrix too. Test: tests/io/camera_file.cpp.
[[nodiscard]] Camera read_camera(const std::string& path);

/// The 3 x 3 matrix `homography` of such a file, row by row, as `cv::FileStorage` writes what
/// `cv::findHomography` finds. Throws likewise.
[[nodiscard]] std::array<double, 9> read_homography(const std::string& path);

#ifdef DSSL_WITH_YAML
namespace detail {

/// Steps through the names of a calibration file.
class CalibrationReader {
 public:
  explicit CalibrationReader(const std::string& path) : x_path(path) {
    const std::vector<std::byte> bytes = dssl::read_bytes(path);
    constexpr std::size_t most = std::size_t{1} << 20;
    if (bytes.size() > most)
      fail(join("has ", bytes.size(), " bytes; expected a calibration of at most ", most));
    const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    x_root = sound([&] { return YAML::Load(text); });
    if (!x_root.IsMap())
      fail("holds no names and values; expected the YAML of a calibration, as OpenCV or ROS writes it");
  }

  [[noreturn]] void fail(std::string_view problem) const { throw FileError(x_path, problem); }

  /// What is done with the library's values: its exceptions are messages of this file.
  template <class Do>
  [[nodiscard]] std::invoke_result_t<const Do&> sound(const Do& act) const {
    try {
      return act();
    } catch (const YAML::Exception& error) {
      fail(join("cannot be read as YAML: ", error.what()));
    }
  }

  [[nodiscard]] bool has(std::string_view name) const { return x_find(x_root, name).has_value(); }
  [[nodiscard]] std::string text(std::string_view name) const { return x_scalar(x_get(name), name); }
  [[nodiscard]] double number(std::string_view name) const { return x_number(x_get(name), name); }
  [[nodiscard]] Index whole(std::string_view name) const { return x_whole(x_get(name), name); }

  /// The numbers of a matrix: `rows`, `cols`, `data`.
  [[nodiscard]] std::vector<double> matrix(std::string_view name) const {
    const YAML::Node node = x_get(name);
    if (!node.IsMap()) fail(join("has a '", name, "' that is no matrix; expected rows, cols and data"));
    const std::optional<YAML::Node> data = x_find(node, "data");
    if (!data || !data->IsSequence()) fail(join("has a '", name, "' without a list 'data'"));
    std::vector<double> out;
    for (const YAML::Node& value : *data) out.push_back(x_number(value, name));
    Index extents[2] = {1, 1};
    for (std::size_t i = 0; i < 2; ++i) {
      const std::string_view extent = i == 0 ? "rows" : "cols";
      const std::optional<YAML::Node> found = x_find(node, extent);
      if (!found) fail(join("has a '", name, "' without '", extent, "'"));
      extents[i] = x_whole(*found, join(name, ".", extent));
    }
    if (extents[0] < 0 || extents[1] < 0 || extents[0] > 1000 || extents[1] > 1000 ||
        extents[0] * extents[1] != static_cast<Index>(out.size())) {
      fail(join("has a '", name, "' of ", extents[0], " x ", extents[1], " with ", out.size(), " numbers"));
    }
    return out;
  }

 private:
  [[nodiscard]] static std::string x_small(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
  }
  [[nodiscard]] static std::optional<YAML::Node> x_find(const YAML::Node& map, std::string_view name) {
    for (const auto& entry : map) {
      if (entry.first.IsScalar() && x_small(entry.first.Scalar()) == name) return entry.second;
    }
    return std::nullopt;
  }
  [[nodiscard]] YAML::Node x_get(std::string_view name) const {
    const std::optional<YAML::Node> found = x_find(x_root, name);
    if (!found) fail(join("has no '", name, "'"));
    return *found;
  }
  [[nodiscard]] std::string x_scalar(const YAML::Node& node, std::string_view name) const {
    if (!node.IsScalar()) fail(join("has a '", name, "' that is no single value"));
    return node.Scalar();
  }
  /// Not by the library, whose numbers follow the program's locale.
  template <class Number>
  [[nodiscard]] bool x_reads(Number& value, std::string_view text) const {
    if (text.starts_with('+')) text.remove_prefix(1);
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    return problem == std::errc{} && end == text.data() + text.size();
  }
  [[nodiscard]] double x_number(const YAML::Node& node, std::string_view name) const {
    const std::string text = x_scalar(node, name);
    double value = 0;
    if (!x_reads(value, text) || !std::isfinite(value))
      fail(join("has '", x_short(text), "' in '", name, "'; expected finite numbers"));
    return value;
  }
  [[nodiscard]] Index x_whole(const YAML::Node& node, std::string_view name) const {
    const std::string text = x_scalar(node, name);
    Index value = 0;
    if (!x_reads(value, text))
      fail(join("has '", x_short(text), "' for '", name, "'; expected a whole number"));
    return value;
  }
  [[nodiscard]] static std::string x_short(const std::string& text) {
    return text.size() <= 40 ? text : text.substr(0, 40) + "...";
  }

  std::string x_path;
  YAML::Node x_root;
};

}  // namespace detail

inline Camera read_camera(const std::string& path) {
  const detail::CalibrationReader file(path);
  return file.sound([&] {
    Camera camera;
    camera.height = file.whole("image_height");
    camera.width = file.whole("image_width");
    const std::vector<double> k = file.matrix("camera_matrix");
    if (k.size() != 9) file.fail(join("has a 'camera_matrix' of ", k.size(), " numbers; expected 3 x 3"));
    if (k[1] != 0 || k[3] != 0 || k[6] != 0 || k[7] != 0 || k[8] != 1)
      file.fail("has a 'camera_matrix' that is skewed or not scaled; expected fx 0 cx, 0 fy cy, 0 0 1");
    camera.fx = k[0];
    camera.cx = k[2];
    camera.fy = k[4];
    camera.cy = k[5];
    std::vector<double> d;
    if (file.has("distortion_coefficients")) d = file.matrix("distortion_coefficients");
    if (file.has("distortion_model")) {
      const std::string model = file.text("distortion_model");
      if (model != "plumb_bob" && model != "rational_polynomial")
        file.fail(join("has the distortion_model '", model.substr(0, 40),
                       "'; expected plumb_bob or rational_polynomial"));
    }
    if (d.size() != 0 && d.size() != 4 && d.size() != 5 && d.size() != 8 && d.size() != 12 && d.size() != 14)
      file.fail(join("has ", d.size(), " 'distortion_coefficients'; expected 4, 5 or 8"));
    for (std::size_t i = 8; i < d.size(); ++i) {
      if (d[i] != 0)
        file.fail(join("has ", d[i],
                       " in 'distortion_coefficients' behind the eighth; expected no thin prism and no "
                       "tilted sensor, which are not read"));
    }
    double* const into[8] = {&camera.k1, &camera.k2, &camera.p1, &camera.p2,
                             &camera.k3, &camera.k4, &camera.k5, &camera.k6};
    for (std::size_t i = 0; i < 8 && i < d.size(); ++i) *into[i] = d[i];
    try {
      if (!camera.known()) throw OptionError("height", camera.height, "1 to 2^27 pixels");
      require_camera(camera);
    } catch (const OptionError& error) {
      file.fail(join("has a camera that cannot be: ", error.what()));
    }
    return camera;
  });
}

inline std::array<double, 9> read_homography(const std::string& path) {
  const detail::CalibrationReader file(path);
  return file.sound([&] {
    const std::vector<double> m = file.matrix("homography");
    if (m.size() != 9) file.fail(join("has a 'homography' of ", m.size(), " numbers; expected 3 x 3"));
    std::array<double, 9> out{};
    for (std::size_t i = 0; i < 9; ++i) out[i] = m[i];
    return out;
  });
}
#else
namespace detail {

[[noreturn]] inline void fail_without_yaml(const std::string& path) {
  throw FileError(path,
                  "is to be read as a calibration, and this build is without yaml-cpp (package "
                  "libyaml-cpp-dev of Debian and Ubuntu)");
}

}  // namespace detail

inline Camera read_camera(const std::string& path) { detail::fail_without_yaml(path); }
inline std::array<double, 9> read_homography(const std::string& path) { detail::fail_without_yaml(path); }
#endif

}  // namespace dssl
