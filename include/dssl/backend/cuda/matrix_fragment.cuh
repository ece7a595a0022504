// Cuda backend: the small matrix product of a warp on the tensor cores.
#pragma once

#include <cstdint>
#include <cstring>

#include <dssl/backend/cuda/kernel.cuh>

// The product is c (16,8) += a (16,K) b (K,8) with sums in float, spread over the 32 threads of a warp. Along
// K, operands are cut into 32-bit words, of two numbers in bf16 or of one in TF32; a product takes eight
// words, so K is 16 or 8. With g = lane / 4 and t = lane % 4, a thread holds (PTX ISA, "Matrix Fragments for
// mma.m16n8k16" and "for mma.m16n8k8")
//   of a the words (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4),
//   of b the words (t, g), (t + 4, g),
//   of c the numbers (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
// Compiled by another compiler than nvcc, for the stand-in, the same thing is done by loops over what the
// lanes hold.

namespace dssl::cuda {

namespace detail {

[[nodiscard]] __device__ inline std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
[[nodiscard]] __device__ inline float float_of(std::uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

#if !defined(__CUDACC__)
/// The product by its definition; every lane takes part.
template <class Words>
void multiply_by_loops(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  __shared__ std::uint32_t of_warps[warp_size][warp_size][6];
  auto& held = of_warps[warp_number()];  // by lane: words of a, then of b
  const int g = lane_number() / 4;
  const int t = lane_number() % 4;
  std::uint32_t(&own)[6] = held[lane_number()];
  for (int i = 0; i < 4; ++i) own[i] = a[i];
  own[4] = b0;
  own[5] = b1;
  __syncwarp();
  for (int late = 0; late < 2; ++late) {
    for (int at = 0; at < 4; ++at) {
      const std::uint32_t upper = held[4 * g + at][2 * late];
      const std::uint32_t lower = held[4 * g + at][2 * late + 1];
      const std::uint32_t even = held[8 * t + at][4 + late];
      const std::uint32_t odd = held[8 * t + 4 + at][4 + late];
      c[0] += Words::dot(upper, even);
      c[1] += Words::dot(upper, odd);
      c[2] += Words::dot(lower, even);
      c[3] += Words::dot(lower, odd);
    }
  }
  __syncwarp();
}
#endif

}  // namespace detail

/// Operands rounded to bf16, to nearest, ties to even: two numbers a word, the first in the low half.
struct Bf16Words {
  static constexpr int per_word = 2;

  [[nodiscard]] __device__ static std::uint32_t pack(float first, float second) {
#if defined(__CUDACC__)
    std::uint32_t word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
    return word;
#else
    return x_half(second) << 16U | x_half(first);
#endif
  }
  /// Word `at` of a row of numbers; 0 from `width` on.
  [[nodiscard]] __device__ static std::uint32_t load(const float* row, int at, int width) {
    if (2 * at >= width) return 0;
    const Pack<float, 2> two = load_pack<2>(row + 2 * at);
    return pack(two.value[0], two.value[1]);
  }
  /// The product of two words.
  [[nodiscard]] __device__ static float dot(std::uint32_t a, std::uint32_t b) {
    return detail::float_of(a << 16U) * detail::float_of(b << 16U) +
           detail::float_of(a & 0xffff0000U) * detail::float_of(b & 0xffff0000U);
  }
  __device__ static void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                      std::uint32_t b1) {
#if defined(__CUDACC__)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    detail::multiply_by_loops<Bf16Words>(c, a, b0, b1);
#endif
  }

 private:
  [[nodiscard]] __device__ static std::uint32_t x_half(float x) {
    const std::uint32_t bits = detail::bits_of(x);
    if (x != x) return bits >> 16U | 0x40U;
    return (bits + 0x7fffU + (bits >> 16U & 1U)) >> 16U;
  }
};

/// Operands rounded to TF32 (10 bits of mantissa), to nearest, ties away from 0: one number a word.
struct Tf32Words {
  static constexpr int per_word = 1;

  [[nodiscard]] __device__ static std::uint32_t pack(float x) {
#if defined(__CUDACC__)
    std::uint32_t word;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(x));
    return word;
#else
    if (x != x) return 0x7fffffffU;
    const std::uint32_t bits = detail::bits_of(x);
    return (bits & 0x7f800000U) == 0x7f800000U ? bits : (bits + 0x1000U) & 0xffffe000U;
#endif
  }
  /// Word `at` of a row of numbers; 0 from `width` on.
  [[nodiscard]] __device__ static std::uint32_t load(const float* row, int at, int width) {
    return at < width ? pack(row[at]) : 0;
  }
  [[nodiscard]] __device__ static float dot(std::uint32_t a, std::uint32_t b) {
    return detail::float_of(a) * detail::float_of(b);
  }
  __device__ static void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                      std::uint32_t b1) {
#if defined(__CUDACC__)
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    detail::multiply_by_loops<Tf32Words>(c, a, b0, b1);
#endif
  }
};

}  // namespace dssl::cuda
