// Cuda backend: attention under a relation over packed sequences.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include <dssl/backend/cuda/attention_plain.cuh>
#include <dssl/backend/cuda/attention_tensor.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/cuda/token_set.cuh>
#include <dssl/backend/precision.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>

namespace dssl::cuda {

namespace detail {

[[nodiscard]] inline bool aligned_to_16(const void* data) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
}

/// One call's launches, for all blocks that the longest sequence might need.
template <class T>
class AttentionCall {
 public:
  AttentionCall(const Stream& stream, const SequenceBatch& batch, AttentionPattern pattern, Index heads,
                Index width)
      : x_stream(stream), x_batch(batch) {
    x_shape.sequences = batch.sequences.data();
    x_shape.pattern = pattern;
    x_shape.heads = static_cast<int>(heads);
    x_shape.width = static_cast<int>(width);
    x_shape.scale = 1.0 / std::sqrt(static_cast<double>(width));
  }

  /// Heads whose slices tensor cores can read, 16 bytes at a time.
  [[nodiscard]] bool suits_tensor_cores() const {
    return std::is_same_v<T, float> && x_shape.width % 16 == 0 && x_shape.width <= 128;
  }

  /// `rows` tokens a block; 0: a whole sequence.
  template <class Kernel, class... Arguments>
  void launch(Kernel kernel, int rows, const Arguments&... arguments) const {
    AttentionShape shape = x_shape;
    shape.tiles = rows == 0 ? 1 : static_cast<int>((x_batch.longest + rows - 1) / rows);
    const Index blocks = x_batch.sequences.size() * shape.heads * shape.tiles;
    require_shape(blocks < Index{1} << 31U, "attention: ", x_batch.sequences.size(), " sequences of up to ",
                  x_batch.longest, " tokens, ", shape.heads, " heads: more blocks than a grid has");
    cuda::launch(x_stream, kernel, dim3(static_cast<unsigned>(blocks)), dim3(128), 0, arguments..., shape);
  }

  template <class Words>
  void forward(T* out, T* log_sum, const T* qkv) const {
    if constexpr (std::is_same_v<T, float>) {
      if (x_shape.width <= 32) {
        launch(attention_forward_tensor<Words, 32>, tensor_rows, out, log_sum, qkv);
      } else if (x_shape.width <= 64) {
        launch(attention_forward_tensor<Words, 64>, tensor_rows, out, log_sum, qkv);
      } else {
        launch(attention_forward_tensor<Words, 128>, tensor_rows, out, log_sum, qkv);
      }
    }
  }

  /// The two walks: keys' and queries' gradients.
  template <class Words, class... Arguments>
  void backward(const Arguments&... arguments) const {
    if constexpr (std::is_same_v<T, float>) {
      if (x_shape.width <= 32) {
        x_backward<Words, 32>(arguments...);
      } else if (x_shape.width <= 64) {
        x_backward<Words, 64>(arguments...);
      } else {
        x_backward<Words, 128>(arguments...);
      }
    }
  }

 private:
  template <class Words, int Wide, class... Arguments>
  void x_backward(const Arguments&... arguments) const {
    if constexpr (Words::per_word * 64 >= Wide) {
      launch(attention_backward_tensor<Words, Wide, Gradient::key_and_value>, tensor_rows, arguments...);
    } else {  // both would not fit a thread's registers
      launch(attention_backward_tensor<Words, Wide, Gradient::key>, tensor_rows, arguments...);
      launch(attention_backward_tensor<Words, Wide, Gradient::value>, tensor_rows, arguments...);
    }
    launch(attention_backward_tensor<Words, Wide, Gradient::query>, tensor_rows, arguments...);
  }

  const Stream& x_stream;
  SequenceBatch x_batch;
  AttentionShape x_shape{};
};

inline void check_attention(Index rows, Index width, Index qkv_rows, Index qkv_cols, Index log_sum_cols,
                            Index heads) {
  require_shape(
      heads > 0 && width % heads == 0 && qkv_rows == rows && qkv_cols == 3 * width && log_sum_cols == heads,
      "attention: out ", rows, " x ", width, ", qkv ", qkv_rows, " x ", qkv_cols, ", log_sum of ",
      log_sum_cols, ", ", heads, " heads");
}

}  // namespace detail

