// The Cpu backend's members, and the kernels behind them: what a program compiles that is header-only, and
// what dssl::cpu holds compiled. A user's own relation with dssl::cpu needs it too (docs/embedding.md).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <type_traits>

#include <tbb/version.h>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/attention.hpp>
#include <dssl/backend/cpu/batch_norm.hpp>
#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/block_parts.hpp>
#include <dssl/backend/cpu/instruction_sets.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/layer_norm.hpp>
#include <dssl/backend/cpu/linear.hpp>
#include <dssl/backend/cpu/loss.hpp>
#include <dssl/backend/cpu/mlp.hpp>
#include <dssl/backend/cpu/optimiser.hpp>
#include <dssl/backend/cpu/own_multiply.hpp>
#include <dssl/backend/cpu/pointwise.hpp>
#include <dssl/backend/cpu/prototype_loss.hpp>
#include <dssl/backend/cpu/rounding.hpp>
#include <dssl/backend/cpu/rows.hpp>
#include <dssl/backend/cpu/terms.hpp>
#include <dssl/core/error.hpp>

namespace dssl::cpu::inline DSSL_CPU_KERNELS {

template <std::floating_point T, AttentionRelation R>
void AttentionUnder<T, R>::forward(Workers& workers, MatrixView<T> out, MatrixView<T> log_sum,
                                   MatrixView<const T> qkv, const SequenceBatch& batch, Index heads,
                                   GroupSet queries, std::optional<Bf16Engine> engine) {
  cpu::attention_forward<R>(workers, out, log_sum, qkv, batch, heads, queries, engine);
}
template <std::floating_point T, AttentionRelation R>
void AttentionUnder<T, R>::backward(Workers& workers, MatrixView<T> d_qkv, MatrixView<const T> d_out,
                                    MatrixView<const T> out, MatrixView<const T> log_sum,
                                    MatrixView<const T> qkv, const SequenceBatch& batch, Index heads,
                                    GroupSet queries, std::optional<Bf16Engine> engine) {
  cpu::attention_backward<R>(workers, d_qkv, d_out, out, log_sum, qkv, batch, heads, queries, engine);
}

}  // namespace dssl::cpu::inline DSSL_CPU_KERNELS

