// What of an image counts: a part before a background, for what is learned, scored and measured.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <dssl/backend/reference.hpp>
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/defects/defect_probe.hpp>
#include <dssl/defects/difference_probe.hpp>
#include <dssl/defects/filter_bank_file.hpp>
#include <dssl/defects/filter_probe.hpp>
#include <dssl/defects/foreground.hpp>
#include <dssl/defects/pasted_defect.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/metrics/metrics.hpp>

#include "halves.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// A picture of one channel with such rows of values.
LabelledImage picture(std::initializer_list<std::vector<int>> rows) {
  Image<std::uint8_t> image(static_cast<Index>(rows.size()), static_cast<Index>(rows.begin()->size()), 1);
  std::size_t at = 0;
  for (const auto& row : rows) {
    for (const int v : row) image.pixels()[at++] = static_cast<std::uint8_t>(v);
  }
  LabelledImage out{.image = AnyImage(image), .mask = Image<std::uint8_t>(image.height(), image.width(), 1)};
  return out;
}

std::vector<int> counts(const Foreground& rule, const LabelledImage& of) {
  const Image<std::uint8_t> found = rule.of(of, "a picture");
  return {found.pixels().begin(), found.pixels().end()};
}

/// Noise of about 120 on a part of 16 x 22 pixels from (8, 18) on, before a background of another noise, dark. In every second
/// image of a set with defects the part has a bright spot, and in every image of a set with litter the background has.
class Parts {
 public:
  Parts(Index count, std::uint64_t seed, bool defects, bool litter, bool masks)
      : x_count(count), x_seed(seed), x_defects(defects), x_litter(litter), x_masks(masks) {}

  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return join("part ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    RandomStream random({.seed = x_seed, .sample = static_cast<std::uint64_t>(i)});
    Image<std::uint8_t> image(32, 48, 3);
    LabelledImage out{.image = {}, .mask = Image<std::uint8_t>(32, 48, 1)};
    Image<std::uint8_t> part(32, 48, 1);
    const bool defect = x_defects && i % 2 == 1;
    for (Index y = 0; y < 32; ++y) {
      for (Index x = 0; x < 48; ++x) {
        const bool on = y >= 8 && y < 24 && x >= 18 && x < 40;
        const bool spot = on && defect && y >= 10 && y < 17 && x >= 20 && x < 28;
        const bool litter = !on && x_litter && y < 6 && x < 6;
        part(y, x, 0) = on ? 255 : 0;
        out.mask(y, x, 0) = spot ? 255 : 0;
        for (Index c = 0; c < 3; ++c)
          image(y, x, c) = static_cast<std::uint8_t>((spot || litter ? 230 : on ? 110 : 10) + random.below(20));
      }
    }
    out.image = std::move(image);
    if (x_masks) out.foreground = std::move(part);
    return out;
  }

 private:
  Index x_count;
  std::uint64_t x_seed;
  bool x_defects, x_litter, x_masks;
};

/// Parts, of which one image shows none, and one, where masks are brought, has no mask.
class WithoutPart {
 public:
  explicit WithoutPart(const Parts& parts) : x_parts(parts) {}
  [[nodiscard]] Index size() const { return x_parts.size(); }
  [[nodiscard]] std::string name(Index i) const { return x_parts.name(i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out = x_parts.load(i);
    if (i == 1) {
      for (std::uint8_t& v : std::get<Image<std::uint8_t>>(out.image).pixels()) v = 20;
      std::ranges::fill(out.foreground.pixels(), std::uint8_t{0});
    }
    if (i == 2) out.foreground = {};
    return out;
  }

 private:
  Parts x_parts;
};

using Reading = Reference<double>;
using Probe = DefectProbe<HalvesBackbone, Reading>;

}  // namespace

