// The CUDA backend as nvcc compiles it: what backend/cuda.hpp declares. Here are its primitives.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/cuda/attention.cuh>
#include <dssl/backend/cuda/backend_memory.cuh>
#include <dssl/backend/cuda/batch_norm.cuh>
#include <dssl/backend/cuda/block_parts.cuh>
#include <dssl/backend/cuda/columns.cuh>
#include <dssl/backend/cuda/device.cuh>
#include <dssl/backend/cuda/largest.cuh>
#include <dssl/backend/cuda/layer_norm.cuh>
#include <dssl/backend/cuda/linear.cuh>
#include <dssl/backend/cuda/loss.cuh>
#include <dssl/backend/cuda/mlp.cuh>
#include <dssl/backend/cuda/normalise.cuh>
#include <dssl/backend/cuda/optimiser.cuh>
#include <dssl/backend/cuda/pointwise.cuh>
#include <dssl/backend/cuda/prototype_loss.cuh>
#include <dssl/backend/cuda/rows.cuh>
#include <dssl/backend/cuda/terms.cuh>
#include <dssl/backend/cuda/view_slots.cuh>

namespace dssl {

namespace cuda {

template <std::floating_point T, AttentionRelation R>
void AttentionUnder<T, R>::forward(const Device& device, MatrixView<T> out, MatrixView<T> log_sum,
                                   MatrixView<const T> qkv, const SequenceBatch& batch, Index heads,
                                   GroupSet queries) {
  const Call call(device, "attention_forward", {qkv.rows(), qkv.cols()});
  attention_forward<R>(device.stream, out, log_sum, qkv, batch, heads, queries, device.products.precision());
}

template <std::floating_point T, AttentionRelation R>
void AttentionUnder<T, R>::backward(const Device& device, MatrixView<T> d_qkv, MatrixView<const T> d_out,
                                    MatrixView<const T> out, MatrixView<const T> log_sum,
                                    MatrixView<const T> qkv, const SequenceBatch& batch, Index heads,
                                    GroupSet queries) {
  const Call call(device, "attention_backward", {qkv.rows(), qkv.cols()});
  attention_backward<R>(device.stream, d_qkv, d_out, out, log_sum, qkv, batch, heads, queries,
                        device.products.precision());
}

}  // namespace cuda

template <std::floating_point T>
std::size_t BasicCuda<T>::prototype_loss_workspace(std::span<const TargetRows> targets, Index teacher_rows,
                                                   Index prototypes, Index width) const {
  return cuda::prototype_loss_workspace<T>(targets, teacher_rows, prototypes, width, precision());
}

template <std::floating_point T>
void BasicCuda<T>::largest_of_rows(Matrix values, MatrixView<std::int32_t> columns, ConstMatrix x) const {
  static_assert(most_largest == cuda::LargestTile::most);
  const cuda::Call call(*x_device, "largest_of_rows", {x.rows(), x.cols(), values.cols()});
  cuda::largest_of_rows(x_device->stream, values, columns, x);
}

template <std::floating_point T>
void BasicCuda<T>::fill(Vector x, T value) const {
  const cuda::Call call(*x_device, "fill", {x.size()});
  cuda::fill(x_device->stream, x, value);
}

template <std::floating_point T>
void BasicCuda<T>::copy(Vector y, ConstVector x) const {
  const cuda::Call call(*x_device, "copy", {y.size()});
  x_device->stream.copy(y.data(), x.data(), static_cast<std::size_t>(x.size()) * sizeof(T));
}

template <std::floating_point T>
void BasicCuda<T>::linear_forward(Matrix y, ConstMatrix x, ConstMatrix weight, ConstVector bias) const {
  const cuda::Call call(*x_device, "linear_forward", {x.rows(), x.cols(), y.cols()});
  cuda::linear_forward(x_device->stream, x_device->products, y, x, weight, bias);
}

template <std::floating_point T>
void BasicCuda<T>::linear_backward_input(Matrix d_x, ConstMatrix d_y, ConstMatrix weight) const {
  const cuda::Call call(*x_device, "linear_backward_input", {d_x.rows(), d_x.cols(), d_y.cols()});
  cuda::linear_backward_input(x_device->stream, x_device->products, d_x, d_y, weight);
}

template <std::floating_point T>
void BasicCuda<T>::linear_backward_weight(Matrix d_weight, Vector d_bias, ConstMatrix d_y,
                                          ConstMatrix x) const {
  const cuda::Call call(*x_device, "linear_backward_weight", {x.rows(), x.cols(), d_y.cols()});
  cuda::linear_backward_weight(x_device->stream, x_device->products, d_weight, d_bias, d_y, x);
}

template <std::floating_point T>
void BasicCuda<T>::layer_norm_forward(Matrix y, Vector mean, Vector inverse_std, ConstMatrix x,
                                      ConstVector weight, ConstVector bias, double epsilon) const {
  const cuda::Call call(*x_device, "layer_norm_forward", {x.rows(), x.cols()});
  cuda::layer_norm_forward(x_device->stream, y, mean, inverse_std, x, weight, bias, epsilon);
}

template <std::floating_point T>
void BasicCuda<T>::layer_norm_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y,
                                       ConstMatrix x, ConstVector mean, ConstVector inverse_std,
                                       ConstVector weight) const {
  const cuda::Call call(*x_device, "layer_norm_backward", {x.rows(), x.cols()});
  cuda::layer_norm_backward(x_device->stream, d_x, d_weight, d_bias, d_y, x, mean, inverse_std, weight);
}

