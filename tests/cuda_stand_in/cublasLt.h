// Stand-in: cuBLASLt's matrix product as plain loops, with the layouts, types and epilogues that dssl uses.
//
// It refuses what the library refuses: operands that are less aligned than the heuristic was told, epilogues
// that a type does not have, too little workspace. It writes over the workspace that it was given.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

enum cublasStatus_t {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_NOT_INITIALIZED = 1,
  CUBLAS_STATUS_ALLOC_FAILED = 3,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_EXECUTION_FAILED = 13,
  CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasComputeType_t {
  CUBLAS_COMPUTE_32F = 68,
  CUBLAS_COMPUTE_64F = 70,
  CUBLAS_COMPUTE_32F_FAST_TF32 = 77
};
enum cublasLtMatmulDescAttributes_t {
  CUBLASLT_MATMUL_DESC_TRANSA = 3,
  CUBLASLT_MATMUL_DESC_TRANSB = 4,
  CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
  CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8
};
enum cublasLtEpilogue_t { CUBLASLT_EPILOGUE_DEFAULT = 1, CUBLASLT_EPILOGUE_BIAS = 4 };
enum cublasLtMatmulPreferenceAttributes_t {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8
};

struct cublasLtContext {
  std::size_t heuristics = 0;  ///< how often somebody asked for an algorithm
};
using cublasLtHandle_t = cublasLtContext*;

struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType scale = CUDA_R_32F;
  cublasOperation_t a = CUBLAS_OP_N;
  cublasOperation_t b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
using cublasLtMatmulDesc_t = cublasLtMatmulDescOpaque_t*;
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType type = CUDA_R_32F;
  std::uint64_t rows = 0;
  std::uint64_t cols = 0;
  std::int64_t ld = 0;
};
using cublasLtMatrixLayout_t = cublasLtMatrixLayoutOpaque_t*;
struct cublasLtMatmulPreferenceOpaque_t {
  std::uint64_t workspace = 0;
  std::uint32_t alignment[4] = {256, 256, 256, 256};
};
using cublasLtMatmulPreference_t = cublasLtMatmulPreferenceOpaque_t*;
struct cublasLtMatmulAlgo_t {
  std::uint64_t data[8];
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  std::size_t workspaceSize;
  cublasStatus_t state;
  float wavesCount;
  int reserved[4];
};

inline const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "an unknown status";
}
inline const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }
inline std::size_t cublasLtGetVersion() { return 130000; }

inline cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (cuda_stand_in::Device::get().asked_to_fail("cublasLtCreate") != cudaSuccess)
    return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