/// The contract is backend/concept.hpp's. Operands are rounded where T is float and a head's width is a
/// multiple of 16 up to 128; heads of other widths, and double, are computed in their own numbers.
///
/// Cost: 4 d FLOP a pair of tokens that meet, a head; memory for T x T scores is not needed. One launch.
/// Equal bits from run to run. Test: the op table in tests/cuda.
template <AttentionRelation R, class T>
void attention_forward(const Stream& stream, MatrixView<T> out, MatrixView<T> log_sum,
                       MatrixView<const T> qkv, const SequenceBatch& batch, Index heads, GroupSet queries,
                       Precision precision) {
  detail::check_attention(out.rows(), out.cols(), qkv.rows(), qkv.cols(), log_sum.cols(), heads);
  stream.begin("attention_forward", {qkv.rows(), qkv.cols(), heads, batch.longest});
  const detail::AttentionCall<T> call(stream, batch, AttentionPattern::of<R>(queries), heads,
                                      out.cols() / heads);
  const bool rounded =
      call.suits_tensor_cores() && detail::aligned_to_16(qkv.data()) && detail::aligned_to_16(out.data());
  if (rounded && precision == Precision::bf16) {
    call.template forward<Bf16Words>(out.data(), log_sum.data(), qkv.data());
  } else if (rounded && precision == Precision::tf32) {
    call.template forward<Tf32Words>(out.data(), log_sum.data(), qkv.data());
  } else {
    call.launch(attention_forward_plain<T>, plain_rows, out.data(), log_sum.data(), qkv.data());
  }
}

/// The contract is backend/concept.hpp's; operands as in the forward pass.
///
/// A block owns some keys and walks over the queries that see them, or some queries and walks over their
/// keys: every gradient has one owner, and the scores are made twice. Cost: 14 d FLOP a pair of tokens that
/// meet, a head, and M H numbers of scratch. Three launches, and one more where tokens see themselves alone.
/// (TF32 with heads wider than 64: keys and values have an owner each, 16 d FLOP and a launch more.)
template <AttentionRelation R, class T>
void attention_backward(const Stream& stream, MatrixView<T> d_qkv, MatrixView<const T> d_out,
                        MatrixView<const T> out, MatrixView<const T> log_sum, MatrixView<const T> qkv,
                        const SequenceBatch& batch, Index heads, GroupSet queries, Precision precision) {
  detail::check_attention(out.rows(), out.cols(), qkv.rows(), qkv.cols(), log_sum.cols(), heads);
  stream.begin("attention_backward", {qkv.rows(), qkv.cols(), heads, batch.longest});
  const AttentionPattern pattern = AttentionPattern::of<R>(queries);
  const detail::AttentionCall<T> call(stream, batch, pattern, heads, out.cols() / heads);
  T* const d = d_qkv.data();
  T* const along = stream.scratch<T>(qkv.rows() * heads);
  const T* const seen_along = along;
  call.launch(attention_backward_begin<T>, 0, d, along, d_out.data(), out.data());
  const bool rounded = call.suits_tensor_cores() && detail::aligned_to_16(qkv.data()) &&
                       detail::aligned_to_16(d_out.data()) && detail::aligned_to_16(d);
  if (rounded && precision == Precision::bf16) {
    call.template backward<Bf16Words>(d, d_out.data(), seen_along, log_sum.data(), qkv.data());
  } else if (rounded && precision == Precision::tf32) {
    call.template backward<Tf32Words>(d, d_out.data(), seen_along, log_sum.data(), qkv.data());
  } else {
    call.launch(attention_backward_plain<T, false>, plain_rows, d, d_out.data(), seen_along, log_sum.data(),
                qkv.data());
    call.launch(attention_backward_plain<T, true>, plain_rows, d, d_out.data(), seen_along, log_sum.data(),
                qkv.data());
  }
  if (pattern.self() != 0) {
    call.launch(attention_backward_self<T>, 0, d, d_out.data(), seen_along, log_sum.data(), qkv.data());
  }
}

}  // namespace dssl::cuda
