// What --rotate and --perspective do, for the help texts.
#pragma once

namespace dssl::programs {

inline constexpr const char* rotate_help =
    "Views are boxes that are turned, by up to so many degrees either way, 0 to 180; where they reach beyond the image it is "
    "reflected at its edges, and points there are not valid";
inline constexpr const char* perspective_help =
    "Views are boxes seen at an angle: each corner moves in by up to so much of the box's half extents, 0 to 0.5";

}  // namespace dssl::programs
