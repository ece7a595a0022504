// Cuda backend: some tokens' slices of one head in shared memory, in the orders in which tensor cores read
// them.
#pragma once

#include <cstdint>

#include <dssl/backend/cuda/kernel.cuh>
#include <dssl/backend/cuda/matrix_fragment.cuh>

namespace dssl::cuda {

/// A pair of words of a right operand.
struct RightWords {
  std::uint32_t first, second;
};

/// Which products a tile is a right operand of: sums over the head's width, over the tile's tokens, or both.
enum class Along { width, tokens, both };

/// `Tokens` rows of `Wide` numbers as words of a right operand.
///
/// Rows are padded so that the 32 words of a fragment lie in 32 banks.
template <class Words, int Tokens, int Wide, Along A>
struct TokenTile;

/// Bf16: words pair neighbours along what is summed, so there is a plane for each of the two.
template <int Tokens, int Wide, Along A>
struct TokenTile<Bf16Words, Tokens, Wide, A> {
  static constexpr bool by_width = A != Along::tokens;
  static constexpr bool by_tokens = A != Along::width;
  static constexpr int width_stride = Wide / 2 + 4;
  static constexpr int token_stride = Wide + 8;

  Pack<std::uint32_t, 2> width_plane[by_width ? Tokens * width_stride / 2 : 1];
  Pack<std::uint32_t, 4> token_plane[by_tokens ? Tokens / 2 * token_stride / 4 : 1];

  /// Numbers [at, at + 4) of tokens 2 pair and 2 pair + 1.
  __device__ void store(int pair, int at, const Pack<float, 4>& even, const Pack<float, 4>& odd) {
    const float(&x)[4] = even.value;
    const float(&y)[4] = odd.value;
    if constexpr (by_width) {
      const int word = 2 * pair * width_stride + at / 2;
      width_plane[word / 2] = {{Bf16Words::pack(x[0], x[1]), Bf16Words::pack(x[2], x[3])}};
      width_plane[(word + width_stride) / 2] = {{Bf16Words::pack(y[0], y[1]), Bf16Words::pack(y[2], y[3])}};
    }
    if constexpr (by_tokens) {
      token_plane[(pair * token_stride + at) / 4] = {
          {Bf16Words::pack(x[0], y[0]), Bf16Words::pack(x[1], y[1]), Bf16Words::pack(x[2], y[2]),
           Bf16Words::pack(x[3], y[3])}};
    }
  }
  /// Sum over the width: its step-th words of the eight tokens from `token` on.
  [[nodiscard]] __device__ RightWords along_width(int step, int token, int g, int t) const {
    const auto* word =
        reinterpret_cast<const std::uint32_t*>(width_plane) + (token + g) * width_stride + 8 * step + t;
    return {word[0], word[4]};
  }
  /// Sum over tokens: the step-th words of tokens, at the eight numbers from `at` on.
  [[nodiscard]] __device__ RightWords along_tokens(int step, int at, int g, int t) const {
    const auto* word =
        reinterpret_cast<const std::uint32_t*>(token_plane) + (8 * step + t) * token_stride + at + g;
    return {word[0], word[4 * token_stride]};
  }
};

/// TF32: one plane serves both. Sums over tokens take those of a step in the order 0 2 4 6 1 3 5 7, in which
/// a thread's own numbers of a product are the left operand of the next one.
template <int Tokens, int Wide, Along A>
struct TokenTile<Tf32Words, Tokens, Wide, A> {
  static constexpr int stride = Wide + 4;

  Pack<std::uint32_t, 4> plane[Tokens * stride / 4];

  __device__ void store(int pair, int at, const Pack<float, 4>& even, const Pack<float, 4>& odd) {
    Pack<std::uint32_t, 4> words;
    const int word = 2 * pair * stride + at;
    for (int i = 0; i < 4; ++i) words.value[i] = Tf32Words::pack(even.value[i]);
    plane[word / 4] = words;
    for (int i = 0; i < 4; ++i) words.value[i] = Tf32Words::pack(odd.value[i]);
    plane[(word + stride) / 4] = words;
  }
  [[nodiscard]] __device__ RightWords along_width(int step, int token, int g, int t) const {
    const auto* word = reinterpret_cast<const std::uint32_t*>(plane) + (token + g) * stride + 8 * step + t;
    return {word[0], word[4]};
  }
  [[nodiscard]] __device__ RightWords along_tokens(int step, int at, int g, int t) const {
    const auto* word = reinterpret_cast<const std::uint32_t*>(plane) + (8 * step + 2 * t) * stride + at + g;
    return {word[0], word[stride]};
  }
};

/// A left operand of sums over tokens from products (16, 8) of the same warp, `scores`: its step-th words.
template <class Words, int Products>
__device__ void left_of_scores(std::uint32_t (&a)[4], const float (&scores)[Products][4], int step) {
  if constexpr (Words::per_word == 2) {
    const float(&low)[4] = scores[2 * step];
    const float(&high)[4] = scores[2 * step + 1];
    a[0] = Words::pack(low[0], low[1]);
    a[1] = Words::pack(low[2], low[3]);
    a[2] = Words::pack(high[0], high[1]);
    a[3] = Words::pack(high[2], high[3]);
  } else {
    a[0] = Words::pack(scores[step][0]);
    a[1] = Words::pack(scores[step][2]);
    a[2] = Words::pack(scores[step][1]);
    a[3] = Words::pack(scores[step][3]);
  }
}

}  // namespace dssl::cuda
