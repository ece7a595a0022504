// Masks as labelling programs write them: class ids, or what is marked and what is not.
// Tests: tests/io/mask_file.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/class_colour.hpp>
#include <dssl/core/error.hpp>
#include <dssl/io/bmp.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/io/netpbm.hpp>
#include <dssl/io/png.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// What is marked in an image: 1, and 0 elsewhere (H,W,1).
struct MarkedMask {
  Image<std::uint8_t> mask;
  Index values = 0;  ///< different values in the file
  /// It holds many, as a mask does that was a JPEG or was resized: half of the largest parts them.
  bool between = false;
};

namespace detail {

/// A mask file decoded: indices as they are, or an image of any channels.
struct DecodedMask {
  AnyImage image;
  bool indices = false;  ///< of a palette
  std::uint32_t white = 255;  ///< the largest value of grey files of less than 8 bits
  /// Of a BMP's palette of black and another grey, which is the marked one: what its indices stand for.
  std::optional<std::array<std::uint8_t, 2>> greys{};
  std::string_view lossy{};  ///< the kind of a file that does not keep values; empty for others
};

/// Runs `read`, whose failure is the label's and not the image's.
template <class Read>
[[nodiscard]] auto as_label(const std::string& path, const Read& read) {
  try {
    return read();
  } catch (const LabelError&) {
    throw;
  } catch (const ImageError& error) {
    throw LabelError(path, error.problem());
  }
}

[[noreturn]] inline void throw_floats(const std::string& path) {
  throw LabelError(path, "is a mask of floats; expected 8 or 16 bits");
}

[[nodiscard]] inline DecodedMask decode_mask(const std::string& path, const ReadOptions& options) {
  ImageInput input(path);
  ReadOptions whole = options;
  whole.channels = 0;
  whole.keep_alpha = true;
  whole.white = 0;
  DecodedMask out;
#ifdef DSSL_WITH_TIFF
  if (input.is_tiff()) {
    TiffReader reader = std::move(input).tiff(whole);
    out.indices = reader.has_palette();
    if (!out.indices && reader.bits() < 8) out.white = reader.largest();
    if (reader.is_jpeg()) out.lossy = "JPEG in a TIFF";
    out.image = tiff_image(reader, path, whole, true);
    if (std::holds_alternative<Image<float>>(out.image)) throw_floats(path);
    return out;
  }
#endif
  const std::vector<std::byte> bytes = input.all(whole);
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) {
    PngReader reader(bytes, path);
    reader.read_header();
    if (reader.holds_indices()) {
      out.indices = reader.colour_type() == PNG_COLOR_TYPE_PALETTE;
      if (!out.indices) out.white = (1U << static_cast<unsigned>(reader.depth())) - 1;
      out.image = decode_png_indices(bytes, path, whole);
      return out;
    }
  }
  if (is_bmp(bytes)) {
    const BmpHeader header(bytes, path, whole);
    if (!header.palette.empty()) {
      out.indices = !is_grey_row(header);
      if (!out.indices) out.white = (1U << header.bits) - 1;
      if (header.palette.size() == 2) {
        const auto& [first, second] = std::array{header.palette[0], header.palette[1]};
        const auto is_grey = [](const auto& c) { return c[0] == c[1] && c[1] == c[2]; };
        if (is_grey(first) && is_grey(second) && (first[0] == 0) != (second[0] == 0)) out.greys = {first[0], second[0]};
      }
      out.image = within_memory(path, [&]() -> AnyImage { return bmp_indices(header, path); });
      return out;
    }
  }
#ifdef DSSL_WITH_WEBP
  if (is_webp(bytes) && !is_lossless(webp_features(bytes, path))) out.lossy = "lossy WebP";
#endif
  if (starts_with(bytes, "\xff\xd8\xff")) out.lossy = "JPEG";
  // Ids are not spread over 0..255, whatever the file calls its largest value.
  out.image = is_netpbm(bytes) ? netpbm_image(bytes, path, whole, false) : decode_image(bytes, path, whole);
  if (std::holds_alternative<Image<float>>(out.image)) throw_floats(path);
  return out;
}

