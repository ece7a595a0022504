// Cuda backend: operations on single elements, sixteen bytes a thread where addresses allow.
//
// Not thrust::transform: it waits for the device unless told otherwise, its failures name no operation, and a rehearsal
// would have to go round it.
#pragma once

#include <cstdint>

#include <dssl/backend/cuda/columns.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/operands.hpp>

namespace dssl::cuda {

/// f.at<W>(i) for the elements [i, i + W), W at a time, the rest one by one.
template <int W, class F>
__global__ void over_elements(Index count, F f) {
  const Index packs = count / W;
  for (Index i = grid_thread(); i < packs; i += grid_threads()) f.template at<W>(i * W);
  for (Index i = packs * W + grid_thread(); i < count; i += grid_threads()) f.template at<1>(i);
}

/// Whether an address is a multiple of 16 bytes.
template <class T>
[[nodiscard]] bool is_wide(const T* data) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
}

/// Calls a functor over `count` elements of arrays of T; the arrays' addresses decide how many at a time.
template <class T, class F, class... Arrays>
void for_elements(const Stream& stream, Index count, const F& f, const Arrays*... arrays) {
  if ((is_wide(arrays) && ...)) {
    launch_over(stream, over_elements<wide<T>, F>, (count + wide<T> - 1) / wide<T>, count, f);
  } else {
    launch_over(stream, over_elements<1, F>, count, count, f);
  }
}

/// Phi(x), the normal distribution function.
__device__ __forceinline__ float normal_below(float x) { return 0.5F * erfcf(x * -0.70710678118654752F); }
__device__ __forceinline__ double normal_below(double x) { return 0.5 * erfc(x * -0.70710678118654752); }

/// Phi(x) + x phi(x), the derivative of x Phi(x).
template <class T>
__device__ __forceinline__ T gelu_slope(T x) {
  return normal_below(x) + x * static_cast<T>(0.3989422804014327) * exp(static_cast<T>(-0.5) * x * x);
}

namespace elements {

template <class T>
struct Fill {
  T* y;
  T number;
  template <int W>
  __device__ void at(Index i) const {
    Pack<T, W> out;
    for (int k = 0; k < W; ++k) out.value[k] = number;
    store_pack(y + i, out);
  }
};

template <class T>
struct Gelu {
  T* y;
  const T* x;
  template <int W>
  __device__ void at(Index i) const {
    Pack<T, W> v = load_pack<W>(x + i);
    for (int k = 0; k < W; ++k) v.value[k] *= normal_below(v.value[k]);
    store_pack(y + i, v);
  }
};

template <class T>
struct GeluBackward {
  T* d_x;
  const T* d_y;
  const T* x;
  template <int W>
  __device__ void at(Index i) const {
    Pack<T, W> d = load_pack<W>(d_y + i);
    const Pack<T, W> v = load_pack<W>(x + i);
    for (int k = 0; k < W; ++k) d.value[k] *= gelu_slope(v.value[k]);
    store_pack(d_x + i, d);
  }
};

template <class T>
struct GeluAgain {
  T* y;
  T* d_x;
  const T* d_y;
  const T* x;
  template <int W>
  __device__ void at(Index i) const {
    Pack<T, W> d = load_pack<W>(d_y + i);
    Pack<T, W> v = load_pack<W>(x + i);
    for (int k = 0; k < W; ++k) {
      d.value[k] *= gelu_slope(v.value[k]);
      v.value[k] *= normal_below(v.value[k]);
    }
    store_pack(y + i, v);
    store_pack(d_x + i, d);
  }
};

template <class T>
struct Accumulate {
  T* y;
  const T* x;
  template <int W>
  __device__ void at(Index i) const {
    Pack<T, W> v = load_pack<W>(y + i);
    const Pack<T, W> u = load_pack<W>(x + i);
    for (int k = 0; k < W; ++k) v.value[k] += u.value[k];
    store_pack(y + i, v);
  }
};

}  // namespace elements

/// m y + (1 - m) x, in the form whose error is small for the m it is used with: near 1, and the teacher moves
/// little.
template <class T>
struct Lerp {
  T keep;
  T take;
  bool near_one;

  explicit Lerp(double m) : keep(static_cast<T>(m)), take(static_cast<T>(1.0 - m)), near_one(m > 0.5) {}
  __device__ __forceinline__ T operator()(T y, T x) const {
    return near_one ? take * (x - y) + y : take * x + keep * y;
  }
};

namespace elements {

template <class T>
struct MoveTowards {
  T* y;
  const T* x;
  Lerp<T> lerp;
  template <int W>
  __device__ void at(Index i) const {
    Pack<T, W> v = load_pack<W>(y + i);
    const Pack<T, W> u = load_pack<W>(x + i);
    for (int k = 0; k < W; ++k) v.value[k] = lerp(v.value[k], u.value[k]);
    store_pack(y + i, v);
  }
};

/// `GeluAgain`, whose gradients are summed down their columns at once.
template <class T>
struct GeluAgainTerms {
  GeluAgain<T> each;
  Index cols;
  __device__ void operator()(Index row, Index col, T (&value)[1]) const {
    const Index i = row * cols + col;
    each.template at<1>(i);
    value[0] = each.d_x[i];
  }
};

}  // namespace elements

template <class T>
void fill(const Stream& stream, VectorView<T> x, T value) {
  for_elements<T>(stream, x.size(), elements::Fill<T>{x.data(), value}, x.data());
}

template <class T>
void gelu_forward(const Stream& stream, MatrixView<T> y, MatrixView<const T> x) {
  for_elements<T>(stream, x.size(), elements::Gelu<T>{y.data(), x.data()}, y.data(), x.data());
}

template <class T>
void gelu_backward(const Stream& stream, MatrixView<T> d_x, MatrixView<const T> d_y, MatrixView<const T> x) {
  for_elements<T>(stream, x.size(), elements::GeluBackward<T>{d_x.data(), d_y.data(), x.data()}, d_x.data(),
                  d_y.data(), x.data());
}

template <class T>
void gelu_again_backward(const Stream& stream, MatrixView<T> y, MatrixView<T> d_x, VectorView<T> d_bias,
                         MatrixView<const T> d_y, MatrixView<const T> x) {
  const elements::GeluAgain<T> each{y.data(), d_x.data(), d_y.data(), x.data()};
  if (!d_bias.empty()) {
    add_column_sums<1>(stream, Vectors<T>{{d_bias.data()}}, x.rows(), x.cols(),
                       elements::GeluAgainTerms<T>{each, x.cols()});
    return;
  }
  for_elements<T>(stream, x.size(), each, y.data(), d_x.data(), d_y.data(), x.data());
}

template <class T>
void accumulate(const Stream& stream, VectorView<T> y, VectorView<const T> x) {
  for_elements<T>(stream, y.size(), elements::Accumulate<T>{y.data(), x.data()}, y.data(), x.data());
}

template <class T>
void lerp(const Stream& stream, VectorView<T> y, VectorView<const T> x, double m) {
  for_elements<T>(stream, y.size(), elements::MoveTowards<T>{y.data(), x.data(), Lerp<T>(m)}, y.data(),
                  x.data());
}

}  // namespace dssl::cuda
