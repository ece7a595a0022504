// Sets that must have no image in common: what is learned from, what a threshold comes from, what is measured on.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <sys/stat.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>

namespace dssl {

namespace detail {

/// What tells a file from others whatever path leads to it: links and relative paths are the same file. A name that
/// is no file is itself.
[[nodiscard]] inline std::tuple<std::uint64_t, std::uint64_t, std::string> file_identity(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {0, 0, path};
  return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino), {}};
}

}  // namespace detail

/// Names of the images of `b` whose file is one of `a`'s too, in b's order. Cost: a system call an image.
/// Test: tests/data/apart.cpp.
template <NamedSamples A, NamedSamples B>
[[nodiscard]] std::vector<std::string> shared_files(const A& a, const B& b) {
  std::set<std::tuple<std::uint64_t, std::uint64_t, std::string>> files;
  for (Index i = 0; i < a.size(); ++i) files.insert(detail::file_identity(a.name(i)));
  std::vector<std::string> out;
  for (Index i = 0; i < b.size(); ++i) {
    if (std::string name = b.name(i); files.contains(detail::file_identity(name))) out.push_back(std::move(name));
  }
  return out;
}

/// Throws `DataError` naming the first file that two sets share; `of_a`, `of_b`: what they are.
template <NamedSamples A, NamedSamples B>
void require_apart(const A& a, std::string_view of_a, const B& b, std::string_view of_b) {
  const std::vector<std::string> shared = shared_files(a, b);
  if (shared.empty()) return;
  throw DataError(join(shared.front(), ": is among ", of_a, " and ", of_b, " (", shared.size(), " of ", b.size(),
                       " are); expected sets without a common image"));
}

/// As `require_apart`, but where the two sets are the same, which nobody gives by mistake, what to warn of.
template <NamedSamples A, NamedSamples B>
[[nodiscard]] std::string same_or_apart(const A& a, std::string_view of_a, const B& b, std::string_view of_b) {
  const std::vector<std::string> shared = shared_files(a, b);
  if (!shared.empty() && a.size() == b.size() && static_cast<Index>(shared.size()) == b.size())
    return join(of_a, " and ", of_b, " are the same files: figures are of what was learned from");
  require_apart(a, of_a, b, of_b);
  return {};
}

}  // namespace dssl
