// Classification by weighted votes of the nearest training features.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Numbers of the weighted k-NN; defaults as published.
struct KnnOptions {
  Index classes = 0;
  double temperature = 0.07;
  Index queries = 256;  ///< compared at a time: bounds the memory, queries x training features
};

/// Weighted k-nearest-neighbour classifier over L2-normalised features.
///
/// votes(c) = sum over the k training features with the largest cosine s, of class c, of exp(s /
/// temperature). Among equal cosines the lower index is nearer; among equal votes the lower class wins. 2 D
/// FLOP for each pair. Source: docs/method.md, "Evaluation". Test: evaluation.safetensors (tests/search/knn.cpp).
template <Backend B>
class KnnClassifier {
 public:
  using T = typename B::Scalar;

  /// features (n,D) and labels (n) in host memory; copied. Throws `ShapeError` for sizes, `OptionError` for
  /// labels outside 0..classes-1 and options.
  KnnClassifier(const B& backend, MatrixView<const T> features, std::span<const std::int64_t> labels,
                const KnnOptions& options)
      : x_backend(backend),
        x_options(options),
        x_labels(labels.begin(), labels.end()),
        x_width(features.cols()) {
    require_shape(features.rows() >= 1 && features.rows() == static_cast<Index>(labels.size()),
                  "k-NN: ", features.rows(), " training features with ", labels.size(), " labels");
    if (options.classes < 1) throw OptionError("classes", options.classes, "at least 1");
    if (options.queries < 1) throw OptionError("queries", options.queries, "at least 1");
    if (!(options.temperature >= 0.002))
      throw OptionError("temperature", options.temperature, "0.002 or more: below it exp(cosine / temperature) overflows");
    for (const std::int64_t label : labels) {
      if (label < 0 || label >= options.classes) {
        throw OptionError("label", label, join("0 to ", options.classes - 1));
      }
    }
    Arena measure;
    x_place(measure);
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live);
    for (Index first = 0; first < x_count(); first += options.queries) {
      const Index count = std::min(options.queries, x_count() - first);
      x_normalise(x_train.rows(first, count), features.rows(first, count));
    }
  }

  /// votes (m,C) = of queries (m,D), both in host memory. Throws `ShapeError`, `OptionError` for k
  /// outside 1..n.
  void votes(MatrixView<double> out, MatrixView<const T> queries, Index k) {
    if (k < 1 || k > x_count())
      throw OptionError("k", k, join("1 to the number of training features, ", x_count()));
    require_shape(
        queries.cols() == x_width && out.rows() == queries.rows() && out.cols() == x_options.classes,
        "k-NN: votes ", out.rows(), " x ", out.cols(), " for queries ", queries.rows(), " x ", queries.cols(),
        "; expected ", x_options.classes, " classes and width ", x_width);
    for (Index first = 0; first < queries.rows(); first += x_options.queries) {
      const Index count = std::min(x_options.queries, queries.rows() - first);
      const MatrixView<T> batch = x_queries.rows(0, count);
      const MatrixView<T> cosines = x_cosines.rows(0, count);
      x_normalise(batch, queries.rows(first, count));
      x_backend.linear_forward(cosines, batch, x_train, VectorView<const T>());
      const MatrixView<double> of_batch = out.rows(first, count);
      if constexpr (SelectsLargest<B>) {
        if (k <= x_chosen.cols()) {
          x_vote_chosen(of_batch, cosines, k);
          continue;
        }
      }
      x_vote_all(of_batch, cosines, k);
    }
  }

  /// The class with the most votes for each of queries (m,D).
  [[nodiscard]] std::vector<std::int64_t> predict(MatrixView<const T> queries, Index k) {
    std::vector<double> all(static_cast<std::size_t>(queries.rows() * x_options.classes));
    const MatrixView<double> table(all.data(), queries.rows(), x_options.classes);
    votes(table, queries, k);
    std::vector<std::int64_t> out;
    for (Index i = 0; i < table.rows(); ++i) {
      out.push_back(std::max_element(table.row(i), table.row(i) + table.cols()) - table.row(i));
    }
    return out;
  }

 private:
  [[nodiscard]] Index x_count() const { return static_cast<Index>(x_labels.size()); }

  void x_place(Arena& arena) {
    x_train = arena.template matrix<T>(x_count(), x_width);
    x_raw = arena.template matrix<T>(x_options.queries, x_width);
    x_queries = arena.template matrix<T>(x_options.queries, x_width);
    x_cosines = arena.template matrix<T>(x_options.queries, x_count());
    x_norms = arena.template vector<T>(x_options.queries);
    if constexpr (SelectsLargest<B>) {
      const Index most = std::min(x_count(), Index{B::most_largest});
      x_chosen = arena.template matrix<T>(x_options.queries, most);
      x_chosen_columns = arena.template matrix<std::int32_t>(x_options.queries, most);
    }
  }

  /// out =: rows of host memory at unit length, in the backend's memory.
  void x_normalise(MatrixView<T> out, MatrixView<const T> host) {
    const MatrixView<T> raw = x_raw.rows(0, host.rows());
    x_backend.upload(raw.data(), std::span<const T>(host.data(), static_cast<std::size_t>(host.size())));
    x_backend.l2_normalise_forward(out, VectorView<T>(x_norms.data(), host.rows()), raw, 1e-12);
  }

  /// The backend has chosen the nearest.
  void x_vote_chosen(MatrixView<double> out, MatrixView<const T> cosines, Index k)
    requires SelectsLargest<B>
  {
    const MatrixView<T> values(x_chosen.data(), cosines.rows(), k);
    const MatrixView<std::int32_t> columns(x_chosen_columns.data(), cosines.rows(), k);
    x_backend.largest_of_rows(values, columns, cosines);
    x_cosines_host.resize(static_cast<std::size_t>(values.size()));
    x_order.resize(x_cosines_host.size());
    x_backend.download(std::span<T>(x_cosines_host), static_cast<const T*>(values.data()));
    x_backend.download(std::span<std::int32_t>(x_order), static_cast<const std::int32_t*>(columns.data()));
    std::fill(out.data(), out.data() + out.size(), 0.0);
    for (std::size_t n = 0; n < x_order.size(); ++n) {
      x_add_vote(out.row(static_cast<Index>(n) / k), x_order[n], x_cosines_host[n]);
    }
  }

  void x_vote_all(MatrixView<double> out, MatrixView<const T> cosines, Index k) {
    x_cosines_host.resize(static_cast<std::size_t>(cosines.size()));
    x_backend.download(std::span<T>(x_cosines_host), cosines.data());
    std::fill(out.data(), out.data() + out.size(), 0.0);
    x_order.resize(x_labels.size());
    for (Index i = 0; i < out.rows(); ++i) {
      const T* const of_row = x_cosines_host.data() + i * x_count();
      std::iota(x_order.begin(), x_order.end(), std::int32_t{0});
      const auto nearer = [&](std::int32_t a, std::int32_t b) {
        return of_row[a] != of_row[b] ? of_row[a] > of_row[b] : a < b;
      };
      std::nth_element(x_order.begin(), x_order.begin() + (k - 1), x_order.end(), nearer);
      std::sort(x_order.begin(), x_order.begin() + k, nearer);
      for (Index n = 0; n < k; ++n) {
        const std::int32_t at = x_order[static_cast<std::size_t>(n)];
        x_add_vote(out.row(i), at, of_row[at]);
      }
    }
  }

  /// Votes add up from the nearest on, so that their rounding does not depend on how the k were found.
  void x_add_vote(double* votes, std::int32_t feature, T cosine) const {
    votes[x_labels[static_cast<std::size_t>(feature)]] +=
        std::exp(static_cast<double>(cosine) / x_options.temperature);
  }

  B x_backend;
  KnnOptions x_options;
  std::vector<std::int64_t> x_labels;
  Index x_width;
  Buffer x_buffer;
  MatrixView<T> x_train, x_raw, x_queries, x_cosines;
  VectorView<T> x_norms;
  std::vector<T> x_cosines_host;
  MatrixView<T> x_chosen;  // (queries, the most that a backend chooses)
  MatrixView<std::int32_t> x_chosen_columns;
  std::vector<std::int32_t> x_order;
};

}  // namespace dssl
