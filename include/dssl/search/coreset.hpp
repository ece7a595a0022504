// Few rows that lie close to all: greedy k-centre selection.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <stop_token>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Numbers of a coreset.
struct CoresetOptions {
  Index size = 0;        ///< rows to choose; all of them where there are no more
  Index projection = 0;  ///< distances are taken after a random projection to this width; 0: as the rows are
  std::uint64_t seed = 0;

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (size < 1) throw OptionError("size", size, "at least 1");
    if (projection < 0) throw OptionError("projection", projection, "0 (off) or a width");
  }
};

/// The rows chosen, in order, and how far the farthest row lies from the nearest of them.
struct Coreset {
  std::vector<std::int32_t> rows;
  double radius = 0;  ///< in the width that distances were taken in
};

namespace detail {

/// The work of `greedy_coreset` on rows (n,W).
///
/// Each row's squared distance to the chosen ones is kept on the host. Bringing all of them up to date after
/// each choice would be one pass over the rows for one column of a product; so it is done for `pending`
/// choices at once. Between two such passes the next choice is sought among the `candidates` that lay
/// farthest in the last one, which are kept up to date: distances only fall, so the farthest candidate is the
/// farthest row as long as it lies beyond where the first row outside them lay. The choices are those of the
/// plain algorithm, ties going to the lower row.
template <Backend B>
class CoresetSearch {
 public:
  using T = typename B::Scalar;
  static constexpr Index pending = 32;  ///< a panel of the Cpu backend's product
  static constexpr Index candidates =
      1024;  ///< a choice among them costs less than 1/100 of a pass over 10^6 rows
  static constexpr Index block = 4096;

  CoresetSearch(const B& backend, MatrixView<const T> rows)
      : x_backend(backend), x_rows(rows), x_squared(static_cast<std::size_t>(rows.rows())) {
    Arena measure;
    x_place(measure);
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live);
    x_measure_lengths();
    std::fill(x_squared.begin(), x_squared.end(), std::numeric_limits<double>::infinity());
  }

  Coreset run(Index size, Index first, const std::stop_token& token) {
    Coreset out;
    x_choose(out, static_cast<std::int32_t>(first));
    while (static_cast<Index>(out.rows.size()) < size && !token.stop_requested()) {
      x_pass();
      if (!x_take_candidates()) break;  // every row is as good as a chosen one
      std::size_t next = x_farthest_candidate();
      while (static_cast<Index>(out.rows.size()) < size && static_cast<Index>(x_pending.size()) < pending &&
             x_is_farthest(next)) {
        x_choose(out, x_candidate[next]);
        x_update_candidates();
        next = x_farthest_candidate();
      }
    }
    x_pass();
    out.radius = std::sqrt(*std::max_element(x_squared.begin(), x_squared.end()));
    return out;
  }

 private:
  void x_place(Arena& arena) {
    const Index width = x_rows.cols();
    x_chosen = arena.template matrix<T>(pending, width);
    x_similar = arena.template matrix<T>(block, pending);
    x_candidate_rows = arena.template matrix<T>(std::min(candidates, x_rows.rows()), width);
    x_index = arena.template vector<std::int32_t>(std::max(candidates, pending));
  }

  void x_measure_lengths() {
    std::vector<T> host(static_cast<std::size_t>(block * x_rows.cols()));
    for (Index first = 0; first < x_rows.rows(); first += block) {
      const Index count = std::min(block, x_rows.rows() - first);
      const auto part = std::span<T>(host).first(static_cast<std::size_t>(count * x_rows.cols()));
      x_backend.download(part, x_rows.row(first));
      for (Index i = 0; i < count; ++i) {
        double sum = 0;
        for (Index d = 0; d < x_rows.cols(); ++d) {
          const auto v = static_cast<double>(part[static_cast<std::size_t>(i * x_rows.cols() + d)]);
          sum += v * v;
        }
        x_lengths.push_back(sum);
      }
    }
  }

