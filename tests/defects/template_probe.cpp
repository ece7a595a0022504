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
