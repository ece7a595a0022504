// A teacher's map read for the student's patches, where both see one view in patches of other sizes.
// Tests: tests/train/imitation_term.cpp, snapshot_views.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Maps of I views of images, each of one grid of patches, read at the centres of another grid over the same view, as a
/// position table is read at other sizes (`grid_reads`). Equal grids are copied.
template <Backend B>
class ResizedMap {
 public:
  using T = typename B::Scalar;

  ResizedMap() = default;
  /// Of so many views `images`, from patches `from` to patches `to` by `rule`.
  ResizedMap(GridSize to, GridSize from, PositionRule rule, Index images) {
    if (from == to) return;
    const auto one = grid_reads<T>(to, from, rule);
    auto rows = static_cast<std::int32_t>(from.size());  // that a read has of a view of an image
    for (const std::vector<Taps<T>>& read : one) {
      std::vector<Taps<T>>& all = x_reads.emplace_back();
      for (std::int32_t image = 0; image < static_cast<std::int32_t>(images); ++image) {
        for (Taps<T> taps : read) {
          for (std::int32_t& row : taps.row) row += image * rows;
          all.push_back(taps);
        }
      }
      rows = static_cast<std::int32_t>(read.size());
    }
  }

  /// Takes room for the reads, and for what all but the last one give, rows of so many numbers.
  void place(const B& backend, Arena& arena, Index width) {
    x_taps.clear();
    x_between.clear();
    for (std::size_t read = 0; read < x_reads.size(); ++read) {
      x_taps.push_back(place_copy(backend, arena, x_reads[read]));
      if (read + 1 < x_reads.size()) x_between.push_back(arena.matrix<T>(x_taps.back().size(), width));
    }
  }

  /// out (I N,D) = maps (I N',D) at the centres of the N patches.
  void read(const B& backend, MatrixView<T> out, MatrixView<const T> maps) const {
    if (x_taps.empty()) {
      backend.copy_rows(out, {}, maps.rows(0, out.rows()), {});
      return;
    }
    for (std::size_t read = 0; read < x_taps.size(); ++read) {
      const MatrixView<T> to = read < x_between.size() ? x_between[read] : out;
      backend.sample_rows_forward(to, maps, x_taps[read]);
      maps = to;
    }
  }

 private:
  std::vector<std::vector<Taps<T>>> x_reads;
  std::vector<VectorView<const Taps<T>>> x_taps;
  std::vector<MatrixView<T>> x_between;
};

}  // namespace dssl