template <std::floating_point T>
void BasicCuda<T>::batch_norm_forward(Matrix y, Vector mean, Vector inverse_std, ConstMatrix x,
                                      ConstVector weight, ConstVector bias, double epsilon) const {
  const cuda::Call call(*x_device, "batch_norm_forward", {x.rows(), x.cols()});
  cuda::batch_norm_forward(x_device->stream, y, mean, inverse_std, x, weight, bias, epsilon);
}

template <std::floating_point T>
void BasicCuda<T>::batch_norm_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y,
                                       ConstMatrix x, ConstVector mean, ConstVector inverse_std,
                                       ConstVector weight) const {
  const cuda::Call call(*x_device, "batch_norm_backward", {x.rows(), x.cols()});
  cuda::batch_norm_backward(x_device->stream, d_x, d_weight, d_bias, d_y, x, mean, inverse_std, weight);
}

template <std::floating_point T>
void BasicCuda<T>::residual_norm_forward(Matrix out, const NormRows<T>& to, ConstMatrix x, ConstMatrix branch,
                                         const BranchRows<T>& from, RowIndex to_packed, ConstVector weight,
                                         ConstVector bias, double epsilon) const {
  const cuda::Call call(*x_device, "residual_norm_forward", {x.rows(), x.cols()});
  cuda::residual_norm_forward(x_device->stream, out, to, x, branch, from, to_packed, weight, bias, epsilon);
}

template <std::floating_point T>
void BasicCuda<T>::norm_residual_backward(Matrix d_x, Vector d_weight, Vector d_bias, Matrix d_branch,
                                          Vector d_branch_bias, ConstMatrix d_y, RowIndex norm_packed,
                                          ConstMatrix x, ConstVector mean, ConstVector inverse_std,
                                          ConstVector weight, const BranchRows<T>& to) const {
  const cuda::Call call(*x_device, "norm_residual_backward", {d_x.rows(), d_x.cols()});
  cuda::norm_residual_backward(x_device->stream, d_x, d_weight, d_bias, d_branch, d_branch_bias, d_y,
                               norm_packed, x, mean, inverse_std, weight, to);
}

template <std::floating_point T>
void BasicCuda<T>::gelu_forward(Matrix y, ConstMatrix x) const {
  const cuda::Call call(*x_device, "gelu_forward", {x.rows(), x.cols()});
  cuda::gelu_forward(x_device->stream, y, x);
}

template <std::floating_point T>
void BasicCuda<T>::gelu_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix x) const {
  const cuda::Call call(*x_device, "gelu_backward", {x.rows(), x.cols()});
  cuda::gelu_backward(x_device->stream, d_x, d_y, x);
}

