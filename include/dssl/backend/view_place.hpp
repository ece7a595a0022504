// Where a view that is seen through a map has its pixels, and how a picture is read between pixels: the one
// arithmetic of the views room and of kernels that render views.
// Tests: tests/views/warped_views.cpp, tests/views/lens.cpp, tests/cuda/warped_views.cpp.
#pragma once

#include <cmath>
#include <cstdint>

#include <dssl/core/point.hpp>

// For the host and for a device. Of the standard library only `std::sqrt` and `std::floor`, which devices have.
#if defined(__CUDACC__)
#define DSSL_HOST_DEVICE __host__ __device__
#else
#define DSSL_HOST_DEVICE
#endif

namespace dssl::detail {

/// (x, y) through a matrix m of three rows.
[[nodiscard]] DSSL_HOST_DEVICE inline Point through_matrix(const double* m, double x, double y) {
  const double w = m[6] * x + m[7] * y + m[8];
  return {(m[0] * x + m[1] * y + m[2]) / w, (m[3] * x + m[4] * y + m[5]) / w};
}

/// Derivatives of a map of the plane: xy is that of x by y.
struct PlaneSlope {
  double xx, xy, yx, yy;
  [[nodiscard]] DSSL_HOST_DEVICE double determinant() const { return xx * yy - xy * yx; }
};

/// The model of `Lens` by the names of `Camera`, in units of the focal lengths about the principal point.
template <class C>
[[nodiscard]] DSSL_HOST_DEVICE inline Point lens_model(const C& c, const Point& p) {
  const double r2 = p.x * p.x + p.y * p.y;
  const double s =
      (1 + r2 * (c.k1 + r2 * (c.k2 + r2 * c.k3))) / (1 + r2 * (c.k4 + r2 * (c.k5 + r2 * c.k6)));
  return {s * p.x + 2 * c.p1 * p.x * p.y + c.p2 * (r2 + 2 * p.x * p.x),
          s * p.y + c.p1 * (r2 + 2 * p.y * p.y) + 2 * c.p2 * p.x * p.y};
}
template <class C>
[[nodiscard]] DSSL_HOST_DEVICE inline PlaneSlope lens_slope(const C& c, const Point& p) {
  const double r2 = p.x * p.x + p.y * p.y;
  const double above = 1 + r2 * (c.k1 + r2 * (c.k2 + r2 * c.k3)),
               below = 1 + r2 * (c.k4 + r2 * (c.k5 + r2 * c.k6));
  const double d_above = c.k1 + r2 * (2 * c.k2 + r2 * 3 * c.k3),
               d_below = c.k4 + r2 * (2 * c.k5 + r2 * 3 * c.k6);
  const double s = above / below;
  const double d_s = 2 * (d_above - s * d_below) / below;  // by r2, times 2: by x it is d_s x
  const double cross = d_s * p.x * p.y + 2 * c.p1 * p.x + 2 * c.p2 * p.y;
  return {s + d_s * p.x * p.x + 2 * c.p1 * p.y + 6 * c.p2 * p.x, cross, cross,
          s + d_s * p.y * p.y + 6 * c.p1 * p.y + 2 * c.p2 * p.x};
}

/// The model, and beyond `radius` what goes on straight from there along the ray.
template <class C>
[[nodiscard]] DSSL_HOST_DEVICE inline Point bent_place(const C& c, double radius, const Point& p) {
  const double r2 = p.x * p.x + p.y * p.y;
  if (r2 <= radius * radius) return lens_model(c, p);
  const double share = radius / std::sqrt(r2);
  const Point edge{p.x * share, p.y * share};
  const Point to = lens_model(c, edge);
  const PlaneSlope j = lens_slope(c, edge);
  const double x = p.x - edge.x, y = p.y - edge.y;
  return {to.x + j.xx * x + j.xy * y, to.y + j.yx * x + j.yy * y};
}

/// Where what the corrected picture has at (x, y) was recorded.
template <class C>
[[nodiscard]] DSSL_HOST_DEVICE inline Point recorded_place(const C& c, double radius, double x, double y) {
  const Point to = bent_place(c, radius, {(x - 0.5 - c.cx) / c.fx, (y - 0.5 - c.cy) / c.fy});
  return {c.fx * to.x + c.cx + 0.5, c.fy * to.y + c.cy + 0.5};
}

/// Where along [-1, 1] read `part` of a pixel lies: `share` of a pixel for each, `step` from pixel to pixel.
[[nodiscard]] DSSL_HOST_DEVICE inline double read_place(std::int64_t pixel, int part, double share,
                                                        double step) {
  return (static_cast<double>(pixel) + (part + 0.5) * share) * step - 1.0;
}

/// As `std::min` and `std::max`, to the case of what is no number. By references, of which compilers make one instruction: with
/// values and names for what is between, views through maps took half as long again.
template <class T>
[[nodiscard]] DSSL_HOST_DEVICE inline const T& lesser(const T& a, const T& b) {
  return b < a ? b : a;
}
template <class T>
[[nodiscard]] DSSL_HOST_DEVICE inline const T& greater(const T& a, const T& b) {
  return a < b ? b : a;
}

/// What is far away, or no number, is somewhere: an index of it can be computed with.
[[nodiscard]] DSSL_HOST_DEVICE inline double index_place(double position) {
  return greater(-1e15, lesser(position, 1e15));
}

/// The first of four pixels that are read at a position along an axis, and the share of the way from the
/// second's middle to the third's at which it lies.
struct ReadPlace {
  std::int64_t first;
  float share;
};
[[nodiscard]] DSSL_HOST_DEVICE inline ReadPlace place_of_read(double position) {
  const double middle = index_place(position) - 0.5, below = std::floor(middle);  // in indices of pixels
  return {static_cast<std::int64_t>(below) - 1, static_cast<float>(middle - below)};
}
/// The pixel that a position lies in.
[[nodiscard]] DSSL_HOST_DEVICE inline std::int64_t nearest_read(double position) {
  return static_cast<std::int64_t>(std::floor(index_place(position)));
}

/// Weights of the four pixels: `filter_value` at t + 1, t, u and u + 1, of which the branches are known.
DSSL_HOST_DEVICE inline void read_weights(float t, bool bilinear, float& first, float& second, float& third,
                                          float& fourth) {
  const float u = 1 - t;
  if (bilinear) {
    first = fourth = 0;
    second = u;
    third = t;
  } else {
    first = -0.5F * t * u * u;
    second = (1.5F * t - 2.5F) * t * t + 1;
    third = (1.5F * u - 2.5F) * u * u + 1;
    fourth = -0.5F * u * t * t;
  }
}

/// The index that a reflection at the edges leads to; the pixel at the edge is met twice: c b a | a b c | c b a.
[[nodiscard]] DSSL_HOST_DEVICE inline std::int64_t reflected(std::int64_t i, std::int64_t n) {
  if (i < -n || i >= 2 * n) i %= 2 * n;
  if (i < 0) i += 2 * n;
  return i < n ? i : 2 * n - 1 - i;
}

/// A sum of weighted pixels as a pixel: rounded to 8 bits, or cut to [0, 1].
DSSL_HOST_DEVICE inline void set_read(std::uint8_t& to, float value) {
  to = static_cast<std::uint8_t>(static_cast<int>(greater(0.0F, lesser(value + 0.5F, 255.0F))));
}
DSSL_HOST_DEVICE inline void set_read(float& to, float value) {
  to = lesser(greater(value, 0.0F), 1.0F);  // in this order what is no number stays none
}

}  // namespace dssl::detail

#undef DSSL_HOST_DEVICE