TEST_CASE("background by brightness is what reaches the image's edge; what a part encloses is of it") {
  const LabelledImage ring = picture({{0, 0, 0, 0, 0, 0},
                                      {0, 9, 9, 9, 9, 5},
                                      {0, 9, 0, 5, 9, 0},
                                      {0, 9, 9, 9, 9, 0},
                                      {0, 0, 9, 0, 0, 9}});
  CHECK(counts({.above = 5.0}, ring) == std::vector<int>{0, 0, 0, 0, 0, 0,  //
                                                         0, 1, 1, 1, 1, 0,  //
                                                         0, 1, 1, 1, 1, 0,  //
                                                         0, 1, 1, 1, 1, 0,  //
                                                         0, 0, 1, 0, 0, 1});
  CHECK(counts({.above = 4.0}, ring)[11] == 1);
  // A bright background, and a band between two.
  CHECK(counts({.below = 5.0}, picture({{9, 9, 9}, {9, 1, 5}, {4, 9, 9}})) == std::vector<int>{0, 0, 0, 0, 1, 0, 1, 0, 0});
  CHECK(counts({.above = 2.0, .below = 8.0}, picture({{9, 5, 0}})) == std::vector<int>{0, 1, 0});
  CHECK(Foreground{}.of(ring, "ring").pixels().empty());
  CHECK_FALSE(Foreground{}.any());
  // The mean over channels, of any depth, on one scale.
  Image<std::uint16_t> deep(1, 2, 2);
  deep.pixels()[0] = 100 * 257;
  deep.pixels()[1] = 50 * 257;
  deep.pixels()[2] = 75 * 257;
  deep.pixels()[3] = 76 * 257;
  CHECK(counts({.above = 75.0}, {.image = AnyImage(deep), .mask = Image<std::uint8_t>(1, 2, 1)}) == std::vector<int>{0, 1});
}

TEST_CASE("foregrounds of masks; an image without its mask, or without a foreground, is that image's error") {
  LabelledImage two = picture({{9, 9}, {0, 9}});
  CHECK(contains(thrown_by<LabelError>([&] { static_cast<void>(counts({.masks = true}, two)); }), "a picture: has no mask of its foreground"));
  two.foreground = Image<std::uint8_t>(2, 2, 1);
  two.foreground(0, 1, 0) = 255;
  two.foreground(1, 0, 0) = 1;
  CHECK(counts({.masks = true}, two) == std::vector<int>{0, 1, 1, 0});
  CHECK(counts({.masks = true, .above = 1.0}, two) == std::vector<int>{0, 1, 0, 0});
  two.foreground(0, 1, 0) = 0;
  CHECK(contains(thrown_by<ImageError>([&] { static_cast<void>(counts({.masks = true, .above = 1.0}, two)); }), "a picture: has no pixel on its foreground"));
  two.foreground = Image<std::uint8_t>(3, 2, 1);
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(counts({.masks = true}, two)); }), "a foreground of 3 x 2 pixels for an image of 2 x 2"));
  CHECK(contains(thrown_by<OptionError>([] { PatchRules{.foreground = {.above = 255.0}}.validate(); }), "'foreground_above' is 255"));
  CHECK(contains(thrown_by<OptionError>([] { Foreground{.below = 0.0}.validate(); }), "'foreground_below' is 0"));
  CHECK(contains(thrown_by<OptionError>([] { Foreground{.above = 9.0, .below = 9.0}.validate(); }), "'foreground_above' is 9; expected a value below"));
}

TEST_CASE("patches count of which at least half is on the foreground; the border goes round these") {
  constexpr Index patch = 2;
  const GridSize grid{3, 4};
  // Pixels (5,7): the last patches are cut off. Columns 0 and 1 are background, and of column 2 the upper two rows.
  std::vector<std::uint8_t> labels(5 * 7, 0);
  for (Index y = 0; y < 5; ++y) {
    for (Index x = 0; x < 7; ++x) {
      if (x < 2 || (x == 2 && y < 3) || (x == 3 && y == 0)) labels[static_cast<std::size_t>(y * 7 + x)] = ClassMap::ignored;
    }
  }
  const auto counted = [&](const PatchRules& rules) { return counted_patches(labels, 5, 7, grid, patch, rules, "image"); };
  const Foreground some{.masks = true};
  CHECK(counted({.foreground = some}) == std::vector<std::int32_t>{2, 3, 5, 6, 7, 9, 10, 11});
  CHECK(counted({}) == std::vector<std::int32_t>{1, 2, 3, 5, 6, 7, 9, 10, 11});
  CHECK(counted({.border = 1, .foreground = some}) == std::vector<std::int32_t>{6});
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(counted({.border = 2, .foreground = some})); }),
                 "image: has 3 x 3 patches; a border of 2 leaves none of them"));
  std::ranges::fill(labels, ClassMap::ignored);
  labels[8] = 0;
  CHECK(contains(thrown_by<ImageError>([&] { static_cast<void>(counted({.foreground = some})); }),
                 "image: has no patch at least half of which is on its foreground"));
}

