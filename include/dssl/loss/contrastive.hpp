// Cross-entropy of picking the right partner: NT-Xent (SimCLR), InfoNCE (MoCo v3), InfoNCE with a queue (MoCo v2).
// Tests: tests/loss/contrastive.cpp (fixtures simclr_ntxent, mocov3_loss, mocov2).
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include <dssl/core/error.hpp>
#include <dssl/loss/key_queue.hpp>
#include <dssl/loss/pieces.hpp>

namespace dssl {

/// The numbers of a contrastive term.
struct TemperatureOptions {
  double temperature = 0.2;

  /// Throws `OptionError`.
  void validate(std::string_view prefix) const {
    if (!(temperature > 0)) throw OptionError(join(prefix, "temperature"), temperature, "above 0");
  }
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    f(join(prefix, "temperature"), temperature);
  }
};

/// Those of a contrast with a queue.
struct QueueOptions : TemperatureOptions {
  Index keys = 65536;  ///< K

  /// Throws `OptionError`.
  void validate(std::string_view prefix) const {
    TemperatureOptions::validate(prefix);
    if (keys < 1 || keys > longest_queue) throw OptionError(join(prefix, "keys"), keys, join("1 to ", longest_queue));
  }
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    TemperatureOptions::for_each(prefix, f);
    f(join(prefix, "keys"), keys);
  }
};

/// Buffers of `nt_xent_loss` for N images: 2N rows.
template <class T>
struct NtXentBuffers {
  UnitRows<T> z;                       // (2N,D)
  MatrixView<T> d_unit;                // (2N,D)
  MatrixView<T> logits;                // (2N,2N)
  VectorView<T> loss;                  // (2N)
  VectorView<std::int32_t> labels, own;  // (2N) the other view's row, the row itself

  static NtXentBuffers take(Arena& arena, Index images, Index width) {
    const auto labels = arena.vector<std::int32_t>(2 * images);
    return take(arena, labels, arena.vector<std::int32_t>(2 * images), width);
  }
  /// The same with labels and own columns that lie elsewhere, as they are written once.
  static NtXentBuffers take(Arena& arena, VectorView<std::int32_t> labels, VectorView<std::int32_t> own, Index width) {
    const Index rows = labels.size();
    return {UnitRows<T>::take(arena, rows, width), arena.matrix<T>(rows, width), arena.matrix<T>(rows, rows),
            arena.vector<T>(rows), labels, own};
  }
  /// Those of the first `rows` alone.
  [[nodiscard]] NtXentBuffers first(Index rows) const {
    const auto some = [rows](const auto& all) { return std::remove_cvref_t<decltype(all)>(all.data(), rows); };
    return {z.first(rows), d_unit.rows(0, rows), MatrixView<T>(logits.data(), rows, rows), some(loss), some(labels), some(own)};
  }
  /// Writes what does not change from step to step.
  template <Backend B>
  void begin(const B& backend) const {
    number_rows(backend, labels, labels.size() / 2, labels.size());
    number_rows(backend, own, 0, own.size());
  }
};

/// NT-Xent: value (1) += the mean over the 2N rows of -log softmax(u[i] . u[j] / temperature)[partner], j over all rows
/// but i; d_z (2N,D) += weight times its gradient. u = unit(z).
///
/// z (2N,D): first view of all images, then second view of all, with `buffers.begin` once beforehand; or in any order that the
/// buffers' labels say. Source: Chen et al. 2020,
/// eq. 1; lightly's ntx_ent_loss.py. Pitfall: google-research/simclr adds the means of the two directions, which is twice
/// this: a rate tuned there wants weight 2. Over several processes each keeps its rows and all columns, and the mean over
/// processes is the loss of the batches as one. Cost: 12 N^2 D multiply-adds and (2N,2N) numbers.
template <Backend B, class T = typename B::Scalar>
void nt_xent_loss(const B& backend, const NtXentBuffers<T>& buffers, VectorOf<B> value, MatrixOf<B> d_z,
                  ConstMatrixOf<B> z, double temperature, double weight = 1) {
  const double share = 1.0 / static_cast<double>(z.rows());
  buffers.z.forward(backend, z, unit_epsilon);
  backend.linear_forward(buffers.logits, buffers.z.unit, buffers.z.unit, {});
  const LabelledLogits<T> logits{.columns = buffers.logits, .labels = buffers.labels, .excluded = buffers.own};
  backend.label_cross_entropy(buffers.loss, buffers.logits, {}, logits, temperature, weight * share);
  add_total(backend, value, buffers.loss, share);
  row_products_backward(backend, buffers.d_unit, buffers.logits, buffers.z.unit);
  buffers.z.backward(backend, d_z, buffers.d_unit, unit_epsilon);
}

/// Buffers of `info_nce_loss` for M queries and N keys.
template <class T>
struct InfoNceBuffers {
  UnitRows<T> query, key;  // (M,D), (N,D)
  MatrixView<T> d_unit;    // (M,D)
  MatrixView<T> logits;    // (M,N)
  VectorView<T> loss;      // (M)