  void x_gather(MatrixView<T> out, std::span<const std::int32_t> rows) {
    x_backend.upload(x_index.data(), rows);
    x_backend.copy_rows(out, RowIndex{}, x_rows, RowIndex(x_index.data(), out.rows()));
  }

  void x_choose(Coreset& out, std::int32_t row) {
    out.rows.push_back(row);
    x_pending.push_back(row);
  }

  /// Brings every row up to date with the pending choices.
  void x_pass() {
    if (x_pending.empty()) return;
    const auto count = static_cast<Index>(x_pending.size());
    x_gather(x_chosen.rows(0, count), x_pending);
    std::vector<T> host(static_cast<std::size_t>(block * count));
    for (Index first = 0; first < x_rows.rows(); first += block) {
      const MatrixView<T> similar(x_similar.data(), std::min(block, x_rows.rows() - first), count);
      x_backend.linear_forward(similar, x_rows.rows(first, similar.rows()),
                               MatrixView<const T>(x_chosen.rows(0, count)), VectorView<const T>());
      x_backend.download(std::span<T>(host).first(static_cast<std::size_t>(similar.size())),
                         static_cast<const T*>(similar.data()));
      for (Index i = 0; i < similar.rows(); ++i) {
        const auto row = static_cast<std::size_t>(first + i);
        for (Index p = 0; p < count; ++p)
          x_lower(x_squared[row], row, x_pending[static_cast<std::size_t>(p)],
                  host[static_cast<std::size_t>(i * count + p)]);
      }
    }
    for (const std::int32_t row : x_pending) x_squared[static_cast<std::size_t>(row)] = 0;
    x_pending.clear();
  }

  /// squared = the smaller of itself and |row - chosen|^2, from their product.
  void x_lower(double& squared, std::size_t row, std::int32_t chosen, T product) const {
    const double apart =
        x_lengths[row] + x_lengths[static_cast<std::size_t>(chosen)] - 2 * static_cast<double>(product);
    squared = std::min(squared, std::max(0.0, apart));
  }

  /// Whether row a of distance x comes before row b of distance y.
  [[nodiscard]] static bool x_before(double x, std::int32_t a, double y, std::int32_t b) {
    return x != y ? x > y : a < b;
  }

