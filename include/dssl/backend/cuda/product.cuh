// Cuda backend: matrix products by cuBLASLt, whose choice of an algorithm is kept for each shape.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <type_traits>

#include <cublasLt.h>
#include <cuda_bf16.h>

#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/precision.hpp>

namespace dssl::cuda {

/// Throws `CudaError` unless a call of cuBLASLt succeeded.
template <class... What>
void check(cublasStatus_t status, const char* call, const What&... what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw CudaError(call, join(call, " failed in ", what..., ": ", cublasLtGetStatusString(status), " (",
                             cublasLtGetStatusName(status), ")",
                             status == CUBLAS_STATUS_ALLOC_FAILED ? ": the device is out of memory" : ""));
}

/// An operand of a product as it lies in memory: rows of `width` numbers, `pitch` numbers apart.
template <class T>
struct Operand {
  const T* data = nullptr;
  Index rows = 0;
  Index width = 0;
  Index pitch = 0;
  bool transposed = false;

  [[nodiscard]] Index height_in_product() const { return transposed ? width : rows; }
  [[nodiscard]] Index width_in_product() const { return transposed ? rows : width; }
};

template <class T>
[[nodiscard]] Operand<T> as_it_is(MatrixView<const T> x) {
  return {x.data(), x.rows(), x.cols(), x.cols(), false};
}
template <class T>
[[nodiscard]] Operand<T> transposed(MatrixView<const T> x) {
  return {x.data(), x.rows(), x.cols(), x.cols(), true};
}

/// Numbers a row of an operand in bf16: rows of whole 16 bytes, for the tensor cores.
[[nodiscard]] inline Index bf16_pitch(Index width) { return (width + 7) / 8 * 8; }

/// out (rows, pitch): the rows of x rounded to bf16.
template <class T>
__global__ void round_to_bf16(__nv_bfloat16* out, const T* x, Index rows, Index width, Index pitch) {
  const Index warps = grid_threads() / warp_size;
  for (Index row = grid_thread() / warp_size; row < rows; row += warps) {
    for (Index c = lane_number(); c < width; c += warp_size) {
      out[row * pitch + c] = __float2bfloat16_rn(x[row * width + c]);
    }
  }
}
/// The same where rows have no gaps between them, four numbers at a time.
template <class T>
__global__ void round_packs_to_bf16(__nv_bfloat16* out, const T* x, Index packs) {
  for (Index i = grid_thread(); i < packs; i += grid_threads()) {
    const Pack<T, 4> in = load_pack<4>(x + 4 * i);
    Pack<__nv_bfloat16, 4> rounded;
    for (int k = 0; k < 4; ++k) rounded.value[k] = __float2bfloat16_rn(in.value[k]);
    store_pack(out + 4 * i, rounded);
  }
}

/// Products of row-major matrices on one stream.
///
/// Sums run in float (double for double). An algorithm is chosen by cuBLASLt's heuristic in the first call
/// with a shape, an alignment and an epilogue, and kept; with the workspace that belongs to this object
/// alone, results are equal from run to run on one kind of device and one version of the library. Test:
/// "linear" in tests/backend.
class Products {
 public:
  static constexpr std::size_t workspace_bytes = std::size_t{32}
                                                 << 20;  ///< what cuBLAS itself takes on Hopper

  explicit Products(const Stream& stream, Precision precision = Precision::full) : x_precision(precision) {
    const OnDevice here(stream.device());
    x_workspace.at_least(workspace_bytes, stream.device());  // first: what fails now has nothing to give back
    check(cublasLtCreate(&x_handle), "cublasLtCreate", "making a backend on device ", stream.device());
  }
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;
  ~Products() {
    for (auto& [key, plan] : x_plans) plan.destroy();
    static_cast<void>(cublasLtDestroy(x_handle));
  }

  [[nodiscard]] Precision precision() const { return x_precision; }
  /// Shapes whose algorithm is kept.
  [[nodiscard]] std::size_t plans() const { return x_plans.size(); }