/// 16-bit values as 8-bit ones where they stand for such: all at most 255, or all multiples of 257.
[[nodiscard]] inline Image<std::uint8_t> narrowed(const AnyImage& image, const std::string& path) {
  if (const auto* const bytes = std::get_if<Image<std::uint8_t>>(&image)) return *bytes;
  const auto& deep = std::get<Image<std::uint16_t>>(image);
  const auto pixels = deep.pixels();
  const std::uint16_t largest = *std::max_element(pixels.begin(), pixels.end());
  const bool spread = std::all_of(pixels.begin(), pixels.end(), [](std::uint16_t v) { return v % 257 == 0; });
  if (largest > 255 && !spread) {
    throw LabelError(path, join("is a mask of 16 bits with values up to ", largest,
                                "; expected ids of 0 to 255, or these times 257"));
  }
  Image<std::uint8_t> out(deep.height(), deep.width(), deep.channels());
  std::transform(pixels.begin(), pixels.end(), out.pixels().begin(), [&](std::uint16_t v) {
    return static_cast<std::uint8_t>(largest > 255 ? v / 257 : v);
  });
  return out;
}

/// Without its last channel where that says nothing of its own: the same everywhere, or 0 only where all else is 0.
template <PixelType T>
[[nodiscard]] Image<T> without_alpha(const Image<T>& image, const std::string& path) {
  const Index each = image.channels();
  if (each != 2 && each != 4) return image;
  const auto alpha = [&](std::size_t p) { return image.pixels()[(p + 1) * static_cast<std::size_t>(each) - 1]; };
  Image<T> out(image.height(), image.width(), each - 1);
  const std::size_t count = image.pixels().size() / static_cast<std::size_t>(each);
  bool constant = true;
  bool hides = false;
  for (std::size_t p = 0; p < count; ++p) {
    constant = constant && alpha(p) == alpha(0);
    for (std::size_t c = 0; c + 1 < static_cast<std::size_t>(each); ++c) {
      const T value = image.pixels()[p * static_cast<std::size_t>(each) + c];
      out.pixels()[p * static_cast<std::size_t>(each - 1) + c] = value;
      hides = hides || (alpha(p) == 0 && value != 0);
    }
  }
  if (!constant && hides) {
    throw LabelError(path, "is a mask whose transparency hides other values than 0; expected one without transparency");
  }
  return out;
}

/// Ids of colours (H,W,3): greys alike in all channels, or those that VOC gives to ids.
[[nodiscard]] inline Image<std::uint8_t> ids_of_colours(const Image<std::uint8_t>& colours, const std::string& path) {
  Image<std::uint8_t> out(colours.height(), colours.width(), 1);
  const auto colour = [&](std::size_t p) {
    const auto at = colours.pixels().subspan(3 * p, 3);
    return std::array<std::uint8_t, 3>{at[0], at[1], at[2]};
  };
  const Palette voc = voc_palette();
  bool grey = true;
  bool of_voc = true;
  bool marked = false;
  std::array<std::uint8_t, 3> odd{};
  for (std::size_t p = 0; p < out.pixels().size(); ++p) {
    const auto c = colour(p);
    const bool is_grey = c[0] == c[1] && c[1] == c[2];
    const bool is_voc = std::find(voc.begin(), voc.end(), c) != voc.end();
    if (!is_grey && !is_voc) odd = c;
    grey = grey && is_grey;
    of_voc = of_voc && is_voc;
    marked = marked || c[0] != 0;
  }
  if (!grey && !of_voc) {
    throw LabelError(path, join("is a mask of colours, such as (", +odd[0], ", ", +odd[1], ", ", +odd[2],
                                "); expected ids: a palette or grey PNG, or the colours that VOC gives to ids"));
  }
  if (grey && of_voc && marked) {
    throw LabelError(path, "is an RGB mask whose greys are colours of VOC too, so that its ids cannot be told; "
                           "expected a palette or grey PNG");
  }
  for (std::size_t p = 0; p < out.pixels().size(); ++p) {
    const auto c = colour(p);
    out.pixels()[p] = grey ? c[0] : static_cast<std::uint8_t>(std::find(voc.begin(), voc.end(), c) - voc.begin());
  }
  return out;
}

/// More values than this, 0 aside, are no kinds of defects but greys between two values.
inline constexpr Index most_kinds = 8;

}  // namespace detail

