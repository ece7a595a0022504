// K-means over rows in a backend's memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <stop_token>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/search/row_sample.hpp>

namespace dssl {

/// Sizes and numbers of a clustering.
struct KMeansOptions {
  Index width = 0;         ///< D
  Index clusters = 0;      ///< K
  Index iterations = 50;   ///< at most; it ends before when no row changes its cluster
  Index seeding = 20'000;  ///< rows that the first centres are chosen from, at most
  std::uint64_t seed = 0;
  Index rows_at_once = 1024;  ///< compared with the centres at a time: bounds the memory

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (width < 1) throw OptionError("width", width, "at least 1");
    if (clusters < 1) throw OptionError("clusters", clusters, "at least 1");
    if (iterations < 1) throw OptionError("iterations", iterations, "at least 1");
    if (seeding < clusters) throw OptionError("seeding", seeding, join("at least the clusters, ", clusters));
    if (rows_at_once < 1) throw OptionError("rows_at_once", rows_at_once, "at least 1");
  }
};

/// What a clustering came to.
struct KMeansResult {
  double inertia = 0;  ///< sum of squared distances to the centres, for the assignment it ended with
  Index iterations = 0;
  bool converged = false;  ///< no row changed its cluster any more
};

/// Lloyd's k-means from k-means++ centres.
///
/// Rows are assigned by one `linear_forward` for each piece of them, x . c - |c|^2 / 2 (the lower cluster
/// among equals); centres are means, summed in the order of rows. A cluster that loses all rows takes the row
/// that lies farthest from its centre. The first centres are drawn from at most `seeding` of the rows, each
/// with a chance proportional to its squared distance to those before it. Cost: 2 n K D FLOP an iteration.
/// Memory beside the rows: (2 K + rows_at_once) (D + K) numbers and 20 bytes a row. Bits depend on rows,
/// options and seed alone, not on the number of threads. Source: Arthur and Vassilvitskii, "k-means++", SODA
/// 2007. Test: tests/search/kmeans.cpp.
template <Backend B>
class KMeans {
 public:
  using T = typename B::Scalar;

