// What JPEG makes of a picture, without a file: blocks of 8 x 8 through the cosine transform and back,
// rounded. Tests: tests/views/photometric_parts.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/planar_image.hpp>
#include <dssl/views/tone.hpp>

namespace dssl {

/// By what the coefficients of a block are divided before they are rounded: 8 rows of 8, the first of them
/// constant.
using BlockSteps = std::array<float, 64>;

/// Of brightness (or of colour) at a quality of 1 to 100: t' = clamp(floor((s t + 50) / 100), 1, 255) of the
/// tables in ITU-T T.81, annex K.1, s = 5000 / quality below 50, rounded down, else 200 - 2 quality, as the
/// Independent JPEG Group has it. Throws `OptionError` for another quality.
[[nodiscard]] DSSL_INLINE BlockSteps block_steps(int quality, bool colour);

/// A JPEG file's losses at a quality of 1 to 100: planes (C,h,w) of values in [0, 1], in place.
///
/// Three channels are red, green, blue: they become luma and two differences (JFIF: Y = 0.299 R + 0.587 G +
/// 0.114 B), the differences are averaged over 2 x 2 pixels, and repeated when they come back. Any other
/// number are grey pictures each. Every plane is cut into blocks of 8 x 8, edges repeated, which go through
/// the cosine transform on the scale of 0 to 255 less 128, are divided by `block_steps`, rounded, and come
/// back; results are in steps of 1 / 255, as a decoder has them. Coding is left out, as it loses nothing.
/// `planes_of_colour`: memory, grown as needed. Cost about 4000 FLOP a block. Throws as `block_steps`.
DSSL_INLINE void compress_blocks(PlanarImage<float>& planes, int quality,
                                 std::vector<float>& planes_of_colour);

#if defined(DSSL_WITH_DEFINITIONS)
namespace detail {

/// cosine[k][n] = s_k cos((2 n + 1) k pi / 16), s_0 = sqrt(1 / 8), else 1 / 2: the rows are orthonormal.
[[nodiscard]] constexpr std::array<std::array<float, 8>, 8> block_cosines() {
  constexpr std::array<double, 9> cosines{1,
                                          0.98078528040323044913,
                                          0.92387953251128675613,
                                          0.83146961230254523708,
                                          0.70710678118654752440,
                                          0.55557023301960222474,
                                          0.38268343236508977173,
                                          0.19509032201612826785,
                                          0};  // of i pi / 16
  std::array<std::array<float, 8>, 8> out{};
  for (std::size_t k = 0; k < 8; ++k) {
    for (std::size_t n = 0; n < 8; ++n) {
      std::size_t i = (2 * n + 1) * k % 32;
      if (i > 16) i = 32 - i;
      const double cosine = i > 8 ? -cosines[16 - i] : cosines[i];
      out[k][n] = static_cast<float>((k == 0 ? 0.5 * cosines[4] : 0.5) * cosine);
    }
  }
  return out;
}

/// A plane of values on the scale of 0 to 255 less 128, through its blocks.
inline void round_blocks(float* plane, Index height, Index width, const BlockSteps& steps) {
  constexpr auto cosine = block_cosines();
  using Block = std::array<std::array<float, 8>, 8>;
  Block a, b;
  // to = C from, or C^T from, and turned over: twice gives C from C^T.
  const auto transform = [&cosine](Block& to, const Block& from, bool back) {
    for (std::size_t k = 0; k < 8; ++k) {
      std::array<float, 8> sum{};
      for (std::size_t n = 0; n < 8; ++n) {
        const float c = back ? cosine[n][k] : cosine[k][n];
        for (std::size_t i = 0; i < 8; ++i) sum[i] += c * from[n][i];
      }
      for (std::size_t i = 0; i < 8; ++i) to[i][k] = sum[i];
    }
  };
  for (Index top = 0; top < height; top += 8) {
    for (Index left = 0; left < width; left += 8) {
      for (Index y = 0; y < 8; ++y) {
        const float* const row = plane + std::min(top + y, height - 1) * width;
        for (Index x = 0; x < 8; ++x)
          a[static_cast<std::size_t>(y)][static_cast<std::size_t>(x)] = row[std::min(left + x, width - 1)];
      }
      transform(b, a, false);
      transform(a, b, false);
      for (std::size_t i = 0; i < 64; ++i) {
        float& value = a[i / 8][i % 8];
        value = std::floor(value / steps[i] + 0.5F) * steps[i];
      }
      transform(b, a, true);
      transform(a, b, true);
      for (Index y = 0; y < std::min<Index>(8, height - top); ++y) {
        for (Index x = 0; x < std::min<Index>(8, width - left); ++x)
          plane[(top + y) * width + left + x] = a[static_cast<std::size_t>(y)][static_cast<std::size_t>(x)];
      }
    }
  }
}

/// A value on the scale of 0 to 255 as one of 256 levels in [0, 1].
[[nodiscard]] inline float level_of(float value) {
  const float cut = value < 0.0F ? 0.0F : value > 255.0F ? 255.0F : value;
  return std::floor(cut + 0.5F) * (1.0F / 255.0F);
}

}  // namespace detail

DSSL_INLINE BlockSteps block_steps(int quality, bool colour) {
  constexpr std::array<int, 64> of_brightness{
      16, 11,  10,  16, 24, 40, 51, 61, 12,  12,  14,  19,  26, 58, 60, 55,  14,  13,  16,  24, 40, 57,
      69, 56,  14,  17, 22, 29, 51, 87, 80,  62,  18,  22,  37, 56, 68, 109, 103, 77,  24,  35, 55, 64,
      81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98,  112, 100, 103, 99};
  constexpr std::array<std::array<int, 4>, 4> of_colour{
      {{17, 18, 24, 47}, {18, 21, 26, 66}, {24, 26, 56, 99}, {47, 66, 99, 99}}};
  if (quality < 1 || quality > 100) throw OptionError("quality", quality, "1 to 100");
  const int scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
  BlockSteps out{};
  for (std::size_t i = 0; i < 64; ++i) {
    const std::size_t row = i / 8, column = i % 8;
    const int step = !colour ? of_brightness[i] : row < 4 && column < 4 ? of_colour[row][column] : 99;
    out[i] = static_cast<float>(std::clamp((scale * step + 50) / 100, 1, 255));
  }
  return out;
}

DSSL_INLINE void compress_blocks(PlanarImage<float>& planes, int quality,
                                 std::vector<float>& planes_of_colour) {
  const Index height = planes.height(), width = planes.width(), size = planes.plane_size();
  const BlockSteps brightness = block_steps(quality, false);
  if (planes.channels() != 3) {
    for (Index c = 0; c < planes.channels(); ++c) {
      float* const values = planes.plane(c);
      for (Index i = 0; i < size; ++i) values[i] = 255.0F * detail::cut(values[i]) - 128.0F;
      detail::round_blocks(values, height, width, brightness);
      for (Index i = 0; i < size; ++i) values[i] = detail::level_of(values[i] + 128.0F);
    }
    return;
  }
  float *const red = planes.plane(0), *const green = planes.plane(1), *const blue = planes.plane(2);
  for (Index i = 0; i < size; ++i) {
    const float r = 255.0F * detail::cut(red[i]), g = 255.0F * detail::cut(green[i]),
                b = 255.0F * detail::cut(blue[i]);
    red[i] = 0.299F * r + 0.587F * g + 0.114F * b - 128.0F;
    green[i] = -0.168735892F * r - 0.331264108F * g + 0.5F * b;
    blue[i] = 0.5F * r - 0.418687589F * g - 0.081312411F * b;
  }
  detail::round_blocks(red, height, width, brightness);
  const BlockSteps colour = block_steps(quality, true);
  const Index half_height = (height + 1) / 2, half_width = (width + 1) / 2;
  planes_of_colour.resize(static_cast<std::size_t>(half_height * half_width));
  for (const Index c : {Index{1}, Index{2}}) {
    float* const half = planes_of_colour.data();
    for (Index y = 0; y < half_height; ++y) {
      const float* const above = planes.row(c, 2 * y);
      const float* const below = planes.row(c, std::min(2 * y + 1, height - 1));
      for (Index x = 0; x < half_width; ++x) {
        const Index next = std::min(2 * x + 1, width - 1);
        half[y * half_width + x] = 0.25F * (above[2 * x] + above[next] + below[2 * x] + below[next]);
      }
    }
    detail::round_blocks(half, half_height, half_width, colour);
    for (Index y = 0; y < height; ++y) {
      for (Index x = 0; x < width; ++x) planes.row(c, y)[x] = half[(y / 2) * half_width + x / 2];
    }
  }
  for (Index i = 0; i < size; ++i) {
    const float y = red[i] + 128.0F, cb = green[i], cr = blue[i];
    red[i] = detail::level_of(y + 1.402F * cr);
    green[i] = detail::level_of(y - 0.344136286F * cb - 0.714136286F * cr);
    blue[i] = detail::level_of(y + 1.772F * cb);
  }
}
#endif

}  // namespace dssl
