// What a backend is: memory and 51 primitives beside, each with its contract.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <dssl/backend/operands.hpp>
#include <dssl/backend/view_work.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>

// Rules of every primitive.
//  - Outputs come first. "=" outputs are written whole whatever they held (NaN included); "+=" outputs add.
//  - Outputs do not overlap inputs unless said.
//  - Nothing is allocated after the first call with the largest shapes.
//  - The bits of the result depend on the inputs and shapes alone, not on the number of threads.
//  - Shapes are the caller's duty; `ShapeError` where a check is free.
// Dimension letters: M rows, I and O widths in and out, D width, H heads, P prototypes.

namespace dssl {

/// Memory: `allocate` gives zeroed bytes aligned to 64; upload and download cross between host and backend.
template <class B>
concept MemoryPrimitives = requires(const B& b, float* device, std::span<const float> in, std::span<float> out,
                                    VectorView<typename B::Scalar> x, VectorView<const typename B::Scalar> y) {
  { b.allocate(std::size_t{}) } -> std::same_as<Buffer>;
  b.upload(device, in);
  b.download(out, static_cast<const float*>(device));
  b.fill(x, typename B::Scalar{});
  b.copy(x, y);
};

/// What `allocate` gives lies in host memory and may be read and written there: `static constexpr bool memory_is_host = true`.
template <class B>
concept ComputesInHostMemory = requires { requires B::memory_is_host; };

/// linear_forward(y (M,O) =, x (M,I), weight (O,I), bias (O) or empty): y = x weight^T + bias.
/// linear_backward_input(d_x (M,I) =, d_y (M,O), weight): d_x = d_y weight.
/// linear_backward_weight(d_weight (O,I) +=, d_bias (O) += or empty, d_y, x): d_weight += d_y^T x.
/// A backend whose linear_forward takes `weight` as a `WeightView` (dssl/backend/packed_weights.hpp) may pack one that says
/// so, to stay; the bits are the same. One that takes a `MatrixView` needs to know nothing of it.
template <class B, class T = typename B::Scalar>
concept LinearPrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<T> v,
                                    VectorView<const T> bias) {
  b.linear_forward(y, x, x, bias);
  b.linear_backward_input(y, x, x);
  b.linear_backward_weight(y, v, x, x);
};

/// layer_norm_forward(y (M,D) =, mean (M) =, inverse_std (M) =, x, weight (D), bias (D), epsilon):
///   y = (x - mean) / sqrt(var + epsilon) * weight + bias, biased variance a row.
/// layer_norm_backward(d_x (M,D) +=, d_weight (D) +=, d_bias (D) +=, d_y, x, mean, inverse_std, weight);
///   d_x adds, since a residual path always meets it.
template <class B, class T = typename B::Scalar>
concept LayerNormPrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<T> v,
                                       VectorView<const T> w) {
  b.layer_norm_forward(y, v, v, x, w, w, 1e-6);
  b.layer_norm_backward(y, v, v, x, x, w, w, w);
};

/// batch_norm_forward(y (M,D) =, mean (D) =, inverse_std (D) =, x, weight (D) or empty, bias (D) or empty, epsilon), M at
///   least 1:
///   y = (x - mean) / sqrt(var + epsilon) * weight + bias, biased variance a column, of the rows of this call alone.
///   Empty weight: 1; empty bias: 0. A column of one value gives its bias, whatever the value.
/// batch_norm_backward(d_x (M,D) =, d_weight (D) += or empty, d_bias (D) += or empty, d_y, x, mean, inverse_std, weight or
///   empty): the mean and the variance are functions of x, as in the forward pass; d_x may be d_y.
template <class B, class T = typename B::Scalar>
concept BatchNormPrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<T> v,
                                       VectorView<const T> w) {
  b.batch_norm_forward(y, v, v, x, w, w, 1e-5);
  b.batch_norm_backward(y, v, v, x, x, w, w, w);
};

