// The CPU backend: vector instructions through Eigen, threads through oneTBB.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include <tbb/version.h>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/cpu/attention.hpp>
#include <dssl/backend/cpu/batch_norm.hpp>
#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/layer_norm.hpp>
#include <dssl/backend/cpu/linear.hpp>
#include <dssl/backend/cpu/loss.hpp>
#include <dssl/backend/cpu/memory.hpp>
#include <dssl/backend/cpu/optimiser.hpp>
#include <dssl/backend/cpu/options.hpp>
#include <dssl/backend/cpu/own_products.hpp>
#include <dssl/backend/cpu/pointwise.hpp>
#include <dssl/backend/cpu/product_policy.hpp>
#include <dssl/backend/cpu/prototype_loss.hpp>
#include <dssl/backend/cpu/rows.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/precision.hpp>
#include <dssl/core/error.hpp>

namespace dssl {

/// The CPU backend: every primitive of backend/concept.hpp, with the same bits for any number of threads.
///
/// Work is cut into blocks whose sizes depend on shapes alone, and partial sums are combined in the order of
/// the blocks. Copies share one set of threads and one scratch memory, so only one of them may be in a call at
/// a time; two that work at once are made separately. Scratch grows in the first call with the largest shapes.
/// Bits may differ between machines with other vector instructions. Tests: tests/backend/cpu.cpp.
///
/// `Products` computes the matrix products of linear layers (backend/cpu/product_policy.hpp): `OwnProducts`, which
/// needs no library, or those of <dssl/backend/onednn.hpp> and <dssl/backend/cblas.hpp>.
template <std::floating_point T = float, class Products = OwnProducts<T>>
class BasicCpu {
  static_assert(MadeFromCpuOptions<Products>, "BasicCpu: products are made from CpuOptions, see ProductPolicy in "
                                              "dssl/backend/cpu/product_policy.hpp");
  static_assert(MultipliesIn<Products, T>, "BasicCpu: these products have no multiply() in the backend's numbers, see "
                                           "ProductPolicy in dssl/backend/cpu/product_policy.hpp");
  static_assert(DescribesProducts<Products>, "BasicCpu: products say what computes them in describe(), see "
                                             "ProductPolicy in dssl/backend/cpu/product_policy.hpp");

 public:
  using Scalar = T;
  using Vector = VectorView<T>;
  using ConstVector = VectorView<const T>;
  using Matrix = MatrixView<T>;
  using ConstMatrix = MatrixView<const T>;
  using Segments = VectorView<const Segment>;
  using Norms = VectorView<const double>;

  BasicCpu() : BasicCpu(CpuOptions{}) {}
  /// Throws `OptionError` when `threads` is negative, or `precision` is bf16 on a backend in double, or tf32, or one
  /// that `Products` does not have.
  explicit BasicCpu(const CpuOptions& options) : x_workers(x_make(options)), x_products(options) {
    if (options.precision == Precision::bf16) x_rounding = cpu::bf16::best_engine();
  }

  /// One line: libraries, vector instructions, threads, number format.
  [[nodiscard]] std::string describe() const {
    return join("Cpu (Eigen ", EIGEN_WORLD_VERSION, ".", EIGEN_MAJOR_VERSION, ".", EIGEN_MINOR_VERSION, " with ",
                Eigen::SimdInstructionSetsInUse(), "; oneTBB ", TBB_VERSION_MAJOR, ".", TBB_VERSION_MINOR, ", ",
                threads(), threads() == 1 ? " thread; " : " threads; ",
                std::is_same_v<T, double> ? "float64" : "float32", x_products.describe(), ")");
  }
  [[nodiscard]] Precision precision() const { return x_rounding ? Precision::bf16 : Precision::full; }
  [[nodiscard]] int threads() const { return x_workers->threads(); }
  /// Scratch memory that calls so far have needed, in bytes.
  [[nodiscard]] std::size_t scratch_bytes() const { return x_workers->scratch_bytes(); }

  [[nodiscard]] Buffer allocate(std::size_t bytes) const { return x_workers->allocate(bytes); }
  template <class U>
  void upload(U* destination, std::span<const U> source) const {
    std::copy(source.begin(), source.end(), destination);
  }
  template <class U>
  void download(std::span<U> destination, const U* source) const {
    std::copy_n(source, destination.size(), destination.begin());
  }
  void fill(Vector x, T value) const { cpu::fill(*x_workers, x, value); }
  void copy(Vector y, ConstVector x) const { cpu::copy(*x_workers, y, x); }

  void linear_forward(Matrix y, ConstMatrix x, ConstMatrix weight, ConstVector bias) const {
    cpu::linear_forward(*x_workers, x_products, y, x, weight, bias);
  }
  void linear_backward_input(Matrix d_x, ConstMatrix d_y, ConstMatrix weight) const {
    cpu::linear_backward_input(*x_workers, x_products, d_x, d_y, weight);
  }
  void linear_backward_weight(Matrix d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x) const {
    cpu::linear_backward_weight(*x_workers, x_products, d_weight, d_bias, d_y, x);
  }

