// Where the tests find small models of other families in their own containers, and hostile files.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
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

/// How many of the cases that `counts(name)` takes have the outputs of their family's code: by the list of the whole set where it
/// is there, in which all do but those that are refused, else of the copies.
template <class Counts>
std::size_t cases_with_outputs(const Counts& counts) {
  const std::filesystem::path list = std::filesystem::path(interop_folder()) / "cases.json";
  std::vector<std::string> names{"container_zip", "dino_checkpoint", "dinov3_7b_like", "hf_dino"};
  if (std::filesystem::exists(list)) {
    names.clear();
    std::ifstream in(list);
    const std::string key = "\"case\": \"";
    for (std::string line; std::getline(in, line);) {
      const std::size_t at = line.find(key);
      if (at == std::string::npos) continue;
      const std::string name = line.substr(at + key.size(), line.find('"', at + key.size()) - at - key.size());
      if (!name.starts_with("refuse_")) names.push_back(name);
    }
  }
  return static_cast<std::size_t>(std::count_if(names.begin(), names.end(), counts));
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