/// gelu_forward(y =, x): exact, y = x (1 + erf(x / sqrt 2)) / 2; y may be x.  gelu_backward(d_x =, d_y, x); d_x may be d_y.
/// residual_forward(out (M,D) =, x, branch, keep (S) or empty, sequence_of_row (M)):
///   out = x + keep[sequence_of_row] * branch; out may be x or branch. Empty keep: 1.
/// residual_backward(d_branch (M,D) =, d_out, keep, sequence_of_row): d_branch = keep * d_out.
/// accumulate(y (n) +=, x (n)).  lerp(y =, x, m): y = m y + (1 - m) x.
template <class B, class T = typename B::Scalar>
concept PointwisePrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<T> v,
                                       VectorView<const T> w, RowIndex rows) {
  b.gelu_forward(y, x);
  b.gelu_backward(y, x, x);
  b.residual_forward(y, x, x, w, rows);
  b.residual_backward(y, x, w, rows);
  b.accumulate(v, w);
  b.lerp(v, w, 0.9);
};

/// relu_forward(y =, x): y = max(x, 0), NaN of NaN; y may be x.
/// relu_backward(d_x =, d_y, x): d_x = d_y where x > 0, else 0; x may be relu_forward's y, which has the same sign;
///   d_x may be d_y.
/// batch_norm_update(running_mean (D), running_variance (D), mean (D), inverse_std (D), rows, momentum, epsilon): the
///   statistics that batch_norm_forward gave for that many rows go into the running ones: running_mean = (1 - momentum)
///   running_mean + momentum mean, and so the variance, of which the unbiased one is kept: (1 / inverse_std^2 - epsilon)
///   rows / (rows - 1). `ShapeError` where rows is below 2. Source: PyTorch's BatchNorm1d.
/// batch_norm_evaluate_forward(y (M,D) =, x, running_mean (D), running_variance (D), weight (D) or empty, bias (D) or
///   empty, epsilon): y = (x - running_mean) / sqrt(running_variance + epsilon) * weight + bias; y may be x.
/// batch_norm_evaluate_backward(d_x (M,D) =, d_weight (D) += or empty, d_bias (D) += or empty, d_y, x, running_mean,
///   running_variance, weight or empty, epsilon): the statistics are constants; d_x may be d_y.
/// add_scaled(y (n) +=, x (n), scale): y += scale x.
/// row_dots(out (M) =, a (M,D), b (M,D)): out[m] = a[m] . b[m]; a may be b.
/// add_weighted_rows(y (M,D) +=, x (M,D), weight (M)): y[m] += weight[m] x[m].
/// Tests: tests/backend/mlp_cases.hpp, tests/backend/mlp_gradients.cpp.
template <class B, class T = typename B::Scalar>
concept MlpPrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<T> v,
                                 VectorView<const T> w) {
  b.relu_forward(y, x);
  b.relu_backward(y, x, x);
  b.batch_norm_update(v, v, w, w, Index{2}, 0.1, 1e-5);
  b.batch_norm_evaluate_forward(y, x, w, w, w, w, 1e-5);
  b.batch_norm_evaluate_backward(y, v, v, x, x, w, w, w, 1e-5);
  b.add_scaled(v, w, 0.5);
  b.row_dots(v, x, x);
  b.add_weighted_rows(y, x, w);
};

