// Where patches of a view lie in its scene, and which of another view's lie there too.
// Tests: tests/loss/pixel_consistency.cpp, tests/train/pixel_term.cpp, dense_terms.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Where a view lies in its image, in any unit that both views share; a grid of rows x cols patches fills it. `left` may be
/// the larger of the two, as in the frame of a mirrored view, which needs no `flipped` then.
struct PatchGrid {
  double left = 0, top = 0, right = 1, bottom = 1;
  Index rows = 1, cols = 1;
  bool flipped = false;  ///< left and right are exchanged in the view

  /// The patches of a view that lies where its frame says.
  static PatchGrid of(const ViewFrame& frame, GridSize size) {
    return {frame.first.x, frame.first.y, frame.last.x, frame.last.y, size.height, size.width, false};
  }

  [[nodiscard]] Index patches() const { return rows * cols; }
  [[nodiscard]] double patch_width() const { return (right - left) / static_cast<double>(cols); }
  [[nodiscard]] double patch_height() const { return (bottom - top) / static_cast<double>(rows); }
  [[nodiscard]] double diagonal() const { return std::hypot(patch_width(), patch_height()); }
  /// Centre of patch p, in row-major order.
  [[nodiscard]] double x(Index p) const {
    const auto col = static_cast<double>(p % cols) + 0.5;
    return flipped ? right - col * patch_width() : left + col * patch_width();
  }
  [[nodiscard]] double y(Index p) const { return top + (static_cast<double>(p / cols) + 0.5) * patch_height(); }
};

/// How near the centres of two views' patches are to be: `ratio` times the larger of the grids' patch diagonals.
[[nodiscard]] inline double reach_of(const PatchGrid& query, const PatchGrid& key, double ratio) {
  return ratio * std::max(query.diagonal(), key.diagonal());
}

/// match (N) = for each patch of `query` the patch of `key` whose centre is nearest to its own, the first among equals; near
/// (N) = 1 where it is nearer than `reach_of`, else 0. Returns how many are. Throws `ShapeError`.
///
/// In the host's memory. A grid's nearest row and nearest column are chosen each by itself.
template <class T>
Index nearest_patches(std::span<std::int32_t> match, std::span<T> near, const PatchGrid& query, const PatchGrid& key,
                      double ratio) {
  require_shape(static_cast<Index>(match.size()) == query.patches() && near.size() == match.size(), "nearest_patches: ",
                match.size(), " partners and ", near.size(), " weights for ", query.patches(), " patches");
  const auto nearest = [](Index count, const auto& distance) {
    Index best = 0;
    for (Index i = 1; i < count; ++i) {
      if (distance(i) < distance(best)) best = i;
    }
    return best;
  };
  const double reach = reach_of(query, key, ratio);
  Index count = 0;
  for (Index n = 0; n < query.patches(); ++n) {
    const double x = query.x(n), y = query.y(n);
    const Index row = nearest(key.rows, [&](Index i) { return std::abs(key.y(i * key.cols) - y); });
    const Index col = nearest(key.cols, [&](Index i) { return std::abs(key.x(i) - x); });
    const Index m = row * key.cols + col;
    const bool is_near = std::hypot(x - key.x(m), y - key.y(m)) < reach;
    match[static_cast<std::size_t>(n)] = static_cast<std::int32_t>(m);
    near[static_cast<std::size_t>(n)] = is_near ? T{1} : T{0};
    count += is_near ? 1 : 0;
  }
  return count;
}

/// Throws `ShapeError` unless the two global views of each of a batch's images say where they lie: frames (V,B).
inline void require_frames(std::span<const ViewFrame> frames, Index images, std::string_view term) {
  const auto batch = static_cast<std::size_t>(images);
  require_shape(frames.size() >= 2 * batch, "the term '", term, "' needs to know where the views lie: ", frames.size(),
                " frames; expected one for each of the ", 2 * batch, " global views");
  for (std::size_t i = 0; i < 2 * batch; ++i) {  // as ViewBatch::of leaves them
    require_shape(frames[i].first.x != frames[i].last.x && frames[i].first.y != frames[i].last.y, "the term '", term,
                  "' needs to know where the views lie: the frame of view ", i / batch, " of image ", i % batch,
                  " has no extent; expected two corners that differ in x and in y");
  }
}

}  // namespace dssl
