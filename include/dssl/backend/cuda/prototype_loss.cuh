// Cuda backend: from unit vectors over prototypes and cross-entropy to gradients, without the logits of all
// rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <type_traits>

#include <dssl/backend/cuda/columns.cuh>
#include <dssl/backend/cuda/loss.cuh>
#include <dssl/backend/cuda/normalise.cuh>
#include <dssl/backend/cuda/product.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/operands.hpp>
#include <dssl/backend/precision.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>

namespace dssl::cuda {

/// One side's logits on a chunk of the prototypes.
template <class T>
struct LogitChunk {
  T* x;                 ///< (rows, width)
  const T* centre;      ///< (width), or null
  SoftmaxSum<T>* sums;  ///< (rows) softmax over all chunks so far
  Index rows, width;
  T inverse;   ///< of the temperature
  bool first;  ///< of the chunks

  __device__ T at(Index row, Index c) const {
    return centre == nullptr ? x[row * width + c] : x[row * width + c] - centre[c];
  }
};

/// Softmax's sums, grown by a chunk.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads) chunk_sums(LogitChunk<T> chunk) {
  const Index row = Team::row();
  if (row >= chunk.rows) return;
  SoftmaxSum<T> own;
#pragma unroll 4
  for (Index c = Team::rank(); c < chunk.width; c += Team::size()) own.add(chunk.at(row, c), chunk.inverse);
  SoftmaxSum<T> whole = own.template of_team<Team>(chunk.inverse);
  if (Team::rank() != 0) return;
  if (!chunk.first) whole.add(chunk.sums[row], chunk.inverse);
  chunk.sums[row] = whole;
}

/// The teacher's logits become its probabilities; entropy = (first chunk) or += theirs.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads) chunk_probabilities(LogitChunk<T> chunk, T* entropy) {
  const Index row = Team::row();
  if (row >= chunk.rows) return;
  const SoftmaxSum<T> whole = chunk.sums[row];
  const T log_total = std::log(whole.total);
  T sum = 0;
#pragma unroll 4
  for (Index c = Team::rank(); c < chunk.width; c += Team::size()) {
    const T log_p = (chunk.at(row, c) - whole.most) * chunk.inverse - log_total;
    const T p = std::exp(log_p);
    if (p > 0) sum -= p * log_p;
    chunk.x[row * chunk.width + c] = p;
  }
  sum = Team::sum(sum);
  if (Team::rank() == 0) entropy[row] = chunk.first ? sum : entropy[row] + sum;
}

/// A number as it is, or rounded to bf16.
template <class T>
__device__ __forceinline__ void assign(T& to, T x) {
  to = x;
}
__device__ __forceinline__ void assign(__nv_bfloat16& to, float x) { to = __float2bfloat16_rn(x); }

/// d_logits (rows, pitch) = `factor` (and the row's weight, where there are any) times the gradients of the student's logits, in whose place they may
/// lie; loss = (first chunk) or += theirs.
template <class Team, class T, class D>
__global__ void __launch_bounds__(Team::threads)
    chunk_gradients(LogitChunk<T> chunk, D* d_logits, Index pitch, T* loss, const T* targets,
                    const TargetPair* pairs, const T* weights, T factor) {
  const Index row = Team::row();
  if (row >= chunk.rows) return;
  if (weights != nullptr) factor *= weights[row];
  const SoftmaxSum<T> whole = chunk.sums[row];
  const T log_total = std::log(whole.total);
  const TargetPair pair = pairs[row];
  const T* p[2];
  for (int slot = 0; slot < 2; ++slot) {
    p[slot] = pair.row[slot] < 0 ? nullptr : targets + pair.row[slot] * chunk.width;
  }
  T sum = 0;
#pragma unroll 4
  for (Index c = Team::rank(); c < chunk.width; c += Team::size()) {
    const CrossEntropyTerm<T> term((chunk.at(row, c) - whole.most) * chunk.inverse - log_total, p, c);
    sum += term.loss;
    assign(d_logits[row * pitch + c], factor * term.gradient);
  }
  sum = Team::sum(sum);
  if (Team::rank() == 0) loss[row] = chunk.first ? sum : loss[row] + sum;
}

