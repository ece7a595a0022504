// Cuda backend: norms of parameter tensors, and the optimisers, which take the teacher along in the same
// pass.
#pragma once

#include <cmath>
#include <cstddef>

#include <cub/thread/thread_search.cuh>
#include <cub/warp/warp_scan.cuh>

#include <dssl/backend/cuda/pointwise.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/operands.hpp>

namespace dssl::cuda {

/// Parameter tensors cut into pieces of a fixed size, which never span two tensors; one block each.
/// (cub::DeviceSegmentedReduce gives a tensor to one block, however large: the prototypes are most of a small network.)
///
/// The tensors are listed in the device's memory, so the host knows only how many pieces there are at most.
struct Pieces {
  static constexpr Index piece = 16'384;
  static constexpr int threads = 256;

  const Segment* segments;
  const Index* first;  ///< (segments + 1) number of each tensor's first piece
  Index count;         ///< of segments

  /// The piece of a block.
  struct Part {
    Index segment;
    Index begin;
    Index end;
    Index number;
  };

  /// False: the block has none.
  __device__ bool own(Part& part) const {
    const Index number = static_cast<Index>(blockIdx.x);
    if (number >= first[count]) return false;
    // The last tensor whose first piece is not after this one.
    const Index tensor = cub::UpperBound(first, count, number) - 1;
    const Segment& s = segments[tensor];
    const Index begin = (number - first[tensor]) * piece;
    part = {tensor, s.offset + begin, s.offset + (begin + piece < s.size ? begin + piece : s.size), number};
    return true;
  }
};

/// first[s] = number of the pieces of all tensors before s. One warp.
inline __device__ void count_pieces_of(Index* first, const Segment* segments, Index count) {
  using Scan = cub::WarpScan<Index>;
  Index before = 0;
  for (Index base = 0; base < count; base += warp_size) {
    const Index s = base + lane_number();
    const Index own = s < count ? (segments[s].size + Pieces::piece - 1) / Pieces::piece : Index{0};
    Index below = 0;
    Index all = 0;
    Scan(storage_of_warp<Scan>()).ExclusiveSum(own, below, all);
    if (s < count) first[s] = before + below;
    before += all;
    __syncwarp();
  }
  if (lane_number() == 0) first[count] = before;
}

/// A template, so that several translation units may hold it.
template <class T>
__global__ void count_pieces(Index* first, const Segment* segments, Index count) {
  count_pieces_of(first, segments, count);
}

/// The factor that clips a gradient of the given squared norm; 1 where `clip` is 0.
__device__ __forceinline__ double clip_scale(double squared_norm, double clip) {
  if (clip <= 0) return 1.0;
  const double scale = clip / (sqrt(squared_norm) + 1e-6);
  return scale < 1.0 ? scale : 1.0;
}

/// The teacher that follows in an optimiser's pass; null: nobody.
template <class T>
struct Following {
  T* teacher = nullptr;
  Lerp<T> lerp{1.0};

  __device__ __forceinline__ void follow(Index i, T w) const {
    if (teacher != nullptr) teacher[i] = lerp(teacher[i], w);
  }
  /// Where the optimiser leaves the weights as they are.
  __device__ void follow_part(const Pieces::Part& part, const T* w) const {
    for (Index i = part.begin + thread_number(); i < part.end; i += Pieces::threads) follow(i, w[i]);
  }
};

template <class T>
struct SquareTerms {
  static constexpr int count = 1;
  const T* flat;
  __device__ bool wanted(const Segment&) const { return true; }
  __device__ void operator()(Index i, const Segment&, Index, T (&value)[1]) const {
    value[0] = flat[i] * flat[i];
  }
};

/// Squares of the weights, and of what LARS would move them by.
template <class T>
struct LarsTerms {
  static constexpr int count = 2;
  const T* w;
  const T* g;
  const double* norms;
  double clip;
  double weight_decay;
  __device__ bool wanted(const Segment& s) const { return s.updated && s.adapted; }
  __device__ void operator()(Index i, const Segment& s, Index number, T (&value)[2]) const {
    const T update = static_cast<T>(clip_scale(norms[number], clip)) * g[i] +
                     static_cast<T>(s.decayed ? weight_decay : 0.0) * w[i];
    value[0] = w[i] * w[i];
    value[1] = update * update;
  }
};

/// N numbers that are summed at once.
template <class T, int N>
struct Numbers {
  T value[N];
};
struct AddNumbers {
  template <class T, int N>
  __device__ __forceinline__ Numbers<T, N> operator()(Numbers<T, N> a, const Numbers<T, N>& b) const {
    for (int n = 0; n < N; ++n) a.value[n] += b.value[n];
    return a;
  }
};

/// sums (pieces, N): sums of a tensor's terms over each piece, a thread's own in T, the threads' in double.
template <class T, class Terms>
__global__ void __launch_bounds__(Pieces::threads) piece_sums(double* sums, Pieces pieces, Terms terms) {
  Pieces::Part part;
  if (!pieces.own(part)) return;
  const Segment& segment = pieces.segments[part.segment];
  if (!terms.wanted(segment)) return;
  T own[Terms::count];
  for (int n = 0; n < Terms::count; ++n) own[n] = 0;
  for (Index i = part.begin + thread_number(); i < part.end; i += Pieces::threads) {
    T value[Terms::count];
    terms(i, segment, part.segment, value);
    for (int n = 0; n < Terms::count; ++n) own[n] += value[n];
  }
  using Reduce = cub::BlockReduce<Numbers<double, Terms::count>, Pieces::threads>;
  Numbers<double, Terms::count> all;
  for (int n = 0; n < Terms::count; ++n) all.value[n] = static_cast<double>(own[n]);
  all = Reduce(storage_of_block<Reduce>()).Reduce(all, AddNumbers{});
  if (thread_number() != 0) return;
  for (int n = 0; n < Terms::count; ++n) sums[part.number * Terms::count + n] = all.value[n];
}

/// out (segments, N): the sums of each tensor's pieces. A warp a tensor.
template <class T, class Terms>
__global__ void __launch_bounds__(WarpTeam::threads)
    segment_sums(double* out, const double* sums, Pieces pieces, Terms terms) {
  const Index s = WarpTeam::row();
  if (s >= pieces.count || !terms.wanted(pieces.segments[s])) return;
  for (int n = 0; n < Terms::count; ++n) {
    double total = 0;
    for (Index p = pieces.first[s] + lane_number(); p < pieces.first[s + 1]; p += warp_size) {
      total += sums[p * Terms::count + n];
    }
    total = warp_sum(total);
    if (lane_number() == 0) out[s * Terms::count + n] = total;
  }
}

/// Numbers of an AdamW step as kernels take them.
struct AdamWNumbers {
  double learning_rate, weight_decay, beta1, beta2, epsilon, clip;
  double first_correction[2], second_correction[2];  // 1 - beta^t, of most tensors and of prototypes

