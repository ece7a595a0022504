// A backend that times every primitive of another one: where a step's time goes.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/packed_weights.hpp>
#include <dssl/backend/rehearsal.hpp>

namespace dssl::benchmarks {

/// What calls of one primitive with one shape did.
struct Part {
  long calls = 0;
  double seconds = 0;
  double flops = 0;  ///< multiply-adds of products count 2; pointwise arithmetic does not count
  double bytes = 0;  ///< operands read and written once
};

/// Parts by the name of the primitive and, for products, the shape of the weight.
using Ledger = std::map<std::pair<std::string, std::string>, Part>;

/// Calls of primitives in their order, each by its name, the shape of its weight, and the bytes of its operands.
using Trace = std::vector<std::string>;

/// Parts of one of `steps` steps in the order of their time, each with what the machine would need for it at `flops`
/// FLOP/s and `bytes` bytes/s.
[[nodiscard]] inline nlohmann::json parts_json(const Ledger& ledger, int steps, double flops, double bytes) {
  std::vector<Ledger::const_iterator> order;
  for (auto it = ledger.begin(); it != ledger.end(); ++it) order.push_back(it);
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a->second.seconds > b->second.seconds; });
  nlohmann::json out = nlohmann::json::array();
  for (const auto& it : order) {
    const Part& part = it->second;
    const double n = steps;
    out.push_back({{"name", it->first.first},
                   {"shape", it->first.second},
                   {"calls", static_cast<double>(part.calls) / n},
                   {"seconds", part.seconds / n},
                   {"flop", part.flops / n},
                   {"bytes", part.bytes / n},
                   {"floor_seconds", std::max(part.flops / flops, part.bytes / bytes) / n}});
  }
  return out;
}

/// Forwards every primitive to `B` and writes down its time, FLOP and bytes.
///
/// A backend that returns before its work is done is waited for after each call, so that a call's time holds the launch
/// and the wait. Copies share one ledger. Calls of primitives must not overlap, which `B` asks for anyway. A primitive
/// that is optional in `B` is offered here only where `B` has it: add it here too when a backend gains one, or the
/// profile shows the path without it.
template <Backend B>
class TimedBackend {
 public:
  using Scalar = typename B::Scalar;
  using T = Scalar;
  using Vector = VectorView<T>;
  using ConstVector = VectorView<const T>;
  using Matrix = MatrixView<T>;
  using ConstMatrix = MatrixView<const T>;
  using Segments = VectorView<const Segment>;
  using Norms = VectorView<const double>;

  explicit TimedBackend(B backend) : x_backend(std::move(backend)) {}

  [[nodiscard]] const Ledger& ledger() const { return *x_ledger; }
  void clear() { x_ledger->clear(); }
  /// From here on calls are also written to `trace`, which outlives them; null: no more.
  void write_to(Trace* trace) { *x_trace = trace; }

  [[nodiscard]] std::string describe() const { return x_backend.describe(); }
  [[nodiscard]] std::size_t scratch_bytes() const { return x_backend.scratch_bytes(); }
  [[nodiscard]] Buffer allocate(std::size_t bytes) const { return x_backend.allocate(bytes); }
  [[nodiscard]] Buffer allocate(std::size_t bytes, const MemoryPlan& plan, const WorkingMemory& beside) const
    requires Rehearses<B>
  {
    return x_backend.allocate(bytes, plan, beside);
  }
  [[nodiscard]] WorkingMemory rehearse(const std::function<void()>& work) const
    requires Rehearses<B>
  {
    return x_backend.rehearse(work);
  }

  template <class U>
  void upload(U* destination, std::span<const U> source) const {
    x_time("upload", 0, 2 * source.size_bytes(), [&] { x_backend.upload(destination, source); });
  }
  template <class U>
  void download(std::span<U> destination, const U* source) const {
    x_time("download", 0, 2 * destination.size_bytes(), [&] { x_backend.download(destination, source); });
  }
  void fill(Vector x, T value) const {
    x_time("fill", 0, bytes(x), [&] { x_backend.fill(x, value); });
  }
  void copy(Vector y, ConstVector x) const {
    x_time("copy", 0, bytes(y, x), [&] { x_backend.copy(y, x); });
  }

