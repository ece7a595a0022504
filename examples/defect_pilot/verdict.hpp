// What figures of a test allow somebody to rely on.
#pragma once

#include <string>
#include <utility>

#include <dssl/core/tensor_view.hpp>

namespace dssl::programs {

/// The least and the largest share that `found` of `images` is likely to be of all there are: 95 in 100 such ranges hold it
/// (Wilson 1927), where images are independent; of one piece they are not, and it is wider. Of no image: 0 to 1.
[[nodiscard]] std::pair<double, double> likely_share(double found, Index images);

/// What was missed of a test's images with a defect, at 5 % false alarms.
struct Missed {
  double without_labels = 0;
  Index labels = 0;         ///< masks that a way learned from; 0: none did
  double with_labels = 0;   ///< that way's
  Index images = 0;         ///< with a defect in the test
};

/// One sentence on what can be relied on, and one on why, without words of the field. By what may be missed at the worst of the
/// better of both ways (`likely_share`): 5 % at most, sorting; 20 %, a first sort; 50 %, a help; else nothing.
[[nodiscard]] std::string verdict(const Missed& missed);

}  // namespace dssl::programs
