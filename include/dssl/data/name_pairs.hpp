// Which file belongs to which image, by their names: masks, boxes, heat maps.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/core/error.hpp>

namespace dssl {

/// The files of each image, and those that are nobody's.
struct NamePairs {
  std::vector<std::vector<std::size_t>> files;  ///< of each image, in order; more than one: a folder an image
  std::vector<std::size_t> unused;
};

namespace detail {

/// How a file is named after its image.
struct NamedAfter {
  std::string key;  ///< the image's name that it stands for
  std::size_t file = 0;
  int form = 0;  ///< 0: its own name, 1: with a suffix such as _mask, 2: one of a folder of the image's name
};

[[nodiscard]] inline std::string_view last_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

/// `name` without _mask, _GT and the like at its end; empty where it has none.
[[nodiscard]] inline std::string_view without_suffix(std::string_view name) {
  constexpr std::array<std::string_view, 8> suffixes{"_mask", "-mask", ".mask", "_gt", "-gt", "_label", "_labels", "_seg"};
  for (const std::string_view suffix : suffixes) {
    if (name.size() <= suffix.size()) continue;
    const std::string_view end = name.substr(name.size() - suffix.size());
    const bool same = std::equal(end.begin(), end.end(), suffix.begin(), [](char a, char b) {
      return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
    });
    if (same && name[name.size() - suffix.size() - 1] != '/') return name.substr(0, name.size() - suffix.size());
  }
  return {};
}

/// Whether the shorter of two paths is the end of the longer, in whole parts.
[[nodiscard]] inline bool ends_alike(std::string_view a, std::string_view b) {
  if (a.size() < b.size()) std::swap(a, b);
  return a.ends_with(b) && (a.size() == b.size() || a[a.size() - b.size() - 1] == '/');
}

}  // namespace detail

/// Pairs images and files by their paths, each without its ending and below its own folder.
///
/// A file is an image's where its path is the image's, also with _mask, -mask, .mask, _GT, _label or _seg (in any
/// case) behind it; or where it lies in a folder of the image's path: then all files there are. Where no file has
/// the whole path the longer of both may begin with further folders ("test/scratch/000" and "scratch/000_mask"),
/// if that leaves no choice: a file that several images could claim so, and an image that several files fit, are a
/// `DataError` that names them. What has a whole path is never another's.
/// `what`: of the files, in the singular, for messages. Cost O((n + m) log m). Test: tests/data/name_pairs.cpp.
[[nodiscard]] inline NamePairs pair_by_name(const std::vector<std::string>& images,
                                            const std::vector<std::string>& files, std::string_view what) {
  using detail::NamedAfter;
  std::multimap<std::string, NamedAfter, std::less<>> known;  // by the last part of the key
  const auto know = [&](std::string_view key, std::size_t file, int form) {
    known.emplace(detail::last_of(key), NamedAfter{std::string(key), file, form});
  };
  for (std::size_t f = 0; f < files.size(); ++f) {
    const std::string_view name = files[f];
    know(name, f, 0);
    if (const std::string_view bare = detail::without_suffix(name); !bare.empty()) know(bare, f, 1);
    if (const std::size_t slash = name.rfind('/'); slash != std::string_view::npos) know(name.substr(0, slash), f, 2);
  }
  const auto refuse_choice = [&](const std::string& image, std::size_t one, std::size_t other) {
    throw DataError(join(image, ": more than one ", what, " fits its name: ", files[one], " and ", files[other],
                         "; expected ", what, "s in folders like the images', or one for each image"));
  };
  // All of the best kind that an image can have: a form, and whole paths or not.
  const auto fitting = [&](const std::string& image, bool whole) {
    std::vector<const NamedAfter*> best;
    const auto [begin, end] = known.equal_range(detail::last_of(image));
    for (auto it = begin; it != end; ++it) {
      const NamedAfter& named = it->second;
      if (whole ? named.key != image : !detail::ends_alike(named.key, image)) continue;
      if (!best.empty() && named.form < best.front()->form) best.clear();
      if (best.empty() || named.form == best.front()->form) best.push_back(&named);
    }
    return best;
  };
  NamePairs out;
  out.files.resize(images.size());
  std::vector<std::size_t> owner(files.size(), images.size());
  const auto take = [&](std::size_t image, const std::vector<const NamedAfter*>& best) {
    for (const NamedAfter* const named : best) {
      if (owner[named->file] < images.size()) {
        throw DataError(join(files[named->file], ": is the ", what, " of ", images[owner[named->file]], " and of ",
                             images[image], " alike, by their names; expected ", what, "s in folders like the images'"));
      }
      out.files[image].push_back(named->file);
      owner[named->file] = image;
    }
    std::sort(out.files[image].begin(), out.files[image].end());
  };
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto best = fitting(images[i], true);
    if (best.size() > 1 && best.front()->form < 2) refuse_choice(images[i], best[0]->file, best[1]->file);
    take(i, best);
  }
  const std::vector<std::size_t> whole = owner;
  for (std::size_t i = 0; i < images.size(); ++i) {
    if (!out.files[i].empty()) continue;
    auto best = fitting(images[i], false);
    std::erase_if(best, [&](const NamedAfter* named) { return whole[named->file] < images.size(); });
    if (best.empty()) continue;
    for (const NamedAfter* const named : best) {
      if (named->form < 2 ? named != best.front() : named->key != best.front()->key)
        refuse_choice(images[i], best.front()->file, named->file);
    }
    take(i, best);
  }
  for (std::size_t f = 0; f < files.size(); ++f) {
    if (owner[f] == images.size()) out.unused.push_back(f);
  }
  return out;
}

}  // namespace dssl
