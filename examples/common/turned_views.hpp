// What --rotate, --perspective, --camera and --second do, for the help texts.
#pragma once

namespace dssl::programs {

/// Without what becomes of images of another size.
inline constexpr const char* camera_help =
    "Calibration of the camera that took the images, as OpenCV or ROS writes it (YAML): views are corrected for its lens, and "
    "points in them";

inline constexpr const char* second_help =
    "Folder of a second camera's images of the same, each under the name of its first: one global view is from each camera, and "
    "points are matched through --between; images without the other are left out; default: one camera";
inline constexpr const char* second_shown_help =
    "Files or folder of a second camera's images of the same, each under the name of its first: one global view is from each camera, "
    "and points are matched through --between; default: one camera";
inline constexpr const char* between_help =
    "With --second: the map from the first camera's corrected picture to the second's, a 3 x 3 matrix 'homography' as OpenCV "
    "writes it (YAML); default: the pictures are one over the other";
inline constexpr const char* second_camera_help = "With --second: the second camera's calibration, as --camera; default: none";
/// Why --point-weights is refused.
inline constexpr const char* no_weights_of_pairs = "none with --second: a map of weights is of one image, and not of a pair";
inline constexpr const char* global_zoom_help =
    "Pixels of a global view for one of the image, from LO to HI, in place of a share of it: 1 1 keeps what is small as large as it "
    "is, however large the image; default: none";
inline constexpr const char* local_zoom_help = "The same for a local view; default: none";
inline constexpr const char* rotate_help =
    "Views are boxes that are turned, by up to so many degrees either way, 0 to 180; where they reach beyond the image it is "
    "reflected at its edges, and points there are not valid";
inline constexpr const char* perspective_help =
    "Views are boxes seen at an angle: each corner moves in by up to so much of the box's half extents, 0 to 0.5";

}  // namespace dssl::programs
