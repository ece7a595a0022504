// Synthetic scenes: the same for the same key, exact masks, every format, and readable once written.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <tbb/parallel_for.h>

#include <dssl/data/synthetic.hpp>
#include <dssl/data/synthetic_voc.hpp>
#include <dssl/data/voc.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

namespace {

using dssl::Image;
using dssl::Index;
using dssl::Scene;
using dssl::ScenePixels;
using dssl::SyntheticOptions;
using dssl::SyntheticScenes;
using dssl::test::contains;
using dssl::test::TemporaryFolder;
using dssl::test::thrown_by;
using Bytes8 = Image<std::uint8_t>;

bool same(const Scene& a, const Scene& b) {
  return a.image == b.image && a.mask == b.mask && a.defects == b.defects;
}

}  // namespace

TEST_CASE("a scene depends on its seed and number alone") {
  const SyntheticScenes scenes({.seed = 4, .count = 12});
  std::vector<Scene> parallel(12);
  tbb::parallel_for(std::size_t{0}, std::size_t{12},
                    [&](std::size_t i) { parallel[i] = scenes.scene(static_cast<Index>(11 - i)); });
  const SyntheticScenes again({.seed = 4, .count = 500});
  for (Index i = 0; i < 12; ++i) REQUIRE(same(again.scene(i), parallel[static_cast<std::size_t>(11 - i)]));
  REQUIRE_FALSE(same(scenes.scene(0), scenes.scene(1)));
  REQUIRE_FALSE(same(scenes.scene(0), SyntheticScenes({.seed = 5}).scene(0)));
}

TEST_CASE("every class occurs, and nothing else") {
  const SyntheticScenes scenes({.height = 64, .width = 96, .classes = 9});
  std::set<int> seen;
  double ground = 0;
  for (Index i = 0; i < 60; ++i) {
    const dssl::LabelledImage pair = scenes.load(i);
    REQUIRE(dssl::height(pair.image) == 64);
    REQUIRE(dssl::width(pair.image) == 96);
    REQUIRE(pair.mask.height() == 64);
    REQUIRE(pair.mask.width() == 96);
    for (const std::uint8_t id : pair.mask.pixels()) {
      seen.insert(id);
      ground += id == 0 ? 1.0 / (60 * 64 * 96) : 0.0;
    }
  }
  REQUIRE(seen == std::set<int>{0, 1, 2, 3, 4, 5, 6, 7, 8});
  REQUIRE(ground > 0.5);
  REQUIRE(ground < 0.9);
}

TEST_CASE("any number of channels and every kind of pixel show the same scene") {
  const Scene colour = SyntheticScenes({.channels = 3, .pixels = ScenePixels::real}).scene(3);
  const auto& real = std::get<Image<float>>(colour.image);
  const Scene bytes = SyntheticScenes({.channels = 3, .pixels = ScenePixels::bits8}).scene(3);
  const Scene words = SyntheticScenes({.channels = 3, .pixels = ScenePixels::bits16}).scene(3);
  REQUIRE(bytes.mask == colour.mask);
  REQUIRE(words.mask == colour.mask);
  bool in_range = true;
  float to_bytes = 0;
  float to_words = 0;
  for (std::size_t i = 0; i < real.pixels().size(); ++i) {
    const float value = real.pixels()[i];
    in_range = in_range && value >= 0 && value <= 1;
    to_bytes = std::max(
        to_bytes, std::abs(255 * value - static_cast<float>(std::get<Bytes8>(bytes.image).pixels()[i])));
    to_words = std::max(
        to_words, std::abs(65535 * value -
                           static_cast<float>(std::get<Image<std::uint16_t>>(words.image).pixels()[i])));
  }
  REQUIRE(in_range);
  REQUIRE(to_bytes <= 0.501F);
  REQUIRE(to_words <= 0.51F);
  for (const Index channels : {Index{1}, Index{2}, Index{5}}) {
    const Scene other = SyntheticScenes({.channels = channels}).scene(3);
    REQUIRE(dssl::channels(other.image) == channels);
    REQUIRE(other.mask == colour.mask);
  }
}

TEST_CASE("defects change the marked pixels and hardly any other") {
  const SyntheticScenes clean({.pixels = ScenePixels::real});
  const SyntheticScenes marked({.pixels = ScenePixels::real, .defects = true, .defect_share = 0.5});
  int with_defects = 0;
  int changed_inside = 0;
  int marked_pixels = 0;
  for (Index i = 0; i < 40; ++i) {
    const Scene before = clean.scene(i);
    const Scene after = marked.scene(i);
    REQUIRE(before.mask == after.mask);
    const auto& a = std::get<Image<float>>(before.image);
    const auto& b = std::get<Image<float>>(after.image);
    int inside = 0;
    int changed_outside = 0;
    for (Index y = 0; y < 128; ++y) {
      for (Index x = 0; x < 128; ++x) {
        const bool change = a(y, x, 0) != b(y, x, 0) || a(y, x, 1) != b(y, x, 1);
        const bool defect = after.defects(y, x, 0) == 1;
        REQUIRE(before.defects(y, x, 0) == 0);
        inside += defect ? 1 : 0;
        changed_inside += defect && change ? 1 : 0;
        changed_outside += !defect && change ? 1 : 0;
      }
    }
    marked_pixels += inside;
    with_defects += inside > 0 ? 1 : 0;
    // Soft edges reach half a pixel out of the mask.
    REQUIRE(changed_outside <= 2 * inside + 20);
    REQUIRE(inside < 128 * 128 / 20);
    if (inside == 0) REQUIRE(changed_outside <= 20);
  }
  REQUIRE(with_defects > 8);
  REQUIRE(with_defects < 32);
  REQUIRE(changed_inside == marked_pixels);
}

