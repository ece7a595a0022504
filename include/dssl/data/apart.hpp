// Sets that must have no image in common: what is learned from, what a threshold comes from, what is measured on.
#pragma once

#include <concepts>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <sys/stat.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/page_name.hpp>

namespace dssl {

namespace detail {

/// What tells an image from others whatever path leads to its file: links and relative paths are the same file, of which each
/// page is another image. A name that is no file is itself.
using FileIdentity = std::tuple<std::uint64_t, std::uint64_t, std::string>;
[[nodiscard]] inline FileIdentity file_identity(const std::string& path) {
  const ImagePlace place = place_of_image(path);
  struct stat status {};
  if (::stat(std::string(place.file).c_str(), &status) != 0) return {0, 0, path};
  return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino), name_of_page("", place.page)};
}

}  // namespace detail

/// Names of the images of `b` whose file is one of `a`'s too, in b's order. Cost: a system call an image.
/// Test: tests/data/apart.cpp.
template <NamedSamples A, NamedSamples B>
[[nodiscard]] std::vector<std::string> shared_files(const A& a, const B& b) {
  std::set<detail::FileIdentity> files;
  for (Index i = 0; i < a.size(); ++i) files.insert(detail::file_identity(a.name(i)));
  std::vector<std::string> out;
  for (Index i = 0; i < b.size(); ++i) {
    if (std::string name = b.name(i); files.contains(detail::file_identity(name))) out.push_back(std::move(name));
  }
  return out;
}

/// How many images of `few` have a file that is one of `many`'s too. Holds the files of `few` alone in memory, and is
/// done with `many` when all are found. Cost: a system call an image. Test: tests/data/apart.cpp.
template <NamedSamples A, NamedSamples B>
[[nodiscard]] Index count_shared_files(const A& many, const B& few) {
  std::map<detail::FileIdentity, Index> left;
  for (Index i = 0; i < few.size(); ++i) ++left[detail::file_identity(few.name(i))];
  Index shared = 0;
  for (Index i = 0; i < many.size() && !left.empty(); ++i) {
    const auto found = left.find(detail::file_identity(many.name(i)));
    if (found == left.end()) continue;
    shared += found->second;
    left.erase(found);
  }
  return shared;
}

/// Has a label an image.
template <class S>
concept LabelledNames = NamedSamples<S> && requires(const S& source, Index i) {
  { source.label(i) } -> std::convertible_to<std::string>;
};

/// Throws `DataError` for a file that has two labels, in one set or in two, whatever paths lead to it: names it, both
/// labels, and how many such files there are. Test: tests/data/apart.cpp.
template <LabelledNames... Sets>
void require_one_label(const Sets&... sets) {
  std::map<detail::FileIdentity, std::string> labels;
  std::string first;
  std::set<detail::FileIdentity> doubtful;
  const auto look = [&](const auto& set) {
    for (Index i = 0; i < set.size(); ++i) {
      const auto [at, is_new] = labels.emplace(detail::file_identity(set.name(i)), set.label(i));
      if (is_new || at->second == std::string(set.label(i))) continue;
      if (first.empty()) first = join(set.name(i), ": is of class '", at->second, "' and of class '", set.label(i), "'");
      doubtful.insert(at->first);
    }
  };
  (look(sets), ...);
  if (doubtful.empty()) return;
  throw DataError(join(first, " (", doubtful.size(), doubtful.size() == 1 ? " file is" : " files are",
                       " of more than one); expected one class for each image file"));
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
