// The CUDA backend as any C++ compiler sees it: declarations, without a header of CUDA.
//
// One source file compiled by nvcc holds what they stand for: #include <dssl/backend/cuda/instantiate.cuh>
// and nothing else, linked with cudart and cublasLt. Everything besides, such as Trainer<Recipe, Cuda>, stays
// with g++ or clang++. docs/cuda.md has the whole of it.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/cuda/error.hpp>
#include <dssl/backend/precision.hpp>
#include <dssl/backend/rehearsal.hpp>
#include <dssl/backend/replay.hpp>
#include <dssl/backend/view_work.hpp>

namespace dssl {

namespace cuda {

class Device;
class Graph;
class ViewSlots;

/// Attention under one relation; defined in cuda.cuh. A relation of one's own takes one line in the source
/// file that nvcc compiles: template struct dssl::cuda::AttentionUnder<float, my_relation>;
template <std::floating_point T, AttentionRelation R>
struct AttentionUnder {
  static void forward(const Device& device, MatrixView<T> out, MatrixView<T> log_sum, MatrixView<const T> qkv,
                      const SequenceBatch& batch, Index heads, GroupSet queries);
  static void backward(const Device& device, MatrixView<T> d_qkv, MatrixView<const T> d_out,
                       MatrixView<const T> out, MatrixView<const T> log_sum, MatrixView<const T> qkv,
                       const SequenceBatch& batch, Index heads, GroupSet queries);
};

}  // namespace cuda

/// Options of the CUDA backend.
struct CudaOptions {
  int device = 0;                         ///< number of the device, as CUDA counts them
  Precision precision = Precision::full;  ///< tf32 and bf16: float backends only
  bool graphs = false;                    ///< what repeats in a step is launched as one CUDA graph (docs/cuda.md)
};

/// The CUDA backend: every primitive of backend/concept.hpp on one device, in the order of one stream.
///
/// Calls return before the work is done; `download` waits. No sum is made by atomic additions, so results are
/// equal from run to run on one kind of device and one version of cuBLASLt. Copies share the stream and its
/// scratch memory, so only one of them may be in a call at a time; two that work at once are made separately.
/// Scratch and staging grow in the first call with the largest shapes, unless `rehearse` has told what they will
/// be. The thread's current device is the same after a call as before.
///
/// Throws `CudaError` where a call of CUDA or cuBLASLt fails; a kernel that fails on the device is reported
/// by the next `download`. Tests: tests/cuda_stand_in, which runs the kernels on the host, and tests/cuda, on
/// a device.
template <std::floating_point T = float>
class BasicCuda {
 public:
  using Scalar = T;
  using Vector = VectorView<T>;
  using ConstVector = VectorView<const T>;
  using Matrix = MatrixView<T>;
  using ConstMatrix = MatrixView<const T>;
  using Segments = VectorView<const Segment>;
  using Norms = VectorView<const double>;

  BasicCuda() : BasicCuda(CudaOptions{}) {}
  /// Throws `CudaError` when there is no device, the driver is too old, or the program holds no code for the
  /// device; `OptionError` when `device` is not there, or `precision` is not full on a backend in double.
  explicit BasicCuda(const CudaOptions& options);

  /// One line: device, compute capability, versions, number format.
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] Precision precision() const;
  /// Memory of the device that calls so far have needed beside buffers: scratch, and the workspace of
  /// products.
  [[nodiscard]] std::size_t scratch_bytes() const;
  /// Waits for all work that was given. Throws `CudaError` when some of it failed.
  void synchronise() const;
  /// The stream (cudaStream_t) in whose order all is done: for work of one's own on the same memory.
  [[nodiscard]] void* stream() const;
  /// CUDA devices of this machine that the process may use; 0 where there is none, or no driver.
  [[nodiscard]] static int devices();

