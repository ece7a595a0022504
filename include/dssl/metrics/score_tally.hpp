// Scores of positives and negatives, counted in bounded memory.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// How much a tally may hold.
struct ScoreTallyOptions {
  /// Different scores that are told apart, at most; memory is bounded by 80 bytes for each.
  Index distinct = Index{1} << 20;

  /// Throws `OptionError` naming the field.
  void validate() const {
    // One for each sign and exponent of a double: so few always suffice.
    if (distinct < 4096) throw OptionError("distinct", distinct, "at least 4096");
  }
};

namespace detail {

/// A number's bits in an order that integers share: a < b exactly where key(a) < key(b); -0 is 0.
[[nodiscard]] inline std::uint64_t score_key(double score) {
  const auto bits = std::bit_cast<std::uint64_t>(score + 0.0);
  constexpr std::uint64_t sign = std::uint64_t{1} << 63;
  return (bits & sign) != 0 ? ~bits : bits | sign;
}

/// The smallest number, infinities among them, whose key is at least this one.
[[nodiscard]] inline double score_of_key(std::uint64_t key) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  constexpr std::uint64_t sign = std::uint64_t{1} << 63;
  if (key <= score_key(-infinity)) return -infinity;
  return std::bit_cast<double>((key & sign) != 0 ? key & ~sign : ~key);
}

}  // namespace detail

/// How much of each kind there is at every score: what every ranking metric is computed from.
///
/// Exact, equal scores together, as long as no more than `distinct` different scores come (an 8-bit heat map
/// has 256, however many pixels are counted). Beyond that the lowest bits of the scores are dropped, as few
/// as bring their number down to `distinct`: scores that agree in the others count as equal, `exact()` is
/// false, and each metric has a bound of the error that comes from it. Which bits are dropped depends on the
/// scores alone, not on their order or on how they were handed over. With the default and scores of one order
/// of magnitude that is a relative step of about 1e-6.
/// Cost O(n log distinct); at most 80 bytes of memory for each of `distinct` scores, allocated as they come.
/// One thread at a time, calls of const members included: what came last is sorted in when it is asked for.
/// Test: tests/metrics/score_tally.cpp.
class ScoreTally {
 public:
  /// Throws `OptionError`.
  explicit ScoreTally(const ScoreTallyOptions& options = {}) : x_options((options.validate(), options)) {}

  /// Counts one score. `mass` is what it weighs: 1, or a share of a region; above 0.
  /// Throws `NonFiniteError` for a score that is not a number; infinities have their place.
  void add(double score, bool positive, double mass = 1.0) {
    if (!(score == score)) throw NonFiniteError("ranking: a score is not a number");
    if (!(mass > 0)) throw OptionError("mass", mass, "above 0");
    x_push({detail::score_key(score), positive ? mass : -mass});
    (positive ? x_positives : x_negatives) += mass;
  }

  /// Counts scores with their labels; a label that is not 0 is positive. Throws `ShapeError` as well.
  template <class Score, class Label>
  void add(std::span<const Score> scores, std::span<const Label> labels) {
    require_shape(scores.size() == labels.size(), "ranking: ", scores.size(), " scores for ", labels.size(),
                  " labels");
    for (std::size_t i = 0; i < scores.size(); ++i)
      add(static_cast<double>(scores[i]), labels[i] != Label{0});
  }

  /// Counts what another tally holds; the result is exact only if both are and it fits.
  void add(const ScoreTally& other) {
    other.x_merge();
    x_coarser(other.x_dropped);
    const std::vector<Entry> entries = other.x_entries;  // which may be this tally's own
    for (const Entry& entry : entries) {
      if (entry.positives > 0) x_push({entry.key, entry.positives});
      if (entry.negatives > 0) x_push({entry.key, -entry.negatives});
    }
    x_positives += other.x_positives;
    x_negatives += other.x_negatives;
  }

  /// Sum of the masses of each kind; their number where each weighs 1.
  [[nodiscard]] double positives() const { return x_positives; }
  [[nodiscard]] double negatives() const { return x_negatives; }

  /// Whether every score was kept as it is.
  [[nodiscard]] bool exact() const {
    x_merge();
    return x_dropped == 0;
  }