/// What blocks of some families have beside.
///
/// swiglu_forward(y (M,I) =, x (M,2I)): y = silu(g) u, g the first I columns of x and u the others;
///   silu(g) = g / (1 + exp(-g)).
/// swiglu_again_backward(y (M,I) =, d_x (M,2I) =, d_y (M,I), x): y as above, for a product that wants it again, and the
///   gradient of x; y may be d_y, d_x may be x.
/// rotation_rows(out (P,d) =, coordinates (P,2), periods (d/4)): numbers j and d/2 + j of row p are cosine and sine of
///   2 pi y / periods[j], and beyond the first d/4 of 2 pi x / periods[j - d/4]; (y, x) = coordinates[p]. Angles in double.
/// rotate_heads(x (M,3D), rotations (P,d), places (N), packed (N) or empty, heads, direction): turns queries and keys,
///   the first and second D columns of x, in place. Token n, whose row is packed[n] (n itself where packed is empty, none
///   where it is -1), is turned by row places[n] of rotations, or not at all where that is -1: in each head, d wide, the
///   pair (a, b) of numbers (j, j + d/2) becomes (a c - b s, b c + a s), c the number j of that row and s direction times
///   its number d/2 + j. With direction -1 it is the inverse, and what takes gradients back. d is even.
/// Tests: tests/backend/block_cases.hpp, tests/backend/block_gradients.cpp.
template <class B, class T = typename B::Scalar>
concept BlockPrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<const T> w,
                                   RowIndex rows) {
  b.swiglu_forward(y, x);
  b.swiglu_again_backward(y, y, x, x);
  b.rotation_rows(y, x, w);
  b.rotate_heads(y, x, rows, rows, Index{1}, 1.0);
};

/// attention_forward<relation>(out (M,D) =, log_sum (M,H) =, qkv (M,3D), batch, heads, queries):
///   a head h of width d = D/H reads q, k, v = columns [hd, hd + d) of the first, second and third D columns;
///   out = softmax(q k^T / sqrt d) v over the tokens that the relation lets a row see, log_sum = log of the
///   softmax's denominator times its largest term. Only rows of the groups in `queries` are computed; other
///   rows of out and log_sum are left as they are.
/// attention_backward<relation>(d_qkv (M,3D) =, d_out, out, log_sum, qkv, batch, heads, queries):
///   rows outside `queries` have no gradient of their own (their q part is 0) and their d_out is not read.
/// A row that sees nothing is a compile-time error.
template <class B, class T = typename B::Scalar>
concept AttentionPrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, const SequenceBatch& s) {
  b.template attention_forward<private_relation>(y, y, x, s, Index{1}, GroupSet{});
  b.template attention_backward<private_relation>(y, x, x, x, x, s, Index{1}, GroupSet{});
};

/// unfold_patches(patches (S*h*w, C*p*p) =, images (S,C,H,W), p): row (s, i, j) holds the p x p patch at
///   (i, j) of image s, channel by channel, row-major.
/// copy_rows(dst, dst_rows, src, src_rows): dst[dst_rows[i]] = src[src_rows[i]]; dst_rows hold no repeats.
/// add_rows(dst, dst_rows, src, src_rows): the same with +=; repeats add in the order of i.
///   The count is the size of the index that is given; both empty: src.rows().
/// sample_rows_forward(out (M,D) =, table (G,D), taps (M)): out[i] = sum_t weight[t] table[row[t]].
/// sample_rows_backward(d_table (G,D) +=, d_out, taps).
template <class B, class T = typename B::Scalar>
concept RowPrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, RowIndex rows,
                                 TensorView<const T, 4> images, VectorView<const Taps<T>> taps) {
  b.unfold_patches(y, images, Index{16});
  b.copy_rows(y, rows, x, rows);
  b.add_rows(y, rows, x, rows);
  b.sample_rows_forward(y, x, taps);
  b.sample_rows_backward(y, x, taps);
};

/// l2_normalise_forward(y (M,D) =, norm (M) =, x, epsilon): norm = max(|x|, epsilon), y = x / norm.
/// l2_normalise_backward(d_x =, d_y, y, norm, epsilon); d_x may be d_y; where |x| < epsilon the norm is a constant.
/// weight_norm_forward(w (P,D) =, norm (P) =, v, g (P) or empty): w = g v / |v|, g 1 when empty.
/// weight_norm_backward(d_v +=, d_g (P) += or empty, d_w, v, g, norm).
template <class B, class T = typename B::Scalar>
concept NormalisePrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<T> v,
                                       VectorView<const T> w) {
  b.l2_normalise_forward(y, v, x, 1e-12);
  b.l2_normalise_backward(y, x, x, w, 1e-12);
  b.weight_norm_forward(y, v, x, w);
  b.weight_norm_backward(y, v, x, x, w, w);
};

