// Scores of patches by their distance to the patches of normal images.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/defects/size_trend.hpp>
#include <dssl/search/coreset.hpp>
#include <dssl/search/nearest.hpp>

namespace dssl {

/// Sizes and numbers of a bank of normal patches; the defaults of the numbers are PatchCore's.
struct DefectBankOptions {
  Index width = 0;         ///< of the rows
  Index pool = 0;          ///< rows that it has room for before the coreset is chosen
  double coreset = 0.1;    ///< share of them that is kept; 1 keeps all
  Index coreset_size = 0;  ///< or their number, where it is above 0
  Index projection = 0;    ///< as in `CoresetOptions`
  Index reweighting = 9;   ///< neighbours that weigh an image's score; 0: the score is the largest distance
  std::uint64_t seed = 0;
  Index top = 1;  ///< an image's score is the mean of so many largest distances, or of all where there are fewer
  /// What rows went through before they were added, and `append_places`' unit (0: no places). The bank does nothing by
  /// them: it keeps them, in its file too, so that what is scored is made as what was learned.
  PatchRules rules{};
  double place_unit = 0;
  Index queries = 256;  ///< as in `NearestOptions`
  Index block = 4096;

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (width < 1) throw OptionError("width", width, "at least 1");
    if (pool < 1) throw OptionError("pool", pool, "at least 1");
    if (!(coreset > 0 && coreset <= 1)) throw OptionError("coreset", coreset, "above 0, up to 1");
    if (coreset_size < 0) throw OptionError("coreset_size", coreset_size, "0 (by share) or more");
    if (projection < 0) throw OptionError("projection", projection, "0 (off) or a width");
    if (reweighting < 0) throw OptionError("reweighting", reweighting, "0 (off) or more");
    if (top < 1) throw OptionError("top", top, "at least 1");
    rules.validate();
    if (!(place_unit >= 0 && std::isfinite(place_unit))) throw OptionError("place_unit", place_unit, "a distance");
  }
};

/// Normal patches, reduced to a coreset, and distances to them.
///
///   patch score = distance to the nearest row of the coreset
///   image score = (1 - e^d* / sum over m in N(m*) of e^d(x*, m)) x mean of the `top` largest distances,
///                 without the `SizeTrend` that was set
///
/// where x* is the patch with the largest score d*, m* its nearest row, and N(m*) the `reweighting` rows of
/// the coreset nearest to m*, itself among them; without reweighting, or with one
/// neighbour, the mean alone. PatchCore's `top` is 1, so that the mean is d*. `add` rows, `build`, then
/// `score`. Memory: `pool` rows while it is filled and reduced, then the coreset. Bits depend on rows,
/// options and seed alone. Source: Roth et al. (PatchCore), CVPR 2022, equations 6 and 7; the public
/// anomalib for N(m*). Test: tests/defects/defect_bank.cpp.
template <Backend B>
class DefectBank {
 public:
  using T = typename B::Scalar;

  /// Throws `OptionError`.
  DefectBank(const B& backend, const DefectBankOptions& options)
      : x_backend(backend), x_options((options.validate(), options)) {}

  [[nodiscard]] const DefectBankOptions& options() const { return x_options; }
  [[nodiscard]] const B& backend() const { return x_backend; }
  /// Rows that scores are taken to; 0 before `build`.
  [[nodiscard]] Index size() const { return x_rows ? x_rows->size() : 0; }
  /// Rows added so far.
  [[nodiscard]] Index added() const { return x_added; }
  /// The largest distance of a row of the pool to the coreset.
  [[nodiscard]] double radius() const { return x_radius; }
  /// What image scores are without, from now on; none until it is set, nor after `build` or `restore`.
  void set_size_trend(const SizeTrend& trend) { x_trend = trend; }
  [[nodiscard]] const SizeTrend& size_trend() const { return x_trend; }
  /// The coreset (size,W) in the backend's memory; empty before `build`.
  [[nodiscard]] MatrixView<const T> rows() const { return x_rows ? x_rows->rows() : MatrixView<const T>{}; }

  /// Takes a coreset (n,W) in host memory that was built before, with its radius, in place of what is there.
  /// Throws `ShapeError`, `DataError` where there are no rows.
  void restore(MatrixView<const T> coreset, double radius) {
    if (coreset.rows() < 1) throw DataError("defect bank: there are no rows to restore");
    require_shape(coreset.cols() == x_options.width, "defect bank of width ", x_options.width, ": rows of width ",
                  coreset.cols());
    const Buffer room = x_backend.allocate(static_cast<std::size_t>(coreset.size()) * sizeof(T));
    T* const rows = reinterpret_cast<T*>(room.data());
    x_backend.upload(rows, std::span<const T>(coreset.data(), static_cast<std::size_t>(coreset.size())));
    x_make_rows(coreset.rows());
    x_rows->add(MatrixView<const T>(rows, coreset.rows(), coreset.cols()));
    x_radius = radius;
    x_pool = Buffer();
    x_added = 0;
  }

  /// Adds normal rows (m,W) in the backend's memory. Throws `ShapeError`, also beyond `pool`.
  void add(MatrixView<const T> rows) {
    require_shape(rows.cols() == x_options.width && x_added + rows.rows() <= x_options.pool,
                  "defect bank with a pool of ", x_options.pool, " rows of width ", x_options.width,
                  " that holds ", x_added, ": ", rows.rows(), " x ", rows.cols(), " do not fit");
    if (x_pool.bytes() == 0) {
      x_pool = x_backend.allocate(static_cast<std::size_t>(x_options.pool * x_options.width) * sizeof(T));
    }
    const MatrixView<T> to = x_pool_rows().rows(x_added, rows.rows());
    x_backend.copy(VectorView<T>(to.data(), to.size()), VectorView<const T>(rows.data(), rows.size()));
    x_added += rows.rows();
  }

