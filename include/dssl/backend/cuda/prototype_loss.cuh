// Cuda backend: from unit vectors over prototypes and cross-entropy to gradients, without the logits of all
// rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include <dssl/backend/cuda/columns.cuh>
#include <dssl/backend/cuda/loss.cuh>
#include <dssl/backend/cuda/product.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/operands.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>

namespace dssl::cuda {

/// scales = g / |v|, inverse_norms = 1 / |v| (or null) of the rows of v (P,D); where `sum` (D) is given,
/// centre_sum += share * the logit of `sum`: the sum of logits is the logit of the sum.
template <class T>
__global__ void prototype_scales(T* scales, T* inverse_norms, T* centre_sum, const T* v, const T* g,
                                 const T* sum, Index prototypes, Index width, T share) {
  const Index row = WarpTeam::row();
  if (row >= prototypes) return;
  const T* const in = v + row * width;
  T squares = 0;
  T dot = 0;
  for (Index c = lane_number(); c < width; c += warp_size) {
    squares += in[c] * in[c];
    if (sum != nullptr) dot += in[c] * sum[c];
  }
  squares = warp_sum(squares);
  dot = warp_sum(dot);
  if (lane_number() != 0) return;
  const T norm = std::sqrt(squares);
  const T scale = (g == nullptr ? T{1} : g[row]) / norm;
  scales[row] = scale;
  if (inverse_norms != nullptr) inverse_norms[row] = T{1} / norm;
  if (sum != nullptr) centre_sum[row] += share * scale * dot;
}

/// A chunk of one side's logits: x (rows, width), to be multiplied with `scales` (width) and, for the
/// teacher, to be lessened by `centre` (width).
template <class T>
struct LogitChunk {
  T* x;
  const T* scales;
  const T* centre;
  SoftmaxSum<T>* sums;  ///< a row's softmax over all chunks so far
  Index rows, width;
  T inverse;   ///< of the temperature
  bool first;  ///< of the chunks

