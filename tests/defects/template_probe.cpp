// Pairs of images and templates: by features and by pixels.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/defects/difference_probe.hpp>
#include <dssl/defects/filter_probe.hpp>
#include <dssl/metrics/metrics.hpp>
#include <dssl/defects/template_probe.hpp>

#include "halves.hpp"
#include "noise_images.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Random tiles, each with its own template; every second one has a spot that the template lacks.
class Tiles {
 public:
  explicit Tiles(Index count) : x_count(count) {}

  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return join("tile ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    if (i == unreadable) throw ImageError(name(i), "is broken");
    return x_make(i, i % 2 == 1);
  }
  [[nodiscard]] AnyImage load_template(Index i) const {
    if (i == without_template) throw ImageError(name(i), "has no template");
    return x_make(i, false).image;
  }

  Index unreadable = -1;
  Index without_template = -1;

 private:
  [[nodiscard]] static LabelledImage x_make(Index i, bool defect) {
    Image<std::uint8_t> image =
        test::noise_image(32, 48, 3, {.seed = 4, .sample = static_cast<std::uint64_t>(i)},
                          [](RandomStream& random) { return 60 + random.below(120); });
    LabelledImage out{.image = {}, .mask = Image<std::uint8_t>(32, 48, 1)};
    for (Index y = 8; defect && y < 16; ++y) {
      for (Index x = 24; x < 32; ++x) {
        out.mask(y, x, 0) = 9;
        for (Index c = 0; c < 3; ++c) image(y, x, c) = 250;
      }
    }
    out.image = std::move(image);
    return out;
  }

  Index x_count;
};

template <Backend B>
std::vector<double> check(const B& backend, Index batch) {
  INFO(backend.describe());
  auto features = halves_extractor(backend, batch);
  TemplateProbe<HalvesBackbone, B> probe(features, {.comparison = {.reach = 0}, .smoothing = 1});
  std::vector<double> scores;
  probe.on_score = [&](const DefectScore& s) {
    CHECK(s.index == static_cast<Index>(scores.size()));
    CHECK(s.defect == (s.index % 2 == 1));
    if (s.defect) {
      const auto most = std::max_element(s.heat_map.begin(), s.heat_map.end()) - s.heat_map.begin();
      CHECK(s.truth[static_cast<std::size_t>(most)] == 1);
    }
    scores.push_back(s.score);
  };
  const DefectResult result = probe.evaluate(Tiles(6));
  CHECK(result.tally.region_count() == 3);
  CHECK(auroc(result.tally.images()) == 1);
  CHECK(auroc(result.tally.pixels()) > 0.95);
  for (const double score : result.normal_scores) CHECK(score < 1e-6);
  for (const double score : result.defect_scores) CHECK(score > 1e-3);
  return scores;
}

}  // namespace

TEST_CASE("an image scores by its difference from its own template, in any batches") {
  const auto all = check(Reference<double>(), 4);
  CHECK(check(Reference<double>(), 1) == all);
  CHECK(check(Reference<double>(), 3) == all);
#if __has_include(<dssl/backend/cpu.hpp>)
  check(Cpu({.threads = 2}), 4);
#endif
}

TEST_CASE("pairs of which either cannot be read are left out; none at all is an error") {
  auto features = halves_extractor(Reference<double>(), 4);
  TemplateProbe<HalvesBackbone, Reference<double>> probe(features, {.skip = {.min_bad = 100}});
  DifferenceProbe difference({.input = {.height = 32, .width = 48}, .skip = {.min_bad = 100}});
  Tiles tiles(6);
  tiles.unreadable = 2;
  tiles.without_template = 3;
  std::vector<Index> seen, seen_by_pixels;
  probe.on_score = [&](const DefectScore& s) { seen.push_back(s.index); };
  difference.on_score = [&](const DefectScore& s) { seen_by_pixels.push_back(s.index); };
  CHECK(probe.score(tiles).unreadable == 2);
  CHECK(difference.score_pairs(tiles).images == 4);
  CHECK(seen == std::vector<Index>{0, 1, 4, 5});
  CHECK(seen_by_pixels == seen);
  tiles = Tiles(1);
  tiles.unreadable = 0;
  CHECK(contains(thrown_by<DataError>([&] { probe.score(tiles); }), "no image of the set"));
  CHECK(contains(thrown_by<DataError>([&] { difference.score_pairs(tiles); }), "no image of the set"));
}