  static InfoNceBuffers take(Arena& arena, Index queries, Index keys, Index width) {
    return {UnitRows<T>::take(arena, queries, width), UnitRows<T>::take(arena, keys, width),
            arena.matrix<T>(queries, width), arena.matrix<T>(queries, keys), arena.vector<T>(queries)};
  }
};

/// InfoNCE of MoCo v3, one direction: value (1) += 2 temperature mean_m -log softmax(unit(query[m]) . unit(key[j]) /
/// temperature)[label]; d_query (M,D) += weight times its gradient, keys are constants.
///
/// query (M,D), key (N,D); labels (M): the key of each query, empty for key m of query m (with keys of several processes
/// gathered, the process's first row + m). Source: Chen et al. 2021, alg. 1; facebookresearch/moco-v3 builder.py. Both
/// directions are added, not averaged; the factor 2 temperature keeps the gradient's size whatever the temperature.
template <Backend B, class T = typename B::Scalar>
void info_nce_loss(const B& backend, const InfoNceBuffers<T>& buffers, VectorOf<B> value, MatrixOf<B> d_query,
                   ConstMatrixOf<B> query, ConstMatrixOf<B> key, RowIndex labels, double temperature,
                   double weight = 1) {
  const double share = 2 * temperature / static_cast<double>(query.rows());
  buffers.query.forward(backend, query, unit_epsilon);
  buffers.key.forward(backend, key, unit_epsilon);
  backend.linear_forward(buffers.logits, buffers.query.unit, buffers.key.unit, {});
  const LabelledLogits<T> logits{.columns = buffers.logits, .labels = labels};
  backend.label_cross_entropy(buffers.loss, buffers.logits, {}, logits, temperature, weight * share);
  add_total(backend, value, buffers.loss, share);
  backend.linear_backward_input(buffers.d_unit, buffers.logits, buffers.key.unit);
  buffers.query.backward(backend, d_query, buffers.d_unit, unit_epsilon);
}

/// Buffers of `queue_contrast_loss` for M queries and K keys in the queue.
template <class T>
struct QueueContrastBuffers {
  UnitRows<T> query;       // (M,D)
  MatrixView<T> d_unit;    // (M,D)
  MatrixView<T> logits;    // (M,K) with the queue, then their gradients
  VectorView<T> positive;  // (M) with the query's own key, then their gradients
  VectorView<T> loss;      // (M)

  static QueueContrastBuffers take(Arena& arena, Index queries, Index queue, Index width) {
    return {UnitRows<T>::take(arena, queries, width), arena.matrix<T>(queries, width),
            arena.matrix<T>(queries, queue), arena.vector<T>(queries), arena.vector<T>(queries)};
  }
};

/// InfoNCE of MoCo v2: value (1) += mean_m of the cross-entropy of [q . k, q . queue] / temperature with label 0, q =
/// unit(query[m]); d_query (M,D) += weight times its gradient.
///
/// query (M,D); key (M,D): unit vectors of the teacher, row by row, as they will be enqueued; queue (K,D): unit vectors of
/// earlier batches. Neither key nor queue gets a gradient, and keys of this batch are no negatives: enqueue them after the
/// pass. row_weights (M), where they are given: a sum with these in the place of the mean, where a query of weight 0 has no
/// part. Source: He et al. 2020, eq. 1; facebookresearch/moco builder.py, where the teacher's weights follow before the
/// keys are computed. Cost: 4 M K D multiply-adds and (M,K) numbers.
template <Backend B, class T = typename B::Scalar>
void queue_contrast_loss(const B& backend, const QueueContrastBuffers<T>& buffers, VectorOf<B> value,
                         MatrixOf<B> d_query, ConstMatrixOf<B> query, ConstMatrixOf<B> key, ConstMatrixOf<B> queue,
                         double temperature, double weight = 1, ConstVectorOf<B> row_weights = {}) {
  const double share = row_weights.empty() ? 1.0 / static_cast<double>(query.rows()) : 1.0;
  buffers.query.forward(backend, query, unit_epsilon);
  backend.row_dots(buffers.positive, buffers.query.unit, key);
  backend.linear_forward(buffers.logits, buffers.query.unit, queue, {});
  const LabelledLogits<T> logits{.columns = buffers.logits, .positive = buffers.positive};
  backend.label_cross_entropy(buffers.loss, buffers.logits, buffers.positive, logits, temperature, weight * share);
  backend.linear_backward_input(buffers.d_unit, buffers.logits, queue);
  backend.add_weighted_rows(buffers.d_unit, key, buffers.positive);
  if (row_weights.empty()) {
    add_total(backend, value, buffers.loss, share);
    buffers.query.backward(backend, d_query, buffers.d_unit, unit_epsilon);
    return;
  }
  const VectorView<T> weighted = buffers.positive;  // whose gradients are read
  backend.fill(weighted, T{0});
  backend.add_weighted_rows(MatrixView<T>(weighted.data(), weighted.size(), 1),
                            ConstMatrixOf<B>(buffers.loss.data(), buffers.loss.size(), 1), row_weights);
  add_total(backend, value, weighted, 1);
  backend.l2_normalise_backward(buffers.d_unit, buffers.d_unit, buffers.query.unit, buffers.query.norm, unit_epsilon);
  backend.add_weighted_rows(d_query, buffers.d_unit, row_weights);
}

}  // namespace dssl