template <std::floating_point T>
void BasicCuda<T>::gelu_again_backward(Matrix y, Matrix d_x, Vector d_bias, ConstMatrix d_y, ConstMatrix x) const {
  const cuda::Call call(*x_device, "gelu_again_backward", {x.rows(), x.cols()});
  cuda::gelu_again_backward(x_device->stream, y, d_x, d_bias, d_y, x);
}

template <std::floating_point T>
void BasicCuda<T>::residual_forward(Matrix out, ConstMatrix x, ConstMatrix branch, ConstVector keep,
                                    RowIndex sequence_of_row) const {
  const cuda::Call call(*x_device, "residual_forward", {x.rows(), x.cols()});
  cuda::residual_forward(x_device->stream, out, x, branch, keep, sequence_of_row);
}

template <std::floating_point T>
void BasicCuda<T>::residual_backward(Matrix d_branch, ConstMatrix d_out, ConstVector keep,
                                     RowIndex sequence_of_row) const {
  const cuda::Call call(*x_device, "residual_backward", {d_out.rows(), d_out.cols()});
  cuda::residual_backward(x_device->stream, d_branch, d_out, keep, sequence_of_row);
}

template <std::floating_point T>
void BasicCuda<T>::accumulate(Vector y, ConstVector x) const {
  const cuda::Call call(*x_device, "accumulate", {y.size()});
  cuda::accumulate(x_device->stream, y, x);
}

template <std::floating_point T>
void BasicCuda<T>::lerp(Vector y, ConstVector x, double m) const {
  const cuda::Call call(*x_device, "lerp", {y.size()});
  cuda::lerp(x_device->stream, y, x, m);
}

template <std::floating_point T>
void BasicCuda<T>::relu_forward(Matrix y, ConstMatrix x) const {
  const cuda::Call call(*x_device, "relu_forward", {x.rows(), x.cols()});
  cuda::relu_forward(x_device->stream, y, x);
}

template <std::floating_point T>
void BasicCuda<T>::relu_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix x) const {
  const cuda::Call call(*x_device, "relu_backward", {x.rows(), x.cols()});
  cuda::relu_backward(x_device->stream, d_x, d_y, x);
}

template <std::floating_point T>
void BasicCuda<T>::batch_norm_update(Vector running_mean, Vector running_variance, ConstVector mean,
                                     ConstVector inverse_std, Index rows, double momentum, double epsilon) const {
  const cuda::Call call(*x_device, "batch_norm_update", {rows, mean.size()});
  cuda::batch_norm_update(x_device->stream, running_mean, running_variance, mean, inverse_std, rows,
                          momentum, epsilon);
}

template <std::floating_point T>
void BasicCuda<T>::batch_norm_evaluate_forward(Matrix y, ConstMatrix x, ConstVector running_mean,
                                               ConstVector running_variance, ConstVector weight, ConstVector bias,
                                               double epsilon) const {
  const cuda::Call call(*x_device, "batch_norm_evaluate_forward", {x.rows(), x.cols()});
  cuda::batch_norm_evaluate_forward(x_device->stream, y, x, running_mean, running_variance, weight, bias,
                                    epsilon);
}

template <std::floating_point T>
void BasicCuda<T>::batch_norm_evaluate_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y,
                                                ConstMatrix x, ConstVector running_mean,
                                                ConstVector running_variance, ConstVector weight,
                                                double epsilon) const {
  const cuda::Call call(*x_device, "batch_norm_evaluate_backward", {x.rows(), x.cols()});
  cuda::batch_norm_evaluate_backward(x_device->stream, d_x, d_weight, d_bias, d_y, x, running_mean,
                                     running_variance, weight, epsilon);
}

template <std::floating_point T>
void BasicCuda<T>::add_scaled(Vector y, ConstVector x, double scale) const {
  const cuda::Call call(*x_device, "add_scaled", {y.size()});
  cuda::add_scaled(x_device->stream, y, x, scale);
}