TEST_CASE("off the foreground nothing is learned, scored or measured") {
  for (const Foreground& rule : {Foreground{.masks = true}, Foreground{.above = 60.0}}) {
    auto features = halves_extractor(Reading());
    Probe probe(features, {.coreset = 1.0, .rules = {.foreground = rule}, .neighbourhood = 1, .smoothing = 0});
    probe.learn(Parts(6, 1, false, false, rule.masks));
    CHECK(probe.bank()->size() == 6 * 2 * 3);
    std::vector<double> scores;
    probe.on_score = [&](const DefectScore& s) {
      scores.push_back(s.score);
      CHECK(s.patches == 2 * 3);
      CHECK(s.truth[0] == ClassMap::ignored);
      CHECK(s.truth[8 * 48 + 17] == ClassMap::ignored);
      CHECK(s.truth[8 * 48 + 18] == 0);
      CHECK(std::ranges::count(s.truth, ClassMap::ignored) == 32 * 48 - 16 * 22);
      // The map's lowest value is off the part.
      CHECK(s.heat_map[0] == Approx(*std::ranges::min_element(s.heat_map)));
    };
    CHECK(probe.score(Parts(4, 2, true, false, rule.masks)).images == 4);
    CHECK(std::min(scores[1], scores[3]) > std::max(scores[0], scores[2]));
  }
  // Litter in every image, beside the part, is what is scored where all counts.
  const auto found = [](const Foreground& rule) {
    auto features = halves_extractor(Reading());
    Probe probe(features, {.coreset = 1.0, .rules = {.foreground = rule}, .neighbourhood = 1, .smoothing = 0});
    probe.learn(Parts(6, 1, false, false, true));
    return auroc(probe.evaluate(Parts(20, 2, true, true, true)).tally.images());
  };
  CHECK(found({.masks = true}) == 1);
  CHECK(found({}) < 1);
}

TEST_CASE("an image without a foreground is left out in words and counted, and too many of them end the pass") {
  auto features = halves_extractor(Reading());
  for (const bool tiles : {false, true}) {
    Probe probe(features, {.coreset = 1.0, .rules = {.foreground = {.masks = true}}, .tiles = tiles ? std::optional(TileOptions{.overlap = 8}) : std::nullopt});
    std::vector<std::string> said;
    probe.on_skip = [&](std::string_view, std::string_view message) { said.emplace_back(message); };
    const FeaturePassCount passed = probe.learn(WithoutPart(Parts(6, 1, false, false, true)));
    CHECK(passed.images == 4);
    CHECK(passed.unreadable == 2);
    CHECK(passed.unreadable_labels == 1);
    CHECK(said == std::vector<std::string>{"part 1: has no pixel on its foreground", "part 2: has no mask of its foreground"});
  }
  // A pixel is a foreground, and no patch.
  class Dots {
   public:
    [[nodiscard]] Index size() const { return 40; }
    [[nodiscard]] std::string name(Index i) const { return join("dots ", i); }
    [[nodiscard]] LabelledImage load(Index i) const {
      LabelledImage out = Parts(40, 1, false, false, true).load(i);
      if (i % 8 == 1) {
        std::ranges::fill(out.foreground.pixels(), std::uint8_t{0});
        out.foreground(3, 3, 0) = 1;
      }
      return out;
    }
  };
  Probe probe(features, {.coreset = 0.2, .rules = {.foreground = {.masks = true}}});
  const FeaturePassCount passed = probe.learn(Dots());
  CHECK(passed.images == 35);
  CHECK(passed.unreadable == 5);
  Probe strict(features, {.coreset = 0.2, .rules = {.foreground = {.masks = true}}, .skip = {.max_bad_share = 0}});
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(strict.learn(Dots())); }), "has no patch at least half of which is on its foreground"));
  // One image that was given.
  const LabelledImage own = Parts(1, 1, false, false, true).load(0);
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(probe.score_image(own.image)); }), "has no mask of its foreground"));
}

