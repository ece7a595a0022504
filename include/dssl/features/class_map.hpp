// Which ids of a mask are which classes of a classifier.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// What ids of a mask mean.
struct ClassOptions {
  Index classes = 21;              ///< ids 0 .. classes-1 are classes, all others are ignored
  std::vector<int> void_ids{255};  ///< ids that are ignored though they may be below `classes`; empty: none is
  /// Not empty: these ids alone are classes, whatever `classes` is, and all others are ignored: {0, 255} for
  /// masks of black and white.
  std::vector<int> only{};
};

/// The map from mask ids (0..255) to the C classes that are learned and scored, numbered 0..C-1 in the order
/// of ids.
///
/// Test: tests/features/labelled_input.cpp.
class ClassMap {
 public:
  /// Throws `OptionError` naming the field and the id.
  explicit ClassMap(const ClassOptions& options) {
    if (options.classes < 1 || options.classes > 256)
      throw OptionError("classes", options.classes, "1 to 256");
    std::array<bool, 256> scored{};
    // Who names the ids that count leaves the others out knowingly.
    for (std::size_t id = 0; id < scored.size(); ++id)
      x_unclaimed[id] = options.only.empty() && static_cast<Index>(id) >= options.classes;
    for (Index id = 0; id < options.classes; ++id)
      scored[static_cast<std::size_t>(id)] = options.only.empty();
    for (const int id : options.only) {
      if (id < 0 || id > 255) throw OptionError("only", id, "ids from 0 to 255");
      if (scored[static_cast<std::size_t>(id)]) throw OptionError("only", id, "each id once");
      scored[static_cast<std::size_t>(id)] = true;
    }
    for (const int id : options.void_ids) {
      if (id < 0 || id > 255) throw OptionError("void", id, "ids from 0 to 255");
      if (!options.only.empty() && scored[static_cast<std::size_t>(id)]) {
        throw OptionError("only", id, "ids that are not void");
      }
      scored[static_cast<std::size_t>(id)] = false;
      x_unclaimed[static_cast<std::size_t>(id)] = false;
    }
    for (std::size_t id = 0; id < scored.size(); ++id) {
      x_class[id] = ignored;
      if (!scored[id]) continue;
      x_class[id] = static_cast<std::uint8_t>(x_ids.size());
      x_ids.push_back(static_cast<std::uint8_t>(id));
    }
    if (x_ids.empty()) throw OptionError("classes", options.classes, "at least one class that is not void");
    if (x_ids.size() > ignored)
      throw OptionError("classes", x_ids.size(), "at most 255 classes that are not void");
  }

  static constexpr std::uint8_t ignored = 255;

  /// C.
  [[nodiscard]] Index classes() const { return static_cast<Index>(x_ids.size()); }
  /// The class of a mask id, or `ignored`.
  [[nodiscard]] std::uint8_t class_of(std::uint8_t id) const { return x_class[id]; }
  /// Whether an id is ignored though nobody said so: it is neither a class, nor void, nor left out by `only`.
  [[nodiscard]] bool is_unclaimed(std::uint8_t id) const { return x_unclaimed[id]; }
  /// The mask id of each class, ascending.
  [[nodiscard]] std::span<const std::uint8_t> ids() const { return x_ids; }
  [[nodiscard]] std::uint8_t id_of(Index c) const { return x_ids[static_cast<std::size_t>(c)]; }

 private:
  std::array<std::uint8_t, 256> x_class{};
  std::array<bool, 256> x_unclaimed{};
  std::vector<std::uint8_t> x_ids;
};

}  // namespace dssl
