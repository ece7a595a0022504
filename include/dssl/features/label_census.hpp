// How many pixels of masks each id has, and what becomes of them: classes, void, or claimed by nobody.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/class_map.hpp>

namespace dssl {

/// Pixels of each mask id, as they were looked at: at the size of the labels that a pass renders.
struct LabelCensus {
  std::array<Index, 256> pixels{};

  LabelCensus& operator+=(const LabelCensus& other) {
    for (std::size_t id = 0; id < pixels.size(); ++id) pixels[id] += other.pixels[id];
    return *this;
  }

  [[nodiscard]] bool operator==(const LabelCensus&) const = default;
};

/// Every pixel of the masks of up to `count` samples spread over a source; what cannot be read is passed over.
template <SegmentationSource Source>
[[nodiscard]] LabelCensus sampled_census(const Source& source, Index count) {
  LabelCensus out;
  const Index looks = std::min(count, static_cast<Index>(source.size()));
  for (Index n = 0; n < looks; ++n) {
    try {
      const LabelledImage sample = source.load(n * source.size() / looks);
      for (const std::uint8_t id : sample.mask.pixels()) ++out.pixels[id];
    } catch (const ImageError&) {
      continue;
    }
  }
  return out;
}

/// What a census says of classes. Shares are of all pixels counted.
struct LabelShares {
  Index all = 0;
  Index seen_classes = 0;       ///< classes with a pixel
  double void_share = 0;        ///< of ids that were said to be void, or left out by `ClassOptions::only`
  double unclaimed_share = 0;   ///< of ids that no class claims and nobody called void
  std::string void_ids{};       ///< those that occur, "255" or "3, 255"
  std::string unclaimed_ids{};  ///< the first of them, and how many more
  Index unclaimed_count = 0;
  std::uint8_t only_seen = 0;   ///< the id of the last class seen
  static constexpr Index many = 24;

  /// Test: tests/features/label_census.cpp.
  [[nodiscard]] static LabelShares of(const LabelCensus& census, const ClassMap& classes) {
    LabelShares out;
    Index void_pixels = 0;
    Index unclaimed = 0;
    constexpr Index told = 8;
    Index void_count = 0;
    const auto add = [](std::string& ids, Index& count, std::size_t id) {
      if (++count <= told) ids += join(ids.empty() ? "" : ", ", id);
    };
    for (std::size_t id = 0; id < census.pixels.size(); ++id) {
      const Index count = census.pixels[id];
      if (count == 0) continue;
      const auto own = static_cast<std::uint8_t>(id);
      out.all += count;
      if (classes.class_of(own) != ClassMap::ignored) {
        ++out.seen_classes;
        out.only_seen = own;
      } else if (classes.is_unclaimed(own)) {
        unclaimed += count;
        add(out.unclaimed_ids, out.unclaimed_count, id);
      } else {
        void_pixels += count;
        add(out.void_ids, void_count, id);
      }
    }
    const auto say_rest = [](std::string& ids, Index count) {
      if (count > told) ids += join(" and ", count - told, " more");
    };
    say_rest(out.void_ids, void_count);
    say_rest(out.unclaimed_ids, out.unclaimed_count);
    if (out.all == 0) return out;
    out.void_share = static_cast<double>(void_pixels) / static_cast<double>(out.all);
    out.unclaimed_share = static_cast<double>(unclaimed) / static_cast<double>(out.all);
    return out;
  }

  /// "30.1 % of pixels void (255), 4.5 % of ids that no class claims (3)"; empty where all are of classes. Ids of which many
  /// occur are probably none: that is said.
  [[nodiscard]] std::string text() const {
    const auto percent = [](double share) {
      char number[32];
      std::snprintf(number, sizeof number, "%.1f %%", 100 * share);
      return std::string(number);
    };
    std::string out;
    if (void_share > 0) out = join(percent(void_share), " of pixels void (", void_ids, ")");
    if (unclaimed_share > 0)
      out += join(out.empty() ? "" : ", ", percent(unclaimed_share), out.empty() ? " of pixels" : "",
                  " of ids that no class claims (", unclaimed_ids, unclaimed_count > many ? ": as in masks that were JPEG or resized" : "", ")");
    return out;
  }
};

/// Throws `DataError` where labels tell nothing because they were left out: no class has a pixel in `what`, or of two
/// classes or more only one, and other pixels are void or of ids that no class claims.
inline void require_classes_seen(const LabelCensus& census, const ClassMap& classes, const std::string& what) {
  const LabelShares shares = LabelShares::of(census, classes);
  const std::string left_out = shares.text();
  if (left_out.empty() || (shares.seen_classes > 0 && (classes.classes() < 2 || shares.seen_classes > 1))) return;
  std::string ids;
  for (std::size_t id = 0; id < census.pixels.size(); ++id) {
    if (census.pixels[id] > 0) ids += join(ids.empty() ? "" : ",", id);
  }
  throw DataError(join("in ", what, shares.seen_classes == 0 ? " no class" : join(" only the class of id ", +shares.only_seen),
                       " has a labelled pixel, and ", left_out, "; if these are classes, name their ids, and none of "
                       "them as void (option 'only' ", ids, "; option 'void' without these)"));
}

}  // namespace dssl