  /// Throws `CudaError` that says how much was asked for and how much is free.
  [[nodiscard]] Buffer allocate(std::size_t bytes) const;
  /// The same, for the block of a plan and the working memory that `rehearse` told of. Throws `CudaError` that says the
  /// plan, too, before anything is allocated where more is asked for than is free.
  [[nodiscard]] Buffer allocate(std::size_t bytes, const MemoryPlan& plan, const WorkingMemory& beside) const;
  /// What `work` needs (`Rehearses`). Nothing is given to the device meanwhile.
  [[nodiscard]] WorkingMemory rehearse(const std::function<void()>& work) const;
  /// Whether `rehearse` is running: kernels of one's own do nothing then, as addresses may be those of no memory.
  [[nodiscard]] bool rehearsing() const;
  template <class U>
  void upload(U* destination, std::span<const U> source) const {
    x_upload(destination, source.data(), source.size_bytes());
  }
  template <class U>
  void download(std::span<U> destination, const U* source) const {
    x_download(destination.data(), source, destination.size_bytes());
  }
  void fill(Vector x, T value) const;
  void copy(Vector y, ConstVector x) const;

  void linear_forward(Matrix y, ConstMatrix x, ConstMatrix weight, ConstVector bias) const;
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
    cuda::AttentionUnder<T, R>::forward(*x_device, out, log_sum, qkv, batch, heads, queries);
  }
  template <AttentionRelation R>
  void attention_backward(Matrix d_qkv, ConstMatrix d_out, ConstMatrix out, ConstMatrix log_sum,
                          ConstMatrix qkv, const SequenceBatch& batch, Index heads, GroupSet queries) const {
    cuda::AttentionUnder<T, R>::backward(*x_device, d_qkv, d_out, out, log_sum, qkv, batch, heads, queries);
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

  /// See `SelectsLargest`; more are chosen by whoever wants them.
  static constexpr Index most_largest = 1024;
  void largest_of_rows(Matrix values, MatrixView<std::int32_t> columns, ConstMatrix x) const;

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

  /// What `replay` keeps of one piece of work.
  class Replay {
    friend class BasicCuda;
    std::shared_ptr<cuda::Graph> x_graph;
  };
  /// Does `work` (`Replays`). With `CudaOptions::graphs`, what comes a second time with the same key is recorded as a
  /// CUDA graph, which takes memory of the device beside the plan, and launched from then on. Results are the same to
  /// the bit. Throws `CudaError` where `work` waits, allocates, uploads or downloads while it is recorded.
  void replay(Replay& kept, double key, const std::function<void()>& work) const;

  /// Renders views on the device (`RendersViews`): sheets are copied from pinned memory by a stream of their own,
  /// beside what the backend's stream does, and rendered in the order of that stream.
  ///
  /// Views of 8-bit images are those of dssl/views to the bit before they are normalised (docs/cuda.md has the one
  /// exception); others within 1e-5 of full scale. Holds two sheets in pinned memory and two on the device, which grow to the largest; computes in the
  /// backend's scratch. At most nine launches a run of views. Copies share the sheets. Test: tests/cuda/views.cpp.
  class ViewRenderer {
   public:
    explicit ViewRenderer(const BasicCuda& backend);

    /// Pinned memory for the next sheet. Throws `Error` while two are sent and not rendered.
    [[nodiscard]] std::span<std::byte> stage(std::size_t bytes) const;
    /// Begins the copy of the sheet that was staged last, of that many views.
    void send(Index views) const;
    /// Renders the first sheet that was sent and not rendered, to the places that its views name. Returns before it is
    /// done. Throws `Error` where there is none.
    void render(std::span<const ViewRun> runs) const;
    /// Memory of the device that sheets have needed so far.
    [[nodiscard]] std::size_t device_bytes() const;

   private:
    std::shared_ptr<cuda::ViewSlots> x_slots;
  };

 private:
  void x_upload(void* destination, const void* source, std::size_t bytes) const;
  void x_download(void* destination, const void* source, std::size_t bytes) const;
  [[nodiscard]] Buffer x_allocate(std::size_t bytes, const MemoryPlan& plan) const;

  std::shared_ptr<const cuda::Device> x_device;
};

/// The CUDA backend in float.
using Cuda = BasicCuda<float>;

static_assert(Backend<BasicCuda<float>> && Backend<BasicCuda<double>>);
static_assert(FusedPrototypeLoss<BasicCuda<float>> && FusedUpdate<BasicCuda<float>>);
static_assert(GeluAgain<BasicCuda<float>> && ResidualNorms<BasicCuda<float>>);
static_assert(Rehearses<BasicCuda<float>> && Replays<BasicCuda<float>>);
static_assert(SelectsLargest<BasicCuda<float>> && SelectsLargest<BasicCuda<double>>);
static_assert(RendersViews<BasicCuda<float>> && RendersViews<BasicCuda<double>>);

}  // namespace dssl
