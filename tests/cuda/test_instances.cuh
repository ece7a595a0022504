// The definitions of test_instances.hpp, for one source file of a program.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <dssl/backend/cuda.cuh>

#include "cuda/test_instances.hpp"

template struct dssl::cuda::AttentionUnder<float, dssl::test::gap_relation>;
template struct dssl::cuda::AttentionUnder<float, dssl::test::lonely_relation>;

namespace dssl::test {

/// c (16,8) = a (16,K) b (K,8) by one warp.
template <class Words, int K>
__global__ void one_product(float* c, const float* a, const float* b) {
  const int g = cuda::lane_number() / 4;
  const int t = cuda::lane_number() % 4;
  const auto left = [&](int row, int word) { return Words::load(a + row * K, word, K); };
  const auto right = [&](int word, int column) {
    if constexpr (Words::per_word == 2) {
      return Words::pack(b[2 * word * 8 + column], b[(2 * word + 1) * 8 + column]);
    } else {
      return Words::pack(b[word * 8 + column]);
    }
  };
  const std::uint32_t words[4] = {left(g, t), left(g + 8, t), left(g, t + 4), left(g + 8, t + 4)};
  float sum[4] = {};
  Words::multiply_add(sum, words, right(t, g), right(t + 4, g));
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

template <class Words>
std::vector<float> product_of_one_warp(const std::vector<float>& a, const std::vector<float>& b) {
  const cuda::Stream stream(0);
  cuda::Block room(cuda::Block::Where::device);
  auto* const left = reinterpret_cast<float*>(room.at_least((a.size() + b.size() + 128) * sizeof(float), 0));
  float* const right = left + a.size();
  float* const out = right + b.size();
  stream.upload(left, a.data(), a.size() * sizeof(float));
  stream.upload(right, b.data(), b.size() * sizeof(float));
  cuda::launch(stream, one_product<Words, 8 * Words::per_word>, dim3(1), dim3(32), 0, out, left, right);
  std::vector<float> c(128);
  stream.download(c.data(), out, c.size() * sizeof(float));
  return c;
}

std::vector<float> warp_product(Precision precision, const std::vector<float>& a,
                                const std::vector<float>& b) {
  return precision == Precision::bf16 ? product_of_one_warp<cuda::Bf16Words>(a, b)
                                      : product_of_one_warp<cuda::Tf32Words>(a, b);
}

}  // namespace dssl::test
