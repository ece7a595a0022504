// Some of many rows, chosen by counter-based random numbers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// At most `count` different numbers out of 0 .. n - 1, all alike in chance, ascending.
///
/// Each number draws from [0, 1) and the lowest draws are taken, so a larger `count` only adds to a smaller
/// one's choice. O(n). Depends on its arguments alone. Test: tests/search/kmeans.cpp.
[[nodiscard]] inline std::vector<std::int32_t> sample_rows(Index n, Index count, const RandomKey& key) {
  RandomStream random(key);
  std::vector<std::pair<double, std::int32_t>> drawn;
  for (Index i = 0; i < n; ++i) drawn.emplace_back(random.uniform(), static_cast<std::int32_t>(i));
  const Index taken = std::clamp<Index>(count, 0, std::max<Index>(n, 0));
  std::nth_element(drawn.begin(), drawn.begin() + taken, drawn.end());
  std::vector<std::int32_t> out;
  for (Index i = 0; i < taken; ++i) out.push_back(drawn[static_cast<std::size_t>(i)].second);
  std::sort(out.begin(), out.end());
  return out;
}

/// 0 .. n - 1 in an order drawn with the key: for an epoch's samples. O(n). Test: tests/search/kmeans.cpp.
[[nodiscard]] inline std::vector<Index> shuffled(Index n, const RandomKey& key) {
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), Index{0});
  RandomStream random(key);
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
  return order;
}

/// Whether number i of 0 .. n - 1 lies in block `fold` of `folds`: neighbours, which are often of one piece, in one block but at
/// its ends. Test: tests/search/kmeans.cpp.
[[nodiscard]] constexpr bool in_block(Index i, Index n, Index fold, Index folds) { return i * folds / n == fold; }

/// The share of image i of n in `total` rows: whole numbers that differ by at most 1 and sum to `total`.
[[nodiscard]] constexpr Index row_quota(Index i, Index n, Index total) {
  return (i + 1) * total / n - i * total / n;
}

}  // namespace dssl