  /// Chooses the coreset and gives the pool back. Throws `DataError` where nothing was added. A stop request
  /// leaves a smaller coreset.
  void build(const std::stop_token& token = {}) {
    if (x_added == 0) throw DataError("defect bank: no normal patches were added");
    const MatrixView<const T> pool = x_pool_rows().rows(0, x_added);
    const Index size = std::clamp<Index>(
        x_options.coreset_size > 0
            ? x_options.coreset_size
            : static_cast<Index>(std::llround(x_options.coreset * static_cast<double>(x_added))),
        1, x_added);
    Coreset coreset;
    if (size < x_added) {
      coreset = greedy_coreset(
          x_backend, pool, {.size = size, .projection = x_options.projection, .seed = x_options.seed}, token);
      std::sort(coreset.rows.begin(), coreset.rows.end());
    }
    const Index kept = size < x_added ? static_cast<Index>(coreset.rows.size()) : x_added;
    x_make_rows(kept);
    if (size == x_added) {
      x_rows->add(pool);
    } else {
      for (const std::int32_t row : coreset.rows) x_rows->add(pool.rows(row, 1));
    }
    x_radius = coreset.radius;
    x_pool = Buffer();
    x_added = 0;
  }

  /// scores (m) = the distance of each of rows (m,W) in the backend's memory to the coreset; returns the
  /// image score of them all. Throws `DataError` before `build`, `ShapeError`.
  double score(std::span<float> scores, MatrixView<const T> rows) {
    if (!x_rows) throw DataError("defect bank: scores were asked for before it was built");
    require_shape(static_cast<Index>(scores.size()) == rows.rows() && rows.rows() >= 1,
                  "defect bank: ", scores.size(), " places for the scores of ", rows.rows(), " rows");
    x_nearest.resize(scores.size());
    x_rows->find(x_nearest, rows, 1);
    std::size_t worst = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      scores[i] = static_cast<float>(x_nearest[i].nearness);
      if (x_nearest[i].nearness > x_nearest[worst].nearness) worst = i;
    }
    const Neighbour nearest = x_nearest[worst];
    const double mean = x_top_mean(nearest.nearness);
    // A neighbourhood of one row has nothing to weigh with: the formula would make every score 0.
    const bool weighs = x_options.reweighting != 0 && x_rows->options().neighbours != 1;
    const double score = weighs ? x_weight(rows.rows(static_cast<Index>(worst), 1), nearest) * mean : mean;
    return x_trend.without(score, rows.rows());
  }

 private:
  void x_make_rows(Index count) {
    x_trend = {};
    x_rows.emplace(x_backend, NearestOptions{.width = x_options.width,
                                             .capacity = count,
                                             .neighbours = std::clamp<Index>(x_options.reweighting, 1, count),
                                             .by = Nearness::distance,
                                             .queries = x_options.queries,
                                             .block = x_options.block});
  }

  [[nodiscard]] MatrixView<T> x_pool_rows() const {
    return MatrixView<T>(reinterpret_cast<T*>(x_pool.data()), x_options.pool, x_options.width);
  }

  /// The mean of the `top` largest distances of `x_nearest`.
  [[nodiscard]] double x_top_mean(double largest) const {
    const auto top = std::min(static_cast<std::size_t>(x_options.top), x_nearest.size());
    if (top <= 1) return largest;
    std::vector<double> all;
    for (const Neighbour& n : x_nearest) all.push_back(n.nearness);
    std::partial_sort(all.begin(), all.begin() + static_cast<Index>(top), all.end(), std::greater<>());
    double sum = 0;
    for (std::size_t i = 0; i < top; ++i) sum += all[i];
    return sum / static_cast<double>(top);
  }

  /// 1 - e^d* / sum over the neighbourhood of the nearest row of e^distance.
  double x_weight(MatrixView<const T> patch, const Neighbour& nearest) {
    const Index k = x_rows->options().neighbours;
    std::vector<Neighbour> around(static_cast<std::size_t>(k));
    x_rows->find(around, x_rows->rows().rows(nearest.row, 1), k);
    // Rows that repeat the nearest one may come before it: it is counted first, whatever the order.
    std::vector<std::int32_t> numbers{static_cast<std::int32_t>(nearest.row)};
    for (const Neighbour& n : around) {
      if (n.row != nearest.row && static_cast<Index>(numbers.size()) < k)
        numbers.push_back(static_cast<std::int32_t>(n.row));
    }
    const auto width = static_cast<std::size_t>(x_options.width);
    std::vector<T> rows(numbers.size() * width);
    std::vector<T> own(width);
    x_rows->read(rows, numbers);
    x_backend.download(std::span<T>(own), patch.data());
    double sum = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      double squared = 0;
      for (std::size_t d = 0; d < width; ++d) {
        const double apart = static_cast<double>(own[d]) - static_cast<double>(rows[i * width + d]);
        squared += apart * apart;
      }
      // Every distance is at least d*: no power of e below overflows unless the sum is as good as infinite.
      sum += std::exp(std::sqrt(squared) - nearest.nearness);
    }
    return 1 - 1 / sum;
  }

  B x_backend;
  DefectBankOptions x_options;
  Buffer x_pool;
  Index x_added = 0;
  double x_radius = 0;
  SizeTrend x_trend;
  std::optional<NearestRows<B>> x_rows;
  std::vector<Neighbour> x_nearest;
};

}  // namespace dssl
