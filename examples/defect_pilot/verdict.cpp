// What figures of a test allow somebody to rely on.
#include "defect_pilot/verdict.hpp"

#include <algorithm>
#include <cmath>

#include <dssl/core/text.hpp>

namespace dssl::programs {

std::pair<double, double> likely_share(double found, Index images) {
  if (images == 0) return {0, 1};
  constexpr double z = 1.959963985;  // of 95 %
  const double n = static_cast<double>(images), share = found / n;
  const double middle = (share + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n);
  return {std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

std::string verdict(const Missed& missed) {
  const bool labelled = missed.labels > 0;
  const double best = labelled ? std::min(missed.without_labels, missed.with_labels) : missed.without_labels;
  const auto [least, worst] = likely_share(best * static_cast<double>(missed.images), missed.images);
  const auto of_100 = [](double share) { return std::lround(100 * (1 - share)); };
  const char* relied = worst <= 0.05   ? "Can be relied on to sort out these defects, if samples of what it passes are looked at"
                       : worst <= 0.2 ? "Can be relied on as a first sort, behind which somebody still looks for these defects"
                       : worst <= 0.5 ? "Can be relied on as a help beside an inspector, not in their place"
                                      : "Cannot be relied on to find these defects";
  return join(relied, ". Set to stop 5 of 100 good images, it finds ", of_100(missed.without_labels), " of 100 with a defect without a label",
              labelled ? join(", and ", of_100(missed.with_labels), " with the masks of ", missed.labels, missed.labels == 1 ? " image" : " images")
                       : std::string(),
              "; ", missed.images, missed.images == 1 ? " image" : " images", " with a defect tested it, so ", labelled ? "the better of both" : "it",
              " may be ", of_100(worst), " to ", of_100(least), " of 100.");
}

}  // namespace dssl::programs
