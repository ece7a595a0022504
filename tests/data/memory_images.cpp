// Images in memory: what a source has there is viewed, not copied; and pairs of them.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/camera.hpp>
#include <dssl/data/camera_images.hpp>
#include <dssl/data/fingerprint.hpp>
#include <dssl/data/image_pairs.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/image_codec.hpp>
#include "catch.hpp"
#include "thrown.hpp"

using namespace dssl;
using test::contains;
using test::thrown_by;

namespace {

using Bytes = Image<std::uint8_t>;

const std::uint8_t* place_of(const AnyImageView& view) { return std::get<ImageView<std::uint8_t>>(view).row(0); }

/// Gives a reference to its image.
struct OneImage {
  AnyImage image;
  [[nodiscard]] Index size() const { return 1; }
  [[nodiscard]] std::string name(Index /*i*/) const { return "one"; }
  [[nodiscard]] const AnyImage& load(Index /*i*/) const { return image; }
};

/// Makes its image anew each time.
struct MadeImage {
  [[nodiscard]] Index size() const { return 1; }
  [[nodiscard]] std::string name(Index /*i*/) const { return "made"; }
  [[nodiscard]] Bytes load(Index /*i*/) const { return Bytes(1, 2, 1, {3, 4}); }
};

}  // namespace

TEST_CASE("Images in memory are moved in, shared by copies and loaded as views", "[source]") {
  Bytes image(2, 2, 1, {1, 2, 3, 4});
  const std::uint8_t* const place = image.row(0);
  std::vector<AnyImage> images;
  images.emplace_back(std::move(image));
  auto source = std::make_unique<MemoryImages>(std::move(images));
  const MemoryImages copy = *source;
  CHECK(place_of(source->load(0)) == place);
  source.reset();
  CHECK(place_of(copy.load(0)) == place);  // the copy keeps them
  CHECK(copy.load(0).copy() == AnyImage(Bytes(2, 2, 1, {1, 2, 3, 4})));
}

TEST_CASE("Of a camera's images those of another size are passed over as unreadable ones are", "[source]") {
  std::vector<AnyImage> images;
  images.emplace_back(Bytes(2, 3, 1));
  images.emplace_back(Bytes(3, 2, 1));
  const auto memory = std::make_shared<const MemoryImages>(std::move(images));
  const CameraImages of_camera(SourceView(memory), Camera{.height = 2, .width = 3, .fx = 1, .fy = 1});
  CHECK(of_camera.size() == 2);
  CHECK(of_camera.name(1) == memory->name(1));
  CHECK(height(of_camera.load(0)) == 2);
  CHECK(contains(thrown_by<ImageError>([&] { static_cast<void>(of_camera.load(1)); }), "has 3 x 2 pixels; expected the camera's 2 x 3"));
  std::vector<SkippedImage> skipped;
  Index used = -1;
  static_cast<void>(load_readable(skipped, used, of_camera, 1));
  CHECK(used == 0);
  CHECK(skipped.size() == 1);
}

TEST_CASE("A source of views shows pixels of somebody else", "[source]") {
  const std::vector<std::uint8_t> pixels{1, 2, 99, 3, 4, 99};
  const auto source = MemoryImages::of_views({ImageView<std::uint8_t>(pixels.data(), 2, 2, 1, 3)}, {"mine"});
  CHECK(source.size() == 1);
  CHECK(source.name(0) == "mine");
  CHECK(place_of(source.load(0)) == pixels.data());
  CHECK(source.load(0).copy() == AnyImage(Bytes(2, 2, 1, {1, 2, 3, 4})));
  CHECK(contains(thrown_by<DataError>([] { static_cast<void>(MemoryImages::of_views({})); }), "no images were given"));
}

TEST_CASE("A source without its type copies nothing that it need not", "[source]") {
  const OneImage one{Bytes(1, 2, 1, {1, 2})};
  const SourceView view(one);
  const HeldImage held = view.hold(0);
  CHECK(place_of(held.view()) == std::get<Bytes>(one.image).row(0));
  CHECK(view.load(0) == one.image);
  const MadeImage made;
  CHECK(SourceView(made).hold(0).take() == AnyImage(Bytes(1, 2, 1, {3, 4})));

  // The number of channels is changed in a copy, and only where it has to be.
  CHECK(place_of(with_channels(view.hold(0), 1, "one").view()) == std::get<Bytes>(one.image).row(0));
  CHECK(with_channels(view.hold(0), 3, "one").take() == AnyImage(Bytes(1, 2, 3, {1, 1, 1, 2, 2, 2})));
  CHECK(contains(thrown_by<ImageError>([&] { static_cast<void>(with_channels(AnyImage(Bytes(1, 1, 2)), 3, "two")); }),
                 "two: has 2 channels; expected 3"));
}

