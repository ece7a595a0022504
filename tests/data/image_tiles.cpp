// Tiles of large images as samples: what they cover, what they are called, what is asked of headers alone.
#include "catch.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/data/fingerprint.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/image_tiles.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/synthetic.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

namespace {

using namespace dssl;
using test::contains;
using test::TemporaryFolder;
using test::thrown_by;

/// Every pixel says where it lies.
Image<std::uint16_t> placed(Index height, Index width, Index channels = 2) {
  Image<std::uint16_t> out(height, width, channels);
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      out(y, x, 0) = static_cast<std::uint16_t>(y);
      out(y, x, channels - 1) = static_cast<std::uint16_t>(x);
    }
  }
  return out;
}

MemoryImages in_memory(const std::vector<ImageExtent>& extents) {
  std::vector<AnyImage> images;
  for (const auto& [height, width] : extents) images.emplace_back(placed(height, width));
  return MemoryImages(std::move(images));
}

template <class Source>
std::string print_of(const Source& source) {
  return fingerprint_of(SourceView(source)).text();
}

/// Two images, the first of which says other sides than it has, or none.
struct Doubtful {
  ImageExtent said;  ///< 0 x 0: none
  bool readable = true;
  std::shared_ptr<std::atomic<int>> loads = std::make_shared<std::atomic<int>>(0);

  [[nodiscard]] Index size() const { return 2; }
  [[nodiscard]] std::string name(Index i) const { return i == 0 ? "odd.png" : "even.png"; }
  [[nodiscard]] ImageExtent extent(Index i) const {
    if (i == 1) return {8, 16};
    if (said == ImageExtent{}) throw ImageError("odd.png", "has no header");
    return said;
  }
  [[nodiscard]] AnyImage load(Index i) const {
    ++*loads;
    if (i == 0 && !readable) throw ImageError("odd.png", "is damaged");
    return placed(8, i == 0 ? 12 : 16);
  }
};
static_assert(MeasuredSamples<Doubtful> && MeasuredSamples<ImageTiles> && SamplesOfImages<ImageTiles>);

}  // namespace

TEST_CASE("tiles cover their image whole, have one size, overlap by the least overlap or more, and are its pixels") {
  for (const auto& [extent, options, down, across] :
       std::vector<std::tuple<ImageExtent, ImageTilesOptions, Index, Index>>{{{40, 33}, {.tile = {16, 16}, .overlap = 0}, 3, 3},
                                                                             {{40, 32}, {.tile = {16, 16}, .overlap = 4}, 3, 3},
                                                                             {{40, 33}, {.tile = {16, 8}, .overlap = 7}, 4, 26},
                                                                             {{16, 16}, {.tile = {16, 16}, .overlap = 15}, 1, 1},
                                                                             {{5, 100}, {.tile = {16, 30}, .overlap = 3}, 1, 4},
                                                                             {{3, 2}, {.tile = {1, 1}}, 3, 2}}) {
    const MemoryImages images = in_memory({extent});
    const ImageTiles tiles(SourceView(images), options);
    REQUIRE(tiles.size() == down * across);
    const ImageExtent size{std::min(extent.height, options.tile.height), std::min(extent.width, options.tile.width)};
    std::vector<int> covered(static_cast<std::size_t>(extent.height * extent.width));
    std::vector<Index> tops, lefts;
    for (Index i = 0; i < tiles.size(); ++i) {
      REQUIRE(tiles.extent(i) == size);
      const auto tile = std::get<Image<std::uint16_t>>(tiles.load(i));
      REQUIRE(extent_of(tile) == size);
      const Index top = tile(0, 0, 0), left = tile(0, 0, 1);
      if (left == 0) tops.push_back(top);
      if (top == 0) lefts.push_back(left);
      for (Index y = 0; y < size.height; ++y) {
        for (Index x = 0; x < size.width; ++x) {
          REQUIRE(tile(y, x, 0) == top + y);
          REQUIRE(tile(y, x, 1) == left + x);
          ++covered[static_cast<std::size_t>((top + y) * extent.width + left + x)];
        }
      }
    }
    CHECK(std::find(covered.begin(), covered.end(), 0) == covered.end());
    for (const auto& [begins, side, count] : {std::tuple{tops, size.height, down}, {lefts, size.width, across}}) {
      REQUIRE(static_cast<Index>(begins.size()) == count);
      Index least = side, most = 0;
      for (std::size_t i = 1; i < begins.size(); ++i) {
        const Index step = begins[i] - begins[i - 1];
        CHECK(side - step >= options.overlap);
        least = std::min(least, step);
        most = std::max(most, step);
      }
      CHECK((begins.size() < 2 || most - least <= 1));  // evenly spread
    }
  }
}

