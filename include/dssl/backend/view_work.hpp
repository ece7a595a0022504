// Views to be rendered on a backend, as its kernels read them: numbers and byte offsets into one sheet.
#pragma once

#include <cstddef>
#include <cstdint>

#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// What the pixels of an image are stored as. Views of 8-bit images are computed in 8-bit integers, all
/// others in floats.
enum class PixelDepth : std::int32_t { bits8, bits16, real };

/// A change of a view's values that is done to one pixel after the other.
enum class ViewStep : std::int32_t { brightness, contrast, saturation, hue, grey };

/// The filter of one axis: output i = sum over t < count[i] of weight[t][i] * source[first[i] + t].
///
/// At `table` of the sheet's data lie, in 32-bit words, first (size), count (size), weights (taps, size):
/// integers with 22 fractional bits for 8-bit images, floats for others.
struct ViewAxis {
  std::int64_t table = 0;
  std::int32_t size = 0;
  std::int32_t taps = 0;
};

/// A map through which a view is read out of what a part of its picture was resized to (`warp`,
/// dssl/views/warp.hpp): by a matrix from the view's square [-1, 1]^2 to the picture, or to the corrected one
/// and from there through a lens.
struct ViewMapping {
  /// Of a `Camera`, by its names.
  struct LensNumbers {
    double fx = 1, fy = 1, cx = 0, cy = 0;
    double k1 = 0, k2 = 0, p1 = 0, p2 = 0, k3 = 0, k4 = 0, k5 = 0, k6 = 0;
  };
  double plane[9]{};
  LensNumbers lens;
  double radius = 0;  ///< up to which the lens' model is followed, in units of the focal lengths
  double left = 0;    ///< of the part, in the picture
  double top = 0;
  double scale_x = 1;  ///< columns that one of the part was resized to
  double scale_y = 1;
  std::int32_t bent = 0;          ///< whether there is a lens
  std::int32_t bilinear = 0;      ///< else bicubic
  std::int32_t reads_across = 1;  ///< whose mean a pixel is, with as many down for each
  std::int32_t reads_down = 1;
};

/// One view of one image: where its pixels lie, what is done to them, where the result goes.
///
/// Offsets are in bytes: `pixels`, `normalisation` and tables from where the sheet's data begin, `planes`,
/// `other` and `partial_sums` from that of the memory in which a run of views is computed.
struct ViewWork {
  void* out = nullptr;             ///< (C,h,w) of the backend's scalar, in the backend's memory
  std::int64_t pixels = 0;         ///< interleaved: the first of the box that the vertical filter reads
  std::int64_t row_values = 0;     ///< from one row of the image to the next
  std::int64_t normalisation = 0;  ///< floats: factors (C), then offsets (C): out = factor * value + offset
  std::int64_t mapping = -1;       ///< a `ViewMapping`; -1: the view is what its box is resized to
  std::int64_t planes = 0;         ///< (C,h,w) in 8 bits or float
  std::int64_t other = 0;         ///< the same for the next pass
  std::int64_t narrowed = 0;      ///< (C, rows, size of `across`) after the horizontal filter, in one of the two
  std::int64_t resized = 0;       ///< (C, size of `down`, size of `across`) for the mapping, in the other
  std::int64_t partial_sums = 0;  ///< doubles (parts): of the grey of the view
  ViewAxis across;                ///< w, h where the view lies; mirrored where the view is; any of a mapping
  ViewAxis down;                  ///< h, w where the view lies; `first` counts from `pixels`
  std::int32_t height = 1;
  std::int32_t width = 1;
  std::int32_t lying = 0;  ///< the box's columns are the view's rows
  PixelDepth depth = PixelDepth::bits8;
  std::int32_t channels = 1;
  std::int32_t rows = 1;   ///< of the image that the vertical filter reads
  std::int32_t parts = 1;  ///< blocks of threads that share the view's pixels; a matter of its size alone
  std::int32_t row_blocks = 1;  ///< blocks that share the horizontal filter
  std::int32_t copies = 0;      ///< nearest: values are copied, and not cut to [0, 1]
  std::int32_t step_count = 0;
  std::int32_t contrast_at = 0;  ///< which of the steps is contrast, before which all of the view must be
                                 ///< known; `step_count` where none is
  ViewStep steps[5]{};
  float step_values[5]{};  ///< factors; of a hue, the shift: in 8 bits a whole number, else sixths of a turn
  std::int32_t solarise = 0;
  std::int32_t blur_radius = -1;    ///< of the box that is applied three times along each axis; -1: none
  std::uint32_t blur_weights[2]{};  ///< 8-bit images: of pixels within the radius and of the two beyond, 24
                                    ///< fractional bits
  float blur_shares[2]{};           ///< the same for others
};

/// Views of a sheet that are computed at once, in one piece of memory.
struct ViewRun {
  Index first = 0;
  Index count = 0;
  std::size_t bytes = 0;  ///< of that memory
  Index row_blocks = 0;   ///< the largest of its views'
  Index parts = 0;
  bool maps = false;       ///< whether one of its views is read through a mapping
  bool contrasts = false;  ///< whether one of its views has a contrast
  bool blurs = false;      ///< whether one of its views has a blur
};

/// Threads of a block that works on a view, and the pixels that a block has before another one helps it.
inline constexpr Index view_threads = 256;
inline constexpr Index pixels_of_part = 1024;

/// A sheet as bytes: the `ViewWork` of all its views, and from here on the data that their offsets count in.
[[nodiscard]] constexpr std::size_t view_data_offset(Index views) {
  return (static_cast<std::size_t>(views) * sizeof(ViewWork) + 63) / 64 * 64;
}

}  // namespace dssl
