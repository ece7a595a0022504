// Tiles of large images as images of their own, at the images' own scale.
// Tests: tests/data/image_tiles.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/even_windows.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/fingerprint.hpp>
#include <dssl/data/source.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// How images are cut.
struct ImageTilesOptions {
  ImageExtent tile{};  ///< in pixels
  Index overlap = 0;   ///< pixels that neighbours have in common, at least

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (tile.height < 1 || tile.width < 1) throw OptionError("tile", join(tile.height, " x ", tile.width), "1 pixel a side or more");
    const Index shorter = std::min(tile.height, tile.width);
    if (overlap < 0 || overlap >= shorter) throw OptionError("overlap", overlap, join("0 to ", shorter - 1, ", less than a tile"));
  }
};

/// The tiles of a source's images, each a sample: an image's own one after the other, row by row, then the next image's.
///
/// Tiles have one size and no pixel is resized; they cover their image whole, evenly spread down and across with the least
/// overlap (`EvenWindows`). Along a side that is no longer than a tile there is one, of that side's length; an image that is
/// one tile alone keeps its name and bytes, so that a set without larger images is the same set (`fingerprint_of`). A tile is named
/// "plate.png, tile 3 of 12 (row 0, column 448)", by its upper left pixel.
///
/// What sides images have is asked when this is made (`MeasuredSamples`): of files their headers are read, an image of a source that
/// has no say is loaded once. An image whose sides cannot be told is one sample, and unreadable if it is larger than a tile; one
/// that turns out to have other sides than its header says is unreadable (`ImageError`). For a tile of an unreadable image one of
/// the next image stands in (`image_of`): that of the same number, modulo how many that one has.
///
/// Cost: every tile loads its whole image, and keeps nothing of it: an epoch over images of n tiles decodes each n times. Images in
/// memory (`MemoryImages`) are not copied but for the tile. Held: 24 bytes an image.
class ImageTiles {
 public:
  /// Throws `OptionError`, and what the source throws other than `ImageError`.
  ImageTiles(SourceView source, const ImageTilesOptions& options) : x_source(std::move(source)), x_options(options) {
    x_options.validate();
    x_extents.reserve(static_cast<std::size_t>(x_source.size()));
    x_first.reserve(static_cast<std::size_t>(x_source.size()) + 1);
    x_first.push_back(0);
    for (Index i = 0; i < x_source.size(); ++i) {
      x_extents.push_back(x_measured(i));
      const auto [down, across] = x_windows(x_extents.back());
      x_first.push_back(x_first.back() + down.count * across.count);
    }
  }

  [[nodiscard]] Index size() const { return x_first.back(); }
  [[nodiscard]] std::string name(Index i) const {
    const x_Tile tile = x_tile(i);
    const std::string image = x_source.name(tile.image);
    if (tile.count == 1) return image;
    return join(image, ", tile ", tile.number + 1, " of ", tile.count, " (row ", tile.top, ", column ", tile.left, ")");
  }
  /// Its image's; where a tile lies, and so how images are cut, its name says.
  [[nodiscard]] Index bytes(Index i) const {
    const Index image = x_tile(i).image;
    return detail::bytes_of_image(x_source, image, x_source.name(image));
  }
  [[nodiscard]] ImageExtent extent(Index i) const { return x_tile(i).size; }
  [[nodiscard]] ImageOfSample image_of(Index i) const {
    const x_Tile tile = x_tile(i);
    const auto next = static_cast<std::size_t>((tile.image + 1) % x_source.size());
    return {.name = x_source.name(tile.image),
            .image = tile.image,
            .images = x_source.size(),
            .samples = tile.count,
            .number = tile.number,
            .next = x_first[next],
            .next_samples = x_first[next + 1] - x_first[next]};
  }
  [[nodiscard]] AnyImage load(Index i) const {
    const x_Tile tile = x_tile(i);
    HeldImage whole = x_source.hold(tile.image);
    x_require_measured(extent_of(whole.view()), tile.image);
    if (tile.count == 1) return whole.take();
    return std::visit(
        [&]<class T>(const ImageView<T>& image) -> AnyImage {
          const T* const corner = image.row(tile.top) + tile.left * image.channels();
          return Image<T>(ImageView<T>(corner, tile.size.height, tile.size.width, image.channels(), image.stride()));
        },
        whole.view());
  }

  /// The images, whole.
  [[nodiscard]] const SourceView& source() const { return x_source; }

 private:
  struct x_Tile {
    Index image, number, count;
    Index top, left;
    ImageExtent size;
  };

  /// Nothing where it cannot be told.
  [[nodiscard]] ImageExtent x_measured(Index image) const {
    try {
      return x_source.extent(image);
    } catch (const ImageError&) {  // whoever loads it says why
      return {};
    }
  }

  [[nodiscard]] std::pair<EvenWindows, EvenWindows> x_windows(const ImageExtent& image) const {
    const auto along = [&](Index side, Index tile) { return EvenWindows(std::max<Index>(side, 1), tile, x_options.overlap); };
    return {along(image.height, x_options.tile.height), along(image.width, x_options.tile.width)};
  }

  [[nodiscard]] x_Tile x_tile(Index i) const {
    const auto after = std::upper_bound(x_first.begin(), x_first.end(), i);
    const Index image = after - x_first.begin() - 1;
    const ImageExtent& whole = x_extents[static_cast<std::size_t>(image)];
    const auto [down, across] = x_windows(whole);
    const Index number = i - *(after - 1);
    return {.image = image,
            .number = number,
            .count = down.count * across.count,
            .top = down.begin(number / across.count),
            .left = across.begin(number % across.count),
            .size = {std::min(whole.height, x_options.tile.height), std::min(whole.width, x_options.tile.width)}};
  }

  /// Throws `ImageError` for an image that is not as it was measured.
  void x_require_measured(const ImageExtent& is, Index image) const {
    const ImageExtent& said = x_extents[static_cast<std::size_t>(image)];
    const auto fail = [&](const auto&... words) { throw ImageError(x_source.name(image), join("has ", is.height, " x ", is.width, " pixels; ", words...)); };
    if (said == ImageExtent{}) {
      if (is.height <= x_options.tile.height && is.width <= x_options.tile.width) return;
      fail("expected at most a tile's ", x_options.tile.height, " x ", x_options.tile.width,
           ", as what its header says could not be read when its tiles were counted");
    }
    if (is != said) fail("expected ", said.height, " x ", said.width, ", as its header said when its tiles were counted");
  }

  SourceView x_source;
  ImageTilesOptions x_options;
  std::vector<ImageExtent> x_extents;  // of each image; 0 x 0: not known
  std::vector<Index> x_first;          // number of its first tile; behind the last, of all
};

static_assert(ImageSource<ImageTiles>);

}  // namespace dssl