/// centred_softmax(p (M,P) =, t (M,P), centre (P), temperature): p = softmax((t - centre) / temperature).
///   p may be t.
/// cross_entropy(loss (M) =, d_logits (M,P) =, logits (M,P), targets (N,P), target_rows (M), temperature, scale,
///   weights (M), or empty and left out for 1):
///   loss[i] = -sum_j sum_c targets[target_rows[i][j]][c] log softmax(logits[i] / temperature)[c];
///   d_logits[i] = scale weights[i] d loss[i] / d logits[i]. d_logits may be logits.
/// row_entropy(out (M) =, p (M,P)): -sum p log p, 0 log 0 = 0.
/// add_column_sum(sum (P) +=, x (M,P), rows, scale): sum += scale * sum of the rows named.
template <class B, class T = typename B::Scalar>
concept LossPrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<T> v,
                                  VectorView<const T> w, RowIndex rows, VectorView<const TargetRows> targets) {
  b.centred_softmax(y, x, w, 0.04);
  b.cross_entropy(v, y, x, x, targets, 0.1, 1.0);
  b.cross_entropy(v, y, x, x, targets, 0.1, 1.0, w);
  b.row_entropy(v, x);
  b.add_column_sum(v, x, rows, 1.0);
};

/// What losses on matrices of features are made of (loss/*.hpp); a loss a row, not summed, and `scale` times its gradient.
///
/// label_cross_entropy(loss (M) =, d_logits (M,N) =, d_positive (M) = or empty, logits, temperature, scale): of the logits
///   that row m sees, its columns but the excluded one, and logits.positive[m] where that is given,
///   loss[m] = -log softmax(seen / temperature)[label]; an excluded column has gradient 0. d_logits may be logits.columns,
///   d_positive may be logits.positive, which are both given or both empty. Every row sees its label.
/// compare_rows(loss (M) =, d_x (M,N) =, x, target (M,N), comparison, scale): loss[m] = sum_n f(x[m,n], target[m,n]), f by
///   `comparison`, with the slope 0 where a clamped number is below 0. d_x may be x.
/// log_distance(loss (M) =, d_x (M,D) =, x, target (M,D), epsilon, scale): loss[m] = -log(r + epsilon),
///   r = |x[m] - target[m] + epsilon|, epsilon added to each number; where r is 0 the gradient is 0. d_x may be x. The
///   gradient of target is -d_x.
/// correlation_loss(diagonal (N) =, rest (N) =, d_x (N,N) =, x (N,N), numbers): with c = factor x, diagonal[n] of c[n,n]
///   as `Diagonal` says, rest[n] = sum over j != n of c[n,j]^2; d_x has the gradients of both sums, each times its scale.
///   d_x may be x.
/// largest_columns(out (K,M) int32 =, x (M,N), excluded (M) or empty): out[k,m] is the column of the k-th largest number
///   of row m, the lower column first among equals; a row's excluded column (-1: none) is passed over. NaN counts as
///   -infinity. K at most the number of columns that each row sees.
/// row_log_sum(out (M) =, x (M,N), shift (N) or empty, temperature): out[m] = temperature log sum_n exp((x[m,n] -
///   shift[n]) / temperature).
/// column_log_sum(out (N) =, x (M,N), shift (M) or empty, temperature): the same down the columns, less shift[m].
/// Tests: tests/backend/term_cases.hpp, tests/backend/terms.cpp.
template <class B, class T = typename B::Scalar>
concept TermPrimitives = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<T> v,
                                  VectorView<const T> w, const LabelledLogits<T>& logits, RowIndex rows,
                                  MatrixView<std::int32_t> columns) {
  b.label_cross_entropy(v, y, v, logits, 0.1, 1.0);
  b.compare_rows(v, y, x, x, Comparison::squared, 1.0);
  b.log_distance(v, y, x, x, 1e-8, 1.0);
  b.correlation_loss(v, v, y, x, CorrelationNumbers{});
  b.largest_columns(columns, x, rows);
  b.row_log_sum(v, x, w, 0.05);
  b.column_log_sum(v, x, w, 0.05);
};