TEST_CASE("a bank keeps its foreground, and scores by it; one that cannot be is damaged") {
  const TemporaryFolder folder;
  auto features = halves_extractor(Reference<float>());
  DefectProbe<HalvesBackbone, Reference<float>> probe(features, {.coreset = 0.5, .rules = {.foreground = {.above = 60.5, .below = 254.0}}}), later(features, {});
  probe.learn(Parts(6, 1, false, false, false));
  save_defect_bank(folder / "bank.safetensors", *probe.bank());
  later.take(load_defect_bank(features.backend(), SafetensorsFile::open(folder / "bank.safetensors")));
  CHECK(later.rules().foreground == Foreground{.above = 60.5, .below = 254.0});
  const Parts test(4, 2, true, false, false);
  CHECK(later.evaluate(test).defect_scores == probe.evaluate(test).defect_scores);
  const LabelledImage one = test.load(1);
  CHECK(later.score_image(one.image).patches == 2 * 3);
  const auto damaged = [&](const char* key, const char* value) {
    save_defect_bank(folder / "damaged.safetensors", *probe.bank(), {{key, value}});
    return thrown_by<CheckpointError>(
        [&] { static_cast<void>(load_defect_bank(features.backend(), SafetensorsFile::open(folder / "damaged.safetensors"))); });
  };
  CHECK(contains(damaged("foreground_above", "300"), "damaged.safetensors: has a foreground that cannot be: option 'foreground_above' is 300"));
  CHECK(contains(damaged("foreground_below", "x"), "metadata 'foreground_below' is 'x'"));
  CHECK(contains(damaged("foreground_masks", "-1"), "metadata 'foreground_masks' is -1"));
}

TEST_CASE("filters and plain differences look at the foreground alone too") {
  const TemporaryFolder folder;
  FilterProbe filters({.foreground = {.masks = true}, .smoothing = 0});
  CHECK(filters.learn(WithoutPart(Parts(40, 1, false, false, true))).unreadable == 2);
  CHECK(filters.learned() == 38 * 2 * 3);
  save_filter_bank(folder / "filters.safetensors", filters);
  FilterProbe later = load_filter_bank(SafetensorsFile::open(folder / "filters.safetensors"));
  CHECK(later.options().foreground == Foreground{.masks = true});
  later.on_score = [](const DefectScore& s) {
    CHECK(s.patches == 2 * 3);
    CHECK(s.truth[0] == ClassMap::ignored);
  };
  CHECK(later.score(Parts(2, 2, true, true, true)).images == 2);
  // Labelled images: what is off the foreground is no defect.
  const FilterLabelChoice choice = filters.learn_labels(Parts(40, 1, false, false, true), Parts(4, 3, true, true, true), {.trees = {.trees = 4}});
  CHECK(choice.patches == 2 * 2);

  DifferenceProbe difference({.input = {.height = 32, .width = 48}, .smoothing = 0, .foreground = {.masks = true}});
  difference.learn(Parts(6, 1, false, false, true));
  std::vector<double> clean, littered;
  difference.on_score = [&](const DefectScore& s) { clean.push_back(s.score); };
  difference.score(Parts(2, 2, false, false, true));
  difference.on_score = [&](const DefectScore& s) { littered.push_back(s.score); };
  difference.score(Parts(2, 2, false, true, true));
  CHECK(littered == clean);
}

TEST_CASE("defects are pasted on the foreground, and where there is none as before") {
  const Parts parts(5, 1, false, false, true);
  const PastedDefects pasted(parts, 3, {.smallest = 0.03, .largest = 0.05});
  for (Index i = 0; i < pasted.size(); ++i) {
    const LabelledImage image = pasted.load(i);
    REQUIRE(image.foreground.pixels().size() == 32 * 48);
    Index on = 0;
    for (std::size_t p = 0; p < image.mask.pixels().size(); ++p) on += image.mask.pixels()[p] != 0 && image.foreground.pixels()[p] != 0 ? 1 : 0;
    CHECK(on > 0);
  }
  const AnyImage plain = parts.load(0).image;
  Image<std::uint8_t> all(32, 48, 1);
  std::ranges::fill(all.pixels(), std::uint8_t{1});
  CHECK(std::ranges::equal(paste_defect(plain, PastedKind::scar, 3).mask.pixels(), paste_defect(plain, PastedKind::scar, 3, {}, all).mask.pixels()));
}
