// Cuda backend: what blocks of some families have beside.
#pragma once

#include <dssl/backend/cuda/pointwise.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/operands.hpp>

namespace dssl::cuda {

/// 1 / (1 + exp(-x)).
template <class T>
__device__ __forceinline__ T logistic(T x) {
  return T{1} / (T{1} + exp(-x));
}

namespace elements {

/// Element i of y is that of row i / width; its gate and its value lie in a row of twice that width.
template <class T>
struct Swiglu {
  T* y;
  const T* x;
  Index width;
  template <int W>
  __device__ void at(Index i) const {
    static_assert(W == 1);
    const T* const gate = x + i + i / width * width;
    y[i] = *gate * logistic(*gate) * gate[width];
  }
};

template <class T>
struct SwigluAgain {
  T* y;
  T* d_x;
  const T* d_y;
  const T* x;
  Index width;
  template <int W>
  __device__ void at(Index i) const {
    static_assert(W == 1);
    const Index first = i + i / width * width;
    const T gate = x[first], value = x[first + width], d = d_y[i];
    const T share = logistic(gate);
    const T silu = gate * share;
    y[i] = silu * value;
    d_x[first] = d * value * share * (T{1} + gate * (T{1} - share));
    d_x[first + width] = d * silu;
  }
};

/// Angle i: that of row i / (2 quarter), number i % (2 quarter).
template <class T>
struct RotationRows {
  T* out;
  const T* coordinates;
  const T* periods;
  Index quarter;
  template <int W>
  __device__ void at(Index i) const {
    static_assert(W == 1);
    const Index row = i / (2 * quarter), j = i % (2 * quarter);
    const double angle = 6.283185307179586 * static_cast<double>(coordinates[2 * row + j / quarter]) /
                         static_cast<double>(periods[j % quarter]);
    T* const rotation = out + row * 4 * quarter + j;
    rotation[0] = static_cast<T>(cos(angle));
    rotation[2 * quarter] = static_cast<T>(sin(angle));
  }
};

/// Pair i: token i / pairs, of whose queries and keys it is pair i % pairs.
template <class T>
struct RotateHeads {
  T* x;
  const T* rotations;
  const std::int32_t* places;
  const std::int32_t* packed;
  Index columns;  // of x
  Index half;
  Index pairs;  // of a token
  T direction;
  template <int W>
  __device__ void at(Index i) const {
    static_assert(W == 1);
    const Index n = i / pairs;
    const Index m = packed == nullptr ? n : Index{packed[n]};
    if (places[n] < 0 || m < 0) return;
    const Index head = i % pairs / half, j = i % pairs % half;
    T* const first = x + m * columns + 2 * half * head + j;
    const T* const rotation = rotations + Index{places[n]} * 2 * half + j;
    const T a = first[0], b = first[half];
    const T cosine = rotation[0], sine = direction * rotation[half];
    first[0] = a * cosine - b * sine;
    first[half] = b * cosine + a * sine;
  }
};

}  // namespace elements

/// Calls a functor over `count` elements one by one.
template <class F>
void for_each_element(const Stream& stream, Index count, const F& f) {
  launch_over(stream, over_elements<1, F>, count, count, f);
}

/// See `BlockPrimitives` in backend/concept.hpp, here and below.
template <class T>
void swiglu_forward(const Stream& stream, MatrixView<T> y, MatrixView<const T> x) {
  for_each_element(stream, y.size(), elements::Swiglu<T>{y.data(), x.data(), y.cols()});
}

template <class T>
void swiglu_again_backward(const Stream& stream, MatrixView<T> y, MatrixView<T> d_x, MatrixView<const T> d_y,
                           MatrixView<const T> x) {
  for_each_element(stream, y.size(),
                   elements::SwigluAgain<T>{y.data(), d_x.data(), d_y.data(), x.data(), y.cols()});
}

template <class T>
void rotation_rows(const Stream& stream, MatrixView<T> out, MatrixView<const T> coordinates,
                   VectorView<const T> periods) {
  for_each_element(stream, out.size() / 2,
                   elements::RotationRows<T>{out.data(), coordinates.data(), periods.data(), periods.size()});
}

template <class T>
void rotate_heads(const Stream& stream, MatrixView<T> x, MatrixView<const T> rotations, RowIndex places,
                  RowIndex packed, Index heads, double direction) {
  const Index half = rotations.cols() / 2;
  const Index pairs = 2 * heads * half;
  for_each_element(stream, places.size() * pairs,
                   elements::RotateHeads<T>{x.data(), rotations.data(), places.data(),
                                            packed.empty() ? nullptr : packed.data(), x.cols(), half, pairs,
                                            static_cast<T>(direction)});
}

}  // namespace dssl::cuda