  void layer_norm_forward(Matrix y, Vector mean, Vector inverse_std, ConstMatrix x, ConstVector weight,
                          ConstVector bias, double epsilon) const {
    cpu::layer_norm_forward(*x_workers, y, mean, inverse_std, x, weight, bias, epsilon);
  }
  void layer_norm_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x,
                           ConstVector mean, ConstVector inverse_std, ConstVector weight) const {
    cpu::layer_norm_backward(*x_workers, d_x, d_weight, d_bias, d_y, x, mean, inverse_std, weight);
  }

  void batch_norm_forward(Matrix y, Vector mean, Vector inverse_std, ConstMatrix x, ConstVector weight,
                          ConstVector bias, double epsilon) const {
    cpu::batch_norm_forward(*x_workers, y, mean, inverse_std, x, weight, bias, epsilon);
  }
  void batch_norm_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x,
                           ConstVector mean, ConstVector inverse_std, ConstVector weight) const {
    cpu::batch_norm_backward(*x_workers, d_x, d_weight, d_bias, d_y, x, mean, inverse_std, weight);
  }

  void residual_norm_forward(Matrix out, const NormRows<T>& to, ConstMatrix x, ConstMatrix branch,
                             const BranchRows<T>& from, RowIndex to_packed, ConstVector weight, ConstVector bias,
                             double epsilon) const {
    cpu::residual_norm_forward(*x_workers, out, to, x, branch, from, to_packed, weight, bias, epsilon);
  }
  void norm_residual_backward(Matrix d_x, Vector d_weight, Vector d_bias, Matrix d_branch, Vector d_branch_bias,
                              ConstMatrix d_y, RowIndex norm_packed, ConstMatrix x, ConstVector mean,
                              ConstVector inverse_std, ConstVector weight, const BranchRows<T>& to) const {
    cpu::norm_residual_backward(*x_workers, d_x, d_weight, d_bias, d_branch, d_branch_bias, d_y, norm_packed, x, mean,
                                inverse_std, weight, to);
  }

  void gelu_forward(Matrix y, ConstMatrix x) const { cpu::gelu_forward(*x_workers, y, x); }
  void gelu_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix x) const {
    cpu::gelu_backward(*x_workers, d_x, d_y, x);
  }
  void gelu_again_backward(Matrix y, Matrix d_x, Vector d_bias, ConstMatrix d_y, ConstMatrix x) const {
    cpu::gelu_again_backward(*x_workers, y, d_x, d_bias, d_y, x);
  }
  void residual_forward(Matrix out, ConstMatrix x, ConstMatrix branch, ConstVector keep,
                        RowIndex sequence_of_row) const {
    cpu::residual_forward(*x_workers, out, x, branch, keep, sequence_of_row);
  }
  void residual_backward(Matrix d_branch, ConstMatrix d_out, ConstVector keep, RowIndex sequence_of_row) const {
    cpu::residual_backward(*x_workers, d_branch, d_out, keep, sequence_of_row);
  }
  void accumulate(Vector y, ConstVector x) const { cpu::accumulate(*x_workers, y, x); }
  void lerp(Vector y, ConstVector x, double m) const { cpu::lerp(*x_workers, y, x, m); }

  template <AttentionRelation R>
  void attention_forward(Matrix out, Matrix log_sum, ConstMatrix qkv, const SequenceBatch& batch, Index heads,
                         GroupSet queries) const {
    cpu::attention_forward<R>(*x_workers, out, log_sum, qkv, batch, heads, queries, x_rounding);
  }
  template <AttentionRelation R>
  void attention_backward(Matrix d_qkv, ConstMatrix d_out, ConstMatrix out, ConstMatrix log_sum, ConstMatrix qkv,
                          const SequenceBatch& batch, Index heads, GroupSet queries) const {
    cpu::attention_backward<R>(*x_workers, d_qkv, d_out, out, log_sum, qkv, batch, heads, queries, x_rounding);
  }

  void unfold_patches(Matrix patches, TensorView<const T, 4> images, Index p) const {
    cpu::unfold_patches(*x_workers, patches, images, p);
  }
  void copy_rows(Matrix dst, RowIndex dst_rows, ConstMatrix src, RowIndex src_rows) const {
    cpu::copy_rows(*x_workers, dst, dst_rows, src, src_rows);
  }
  void add_rows(Matrix dst, RowIndex dst_rows, ConstMatrix src, RowIndex src_rows) const {
    cpu::add_rows(*x_workers, dst, dst_rows, src, src_rows);
  }
  void sample_rows_forward(Matrix out, ConstMatrix table, VectorView<const Taps<T>> taps) const {
    cpu::sample_rows_forward(*x_workers, out, table, taps);
  }
  void sample_rows_backward(Matrix d_table, ConstMatrix d_out, VectorView<const Taps<T>> taps) const {
    cpu::sample_rows_backward(*x_workers, d_table, d_out, taps);
  }

  void l2_normalise_forward(Matrix y, Vector norm, ConstMatrix x, double epsilon) const {
    cpu::l2_normalise_forward(*x_workers, y, norm, x, epsilon);
  }
  void l2_normalise_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix y, ConstVector norm, double epsilon) const {
    cpu::l2_normalise_backward(*x_workers, d_x, d_y, y, norm, epsilon);
  }
  void weight_norm_forward(Matrix w, Vector norm, ConstMatrix v, ConstVector g) const {
    cpu::weight_norm_forward(*x_workers, w, norm, v, g);
  }
  void weight_norm_backward(Matrix d_v, Vector d_g, ConstMatrix d_w, ConstMatrix v, ConstVector g,
                            ConstVector norm) const {
    cpu::weight_norm_backward(*x_workers, d_v, d_g, d_w, v, g, norm);
  }

  void centred_softmax(Matrix p, ConstMatrix t, ConstVector centre, double temperature) const {
    cpu::centred_softmax(*x_workers, p, t, centre, temperature);
  }
  void cross_entropy(Vector loss, Matrix d_logits, ConstMatrix logits, ConstMatrix targets,
                     VectorView<const TargetRows> target_rows, double temperature, double scale) const {
    cpu::cross_entropy(*x_workers, loss, d_logits, logits, targets, target_rows, temperature, scale);
  }
  void row_entropy(Vector out, ConstMatrix p) const { cpu::row_entropy(*x_workers, out, p); }
  void add_column_sum(Vector sum, ConstMatrix x, RowIndex rows, double scale) const {
    cpu::add_column_sum(*x_workers, sum, x, rows, scale);
  }

  [[nodiscard]] std::size_t prototype_loss_workspace(std::span<const TargetRows> targets, Index teacher_rows,
                                                     Index prototypes, Index width) const {
    return cpu::prototype_loss_workspace<T>(targets, teacher_rows, prototypes, width);
  }
  void prototype_loss(const PrototypeLossResult<T>& result, const PrototypeRows<T>& student,
                      const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets,
                      const PrototypeLossNumbers& numbers, VectorView<std::byte> workspace) const {
    cpu::prototype_loss(*x_workers, result, student, teacher, targets, numbers, workspace);
  }

  void squared_norms(VectorView<double> norms, ConstVector flat, Segments segments) const {
    cpu::squared_norms(*x_workers, norms, flat, segments);
  }
  void adamw_step(Vector w, Vector m, Vector v, ConstVector g, Norms norms, Segments segments,
                  const AdamWStep& step) const {
    cpu::adamw_step(*x_workers, w, m, v, g, norms, segments, step);
  }
  void sgd_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments, const MomentumStep& step) const {
    cpu::sgd_step(*x_workers, w, m, g, norms, segments, step);
  }
  void lars_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments, const MomentumStep& step) const {
    cpu::lars_step(*x_workers, w, m, g, norms, segments, step);
  }
  void adamw_step(Vector w, Vector m, Vector v, ConstVector g, Norms norms, Segments segments, const AdamWStep& step,
                  Vector teacher, double momentum) const {
    cpu::adamw_step(*x_workers, w, m, v, g, norms, segments, step, {teacher, momentum});
  }
  void sgd_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments, const MomentumStep& step,
                Vector teacher, double momentum) const {
    cpu::sgd_step(*x_workers, w, m, g, norms, segments, step, {teacher, momentum});
  }
  void lars_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments, const MomentumStep& step,
                 Vector teacher, double momentum) const {
    cpu::lars_step(*x_workers, w, m, g, norms, segments, step, {teacher, momentum});
  }

 private:
  static std::shared_ptr<cpu::Workers> x_make(const CpuOptions& options) {
    if (options.threads < 0) throw OptionError("threads", options.threads, "0 (all) or more");
    if (options.precision == Precision::tf32) throw OptionError("precision", "tf32", "full or bf16 on Cpu");
    if (options.precision == Precision::bf16 && !std::is_same_v<T, float>) {
      throw OptionError("precision", "bf16", "full on a backend in double");
    }
    return std::make_shared<cpu::Workers>(options.threads, options.memory, options.observer);
  }

  std::shared_ptr<cpu::Workers> x_workers;
  Products x_products;
  std::optional<cpu::bf16::Engine> x_rounding;  // of attention, in precision bf16
};

/// The CPU backend in float.
using Cpu = BasicCpu<float>;

static_assert(Backend<BasicCpu<float>> && Backend<BasicCpu<double>>);
static_assert(FusedPrototypeLoss<BasicCpu<float>> && FusedPrototypeLoss<BasicCpu<double>>);
static_assert(FusedUpdate<BasicCpu<float>> && FusedUpdate<BasicCpu<double>>);

}  // namespace dssl
