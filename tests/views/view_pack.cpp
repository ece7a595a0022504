// Packs and sheets of views: what they hold, which runs they make, what they refuse. What is rendered from
// them is tests/cuda/views.cpp's.
#include "catch.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/view_pack.hpp>
#include <dssl/views/view_sheet.hpp>

#include "views/pictures.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

static_assert(PlansViews<MultiCrop<>>);

namespace {

const std::vector<float> mean{0.5F, 0.5F, 0.5F};
const std::vector<float> deviation{0.25F, 0.25F, 0.25F};

ViewPack packed(const AnyImage& image, const std::vector<ViewPlan>& plans,
                Interpolation kind = Interpolation::nearest) {
  ViewPack pack;
  pack_views(pack, image, plans, kind, mean, deviation);
  return pack;
}

template <class V>
std::vector<V> values_at(const std::vector<std::byte>& bytes, std::int64_t offset, std::size_t count) {
  std::vector<V> out(count);
  REQUIRE(static_cast<std::size_t>(offset) + count * sizeof(V) <= bytes.size());
  std::memcpy(out.data(), bytes.data() + offset, count * sizeof(V));
  return out;
}

}  // namespace

TEST_CASE("a pack holds the rows that views show, their filters and their colours", "[views]") {
  const auto image = drawn_picture<std::uint16_t>(40, 30, 3);
  const ColourPlan colour{
      .contrast = 1.5, .saturation = 0.5, .grey = true, .blur_radius = 1.0, .solarise = true};
  const ViewPack pack =
      packed(image, {{{{20, 4, 6, 8}, true}, 3, 4, {}}, {{{12, 0, 9, 30}, false}, 9, 30, colour}});
  REQUIRE(pack.views.size() == 2);
  const ViewWork& first = pack.views[0];
  CHECK(first.depth == PixelDepth::bits16);
  CHECK(first.rows == 5);  // nearest reads rows 1, 3 and 5 of the box
  CHECK(first.step_count == 0);
  CHECK(first.blur_radius == -1);
  CHECK(values_at<std::int32_t>(pack.bytes, first.down.table, 3) == std::vector<std::int32_t>{0, 2, 4});
  CHECK(values_at<std::int32_t>(pack.bytes, first.across.table, 4) == std::vector<std::int32_t>{7, 5, 3, 1});
  CHECK(values_at<float>(pack.bytes, first.across.table + 2 * 4 * 4, 4) == std::vector<float>(4, 1.0F));
  CHECK(values_at<std::uint16_t>(pack.bytes, first.pixels, 3) ==
        std::vector<std::uint16_t>{image(21, 4, 0), image(21, 4, 1), image(21, 4, 2)});
  const ViewWork& second = pack.views[1];
  CHECK(second.contrast_at == 0);
  CHECK(second.step_count == 3);
  CHECK(second.steps[2] == ViewStep::grey);
  CHECK(second.blur_radius == 0);
  CHECK(second.solarise == 1);
  CHECK(values_at<std::uint16_t>(pack.bytes, second.pixels, 1)[0] == image(12, 0, 0));
  CHECK(values_at<float>(pack.bytes, second.normalisation, 6) == std::vector<float>{4, 4, 4, -2, -2, -2});
  // Rows 12 to 25, and no others.
  const std::size_t pixels = 14 * 30 * 3 * sizeof(std::uint16_t);
  CHECK(pack.bytes.size() > pixels);
  CHECK(pack.bytes.size() < pixels + 1024);
}

TEST_CASE("steps that do nothing to an image are left out of its pack", "[views]") {
  const ColourPlan all{.brightness = 0.9, .contrast = 0.9, .saturation = 0.9, .hue = 0.1, .grey = true};
  const auto steps = [&](Index channels) {
    ViewPack pack;
    const std::vector<float> ones(static_cast<std::size_t>(channels), 1.0F);
    const std::vector<ViewPlan> plans{{{{0, 0, 9, 9}, false}, 4, 4, all}};
    pack_views(pack, drawn_picture<float>(9, 9, channels), plans, Interpolation::bilinear, ones, ones);
    return pack.views[0].step_count;
  };
  CHECK(steps(1) == 2);
  CHECK(steps(3) == 5);
  CHECK(steps(5) == 4);
}

TEST_CASE("a sheet cuts its views into runs", "[views]") {
  const ViewPack pack = packed(drawn_picture<std::uint8_t>(20, 20, 3),
                               std::vector<ViewPlan>(5, {{{0, 0, 20, 20}, false}, 10, 10, {}}));
  const auto runs = [&](std::size_t most) {
    ViewSheet sheet(most);
    const std::vector<void*> outs(5, nullptr);
    sheet.add(pack, outs);
    sheet.add(pack, outs);
    std::vector<Index> out;
    Index first = 0;
    for (const ViewRun& run : sheet.runs()) {
      CHECK(run.first == first);
      first += run.count;
      out.push_back(run.count);
    }
    std::vector<std::byte> bytes(sheet.bytes());
    sheet.write(bytes);
    CHECK(contains(thrown_by<ShapeError>([&] { sheet.write(std::span(bytes).first(100)); }), "into 100"));
    return out;
  };
  CHECK(runs(ViewSheet::work_bytes) == std::vector<Index>{10});
  CHECK(runs(1) == std::vector<Index>(10, 1));
  // A view takes 3 planes of 10 x 10 and of 19 x 10 bytes, each a multiple of 64, and 64 of sums.
  CHECK(runs(std::size_t{3} * (320 + 576 + 64)) == std::vector<Index>{3, 3, 3, 1});
}

TEST_CASE("packs and sheets refuse what does not fit", "[views]") {
  const auto image = drawn_picture<std::uint8_t>(20, 20, 3);
  CHECK(contains(thrown_by<ShapeError>([&] {
                   packed(image, {{{{1, 0, 20, 20}, false}, 4, 4, {}}});
                 }),
                 "is not inside the image of 20 x 20"));
  CHECK(contains(thrown_by<ShapeError>([&] {
                   packed(image, {{{{0, 0, 20, 20}, false}, 0, 4, {}}});
                 }),
                 "expected at least 1 x 1"));
  CHECK(
      contains(thrown_by<ShapeError>([&] { packed(drawn_picture<float>(9, 9, 1), {}); }), "for 1 channels"));
  CHECK(contains(thrown_by<ShapeError>([&] {
                   packed(image, {{{{0, 0, 20, 20}, false}, 1 << 20, 1 << 10, {}}});
                 }),
                 "fewer than 2^30"));
  CHECK(contains(thrown_by<ShapeError>([&] {
                   ViewPack below;
                   const std::vector<ViewReading> readings{{.view = {{{0, 0, 4, 4}, false}, 4, 4, {}}, .picture = {10, 0, 15, 20}}};
                   pack_views(below, image, readings, Interpolation::nearest, mean, deviation);
                 }),
                 "picture of 15 x 20 pixels at row 10, column 0 is not inside the image of 20 x 20"));
  ViewSheet sheet;
  const ViewPack pack = packed(image, {{{{0, 0, 20, 20}, false}, 4, 4, {}}});
  CHECK(contains(thrown_by<ShapeError>([&] { sheet.add(pack, {}); }), "1 views for 0 places"));
}
