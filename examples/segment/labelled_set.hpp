// The data sets dssl-segment reads, behind one type.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <dssl/data/source.hpp>

#include "segment/settings.hpp"

namespace dssl::programs {

/// A labelled source whose kind is known at run time.
struct LabelledSet {
  Index count = 0;
  std::function<std::string(Index)> name_of;
  std::function<std::string(Index)> short_name_of;  ///< for file names
  std::function<LabelledImage(Index)> load_one;

  [[nodiscard]] Index size() const { return count; }
  [[nodiscard]] std::string name(Index i) const { return name_of(i); }
  [[nodiscard]] LabelledImage load(Index i) const { return load_one(i); }
};

static_assert(SegmentationSource<LabelledSet>);

struct LabelledSets {
  LabelledSet train, val;
  std::vector<std::string> class_names;  ///< by id; empty where nobody names them
};

/// Opens both splits, and fills in the number of classes where it was not given.
/// Throws `DataError`, `OptionError`.
[[nodiscard]] LabelledSets open_sets(SegmentSettings& settings);

}  // namespace dssl::programs