/// Reads a mask of class ids, one a pixel, (H,W,1).
///
/// Ids are the indices of a palette PNG or BMP, whatever its colours, greys too, or the values of a grey PNG of at most
/// 8 bits or of a PGM. (A grey BMP has the palette of all greys in their order: of 8 bits, index and value are the same; of
/// 1 and 4 bits the index is taken, as of a grey PNG the value before it is spread over 0..255.)
/// Understood as well, where nothing else can be meant: 16 bits with ids up to 255 or these times 257; three like
/// channels; the colours that VOC gives to ids; transparency that is the same everywhere or covers zeros alone. Throws
/// `LabelError` for everything else and for files that cannot be read.
[[nodiscard]] inline Image<std::uint8_t> read_mask(const std::string& path, const ReadOptions& options = {}) {
  return detail::as_label(path, [&] {
    const detail::DecodedMask decoded = detail::decode_mask(path, options);
    if (!decoded.lossy.empty()) {
      throw LabelError(path, join("is a ", decoded.lossy, ", which does not keep ids; expected a palette or grey PNG"));
    }
    const AnyImage opaque =
        std::visit([&](const auto& whole) -> AnyImage { return detail::without_alpha(whole, path); }, decoded.image);
    const Image<std::uint8_t> image = detail::narrowed(opaque, path);
    return image.channels() == 1 ? image : detail::ids_of_colours(image, path);
  });
}

/// Reads a mask of what is marked: any number of channels, 8 or 16 bits, any kind that `decode_image` knows.
///
/// A pixel's value is the largest of its channels, colours aside from transparency (see `read_mask`); of a palette
/// its index, but of a BMP's palette of black and another grey that grey, whichever is first. With `threshold`, on the
/// scale 0..255 (16 bits: a 257th; greys of 1, 2 or 4 bits: from black to white), a pixel is marked where its value is above
/// it. Without, where it is not 0; but where a mask is a JPEG, or has more than 8 values beside 0 and is no
/// palette (but the one of a grey BMP), where it is above half of the mask's largest (of a JPEG's: above 127), as values
/// between come from compression and resizing. Throws `LabelError`.
[[nodiscard]] inline MarkedMask read_marked_mask(const std::string& path, const ReadOptions& options = {},
                                                 std::optional<int> threshold = std::nullopt) {
  return detail::as_label(path, [&] {
    const detail::DecodedMask decoded = detail::decode_mask(path, options);
    return std::visit(
        [&]<class T>(const Image<T>& whole) -> MarkedMask {
          const Image<T> image = detail::without_alpha(whole, path);
          const auto each = static_cast<std::size_t>(image.channels());
          MarkedMask out{.mask = Image<std::uint8_t>(image.height(), image.width(), 1)};
          std::vector<std::uint32_t> values(out.mask.pixels().size());
          std::bitset<65536> met;
          std::uint32_t largest = 0;
          for (std::size_t p = 0; p < values.size(); ++p) {
            const auto at = image.pixels().subspan(p * each, each);
            values[p] = static_cast<std::uint32_t>(*std::max_element(at.begin(), at.end()));
            if (decoded.greys) values[p] = decoded.greys->at(values[p]);
            met.set(values[p]);
            largest = std::max(largest, values[p]);
          }
          out.values = static_cast<Index>(met.count());
          const Index marked = out.values - (met.test(0) ? 1 : 0);
          out.between = !decoded.indices && marked > (!decoded.lossy.empty() ? 1 : detail::most_kinds);
          std::uint32_t above = 0;
          if (threshold) {
            // Ids of 16 bits that fit into 8 keep their scale.
            above = static_cast<std::uint32_t>(*threshold) * (largest > 255 ? 257U : 1U);
            if (!decoded.greys) above = above * decoded.white / 255;  // rounded down, as values are whole
          } else if (!decoded.lossy.empty()) {
            above = 127;
          } else if (out.between) {
            above = largest / 2;
          }
          std::transform(values.begin(), values.end(), out.mask.pixels().begin(),
                         [&](std::uint32_t v) { return static_cast<std::uint8_t>(v > above ? 1 : 0); });
          return out;
        },
        decoded.image);
  });
}

}  // namespace dssl
