// Calibrations as OpenCV 4, OpenCV 5 and ROS write them.
#include "catch.hpp"

#include <array>
#include <fstream>
#include <string>
#include <string_view>

#include "temporary_folder.hpp"
#include "thrown.hpp"

#include <dssl/io/camera_file.hpp>

using namespace dssl;

namespace {

#ifdef DSSL_WITH_YAML
/// As cv::FileStorage of OpenCV 5.0.0 writes it.
constexpr std::string_view of_opencv = R"(%YAML 1.2
---
calibration_time: Mon 30 Nov
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 535.89999999999998, 0., 342.30000000000001, 0.,
       535.79999999999995, 235.59999999999999, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -0.26629999999999998, -0.038600000000000002,
       0.0017799999999999999, -2.7999999999999998e-04,
       0.23849999999999999 ]
avg_reprojection_error: 0.20000000000000001
)";
/// As ROS's camera calibration writes it.
constexpr std::string_view of_ros = R"(image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [535.9, 0, 342.3, 0, 535.8, 235.6, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.2663, -0.0386, 0.00178, -0.00028, 0.2385]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [535.9, 0, 342.3, 0, 0, 535.8, 235.6, 0, 0, 0, 1, 0]
)";
/// As cv::FileStorage writes JSON.
constexpr std::string_view of_json = R"({
    "image_width": 640,
    "image_height": 480,
    "camera_matrix": {
        "type_id": "opencv-matrix",
        "rows": 3,
        "cols": 3,
        "dt": "d",
        "data": [ 535.89999999999998, 0.0, 342.30000000000001, 0.0,
            535.79999999999995, 235.59999999999999, 0.0, 0.0, 1.0 ]
    },
    "distortion_coefficients": {"type_id": "opencv-matrix", "rows": 1, "cols": 5, "dt": "d",
        "data": [ -0.2663, -0.0386, 0.00178, -0.00028, 0.2385 ]}
}
)";

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out(text);
  const std::size_t at = out.find(from);
  REQUIRE(at != std::string::npos);
  return out.replace(at, from.size(), to);
}
#endif

template <class Read>
auto of_text(std::string_view text, const Read& read) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "c.yml";
  std::ofstream(path) << text;
  try {
    return read(path);
  } catch (const FileError& error) {
    throw FileError("c.yml", error.problem());
  }
}
Camera camera_in(std::string_view text) { return of_text(text, read_camera); }

}  // namespace

#ifdef DSSL_WITH_YAML
TEST_CASE("calibrations of OpenCV and of ROS are the same camera") {
  const Camera expected{.height = 480,
                        .width = 640,
                        .fx = 535.9,
                        .fy = 535.8,
                        .cx = 342.3,
                        .cy = 235.6,
                        .k1 = -0.2663,
                        .k2 = -0.0386,
                        .p1 = 1.78e-3,
                        .p2 = -2.8e-4,
                        .k3 = 0.2385};
  CHECK(camera_in(of_opencv) == expected);
  CHECK(camera_in(of_ros) == expected);
  CHECK(camera_in(of_json) == expected);
  CHECK(camera_in(replaced(of_opencv, "%YAML 1.2", "%YAML:1.0")) == expected);  // OpenCV 4
  CHECK(camera_in(replaced(replaced(of_opencv, "camera_matrix", "Camera_Matrix"), "image_width",
                           "image_Width")) == expected);
  // As other writers of YAML break lists.
  CHECK(camera_in(replaced(of_ros, "[-0.2663, -0.0386, 0.00178, -0.00028, 0.2385]",
                           "\n    - -0.2663\n    - -0.0386\n    - 1.78e-3\n    - -2.8e-4\n    - +0.2385")) ==
        expected);
}

