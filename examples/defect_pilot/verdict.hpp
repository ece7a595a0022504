// What figures of a test allow somebody to rely on.
#pragma once

#include <string>
#include <utility>

#include <dssl/core/tensor_view.hpp>

namespace dssl::programs {

/// Standard deviations that a normal number is within, 95 times of 100; and two of them both (Bonferroni).
inline constexpr double within_95 = 1.959964, both_within_95 = 2.241403;

/// The least and the largest share of all there are that `count` of `images` is likely to stand for (Wilson 1927): of 100 such
/// ranges 95 hold it, by `within_95`, where images are independent; of one piece they are not, and it is wider. Of no image: 0 to 1.
[[nodiscard]] std::pair<double, double> likely_share(double count, Index images, double deviations);

/// What was missed of a test's images with a defect, at 5 % false alarms.
struct Missed {
  double without_labels = 0;
  Index labels = 0;        ///< masks that a way learned from; 0: none did
  double with_labels = 0;  ///< that way's
  Index good = 0;          ///< the test's images without a defect
  Index images = 0;        ///< and with one
  std::string beside{};    ///< what tells them apart and is no defect; empty: nothing
};

/// What can be relied on and why, without words of the field. By what the better of both ways may miss at the worst
/// (`likely_share`, wider where there are two to choose from): at most 5 %, sorting; 20 %, a first sort; 50 %, a help; else
/// nothing. Where the test has so few good images that 5 % false alarms may be more than 20 %, no more than a help.
/// Test: tests/programs/verdict.cpp.
[[nodiscard]] std::string verdict(const Missed& missed);

}  // namespace dssl::programs
