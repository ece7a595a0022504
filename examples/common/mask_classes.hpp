// What the ids of masks mean, as the options of programs say it.
#pragma once

#include <algorithm>
#include <charconv>
#include <string>
#include <system_error>
#include <vector>

#include <unistd.h>

#include <CLI/CLI.hpp>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/list_file.hpp>
#include <dssl/features/class_map.hpp>

namespace dssl::programs {

struct MaskClasses {
  Index classes = 0;  // 0: as many as classes.txt names, or the generated scenes have
  std::vector<int> void_ids{255};
  bool void_given = false;  // an id of `only` is not void unless somebody said so
  std::vector<int> only;

  [[nodiscard]] ClassOptions class_options() const {
    return {.classes = classes, .void_ids = voids(), .only = only};
  }
  /// The ids that are void.
  [[nodiscard]] std::vector<int> voids() const {
    std::vector<int> out = void_ids;
    if (!void_given) std::erase_if(out, [&](int id) { return std::find(only.begin(), only.end(), id) != only.end(); });
    return out;
  }
};

/// Adds `--<prefix>classes`, `--<prefix>void` and `--<prefix>only`.
inline void add_mask_class_options(CLI::App& app, MaskClasses& s, const std::string& group, const std::string& prefix = "") {
  const std::string void_option = "--" + prefix + "void";
  app.add_option("--" + prefix + "classes", s.classes,
                 "Classes: mask ids 0 to N-1 (default: as many as classes.txt names)")
      ->check(CLI::Range(Index{1}, Index{256}))
      ->default_str("")
      ->group(group);
  std::string voids;
  for (const int id : s.void_ids) voids += join(voids.empty() ? "" : ",", id);
  app.add_option_function<std::vector<std::string>>(
         void_option,
         [&s, void_option](const std::vector<std::string>& texts) {
           s.void_ids.clear();
           s.void_given = true;
           for (const std::string& text : texts) {
             if (text == "none" && texts.size() == 1) return;
             int id = 0;
             const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), id);
             if (problem != std::errc{} || end != text.data() + text.size())
               throw CLI::ValidationError(void_option, join(text, ": expected mask ids joined by commas, or none"));
             s.void_ids.push_back(id);
           }
         },
         join("Mask ids that are ignored, joined by commas, or 'none' (default: ", voids, ")"))
      ->delimiter(',')
      ->group(group);
  app.add_option("--" + prefix + "only", s.only,
                 join("Mask ids that are learned and scored, joined by commas, and not void unless ", void_option,
                      " says so; all others are ignored. 0,255 for masks of black and white"))
      ->delimiter(',')
      ->default_str("")
      ->group(group);
}

/// The names of the classes of a folder in VOC layout, by id: those of its classes.txt, none where it has none. Fills in
/// the number of classes where nobody gave it. Throws `OptionError` naming `field` where nothing says how many there are.
[[nodiscard]] inline std::vector<std::string> settle_classes(MaskClasses& s, const std::string& folder,
                                                             const std::string& field = "classes") {
  const std::string file = folder + "/classes.txt";
  std::vector<std::string> names;
  if (::access(file.c_str(), R_OK) == 0) names = dssl::detail::read_lines(file);
  if (s.classes == 0) s.classes = static_cast<Index>(names.size());
  if (s.classes == 0 && !s.only.empty()) {
    s.classes = std::clamp(Index{1} + *std::max_element(s.only.begin(), s.only.end()), Index{1}, Index{256});
  }
  if (s.classes == 0) throw OptionError(field, "not given", join("a number of classes, as there is no ", file));
  return names;
}

}  // namespace dssl::programs
