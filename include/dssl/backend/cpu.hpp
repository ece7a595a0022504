// The CPU backend: vector instructions through Eigen, threads through oneTBB.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/cpu/bf16_engine.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/options.hpp>
#include <dssl/backend/cpu/own_products.hpp>
#include <dssl/backend/cpu/product_policy.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/packed_weights.hpp>
#include <dssl/backend/precision.hpp>

namespace dssl {

namespace cpu::inline DSSL_CPU_KERNELS {

/// Attention under one relation; defined in cpu/definitions.hpp. As the primitive says; where there is an
/// engine, the operands of products are rounded to bf16.
template <std::floating_point T, AttentionRelation R>
struct AttentionUnder {
  static void forward(Workers& workers, MatrixView<T> out, MatrixView<T> log_sum, MatrixView<const T> qkv,
                      const SequenceBatch& batch, Index heads, GroupSet queries,
                      std::optional<Bf16Engine> engine);
  static void backward(Workers& workers, MatrixView<T> d_qkv, MatrixView<const T> d_out,
                       MatrixView<const T> out, MatrixView<const T> log_sum, MatrixView<const T> qkv,
                       const SequenceBatch& batch, Index heads, GroupSet queries,
                       std::optional<Bf16Engine> engine);
};

}  // namespace cpu::inline DSSL_CPU_KERNELS

inline namespace DSSL_CPU_KERNELS {

/// The CPU backend: every primitive of backend/concept.hpp, with the same bits for any number of threads.
///
/// Work is cut into blocks whose sizes depend on shapes alone, and partial sums are combined in the order of
/// the blocks. Copies share one set of threads and one scratch memory, so only one of them may be in a call
/// at a time, and a call that finds another under way throws `Error`; two that work at once are made
/// separately. Scratch grows in the first call with the largest shapes. Bits may differ between machines with
/// other vector instructions. Tests: tests/backend/cpu.cpp.
///
/// Weights that say that they may be (backend/packed_weights.hpp) are packed in their own memory at the second product with
/// each, once, and multiplied as they lie from then on: nothing is kept beside them but what fills no whole panel of columns,
/// at most one a matrix, and scratch grows to a panel of all its depth. Where that is broken off by an error, the weights are
/// refused until they are written anew. So it is with `OwnProducts`, but where a float is three bf16 numbers, for which there is no room;
/// others pack for every product. Tests: tests/backend/packed_weights.cpp.
///
/// `Products` computes the matrix products of linear layers (backend/cpu/product_policy.hpp): `OwnProducts`,
/// which needs no library, or those of <dssl/backend/onednn.hpp> and <dssl/backend/cblas.hpp>.
template <std::floating_point T = float, class Products = OwnProducts<T>>
class BasicCpu {
  static_assert(MadeFromCpuOptions<Products>,
                "BasicCpu: products are made from CpuOptions, see ProductPolicy in "
                "dssl/backend/cpu/product_policy.hpp");
  static_assert(MultipliesIn<Products, T>,
                "BasicCpu: these products have no multiply() in the backend's numbers, see "
                "ProductPolicy in dssl/backend/cpu/product_policy.hpp");
  static_assert(DescribesProducts<Products>,
                "BasicCpu: products say what computes them in describe(), see "
                "ProductPolicy in dssl/backend/cpu/product_policy.hpp");

 public:
  using Scalar = T;
  using Vector = VectorView<T>;
  using ConstVector = VectorView<const T>;
  using Matrix = MatrixView<T>;
  using ConstMatrix = MatrixView<const T>;
  using Segments = VectorView<const Segment>;
  using Norms = VectorView<const double>;

  static constexpr bool memory_is_host = true;

  BasicCpu() : BasicCpu(CpuOptions{}) {}
  /// Throws `OptionError` when `threads` is negative, or `precision` is bf16 on a backend in double, or tf32,
  /// or one that `Products` does not have.
  explicit BasicCpu(const CpuOptions& options);

  /// One line: libraries, vector instructions, threads, number format.
  [[nodiscard]] std::string describe() const;
  /// Whether this processor, in a program compiled as this one, has instructions for precision bf16.
  [[nodiscard]] static bool multiplies_bf16();
  /// What products and attention are computed in: full where bf16 was asked for and nothing multiplies it.
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
  void fill(Vector x, T value) const;
  void copy(Vector y, ConstVector x) const;

  void linear_forward(Matrix y, ConstMatrix x, WeightView<const T> weight, ConstVector bias) const;
  void linear_backward_input(Matrix d_x, ConstMatrix d_y, ConstMatrix weight) const;
  void linear_backward_weight(Matrix d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x) const;

  void layer_norm_forward(Matrix y, Vector mean, Vector inverse_std, ConstMatrix x, ConstVector weight,
                          ConstVector bias, double epsilon) const;
  void layer_norm_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x,
                           ConstVector mean, ConstVector inverse_std, ConstVector weight) const;

  void batch_norm_forward(Matrix y, Vector mean, Vector inverse_std, ConstMatrix x, ConstVector weight,
                          ConstVector bias, double epsilon) const;
  void batch_norm_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x,
                           ConstVector mean, ConstVector inverse_std, ConstVector weight) const;