TEST_CASE("calibrations have as many coefficients as OpenCV has models") {
  const auto with = [](std::string_view numbers, int count) {
    return replaced(replaced(of_ros, "cols: 5\n  data: [-0.2663, -0.0386, 0.00178, -0.00028, 0.2385]",
                             join("cols: ", count, "\n  data: [", numbers, "]")),
                    "plumb_bob", count >= 8 ? "rational_polynomial" : "plumb_bob");
  };
  CHECK(camera_in(with("1, 2, 3, 4", 4)).distortion() == std::array<double, 8>{1, 2, 3, 4, 0, 0, 0, 0});
  CHECK(camera_in(with("1, 2, 3, 4, 5, 6, 7, 8", 8)).distortion() ==
        std::array<double, 8>{1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(camera_in(with("1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0", 14)).distortion() ==
        std::array<double, 8>{1, 2, 3, 4, 5, 6, 7, 8});
  CHECK(test::contains(
      test::thrown_by<FileError>([&] { camera_in(with("1, 2, 3, 4, 5, 6, 7, 8, 0, 0.5, 0, 0", 12)); }),
      "c.yml: has 0.5 in 'distortion_coefficients' behind the eighth"));
  CHECK(test::thrown_by<FileError>([&] { camera_in(with("1, 2, 3", 3)); }) ==
        "c.yml: has 3 'distortion_coefficients'; expected 4, 5 or 8");
  std::string without(of_ros);
  without.erase(without.find("distortion_model"),
                without.find("rectification") - without.find("distortion_model"));
  CHECK(camera_in(without).distortion() == std::array<double, 8>{});
}

TEST_CASE("what is no calibration is refused by its field") {
  const auto said = [](std::string_view from, std::string_view to) {
    return test::thrown_by<FileError>([&] { camera_in(replaced(of_ros, from, to)); });
  };
  CHECK(said("image_height: 480", "height: 480") == "c.yml: has no 'image_height'");
  CHECK(said("image_height: 480", "image_height: many") ==
        "c.yml: has 'many' for 'image_height'; expected a whole number");
  CHECK(said("image_height: 480", "image_height: 0") ==
        "c.yml: has a camera that cannot be: option 'height' is 0; expected 1 to 2^27 pixels");
  CHECK(said("image_height: 480", "image_height: [480]") ==
        "c.yml: has a 'image_height' that is no single value");
  CHECK(said("camera_matrix:", "camera:") == "c.yml: has no 'camera_matrix'");
  CHECK(said("342.3, 0", "342.3, 0.5") ==
        "c.yml: has a 'camera_matrix' that is skewed or not scaled; expected fx 0 cx, 0 fy cy, 0 0 1");
  CHECK(said("342.3", ".Nan") == "c.yml: has '.Nan' in 'camera_matrix'; expected finite numbers");
  CHECK(said("342.3", "342,3") == "c.yml: has a 'camera_matrix' of 3 x 3 with 10 numbers");
  CHECK(said("cols: 3", "cols: 4") == "c.yml: has a 'camera_matrix' of 3 x 4 with 9 numbers");
  CHECK(
      said("535.9", "-535.9") ==
      "c.yml: has a camera that cannot be: option 'fx' is -535.9; expected a focal length of 0.001 or more in pixels");
  CHECK(said("plumb_bob", "equidistant") ==
        "c.yml: has the distortion_model 'equidistant'; expected plumb_bob or rational_polynomial");
  CHECK(test::contains(said("data: [535.9", "data: [[535.9"),
                       "c.yml: cannot be read as YAML: yaml-cpp: error at line "));
  CHECK(test::contains(test::thrown_by<FileError>([] {
                         camera_in("<?xml version=\"1.0\"?>\n<opencv_storage>\n</opencv_storage>\n");
                       }),
                       "c.yml: "));
  CHECK(test::thrown_by<FileError>([] { camera_in(""); }) ==
        "c.yml: holds no names and values; expected the YAML of a calibration, as OpenCV or ROS writes it");
  CHECK(test::contains(test::thrown_by<FileError>([] { camera_in(std::string(std::size_t{200000}, '[')); }),
                       "cannot be read as YAML"));
  CHECK(test::contains(test::thrown_by<FileError>([] { camera_in(std::string(std::size_t{2000000}, ' ')); }),
                       "has 2000000 bytes; expected"));
  CHECK(test::contains(test::thrown_by<FileError>([] { static_cast<void>(read_camera("/nowhere/c.yml")); }),
                       "/nowhere/c.yml: cannot open to read"));
}

TEST_CASE("homographies of OpenCV's files") {
  const std::string text =
      "%YAML:1.0\n---\nhomography: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [ 1., 2., 3., "
      "4., 5.5, 6.,\n       7., 8., 1. ]\n";
  CHECK(of_text(text, read_homography) == std::array<double, 9>{1, 2, 3, 4, 5.5, 6, 7, 8, 1});
  CHECK(test::thrown_by<FileError>([] { static_cast<void>(of_text(of_ros, read_homography)); }) ==
        "c.yml: has no 'homography'");
  CHECK(test::thrown_by<FileError>([&] {
          static_cast<void>(
              of_text(replaced(replaced(text, ", 1. ]", " ]"), "rows: 3", "rows: 1"), read_homography));
        }) == "c.yml: has a 'homography' of 1 x 3 with 8 numbers");
}
#else
TEST_CASE("calibrations are read where their library is, and where it is not it is said what brings it") {
  CHECK(test::contains(test::thrown_by<FileError>([] { camera_in("image_width: 4"); }),
                       "this build is without yaml-cpp (package libyaml-cpp-dev"));
  CHECK_THROWS_AS(of_text("", read_homography), FileError);
}
#endif
