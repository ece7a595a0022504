// What a call throws, for tests that look at the words of an error.
#pragma once

#include <string>
#include <string_view>

namespace dssl::test {

/// The message of the `Expected` that `call` throws; "(nothing was thrown)" if it throws nothing.
template <class Expected, class Call>
std::string thrown_by(const Call& call) {
  try {
    call();
  } catch (const Expected& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace dssl::test
