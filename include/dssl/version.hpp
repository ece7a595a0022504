// The version of the library; CMakeLists.txt reads it from here.
#pragma once

#include <string_view>

namespace dssl {

/// Major, minor and patch version joined by dots.
inline constexpr std::string_view version_string = "0.1.0";

}  // namespace dssl