  /// Centres are 0 until `fit`. Throws `OptionError`.
  KMeans(const B& backend, const KMeansOptions& options)
      : x_backend(backend), x_options((options.validate(), options)) {
    Arena measure;
    x_place(measure);
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live);
    x_similar_host.resize(static_cast<std::size_t>(x_similar.size()));
    x_best.resize(static_cast<std::size_t>(options.rows_at_once));
    x_minus_half.resize(static_cast<std::size_t>(options.clusters));
  }

  [[nodiscard]] const KMeansOptions& options() const { return x_options; }
  /// (K,D) in the backend's memory.
  [[nodiscard]] MatrixView<const T> centres() const { return x_centres; }

  /// Finds the centres of rows (n,D) in the backend's memory, n at least K. A stop request ends it after the
  /// iteration it is in. Throws `ShapeError`, `DataError` for fewer rows than clusters.
  KMeansResult fit(MatrixView<const T> rows, const std::stop_token& token = {}) {
    require_shape(rows.cols() == x_options.width, "k-means: rows of width ", rows.cols(), "; expected ",
                  x_options.width);
    if (rows.rows() < x_options.clusters) {
      throw DataError(
          join("k-means: ", rows.rows(), " rows are too few for ", x_options.clusters, " clusters"));
    }
    const std::vector<double> lengths = x_squared_lengths(rows);
    x_seed(rows, lengths);
    std::vector<std::int32_t> cluster(static_cast<std::size_t>(rows.rows()), -1);
    std::vector<double> squared(cluster.size());
    KMeansResult out;
    for (;;) {
      const Index changed = x_assign(cluster, squared, rows, lengths);
      out.inertia = std::accumulate(squared.begin(), squared.end(), 0.0);
      out.converged = changed == 0;
      if (out.converged || out.iterations == x_options.iterations || token.stop_requested()) return out;
      ++out.iterations;
      x_update(cluster, squared, rows);
    }
  }

  /// clusters (n) = the nearest centre of rows (n,D) in the backend's memory. Throws `ShapeError`.
  void assign(std::span<std::int32_t> clusters, MatrixView<const T> rows) {
    require_shape(rows.cols() == x_options.width && static_cast<Index>(clusters.size()) == rows.rows(),
                  "k-means: ", clusters.size(), " places for rows ", rows.rows(), " x ", rows.cols(),
                  "; expected width ", x_options.width);
    x_assign(clusters, {}, rows, {});
  }

 private:
  void x_place(Arena& arena) {
    const Index k = x_options.clusters;
    x_centres = arena.template matrix<T>(k, x_options.width);
    x_sums = arena.template matrix<T>(k, x_options.width);
    x_bias = arena.template vector<T>(k);
    x_similar = arena.template matrix<T>(x_options.rows_at_once, k);
    x_index = arena.template vector<std::int32_t>(x_options.rows_at_once);
    x_gathered = arena.template matrix<T>(x_options.rows_at_once, x_options.width);
    if constexpr (SelectsLargest<B>) {
      x_chosen = arena.template matrix<T>(x_options.rows_at_once, 1);
      x_chosen_columns = arena.template matrix<std::int32_t>(x_options.rows_at_once, 1);
    }
  }

  /// |x|^2 of each row, in double on the host.
  [[nodiscard]] std::vector<double> x_squared_lengths(MatrixView<const T> rows) const {
    std::vector<double> out;
    std::vector<T> host(static_cast<std::size_t>(x_options.rows_at_once * rows.cols()));
    for (Index first = 0; first < rows.rows(); first += x_options.rows_at_once) {
      const Index count = std::min(x_options.rows_at_once, rows.rows() - first);
      const auto part = std::span<T>(host).first(static_cast<std::size_t>(count * rows.cols()));
      x_backend.download(part, rows.row(first));
      for (Index i = 0; i < count; ++i) {
        double sum = 0;
        for (Index d = 0; d < rows.cols(); ++d) {
          const auto v = static_cast<double>(part[static_cast<std::size_t>(i * rows.cols() + d)]);
          sum += v * v;
        }
        out.push_back(sum);
      }
    }
    return out;
  }

  /// Sets centre k to a row of the backend's memory.
  void x_set_centre(Index k, const T* row) {
    x_backend.copy(VectorView<T>(x_centres.row(k), x_options.width),
                   VectorView<const T>(row, x_options.width));
  }

  void x_seed(MatrixView<const T> rows, std::span<const double> lengths) {
    RandomStream random(x_key(0));
    const std::vector<std::int32_t> pool = sample_rows(rows.rows(), x_options.seeding, x_key(1));
    std::vector<double> squared(pool.size(), std::numeric_limits<double>::infinity());
    std::size_t chosen = random.below(static_cast<std::uint32_t>(pool.size()));
    for (Index k = 0;; ++k) {
      x_set_centre(k, rows.row(pool[chosen]));
      if (k + 1 == x_options.clusters) return;
      x_lower_distances(squared, pool, rows, lengths, k, lengths[static_cast<std::size_t>(pool[chosen])]);
      squared[chosen] = 0;
      chosen = x_draw(squared, random);
    }
  }

  [[nodiscard]] RandomKey x_key(std::uint64_t use) const {
    return {.seed = x_options.seed, .sample = use, .view = 3, .purpose = Purpose::probe};
  }

  /// squared = the smaller of itself and the squared distance to centre k.
  void x_lower_distances(std::span<double> squared, std::span<const std::int32_t> pool,
                         MatrixView<const T> rows, std::span<const double> lengths, Index k, double length) {
    const auto piece = static_cast<std::size_t>(x_options.rows_at_once);
    for (std::size_t first = 0; first < pool.size(); first += piece) {
      const std::size_t count = std::min(piece, pool.size() - first);
      const auto index = pool.subspan(first, count);
      const MatrixView<T> some = x_gathered.rows(0, static_cast<Index>(count));
      x_backend.upload(x_index.data(), index);
      x_backend.copy_rows(some, RowIndex{}, rows, RowIndex(x_index.data(), some.rows()));
      const MatrixView<T> similar(x_similar.data(), some.rows(), 1);
      x_backend.linear_forward(similar, some, MatrixView<const T>(x_centres.rows(k, 1)),
                               VectorView<const T>());
      const auto host = std::span<T>(x_similar_host).first(count);
      x_backend.download(host, static_cast<const T*>(similar.data()));
      for (std::size_t i = 0; i < count; ++i) {
        const double apart =
            lengths[static_cast<std::size_t>(index[i])] + length - 2 * static_cast<double>(host[i]);
        squared[first + i] = std::min(squared[first + i], std::max(0.0, apart));
      }
    }
  }

  /// A place with a chance proportional to its number; any place where all are 0.
  [[nodiscard]] static std::size_t x_draw(std::span<const double> squared, RandomStream& random) {
    const double total = std::accumulate(squared.begin(), squared.end(), 0.0);
    if (!(total > 0)) return random.below(static_cast<std::uint32_t>(squared.size()));
    const double at = random.uniform() * total;
    double sum = 0;
    std::size_t last = 0;
    for (std::size_t i = 0; i < squared.size(); ++i) {
      if (squared[i] > 0) last = i;
      sum += squared[i];
      if (at < sum) return i;
    }
    return last;
  }

  void x_measure_centres() {
    std::vector<T> host(static_cast<std::size_t>(x_centres.size()));
    x_backend.download(std::span<T>(host), static_cast<const T*>(x_centres.data()));
    for (std::size_t k = 0; k < x_minus_half.size(); ++k) {
      double sum = 0;
      for (std::size_t d = 0; d < static_cast<std::size_t>(x_options.width); ++d) {
        const auto v = static_cast<double>(host[k * static_cast<std::size_t>(x_options.width) + d]);
        sum += v * v;
      }
      x_minus_half[k] = static_cast<T>(-0.5 * sum);
    }
    x_backend.upload(x_bias.data(), std::span<const T>(x_minus_half));
  }

  /// cluster (n) = the nearest centre, squared (n, or empty) = the squared distance to it. Returns how many
  /// rows changed.
  Index x_assign(std::span<std::int32_t> cluster, std::span<double> squared, MatrixView<const T> rows,
                 std::span<const double> lengths) {
    x_measure_centres();
    const Index k = x_options.clusters;
    Index changed = 0;
    for (Index first = 0; first < rows.rows(); first += x_options.rows_at_once) {
      const Index count = std::min(x_options.rows_at_once, rows.rows() - first);
      const MatrixView<T> similar(x_similar.data(), count, k);
      x_backend.linear_forward(similar, rows.rows(first, count), MatrixView<const T>(x_centres),
                               VectorView<const T>(x_bias));
      x_choose_best(similar);
      for (Index i = 0; i < count; ++i) {
        const auto at = static_cast<std::size_t>(first + i);
        const auto& [value, number] = x_best[static_cast<std::size_t>(i)];
        changed += cluster[at] != number ? 1 : 0;
        cluster[at] = number;
        if (!squared.empty()) squared[at] = std::max(0.0, lengths[at] - 2 * static_cast<double>(value));
      }
    }
    return changed;
  }

  /// x_best =: the largest of each row of similarities, the first among equals.
  void x_choose_best(MatrixView<const T> similar) {
    if constexpr (SelectsLargest<B>) {
      const MatrixView<T> values = x_chosen.rows(0, similar.rows());
      const MatrixView<std::int32_t> columns = x_chosen_columns.rows(0, similar.rows());
      x_backend.largest_of_rows(values, columns, similar);
      std::vector<std::int32_t> numbers(static_cast<std::size_t>(columns.size()));
      const auto host = std::span<T>(x_similar_host).first(numbers.size());
      x_backend.download(host, static_cast<const T*>(values.data()));
      x_backend.download(std::span<std::int32_t>(numbers), static_cast<const std::int32_t*>(columns.data()));
      for (std::size_t i = 0; i < numbers.size(); ++i) x_best[i] = {host[i], numbers[i]};
    } else {
      x_backend.download(std::span<T>(x_similar_host).first(static_cast<std::size_t>(similar.size())), similar.data());
      for (Index i = 0; i < similar.rows(); ++i) {
        const T* const from = x_similar_host.data() + i * similar.cols();
        const T* const best = std::max_element(from, from + similar.cols());
        x_best[static_cast<std::size_t>(i)] = {*best, static_cast<std::int32_t>(best - from)};
      }
    }
  }

  /// Centres = means of their rows.
  void x_update(std::span<std::int32_t> cluster, std::span<double> squared, MatrixView<const T> rows) {
    const auto k_count = static_cast<std::size_t>(x_options.clusters);
    std::vector<Index> sizes(k_count, 0);
    for (const std::int32_t k : cluster) ++sizes[static_cast<std::size_t>(k)];
    for (std::size_t k = 0; k < k_count; ++k) {
      if (sizes[k] > 0) continue;
      // The farthest row that does not leave a cluster empty in turn.
      std::size_t farthest = squared.size();
      for (std::size_t i = 0; i < squared.size(); ++i) {
        if (sizes[static_cast<std::size_t>(cluster[i])] < 2) continue;
        if (farthest == squared.size() || squared[i] > squared[farthest]) farthest = i;
      }
      --sizes[static_cast<std::size_t>(cluster[farthest])];
      cluster[farthest] = static_cast<std::int32_t>(k);
      squared[farthest] = 0;
      sizes[k] = 1;
    }
    x_backend.fill(VectorView<T>(x_sums.data(), x_sums.size()), T{0});
    for (Index first = 0; first < rows.rows(); first += x_options.rows_at_once) {
      const Index count = std::min(x_options.rows_at_once, rows.rows() - first);
      x_backend.upload(x_index.data(),
                       std::span<const std::int32_t>(cluster.subspan(static_cast<std::size_t>(first),
                                                                     static_cast<std::size_t>(count))));
      x_backend.add_rows(x_sums, RowIndex(x_index.data(), count), rows.rows(first, count), RowIndex{});
    }
    std::vector<T> host(static_cast<std::size_t>(x_sums.size()));
    x_backend.download(std::span<T>(host), static_cast<const T*>(x_sums.data()));
    for (std::size_t i = 0; i < host.size(); ++i)
      host[i] /= static_cast<T>(sizes[i / static_cast<std::size_t>(x_options.width)]);
    x_backend.upload(x_centres.data(), std::span<const T>(host));
  }

  B x_backend;
  KMeansOptions x_options;
  Buffer x_buffer;
  MatrixView<T> x_centres;           // (K,D)
  MatrixView<T> x_sums;              // (K,D)
  VectorView<T> x_bias;              // (K) minus half the centres' squared lengths
  MatrixView<T> x_similar;           // (rows_at_once,K)
  MatrixView<T> x_gathered;          // (rows_at_once,D)
  VectorView<std::int32_t> x_index;  // (rows_at_once)
  MatrixView<T> x_chosen;            // (rows_at_once,1) where the backend chooses
  MatrixView<std::int32_t> x_chosen_columns;
  std::vector<std::pair<T, std::int32_t>> x_best;  // of each row at once: similarity and number of the nearest
  std::vector<T> x_similar_host, x_minus_half;
};

}  // namespace dssl