TEST_CASE("the hue of a pixel alone does not tell its class") {
  // The best guess of the class from the pixel's coarse colour, fitted and scored on the same scenes: an
  // upper bound.
  const SyntheticScenes scenes;
  std::vector<std::array<int, 7>> votes(512);
  int total = 0;
  for (Index i = 0; i < 150; ++i) {
    const dssl::LabelledImage pair = scenes.load(i);
    const auto& image = std::get<Bytes8>(pair.image);
    for (Index y = 0; y < 128; y += 2) {
      for (Index x = 0; x < 128; x += 2) {
        const int id = pair.mask(y, x, 0);
        if (id == 0) continue;
        const int bin = image(y, x, 0) / 32 * 64 + image(y, x, 1) / 32 * 8 + image(y, x, 2) / 32;
        ++votes[static_cast<std::size_t>(bin)][static_cast<std::size_t>(id)];
        ++total;
      }
    }
  }
  int right = 0;
  for (const auto& bin : votes) right += *std::max_element(bin.begin(), bin.end());
  const double accuracy = static_cast<double>(right) / total;
  CAPTURE(accuracy);
  REQUIRE(accuracy > 1.0 / 6);
  REQUIRE(accuracy < 0.6);
}

TEST_CASE("scenes written in the VOC layout are read back") {
  const TemporaryFolder root;
  const SyntheticScenes scenes({.seed = 9, .height = 40, .width = 56, .defects = true});
  dssl::write_voc(root / "set", scenes, 3, 2);
  const dssl::VocFolder train(root / "set", "train");
  const dssl::VocFolder val(root / "set", "val");
  REQUIRE(train.size() == 3);
  REQUIRE(val.size() == 2);
  for (Index i = 0; i < 5; ++i) {
    const dssl::LabelledImage read = i < 3 ? train.load(i) : val.load(i - 3);
    const Scene made = scenes.scene(i);
    REQUIRE(read.mask == made.mask);
    const auto& a = std::get<Bytes8>(read.image);
    const auto& b = std::get<Bytes8>(made.image);
    double sum = 0;
    for (std::size_t p = 0; p < a.pixels().size(); ++p) sum += std::abs(a.pixels()[p] - b.pixels()[p]);
    REQUIRE(sum / static_cast<double>(a.pixels().size()) < 10);
  }
  REQUIRE(dssl::read_png_indices(root / "set/DefectMasks/000002.png") == scenes.scene(2).defects);

  const SyntheticScenes deep({.height = 32, .width = 32, .channels = 1, .pixels = ScenePixels::bits16});
  dssl::write_voc(root / "deep", deep, 1, 0);
  REQUIRE(dssl::VocFolder(root / "deep", "train").load(0).image == deep.load(0).image);
}

TEST_CASE("what cannot be generated or written is named") {
  const auto refusal = [](const SyntheticOptions& options) {
    return thrown_by<dssl::OptionError>([&] { SyntheticScenes{options}; });
  };
  REQUIRE(contains(refusal({.count = 0}), "count"));
  REQUIRE(contains(refusal({.height = 4}), "height"));
  REQUIRE(contains(refusal({.width = 0}), "width"));
  REQUIRE(contains(refusal({.channels = 0}), "channels"));
  REQUIRE(contains(refusal({.classes = 1}), "classes"));
  REQUIRE(contains(refusal({.classes = 256}), "classes"));
  REQUIRE(contains(refusal({.objects_min = -1}), "objects_min"));
  REQUIRE(contains(refusal({.objects_min = 3, .objects_max = 2}), "objects_max"));
  REQUIRE(contains(refusal({.defect_share = 2}), "defect_share"));
  const TemporaryFolder root;
  REQUIRE_THROWS_AS(dssl::write_voc(root / "x", SyntheticScenes({.channels = 5}), 1, 1), dssl::OptionError);
  REQUIRE(contains(
      thrown_by<dssl::FileError>([&] { dssl::write_voc(root / "no/such", SyntheticScenes(), 1, 1); }),
      root / "no/such"));
  REQUIRE(SyntheticScenes({.objects_min = 0, .objects_max = 0}).load(0).mask == Bytes8(128, 128, 1));
}