TEST_CASE("plain differences are the mean over channels, to the template or to the mean normal image") {
  DifferenceProbe probe(
      {.input = {.height = 32, .width = 48, .mean = {0, 0, 0}, .deviation = {1, 1, 1}}, .smoothing = 0});
  CHECK(contains(thrown_by<DataError>([&] { probe.score(Tiles(1)); }), "nothing was learned"));
  const auto value = [](const AnyImage& image, Index y, Index x, Index c) {
    return static_cast<double>(std::get<Image<std::uint8_t>>(image)(y, x, c)) / 255;
  };
  const Tiles tiles(4);
  probe.on_score = [&](const DefectScore& s) {
    const AnyImage image = tiles.load(s.index).image;
    const AnyImage pattern = tiles.load_template(s.index);
    double largest = 0;
    for (Index y = 0; y < 32; ++y) {
      for (Index x = 0; x < 48; ++x) {
        double sum = 0;
        for (Index c = 0; c < 3; ++c) sum += std::abs(value(image, y, x, c) - value(pattern, y, x, c)) / 3;
        CHECK(static_cast<double>(s.heat_map[static_cast<std::size_t>(y * 48 + x)]) ==
              Approx(sum).margin(1e-6));
        largest = std::max(largest, sum);
      }
    }
    CHECK(s.score == Approx(largest).margin(1e-6));
  };
  probe.score_pairs(tiles);

  // The mean leaves out the pixels of defects: the spot's place has the mean of images 0 and 2.
  CHECK(probe.learn(tiles).images == 4);
  for (const auto& [y, x, all] : {std::tuple{0, 0, true}, std::tuple{9, 25, false}}) {
    double sum = 0;
    for (Index i = 0; i < 4; i += all ? 1 : 2) sum += value(tiles.load(i).image, y, x, 1) / (all ? 4 : 2);
    CHECK(static_cast<double>(probe.pattern()[static_cast<std::size_t>(32 * 48 + y * 48 + x)]) ==
          Approx(sum).margin(1e-6));
  }
  DefectResult result;
  probe.on_score = [&](const DefectScore& s) { result.add(s); };
  probe.score(tiles);
  CHECK(result.normal_scores.size() == 2);
  CHECK(result.defect_scores.size() == 2);
}

TEST_CASE("a distance to a normal distribution is in its deviations, along its axes and across them") {
  // Rows (a + b, a - b) of independent a and b with variances 4 and 1: the covariance is ((5, 3), (3, 5)).
  RowGaussian normal(2, 1e-9);
  std::vector<float> rows;
  for (const float a : {-2.0F, 2.0F}) {
    for (const float b : {-1.0F, 1.0F}) rows.insert(rows.end(), {1000 + a + b, a - b});
  }
  normal.add(rows);
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(normal.distance(std::vector<float>{0, 0})); }), "before it was built"));
  normal.build();
  CHECK(normal.count() == 4);
  const auto at = [&](float x, float y) { return normal.distance(std::vector<float>{1000 + x, y}); };
  CHECK(at(0, 0) == Approx(0).margin(1e-6));
  CHECK(at(4, 4) == Approx(2).epsilon(1e-6));   // a = 4, two of its deviations
  CHECK(at(2, -2) == Approx(2).epsilon(1e-6));  // b = 2, two of its
  CHECK(at(3, 1) == Approx(std::sqrt(1 + 1.0)).epsilon(1e-6));
  RowGaussian few(2);
  few.add(std::vector<float>{1, 2});
  CHECK(contains(thrown_by<DataError>([&] { few.build(); }), "of 1 rows; expected at least 2"));
  CHECK(contains(thrown_by<ShapeError>([&] { few.add(std::vector<float>{1}); }), "width 2"));
  CHECK(contains(thrown_by<OptionError>([] { RowGaussian(2, 0); }), "'ridge' is 0"));
}

namespace {

/// Even noise of three sizes, brighter and of more contrast from image to image; every second one has a bright line a pixel wide.
class Grounds {
 public:
  Grounds(Index count, bool defects, std::uint64_t seed) : x_count(count), x_defects(defects), x_seed(seed) {}
  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return join("ground ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    const Index h = 40 + 28 * (i % 3), w = 61 + 12 * (i % 3);
    Image<std::uint8_t> image = test::noise_image(h, w, 1, {.seed = x_seed, .sample = static_cast<std::uint64_t>(i)}, [&](RandomStream& random) {
      return 40 + 5 * static_cast<std::uint32_t>(i) + random.below(static_cast<std::uint32_t>(20 + 2 * i));
    });
    LabelledImage out{.image = {}, .mask = Image<std::uint8_t>(h, w, 1)};
    for (Index x = 20; x_defects && i % 2 == 1 && x < 34; ++x) {
      out.mask(20, x, 0) = 255;
      image(20, x, 0) = 220;
    }
    out.image = std::move(image);
    return out;
  }

 private:
  Index x_count;
  bool x_defects;
  std::uint64_t x_seed;
};

struct Found {
  std::vector<double> scores;
  std::vector<Index> patches;
  DefectResult result;
};

Found filtered(FilterProbe& probe, const Grounds& images) {
  Found out;
  probe.on_score = [&](const DefectScore& image) {
    out.scores.push_back(image.score);
    out.patches.push_back(image.patches);
    out.result.add(image);
  };
  probe.score(images);
  return out;
}

}  // namespace

