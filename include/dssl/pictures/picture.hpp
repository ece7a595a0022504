// Images of any kind as pictures to look at, enlarged, with captions, several on one sheet.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/features/bilinear.hpp>
#include <dssl/pictures/lettering.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/planar_image.hpp>

namespace dssl {

/// Planes (C,h,w) as an 8-bit RGB picture: the first three channels, or the first as grey where there are
/// fewer. Floats span [0, 1]. Test: tests/pictures/pictures.cpp.
template <WorkType W>
[[nodiscard]] Image<std::uint8_t> rgb_picture(const PlanarImage<W>& planes) {
  Image<std::uint8_t> out(planes.height(), planes.width(), 3);
  for (Index c = 0; c < 3; ++c) {
    const W* const from = planes.plane(planes.channels() >= 3 ? c : 0);
    for (Index i = 0; i < planes.plane_size(); ++i) {
      std::uint8_t& to = out.pixels()[static_cast<std::size_t>(3 * i + c)];
      if constexpr (std::is_same_v<W, std::uint8_t>) {
        to = from[i];
      } else {
        to = static_cast<std::uint8_t>(255.0F * std::clamp(from[i], 0.0F, 1.0F) + 0.5F);
      }
    }
  }
  return out;
}

/// The same of an image of any type and number of channels.
[[nodiscard]] inline Image<std::uint8_t> rgb_picture(const AnyImage& image) {
  return std::visit(
      []<PixelType T>(const Image<T>& typed) {
        PlanarImage<work_type<T>> planes;
        to_planes(planes, typed);
        return rgb_picture(planes);
      },
      image);
}

/// How cells become pixels.
enum class Enlargement : std::uint8_t {
  nearest,  ///< each pixel is the cell it lies in: cells stay visible as squares
  bilinear  ///< between the cells' middles, as `enlarge`
};

/// out (height, width) =: one number for each cell of `grid`, enlarged. Throws `ShapeError`. Test:
/// tests/pictures/pictures.cpp.
template <class T>
void enlarge(std::span<T> out, std::span<const T> cells, GridSize grid, Index height, Index width,
             Enlargement how) {
  if (how == Enlargement::bilinear) {
    enlarge(out, cells, grid, height, width);
    return;
  }
  require_shape(
      static_cast<Index>(cells.size()) == grid.size() && static_cast<Index>(out.size()) == height * width,
      "enlarging ", cells.size(), " cells to ", out.size(), " pixels; expected ", grid.size(), " and ",
      height, " x ", width);
  T* to = out.data();
  for (Index y = 0; y < height; ++y) {
    const T* const row = cells.data() + y * grid.height / height * grid.width;
    for (Index x = 0; x < width; ++x) *to++ = row[x * grid.width / width];
  }
}

/// A picture of another size, each channel enlarged (or shrunk, without smoothing).
[[nodiscard]] inline Image<std::uint8_t> enlarged(const Image<std::uint8_t>& picture, Index height,
                                                  Index width, Enlargement how) {
  Image<std::uint8_t> out(height, width, picture.channels());
  const GridSize grid{picture.height(), picture.width()};
  const auto channels = static_cast<std::size_t>(picture.channels());
  std::vector<float> cells(static_cast<std::size_t>(grid.size()));
  std::vector<float> pixels(static_cast<std::size_t>(height * width));
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t i = 0; i < cells.size(); ++i)
      cells[i] = static_cast<float>(picture.pixels()[channels * i + c]);
    enlarge(std::span<float>(pixels), std::span<const float>(cells), grid, height, width, how);
    for (std::size_t i = 0; i < pixels.size(); ++i)
      out.pixels()[channels * i + c] = static_cast<std::uint8_t>(pixels[i] + 0.5F);
  }
  return out;
}

/// A picture and what stands above it on a sheet.
struct CaptionedPicture {
  Image<std::uint8_t> picture;
  std::string caption{};
};

/// How a sheet is laid out, in pixels.
struct SheetOptions {
  Index columns = 4;  ///< pictures a row
  Index gap = 4;      ///< around each
  Index scale = 1;    ///< of the captions' letters

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (columns < 1) throw OptionError("columns", columns, "at least 1");
    if (gap < 0) throw OptionError("gap", gap, "at least 0");
    if (scale < 1) throw OptionError("scale", scale, "at least 1");
  }
};

/// RGB pictures of any sizes in rows from left to right on a white sheet, each below its caption.
///
/// A column is as wide as its widest picture, a row as high as its highest; captions are cut off at their
/// column's width, and take no room in a row without any. Throws `ShapeError` for no picture or one that is
/// not RGB, `OptionError`. Test: tests/pictures/pictures.cpp.
[[nodiscard]] inline Image<std::uint8_t> contact_sheet(std::span<const CaptionedPicture> pictures,
                                                       const SheetOptions& options = {}) {
  options.validate();
  require_shape(!pictures.empty(), "a sheet of no pictures; expected at least 1");
  const auto columns = static_cast<std::size_t>(options.columns);
  std::vector<Index> widths(std::min(columns, pictures.size()));
  std::vector<Index> heights((pictures.size() + columns - 1) / columns), captions(heights.size());
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const auto& [picture, caption] = pictures[i];
    require_shape(picture.channels() == 3, "a picture of ", picture.channels(),
                  " channels on a sheet; expected 3");
    widths[i % columns] = std::max(widths[i % columns], picture.width());
    heights[i / columns] = std::max(heights[i / columns], picture.height());
    if (!caption.empty()) captions[i / columns] = (text_height + 3) * options.scale;
  }
  const Index gap = options.gap;
  Index width = gap;
  Index height = gap;
  for (const Index w : widths) width += w + gap;
  for (std::size_t r = 0; r < heights.size(); ++r) height += captions[r] + heights[r] + gap;
  Image<std::uint8_t> out(height, width, 3);
  std::fill(out.pixels().begin(), out.pixels().end(), std::uint8_t{255});
  Index y = gap;
  for (std::size_t r = 0; r < heights.size(); ++r) {
    Index x = gap;
    for (std::size_t c = 0; c < widths.size() && r * columns + c < pictures.size(); ++c) {
      const auto& [picture, caption] = pictures[r * columns + c];
      if (!caption.empty()) {
        Image<std::uint8_t> line(text_height * options.scale, widths[c], 3);
        std::fill(line.pixels().begin(), line.pixels().end(), std::uint8_t{255});
        draw_text(line, 0, 0, caption, {16, 20, 24}, options.scale);
        for (Index i = 0; i < line.height(); ++i)
          std::copy_n(line.row(i), 3 * line.width(), out.row(y + i) + 3 * x);
      }
      for (Index i = 0; i < picture.height(); ++i)
        std::copy_n(picture.row(i), 3 * picture.width(), out.row(y + captions[r] + i) + 3 * x);
      x += widths[c] + gap;
    }
    y += captions[r] + heights[r] + gap;
  }
  return out;
}

}  // namespace dssl
