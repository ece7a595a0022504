// How many threads this process has.
#pragma once

#include <filesystem>
#include <iterator>

namespace dssl::test {

/// 0 where the system does not say.
inline std::ptrdiff_t process_threads() {
  const std::filesystem::path tasks = "/proc/self/task";
  if (!std::filesystem::exists(tasks)) return 0;
  return std::distance(std::filesystem::directory_iterator(tasks), std::filesystem::directory_iterator());
}

}  // namespace dssl::test