  explicit AdamWNumbers(const AdamWStep& step)
      : learning_rate(step.learning_rate),
        weight_decay(step.weight_decay),
        beta1(step.beta1),
        beta2(step.beta2),
        epsilon(step.epsilon),
        clip(step.clip) {
    const Index steps[2] = {step.step, step.prototype_step};
    for (int i = 0; i < 2; ++i) {
      first_correction[i] = 1.0 - std::pow(beta1, static_cast<double>(steps[i]));
      second_correction[i] = 1.0 - std::pow(beta2, static_cast<double>(steps[i]));
    }
  }
};

template <class T>
__global__ void __launch_bounds__(Pieces::threads)
    adamw(T* w, T* m, T* v, const T* g, const double* norms, Pieces pieces, AdamWNumbers numbers,
          Following<T> teacher) {
  Pieces::Part part;
  if (!pieces.own(part)) return;
  const Segment& segment = pieces.segments[part.segment];
  if (!segment.updated) {
    teacher.follow_part(part, w);
    return;
  }
  const int which = segment.prototype ? 1 : 0;
  const double clip = clip_scale(norms[part.segment], numbers.clip);
  const T beta1 = static_cast<T>(numbers.beta1);
  const T beta2 = static_cast<T>(numbers.beta2);
  const T epsilon = static_cast<T>(numbers.epsilon);
  const double learning_rate = numbers.learning_rate * segment.rate;
  const T rate = static_cast<T>(learning_rate / numbers.first_correction[which]);
  const T root = static_cast<T>(1.0 / sqrt(numbers.second_correction[which]));
  const T lost = static_cast<T>(segment.decayed ? learning_rate * numbers.weight_decay : 0.0);
  const T first = static_cast<T>((1.0 - numbers.beta1) * clip);
  const T second = static_cast<T>((1.0 - numbers.beta2) * clip * clip);
  for (Index i = part.begin + thread_number(); i < part.end; i += Pieces::threads) {
    const T gradient = g[i];
    const T moment = beta1 * m[i] + first * gradient;
    const T square = beta2 * v[i] + second * gradient * gradient;
    const T weight = w[i] - lost * w[i] - rate * (moment / (sqrt(square) * root + epsilon));
    m[i] = moment;
    v[i] = square;
    w[i] = weight;
    teacher.follow(i, weight);
  }
}

/// SGD, and LARS with the sums of `LarsTerms` (null: SGD).
template <class T>
__global__ void __launch_bounds__(Pieces::threads)
    momentum_update(T* w, T* m, const T* g, const double* norms, const double* lars, Pieces pieces,
                    MomentumStep step, Following<T> teacher) {
  Pieces::Part part;
  if (!pieces.own(part)) return;
  const Segment& segment = pieces.segments[part.segment];
  if (!segment.updated) {
    teacher.follow_part(part, w);
    return;
  }
  double trust = 1.0;
  if (lars != nullptr && segment.adapted) {
    const double weights = lars[2 * part.segment];
    const double updates = lars[2 * part.segment + 1];
    if (weights > 0 && updates > 0) trust = step.trust * sqrt(weights) / sqrt(updates);
  }
  const T of_gradient = static_cast<T>(trust * clip_scale(norms[part.segment], step.clip));
  const T of_weight = static_cast<T>(trust * (segment.decayed ? step.weight_decay : 0.0));
  const T kept = static_cast<T>(step.momentum);
  const T rate = static_cast<T>(step.learning_rate * segment.rate);
  for (Index i = part.begin + thread_number(); i < part.end; i += Pieces::threads) {
    const T moment = kept * m[i] + (of_weight * w[i] + of_gradient * g[i]);
    const T weight = w[i] - rate * moment;
    m[i] = moment;
    w[i] = weight;
    teacher.follow(i, weight);
  }
}

/// The pieces of a call, counted into scratch memory, which has room for sums beside.
template <class T>
class PieceWork {
 public:
  PieceWork(const Stream& stream, Index flat_size, VectorView<const Segment> segments)
      : x_stream(stream), x_most(flat_size / Pieces::piece + segments.size()), x_segments(segments.size()) {
    Arena measure;
    x_cut(measure);
    const Buffer room(stream.scratch(measure.high_water()), measure.high_water(), [](std::byte*) {});
    Arena arena(room);
    Index* const first = x_cut(arena);
    launch(stream, count_pieces<T>, dim3(segments.size() == 0 ? 0U : 1U), dim3(warp_size), 0, first,
           segments.data(), segments.size());
    x_pieces = {segments.data(), first, segments.size()};
  }

