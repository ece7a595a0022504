// Labels of patches by looking up the nearest patches of known label: no training.
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
#include <dssl/search/nearest.hpp>

namespace dssl {

/// Sizes and numbers of a dense retrieval; the defaults of the numbers are the published ones.
struct DenseRetrievalOptions {
  Index width = 0;    ///< D
  Index classes = 0;  ///< C
  Index memory = 0;   ///< patches the bank has room for
  Index neighbours = 30;
  double temperature = 0.02;
  Index queries = 256;  ///< compared at a time, as in `NearestOptions`
  Index block = 4096;

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (classes < 1) throw OptionError("classes", classes, "at least 1");
    if (memory < 1) throw OptionError("memory", memory, "at least 1");
    if (!(temperature > 0)) throw OptionError("temperature", temperature, "above 0");
  }
};

/// A memory of patch features (the keys, at unit length) and their label shares (the values), read by
/// cross-attention over the nearest keys.
///
///   label(q) = sum over the k nearest keys n of softmax_n(cos(q, key_n) / temperature) value_n
///
/// with k the smaller of `neighbours` and the patches in the bank. Cost: 2 D FLOP for each pair of a query
/// and a key. Memory: (D + C) numbers a patch in the bank, and a block of similarities, whatever the number
/// of queries. Source: Balazevic et al., "Towards In-context Scene Understanding", NeurIPS 2023
/// (Hummingbird), and the public open-hummingbird-eval. Test: tests/search/dense_retrieval.cpp.
template <Backend B>
class DenseRetrieval {
 public:
  using T = typename B::Scalar;

  /// Throws `OptionError`.
  DenseRetrieval(const B& backend, const DenseRetrievalOptions& options)
      : x_options((options.validate(), options)),
        x_keys(backend, {.width = options.width,
                         .capacity = options.memory,
                         .neighbours = std::min(options.neighbours, options.memory),
                         .by = Nearness::cosine,
                         .queries = options.queries,
                         .block = options.block}) {}

  [[nodiscard]] const DenseRetrievalOptions& options() const { return x_options; }
  /// Patches in the bank.
  [[nodiscard]] Index size() const { return x_keys.size(); }

  /// Remembers patches: keys (n,D) in the backend's memory, values (n,C) in host memory.
  /// Throws `ShapeError`, also where the bank is full.
  void add(MatrixView<const T> keys, MatrixView<const float> values) {
    require_shape(keys.rows() == values.rows() && values.cols() == x_options.classes,
                  "dense retrieval: ", keys.rows(), " patches with label shares ", values.rows(), " x ",
                  values.cols(), "; expected ", x_options.classes, " classes");
    x_keys.add(keys);
    x_values.insert(x_values.end(), values.data(), values.data() + values.size());
  }

  /// shares (m,C) = the label shares that queries (m,D) in the backend's memory are given.
  /// Throws `DataError` where the bank is empty, `ShapeError`.
  void predict(MatrixView<float> shares, MatrixView<const T> queries) {
    if (x_keys.size() == 0) throw DataError("dense retrieval: the bank holds no labelled patch");
    require_shape(shares.rows() == queries.rows() && shares.cols() == x_options.classes,
                  "dense retrieval: label shares ", shares.rows(), " x ", shares.cols(), " for ",
                  queries.rows(), " queries and ", x_options.classes, " classes");
    const Index k = std::min(x_keys.options().neighbours, x_keys.size());
    x_nearest.resize(static_cast<std::size_t>(queries.rows() * k));
    x_keys.find(x_nearest, queries, k);
    std::vector<double> sum(static_cast<std::size_t>(x_options.classes));
    for (Index i = 0; i < queries.rows(); ++i) {
      const Neighbour* const near = x_nearest.data() + i * k;
      std::fill(sum.begin(), sum.end(), 0.0);
      double total = 0;
      for (Index n = 0; n < k; ++n) {
        const double weight = std::exp((near[n].nearness - near[0].nearness) / x_options.temperature);
        const float* const value = x_values.data() + near[n].row * x_options.classes;
        for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += weight * static_cast<double>(value[c]);
        total += weight;
      }
      for (std::size_t c = 0; c < sum.size(); ++c)
        shares(i, static_cast<Index>(c)) = static_cast<float>(sum[c] / total);
    }
  }

 private:
  DenseRetrievalOptions x_options;
  NearestRows<B> x_keys;
  std::vector<float> x_values;  // (size,C)
  std::vector<Neighbour> x_nearest;
};

}  // namespace dssl
