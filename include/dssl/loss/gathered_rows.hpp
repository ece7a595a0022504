// Rows of all ranks on each of them, for terms that need the batch whole; and the gradients of this rank's own.
// Tests: tests/train/ranks.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/over_ranks.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/term.hpp>

namespace dssl {

/// A term's rows of the whole batch, where its images lie on several ranks: (groups B,D), a group a view, the images of each
/// in the order of the batch.
///
/// Every rank does the term's work for all rows, batch norms and matrices included, so that the term's loss and the
/// gradients of its parameters are the same on all of them, each a share 1 / size of the sum over ranks
/// (`TermSetting::share`). The gradients of this rank's rows are not: they are the share times size. Bytes sent a pass
/// (size - 1) of the rank's rows; the work of heads is not divided. For a rank alone these are plain copies.
template <class T>
class GatheredRows {
 public:
  GatheredRows() = default;
  /// `each`: rows of a group on this rank.
  GatheredRows(const Communicator& ranks, Index groups, Index each) : x_ranks(ranks), x_groups(groups), x_each(each) {}

  /// Those of all ranks.
  [[nodiscard]] Index rows() const { return x_groups * x_each * x_ranks.size(); }
  /// Those of this one.
  [[nodiscard]] Index own_rows() const { return x_groups * x_each; }

  template <Backend B>
  void place_lasting(const B& backend, Arena& arena) {
    if (x_ranks.alone()) return;
    std::vector<std::int32_t> own;
    for (Index row = 0; row < own_rows(); ++row) {
      own.push_back(static_cast<std::int32_t>(row * x_ranks.size() + x_ranks.rank()));
    }
    x_own = place_copy(backend, arena, own);
  }
  /// Buffers of `put_gradients`, of rows of a width.
  void place_gradients(Arena& arena, Index width) {
    if (x_ranks.alone()) return;
    x_picked = arena.matrix<T>(own_rows(), width);
    x_scaled = arena.matrix<T>(own_rows(), width);
  }

  /// out (groups B,D) = the rows of all ranks, `own` of this one.
  template <Backend B>
  void gather(const B& backend, MatrixView<T> out, MatrixView<const T> own) const {
    gather_over_ranks(backend, x_ranks, out, own, x_groups);
  }
  /// The gradients d (groups B,D) of the rows of this rank to where they go, as `dssl::put_gradients`.
  template <Backend B>
  void put_gradients(const B& backend, MatrixView<T> to, RowIndex rows, MatrixView<const T> d, bool adds) const {
    if (x_ranks.alone()) return dssl::put_gradients(backend, to, rows, d, adds);
    backend.copy_rows(x_picked, {}, d, x_own);
    backend.fill(numbers_of(x_scaled), T{0});
    backend.add_scaled(numbers_of(x_scaled), numbers_of(x_picked), static_cast<double>(x_ranks.size()));
    dssl::put_gradients(backend, to, rows, x_scaled, adds);
  }

 private:
  Communicator x_ranks;
  Index x_groups = 0, x_each = 0;
  RowIndex x_own;
  MatrixView<T> x_picked, x_scaled;  // (own rows,D)
};

}  // namespace dssl