/// How many prototypes a chunk has: as many as give 2^24 logits of both sides (64 MiB in float), at least
/// 1024.
///
/// Fewer would make short products; more would only take memory.
[[nodiscard]] inline Index prototypes_of_chunk(Index rows, Index prototypes) {
  constexpr Index most = Index{1} << 24;
  const Index fit = std::max(Index{1024}, most / std::max(Index{1}, rows) / 128 * 128);
  const Index chunks = (prototypes + fit - 1) / fit;
  return std::min(prototypes, ((prototypes + chunks - 1) / chunks + 127) / 128 * 128);
}

/// The memory of one call: C prototypes a chunk.
template <class T>
struct PrototypeRoom {
  MatrixView<T> student_logits;       // (M,C)
  MatrixView<T> teacher_logits;       // (N,C)
  MatrixView<__nv_bfloat16> rounded;  // (M,C) gradients of the logits, where products are in bf16
  MatrixView<T> w;                    // (C,D) normalised: the teacher's, then the student's
  MatrixView<T> d_w;                  // (C,D)
  VectorView<T> norm;                 // (C) of the same
  VectorView<SoftmaxSum<T>> student_sums, teacher_sums;  // (M), (N)
  MatrixView<T> sum;                                     // (1,D) of the centre's rows

  PrototypeRoom(Arena& arena, Index rows, Index teacher_rows, Index width, Index chunk, Precision precision)
      : student_logits(arena.matrix<T>(rows, chunk)),
        teacher_logits(arena.matrix<T>(teacher_rows, chunk)),
        rounded(arena.matrix<__nv_bfloat16>(precision == Precision::bf16 ? rows : 0, bf16_pitch(chunk))),
        w(arena.matrix<T>(chunk, width)),
        d_w(arena.matrix<T>(chunk, width)),
        norm(arena.vector<T>(chunk)),
        student_sums(arena.vector<SoftmaxSum<T>>(rows)),
        teacher_sums(arena.vector<SoftmaxSum<T>>(teacher_rows)),
        sum(arena.matrix<T>(1, width)) {}
};

namespace detail {

/// One call, a chunk at a time.
template <class T>
class PrototypeSweeps {
 public:
  PrototypeSweeps(const Stream& stream, const Products& products, const PrototypeRoom<T>& room,
                  const PrototypeLossResult<T>& result, const PrototypeRows<T>& student,
                  const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets,
                  const PrototypeLossNumbers& numbers)
      : x_stream(stream),
        x_products(products),
        x_room(room),
        x_result(result),
        x_student(student),
        x_teacher(teacher),
        x_targets(targets),
        x_numbers(numbers),
        x_of_teacher{room.teacher_logits.data(),
                     nullptr,
                     room.teacher_sums.data(),
                     teacher.unit.rows(),
                     0,
                     static_cast<T>(1.0 / numbers.teacher_temperature),
                     true},
        x_of_student{room.student_logits.data(),
                     nullptr,
                     room.student_sums.data(),
                     student.unit.rows(),
                     0,
                     static_cast<T>(1.0 / numbers.student_temperature),
                     true} {}

  /// The sum of logits is the logit of the sum.
  void sum_centre_rows() const {
    const VectorView<T> sum(x_room.sum.data(), x_room.sum.cols());
    x_stream.zero(sum.data(), static_cast<std::size_t>(sum.size()) * sizeof(T));
    add_column_sum(x_stream, sum, x_teacher.unit, x_targets.centre_rows, 1.0);
  }

