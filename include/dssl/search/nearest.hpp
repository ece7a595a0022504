// The nearest rows of a bank: blocks of similarities by matrix products, the best of each merged.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// What makes rows near.
enum class Nearness : std::uint8_t {
  cosine,   ///< a large cosine; rows and queries are scaled to unit length
  distance  ///< a small Euclidean distance
};

/// Sizes of a bank of rows.
struct NearestOptions {
  Index width = 0;       ///< D
  Index capacity = 0;    ///< rows the bank has room for
  Index neighbours = 1;  ///< most that are asked for
  Nearness by = Nearness::cosine;
  Index queries = 256;  ///< compared at a time
  Index block = 4096;   ///< rows they are compared with at a time: queries x block similarities in memory

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (width < 1) throw OptionError("width", width, "at least 1");
    if (capacity < 1) throw OptionError("capacity", capacity, "at least 1");
    if (neighbours < 1) throw OptionError("neighbours", neighbours, "at least 1");
    if (queries < 1) throw OptionError("queries", queries, "at least 1");
    if (block < 1) throw OptionError("block", block, "at least 1");
  }
};

/// A row of the bank, and how near it is: its cosine, or its distance (not squared).
struct Neighbour {
  Index row = -1;
  double nearness = 0;
};

namespace detail {

/// The largest values of a growing sequence and where they stand: the best k, best first, the earlier among
/// equals first.
template <class T>
class Largest {
 public:
  void reset(Index k) {
    x_k = k;
    x_best.clear();
  }

  /// Values first, first + 1, ... of the sequence.
  void offer(const T* values, Index count, Index first) {
    constexpr Index piece = 32;
    for (Index begin = 0; begin < count; begin += piece) {
      const Index end = std::min(count, begin + piece);
      if (static_cast<Index>(x_best.size()) == x_k && !x_any_above(values + begin, end - begin)) continue;
      for (Index i = begin; i < end; ++i) x_offer(values[i], first + i);
    }
  }

  /// Values of the sequence, largest first, and where they stand beyond `first`; none that stands after an equal one
  /// comes before it.
  void offer_sorted(const T* values, const std::int32_t* places, Index count, Index first) {
    for (Index i = 0; i < count; ++i) x_offer(values[i], first + places[i]);
  }

  struct Place {
    T value;
    Index at;
  };
  [[nodiscard]] const std::vector<Place>& best() const { return x_best; }

 private:
  /// Most pieces hold nothing new: one pass without branches finds that out.
  [[nodiscard]] bool x_any_above(const T* values, Index count) const {
    const T worst = x_best.back().value;
    int above = 0;
    for (Index i = 0; i < count; ++i) above |= values[i] > worst ? 1 : 0;
    return above != 0;
  }

  void x_offer(T value, Index at) {
    const bool full = static_cast<Index>(x_best.size()) == x_k;
    if (full && !(value > x_best.back().value)) return;
    const auto place = std::upper_bound(x_best.begin(), x_best.end(), value,
                                        [](T v, const Place& held) { return v > held.value; });
    if (full) {
      std::move_backward(place, x_best.end() - 1, x_best.end());
      *place = {value, at};
    } else {
      x_best.insert(place, {value, at});
    }
  }

  Index x_k = 0;
  std::vector<Place> x_best;
};

}  // namespace detail

/// A bank of rows (n,D) in a backend's memory, and the k of them that are nearest to queries.
///
/// Similarities are one `linear_forward` for each block of the bank and of the queries: x . y for cosines,
/// x . y - |y|^2 / 2 (the bias) for distances; the k best of each block, which a backend that `SelectsLargest` has
/// chosen by then, are merged on the host. Distances of
/// the rows so found are then computed again in double from the differences, so that they are exact to the
/// rounding of the rows. Among equals the lower row is nearer. Cost: 2 D FLOP for each pair. Memory: the
/// bank, and queries x (block + D (neighbours + 2)) numbers, whatever the number of queries. Bits depend on
/// rows, queries and options alone. Test: tests/search/nearest.cpp.
template <Backend B>
class NearestRows {
 public:
  using T = typename B::Scalar;