/// squared_norms(norms (segments) =, flat, segments): sum of squares of each parameter tensor.
/// The optimisers take the gradients' squared norms, and scale each tensor's gradient by
/// min(1, clip / (norm + 1e-6)) as they go; g itself is not changed. Segments with updated false are skipped.
/// adamw_step(w, m, v, g, squared_norms, segments, AdamWStep):
///   w *= 1 - lr wd;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
///   w -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps).
/// sgd_step(w, m, g, squared_norms, segments, MomentumStep): g += wd w; m = mu m + g; w -= lr m.
/// lars_step(w, m, g, squared_norms, segments, MomentumStep): for adapted tensors g += wd w, then
///   g *= trust |w| / |g| (1 where either norm is 0); m = mu m + g; w -= lr m.
template <class B, class T = typename B::Scalar>
concept OptimiserPrimitives = requires(const B& b, VectorView<T> w, VectorView<const T> g, VectorView<double> n,
                                       VectorView<const double> norms, VectorView<const Segment> segments) {
  b.squared_norms(n, g, segments);
  b.adamw_step(w, w, w, g, norms, segments, AdamWStep{});
  b.sgd_step(w, w, g, norms, segments, MomentumStep{});
  b.lars_step(w, w, g, norms, segments, MomentumStep{});
};

/// Fused, optional (nn/prototype_loss.hpp does the same with the primitives above where a backend lacks it): the end
/// of a head, from unit vectors to the loss and back, without the logits of all rows in memory.
/// prototype_loss(result, student (M rows), teacher (N rows), targets, numbers, workspace): with t and s the logits
///   of the teacher's and the student's rows, p = centred_softmax(t), and d_s of cross_entropy(s, p) with the targets'
///   weights,
///   loss, entropy: of cross_entropy and row_entropy; the entropies of rows that are no targets hold anything;
///   centre_sum += centre_share * sum of the rows of t that are named;
///   d_unit = d_s w, and d_v, d_g += weight_norm_backward(d_s^T unit), w = g v / |v|, of the student.
/// prototype_loss_workspace(target rows in the host's memory, N, P, D): bytes of workspace for these shapes, which
///   are aligned to 64.
template <class B, class T = typename B::Scalar>
concept FusedPrototypeLoss = requires(const B& b, const PrototypeLossResult<T>& result, const PrototypeRows<T>& rows,
                                      const PrototypeTargets<T>& targets, std::span<const TargetRows> host,
                                      VectorView<std::byte> workspace) {
  { b.prototype_loss_workspace(host, Index{}, Index{}, Index{}) } -> std::same_as<std::size_t>;
  b.prototype_loss(result, rows, rows, targets, PrototypeLossNumbers{}, workspace);
};

/// Fused, optional: the optimisers with two arguments more, (..., teacher, momentum): the step, and in the same pass
/// over memory lerp(teacher, w, momentum) of every segment, updated or not.
template <class B, class T = typename B::Scalar>
concept FusedUpdate = requires(const B& b, VectorView<T> w, VectorView<const T> g, VectorView<const double> norms,
                               VectorView<const Segment> segments) {
  b.adamw_step(w, w, w, g, norms, segments, AdamWStep{}, w, 0.9);
  b.sgd_step(w, w, g, norms, segments, MomentumStep{}, w, 0.9);
  b.lars_step(w, w, g, norms, segments, MomentumStep{}, w, 0.9);
};

/// A backend: a cheap value object with the primitives above and one line that describes it.
template <class B>
concept Backend = requires(const B& b) {
  typename B::Scalar;
  requires std::floating_point<typename B::Scalar>;
  { b.describe() } -> std::convertible_to<std::string>;
} && MemoryPrimitives<B> && LinearPrimitives<B> && LayerNormPrimitives<B> && BatchNormPrimitives<B> &&
                  PointwisePrimitives<B> && MlpPrimitives<B> && BlockPrimitives<B> && AttentionPrimitives<B> &&
                  RowPrimitives<B> && NormalisePrimitives<B> && LossPrimitives<B> && TermPrimitives<B> &&
                  OptimiserPrimitives<B>;

