// Where the tests find small models of other families in their own containers, and hostile files.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "fixtures.hpp"

namespace dssl::test {

/// The folder of cases: that of the environment variable DSSL_INTEROP, else the copies in the source tree,
/// which are some of them.
inline std::string interop_folder() {
  const char* const folder = std::getenv("DSSL_INTEROP");
  return folder != nullptr && *folder != '\0' ? std::string(folder) : fixture_path("interop");
}

/// Whether a case is there; all of them are where DSSL_INTEROP says so.
inline bool has_case(const std::string& name) {
  return std::filesystem::exists(interop_folder() + "/" + name);
}

/// The file of weights of a case.
inline std::string weights_of(const std::string& name) {
  for (const char* const file :
       {"weights.pth", "model.safetensors", "checkpoint.pth", "teacher_checkpoint.pth"}) {
    const std::string path = interop_folder() + "/" + name + "/" + file;
    if (std::filesystem::exists(path)) return path;
  }
  throw FileError(interop_folder() + "/" + name, "has no file of weights");
}

}  // namespace dssl::test