  /// Both sides' logits of prototypes [first, first + count); `add_centre`: centre_sum, too.
  void logits(Index first, Index count, bool add_centre) {
    x_of_teacher.width = x_of_student.width = count;
    x_of_teacher.first = x_of_student.first = first == 0;
    x_of_teacher.centre = x_targets.centre.data() + first;
    x_normalise(x_teacher, first, count);
    x_products.multiply(x_stream, x_matrix(x_of_teacher), as_it_is(x_teacher.unit), transposed(x_w(count)));
    if (add_centre) {
      x_products.multiply(x_stream, MatrixView<T>(x_result.centre_sum.data() + first, 1, count),
                          as_it_is(MatrixView<const T>(x_room.sum)), transposed(x_w(count)),
                          x_numbers.centre_share, 1.0);
    }
    x_normalise(x_student, first, count);
    x_products.multiply(x_stream, x_matrix(x_of_student), as_it_is(x_student.unit), transposed(x_w(count)));
  }

  void sums() const {
    for (const LogitChunk<T>& side : {x_of_teacher, x_of_student}) {
      launch_rows(x_stream, chunk_sums<WarpTeam, T>, chunk_sums<BlockTeam, T>, side.rows, side.width, side);
    }
  }

  /// Of the chunk whose logits were made last.
  void gradients(Index first) const {
    const Index count = x_of_student.width;
    launch_rows(x_stream, chunk_probabilities<WarpTeam, T>, chunk_probabilities<BlockTeam, T>,
                x_of_teacher.rows, count, x_of_teacher, x_result.entropy.data());
    if constexpr (std::is_same_v<T, float>) {
      if (x_products.precision() == Precision::bf16) {
        const Index pitch = bf16_pitch(count);
        x_student_gradients(x_room.rounded.data(), pitch);
        x_back(Operand<__nv_bfloat16>{x_room.rounded.data(), x_of_student.rows, count, pitch, false}, first);
        return;
      }
    }
    x_student_gradients(x_of_student.x, count);
    x_back(as_it_is(MatrixView<const T>(x_matrix(x_of_student))), first);
  }

 private:
  static MatrixView<T> x_matrix(const LogitChunk<T>& chunk) {
    return MatrixView<T>(chunk.x, chunk.rows, chunk.width);
  }
  template <class U>
  static VectorView<U> x_part(VectorView<U> all, Index first, Index count) {
    return all.empty() ? all : VectorView<U>(all.data() + first, count);
  }
  template <class D>
  void x_student_gradients(D* d_logits, Index pitch) const {
    launch_rows(x_stream, chunk_gradients<WarpTeam, T, D>, chunk_gradients<BlockTeam, T, D>,
                x_of_student.rows, x_of_student.width, x_of_student, d_logits, pitch, x_result.loss.data(),
                x_of_teacher.x, reinterpret_cast<const TargetPair*>(x_targets.rows.data()), x_targets.weights.data(),
                static_cast<T>(x_numbers.scale / x_numbers.student_temperature));
  }
  /// Through the prototypes [first, ...) to d_v, d_g and d_unit.
  template <class D>
  void x_back(Operand<D> d_logits, Index first) const {
    if (x_of_student.rows == 0) return;
    const Index count = d_logits.width;
    const MatrixView<T> d_w = x_room.d_w.rows(0, count);
    x_products.multiply(x_stream, x_result.d_unit, d_logits, as_it_is(x_w(count)), 1.0,
                        first == 0 ? 0.0 : 1.0);
    d_logits.transposed = true;
    x_products.multiply(x_stream, d_w, d_logits, as_it_is(x_student.unit));
    weight_norm_backward(x_stream, x_result.d_v.rows(first, count), x_part(x_result.d_g, first, count),
                         MatrixView<const T>(d_w), x_student.v.rows(first, count),
                         x_part(x_student.g, first, count), VectorView<const T>(x_room.norm.data(), count));
  }
  [[nodiscard]] MatrixView<const T> x_w(Index count) const { return x_room.w.rows(0, count); }
  void x_normalise(const PrototypeRows<T>& side, Index first, Index count) const {
    weight_norm_forward(x_stream, x_room.w.rows(0, count), VectorView<T>(x_room.norm.data(), count),
                        side.v.rows(first, count), x_part(side.g, first, count));
  }