  /// The farthest rows become the candidates. False where all distances are 0.
  bool x_take_candidates() {
    std::vector<std::int32_t> order(x_squared.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
    const auto before = [&](std::int32_t a, std::int32_t b) {
      return x_before(x_squared[static_cast<std::size_t>(a)], a, x_squared[static_cast<std::size_t>(b)], b);
    };
    const Index count = x_candidate_rows.rows();
    x_outside = -1;
    if (count < x_rows.rows()) {
      std::nth_element(order.begin(), order.begin() + count, order.end(), before);
      x_outside = order[static_cast<std::size_t>(count)];
    }
    order.resize(static_cast<std::size_t>(count));
    std::sort(order.begin(), order.end(), before);
    x_candidate.swap(order);
    x_candidate_squared.clear();
    for (const std::int32_t row : x_candidate)
      x_candidate_squared.push_back(x_squared[static_cast<std::size_t>(row)]);
    if (!(x_candidate_squared.front() > 0)) return false;
    x_gather(x_candidate_rows, x_candidate);
    return true;
  }

  [[nodiscard]] std::size_t x_farthest_candidate() const {
    std::size_t best = 0;
    for (std::size_t i = 1; i < x_candidate.size(); ++i) {
      if (x_before(x_candidate_squared[i], x_candidate[i], x_candidate_squared[best], x_candidate[best]))
        best = i;
    }
    return best;
  }

  /// Whether a candidate is the farthest of all rows: what is outside lay no farther in the last pass.
  [[nodiscard]] bool x_is_farthest(std::size_t candidate) const {
    if (!(x_candidate_squared[candidate] > 0)) return false;
    return x_outside < 0 || x_before(x_candidate_squared[candidate], x_candidate[candidate],
                                     x_squared[static_cast<std::size_t>(x_outside)], x_outside);
  }

  /// Brings the candidates up to date with the last choice.
  void x_update_candidates() {
    const std::int32_t chosen = x_pending.back();
    const MatrixView<T> similar(x_similar.data(), x_candidate_rows.rows(), 1);
    x_backend.linear_forward(similar, MatrixView<const T>(x_candidate_rows), x_rows.rows(chosen, 1),
                             VectorView<const T>());
    std::vector<T> host(x_candidate.size());
    x_backend.download(std::span<T>(host), static_cast<const T*>(similar.data()));
    for (std::size_t i = 0; i < x_candidate.size(); ++i) {
      x_lower(x_candidate_squared[i], static_cast<std::size_t>(x_candidate[i]), chosen, host[i]);
      if (x_candidate[i] == chosen) x_candidate_squared[i] = 0;
    }
  }

  B x_backend;
  MatrixView<const T> x_rows;
  Buffer x_buffer;
  MatrixView<T> x_chosen;          // (pending,W)
  MatrixView<T> x_similar;         // (block,pending)
  MatrixView<T> x_candidate_rows;  // (candidates,W)
  VectorView<std::int32_t> x_index;
  std::vector<double> x_lengths;  // |x|^2 of each row
  std::vector<double> x_squared;  // to the nearest chosen row, as of the last pass
  std::vector<std::int32_t> x_pending;
  std::vector<std::int32_t> x_candidate;
  std::vector<double> x_candidate_squared;
  std::int32_t x_outside = -1;  // the farthest row that is no candidate
};

/// out (n,W) =: rows (n,D) times a matrix of normal numbers of variance 1 / W, which keeps distances in the
/// mean.
template <Backend B, class T = typename B::Scalar>
void project_rows(const B& backend, MatrixView<T> out, MatrixView<const T> rows, std::uint64_t seed) {
  const Index size = out.cols() * rows.cols();
  RandomStream random({.seed = seed, .view = 6, .purpose = Purpose::probe});
  std::vector<T> host;
  for (Index i = 0; i < size; ++i)
    host.push_back(static_cast<T>(random.normal() / std::sqrt(static_cast<double>(out.cols()))));
  const Buffer room = backend.allocate(host.size() * sizeof(T));
  T* const weight = reinterpret_cast<T*>(room.data());
  backend.upload(weight, std::span<const T>(host));
  backend.linear_forward(out, rows, MatrixView<const T>(weight, out.cols(), rows.cols()),
                         VectorView<const T>());
}

}  // namespace detail

/// Chooses rows one after the other, each time the one that lies farthest from all chosen so far; the first
/// is drawn. No choice of as many rows has less than half the radius.
///
/// rows (n,D) in the backend's memory. Ends early where every row equals a chosen one. Cost: 2 n W FLOP a
/// choice as matrix products, W the projection or D; memory: n W numbers where projected, and 24 bytes a
/// row. Bits depend on rows, options and seed alone, not on the number of threads. A stop request ends it
/// with what was chosen. Throws `OptionError`, `DataError` where there are no rows.
/// Source: Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (PatchCore), CVPR 2022,
/// algorithm 1. Test: the plain algorithm (tests/search/coreset.cpp).
template <Backend B, class T = typename B::Scalar>
[[nodiscard]] Coreset greedy_coreset(const B& backend, MatrixView<const T> rows,
                                     const CoresetOptions& options, const std::stop_token& token = {}) {
  options.validate();
  if (rows.rows() < 1) throw DataError("coreset: there are no rows to choose from");
  RandomStream random({.seed = options.seed, .view = 5, .purpose = Purpose::probe});
  const auto first = static_cast<Index>(random.below(static_cast<std::uint32_t>(rows.rows())));
  Buffer room;
  if (options.projection > 0) {
    room = backend.allocate(static_cast<std::size_t>(rows.rows() * options.projection) * sizeof(T));
    const MatrixView<T> projected(reinterpret_cast<T*>(room.data()), rows.rows(), options.projection);
    detail::project_rows(backend, projected, rows, options.seed);
    rows = projected;
  }
  return detail::CoresetSearch<B>(backend, rows).run(std::min(options.size, rows.rows()), first, token);
}

}  // namespace dssl