TEST_CASE("tiles are called by their image, their number and their place; an image that is one tile is itself") {
  const MemoryImages images = in_memory({{8, 8}, {20, 12}, {3, 5}});
  const ImageTiles tiles(SourceView(images), {.tile = {8, 8}, .overlap = 2});
  REQUIRE(tiles.size() == 1 + 3 * 2 + 1);
  CHECK(tiles.name(0) == "image 0");
  CHECK(tiles.name(1) == "image 1, tile 1 of 6 (row 0, column 0)");
  CHECK(tiles.name(2) == "image 1, tile 2 of 6 (row 0, column 4)");
  CHECK(tiles.name(5) == "image 1, tile 5 of 6 (row 12, column 0)");
  CHECK(tiles.name(7) == "image 2");
  CHECK(extent_of(tiles.load(7)) == ImageExtent{3, 5});
  CHECK(tiles.bytes(0) == images.bytes(0));
  CHECK(tiles.bytes(6) == images.bytes(1));
}

TEST_CASE("sets of tiles are told apart by how they are cut, and images no larger than a tile are the same set") {
  const MemoryImages images = in_memory({{8, 8}, {20, 12}});
  const auto cut = [&](const ImageTilesOptions& options) { return print_of(ImageTiles(SourceView(images), options)); };
  CHECK(cut({.tile = {8, 8}, .overlap = 2}) == cut({.tile = {8, 8}, .overlap = 2}));
  CHECK(cut({.tile = {8, 8}, .overlap = 2}) != cut({.tile = {8, 9}, .overlap = 2}));
  CHECK(cut({.tile = {8, 8}, .overlap = 2}) != cut({.tile = {8, 8}, .overlap = 4}));
  CHECK(cut({.tile = {8, 8}}) != print_of(images));
  CHECK(cut({.tile = {20, 12}, .overlap = 3}) == print_of(images));
}

TEST_CASE("of files the headers are read, of a source without a say each image once, of generated scenes nothing") {
  const TemporaryFolder folder;
  write_png(folder / "a.png", placed(20, 12, 3));
  std::filesystem::copy_file(folder / "a.png", folder / "b.png");
  std::filesystem::resize_file(folder / "b.png", std::filesystem::file_size(folder / "b.png") - 20);  // the end of its pixels is gone
  const ImageFolder files(folder.path());
  const ImageTiles tiles(SourceView(files), {.tile = {10, 12}});
  REQUIRE(tiles.size() == 4);
  CHECK(tiles.name(2) == folder / "b.png, tile 1 of 2 (row 0, column 0)");
  CHECK(std::get<Image<std::uint16_t>>(tiles.load(1))(0, 11, 2) == 11);
  CHECK(contains(thrown_by<ImageError>([&] { static_cast<void>(tiles.load(2)); }), "b.png: "));

  const Doubtful source{.said = {8, 12}};
  CHECK(ImageTiles(SourceView(source), {.tile = {8, 8}}).size() == 4);
  CHECK(*source.loads == 0);
  struct Silent {
    const Doubtful& of;
    [[nodiscard]] Index size() const { return of.size(); }
    [[nodiscard]] std::string name(Index i) const { return of.name(i); }
    [[nodiscard]] AnyImage load(Index i) const { return of.load(i); }
  };
  const Silent silent{source};
  CHECK(ImageTiles(SourceView(silent), {.tile = {8, 8}}).size() == 4);
  CHECK(*source.loads == 2);
  const ImagesOf scenes(SyntheticScenes({.count = 3, .height = 32, .width = 48}));
  CHECK(ImageTiles(SourceView(scenes), {.tile = {32, 32}}).size() == 6);
}

TEST_CASE("an image of other sides than its header says is an error of that image, and so is a large one without a header") {
  const auto said = [](const Doubtful& source, Index i) {
    const ImageTiles tiles(SourceView(source), {.tile = {8, 8}});
    return thrown_by<ImageError>([&] { static_cast<void>(tiles.load(i)); });
  };
  CHECK(said({.said = {8, 16}}, 1) == "odd.png: has 8 x 12 pixels; expected 8 x 16, as its header said when its tiles were counted");
  CHECK(said({.said = {8, 8}}, 0) == "odd.png: has 8 x 12 pixels; expected 8 x 8, as its header said when its tiles were counted");
  CHECK(contains(said({.said = {}}, 0), "odd.png: has 8 x 12 pixels; expected at most a tile's 8 x 8, as what its header says could not be read"));
  CHECK(said({.said = {}, .readable = false}, 0) == "odd.png: is damaged");
  const Doubtful small{.said = {}};
  const ImageTiles whole(SourceView(small), {.tile = {8, 12}});
  CHECK(whole.size() == 3);
  CHECK(extent_of(whole.load(0)) == ImageExtent{8, 12});
}

