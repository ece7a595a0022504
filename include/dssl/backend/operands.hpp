// The small structures that primitives take beside tensors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Row numbers in a backend's memory; an empty view stands for 0, 1, 2, ...
using RowIndex = VectorView<const std::int32_t>;

/// Sixteen rows of a table and their weights: one read of a bicubic interpolation. Rows that lie outside the
/// table have weight 0 and a row number that is still valid.
template <class T>
struct Taps {
  std::array<std::int32_t, 16> row{};
  std::array<T, 16> weight{};
};

/// How the rows of a token matrix (M) enter a residual branch, and how much of what it gives they keep.
///
/// Row m is row packed(m) of the branch's own matrices, which leave out the sequences that stochastic depth
/// dropped, or not there at all (-1).
template <class T>
struct BranchRows {
  RowIndex packed{};          ///< (M); empty: every row is there, row m as row m
  VectorView<const T> keep{}; ///< (S) multipliers; empty: 1
  RowIndex sequence_of_row{}; ///< (M), looked at where `keep` is not empty
};

/// What a layer norm gives: y (N,D), and of each row its mean (N) and one over its standard deviation (N).
template <class T>
struct NormRows {
  MatrixView<T> y{};
  VectorView<T> mean{};
  VectorView<T> inverse_std{};
};

/// One parameter tensor inside the flat parameter buffer, as optimisers see it.
struct Segment {
  Index offset = 0;
  Index size = 0;
  bool decayed = false;    ///< weight decay applies
  bool adapted = false;    ///< LARS adapts its rate (two or more dimensions)
  bool updated = true;     ///< false: the optimiser leaves it alone in this step
  bool prototype = false;  ///< belongs to a head's prototypes, which may be frozen at first
  double rate = 1;         ///< its learning rate, in times of the step's
};

/// Numbers of one AdamW step.
struct AdamWStep {
  double learning_rate = 0;
  double weight_decay = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  Index step = 1;             ///< 1 for the first update of a tensor
  Index prototype_step = 1;   ///< the same for prototypes, whose first updates may come later
  double clip = 0;            ///< norm that each tensor's gradient is clipped to; 0: not clipped
};

/// Numbers of one SGD or LARS step.
struct MomentumStep {
  double learning_rate = 0;
  double weight_decay = 0;
  double momentum = 0.9;
  double trust = 0.001;       ///< LARS: eta
  double clip = 0;            ///< norm that each tensor's gradient is clipped to; 0: not clipped
};

/// The teacher rows that one student row is compared with; -1: none.
using TargetRows = std::array<std::int32_t, 2>;

/// Unit vectors and the prototypes that they meet: logits (M,P) = unit (g v / |v|)^T.
template <class T>
struct PrototypeRows {
  MatrixView<const T> unit;  // (M,D)
  MatrixView<const T> v;     // (P,D)
  VectorView<const T> g;     // (P), empty for 1
};

/// What M student rows are compared with, and which of the N teacher rows the centre averages.
template <class T>
struct PrototypeTargets {
  VectorView<const T> centre;          // (P)
  VectorView<const TargetRows> rows;   // (M)
  RowIndex centre_rows;                // empty: all N
  VectorView<const T> weights{};       // (M) what a row's gradients are multiplied with beside the scale; empty: 1
};

/// Where the loss over prototypes puts its results.
template <class T>
struct PrototypeLossResult {
  VectorView<T> loss;        // (M) =
  VectorView<T> entropy;     // (N) =, of the rows that are targets; the others hold anything
  MatrixView<T> d_unit;      // (M,D) =
  MatrixView<T> d_v;         // (P,D) +=
  VectorView<T> d_g;         // (P) +=, or empty
  VectorView<T> centre_sum;  // (P) +=
};

/// Numbers of the loss over prototypes.
struct PrototypeLossNumbers {
  double teacher_temperature = 0.04;
  double student_temperature = 0.1;
  double scale = 1;         ///< of the gradients
  double centre_share = 1;  ///< what the sum of the centre's rows is multiplied with
};

/// Rows of logits, each with the one that its label has: a column of its own row, or a number beside it.
template <class T>
struct LabelledLogits {
  MatrixView<const T> columns{};    ///< (M,N)
  VectorView<const T> positive{};   ///< (M) the label's logit, which is no column; empty: it is one
  RowIndex labels{};                ///< (M) that column, looked at where `positive` is empty; empty: column m in row m
  RowIndex excluded{};              ///< (M) a column that the row does not see, or -1; empty: it sees all
};

/// How a number x of a row is compared with the number t of its target.
enum class Comparison : std::uint8_t {
  squared,              ///< (x - t)^2
  smooth_l1,            ///< (x - t)^2 / 2 where |x - t| < 1, else |x - t| - 1/2
  negative_dot,         ///< -x t
  positive_squared,     ///< (max(x, 0) - max(t, 0))^2
  squared_to_positive,  ///< (x - max(t, 0))^2
};

/// What a correlation matrix's diagonal is held to.
enum class Diagonal : std::uint8_t {
  one,            ///< (c - 1)^2
  least_std_one,  ///< max(0, 1 - sqrt(c + epsilon)): a standard deviation below 1 costs
};

/// Numbers of the loss on a correlation or covariance matrix c = factor x.
struct CorrelationNumbers {
  Diagonal diagonal = Diagonal::one;
  double factor = 1;          ///< what x is multiplied with to be the matrix
  double epsilon = 0;         ///< below the root
  double diagonal_scale = 1;  ///< of the diagonal's gradient
  double rest_scale = 1;      ///< of the gradient of what is not on the diagonal
};

}  // namespace dssl