TEST_CASE("A source without its type may hold it", "[source]") {
  auto one = std::make_shared<const OneImage>(OneImage{Bytes(1, 2, 1, {1, 2})});
  const std::uint8_t* const place = std::get<Bytes>(one->image).row(0);
  auto view = std::make_unique<const SourceView>(one);
  const SourceView copy(*view);
  CHECK(place_of(copy.hold(0).view()) == place);
  const std::weak_ptr<const OneImage> watched = one;
  one.reset();
  view.reset();
  CHECK_FALSE(watched.expired());  // the copy keeps it
  CHECK(copy.size() == 1);
  CHECK(copy.load(0) == AnyImage(Bytes(1, 2, 1, {1, 2})));
}

TEST_CASE("A loader hands on views of a source in memory, and images of one that gives references", "[source]") {
  const std::vector<std::uint8_t> pixels{1, 2};
  const auto views = MemoryImages::of_views({ImageView<std::uint8_t>(pixels.data(), 1, 2, 1)});
  SampleLoader loader(views, 1, {});
  const auto loaded = loader.next();
  REQUIRE(loaded);
  CHECK(place_of(loaded->sample) == pixels.data());
  const OneImage one{Bytes(1, 2, 1, {1, 2})};
  SampleLoader copies(one, 1, {});
  CHECK(copies.next()->sample == one.image);
}

TEST_CASE("A pair is one image: the second below the first, each pixel where it was") {
  const Bytes small(1, 2, 2, {1, 2, 3, 4}), tall(2, 1, 2, {5, 6, 7, 8});
  CHECK(std::get<Bytes>(stacked(small, tall, "a")) == Bytes(3, 2, 2, {1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 0, 0}));
  CHECK(std::get<Bytes>(stacked(tall, small, "a")) == Bytes(3, 2, 2, {5, 6, 0, 0, 7, 8, 0, 0, 1, 2, 3, 4}));
  CHECK(thrown_by<ImageError>([&] { static_cast<void>(stacked(small, Bytes(1, 1, 1), "a")); }) ==
        "a: has other channels, or pixels of another type, than the other of its pair");
  CHECK_THROWS_AS(stacked(small, Image<float>(1, 2, 2), "a"), ImageError);

  const auto source = [](std::vector<AnyImage> images, std::vector<std::string> names) {
    return SourceView(std::make_shared<const MemoryImages>(std::move(images), std::move(names)));
  };
  const CameraPair extents{.first_height = 1, .first_width = 2, .second_height = 2, .second_width = 1};
  const ImagePairs pairs(source({small, small, tall}, {"s1", "s2", "t3"}), source({tall, small, tall}, {"t1", "s2b", "t3b"}), extents);
  CHECK(pairs.size() == 3);
  CHECK(pairs.name(1) == "s2");
  CHECK(std::get<Bytes>(pairs.load(0)) == std::get<Bytes>(stacked(small, tall, "a")));
  CHECK(thrown_by<ImageError>([&] { static_cast<void>(pairs.load(1)); }) == "s2b: has 1 x 2 pixels; expected its camera's 2 x 1");
  CHECK(thrown_by<ImageError>([&] { static_cast<void>(pairs.load(2)); }) == "t3: has 2 x 1 pixels; expected its camera's 1 x 2");
  CHECK_THROWS_AS(ImagePairs(source({small}, {"s"}), source({tall, tall}, {"t", "u"}), extents), DataError);

  // Of other images of the second camera, in their sizes or names, the fingerprint is another; their folder does not count.
  const auto print = [&](const AnyImage& above, const AnyImage& below, const std::string& second) {
    const auto two = std::make_shared<const ImagePairs>(source({above}, {"s"}), source({below}, {second}), extents);
    return fingerprint_of(SourceView(two)).text();
  };
  const std::string before = print(small, tall, "/a/t");
  CHECK(print(small, tall, "/b/t") == before);
  CHECK(print(small, tall, "/a/u") != before);
  CHECK(print(small, Bytes(2, 1, 1), "/a/t") != before);
  CHECK(print(Bytes(1, 2, 1), tall, "/a/t") != before);
  CHECK(same_names({"a", "b", "d"}, {"d", "c", "a"}) == std::vector<std::pair<Index, Index>>{{0, 2}, {2, 0}});
  CHECK(thrown_by<DataError>([] { static_cast<void>(same_names({"a"}, {"b"})); }) == "no image of the first camera has the name of one of the second");
  CHECK(thrown_by<DataError>([] { static_cast<void>(same_names({"a", "a"}, {"a"})); }) == "'a' is the name of two images of the first camera");
  CHECK(thrown_by<DataError>([] { static_cast<void>(same_names({"a"}, {"b", "b"})); }) == "'b' is the name of two images of the second camera");
}