  /// y = alpha a b + beta y + bias in each row; bias is null, or as long as y is wide (float only, beta 0).
  ///
  /// With `bf16`, operands in float are rounded into the stream's scratch memory, which the caller must not
  /// be using; those that are in bf16 already stay where they are.
  template <class T, class A, class B>
  void multiply(const Stream& stream, MatrixView<T> y, const Operand<A>& a, const Operand<B>& b,
                double alpha = 1, double beta = 0, const std::type_identity_t<T>* bias = nullptr) const {
    require_shape(a.height_in_product() == y.rows() && b.width_in_product() == y.cols() &&
                      a.width_in_product() == b.height_in_product(),
                  stream.operation(), ": ", a.height_in_product(), " x ", a.width_in_product(), " times ",
                  b.height_in_product(), " x ", b.width_in_product(), " is not ", y.rows(), " x ", y.cols());
    if (y.size() == 0) return;
    if constexpr (std::is_same_v<T, float>) {
      if (x_precision == Precision::bf16) {
        const std::size_t of_a = x_rounded_bytes(a);
        std::byte* const room = stream.scratch(of_a + x_rounded_bytes(b));
        const Operand<__nv_bfloat16> rounded_a = x_rounded(stream, a, room);
        x_multiply(stream, y, rounded_a, x_rounded(stream, b, room + of_a), alpha, beta, bias);
        return;
      }
    }
    if constexpr (std::is_same_v<A, T> && std::is_same_v<B, T>) {
      x_multiply(stream, y, a, b, alpha, beta, bias);
    } else {
      throw Error(join(stream.operation(), ": operands in bf16 on a backend of another precision"));
    }
  }

 private:
  /// What an algorithm is chosen by, in cuBLASLt's own order (column-major, so y's transpose is made).
  struct Key {
    cudaDataType operands;
    cudaDataType result;
    bool a_transposed, b_transposed, bias, adds;
    std::array<Index, 6> sizes;  // rows, cols and depth of the product; pitches
    std::array<std::uint32_t, 3> alignments;

    [[nodiscard]] auto operator<=>(const Key&) const = default;
  };
  struct Plan {
    cublasLtMatmulDesc_t product = nullptr;
    cublasLtMatrixLayout_t a = nullptr;
    cublasLtMatrixLayout_t b = nullptr;
    cublasLtMatrixLayout_t y = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
    std::size_t workspace = 0;

    void destroy() {
      if (product != nullptr) static_cast<void>(cublasLtMatmulDescDestroy(product));
      for (const cublasLtMatrixLayout_t layout : {a, b, y}) {
        if (layout != nullptr) static_cast<void>(cublasLtMatrixLayoutDestroy(layout));
      }
      *this = {};
    }
  };

  template <class T>
  static constexpr cudaDataType type_of = std::is_same_v<T, double>  ? CUDA_R_64F
                                          : std::is_same_v<T, float> ? CUDA_R_32F
                                                                     : CUDA_R_16BF;

  /// The largest power of two up to 256 that divides an address.
  [[nodiscard]] static std::uint32_t x_alignment(const void* data) {
    const auto address = reinterpret_cast<std::uintptr_t>(data) | 256U;
    return static_cast<std::uint32_t>(address & (~address + 1));
  }

  static std::size_t x_rounded_bytes(const Operand<float>& x) {
    const auto bytes = static_cast<std::size_t>(x.rows * bf16_pitch(x.width)) * sizeof(__nv_bfloat16);
    return (bytes + 255) / 256 * 256;
  }
  static std::size_t x_rounded_bytes(const Operand<__nv_bfloat16>&) { return 0; }

  static Operand<__nv_bfloat16> x_rounded(const Stream& stream, const Operand<float>& x, std::byte* room) {
    auto* const out = reinterpret_cast<__nv_bfloat16*>(room);
    const Index pitch = bf16_pitch(x.width);
    const Index size = x.rows * x.width;
    if (pitch == x.width && x_alignment(x.data) >= 16) {
      launch_over(stream, round_packs_to_bf16<float>, size / 4, out, x.data, size / 4);
    } else {
      launch_over(stream, round_to_bf16<float>, x.rows * warp_size, out, x.data, x.rows, x.width, pitch);
    }
    return {out, x.rows, x.width, pitch, x.transposed};
  }
  static Operand<__nv_bfloat16> x_rounded(const Stream&, const Operand<__nv_bfloat16>& x, std::byte*) {
    return x;
  }