namespace dssl::inline DSSL_CPU_KERNELS {

template <std::floating_point T, class Products>
const CpuOptions& BasicCpu<T, Products>::x_checked(const CpuOptions& options) {
  if (options.threads < 0) throw OptionError("threads", options.threads, "0 (all) or more");
  if (options.precision == Precision::tf32) throw OptionError("precision", "tf32", "full or bf16 on Cpu");
  if (options.precision == Precision::bf16 && !std::is_same_v<T, float>) {
    throw OptionError("precision", "bf16", "full on a backend in double");
  }
  return options;
}

template <std::floating_point T, class Products>
BasicCpu<T, Products>::BasicCpu(const CpuOptions& options)
    : x_workers(std::make_shared<cpu::Workers>(x_checked(options).threads, options.memory, options.observer)),
      x_products(options),
      x_rounding(cpu::bf16::rounding_of(options)) {}
template <std::floating_point T, class Products>
bool BasicCpu<T, Products>::multiplies_bf16() {
  return cpu::bf16::multiplies();
}
template <std::floating_point T, class Products>
std::string BasicCpu<T, Products>::describe() const {
  return join("Cpu (Eigen ", EIGEN_WORLD_VERSION, ".", EIGEN_MAJOR_VERSION, ".", EIGEN_MINOR_VERSION,
              " with ", cpu::instruction_sets(), "; oneTBB ", TBB_VERSION_MAJOR, ".",
              TBB_VERSION_MINOR, ", ", threads(), threads() == 1 ? " thread; " : " threads; ",
              std::is_same_v<T, double> ? "float64" : "float32", x_products.describe(), ")");
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::fill(Vector x, T value) const {
  cpu::fill(*x_workers->enter(), x, value);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::copy(Vector y, ConstVector x) const {
  cpu::copy(*x_workers->enter(), y, x);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::linear_forward(Matrix y, ConstMatrix x, WeightView<const T> weight,
                                           ConstVector bias) const {
  cpu::linear_forward(*x_workers->enter(), x_products, y, x, weight, bias);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::linear_backward_input(Matrix d_x, ConstMatrix d_y, ConstMatrix weight) const {
  cpu::linear_backward_input(*x_workers->enter(), x_products, d_x, d_y, weight);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::linear_backward_weight(Matrix d_weight, Vector d_bias, ConstMatrix d_y,
                                                   ConstMatrix x) const {
  cpu::linear_backward_weight(*x_workers->enter(), x_products, d_weight, d_bias, d_y, x);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::layer_norm_forward(Matrix y, Vector mean, Vector inverse_std, ConstMatrix x,
                                               ConstVector weight, ConstVector bias, double epsilon) const {
  cpu::layer_norm_forward(*x_workers->enter(), y, mean, inverse_std, x, weight, bias, epsilon);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::layer_norm_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y,
                                                ConstMatrix x, ConstVector mean, ConstVector inverse_std,
                                                ConstVector weight) const {
  cpu::layer_norm_backward(*x_workers->enter(), d_x, d_weight, d_bias, d_y, x, mean, inverse_std, weight);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::batch_norm_forward(Matrix y, Vector mean, Vector inverse_std, ConstMatrix x,
                                               ConstVector weight, ConstVector bias, double epsilon) const {
  cpu::batch_norm_forward(*x_workers->enter(), y, mean, inverse_std, x, weight, bias, epsilon);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::batch_norm_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y,
                                                ConstMatrix x, ConstVector mean, ConstVector inverse_std,
                                                ConstVector weight) const {
  cpu::batch_norm_backward(*x_workers->enter(), d_x, d_weight, d_bias, d_y, x, mean, inverse_std, weight);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::residual_norm_forward(Matrix out, const NormRows<T>& to, ConstMatrix x,
                                                  ConstMatrix branch, const BranchRows<T>& from,
                                                  RowIndex to_packed, ConstVector weight, ConstVector bias,
                                                  double epsilon) const {
  cpu::residual_norm_forward(*x_workers->enter(), out, to, x, branch, from, to_packed, weight, bias, epsilon);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::norm_residual_backward(Matrix d_x, Vector d_weight, Vector d_bias,
                                                   Matrix d_branch, Vector d_branch_bias, ConstMatrix d_y,
                                                   RowIndex norm_packed, ConstMatrix x, ConstVector mean,
                                                   ConstVector inverse_std, ConstVector weight,
                                                   const BranchRows<T>& to) const {
  cpu::norm_residual_backward(*x_workers->enter(), d_x, d_weight, d_bias, d_branch, d_branch_bias, d_y,
                              norm_packed, x, mean, inverse_std, weight, to);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::gelu_forward(Matrix y, ConstMatrix x) const {
  cpu::gelu_forward(*x_workers->enter(), y, x);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::gelu_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix x) const {
  cpu::gelu_backward(*x_workers->enter(), d_x, d_y, x);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::gelu_again_backward(Matrix y, Matrix d_x, Vector d_bias, ConstMatrix d_y,
                                                ConstMatrix x) const {
  cpu::gelu_again_backward(*x_workers->enter(), y, d_x, d_bias, d_y, x);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::residual_forward(Matrix out, ConstMatrix x, ConstMatrix branch, ConstVector keep,
                                             RowIndex sequence_of_row) const {
  cpu::residual_forward(*x_workers->enter(), out, x, branch, keep, sequence_of_row);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::residual_backward(Matrix d_branch, ConstMatrix d_out, ConstVector keep,
                                              RowIndex sequence_of_row) const {
  cpu::residual_backward(*x_workers->enter(), d_branch, d_out, keep, sequence_of_row);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::accumulate(Vector y, ConstVector x) const {
  cpu::accumulate(*x_workers->enter(), y, x);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::lerp(Vector y, ConstVector x, double m) const {
  cpu::lerp(*x_workers->enter(), y, x, m);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::relu_forward(Matrix y, ConstMatrix x) const {
  cpu::relu_forward(*x_workers->enter(), y, x);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::relu_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix x) const {
  cpu::relu_backward(*x_workers->enter(), d_x, d_y, x);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::batch_norm_update(Vector running_mean, Vector running_variance, ConstVector mean,
                                              ConstVector inverse_std, Index rows, double momentum,
                                              double epsilon) const {
  const cpu::Workers::Call call = x_workers->enter();
  cpu::batch_norm_update(running_mean, running_variance, mean, inverse_std, rows, momentum, epsilon);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::batch_norm_evaluate_forward(Matrix y, ConstMatrix x, ConstVector running_mean,
                                                        ConstVector running_variance, ConstVector weight,
                                                        ConstVector bias, double epsilon) const {
  cpu::batch_norm_evaluate_forward(*x_workers->enter(), y, x, running_mean, running_variance, weight, bias,
                                   epsilon);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::batch_norm_evaluate_backward(Matrix d_x, Vector d_weight, Vector d_bias,
                                                         ConstMatrix d_y, ConstMatrix x,
                                                         ConstVector running_mean, ConstVector running_variance,
                                                         ConstVector weight, double epsilon) const {
  cpu::batch_norm_evaluate_backward(*x_workers->enter(), d_x, d_weight, d_bias, d_y, x, running_mean,
                                    running_variance, weight, epsilon);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::add_scaled(Vector y, ConstVector x, double scale) const {
  cpu::add_scaled(*x_workers->enter(), y, x, scale);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::row_dots(Vector out, ConstMatrix a, ConstMatrix b) const {
  cpu::row_dots(*x_workers->enter(), out, a, b);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::add_weighted_rows(Matrix y, ConstMatrix x, ConstVector weight) const {
  cpu::add_weighted_rows(*x_workers->enter(), y, x, weight);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::swiglu_forward(Matrix y, ConstMatrix x) const {
  cpu::swiglu_forward(*x_workers->enter(), y, x);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::swiglu_again_backward(Matrix y, Matrix d_x, ConstMatrix d_y, ConstMatrix x) const {
  cpu::swiglu_again_backward(*x_workers->enter(), y, d_x, d_y, x);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::rotation_rows(Matrix out, ConstMatrix coordinates, ConstVector periods) const {
  cpu::rotation_rows(*x_workers->enter(), out, coordinates, periods);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::rotate_heads(Matrix x, ConstMatrix rotations, RowIndex places, RowIndex packed, Index heads,
                                         double direction) const {
  cpu::rotate_heads(*x_workers->enter(), x, rotations, places, packed, heads, direction);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::unfold_patches(Matrix patches, TensorView<const T, 4> images, Index p) const {
  cpu::unfold_patches(*x_workers->enter(), patches, images, p);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::copy_rows(Matrix dst, RowIndex dst_rows, ConstMatrix src,
                                      RowIndex src_rows) const {
  cpu::copy_rows(*x_workers->enter(), dst, dst_rows, src, src_rows);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::add_rows(Matrix dst, RowIndex dst_rows, ConstMatrix src,
                                     RowIndex src_rows) const {
  cpu::add_rows(*x_workers->enter(), dst, dst_rows, src, src_rows);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::sample_rows_forward(Matrix out, ConstMatrix table,
                                                VectorView<const Taps<T>> taps) const {
  cpu::sample_rows_forward(*x_workers->enter(), out, table, taps);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::sample_rows_backward(Matrix d_table, ConstMatrix d_out,
                                                 VectorView<const Taps<T>> taps) const {
  cpu::sample_rows_backward(*x_workers->enter(), d_table, d_out, taps);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::l2_normalise_forward(Matrix y, Vector norm, ConstMatrix x, double epsilon) const {
  cpu::l2_normalise_forward(*x_workers->enter(), y, norm, x, epsilon);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::l2_normalise_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix y,
                                                  ConstVector norm, double epsilon) const {
  cpu::l2_normalise_backward(*x_workers->enter(), d_x, d_y, y, norm, epsilon);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::weight_norm_forward(Matrix w, Vector norm, ConstMatrix v, ConstVector g) const {
  cpu::weight_norm_forward(*x_workers->enter(), w, norm, v, g);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::weight_norm_backward(Matrix d_v, Vector d_g, ConstMatrix d_w, ConstMatrix v,
                                                 ConstVector g, ConstVector norm) const {
  cpu::weight_norm_backward(*x_workers->enter(), d_v, d_g, d_w, v, g, norm);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::centred_softmax(Matrix p, ConstMatrix t, ConstVector centre,
                                            double temperature) const {
  cpu::centred_softmax(*x_workers->enter(), p, t, centre, temperature);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::cross_entropy(Vector loss, Matrix d_logits, ConstMatrix logits,
                                          ConstMatrix targets, VectorView<const TargetRows> target_rows,
                                          double temperature, double scale, ConstVector weights) const {
  cpu::cross_entropy(*x_workers->enter(), loss, d_logits, logits, targets, target_rows, temperature, scale, weights);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::row_entropy(Vector out, ConstMatrix p) const {
  cpu::row_entropy(*x_workers->enter(), out, p);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::add_column_sum(Vector sum, ConstMatrix x, RowIndex rows, double scale) const {
  cpu::add_column_sum(*x_workers->enter(), sum, x, rows, scale);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::label_cross_entropy(Vector loss, Matrix d_logits, Vector d_positive, const LabelledLogits<T>& logits,
                                                double temperature, double scale) const {
  cpu::label_cross_entropy(*x_workers->enter(), loss, d_logits, d_positive, logits, temperature, scale);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::compare_rows(Vector loss, Matrix d_x, ConstMatrix x, ConstMatrix target, Comparison comparison,
                                         double scale) const {
  cpu::compare_rows(*x_workers->enter(), loss, d_x, x, target, comparison, scale);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::log_distance(Vector loss, Matrix d_x, ConstMatrix x, ConstMatrix target, double epsilon,
                                         double scale) const {
  cpu::log_distance(*x_workers->enter(), loss, d_x, x, target, epsilon, scale);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::correlation_loss(Vector diagonal, Vector rest, Matrix d_x, ConstMatrix x,
                                             const CorrelationNumbers& numbers) const {
  cpu::correlation_loss(*x_workers->enter(), diagonal, rest, d_x, x, numbers);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::largest_columns(MatrixView<std::int32_t> out, ConstMatrix x, RowIndex excluded) const {
  cpu::largest_columns(*x_workers->enter(), out, x, excluded);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::row_log_sum(Vector out, ConstMatrix x, ConstVector shift, double temperature) const {
  cpu::row_log_sum(*x_workers->enter(), out, x, shift, temperature);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::column_log_sum(Vector out, ConstMatrix x, ConstVector shift, double temperature) const {
  cpu::column_log_sum(*x_workers->enter(), out, x, shift, temperature);
}

template <std::floating_point T, class Products>
std::size_t BasicCpu<T, Products>::prototype_loss_workspace(std::span<const TargetRows> targets, Index teacher_rows,
                                                     Index prototypes, Index width) const {
  return cpu::prototype_loss_workspace<T>(targets, teacher_rows, prototypes, width);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::prototype_loss(const PrototypeLossResult<T>& result,
                                           const PrototypeRows<T>& student, const PrototypeRows<T>& teacher,
                                           const PrototypeTargets<T>& targets,
                                           const PrototypeLossNumbers& numbers,
                                           VectorView<std::byte> workspace) const {
  cpu::prototype_loss(*x_workers->enter(), result, student, teacher, targets, numbers, workspace);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::squared_norms(VectorView<double> norms, ConstVector flat,
                                          Segments segments) const {
  cpu::squared_norms(*x_workers->enter(), norms, flat, segments);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::adamw_step(Vector w, Vector m, Vector v, ConstVector g, Norms norms,
                                       Segments segments, const AdamWStep& step) const {
  cpu::adamw_step(*x_workers->enter(), w, m, v, g, norms, segments, step);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::sgd_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                                     const MomentumStep& step) const {
  cpu::sgd_step(*x_workers->enter(), w, m, g, norms, segments, step);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::lars_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                                      const MomentumStep& step) const {
  cpu::lars_step(*x_workers->enter(), w, m, g, norms, segments, step);
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::adamw_step(Vector w, Vector m, Vector v, ConstVector g, Norms norms,
                                       Segments segments, const AdamWStep& step, Vector teacher,
                                       double momentum) const {
  cpu::adamw_step(*x_workers->enter(), w, m, v, g, norms, segments, step, {teacher, momentum});
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::sgd_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                                     const MomentumStep& step, Vector teacher, double momentum) const {
  cpu::sgd_step(*x_workers->enter(), w, m, g, norms, segments, step, {teacher, momentum});
}

template <std::floating_point T, class Products>
void BasicCpu<T, Products>::lars_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                                      const MomentumStep& step, Vector teacher, double momentum) const {
  cpu::lars_step(*x_workers->enter(), w, m, g, norms, segments, step, {teacher, momentum});
}

}  // namespace dssl::inline DSSL_CPU_KERNELS