TEST_CASE("filters see thin lines on grounds of any size and light, and say where") {
  FilterProbe probe({.channels = 1, .smoothing = 1});
  CHECK(contains(thrown_by<DataError>([&] { probe.score(Grounds(2, false, 1)); }), "nothing was learned"));
  CHECK(probe.learn(Grounds(12, false, 1)).images == 12);
  const Found found = filtered(probe, Grounds(12, true, 2));
  CHECK(found.result.tally.images().positives() == 6);
  CHECK(auroc(found.result.tally.images()) == 1);
  CHECK(auroc(found.result.tally.pixels()) > 0.9);
  CHECK(found.patches[0] == 5 * 8);  // of 40 x 61 pixels
  // What was a defect in the images to learn from is no part of the distribution: with it the line would be usual.
  FilterProbe with_defects({.channels = 1});
  with_defects.learn(Grounds(12, true, 1));
  CHECK(with_defects.learned() < probe.learned());
  CHECK(auroc(filtered(with_defects, Grounds(12, true, 2)).result.tally.images()) == 1);
  // The mean of several is less than the largest; a border leaves out what lies there.
  FilterProbe many({.top = 10, .channels = 1}), bordered({.border = 2, .channels = 1});
  many.learn(Grounds(12, false, 1));
  bordered.learn(Grounds(12, false, 1));
  CHECK(filtered(many, Grounds(12, true, 2)).scores[1] < found.scores[1]);
  CHECK(filtered(bordered, Grounds(12, true, 2)).patches[0] == 1 * 4);
  CHECK(contains(thrown_by<DataError>([] {
                   FilterProbe three({.border = 3, .channels = 1});
                   three.learn(Grounds(3, false, 1));
                 }),
                 "has 5 x 8 patches; a border of 3 leaves none"));
  CHECK(contains(thrown_by<OptionError>([] { FilterProbe({.top = 0}); }), "'top' is 0"));
  CHECK(contains(thrown_by<OptionError>([] { FilterProbe({.filters = {.patch = 1}}); }), "'patch' is 1"));
  CHECK(contains(thrown_by<OptionError>([] { FilterProbe({.filters = {.flatten = 0}}); }), "'flatten' is 0"));
}

TEST_CASE("filters' scores are without the trend over sizes that was set, which other normal images take away") {
  FilterProbe probe({.channels = 1});
  probe.learn(Grounds(12, false, 1));
  const Found before = filtered(probe, Grounds(60, false, 3));
  const SizeTrend trend = SizeTrend::of(before.scores, before.patches);
  CHECK(trend.slope > 0.05);  // more patches, a larger largest
  probe.set_size_trend(trend);
  const Found after = filtered(probe, Grounds(60, false, 3));
  for (std::size_t i = 0; i < after.scores.size(); ++i) CHECK(after.scores[i] == Approx(trend.without(before.scores[i], before.patches[i])));
  CHECK(SizeTrend::of(after.scores, after.patches).slope < 1e-9);
  probe.learn(Grounds(12, false, 1));  // another distribution has another trend
  CHECK(filtered(probe, Grounds(60, false, 3)).scores == before.scores);
}

TEST_CASE("a filter's features are of the patch they are of, whatever the light") {
  const LocalFilters filters({});
  Image<float> image(48, 64, 1);
  RandomStream random({.seed = 9});
  for (float& v : image.pixels()) v = static_cast<float>(0.4 + 0.05 * random.uniform());
  const auto middle = [&](const Image<float>& from) {
    const std::vector<float> rows = filters.of(from);
    CHECK(rows.size() == 6 * 8 * 13);
    for (std::size_t d = 0; d < 13; ++d) {  // less the median of the image's patches
      Index below = 0, above = 0;
      for (std::size_t i = d; i < rows.size(); i += 13) {
        below += rows[i] < 0 ? 1 : 0;
        above += rows[i] > 0 ? 1 : 0;
      }
      CHECK((below <= 24 && above <= 24));
    }
    return std::vector<float>(rows.begin() + (2 * 8 + 3) * 13, rows.begin() + (2 * 8 + 4) * 13);
  };
  const std::vector<float> plain = middle(image);
  Image<float> other = image;  // the same at another exposure
  for (float& v : other.pixels()) v = 1.5F * v + 0.1F;
  const std::vector<float> exposed = middle(other);
  for (std::size_t d = 0; d < plain.size(); ++d) CHECK(exposed[d] == Approx(plain[d]).margin(2e-3));
  const auto with = [&](float shift, Index height, Index width) {
    Image<float> out = image;
    for (Index y = 0; y < height; ++y) {
      for (Index x = 0; x < width; ++x) out(16 + y + (height == 1 ? 4 : 0), 24 + x + (width == 1 ? 4 : 0), 0) += shift;
    }
    return middle(out);
  };
  const std::vector<float> bright = with(0.3F, 1, 1), dark = with(-0.3F, 1, 1);
  CHECK(bright[0] > plain[0] + 0.5F);  // the largest of b(1) - b(2)
  CHECK(dark[1] > plain[1] + 0.5F);    // the smallest
  CHECK(bright[0] > dark[0] + 0.5F);
  const std::vector<float> across = with(0.3F, 1, 8), down = with(0.3F, 8, 1);
  CHECK(across[9] > down[9] + 0.5F);   // differences down see a line across
  CHECK(down[10] > across[10] + 0.5F);
}