TEST_CASE("a tile of the next image stands in for one that cannot be read: of the same number, modulo how many that has") {
  const Doubtful source{.said = {800, 1200}, .readable = false};
  const ImageTiles tiles(SourceView(source), {.tile = {8, 8}});
  REQUIRE(tiles.size() == 15002);
  for (const auto& [asked, stand_in] : {std::pair<Index, Index>{7, 15001}, {8, 15000}}) {
    for (const bool viewed : {false, true}) {
      std::vector<SkippedImage> skipped;
      Index used = -1;
      if (viewed) {
        const SourceView view(tiles);
        static_cast<void>(load_readable(skipped, used, view, asked));
      } else {
        static_cast<void>(load_readable(skipped, used, tiles, asked));
      }
      CHECK(used == stand_in);
      REQUIRE(skipped.size() == 1);
      CHECK(skipped.front().index == 0);  // the image's
      CHECK(skipped.front().name == "odd.png");
      CHECK(skipped.front().message == "odd.png: is damaged; its 15000 samples are passed over");
    }
  }
  CHECK(tiles.image_of(15001).next == 0);
}

TEST_CASE("a tile's number goes on over an image of fewer tiles that cannot be read either") {
  struct Plates {
    [[nodiscard]] Index size() const { return 3; }
    [[nodiscard]] std::string name(Index i) const { return join("plate ", i); }
    [[nodiscard]] ImageExtent extent(Index i) const { return i == 1 ? ImageExtent{8, 8} : ImageExtent{8, 96}; }
    [[nodiscard]] AnyImage load(Index i) const {
      if (i < 2) throw ImageError(name(i), "is damaged");
      return Image<std::uint8_t>(8, 96, 1);
    }
  };
  const Plates source{};
  const ImageTiles tiles(SourceView(source), {.tile = {8, 8}});
  REQUIRE(tiles.size() == 25);
  for (const Index asked : {Index{0}, Index{5}, Index{11}}) {
    std::vector<SkippedImage> skipped;
    Index used = -1;
    static_cast<void>(load_readable(skipped, used, tiles, asked));
    CHECK(used == 13 + asked);
    CHECK(skipped.size() == 2);
  }
}

TEST_CASE("each image is tried once in place of a tile that cannot be read, not its other tiles") {
  struct Unreadable : Doubtful {
    [[nodiscard]] ImageExtent extent(Index) const { return {8, 80}; }
    [[nodiscard]] AnyImage load(Index i) const { throw ImageError(name(i), "is damaged"); }
  };
  const Unreadable source{};
  const ImageTiles tiles(SourceView(source), {.tile = {8, 8}});
  REQUIRE(tiles.size() == 20);
  std::vector<SkippedImage> skipped;
  Index used = -1;
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(load_readable(skipped, used, tiles, 3)); }), "2 images in a row cannot be read, out of 2; the last: even.png: "));
  CHECK(skipped.size() == 2);
}

TEST_CASE("an unreadable image of many tiles is said once, and is one unreadable image") {
  const Doubtful source{.said = {8, 96}, .readable = false};
  const ImageTiles tiles(SourceView(source), {.tile = {8, 8}});
  REQUIRE(tiles.size() == 14);
  const SkipPolicy policy = SkipPolicy{.min_bad = 1}.of_samples(tiles.size(), 2);
  CHECK(policy.min_bad == 7);
  CHECK(SkipPolicy{}.of_samples(21, 2).min_bad == 105);
  CHECK(SkipPolicy{}.of_samples(15, 7).min_bad == 22);
  CHECK(SkipPolicy{}.of_samples(7, 7).counted == "images");
  std::vector<std::string> said;
  const auto warn = [&](std::string_view name, std::string_view message) { said.push_back(join(name, " | ", message)); };
  SampleLoader<ImageTiles> loader(tiles, 14, {}, {.max_bad_share = 1}, warn);
  while (loader.next()) {
  }
  CHECK(said == std::vector<std::string>{"odd.png | odd.png: is damaged; its 12 samples are passed over"});
  CHECK(loader.skips().unreadable() == 1);
  CHECK(loader.skips().skipped() == 12);
  CHECK(loader.skips().asked() == 26);
  SampleLoader<ImageTiles> strict(tiles, 14, {}, policy);
  CHECK(contains(thrown_by<DataError>([&] {
                   while (strict.next()) {
                   }
                 }),
                 "8 of 16 samples cannot be read; expected at most 10 %; the last: odd.png: is damaged; its 12 samples are passed over"));
}

TEST_CASE("impossible tiles are named") {
  const MemoryImages images = in_memory({{8, 8}});
  const auto said = [&](const ImageTilesOptions& options) {
    return thrown_by<OptionError>([&] { static_cast<void>(ImageTiles(SourceView(images), options)); });
  };
  CHECK(contains(said({}), "'tile' is 0 x 0; expected 1 pixel a side or more"));
  CHECK(contains(said({.tile = {8, 4}, .overlap = 4}), "'overlap' is 4; expected 0 to 3, less than a tile"));
  CHECK(contains(said({.tile = {8, 4}, .overlap = -1}), "'overlap' is -1"));
}