inline cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                               cudaDataType scale) {
  *desc = new cublasLtMatmulDescOpaque_t{.compute = compute, .scale = scale};
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                                     cublasLtMatmulDescAttributes_t attribute,
                                                     const void* value, std::size_t bytes) {
  const auto set = [&](auto& member) {
    if (bytes != sizeof(member)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&member, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(desc->a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(desc->b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(desc->epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(desc->bias);
  }
  return CUBLAS_STATUS_NOT_SUPPORTED;
}
inline cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                                 std::uint64_t rows, std::uint64_t cols, std::int64_t ld) {
  if (rows == 0 || cols == 0 || ld < static_cast<std::int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  *layout = new cublasLtMatrixLayoutOpaque_t{type, rows, cols, ld};
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                           cublasLtMatmulPreferenceAttributes_t attribute,
                                                           const void* value, std::size_t bytes) {
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    if (bytes != sizeof(std::uint64_t)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&preference->workspace, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  }
  if (bytes != sizeof(std::uint32_t)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

namespace cuda_stand_in {

/// Whether the library multiplies such matrices at all.
inline bool multiplies(const cublasLtMatmulDescOpaque_t& d, const cublasLtMatrixLayoutOpaque_t& a,
                       const cublasLtMatrixLayoutOpaque_t& b, const cublasLtMatrixLayoutOpaque_t& c) {
  const auto op_rows = [](cublasOperation_t op, const auto& x) {
    return op == CUBLAS_OP_N ? x.rows : x.cols;
  };
  const auto op_cols = [](cublasOperation_t op, const auto& x) {
    return op == CUBLAS_OP_N ? x.cols : x.rows;
  };
  if (op_rows(d.a, a) != c.rows || op_cols(d.b, b) != c.cols || op_cols(d.a, a) != op_rows(d.b, b))
    return false;
  if (d.compute == CUBLAS_COMPUTE_64F) {
    return d.scale == CUDA_R_64F && a.type == CUDA_R_64F && b.type == CUDA_R_64F && c.type == CUDA_R_64F &&
           d.epilogue == CUBLASLT_EPILOGUE_DEFAULT;
  }
  if (d.scale != CUDA_R_32F || c.type != CUDA_R_32F || a.type != b.type) return false;
  return a.type == CUDA_R_32F || (a.type == CUDA_R_16BF && d.compute == CUBLAS_COMPUTE_32F);
}

inline double number_at(cudaDataType type, const void* data, std::size_t at) {
  switch (type) {
    case CUDA_R_32F:
      return static_cast<const float*>(data)[at];
    case CUDA_R_64F:
      return static_cast<const double*>(data)[at];
    case CUDA_R_16BF:
      return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[at]);
  }
  return 0;
}

/// op(x) as (rows, cols) of doubles in the order of the rows; tf32: rounded to 11 bits of precision.
inline std::vector<double> unpacked(cublasOperation_t op, const cublasLtMatrixLayoutOpaque_t& layout,
                                    const void* data, bool by_column, bool tf32) {
  const std::size_t rows = op == CUBLAS_OP_N ? layout.rows : layout.cols;
  const std::size_t cols = op == CUBLAS_OP_N ? layout.cols : layout.rows;
  const auto ld = static_cast<std::size_t>(layout.ld);
  std::vector<double> out(rows * cols);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < cols; ++j) {
      double x = number_at(layout.type, data, op == CUBLAS_OP_N ? j * ld + i : i * ld + j);
      if (tf32 && std::isfinite(x)) {
        int exponent = 0;
        const double fraction = std::frexp(x, &exponent);
        x = std::ldexp(std::nearbyint(std::ldexp(fraction, 11)), exponent - 11);
      }
      out[by_column ? j * rows + i : i * cols + j] = x;
    }
  }
  return out;
}

struct Product {
  cublasLtMatmulDescOpaque_t desc;
  cublasLtMatrixLayoutOpaque_t a, b, c;
  double alpha, beta;
  const void* a_data;
  const void* b_data;
  void* c_data;
  std::byte* workspace;
  std::size_t workspace_bytes;

  void operator()() const {
    if (workspace_bytes > 0) std::memset(workspace, 0xff, std::min<std::size_t>(workspace_bytes, 4096));
    const bool tf32 = desc.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    const std::vector<double> left = unpacked(desc.a, a, a_data, false, tf32);
    const std::vector<double> right = unpacked(desc.b, b, b_data, true, tf32);
    const std::size_t depth = left.size() / c.rows;
    const auto ld = static_cast<std::size_t>(c.ld);
    for (std::size_t j = 0; j < c.cols; ++j) {
      for (std::size_t i = 0; i < c.rows; ++i) {
        double sum = 0;
        for (std::size_t k = 0; k < depth; ++k) sum += left[i * depth + k] * right[j * depth + k];
        sum *= alpha;
        if (beta != 0) sum += beta * number_at(c.type, c_data, j * ld + i);
        if (desc.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += number_at(c.type, desc.bias, i);
        if (c.type == CUDA_R_64F)
          static_cast<double*>(c_data)[j * ld + i] = sum;
        else
          static_cast<float*>(c_data)[j * ld + i] = static_cast<float>(sum);
      }
    }
  }
};

}  // namespace cuda_stand_in

inline cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                                     cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                     cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                                     cublasLtMatmulPreference_t preference, int most,
                                                     cublasLtMatmulHeuristicResult_t results[], int* found) {
  *found = 0;
  ++handle->heuristics;
  if (most < 1 || c->type != d->type || !cuda_stand_in::multiplies(*desc, *a, *b, *d))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  results[0] = {};
  for (std::size_t i = 0; i < 4; ++i) results[0].algo.data[i] = preference->alignment[i];
  results[0].workspaceSize = std::min<std::size_t>(preference->workspace, 1 << 20);
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

inline cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha,
                                     const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                                     cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                                     cublasLtMatrixLayout_t c_layout, void* d,
                                     cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                                     void* workspace, std::size_t workspace_bytes, cudaStream_t stream) {
  const cudaError_t asked = cuda_stand_in::Device::get().asked_to_fail("cublasLtMatmul");
  if (asked == cudaErrorMemoryAllocation) return CUBLAS_STATUS_ALLOC_FAILED;
  if (asked != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (!cuda_stand_in::on_current_device(stream)) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (c != d || c_layout->type != d_layout->type || algo == nullptr) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (!cuda_stand_in::multiplies(*desc, *a_layout, *b_layout, *d_layout)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const void* const operands[] = {a, b, c, d};
  for (std::size_t i = 0; i < 4; ++i) {
    if (reinterpret_cast<std::uintptr_t>(operands[i]) % algo->data[i] != 0)
      return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool with_bias = desc->epilogue == CUBLASLT_EPILOGUE_BIAS;
  if (with_bias &&
      (desc->bias == nullptr || reinterpret_cast<std::uintptr_t>(desc->bias) % algo->data[3] != 0)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const auto scale = [&](const void* x) {
    return desc->scale == CUDA_R_64F ? *static_cast<const double*>(x) : *static_cast<const float*>(x);
  };
  const cuda_stand_in::Product product{
      *desc,          *a_layout, *b_layout, *d_layout, scale(alpha),
      scale(beta),    a,         b,         d,         static_cast<std::byte*>(workspace),
      workspace_bytes};
  return cuda_stand_in::Device::get().enqueue(stream, product) == cudaSuccess
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_EXECUTION_FAILED;
}