  /// Throws `OptionError`.
  NearestRows(const B& backend, const NearestOptions& options)
      : x_backend(backend), x_options((options.validate(), options)) {
    x_options.block = std::min(x_options.block, x_options.capacity);
    Arena measure;
    x_place(measure);
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live);
    x_best.resize(static_cast<std::size_t>(x_options.queries));
  }

  [[nodiscard]] const NearestOptions& options() const { return x_options; }
  [[nodiscard]] const B& backend() const { return x_backend; }
  /// Rows in the bank.
  [[nodiscard]] Index size() const { return x_size; }
  /// The bank (size,D) in the backend's memory; at unit length for cosines.
  [[nodiscard]] MatrixView<const T> rows() const { return x_bank.rows(0, x_size); }
  /// out (m,D) = rows of the bank, in host memory, in the order of their numbers. Throws `ShapeError`.
  void read(std::span<T> out, std::span<const std::int32_t> numbers) const {
    const auto width = static_cast<std::size_t>(x_options.width);
    require_shape(out.size() == numbers.size() * width, "bank rows: room for ", out.size(), " values of ",
                  numbers.size(), " rows of width ", width);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      require_shape(numbers[i] >= 0 && numbers[i] < x_size, "bank of ", x_size, " rows: row ", numbers[i]);
      x_backend.download(out.subspan(i * width, width), static_cast<const T*>(x_bank.row(numbers[i])));
    }
  }
  /// Empties the bank.
  void clear() { x_size = 0; }

  /// Appends rows (m,D) that lie in the backend's memory. Throws `ShapeError`, also where the bank is full.
  void add(MatrixView<const T> rows) {
    require_shape(rows.cols() == x_options.width && x_size + rows.rows() <= x_options.capacity, "bank of ",
                  x_options.capacity, " rows of width ", x_options.width, " that holds ", x_size, ": ",
                  rows.rows(), " x ", rows.cols(), " do not fit");
    for (Index first = 0; first < rows.rows(); first += x_options.queries) {
      const Index count = std::min(x_options.queries, rows.rows() - first);
      const MatrixView<const T> from = rows.rows(first, count);
      const MatrixView<T> to = x_bank.rows(x_size, count);
      if (x_options.by == Nearness::cosine) {
        x_backend.l2_normalise_forward(to, VectorView<T>(x_norms.data(), count), from, 1e-12);
      } else {
        x_backend.copy(VectorView<T>(to.data(), to.size()), VectorView<const T>(from.data(), from.size()));
        x_measure_lengths(from);
      }
      x_size += count;
    }
  }

  /// nearest (m,k) = the k nearest rows of each of queries (m,D), nearest first; queries lie in the backend's
  /// memory. Throws `ShapeError`, `OptionError` for k outside 1..neighbours or above the rows in the bank.
  void find(std::span<Neighbour> nearest, MatrixView<const T> queries, Index k) {
    if (k < 1 || k > x_options.neighbours || k > x_size) {
      throw OptionError("k", k, join("1 to ", std::min(x_options.neighbours, x_size), " neighbours"));
    }
    require_shape(
        queries.cols() == x_options.width && static_cast<Index>(nearest.size()) == queries.rows() * k,
        "nearest rows: queries ", queries.rows(), " x ", queries.cols(), ", room for ", nearest.size(),
        "; expected width ", x_options.width, " and ", k, " places each");
    for (Index first = 0; first < queries.rows(); first += x_options.queries) {
      const Index count = std::min(x_options.queries, queries.rows() - first);
      const auto out =
          nearest.subspan(static_cast<std::size_t>(first * k), static_cast<std::size_t>(count * k));
      MatrixView<const T> batch = queries.rows(first, count);
      if (x_options.by == Nearness::cosine) {
        x_backend.l2_normalise_forward(x_unit.rows(0, count), VectorView<T>(x_norms.data(), count), batch,
                                       1e-12);
        batch = x_unit.rows(0, count);
      }
      x_search(batch, k);
      for (Index i = 0; i < count; ++i) {
        const auto& best = x_best[static_cast<std::size_t>(i)].best();
        for (Index n = 0; n < k; ++n) {
          const auto& place = best[static_cast<std::size_t>(n)];
          out[static_cast<std::size_t>(i * k + n)] = {place.at, static_cast<double>(place.value)};
        }
      }
      if (x_options.by == Nearness::distance) x_measure(out, batch, k);
    }
  }

 private:
  void x_place(Arena& arena) {
    const Index m = x_options.queries;
    x_bank = arena.template matrix<T>(x_options.capacity, x_options.width);
    x_norms = arena.template vector<T>(m);
    x_similar = arena.template matrix<T>(m, x_options.block);
    if constexpr (SelectsLargest<B>) {
      const Index most = std::min(x_options.neighbours, Index{B::most_largest});
      x_chosen = arena.template matrix<T>(m, most);
      x_chosen_columns = arena.template matrix<std::int32_t>(m, most);
    }
    if (x_options.by == Nearness::cosine) {
      x_unit = arena.template matrix<T>(m, x_options.width);
    } else {
      x_minus_half = arena.template vector<T>(x_options.capacity);
      x_found = arena.template matrix<T>(m * x_options.neighbours, x_options.width);
      x_found_rows = arena.template vector<std::int32_t>(m * x_options.neighbours);
    }
  }

  /// Minus half the squared lengths of rows that are about to join the bank: summed on the host in double,
  /// once a row, since a square root and its square would not give the sum back.
  void x_measure_lengths(MatrixView<const T> rows) {
    x_queries_host.resize(static_cast<std::size_t>(rows.size()));
    x_backend.download(std::span<T>(x_queries_host), rows.data());
    std::vector<T> half;
    for (Index i = 0; i < rows.rows(); ++i) {
      double sum = 0;
      for (Index d = 0; d < rows.cols(); ++d) {
        const auto v = static_cast<double>(x_queries_host[static_cast<std::size_t>(i * rows.cols() + d)]);
        sum += v * v;
      }
      half.push_back(static_cast<T>(-0.5 * sum));
    }
    x_backend.upload(x_minus_half.data() + x_size, std::span<const T>(half));
  }

  void x_search(MatrixView<const T> batch, Index k) {
    for (Index i = 0; i < batch.rows(); ++i) x_best[static_cast<std::size_t>(i)].reset(k);
    for (Index first = 0; first < x_size; first += x_options.block) {
      const Index rows = std::min(x_options.block, x_size - first);
      const MatrixView<T> similar(x_similar.data(), batch.rows(), rows);
      x_backend.linear_forward(similar, batch, x_bank.rows(first, rows),
                               x_options.by == Nearness::cosine
                                   ? VectorView<const T>()
                                   : VectorView<const T>(x_minus_half.data() + first, rows));
      if constexpr (SelectsLargest<B>) {
        if (k <= x_chosen.cols()) {
          x_offer_chosen(similar, first, std::min(k, rows));
          continue;
        }
      }
      x_similar_host.resize(static_cast<std::size_t>(x_similar.size()));
      x_backend.download(std::span<T>(x_similar_host).first(static_cast<std::size_t>(similar.size())),
                         static_cast<const T*>(similar.data()));
      for (Index i = 0; i < batch.rows(); ++i) {
        x_best[static_cast<std::size_t>(i)].offer(x_similar_host.data() + i * rows, rows, first);
      }
    }
  }

  /// Offers the best of each row of similarities with rows first, first + 1, ... of the bank.
  void x_offer_chosen(MatrixView<const T> similar, Index first, Index count)
    requires SelectsLargest<B>
  {
    const MatrixView<T> values(x_chosen.data(), similar.rows(), count);
    const MatrixView<std::int32_t> columns(x_chosen_columns.data(), similar.rows(), count);
    x_backend.largest_of_rows(values, columns, similar);
    x_similar_host.resize(static_cast<std::size_t>(x_chosen.size()));
    x_columns_host.resize(static_cast<std::size_t>(x_chosen.size()));
    const auto size = static_cast<std::size_t>(values.size());
    x_backend.download(std::span<T>(x_similar_host).first(size), static_cast<const T*>(values.data()));
    x_backend.download(std::span<std::int32_t>(x_columns_host).first(size),
                       static_cast<const std::int32_t*>(columns.data()));
    for (Index i = 0; i < similar.rows(); ++i) {
      x_best[static_cast<std::size_t>(i)].offer_sorted(x_similar_host.data() + i * count,
                                                       x_columns_host.data() + i * count, count, first);
    }
  }

  /// Replaces what the search found by distances computed from the differences, and sorts by them.
  void x_measure(std::span<Neighbour> found, MatrixView<const T> batch, Index k) {
    const auto width = static_cast<std::size_t>(x_options.width);
    std::vector<std::int32_t> rows;
    for (const Neighbour& n : found) rows.push_back(static_cast<std::int32_t>(n.row));
    x_backend.upload(x_found_rows.data(), std::span<const std::int32_t>(rows));
    const MatrixView<T> gathered = x_found.rows(0, static_cast<Index>(found.size()));
    x_backend.copy_rows(gathered, RowIndex{}, MatrixView<const T>(x_bank),
                        RowIndex(x_found_rows.data(), gathered.rows()));
    x_found_host.resize(static_cast<std::size_t>(gathered.size()));
    x_queries_host.resize(static_cast<std::size_t>(batch.size()));
    x_backend.download(std::span<T>(x_found_host), static_cast<const T*>(gathered.data()));
    x_backend.download(std::span<T>(x_queries_host), batch.data());
    const auto places = static_cast<std::size_t>(k);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const T* x = x_queries_host.data() + i / places * width;
      const T* y = x_found_host.data() + i * width;
      double sum = 0;
      for (std::size_t d = 0; d < width; ++d) {
        const double difference = static_cast<double>(x[d]) - static_cast<double>(y[d]);
        sum += difference * difference;
      }
      found[i].nearness = std::sqrt(sum);
    }
    for (std::size_t i = 0; i < found.size(); i += places) {
      std::sort(found.begin() + static_cast<Index>(i), found.begin() + static_cast<Index>(i + places),
                [](const Neighbour& a, const Neighbour& b) {
                  return a.nearness != b.nearness ? a.nearness < b.nearness : a.row < b.row;
                });
    }
  }

  B x_backend;
  NearestOptions x_options;
  Index x_size = 0;
  Buffer x_buffer;
  MatrixView<T> x_bank;        // (capacity,D)
  MatrixView<T> x_similar;     // (queries,block)
  MatrixView<T> x_chosen;      // (queries,neighbours) of them, where the backend chooses
  MatrixView<std::int32_t> x_chosen_columns;
  MatrixView<T> x_unit;        // (queries,D) for cosines
  MatrixView<T> x_found;       // (queries neighbours,D) for distances
  VectorView<T> x_minus_half;  // (capacity) minus half the squared length of each row, for distances
  VectorView<T> x_norms;       // (queries)
  VectorView<std::int32_t> x_found_rows;
  std::vector<T> x_similar_host, x_found_host, x_queries_host;
  std::vector<std::int32_t> x_columns_host;
  std::vector<detail::Largest<T>> x_best;
};

}  // namespace dssl