  void linear_forward(Matrix y, ConstMatrix x, WeightView<const T> weight, ConstVector bias) const {
    x_time(
        "linear_forward", product(y, weight), bytes(y, x, weight, bias),
        [&] { x_backend.linear_forward(y, x, weight, bias); }, shape(weight));
  }
  void linear_backward_input(Matrix d_x, ConstMatrix d_y, ConstMatrix weight) const {
    x_time(
        "linear_backward_input", product(d_y, weight), bytes(d_x, d_y, weight),
        [&] { x_backend.linear_backward_input(d_x, d_y, weight); }, shape(weight));
  }
  void linear_backward_weight(Matrix d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x) const {
    x_time(
        "linear_backward_weight", product(d_y, d_weight), bytes(d_weight, d_weight, d_bias, d_y, x),
        [&] { x_backend.linear_backward_weight(d_weight, d_bias, d_y, x); }, shape(d_weight));
  }

  void layer_norm_forward(Matrix y, Vector mean, Vector inverse_std, ConstMatrix x, ConstVector weight,
                          ConstVector bias, double epsilon) const {
    x_time("layer_norm_forward", 0, bytes(y, mean, inverse_std, x),
           [&] { x_backend.layer_norm_forward(y, mean, inverse_std, x, weight, bias, epsilon); });
  }
  void layer_norm_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x,
                           ConstVector mean, ConstVector inverse_std, ConstVector weight) const {
    x_time("layer_norm_backward", 0, bytes(d_x, d_x, d_y, x),
           [&] { x_backend.layer_norm_backward(d_x, d_weight, d_bias, d_y, x, mean, inverse_std, weight); });
  }

  void batch_norm_forward(Matrix y, Vector mean, Vector inverse_std, ConstMatrix x, ConstVector weight,
                          ConstVector bias, double epsilon) const {
    x_time("batch_norm_forward", 0, bytes(y, mean, inverse_std, x),
           [&] { x_backend.batch_norm_forward(y, mean, inverse_std, x, weight, bias, epsilon); });
  }
  void batch_norm_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x,
                           ConstVector mean, ConstVector inverse_std, ConstVector weight) const {
    x_time("batch_norm_backward", 0, bytes(d_x, d_y, x),
           [&] { x_backend.batch_norm_backward(d_x, d_weight, d_bias, d_y, x, mean, inverse_std, weight); });
  }

  void residual_norm_forward(Matrix out, const NormRows<T>& to, ConstMatrix x, ConstMatrix branch,
                             const BranchRows<T>& from, RowIndex to_packed, ConstVector weight, ConstVector bias,
                             double epsilon) const
    requires ResidualNorms<B>
  {
    x_time("residual_norm_forward", 0, bytes(out, to.y, to.mean, to.inverse_std, x, branch), [&] {
      x_backend.residual_norm_forward(out, to, x, branch, from, to_packed, weight, bias, epsilon);
    });
  }
  void norm_residual_backward(Matrix d_x, Vector d_weight, Vector d_bias, Matrix d_branch, Vector d_branch_bias,
                              ConstMatrix d_y, RowIndex norm_packed, ConstMatrix x, ConstVector mean,
                              ConstVector inverse_std, ConstVector weight, const BranchRows<T>& to) const
    requires ResidualNorms<B>
  {
    x_time("norm_residual_backward", 0, bytes(d_x, d_x, d_branch, d_y, x), [&] {
      x_backend.norm_residual_backward(d_x, d_weight, d_bias, d_branch, d_branch_bias, d_y, norm_packed, x, mean,
                                       inverse_std, weight, to);
    });
  }

  void gelu_again_backward(Matrix y, Matrix d_x, Vector d_bias, ConstMatrix d_y, ConstMatrix x) const
    requires GeluAgain<B>
  {
    x_time("gelu_again_backward", 0, bytes(y, d_x, d_bias, d_y, x),
           [&] { x_backend.gelu_again_backward(y, d_x, d_bias, d_y, x); });
  }
  void gelu_forward(Matrix y, ConstMatrix x) const {
    x_time("gelu_forward", 0, bytes(y, x), [&] { x_backend.gelu_forward(y, x); });
  }
  void gelu_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix x) const {
    x_time("gelu_backward", 0, bytes(d_x, d_y, x), [&] { x_backend.gelu_backward(d_x, d_y, x); });
  }
  void residual_forward(Matrix out, ConstMatrix x, ConstMatrix branch, ConstVector keep,
                        RowIndex sequence_of_row) const {
    x_time("residual_forward", 0, bytes(out, x, branch),
           [&] { x_backend.residual_forward(out, x, branch, keep, sequence_of_row); });
  }
  void residual_backward(Matrix d_branch, ConstMatrix d_out, ConstVector keep,
                         RowIndex sequence_of_row) const {
    x_time("residual_backward", 0, bytes(d_branch, d_out),
           [&] { x_backend.residual_backward(d_branch, d_out, keep, sequence_of_row); });
  }
  void accumulate(Vector y, ConstVector x) const {
    x_time("accumulate", 0, bytes(y, y, x), [&] { x_backend.accumulate(y, x); });
  }
  void lerp(Vector y, ConstVector x, double m) const {
    x_time("lerp", 0, bytes(y, y, x), [&] { x_backend.lerp(y, x, m); });
  }

  void relu_forward(Matrix y, ConstMatrix x) const {
    x_time("relu_forward", 0, bytes(y, x), [&] { x_backend.relu_forward(y, x); });
  }
  void relu_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix x) const {
    x_time("relu_backward", 0, bytes(d_x, d_y, x), [&] { x_backend.relu_backward(d_x, d_y, x); });
  }
  void batch_norm_update(Vector running_mean, Vector running_variance, ConstVector mean, ConstVector inverse_std,
                         Index rows, double momentum, double epsilon) const {
    x_time("batch_norm_update", 0,
           bytes(running_mean, running_mean, running_variance, running_variance, mean, inverse_std), [&] {
             x_backend.batch_norm_update(running_mean, running_variance, mean, inverse_std, rows, momentum, epsilon);
           });
  }
  void batch_norm_evaluate_forward(Matrix y, ConstMatrix x, ConstVector running_mean, ConstVector running_variance,
                                   ConstVector weight, ConstVector bias, double epsilon) const {
    x_time("batch_norm_evaluate_forward", 0, bytes(y, x), [&] {
      x_backend.batch_norm_evaluate_forward(y, x, running_mean, running_variance, weight, bias, epsilon);
    });
  }
  void batch_norm_evaluate_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x,
                                    ConstVector running_mean, ConstVector running_variance, ConstVector weight,
                                    double epsilon) const {
    x_time("batch_norm_evaluate_backward", 0, bytes(d_x, d_y, x), [&] {
      x_backend.batch_norm_evaluate_backward(d_x, d_weight, d_bias, d_y, x, running_mean, running_variance, weight,
                                             epsilon);
    });
  }
  void add_scaled(Vector y, ConstVector x, double scale) const {
    x_time("add_scaled", 0, bytes(y, y, x), [&] { x_backend.add_scaled(y, x, scale); });
  }
  void row_dots(Vector out, ConstMatrix a, ConstMatrix b) const {
    x_time("row_dots", 0, bytes(out, a, b), [&] { x_backend.row_dots(out, a, b); });
  }
  void add_weighted_rows(Matrix y, ConstMatrix x, ConstVector weight) const {
    x_time("add_weighted_rows", 0, bytes(y, y, x), [&] { x_backend.add_weighted_rows(y, x, weight); });
  }

  void swiglu_forward(Matrix y, ConstMatrix x) const {
    x_time("swiglu_forward", 0, bytes(y, x), [&] { x_backend.swiglu_forward(y, x); });
  }
  void swiglu_again_backward(Matrix y, Matrix d_x, ConstMatrix d_y, ConstMatrix x) const {
    x_time("swiglu_again_backward", 0, bytes(y, d_x, d_y, x),
           [&] { x_backend.swiglu_again_backward(y, d_x, d_y, x); });
  }
  void rotation_rows(Matrix out, ConstMatrix coordinates, ConstVector periods) const {
    x_time("rotation_rows", 0, bytes(out, coordinates, periods),
           [&] { x_backend.rotation_rows(out, coordinates, periods); });
  }
  void rotate_heads(Matrix x, ConstMatrix rotations, RowIndex places, RowIndex packed, Index heads,
                    double direction) const {
    // Two of three parts of a row, read and written.
    x_time("rotate_heads", 0, bytes(x) / 3 * 4,
           [&] { x_backend.rotate_heads(x, rotations, places, packed, heads, direction); });
  }

  template <AttentionRelation R>
  void attention_forward(Matrix out, Matrix log_sum, ConstMatrix qkv, const SequenceBatch& batch, Index heads,
                         GroupSet queries) const {
    x_time("attention_forward", 4.0 * pairs<R>(batch, queries) * static_cast<double>(out.cols()),
           bytes(out, log_sum, qkv),
           [&] { x_backend.template attention_forward<R>(out, log_sum, qkv, batch, heads, queries); });
  }
  template <AttentionRelation R>
  void attention_backward(Matrix d_qkv, ConstMatrix d_out, ConstMatrix out, ConstMatrix log_sum,
                          ConstMatrix qkv, const SequenceBatch& batch, Index heads, GroupSet queries) const {
    // Four products, and the scores again, which are not kept.
    x_time("attention_backward", 10.0 * pairs<R>(batch, queries) * static_cast<double>(out.cols()),
           bytes(d_qkv, d_out, out, log_sum, qkv), [&] {
             x_backend.template attention_backward<R>(d_qkv, d_out, out, log_sum, qkv, batch, heads, queries);
           });
  }

  void unfold_patches(Matrix patches, TensorView<const T, 4> images, Index p) const {
    x_time("unfold_patches", 0, bytes(patches, images),
           [&] { x_backend.unfold_patches(patches, images, p); });
  }
  void copy_rows(Matrix dst, RowIndex dst_rows, ConstMatrix src, RowIndex src_rows) const {
    x_time("copy_rows", 0, 2 * row_bytes(dst, dst_rows, src, src_rows),
           [&] { x_backend.copy_rows(dst, dst_rows, src, src_rows); });
  }
  void add_rows(Matrix dst, RowIndex dst_rows, ConstMatrix src, RowIndex src_rows) const {
    x_time("add_rows", 0, 3 * row_bytes(dst, dst_rows, src, src_rows),
           [&] { x_backend.add_rows(dst, dst_rows, src, src_rows); });
  }
  void sample_rows_forward(Matrix out, ConstMatrix table, VectorView<const Taps<T>> taps) const {
    x_time("sample_rows_forward", 0, bytes(out, table, taps),
           [&] { x_backend.sample_rows_forward(out, table, taps); });
  }
  void sample_rows_backward(Matrix d_table, ConstMatrix d_out, VectorView<const Taps<T>> taps) const {
    x_time("sample_rows_backward", 0, bytes(d_table, d_table, d_out, taps),
           [&] { x_backend.sample_rows_backward(d_table, d_out, taps); });
  }

  void l2_normalise_forward(Matrix y, Vector norm, ConstMatrix x, double epsilon) const {
    x_time("l2_normalise_forward", 0, bytes(y, norm, x),
           [&] { x_backend.l2_normalise_forward(y, norm, x, epsilon); });
  }
  void l2_normalise_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix y, ConstVector norm,
                             double epsilon) const {
    x_time("l2_normalise_backward", 0, bytes(d_x, d_y, y),
           [&] { x_backend.l2_normalise_backward(d_x, d_y, y, norm, epsilon); });
  }
  void weight_norm_forward(Matrix w, Vector norm, ConstMatrix v, ConstVector g) const {
    x_time("weight_norm_forward", 0, bytes(w, norm, v),
           [&] { x_backend.weight_norm_forward(w, norm, v, g); });
  }
  void weight_norm_backward(Matrix d_v, Vector d_g, ConstMatrix d_w, ConstMatrix v, ConstVector g,
                            ConstVector norm) const {
    x_time("weight_norm_backward", 0, bytes(d_v, d_v, d_w, v),
           [&] { x_backend.weight_norm_backward(d_v, d_g, d_w, v, g, norm); });
  }

  void centred_softmax(Matrix p, ConstMatrix t, ConstVector centre, double temperature) const {
    x_time("centred_softmax", 0, bytes(p, t), [&] { x_backend.centred_softmax(p, t, centre, temperature); });
  }
  void cross_entropy(Vector loss, Matrix d_logits, ConstMatrix logits, ConstMatrix targets,
                     VectorView<const TargetRows> target_rows, double temperature, double scale,
                     ConstVector weights = {}) const {
    x_time("cross_entropy", 0, bytes(d_logits, logits, targets), [&] {
      x_backend.cross_entropy(loss, d_logits, logits, targets, target_rows, temperature, scale, weights);
    });
  }
  void row_entropy(Vector out, ConstMatrix p) const {
    x_time("row_entropy", 0, bytes(p), [&] { x_backend.row_entropy(out, p); });
  }
  void add_column_sum(Vector sum, ConstMatrix x, RowIndex rows, double scale) const {
    x_time("add_column_sum", 0,
           bytes(sum, sum) + static_cast<std::size_t>(rows.size() * x.cols()) * sizeof(T),
           [&] { x_backend.add_column_sum(sum, x, rows, scale); });
  }
  void label_cross_entropy(Vector loss, Matrix d_logits, Vector d_positive, const LabelledLogits<T>& logits,
                           double temperature, double scale) const {
    x_time("label_cross_entropy", 0, bytes(d_logits, logits.columns),
           [&] { x_backend.label_cross_entropy(loss, d_logits, d_positive, logits, temperature, scale); });
  }
  void compare_rows(Vector loss, Matrix d_x, ConstMatrix x, ConstMatrix target, Comparison comparison,
                    double scale) const {
    x_time("compare_rows", 0, bytes(d_x, x, target),
           [&] { x_backend.compare_rows(loss, d_x, x, target, comparison, scale); });
  }
  void log_distance(Vector loss, Matrix d_x, ConstMatrix x, ConstMatrix target, double epsilon,
                    double scale) const {
    x_time("log_distance", 0, bytes(d_x, x, target),
           [&] { x_backend.log_distance(loss, d_x, x, target, epsilon, scale); });
  }
  void correlation_loss(Vector diagonal, Vector rest, Matrix d_x, ConstMatrix x,
                        const CorrelationNumbers& numbers) const {
    x_time("correlation_loss", 0, bytes(d_x, x),
           [&] { x_backend.correlation_loss(diagonal, rest, d_x, x, numbers); });
  }
  void largest_columns(MatrixView<std::int32_t> out, ConstMatrix x, RowIndex excluded) const {
    x_time("largest_columns", 0, bytes(out, x), [&] { x_backend.largest_columns(out, x, excluded); });
  }
  void row_log_sum(Vector out, ConstMatrix x, ConstVector shift, double temperature) const {
    x_time("row_log_sum", 0, bytes(x), [&] { x_backend.row_log_sum(out, x, shift, temperature); });
  }
  void column_log_sum(Vector out, ConstMatrix x, ConstVector shift, double temperature) const {
    x_time("column_log_sum", 0, bytes(x), [&] { x_backend.column_log_sum(out, x, shift, temperature); });
  }

  [[nodiscard]] std::size_t prototype_loss_workspace(std::span<const TargetRows> targets, Index teacher_rows,
                                                     Index prototypes, Index width) const
    requires FusedPrototypeLoss<B>
  {
    return x_backend.prototype_loss_workspace(targets, teacher_rows, prototypes, width);
  }
  void prototype_loss(const PrototypeLossResult<T>& result, const PrototypeRows<T>& student,
                      const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets,
                      const PrototypeLossNumbers& numbers, VectorView<std::byte> workspace) const
    requires FusedPrototypeLoss<B>
  {
    // Logits of both, and the gradients of the student's rows and prototypes.
    x_time(
        "prototype_loss", 3.0 * product(student.unit, student.v) + product(teacher.unit, teacher.v),
        bytes(student.unit, student.v, student.g, teacher.unit, teacher.v, teacher.g, result.d_unit, result.d_v,
              result.d_v, result.d_g, result.d_g, result.centre_sum, result.centre_sum),
        [&] { x_backend.prototype_loss(result, student, teacher, targets, numbers, workspace); }, shape(student.v));
  }

  void squared_norms(VectorView<double> norms, ConstVector flat, Segments segments) const {
    x_time("squared_norms", 0, bytes(flat), [&] { x_backend.squared_norms(norms, flat, segments); });
  }
  void adamw_step(Vector w, Vector m, Vector v, ConstVector g, Norms norms, Segments segments,
                  const AdamWStep& step) const {
    x_time("adamw_step", 0, bytes(w, w, m, m, v, v, g),
           [&] { x_backend.adamw_step(w, m, v, g, norms, segments, step); });
  }
  void sgd_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                const MomentumStep& step) const {
    x_time("sgd_step", 0, bytes(w, w, m, m, g), [&] { x_backend.sgd_step(w, m, g, norms, segments, step); });
  }
  void lars_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                 const MomentumStep& step) const {
    x_time("lars_step", 0, bytes(w, w, m, m, g),
           [&] { x_backend.lars_step(w, m, g, norms, segments, step); });
  }

  void adamw_step(Vector w, Vector m, Vector v, ConstVector g, Norms norms, Segments segments, const AdamWStep& step,
                  Vector teacher, double momentum) const
    requires FusedUpdate<B>
  {
    x_time("adamw_step", 0, bytes(w, w, m, m, v, v, g, teacher, teacher),
           [&] { x_backend.adamw_step(w, m, v, g, norms, segments, step, teacher, momentum); });
  }
  void sgd_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments, const MomentumStep& step,
                Vector teacher, double momentum) const
    requires FusedUpdate<B>
  {
    x_time("sgd_step", 0, bytes(w, w, m, m, g, teacher, teacher),
           [&] { x_backend.sgd_step(w, m, g, norms, segments, step, teacher, momentum); });
  }
  void lars_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments, const MomentumStep& step,
                 Vector teacher, double momentum) const
    requires FusedUpdate<B>
  {
    x_time("lars_step", 0, bytes(w, w, m, m, g, teacher, teacher),
           [&] { x_backend.lars_step(w, m, g, norms, segments, step, teacher, momentum); });
  }

 private:
  template <class... Views>
  [[nodiscard]] static std::size_t bytes(const Views&... views) {
    return (std::size_t{0} + ... +
            (static_cast<std::size_t>(views.size()) * sizeof(typename Views::value_type)));
  }
  /// Multiply-adds of rows times a weight, 2 each.
  [[nodiscard]] static double product(ConstMatrix rows, ConstMatrix weight) {
    return 2.0 * static_cast<double>(rows.rows()) * static_cast<double>(weight.size());
  }
  [[nodiscard]] static std::string shape(ConstMatrix weight) {
    return std::to_string(weight.cols()) + " to " + std::to_string(weight.rows());
  }
  [[nodiscard]] static std::size_t row_bytes(Matrix dst, RowIndex dst_rows, ConstMatrix src,
                                             RowIndex src_rows) {
    const Index count = dst_rows.size() > 0   ? dst_rows.size()
                        : src_rows.size() > 0 ? src_rows.size()
                                              : src.rows();
    return static_cast<std::size_t>(count * dst.cols()) * sizeof(T);
  }
  /// Query and key pairs that the relation leaves, for one head. The sequences lie in the backend's memory.
  template <AttentionRelation R>
  [[nodiscard]] double pairs(const SequenceBatch& batch, GroupSet queries) const {
    constexpr TokenGroup groups[] = {TokenGroup::class_token, TokenGroup::reference, TokenGroup::patch};
    std::vector<Sequence> sequences(batch.sequences.flat().size());
    x_backend.download(std::span<Sequence>(sequences), batch.sequences.data());
    Index count = 0;
    for (const Sequence& s : sequences) {
      for (const TokenGroup row : groups) {
        if (!queries.has(row)) continue;
        for (const TokenGroup column : groups) {
          const Sees sees = R.sees(row, column);
          if (sees == Sees::self) count += s.count(row);
          if (sees == Sees::full) count += s.count(row) * s.count(column);
        }
      }
    }
    return static_cast<double>(count);
  }

  template <class Call>
  void x_time(std::string_view name, double flops, std::size_t moved, const Call& call,
              std::string detail = {}) const {
    using Clock = std::chrono::steady_clock;
    if (*x_trace != nullptr) {
      (*x_trace)->push_back(std::string(name) + ' ' + detail + ' ' + std::to_string(moved) + ' ' + std::to_string(flops));
    }
    const auto begin = Clock::now();
    call();
    if constexpr (requires { x_backend.synchronise(); }) x_backend.synchronise();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    Part& part = (*x_ledger)[{std::string(name), std::move(detail)}];
    ++part.calls;
    part.seconds += seconds;
    part.flops += flops;
    part.bytes += static_cast<double>(moved);
  }

  B x_backend;
  std::shared_ptr<Ledger> x_ledger = std::make_shared<Ledger>();
  std::shared_ptr<Trace*> x_trace = std::make_shared<Trace*>(nullptr);
};

}  // namespace dssl::benchmarks
