// A folder of its own for a test, removed with what is in it.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace dssl::test {

/// A new empty folder below the system's folder for temporary files; deleted at the end of its life.
class TemporaryFolder {
 public:
  TemporaryFolder() : x_path((std::filesystem::temp_directory_path() / "dssl-test-XXXXXX").string()) {
    if (::mkdtemp(x_path.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(x_path, ignored);
  }

  [[nodiscard]] const std::string& path() const { return x_path; }
  [[nodiscard]] std::string operator/(std::string_view name) const {
    return x_path + "/" + std::string(name);
  }

  /// Number of entries, to see that nothing was left behind.
  [[nodiscard]] std::ptrdiff_t entries() const {
    return std::distance(std::filesystem::directory_iterator(x_path), std::filesystem::directory_iterator());
  }

 private:
  std::string x_path;
};

inline void write_text(const std::string& path, std::string_view text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline void write_text(const std::string& path, std::span<const std::byte> bytes) {
  write_text(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

inline std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace dssl::test