  __device__ T at(Index row, Index c) const {
    const T z = x[row * width + c] * scales[c];
    return centre == nullptr ? z : z - centre[c];
  }
};

/// Softmax's sums, grown by a chunk.
template <class T, class Team>
__global__ void chunk_sums(LogitChunk<T> chunk) {
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
template <class T, class Team>
__global__ void chunk_probabilities(LogitChunk<T> chunk, T* entropy) {
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

/// The student's logits become `factor` times their gradients over |v|; loss = (first chunk) or += theirs.
template <class T, class Team>
__global__ void chunk_gradients(LogitChunk<T> chunk, T* loss, const T* targets, const TargetPair* pairs,
                                const T* inverse_norms, T factor) {
  const Index row = Team::row();
  if (row >= chunk.rows) return;
  const SoftmaxSum<T> whole = chunk.sums[row];
  const T log_total = std::log(whole.total);
  const TargetPair pair = pairs[row];
  const T* p[2];
  for (int slot = 0; slot < 2; ++slot)
    p[slot] = pair.row[slot] < 0 ? nullptr : targets + pair.row[slot] * chunk.width;
  T sum = 0;
#pragma unroll 4
  for (Index c = Team::rank(); c < chunk.width; c += Team::size()) {
    const CrossEntropyTerm<T> term((chunk.at(row, c) - whole.most) * chunk.inverse - log_total, p, c);
    sum += term.loss;
    chunk.x[row * chunk.width + c] = factor * term.gradient * inverse_norms[c];
  }
  sum = Team::sum(sum);
  if (Team::rank() == 0) loss[row] = chunk.first ? sum : loss[row] + sum;
}

/// d_v += and d_g += (or null) from d_w (P,D), which is divided by |v|.
template <class T>
__global__ void add_through_norm(T* d_v, T* d_g, const T* d_w, const T* v, const T* g, const T* inverse_norms,
                                 Index prototypes, Index width) {
  const Index row = WarpTeam::row();
  if (row >= prototypes) return;
  T dot = 0;
  for (Index c = lane_number(); c < width; c += warp_size) dot += d_w[row * width + c] * v[row * width + c];
  dot = warp_sum(dot);
  const T along = dot * inverse_norms[row] * inverse_norms[row];
  const T scale = g == nullptr ? T{1} : g[row];
  for (Index c = lane_number(); c < width; c += warp_size) {
    d_v[row * width + c] += scale * (d_w[row * width + c] - along * v[row * width + c]);
  }
  if (d_g != nullptr && lane_number() == 0) d_g[row] += dot;
}

/// Each column of x times its number.
template <class T>
__global__ void scale_columns(T* x, const T* scales, Index size, Index cols) {
  for (Index i = grid_thread(); i < size; i += grid_threads()) x[i] *= scales[i % cols];
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

/// The memory of one call.
template <class T>
struct PrototypeRoom {
  MatrixView<T> student_logits;                                 // (M,C)
  MatrixView<T> teacher_logits;                                 // (N,C)
  MatrixView<T> d_w;                                            // (C,D)
  VectorView<T> student_scales, teacher_scales, inverse_norms;  // (P)
  VectorView<SoftmaxSum<T>> student_sums, teacher_sums;         // (M), (N)
  VectorView<T> sum;                                            // (D) of the centre's rows

  PrototypeRoom(Arena& arena, Index rows, Index teacher_rows, Index prototypes, Index width, Index chunk)
      : student_logits(arena.matrix<T>(rows, chunk)),
        teacher_logits(arena.matrix<T>(teacher_rows, chunk)),
        d_w(arena.matrix<T>(chunk, width)),
        student_scales(arena.vector<T>(prototypes)),
        teacher_scales(arena.vector<T>(prototypes)),
        inverse_norms(arena.vector<T>(prototypes)),
        student_sums(arena.vector<SoftmaxSum<T>>(rows)),
        teacher_sums(arena.vector<SoftmaxSum<T>>(teacher_rows)),
        sum(arena.vector<T>(width)) {}
};

/// Bytes that `prototype_loss` works in.
template <class T>
[[nodiscard]] std::size_t prototype_loss_workspace(std::span<const TargetRows> targets, Index teacher_rows,
                                                   Index prototypes, Index width) {
  const auto rows = static_cast<Index>(targets.size());
  Arena measure;
  static_cast<void>(PrototypeRoom<T>(measure, rows, teacher_rows, prototypes, width,
                                     prototypes_of_chunk(rows + teacher_rows, prototypes)));
  return measure.high_water();
}

/// The contract is backend/concept.hpp's. All rows meet a chunk of prototypes at a time, in two sweeps over
/// the chunks: the first gives each row's softmax its largest logit and its sum, the second makes the logits
/// again, turns them into probabilities and gradients, and these into those of the chunk's prototypes, which
/// are then done, and a part of those of the unit vectors. Where one chunk holds all prototypes its logits
/// are made once.
///
/// Nothing is read by the host, and rows need no sorting. Cost: 2 (2N + 4M) P D FLOP, with one chunk 2 (N +
/// 3M) P D; sums of chunks are added in their order. Test: the table of prototype losses in tests/cuda, by
/// several chunks too.
template <class T>
void prototype_loss(const Stream& stream, const Products& products, const PrototypeLossResult<T>& result,
                    const PrototypeRows<T>& student, const PrototypeRows<T>& teacher,
                    const PrototypeTargets<T>& targets, const PrototypeLossNumbers& numbers,
                    VectorView<std::byte> workspace, Index chunk) {
  const Index rows = student.unit.rows();
  const Index teacher_rows = teacher.unit.rows();
  const Index prototypes = student.v.rows();
  const Index width = student.v.cols();
  stream.begin("prototype_loss", {rows, teacher_rows, prototypes, width});
  require_shape(
      student.unit.cols() == width && teacher.unit.cols() == width && teacher.v.rows() == prototypes &&
          teacher.v.cols() == width && targets.rows.size() == rows && targets.centre.size() == prototypes,
      "prototype_loss: student ", rows, " x ", student.unit.cols(), " on ", prototypes, " x ", width,
      ", teacher ", teacher_rows, " x ", teacher.unit.cols(), " on ", teacher.v.rows(), " x ",
      teacher.v.cols(), ", ", targets.rows.size(), " targets, centre ", targets.centre.size());
  const Buffer bytes(workspace.data(), static_cast<std::size_t>(workspace.size()), [](std::byte*) {});
  Arena arena(bytes);
  const PrototypeRoom<T> room(arena, rows, teacher_rows, prototypes, width, chunk);

  const dim3 teams(blocks_of(prototypes, WarpTeam::rows));
  stream.zero(room.sum.data(), static_cast<std::size_t>(width) * sizeof(T));
  add_column_sum(stream, room.sum, teacher.unit, targets.centre_rows, 1.0);
  launch(stream, prototype_scales<T>, teams, dim3(WarpTeam::threads), 0, room.teacher_scales.data(), nullptr,
         result.centre_sum.data(), teacher.v.data(), teacher.g.data(), room.sum.data(), prototypes, width,
         static_cast<T>(numbers.centre_share));
  launch(stream, prototype_scales<T>, teams, dim3(WarpTeam::threads), 0, room.student_scales.data(),
         room.inverse_norms.data(), nullptr, student.v.data(), student.g.data(), nullptr, prototypes, width,
         T{0});

  LogitChunk<T> of_teacher{room.teacher_logits.data(),
                           nullptr,
                           nullptr,
                           room.teacher_sums.data(),
                           teacher_rows,
                           0,
                           static_cast<T>(1.0 / numbers.teacher_temperature),
                           true};
  LogitChunk<T> of_student{room.student_logits.data(),
                           nullptr,
                           nullptr,
                           room.student_sums.data(),
                           rows,
                           0,
                           static_cast<T>(1.0 / numbers.student_temperature),
                           true};
  const auto begin_chunk = [&](Index first, bool make_logits) {
    const Index count = std::min(chunk, prototypes - first);
    of_teacher.scales = room.teacher_scales.data() + first;
    of_teacher.centre = targets.centre.data() + first;
    of_student.scales = room.student_scales.data() + first;
    of_teacher.width = of_student.width = count;
    of_teacher.first = of_student.first = first == 0;
    if (!make_logits) return count;
    products.multiply(stream, MatrixView<T>(of_teacher.x, teacher_rows, count), as_it_is(teacher.unit),
                      transposed(teacher.v.rows(first, count)));
    products.multiply(stream, MatrixView<T>(of_student.x, rows, count), as_it_is(student.unit),
                      transposed(student.v.rows(first, count)));
    return count;
  };

  for (Index first = 0; first < prototypes; first += chunk) {
    const Index count = begin_chunk(first, true);
    launch_rows(stream, chunk_sums<T, WarpTeam>, chunk_sums<T, BlockTeam>, teacher_rows, count, of_teacher);
    launch_rows(stream, chunk_sums<T, WarpTeam>, chunk_sums<T, BlockTeam>, rows, count, of_student);
  }
  for (Index first = 0; first < prototypes; first += chunk) {
    const Index count = begin_chunk(first, chunk < prototypes);
    launch_rows(stream, chunk_probabilities<T, WarpTeam>, chunk_probabilities<T, BlockTeam>, teacher_rows,
                count, of_teacher, result.entropy.data());
    launch_rows(stream, chunk_gradients<T, WarpTeam>, chunk_gradients<T, BlockTeam>, rows, count, of_student,
                result.loss.data(), of_teacher.x, reinterpret_cast<const TargetPair*>(targets.rows.data()),
                room.inverse_norms.data() + first,
                static_cast<T>(numbers.scale / numbers.student_temperature));
    if (rows == 0) continue;
    const MatrixView<T> d_logits(of_student.x, rows, count);
    const MatrixView<T> d_w(room.d_w.data(), count, width);
    const MatrixView<const T> v = student.v.rows(first, count);
    const T* const g = student.g.empty() ? nullptr : student.g.data() + first;
    products.multiply(stream, d_w, transposed(MatrixView<const T>(d_logits)), as_it_is(student.unit));
    launch(stream, add_through_norm<T>, dim3(blocks_of(count, WarpTeam::rows)), dim3(WarpTeam::threads), 0,
           result.d_v.row(first), result.d_g.empty() ? nullptr : result.d_g.data() + first, d_w.data(),
           v.data(), g, room.inverse_norms.data() + first, count, width);
    if (g != nullptr)
      launch_over(stream, scale_columns<T>, d_logits.size(), d_logits.data(), g, d_logits.size(), count);
    products.multiply(stream, result.d_unit, as_it_is(MatrixView<const T>(d_logits)), as_it_is(v), 1.0,
                      first == 0 ? 0.0 : 1.0);
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