template <std::floating_point T>
void BasicCuda<T>::row_dots(Vector out, ConstMatrix a, ConstMatrix b) const {
  const cuda::Call call(*x_device, "row_dots", {a.rows(), a.cols()});
  cuda::row_dots(x_device->stream, out, a, b);
}

template <std::floating_point T>
void BasicCuda<T>::add_weighted_rows(Matrix y, ConstMatrix x, ConstVector weight) const {
  const cuda::Call call(*x_device, "add_weighted_rows", {x.rows(), x.cols()});
  cuda::add_weighted_rows(x_device->stream, y, x, weight);
}

template <std::floating_point T>
void BasicCuda<T>::swiglu_forward(Matrix y, ConstMatrix x) const {
  const cuda::Call call(*x_device, "swiglu_forward", {x.rows(), x.cols()});
  cuda::swiglu_forward(x_device->stream, y, x);
}

template <std::floating_point T>
void BasicCuda<T>::swiglu_again_backward(Matrix y, Matrix d_x, ConstMatrix d_y, ConstMatrix x) const {
  const cuda::Call call(*x_device, "swiglu_again_backward", {x.rows(), x.cols()});
  cuda::swiglu_again_backward(x_device->stream, y, d_x, d_y, x);
}

template <std::floating_point T>
void BasicCuda<T>::rotation_rows(Matrix out, ConstMatrix coordinates, ConstVector periods) const {
  const cuda::Call call(*x_device, "rotation_rows", {out.rows(), out.cols()});
  cuda::rotation_rows(x_device->stream, out, coordinates, periods);
}

template <std::floating_point T>
void BasicCuda<T>::rotate_heads(Matrix x, ConstMatrix rotations, RowIndex places, RowIndex packed, Index heads,
                                double direction) const {
  const cuda::Call call(*x_device, "rotate_heads", {x.rows(), x.cols()});
  cuda::rotate_heads(x_device->stream, x, rotations, places, packed, heads, direction);
}

template <std::floating_point T>
void BasicCuda<T>::unfold_patches(Matrix patches, TensorView<const T, 4> images, Index p) const {
  const cuda::Call call(*x_device, "unfold_patches", {patches.rows(), patches.cols()});
  cuda::unfold_patches(x_device->stream, patches, images, p);
}

template <std::floating_point T>
void BasicCuda<T>::copy_rows(Matrix dst, RowIndex dst_rows, ConstMatrix src, RowIndex src_rows) const {
  const cuda::Call call(*x_device, "copy_rows", {dst.rows(), src.rows(), src.cols()});
  cuda::copy_rows(x_device->stream, dst, dst_rows, src, src_rows);
}

template <std::floating_point T>
void BasicCuda<T>::add_rows(Matrix dst, RowIndex dst_rows, ConstMatrix src, RowIndex src_rows) const {
  const cuda::Call call(*x_device, "add_rows", {dst.rows(), src.rows(), src.cols()});
  cuda::add_rows(x_device->stream, dst, dst_rows, src, src_rows);
}

template <std::floating_point T>
void BasicCuda<T>::sample_rows_forward(Matrix out, ConstMatrix table, VectorView<const Taps<T>> taps) const {
  const cuda::Call call(*x_device, "sample_rows_forward", {out.rows(), table.rows(), out.cols()});
  cuda::sample_rows_forward(x_device->stream, out, table, taps);
}

template <std::floating_point T>
void BasicCuda<T>::sample_rows_backward(Matrix d_table, ConstMatrix d_out,
                                        VectorView<const Taps<T>> taps) const {
  const cuda::Call call(*x_device, "sample_rows_backward", {d_table.rows(), d_out.rows(), d_out.cols()});
  cuda::sample_rows_backward(x_device->stream, d_table, d_out, taps);
}

template <std::floating_point T>
void BasicCuda<T>::l2_normalise_forward(Matrix y, Vector norm, ConstMatrix x, double epsilon) const {
  const cuda::Call call(*x_device, "l2_normalise_forward", {x.rows(), x.cols()});
  cuda::l2_normalise_forward(x_device->stream, y, norm, x, epsilon);
}