// Optional operations: what several primitives do, in fewer passes over memory, or without work that changes nothing.
// Layers find them by `if constexpr`; a backend has all of a concept's or none.

/// gelu_again_backward(y (M,I) =, d_x (M,I) =, d_bias (I) += or empty, d_y, x): y = gelu(x), for a product that wants it
///   again; d_x = d_y times GELU's slope at x; d_bias += the sum of d_x's rows. y may be x, d_x may be d_y.
template <class B, class T = typename B::Scalar>
concept GeluAgain = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<T> v) {
  b.gelu_again_backward(y, y, v, x, x);
};

/// A residual path, the layer norm that follows it, and branches whose matrices leave rows out (`BranchRows`).
///
/// residual_norm_forward(out (M,D) = or empty, to (N,D) = or empty, x (M,D), branch, from, to_packed (M) or empty,
///   weight, bias, epsilon): out[m] = x[m] + keep branch[from.packed(m)], or x[m] where the branch has no row m;
///   to.y[to_packed(m)] = LN(out[m]), for rows that are there, with their mean and inverse_std. out may be x.
///   Empty out: x is normed as it is, branch and from are not looked at.
/// norm_residual_backward(d_x (M,D) +=, d_weight (D) +=, d_bias (D) +=, d_branch = or empty, d_branch_bias (D) += or
///   empty, d_y or empty, norm_packed (M) or empty, x (M,D), mean, inverse_std, weight, to):
///   d_x[m] += the norm's gradient from d_y[norm_packed(m)], where that row is there; then
///   d_branch[to.packed(m)] = keep d_x[m], where that is there; d_branch_bias += the sum of these rows.
template <class B, class T = typename B::Scalar>
concept ResidualNorms = requires(const B& b, MatrixView<T> y, MatrixView<const T> x, VectorView<T> v,
                                 VectorView<const T> w, RowIndex rows, const NormRows<T>& to,
                                 const BranchRows<T>& branch) {
  b.residual_norm_forward(y, to, x, x, branch, rows, w, w, 1e-6);
  b.norm_residual_backward(y, v, v, y, v, x, rows, x, w, w, w, branch);
};

/// Optional: chooses among numbers where they lie, so that the host reads no more than what was chosen.
/// largest_of_rows(values (M,K) =, columns (M,K) =, x (M,N)): the K largest numbers of each row of x and their columns,
///   largest first, the lower column first among equals; NaN counts as -infinity, and is told as that. K from 1 to N and
///   at most `most_largest`. Throws `ShapeError`. Test: tests/cuda/largest.cpp.
template <class B, class T = typename B::Scalar>
concept SelectsLargest = requires(const B& b, MatrixView<T> values, MatrixView<std::int32_t> columns,
                                  MatrixView<const T> x) {
  { B::most_largest } -> std::convertible_to<Index>;
  b.largest_of_rows(values, columns, x);
};

/// Optional: renders views of images from sheets (dssl/backend/view_work.hpp; dssl/views/view_sheet.hpp writes them).
/// stage(bytes): memory of the host for the next sheet, at most two of which are under way.  send(views): the sheet
/// is written; its copy may begin.  render(runs): the views of the first sheet that was sent and not rendered, =, at the
/// `out` of each, before whatever the backend is asked for next.  device_bytes(): memory that sheets have needed.
template <class B>
concept RendersViews = requires(const B& b, typename B::ViewRenderer& views, std::span<const ViewRun> runs) {
  typename B::ViewRenderer;
  requires std::constructible_from<typename B::ViewRenderer, const B&>;
  { views.stage(std::size_t{}) } -> std::same_as<std::span<std::byte>>;
  views.send(Index{});
  views.render(runs);
  { views.device_bytes() } -> std::same_as<std::size_t>;
};

}  // namespace dssl
