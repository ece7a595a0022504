// Rows of earlier batches, the oldest overwritten first: the negatives of MoCo v2 and DenseCL, and what SwAV assigns beside a
// batch. Tests: tests/loss/contrastive.cpp (fixture mocov2), tests/train/swapped_term.cpp (fixture swav).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// The most rows of a queue: pointers of twice as many are exact in float.
inline constexpr Index longest_queue = Index{1} << 23;

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

namespace detail {

/// The row in a queue's state `pointer` (1), which may come from a checkpoint; nothing is read in a rehearsal, which finds
/// `fallback`. Throws `Error` unless it is below `end`.
template <class T, Backend B>
[[nodiscard]] Index row_of_queue(const B& backend, VectorView<T> pointer, Index end, Index fallback = 0) {
  T row = static_cast<T>(fallback);
  backend.download(std::span<T>(&row, 1), static_cast<const T*>(pointer.data()));
  if (!(row >= 0 && row < static_cast<T>(end)))
    throw Error(join("the pointer of the queue, 'queue_ptr', is ", row, "; expected 0 to ", end - 1));
  return static_cast<Index>(row);
}

}  // namespace detail

/// A queue in a training step: lasting state with its pointer, which begins with random unit vectors of the run's seed.
template <class T>
class StepQueue {
 public:
  /// `stream`: tells the queues of one run apart. Throws `OptionError` where a batch has more images than there are keys.
  template <Backend B>
  void place_lasting(const B& backend, Arena& arena, Index keys, Index width, Index batch, std::uint64_t seed,
                     std::uint64_t stream) {
    if (batch > keys) throw OptionError("batch", batch, join("at most the keys of the queue, ", keys));
    x_queue = KeyQueue<T>::take(arena, keys, width);
    x_pointer = arena.vector<T>(1);
    RandomStream random({.seed = seed, .sample = stream, .purpose = Purpose::initialise});
    x_queue.begin(backend, random);
  }
  [[nodiscard]] MatrixView<const T> rows() const { return x_queue.rows; }

  /// Enqueues the keys of an update: after its last pass, and nowhere else. Throws `Error` where a checkpoint has put the
  /// pointer outside the queue.
  template <Backend B>
  void update(const B& backend, MatrixView<const T> keys) {
    x_queue.pointer = detail::row_of_queue(backend, x_pointer, x_queue.rows.rows());
    x_queue.enqueue(backend, keys);
    const T pointer = static_cast<T>(x_queue.pointer);
    backend.upload(x_pointer.data(), std::span<const T>(&pointer, 1));
  }
  /// `queue` (K,D) and `queue_ptr` (1), after `prefix`.
  template <class F>
  void for_each_state(std::string_view prefix, F&& f) const {
    f(join(prefix, "queue"), VectorView<T>(x_queue.rows.data(), x_queue.rows.size()),
      std::vector<Index>{x_queue.rows.rows(), x_queue.rows.cols()});
    f(join(prefix, "queue_ptr"), x_pointer, std::vector<Index>{1});
  }

 private:
  KeyQueue<T> x_queue;
  VectorView<T> x_pointer;
};

/// Queues side by side in a training step, Q rows each, that begin empty and are read once they are full: SwAV's, one for each
/// view that assigns. Lasting state with their pointer, which is below Q until they are.
template <class T>
class FillingQueues {
 public:
  /// Throws `OptionError` where a batch has more images than a queue has rows.
  template <Backend B>
  void place_lasting(const B& backend, Arena& arena, Index queues, Index length, Index width, Index batch) {
    if (batch > length) throw OptionError("batch", batch, join("at most the rows of the queue, ", length));
    x_queues = queues;
    x_length = length;
    x_next = 0;
    x_rows = arena.matrix<T>(queues * length, width);
    x_pointer = arena.vector<T>(1);
    if (x_rows.data() == nullptr) return;
    backend.fill(numbers_of(x_rows), T{0});
    backend.fill(x_pointer, T{0});
  }

  /// Takes note of where the queues stand: before the passes of an update, and nowhere else. Throws `Error` where a checkpoint
  /// has put the pointer outside of them.
  template <Backend B>
  void look(const B& backend) {
    // A rehearsal is one of full queues: these need most.
    x_next = detail::row_of_queue(backend, x_pointer, 2 * x_length, x_length);
  }
  /// Whether every row has been written, when last looked at.
  [[nodiscard]] bool full() const { return x_length > 0 && x_next >= x_length; }
  /// A queue (Q,D) once it is full, nothing before.
  [[nodiscard]] MatrixView<const T> rows(Index queue) const {
    if (!full()) return {};
    return x_rows.rows(queue * x_length, x_length);
  }

  /// Writes as many rows to each queue, (queues M,D) in its order: in an update, after its last pass.
  template <Backend B>
  void enqueue(const B& backend, MatrixView<const T> rows) {
    const Index each = rows.rows() / x_queues;
    for (Index queue = 0; queue < x_queues; ++queue) {
      KeyQueue<T> one{x_rows.rows(queue * x_length, x_length), x_next % x_length};
      one.enqueue(backend, rows.rows(queue * each, each));
    }
    x_next += each;
    if (x_next >= 2 * x_length) x_next -= x_length;
    const T pointer = static_cast<T>(x_next);
    backend.upload(x_pointer.data(), std::span<const T>(&pointer, 1));
  }
  /// `queue` (queues,Q,D) and `queue_ptr` (1), after `prefix`: the row that is written next, plus Q once all have been.
  template <class F>
  void for_each_state(std::string_view prefix, F&& f) const {
    f(join(prefix, "queue"), numbers_of(x_rows), std::vector<Index>{x_queues, x_length, x_rows.cols()});
    f(join(prefix, "queue_ptr"), x_pointer, std::vector<Index>{1});
  }

 private:
  Index x_queues = 0, x_length = 0;
  Index x_next = 0;      // what `x_pointer` holds
  MatrixView<T> x_rows;  // (queues Q,D)
  VectorView<T> x_pointer;
};

}  // namespace dssl