  template <class T, class In>
  void x_multiply(const Stream& stream, MatrixView<T> y, const Operand<In>& a, const Operand<In>& b,
                  double alpha, double beta, const T* bias) const {
    if (stream.rehearsing()) return;  // the workspace is there, and the algorithm is asked for with the real addresses
    using Scale = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const auto factor = static_cast<Scale>(alpha);
    const auto kept = static_cast<Scale>(beta);
    // The bias counts as part of the result: a kernel that writes wide also reads the bias wide.
    const std::uint32_t of_result =
        std::min(x_alignment(y.data()), bias == nullptr ? 256U : x_alignment(bias));
    const Key key{type_of<In>,
                  type_of<T>,
                  b.transposed,
                  a.transposed,
                  bias != nullptr,
                  beta != 0,
                  {y.cols(), y.rows(), a.width_in_product(), b.pitch, a.pitch, y.cols()},
                  {x_alignment(b.data), x_alignment(a.data), of_result}};
    auto [found, is_new] = x_plans.try_emplace(key);
    Plan& plan = found->second;
    if (is_new) {
      try {
        x_make(stream, plan, key, b.width, b.rows, a.width, a.rows, bias);
      } catch (...) {
        plan.destroy();
        x_plans.erase(found);
        throw;
      }
    }
    if (bias != nullptr) {
      check(
          cublasLtMatmulDescSetAttribute(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias),
          "cublasLtMatmulDescSetAttribute", stream.operation());
    }
    check(cublasLtMatmul(x_handle, plan.product, &factor, b.data, plan.a, a.data, plan.b, &kept, y.data(),
                         plan.y, y.data(), plan.y, &plan.algorithm,
                         x_workspace.at_least(workspace_bytes, stream.device()), plan.workspace,
                         stream.handle()),
          "cublasLtMatmul", stream.operation(), ", ", key.sizes[1], " x ", key.sizes[2], " times ",
          key.sizes[2], " x ", key.sizes[0]);
  }

  /// A row-major matrix is its transpose in column-major order: y = a b is made as y^T = b^T a^T.
  void x_make(const Stream& stream, Plan& plan, const Key& key, Index first_width, Index first_rows,
              Index second_width, Index second_rows, const void* bias) const {
    const auto setting = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
      check(cublasLtMatmulDescSetAttribute(plan.product, attribute, &value, sizeof value),
            "cublasLtMatmulDescSetAttribute", stream.operation());
    };
    const auto layout = [&](cublasLtMatrixLayout_t& out, cudaDataType type, Index rows, Index cols,
                            Index pitch) {
      check(cublasLtMatrixLayoutCreate(&out, type, static_cast<std::uint64_t>(rows),
                                       static_cast<std::uint64_t>(cols), static_cast<std::int64_t>(pitch)),
            "cublasLtMatrixLayoutCreate", stream.operation(), ", ", rows, " x ", cols);
    };
    const bool in_double = key.result == CUDA_R_64F;
    const cublasComputeType_t compute = in_double ? CUBLAS_COMPUTE_64F
                                        : key.operands == CUDA_R_32F && x_precision == Precision::tf32
                                            ? CUBLAS_COMPUTE_32F_FAST_TF32
                                            : CUBLAS_COMPUTE_32F;
    check(cublasLtMatmulDescCreate(&plan.product, compute, in_double ? CUDA_R_64F : CUDA_R_32F),
          "cublasLtMatmulDescCreate", stream.operation());
    setting(CUBLASLT_MATMUL_DESC_TRANSA, key.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    setting(CUBLASLT_MATMUL_DESC_TRANSB, key.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (key.bias) {
      setting(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      setting(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);  // a choice of algorithm may look at it
    }
    layout(plan.a, key.operands, first_width, first_rows, key.sizes[3]);
    layout(plan.b, key.operands, second_width, second_rows, key.sizes[4]);
    layout(plan.y, key.result, key.sizes[0], key.sizes[1], key.sizes[5]);

    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate", stream.operation());
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      return cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value);
    };
    cublasLtMatmulHeuristicResult_t result{};
    int results = 0;
    cublasStatus_t status = prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace_bytes});
    const std::array<cublasLtMatmulPreferenceAttributes_t, 4> alignments{
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    for (std::size_t i = 0; i < alignments.size() && status == CUBLAS_STATUS_SUCCESS; ++i) {
      status = prefer(alignments[i], key.alignments[std::min<std::size_t>(i, 2)]);
    }
    if (status == CUBLAS_STATUS_SUCCESS) {
      status = cublasLtMatmulAlgoGetHeuristic(x_handle, plan.product, plan.a, plan.b, plan.y, plan.y,
                                              preference, 1, &result, &results);
    }
    static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
    if (status == CUBLAS_STATUS_SUCCESS && results == 0) status = CUBLAS_STATUS_NOT_SUPPORTED;
    check(status, "cublasLtMatmulAlgoGetHeuristic", stream.operation(), ", ", key.sizes[1], " x ",
          key.sizes[2], " times ", key.sizes[2], " x ", key.sizes[0]);
    plan.algorithm = result.algo;
    plan.workspace = result.workspaceSize;
  }

  Precision x_precision;
  cublasLtHandle_t x_handle = nullptr;
  mutable Block x_workspace{Block::Where::device};
  mutable std::map<Key, Plan> x_plans;
};

}  // namespace dssl::cuda