  const Stream& x_stream;
  const Products& x_products;
  PrototypeRoom<T> x_room;
  PrototypeLossResult<T> x_result;
  PrototypeRows<T> x_student, x_teacher;
  PrototypeTargets<T> x_targets;
  PrototypeLossNumbers x_numbers;
  LogitChunk<T> x_of_teacher, x_of_student;
};

}  // namespace detail

/// Bytes that `prototype_loss` works in: (M + N + 2 D) C numbers and little more, with products in bf16 half
/// as much as M C numbers besides.
template <class T>
[[nodiscard]] std::size_t prototype_loss_workspace(std::span<const TargetRows> targets, Index teacher_rows,
                                                   Index prototypes, Index width, Precision precision) {
  const auto rows = static_cast<Index>(targets.size());
  Arena measure;
  static_cast<void>(PrototypeRoom<T>(measure, rows, teacher_rows, width,
                                     prototypes_of_chunk(rows + teacher_rows, prototypes), precision));
  return measure.high_water();
}

/// The contract is backend/concept.hpp's. All rows meet a chunk of C prototypes at a time, in two sweeps: the
/// first gives each row's softmax its largest logit and its sum; the second makes the logits again, and of
/// them probabilities, gradients, those of the chunk's prototypes, which are then done, and a part of those
/// of the unit vectors. Where one chunk holds all prototypes, its logits are made once.
///
/// The host reads nothing, and rows need no sorting. Cost: 2 (2N + 4M) P D FLOP, with one chunk 2 (N + 3M) P
/// D; chunks are added in their order. Test: the table of losses over prototypes, by one chunk and by
/// several.
template <class T>
void prototype_loss(const Stream& stream, const Products& products, const PrototypeLossResult<T>& result,
                    const PrototypeRows<T>& student, const PrototypeRows<T>& teacher,
                    const PrototypeTargets<T>& targets, const PrototypeLossNumbers& numbers,
                    VectorView<std::byte> workspace, Index chunk) {
  const Index rows = student.unit.rows();
  const Index prototypes = student.v.rows();
  const Index width = student.v.cols();
  stream.begin("prototype_loss", {rows, teacher.unit.rows(), prototypes, width});
  require_shape(
      student.unit.cols() == width && teacher.unit.cols() == width && teacher.v.rows() == prototypes &&
          teacher.v.cols() == width && targets.rows.size() == rows && targets.centre.size() == prototypes &&
          (targets.weights.empty() || targets.weights.size() == rows),
      "prototype_loss: student ", rows, " x ", student.unit.cols(), " on ", prototypes, " x ", width,
      ", teacher ", teacher.unit.rows(), " x ", teacher.unit.cols(), " on ", teacher.v.rows(), " x ",
      teacher.v.cols(), ", ", targets.rows.size(), " targets, ", targets.weights.size(), " weights, centre ",
      targets.centre.size());
  const Buffer bytes(workspace.data(), static_cast<std::size_t>(workspace.size()), [](std::byte*) {});
  Arena arena(bytes);
  const PrototypeRoom<T> room(arena, rows, teacher.unit.rows(), width, chunk, products.precision());
  detail::PrototypeSweeps<T> sweeps(stream, products, room, result, student, teacher, targets, numbers);
  sweeps.sum_centre_rows();
  for (Index first = 0; first < prototypes; first += chunk) {
    sweeps.logits(first, std::min(chunk, prototypes - first), true);
    sweeps.sums();
  }
  for (Index first = 0; first < prototypes; first += chunk) {
    if (chunk < prototypes) sweeps.logits(first, std::min(chunk, prototypes - first), false);
    sweeps.gradients(first);
  }
}

template <class T>
void prototype_loss(const Stream& stream, const Products& products, const PrototypeLossResult<T>& result,
                    const PrototypeRows<T>& student, const PrototypeRows<T>& teacher,
                    const PrototypeTargets<T>& targets, const PrototypeLossNumbers& numbers,
                    VectorView<std::byte> workspace) {
  const Index rows = student.unit.rows() + teacher.unit.rows();
  prototype_loss(stream, products, result, student, teacher, targets, numbers, workspace,
                 prototypes_of_chunk(rows, student.v.rows()));
}

}  // namespace dssl::cuda
