// Labels of images as numbers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/data/image_files.hpp>

namespace dssl::programs {

/// The labels of a training set in their order, and each image's number among them.
class ClassNames {
 public:
  /// Throws `DataError` for a set of one class.
  explicit ClassNames(const ImageFiles& train) {
    std::set<std::string> names;
    for (Index i = 0; i < train.size(); ++i) names.insert(train.label(i));
    x_names.assign(names.begin(), names.end());
    if (x_names.size() < 2)
      throw DataError(
          join("all training images are of one class, '", x_names.front(), "'; at least 2 are needed"));
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(x_names.size()); }
  [[nodiscard]] const std::vector<std::string>& names() const { return x_names; }

  /// Throws `DataError` for a class that no training image has.
  [[nodiscard]] std::vector<std::int64_t> of(const ImageFiles& files) const {
    std::vector<std::int64_t> out;
    for (Index i = 0; i < files.size(); ++i) {
      const auto found = std::lower_bound(x_names.begin(), x_names.end(), files.label(i));
      if (found == x_names.end() || *found != files.label(i)) {
        throw DataError(
            join(files.name(i), ": is of class '", files.label(i), "', which no training image has"));
      }
      out.push_back(found - x_names.begin());
    }
    return out;
  }

 private:
  std::vector<std::string> x_names;
};

}  // namespace dssl::programs