template <std::floating_point T>
void BasicCuda<T>::l2_normalise_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix y, ConstVector norm,
                                         double epsilon) const {
  const cuda::Call call(*x_device, "l2_normalise_backward", {y.rows(), y.cols()});
  cuda::l2_normalise_backward(x_device->stream, d_x, d_y, y, norm, epsilon);
}

template <std::floating_point T>
void BasicCuda<T>::weight_norm_forward(Matrix w, Vector norm, ConstMatrix v, ConstVector g) const {
  const cuda::Call call(*x_device, "weight_norm_forward", {v.rows(), v.cols()});
  cuda::weight_norm_forward(x_device->stream, w, norm, v, g);
}

template <std::floating_point T>
void BasicCuda<T>::weight_norm_backward(Matrix d_v, Vector d_g, ConstMatrix d_w, ConstMatrix v, ConstVector g,
                                        ConstVector norm) const {
  const cuda::Call call(*x_device, "weight_norm_backward", {v.rows(), v.cols()});
  cuda::weight_norm_backward(x_device->stream, d_v, d_g, d_w, v, g, norm);
}

template <std::floating_point T>
void BasicCuda<T>::centred_softmax(Matrix p, ConstMatrix t, ConstVector centre, double temperature) const {
  const cuda::Call call(*x_device, "centred_softmax", {t.rows(), t.cols()});
  cuda::centred_softmax(x_device->stream, p, t, centre, temperature);
}

template <std::floating_point T>
void BasicCuda<T>::cross_entropy(Vector loss, Matrix d_logits, ConstMatrix logits, ConstMatrix targets,
                                 VectorView<const TargetRows> target_rows, double temperature,
                                 double scale, ConstVector weights) const {
  const cuda::Call call(*x_device, "cross_entropy", {logits.rows(), logits.cols()});
  cuda::cross_entropy(x_device->stream, loss, d_logits, logits, targets, target_rows, temperature, scale, weights);
}

template <std::floating_point T>
void BasicCuda<T>::row_entropy(Vector out, ConstMatrix p) const {
  const cuda::Call call(*x_device, "row_entropy", {p.rows(), p.cols()});
  cuda::row_entropy(x_device->stream, out, p);
}

template <std::floating_point T>
void BasicCuda<T>::add_column_sum(Vector sum, ConstMatrix x, RowIndex rows, double scale) const {
  const cuda::Call call(*x_device, "add_column_sum", {x.rows(), x.cols()});
  cuda::add_column_sum(x_device->stream, sum, x, rows, scale);
}

template <std::floating_point T>
void BasicCuda<T>::label_cross_entropy(Vector loss, Matrix d_logits, Vector d_positive, const LabelledLogits<T>& logits,
                                       double temperature, double scale) const {
  const cuda::Call call(*x_device, "label_cross_entropy", {logits.columns.rows(), logits.columns.cols()});
  cuda::label_cross_entropy(x_device->stream, loss, d_logits, d_positive, logits, temperature, scale);
}

template <std::floating_point T>
void BasicCuda<T>::compare_rows(Vector loss, Matrix d_x, ConstMatrix x, ConstMatrix target, Comparison comparison,
                                double scale) const {
  const cuda::Call call(*x_device, "compare_rows", {x.rows(), x.cols()});
  cuda::compare_rows(x_device->stream, loss, d_x, x, target, comparison, scale);
}

template <std::floating_point T>
void BasicCuda<T>::log_distance(Vector loss, Matrix d_x, ConstMatrix x, ConstMatrix target, double epsilon,
                                double scale) const {
  const cuda::Call call(*x_device, "log_distance", {x.rows(), x.cols()});
  cuda::log_distance(x_device->stream, loss, d_x, x, target, epsilon, scale);
}

template <std::floating_point T>
void BasicCuda<T>::correlation_loss(Vector diagonal, Vector rest, Matrix d_x, ConstMatrix x,
                                    const CorrelationNumbers& numbers) const {
  const cuda::Call call(*x_device, "correlation_loss", {x.rows(), x.cols()});
  cuda::correlation_loss(x_device->stream, diagonal, rest, d_x, x, numbers);
}

