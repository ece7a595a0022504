// Keys of earlier batches, the oldest overwritten first: the negatives of MoCo v2 and DenseCL.
// Tests: tests/loss/contrastive.cpp (fixture mocov2).
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// K unit vectors (K,D), row by row (the published buffer `queue` is this transposed), and the row that is written next.
///
/// A loss reads the queue as it stood before the batch; `enqueue` is the caller's, in the update, so that a pass that is
/// done twice reads the same. State: `rows` and `pointer` (published: `queue_ptr`).
template <class T>
struct KeyQueue {
  MatrixView<T> rows;  // (K,D)
  Index pointer = 0;

  static KeyQueue take(Arena& arena, Index keys, Index width) { return {arena.matrix<T>(keys, width), 0}; }

  /// Random unit vectors, as the published queues begin. Uploads; nothing where the arena only measured.
  template <class B>
  void begin(const B& backend, RandomStream& random) {
    pointer = 0;
    if (rows.data() == nullptr) return;
    std::vector<T> key(static_cast<std::size_t>(rows.cols()));
    for (Index k = 0; k < rows.rows(); ++k) {
      double squares = 0;
      std::vector<double> drawn(key.size());
      for (double& v : drawn) {
        v = random.normal();
        squares += v * v;
      }
      std::transform(drawn.begin(), drawn.end(), key.begin(),
                     [&](double v) { return static_cast<T>(v / std::sqrt(squares)); });
      backend.upload(rows.row(k), std::span<const T>(key));
    }
  }

  /// Writes keys (M,D) over the oldest rows and goes on behind the last one, from the end to the beginning where it comes
  /// to that. (Published queues must be a multiple of the batch; this one need not.) Throws `ShapeError` where more keys
  /// come than there is room for.
  template <class B>
  void enqueue(const B& backend, MatrixView<const T> keys) {
    require_shape(keys.rows() <= rows.rows() && keys.cols() == rows.cols(), "KeyQueue: ", keys.rows(), " keys of width ",
                  keys.cols(), " for a queue of ", rows.rows(), " of width ", rows.cols());
    const Index before_end = std::min(keys.rows(), rows.rows() - pointer);
    backend.copy_rows(rows.rows(pointer, before_end), {}, keys.rows(0, before_end), {});
    const Index rest = keys.rows() - before_end;
    if (rest > 0) backend.copy_rows(rows.rows(0, rest), {}, keys.rows(before_end, rest), {});
    pointer = (pointer + keys.rows()) % rows.rows();
  }
};

}  // namespace dssl