  /// A block for each piece there may be.
  template <class... Parameters, class... Arguments>
  void run(void (*kernel)(Parameters...), const Arguments&... arguments) const {
    launch(x_stream, kernel, dim3(x_segments == 0 ? 0U : static_cast<unsigned>(x_most)),
           dim3(Pieces::threads), 0, arguments...);
  }
  /// out (segments, N): sums of the terms of each tensor.
  template <class Terms>
  void sum(double* out, const Terms& terms) const {
    run(piece_sums<T, Terms>, x_sums, x_pieces, terms);
    launch(x_stream, segment_sums<T, Terms>, dim3(blocks_of(x_segments, WarpTeam::rows)),
           dim3(WarpTeam::threads), 0, out, static_cast<const double*>(x_sums), x_pieces, terms);
  }
  [[nodiscard]] const Pieces& pieces() const { return x_pieces; }
  /// Room for two numbers a tensor.
  [[nodiscard]] double* numbers() const { return x_numbers; }

 private:
  Index* x_cut(Arena& arena) {
    Index* const first = arena.take<Index>(x_segments + 1);
    x_sums = arena.take<double>(2 * x_most);
    x_numbers = arena.take<double>(2 * x_segments);
    return first;
  }

  const Stream& x_stream;
  Index x_most;
  Index x_segments;
  Pieces x_pieces{};
  double* x_sums = nullptr;
  double* x_numbers = nullptr;
};

template <class T>
void squared_norms(const Stream& stream, VectorView<double> norms, VectorView<const T> flat,
                   VectorView<const Segment> segments) {
  PieceWork<T>(stream, flat.size(), segments).sum(norms.data(), SquareTerms<T>{flat.data()});
}

template <class T>
void adamw_step(const Stream& stream, VectorView<T> w, VectorView<T> m, VectorView<T> v,
                VectorView<const T> g, VectorView<const double> norms, VectorView<const Segment> segments,
                const AdamWStep& step, const Following<T>& teacher = {}) {
  const PieceWork<T> work(stream, w.size(), segments);
  work.run(adamw<T>, w.data(), m.data(), v.data(), g.data(), norms.data(), work.pieces(), AdamWNumbers(step),
           teacher);
}

template <class T>
void sgd_step(const Stream& stream, VectorView<T> w, VectorView<T> m, VectorView<const T> g,
              VectorView<const double> norms, VectorView<const Segment> segments, const MomentumStep& step,
              const Following<T>& teacher = {}) {
  const PieceWork<T> work(stream, w.size(), segments);
  work.run(momentum_update<T>, w.data(), m.data(), g.data(), norms.data(),
           static_cast<const double*>(nullptr), work.pieces(), step, teacher);
}

template <class T>
void lars_step(const Stream& stream, VectorView<T> w, VectorView<T> m, VectorView<const T> g,
               VectorView<const double> norms, VectorView<const Segment> segments, const MomentumStep& step,
               const Following<T>& teacher = {}) {
  const PieceWork<T> work(stream, w.size(), segments);
  work.sum(work.numbers(), LarsTerms<T>{w.data(), g.data(), norms.data(), step.clip, step.weight_decay});
  work.run(momentum_update<T>, w.data(), m.data(), g.data(), norms.data(),
           static_cast<const double*>(work.numbers()), work.pieces(), step, teacher);
}

}  // namespace dssl::cuda