template <std::floating_point T>
void BasicCuda<T>::largest_columns(MatrixView<std::int32_t> out, ConstMatrix x, RowIndex excluded) const {
  const cuda::Call call(*x_device, "largest_columns", {x.rows(), x.cols(), out.rows()});
  cuda::largest_columns(x_device->stream, out, x, excluded);
}

template <std::floating_point T>
void BasicCuda<T>::row_log_sum(Vector out, ConstMatrix x, ConstVector shift, double temperature) const {
  const cuda::Call call(*x_device, "row_log_sum", {x.rows(), x.cols()});
  cuda::row_log_sum(x_device->stream, out, x, shift, temperature);
}

template <std::floating_point T>
void BasicCuda<T>::column_log_sum(Vector out, ConstMatrix x, ConstVector shift, double temperature) const {
  const cuda::Call call(*x_device, "column_log_sum", {x.rows(), x.cols()});
  cuda::column_log_sum(x_device->stream, out, x, shift, temperature);
}

template <std::floating_point T>
void BasicCuda<T>::prototype_loss(const PrototypeLossResult<T>& result, const PrototypeRows<T>& student,
                                  const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets,
                                  const PrototypeLossNumbers& numbers,
                                  VectorView<std::byte> workspace) const {
  const cuda::Call call(*x_device, "prototype_loss",
                        {student.unit.rows(), teacher.unit.rows(), student.v.rows(), student.v.cols()});
  cuda::prototype_loss(x_device->stream, x_device->products, result, student, teacher, targets, numbers,
                       workspace);
}

template <std::floating_point T>
void BasicCuda<T>::squared_norms(VectorView<double> norms, ConstVector flat, Segments segments) const {
  const cuda::Call call(*x_device, "squared_norms", {flat.size(), segments.size()});
  cuda::squared_norms(x_device->stream, norms, flat, segments);
}

template <std::floating_point T>
void BasicCuda<T>::adamw_step(Vector w, Vector m, Vector v, ConstVector g, Norms norms, Segments segments,
                              const AdamWStep& step) const {
  const cuda::Call call(*x_device, "adamw_step", {w.size(), segments.size()});
  cuda::adamw_step(x_device->stream, w, m, v, g, norms, segments, step);
}

template <std::floating_point T>
void BasicCuda<T>::adamw_step(Vector w, Vector m, Vector v, ConstVector g, Norms norms, Segments segments,
                              const AdamWStep& step, Vector teacher, double momentum) const {
  const cuda::Call call(*x_device, "adamw_step", {w.size(), segments.size()});
  cuda::adamw_step(x_device->stream, w, m, v, g, norms, segments, step,
                   cuda::Following<T>{teacher.data(), cuda::Lerp<T>(momentum)});
}

template <std::floating_point T>
void BasicCuda<T>::sgd_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                            const MomentumStep& step) const {
  const cuda::Call call(*x_device, "sgd_step", {w.size(), segments.size()});
  cuda::sgd_step(x_device->stream, w, m, g, norms, segments, step);
}

template <std::floating_point T>
void BasicCuda<T>::sgd_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                            const MomentumStep& step, Vector teacher, double momentum) const {
  const cuda::Call call(*x_device, "sgd_step", {w.size(), segments.size()});
  cuda::sgd_step(x_device->stream, w, m, g, norms, segments, step,
                 cuda::Following<T>{teacher.data(), cuda::Lerp<T>(momentum)});
}

template <std::floating_point T>
void BasicCuda<T>::lars_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                             const MomentumStep& step) const {
  const cuda::Call call(*x_device, "lars_step", {w.size(), segments.size()});
  cuda::lars_step(x_device->stream, w, m, g, norms, segments, step);
}

template <std::floating_point T>
void BasicCuda<T>::lars_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                             const MomentumStep& step, Vector teacher, double momentum) const {
  const cuda::Call call(*x_device, "lars_step", {w.size(), segments.size()});
  cuda::lars_step(x_device->stream, w, m, g, norms, segments, step,
                  cuda::Following<T>{teacher.data(), cuda::Lerp<T>(momentum)});
}

}  // namespace dssl
