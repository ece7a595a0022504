// What figures of a test allow somebody to rely on.
#include "defect_pilot/verdict.hpp"

#include <algorithm>
#include <cmath>

#include <dssl/core/text.hpp>

namespace dssl::programs {

std::pair<double, double> likely_share(double count, Index images, double deviations) {
  if (images == 0) return {0, 1};
  const double n = static_cast<double>(images), share = count / n, z = deviations * deviations / n;
  const double middle = (share + z / 2) / (1 + z), half = std::sqrt(z * (share * (1 - share) + z / 4)) / (1 + z);
  return {std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

std::string verdict(const Missed& missed) {
  const bool labelled = missed.labels > 0, by_labels = labelled && missed.with_labels < missed.without_labels;
  const double best = by_labels ? missed.with_labels : missed.without_labels;
  const auto [least, worst] =
      likely_share(best * static_cast<double>(missed.images), missed.images, labelled ? both_within_95 : within_95);
  const double stopped = likely_share(0.05 * static_cast<double>(missed.good), missed.good, within_95).second;
  // Of 100, so that 100 is none missed.
  const auto found = [](double share) { return static_cast<Index>(std::floor(100 * (1 - share) + 1e-9)); };
  const bool few = stopped > 0.2;
  const char* relied = worst <= 0.05 && !few   ? "Can be relied on to sort out these defects, if samples of what it passes are looked at"
                       : worst <= 0.2 && !few ? "Can be relied on as a first sort, behind which somebody still looks for these defects"
                       : worst <= 0.5         ? "Can be relied on as a help beside an inspector, not in their place"
                                              : "Cannot be relied on to find these defects";
  const auto images = [](Index n, const char* what) { return join(n, n == 1 ? " image " : " images ", what); };
  std::string out = join(relied, ". Set to stop 5 of 100 good images, it finds ", found(missed.without_labels), " of 100 with a defect without a label");
  if (labelled) out += join(", and ", found(missed.with_labels), " with the masks of ", missed.labels, missed.labels == 1 ? " image" : " images");
  out += join("; tested by ", images(missed.good, "without a defect"), " and ", images(missed.images, "with one"), ", it may find ", found(worst), " to ",
              found(least), " of 100", labelled ? by_labels ? " with the labels" : " without" : "", ".");
  if (!missed.beside.empty()) out += join(" On other images it may find fewer: the ", missed.beside, " alone tells this test's defects.");
  return out;
}

}  // namespace dssl::programs
