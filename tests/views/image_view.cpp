// Images made of pixels that are there already: adopted, copied from pointer and stride, or read where they lie.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/views/image.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/planar_image.hpp>
#include <dssl/views/resample.hpp>
#include <dssl/views/view_pack.hpp>
#include "catch.hpp"
#include "thrown.hpp"
#include "views/pictures.hpp"

using namespace dssl;
using test::contains;
using test::thrown_by;

namespace {

/// The pixels of an image in rows that are 7 values further apart than they need be; the gaps hold a value of their own.
template <PixelType T>
struct Apart {
  explicit Apart(const Image<T>& image)
      : stride(image.width() * image.channels() + 7), values(static_cast<std::size_t>(image.height() * stride), T{77}) {
    for (Index y = 0; y < image.height(); ++y) {
      std::copy_n(image.row(y), image.width() * image.channels(), values.begin() + y * stride);
    }
    view = ImageView<T>(values.data(), image.height(), image.width(), image.channels(), stride);
  }

  Index stride;
  std::vector<T> values;
  ImageView<T> view;
};

}  // namespace

TEST_CASE("An image takes a vector over without copying it", "[image]") {
  std::vector<float> pixels(2 * 3 * 4, 0.5F);
  const float* const place = pixels.data();
  const Image<float> image(2, 3, 4, std::move(pixels));
  CHECK(image.pixels().data() == place);
  CHECK(image(1, 2, 3) == 0.5F);
  CHECK(contains(thrown_by<ShapeError>([] { Image<float>(2, 3, 4, std::vector<float>(23)); }),
                 "image of 2 x 3 pixels and 4 channels from 23 values"));
  CHECK_THROWS_AS(Image<float>(0, 3, 4, std::vector<float>()), ShapeError);
}

TEST_CASE("A view reads pixels by pointer and stride, and an image copies what it shows", "[image]") {
  const Image<std::uint16_t> image = test::drawn_picture<std::uint16_t>(5, 6, 3);
  const Apart<std::uint16_t> apart(image);
  CHECK(apart.view(4, 5, 2) == image(4, 5, 2));
  CHECK(apart.view.row(1) == apart.values.data() + apart.stride);
  CHECK(Image<std::uint16_t>(apart.view) == image);
  const ImageView<std::uint16_t> whole = image;  // of an image, without a copy
  CHECK(whole.row(0) == image.pixels().data());
  CHECK(whole.stride() == 18);
  CHECK(ImageView<float>(Image<float>()).empty());

  const std::uint16_t value = 1;
  const auto view = [&value](const std::uint16_t* at, Index height, Index stride) {
    return thrown_by<ShapeError>([&] { static_cast<void>(ImageView<std::uint16_t>(at, height, 1, 1, stride)); });
  };
  CHECK(contains(view(&value, 0, 0), "view of an image of 0 x 1 pixels and 1 channels"));
  CHECK(contains(view(nullptr, 1, 0), "at a null pointer"));
  CHECK(contains(view(&value, 1, -1), "rows are -1 values apart; a row has 1"));
}

TEMPLATE_TEST_CASE("What is made of a view with gaps is what is made of the image, to the bit", "[image]", std::uint8_t,
                   std::uint16_t, float) {
  using T = TestType;
  const Image<T> image = test::drawn_picture<T>(50, 61, 3);
  const Apart<T> apart(image);

  CHECK(resize(apart.view, 20, 24) == resize(image, 20, 24));
  CHECK(resize(apart.view, Box{3, 4, 30, 31}, 16, 16, Interpolation::nearest, true) ==
        resize(image, Box{3, 4, 30, 31}, 16, 16, Interpolation::nearest, true));
  PlanarImage<work_type<T>> planes;
  to_planes(planes, apart.view);
  CHECK(to_image<T>(planes) == image);

  MultiCropOptions options;
  options.global_size = options.local_size = {16, 16};
  const MultiCrop<> views(options);
  const auto plans = views.plan(50, 61, {.seed = 5});
  ViewWorkspace workspace;
  for (const ViewPlan& plan : plans) {
    std::vector<float> one(3 * 16 * 16);
    std::vector<float> other(one.size());
    views.render(AnyImage(image), plan, one, workspace);
    views.render(apart.view, plan, other, workspace);
    CHECK(one == other);
  }
  const std::vector<float> terms(3, 0.5F);
  ViewPack one;
  ViewPack other;
  pack_views(one, image, plans, Interpolation::bicubic, terms, terms);
  pack_views(other, apart.view, plans, Interpolation::bicubic, terms, terms);
  CHECK(one.bytes == other.bytes);
}

TEST_CASE("A view of any type shows the pixels that it was made of, and copies them when asked", "[image]") {
  const AnyImage image = test::drawn_picture<float>(4, 5, 2);
  const AnyImageView view = image;
  CHECK(height(view) == 4);
  CHECK(width(view) == 5);
  CHECK(channels(view) == 2);
  CHECK(std::get<ImageView<float>>(view).row(0) == std::get<Image<float>>(image).row(0));
  CHECK(view.copy() == image);
}

TEST_CASE("A held image is its own or somebody else's", "[image]") {
  AnyImage image = test::drawn_picture<std::uint8_t>(4, 5, 1);
  const std::uint8_t* const place = std::get<Image<std::uint8_t>>(image).row(0);
  const auto first_row = [](const HeldImage& held) { return std::get<ImageView<std::uint8_t>>(held.view()).row(0); };
  const HeldImage seen{AnyImageView(image)};
  CHECK(first_row(seen) == place);
  HeldImage owned(std::move(image));
  CHECK(first_row(owned) == place);
  HeldImage moved = std::move(owned);
  CHECK(first_row(moved) == place);
  const AnyImage taken = moved.take();
  CHECK(std::get<Image<std::uint8_t>>(taken).row(0) == place);
}