  void residual_norm_forward(Matrix out, const NormRows<T>& to, ConstMatrix x, ConstMatrix branch,
                             const BranchRows<T>& from, RowIndex to_packed, ConstVector weight,
                             ConstVector bias, double epsilon) const;
  void norm_residual_backward(Matrix d_x, Vector d_weight, Vector d_bias, Matrix d_branch,
                              Vector d_branch_bias, ConstMatrix d_y, RowIndex norm_packed, ConstMatrix x,
                              ConstVector mean, ConstVector inverse_std, ConstVector weight,
                              const BranchRows<T>& to) const;

  void gelu_forward(Matrix y, ConstMatrix x) const;
  void gelu_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix x) const;
  void gelu_again_backward(Matrix y, Matrix d_x, Vector d_bias, ConstMatrix d_y, ConstMatrix x) const;
  void residual_forward(Matrix out, ConstMatrix x, ConstMatrix branch, ConstVector keep,
                        RowIndex sequence_of_row) const;
  void residual_backward(Matrix d_branch, ConstMatrix d_out, ConstVector keep,
                         RowIndex sequence_of_row) const;
  void accumulate(Vector y, ConstVector x) const;
  void lerp(Vector y, ConstVector x, double m) const;

  void relu_forward(Matrix y, ConstMatrix x) const;
  void relu_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix x) const;
  void batch_norm_update(Vector running_mean, Vector running_variance, ConstVector mean, ConstVector inverse_std,
                         Index rows, double momentum, double epsilon) const;
  void batch_norm_evaluate_forward(Matrix y, ConstMatrix x, ConstVector running_mean, ConstVector running_variance,
                                   ConstVector weight, ConstVector bias, double epsilon) const;
  void batch_norm_evaluate_backward(Matrix d_x, Vector d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x,
                                    ConstVector running_mean, ConstVector running_variance, ConstVector weight,
                                    double epsilon) const;
  void add_scaled(Vector y, ConstVector x, double scale) const;
  void row_dots(Vector out, ConstMatrix a, ConstMatrix b) const;
  void add_weighted_rows(Matrix y, ConstMatrix x, ConstVector weight) const;

  void swiglu_forward(Matrix y, ConstMatrix x) const;
  void swiglu_again_backward(Matrix y, Matrix d_x, ConstMatrix d_y, ConstMatrix x) const;
  void rotation_rows(Matrix out, ConstMatrix coordinates, ConstVector periods) const;
  void rotate_heads(Matrix x, ConstMatrix rotations, RowIndex places, RowIndex packed, Index heads,
                    double direction) const;

  template <AttentionRelation R>
  void attention_forward(Matrix out, Matrix log_sum, ConstMatrix qkv, const SequenceBatch& batch, Index heads,
                         GroupSet queries) const {
    cpu::AttentionUnder<T, R>::forward(*x_workers->enter(), out, log_sum, qkv, batch, heads, queries,
                                       x_rounding);
  }
  template <AttentionRelation R>
  void attention_backward(Matrix d_qkv, ConstMatrix d_out, ConstMatrix out, ConstMatrix log_sum,
                          ConstMatrix qkv, const SequenceBatch& batch, Index heads, GroupSet queries) const {
    cpu::AttentionUnder<T, R>::backward(*x_workers->enter(), d_qkv, d_out, out, log_sum, qkv, batch, heads,
                                        queries, x_rounding);
  }

  void unfold_patches(Matrix patches, TensorView<const T, 4> images, Index p) const;
  void copy_rows(Matrix dst, RowIndex dst_rows, ConstMatrix src, RowIndex src_rows) const;
  void add_rows(Matrix dst, RowIndex dst_rows, ConstMatrix src, RowIndex src_rows) const;
  void sample_rows_forward(Matrix out, ConstMatrix table, VectorView<const Taps<T>> taps) const;
  void sample_rows_backward(Matrix d_table, ConstMatrix d_out, VectorView<const Taps<T>> taps) const;

  void l2_normalise_forward(Matrix y, Vector norm, ConstMatrix x, double epsilon) const;
  void l2_normalise_backward(Matrix d_x, ConstMatrix d_y, ConstMatrix y, ConstVector norm,
                             double epsilon) const;
  void weight_norm_forward(Matrix w, Vector norm, ConstMatrix v, ConstVector g) const;
  void weight_norm_backward(Matrix d_v, Vector d_g, ConstMatrix d_w, ConstMatrix v, ConstVector g,
                            ConstVector norm) const;

  void centred_softmax(Matrix p, ConstMatrix t, ConstVector centre, double temperature) const;
  void cross_entropy(Vector loss, Matrix d_logits, ConstMatrix logits, ConstMatrix targets,
                     VectorView<const TargetRows> target_rows, double temperature, double scale,
                     ConstVector weights = {}) const;
  void row_entropy(Vector out, ConstMatrix p) const;
  void add_column_sum(Vector sum, ConstMatrix x, RowIndex rows, double scale) const;

  void label_cross_entropy(Vector loss, Matrix d_logits, Vector d_positive, const LabelledLogits<T>& logits,
                           double temperature, double scale) const;
  void compare_rows(Vector loss, Matrix d_x, ConstMatrix x, ConstMatrix target, Comparison comparison,
                    double scale) const;
  void log_distance(Vector loss, Matrix d_x, ConstMatrix x, ConstMatrix target, double epsilon,
                    double scale) const;
  void correlation_loss(Vector diagonal, Vector rest, Matrix d_x, ConstMatrix x,
                        const CorrelationNumbers& numbers) const;
  void largest_columns(MatrixView<std::int32_t> out, ConstMatrix x, RowIndex excluded) const;
  void row_log_sum(Vector out, ConstMatrix x, ConstVector shift, double temperature) const;
  void column_log_sum(Vector out, ConstMatrix x, ConstVector shift, double temperature) const;

  [[nodiscard]] std::size_t prototype_loss_workspace(std::span<const TargetRows> targets, Index teacher_rows,
                                                     Index prototypes, Index width) const;
  void prototype_loss(const PrototypeLossResult<T>& result, const PrototypeRows<T>& student,
                      const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets,
                      const PrototypeLossNumbers& numbers, VectorView<std::byte> workspace) const;

  void squared_norms(VectorView<double> norms, ConstVector flat, Segments segments) const;
  void adamw_step(Vector w, Vector m, Vector v, ConstVector g, Norms norms, Segments segments,
                  const AdamWStep& step) const;
  void sgd_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                const MomentumStep& step) const;
  void lars_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments,
                 const MomentumStep& step) const;
  void adamw_step(Vector w, Vector m, Vector v, ConstVector g, Norms norms, Segments segments,
                  const AdamWStep& step, Vector teacher, double momentum) const;
  void sgd_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments, const MomentumStep& step,
                Vector teacher, double momentum) const;
  void lars_step(Vector w, Vector m, ConstVector g, Norms norms, Segments segments, const MomentumStep& step,
                 Vector teacher, double momentum) const;

 private:
  static const CpuOptions& x_checked(const CpuOptions& options);

  std::shared_ptr<cpu::Workers> x_workers;
  Products x_products;
  std::optional<cpu::Bf16Engine> x_rounding;  // of attention, in precision bf16
};

}  // namespace DSSL_CPU_KERNELS

/// The CPU backend in float.
using Cpu = BasicCpu<float>;

static_assert(Backend<BasicCpu<float>> && Backend<BasicCpu<double>>);
static_assert(FusedPrototypeLoss<BasicCpu<float>> && FusedPrototypeLoss<BasicCpu<double>>);
static_assert(FusedUpdate<BasicCpu<float>> && FusedUpdate<BasicCpu<double>>);

}  // namespace dssl

#if defined(DSSL_WITH_COMPILED_CPU)
#include <dssl/backend/cpu/compiled.hpp>
#else
#include <dssl/backend/cpu/definitions.hpp>
#endif
