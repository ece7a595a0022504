// Cuda backend: softmax with a centre, cross-entropy and entropy of rows.
#pragma once

#include <cmath>
#include <cstdint>

#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/operands.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cuda {

/// A softmax's largest term so far, and the sum of exp((term - largest) * inverse).
template <class T>
struct SoftmaxSum {
  T most = -static_cast<T>(INFINITY);
  T total = 0;

  __device__ void add(T term, T inverse) {
    if (term > most) {
      total = total * std::exp((most - term) * inverse) + T{1};
      most = term;
    } else {
      total += std::exp((term - most) * inverse);
    }
  }
  __device__ void add(const SoftmaxSum& other, T inverse) {
    const T largest = most < other.most || other.most != other.most ? other.most : most;
    total = total * std::exp((most - largest) * inverse) +
            other.total * std::exp((other.most - largest) * inverse);
    most = largest;
  }
  /// That of all threads of a team, in every thread. In two reductions, with one exponential a thread: one reduction of
  /// both numbers would take two a step.
  template <class Team>
  [[nodiscard]] __device__ SoftmaxSum of_team(T inverse) const {
    SoftmaxSum whole;
    whole.most = Team::max(most);
    whole.total = Team::sum(total * std::exp((most - whole.most) * inverse));
    return whole;
  }
};

/// p = softmax((t - centre) / temperature) of each row; p may be t.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    softmax_rows(T* p, const T* t, const T* centre, Index rows, Index width, T inverse) {
  const Index row = Team::row();
  if (row >= rows) return;
  const T* const in = t + row * width;
  T* const out = p + row * width;
  SoftmaxSum<T> own;
#pragma unroll 4
  for (Index c = Team::rank(); c < width; c += Team::size()) own.add(in[c] - centre[c], inverse);
  const SoftmaxSum<T> whole = own.template of_team<Team>(inverse);
  const T share = T{1} / whole.total;
#pragma unroll 4
  for (Index c = Team::rank(); c < width; c += Team::size()) {
    // The largest is taken off before the division, so that large values do not round the exponents.
    out[c] = std::exp((in[c] - centre[c] - whole.most) * inverse) * share;
  }
}

/// Two target rows of one student row.
struct TargetPair {
  std::int32_t row[2];
};
static_assert(sizeof(TargetPair) == sizeof(TargetRows));

/// What one logit of a student adds to the loss, and its gradient; `p` are the rows of its targets or null.
template <class T>
struct CrossEntropyTerm {
  T loss = 0, gradient = 0;

  __device__ CrossEntropyTerm(T log_q, const T* const (&p)[2], Index at) {
    const T q = std::exp(log_q);
    for (int slot = 0; slot < 2; ++slot) {
      if (p[slot] == nullptr) continue;
      loss -= p[slot][at] * log_q;
      gradient += q - p[slot][at];
    }
  }
};

/// loss and gradients of the logits, which may lie in the logits' place.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads)
    cross_entropy_rows(T* loss, T* d_logits, const T* logits, const T* targets, const TargetPair* pairs,
                       const T* weights, Index rows, Index width, T inverse, T factor) {
  const Index row = Team::row();
  if (row >= rows) return;
  if (weights != nullptr) factor *= weights[row];
  const T* const in = logits + row * width;
  T* const out = d_logits + row * width;
  SoftmaxSum<T> own;
#pragma unroll 4
  for (Index c = Team::rank(); c < width; c += Team::size()) own.add(in[c], inverse);
  const SoftmaxSum<T> whole = own.template of_team<Team>(inverse);
  const T log_total = std::log(whole.total);
  const TargetPair pair = pairs[row];
  const T* p[2];
  for (int slot = 0; slot < 2; ++slot)
    p[slot] = pair.row[slot] < 0 ? nullptr : targets + pair.row[slot] * width;
  T row_loss = 0;
#pragma unroll 4
  for (Index c = Team::rank(); c < width; c += Team::size()) {
    const CrossEntropyTerm<T> term((in[c] - whole.most) * inverse - log_total, p, c);
    row_loss += term.loss;
    out[c] = factor * term.gradient;
  }
  row_loss = Team::sum(row_loss);
  if (Team::rank() == 0) loss[row] = row_loss;
}

/// -sum p log p of each row.
template <class Team, class T>
__global__ void __launch_bounds__(Team::threads) entropy_rows(T* out, const T* p, Index rows, Index width) {
  const Index row = Team::row();
  if (row >= rows) return;
  const T* const in = p + row * width;
  T sum = 0;
#pragma unroll 4
  for (Index c = Team::rank(); c < width; c += Team::size()) {
    if (in[c] > 0) sum -= in[c] * std::log(in[c]);
  }
  sum = Team::sum(sum);
  if (Team::rank() == 0) out[row] = sum;
}

/// The contracts are backend/concept.hpp's. A row is read twice, by one warp or one block; every sum has one
/// order.
template <class T>
void centred_softmax(const Stream& stream, MatrixView<T> p, MatrixView<const T> t, VectorView<const T> centre,
                     double temperature) {
  stream.begin("centred_softmax", {t.rows(), t.cols()});
  require_shape(p.rows() == t.rows() && p.cols() == t.cols() && centre.size() == t.cols(),
                "centred_softmax: p ", p.rows(), " x ", p.cols(), ", t ", t.rows(), " x ", t.cols(),
                ", centre ", centre.size());
  launch_rows(stream, softmax_rows<WarpTeam, T>, softmax_rows<BlockTeam, T>, t.rows(), t.cols(), p.data(),
              t.data(), centre.data(), t.rows(), t.cols(), static_cast<T>(1.0 / temperature));
}

template <class T>
void cross_entropy(const Stream& stream, VectorView<T> loss, MatrixView<T> d_logits,
                   MatrixView<const T> logits, MatrixView<const T> targets,
                   VectorView<const TargetRows> target_rows, double temperature, double scale,
                   VectorView<const T> weights) {
  stream.begin("cross_entropy", {logits.rows(), logits.cols(), targets.rows()});
  require_shape(d_logits.rows() == logits.rows() && d_logits.cols() == logits.cols() &&
                    targets.cols() == logits.cols() && target_rows.size() == logits.rows() &&
                    (weights.empty() || weights.size() == logits.rows()),
                "cross_entropy: logits ", logits.rows(), " x ", logits.cols(), ", d_logits ", d_logits.rows(),
                " x ", d_logits.cols(), ", targets ", targets.rows(), " x ", targets.cols(), ", ",
                target_rows.size(), " target rows, ", weights.size(), " weights");
  launch_rows(stream, cross_entropy_rows<WarpTeam, T>, cross_entropy_rows<BlockTeam, T>, logits.rows(),
              logits.cols(), loss.data(), d_logits.data(), logits.data(), targets.data(),
              reinterpret_cast<const TargetPair*>(target_rows.data()), weights.data(), logits.rows(), logits.cols(),
              static_cast<T>(1.0 / temperature), static_cast<T>(scale / temperature));
}

template <class T>
void row_entropy(const Stream& stream, VectorView<T> out, MatrixView<const T> p) {
  stream.begin("row_entropy", {p.rows(), p.cols()});
  launch_rows(stream, entropy_rows<WarpTeam, T>, entropy_rows<BlockTeam, T>, p.rows(), p.cols(), out.data(),
              p.data(), p.rows(), p.cols());
}

}  // namespace dssl::cuda
