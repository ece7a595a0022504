// What a pilot's figures allow to rely on: Wilson's range, the limits of each verdict, and its words.
#include "catch.hpp"

#include <string>

#include <defect_pilot/verdict.hpp>

using namespace dssl;
using namespace dssl::programs;

namespace {

/// How a verdict begins, of so many images with a defect of which none was missed.
std::string of_none_missed(Index images, Index labels = 0, Index good = 1000) {
  const std::string words = verdict({.labels = labels, .good = good, .images = images});
  return words.substr(0, words.find('.'));
}

const std::string sorting = "Can be relied on to sort out these defects, if samples of what it passes are looked at";
const std::string first_sort = "Can be relied on as a first sort, behind which somebody still looks for these defects";
const std::string help = "Can be relied on as a help beside an inspector, not in their place";
const std::string none = "Cannot be relied on to find these defects";

TEST_CASE("a likely share is Wilson's") {
  // Of none of n it is 0 to z^2 / (n + z^2).
  CHECK(likely_share(0, 10, within_95).first == 0);
  CHECK(likely_share(0, 10, within_95).second == Approx(3.841459 / 13.841459).epsilon(1e-6));
  CHECK(likely_share(10, 10, within_95).first == Approx(10 / 13.841459).epsilon(1e-6));
  CHECK(likely_share(10, 10, within_95).second == Approx(1));
  // Of half of 100: 1/2 -+ z / (2 sqrt(100 + z^2)).
  CHECK(likely_share(50, 100, within_95).first == Approx(0.5 - 1.959964 / (2 * 10.190258)).epsilon(1e-6));
  CHECK(likely_share(50, 100, within_95).second == Approx(0.5 + 1.959964 / (2 * 10.190258)).epsilon(1e-6));
  CHECK(likely_share(0, 0, within_95) == std::pair(0.0, 1.0));
}

TEST_CASE("what is relied on is limited by the number of images in the test") {
  // z^2 / (n + z^2) passes 5, 20 and 50 % between these.
  CHECK(of_none_missed(73) == sorting);
  CHECK(of_none_missed(72) == first_sort);
  CHECK(of_none_missed(16) == first_sort);
  CHECK(of_none_missed(15) == help);
  CHECK(of_none_missed(4) == help);
  CHECK(of_none_missed(3) == none);
  CHECK(of_none_missed(0) == none);
  // The better of two ways wants more of them: z^2 is 5.0239 in place of 3.8415.
  CHECK(of_none_missed(96, 10) == sorting);
  CHECK(of_none_missed(95, 10) == first_sort);
  // 5 % of 27 good images may be 20.1 % of all, of 28 19.7 %.
  CHECK(of_none_missed(1000, 0, 28) == sorting);
  CHECK(of_none_missed(1000, 0, 27) == help);
  CHECK(of_none_missed(1000, 0, 0) == help);
}

TEST_CASE("a verdict's words") {
  CHECK(verdict({.without_labels = 0.5, .good = 83, .images = 80}) ==
        none + ". Set to stop 5 of 100 good images, it finds 50 of 100 with a defect without a label; tested by 83 images without a defect and 80 images "
               "with one, it may find 39 to 60 of 100.");
  CHECK(verdict({.without_labels = 0.9, .labels = 1, .with_labels = 0.004, .good = 400, .images = 250, .beside = "size"}) ==
        sorting + ". Set to stop 5 of 100 good images, it finds 10 of 100 with a defect without a label, and 99 with the masks of 1 image; tested by 400 "
                  "images without a defect and 250 images with one, it may find 97 to 99 of 100 with the labels. On other images it may find fewer: the "
                  "size alone tells this test's defects.");
  CHECK(verdict({.without_labels = 0, .labels = 3, .with_labels = 1, .good = 1, .images = 1}) ==
        none + ". Set to stop 5 of 100 good images, it finds 100 of 100 with a defect without a label, and 0 with the masks of 3 images; tested by 1 image "
               "without a defect and 1 image with one, it may find 16 to 100 of 100 without.");
}

}  // namespace