  /// Different scores held.
  [[nodiscard]] Index distinct() const {
    x_merge();
    return static_cast<Index>(x_entries.size());
  }

  /// Calls group(threshold, positives, negatives) for every different score, from the highest down: the
  /// masses of what scores at least `threshold` and was not in a group before.
  template <class Group>
  void each_group(const Group& group) const {
    x_merge();
    for (auto entry = x_entries.rbegin(); entry != x_entries.rend(); ++entry) {
      group(detail::score_of_key(entry->key), entry->positives, entry->negatives);
    }
  }

  /// Throws `DataError` that says what is missing unless there are both positives and negatives.
  void require_both() const {
    if (x_positives > 0 && x_negatives > 0) return;
    throw DataError(x_positives > 0   ? "ranking: all scores are of positives; negatives are needed as well"
                    : x_negatives > 0 ? "ranking: all scores are of negatives; positives are needed as well"
                                      : "ranking: there are no scores");
  }

 private:
  struct Entry {
    std::uint64_t key;
    double positives;
    double negatives;
  };
  struct Fresh {
    std::uint64_t key;
    double mass;  // of a positive; minus that of a negative
  };

  /// Few at a time beside the entries, so that merging needs little room.
  void x_push(const Fresh& fresh) {
    if (static_cast<Index>(x_fresh.size()) >= x_options.distinct / 4) x_merge();
    x_fresh.push_back(fresh);
  }

  /// Sorts what came since the last time into the entries, and drops bits where there are too many. The
  /// contents do not change by it, only how they are held: hence const.
  void x_merge() const {
    if (x_fresh.empty()) return;
    const std::uint64_t mask = ~std::uint64_t{0} << x_dropped;
    for (Fresh& fresh : x_fresh) fresh.key &= mask;
    // Stable: masses add up in the order in which they came.
    std::stable_sort(x_fresh.begin(), x_fresh.end(),
                     [](const Fresh& a, const Fresh& b) { return a.key < b.key; });
    std::vector<Entry> merged;
    merged.reserve(x_entries.size() + x_fresh.size());
    auto old = x_entries.begin();
    for (const Fresh& fresh : x_fresh) {
      while (old != x_entries.end() && old->key <= fresh.key) merged.push_back(*old++);
      if (merged.empty() || merged.back().key != fresh.key) merged.push_back({fresh.key, 0, 0});
      (fresh.mass > 0 ? merged.back().positives : merged.back().negatives) += std::abs(fresh.mass);
    }
    merged.insert(merged.end(), old, x_entries.end());
    x_entries.swap(merged);
    x_fresh.clear();
    if (static_cast<Index>(x_entries.size()) > x_options.distinct) x_thin();
  }

  /// Drops as many bits as bring the number of entries down to the limit.
  void x_thin() const {
    // Neighbours fall together once all the bits in which they differ are dropped.
    std::vector<Index> apart(65, 0);
    for (std::size_t i = 1; i < x_entries.size(); ++i) {
      ++apart[static_cast<std::size_t>(std::bit_width(x_entries[i - 1].key ^ x_entries[i].key))];
    }
    auto left = static_cast<Index>(x_entries.size());
    int dropped = 0;
    while (left > x_options.distinct) left -= apart[static_cast<std::size_t>(++dropped)];
    x_coarser(dropped);
  }

  void x_coarser(int dropped) const {
    x_merge();
    if (dropped <= x_dropped) return;
    x_dropped = dropped;
    const std::uint64_t mask = ~std::uint64_t{0} << x_dropped;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < x_entries.size(); ++i) {
      const Entry entry = x_entries[i];
      if (kept > 0 && x_entries[kept - 1].key == (entry.key & mask)) {
        x_entries[kept - 1].positives += entry.positives;
        x_entries[kept - 1].negatives += entry.negatives;
      } else {
        x_entries[kept++] = {entry.key & mask, entry.positives, entry.negatives};
      }
    }
    x_entries.resize(kept);
  }

  ScoreTallyOptions x_options;
  double x_positives = 0;
  double x_negatives = 0;
  mutable std::vector<Entry> x_entries;  // ascending keys
  mutable std::vector<Fresh> x_fresh;
  mutable int x_dropped = 0;  // lowest bits of the keys that are not looked at
};

}  // namespace dssl
