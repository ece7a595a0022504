// What an earlier run left in an output folder, taken away when the next one begins to write.
#pragma once

#include <algorithm>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <dssl/data/list_file.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/mapped_file.hpp>

namespace dssl::programs {

/// Removes what killed runs left half written in a folder, of files whose name `belongs`: `remove_abandoned` of each of which
/// there is something, in one look at the folder. Throws `FileError` as that. Test: tests/programs/outputs.sh.
template <class Belongs>
void remove_abandoned_in(const std::string& folder, const Belongs& belongs) {
  std::error_code problem;
  std::set<std::string> names;
  for (std::filesystem::directory_iterator at(folder, problem), end; !problem && at != end; at.increment(problem)) {
    const std::string file = at->path().filename().string();
    const std::string name = file.substr(0, std::min(file.rfind(".tmp-"), file.size()));
    if (name.size() < file.size() && !name.empty() && belongs(name)) names.insert(name);
  }
  for (const std::string& name : names) remove_abandoned(folder + "/" + name);
}

/// Names in the folder `inner` of an output folder that an earlier run listed there.
[[nodiscard]] inline std::vector<std::string> listed_pictures(const std::string& folder, const std::string& inner) {
  std::vector<std::string> names;
  const std::string within = folder + "/" + inner;
  if (!dssl::detail::is_file(within + "/.written")) return names;
  const auto bytes = read_bytes(within + "/.written");
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!rest.empty()) {
    const std::string name(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(name.size() + 1, rest.size()));
    // A list that somebody changed reaches no other folder, and no file that it does not name: to the system a zero ends one.
    const bool plain = !name.empty() && name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
    if (plain) names.push_back(name);
  }
  return names;
}

/// Those of them that still are there.
[[nodiscard]] inline std::vector<std::string> earlier_pictures(const std::string& folder, const std::string& inner) {
  std::vector<std::string> names = listed_pictures(folder, inner);
  std::erase_if(names, [&](const std::string& name) { return !dssl::detail::is_file(folder + "/" + inner + "/" + name); });
  return names;
}

/// The files that a run writes, and those that it takes away: it must read none of them.
[[nodiscard]] inline std::vector<std::string> with_earlier_pictures(std::vector<std::string> paths, const std::string& folder,
                                                                    const std::string& inner) {
  for (const std::string& name : earlier_pictures(folder, inner)) paths.push_back(folder + "/" + inner + "/" + name);
  return paths;
}

/// To be called before a run puts its first file into `folder`, and not earlier: removes `figures` (result.json, ...),
/// which tell of what lies there and are written last, and the pictures in `inner` ("overlays") that an earlier run
/// listed there, half-written ones of a killed run too. Where there will be `pictures`, names in that folder, it lists them in a hidden file. What nobody
/// listed stays. So a folder with figures holds those of one run and its pictures, and no others of these programs,
/// however earlier runs ended. Throws `FileError`. Test: tests/programs/outputs.sh.
inline void remove_earlier_outputs(const std::string& folder, const std::vector<std::string>& figures,
                                   const std::string& inner, const std::vector<std::string>& pictures) {
  const auto remove = [](const std::string& path) {
    std::error_code problem;
    std::filesystem::remove(path, problem);
    if (problem) throw FileError(path, "is of an earlier run and cannot be removed: " + problem.message());
  };
  for (const std::string& figure : figures) remove(folder + "/" + figure);
  const std::string within = folder + "/" + inner;
  const std::string list = within + "/.written";
  if (dssl::detail::is_file(list)) {
    std::vector<std::string> listed = listed_pictures(folder, inner);
    std::ranges::sort(listed);
    remove_abandoned_in(within, [&](const std::string& name) { return name == ".written" || std::ranges::binary_search(listed, name); });
    for (const std::string& name : earlier_pictures(folder, inner)) remove(within + "/" + name);
    if (pictures.empty()) remove(list);
  }
  if (pictures.empty()) {
    std::error_code ignored;
    std::filesystem::remove(within, ignored);  // where nothing is left in it
    return;
  }
  std::string names;
  for (const std::string& name : pictures) names += name + "\n";
  write_bytes(list, std::as_bytes(std::span(names)));
}

/// The names of paths in a folder `inner`, without the rest of the path.
[[nodiscard]] inline std::vector<std::string> names_in(const std::string& folder, const std::string& inner,
                                                       const std::vector<std::string>& paths) {
  const std::string begin = folder + "/" + inner + "/";
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    if (path.starts_with(begin)) names.push_back(path.substr(begin.size()));
  }
  return names;
}

}  // namespace dssl::programs
