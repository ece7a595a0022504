// Defects found with normal images alone, on pictures that a random backbone can tell apart.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/defects/defect_probe.hpp>
#include <dssl/metrics/calibration.hpp>

#include "halves.hpp"
#include "ranks.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Stripes with noise; in every second image of a set with defects a bright spot.
class Stripes {
 public:
  Stripes(Index count, std::uint64_t seed, bool defects) : x_count(count), x_seed(seed), x_defects(defects) {}

  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return join("stripes ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    RandomStream random({.seed = x_seed, .sample = static_cast<std::uint64_t>(i)});
    Image<std::uint8_t> image(32, 48, 3);
    LabelledImage out{.image = {}, .mask = Image<std::uint8_t>(32, 48, 1)};
    const bool defect = x_defects && i % 2 == 1;
    const Index top = random.below(22);
    const Index left = random.below(38);
    for (Index y = 0; y < 32; ++y) {
      for (Index x = 0; x < 48; ++x) {
        const bool spot = defect && y >= top && y < top + 10 && x >= left && x < left + 10;
        out.mask(y, x, 0) = spot ? 200 : 0;
        for (Index c = 0; c < 3; ++c)
          image(y, x, c) = static_cast<std::uint8_t>((spot             ? 190
                                                      : x / 4 % 2 == 0 ? 100
                                                                       : 60) +
                                                     random.below(20));
      }
    }
    out.image = std::move(image);
    return out;
  }

 private:
  Index x_count;
  std::uint64_t x_seed;
  bool x_defects;
};

/// Normal stripes a third as wide: the rest of the input is padding.
class Narrow {
 public:
  [[nodiscard]] Index size() const { return 4; }
  [[nodiscard]] std::string name(Index i) const { return join("narrow ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    const LabelledImage wide = Stripes(4, 9, false).load(i);
    const auto& from = std::get<Image<std::uint8_t>>(wide.image);
    Image<std::uint8_t> image(32, 16, 3);
    for (Index y = 0; y < 32; ++y) {
      for (Index x = 0; x < 16; ++x) {
        for (Index c = 0; c < 3; ++c) image(y, x, c) = from(y, x, c);
      }
    }
    return {.image = std::move(image), .mask = Image<std::uint8_t>(32, 16, 1)};
  }
};

struct Outcome {
  double image = 0;
  double pixel = 0;
  double aupro = 0;
  std::vector<double> normal, defect;
};

template <Backend B>
Outcome run(const B& backend, const DefectProbeOptions& options, Index batch = 4) {
  auto features = halves_extractor(backend, batch);
  DefectProbe<HalvesBackbone, B> probe(features, options);
  CHECK(probe.learn(ImagesOf<Stripes>(Stripes(10, 1, false))).images == 10);
  Index seen = 0;
  probe.on_score = [&](const DefectScore& s) {
    CHECK(s.index == seen++);
    CHECK(s.defect == (s.index % 2 == 1));
    CHECK(s.heat_map.size() == 32 * 48);
    CHECK(s.truth.size() == 32 * 48);
  };
  const DefectResult result = probe.evaluate(Stripes(12, 2, true));
  CHECK(seen == 12);
  CHECK(result.tally.region_count() == 6);
  return {auroc(result.tally.images()), auroc(result.tally.pixels()), result.tally.aupro(),
          result.normal_scores, result.defect_scores};
}

}  // namespace

TEST_CASE("ranks that share normal images have the bank of one, and score what is theirs") {
  const auto banks_of = [](const Communicator& ranks) {
    std::vector<std::vector<float>> out;
    for (const double place : {0.0, 0.5}) {
      auto features = halves_extractor(Reference<float>(), 2);
      DefectProbe<HalvesBackbone, Reference<float>> probe(features, {.coreset = 0.5, .rules = {.place = place}, .seed = 3, .ranks = ranks});
      if (probe.learn(Stripes(7, 1, false)).images != 7) throw Error("not all images are learned");
      const auto rows = probe.bank()->rows();
      out.emplace_back(rows.data(), rows.data() + rows.size());
      if (ranks.alone()) continue;
      if (probe.score(Stripes(0, 2, true)).images != 0) throw Error("a rank without images scores some");
    }
    return out;
  };
  const auto alone = banks_of({});
  CHECK(alone[1].size() > alone[0].size());
  for (const Index size : {2, 3}) {
    std::vector<std::vector<std::vector<float>>> found(static_cast<std::size_t>(size));
    const auto words = on_ranks(size, [&](const Communicator& ranks) { found[static_cast<std::size_t>(ranks.rank())] = banks_of(ranks); });
    REQUIRE(words == no_words(size));
    for (const auto& banks : found) CHECK((banks == alone));
  }
}

TEST_CASE("defects stand out from what normal images hold, the same for any threads and batches") {
  const DefectProbeOptions options{.coreset = 0.5, .smoothing = 2, .seed = 3};
  const Outcome exact = run(Reference<double>(), options);
  CHECK(exact.image == 1);
  CHECK(exact.pixel > 0.9);
  CHECK(exact.aupro > 0.7);
  CHECK(exact.normal.size() == 6);
  const Outcome single = run(Reference<double>(), options, 1);
  CHECK(single.defect == exact.defect);
  // Without coreset, neighbourhood, reweighting and blur; with little memory; padded.
  CHECK(run(Reference<double>(), {.coreset = 1.0, .reweighting = 0, .neighbourhood = 1, .smoothing = 0})
            .image == 1);
  CHECK(run(Reference<double>(), {.pool = 60, .coreset_size = 20, .projection = 8}).image > 0.9);
  CHECK(run(Reference<double>(), {.fit = InputFit::pad}).image == 1);
#if __has_include(<dssl/backend/cpu.hpp>)
  auto two_loading = options;
  two_loading.loader = {.prefetch = 3, .threads = 2};
  const Outcome one = run(Cpu({.threads = 1}), options);
  const Outcome two = run(Cpu({.threads = 2}), two_loading);
  CHECK(one.defect == two.defect);
  CHECK(one.normal == two.normal);
  CHECK(one.image == 1);
#endif
}

TEST_CASE("what lies outside an image takes no part in its score") {
  auto features = halves_extractor(Reference<double>());
  DefectProbe<HalvesBackbone, Reference<double>> probe(
      features, {.coreset = 1.0, .reweighting = 0, .neighbourhood = 1, .smoothing = 0, .fit = InputFit::pad});
  probe.learn(Stripes(10, 1, false));
  Index seen = 0;
  probe.on_score = [&](const DefectScore& s) {
    ++seen;
    CHECK(s.truth[0] == ClassMap::ignored);
    // Padding is unlike anything that was learned, and yet has the lowest score; the image has the highest inside.
    const auto [least, most] = std::ranges::minmax_element(s.heat_map);
    CHECK(s.heat_map[0] == Approx(*least).epsilon(1e-6));  // a rounding apart where its neighbours are added otherwise
    CHECK(s.score == Approx(static_cast<double>(*most)).epsilon(0.2));
    CHECK(s.score >= static_cast<double>(*most));
  };
  CHECK(probe.evaluate(Narrow()).normal_scores.size() == 4);
  CHECK(seen == 4);
}

TEST_CASE("an image alone is looked at as in a source: standardised, within a border, by windows") {
  auto features = halves_extractor(Reference<float>());
  for (const bool tiles : {false, true}) {
    DefectProbeOptions options{.coreset = 0.5, .top = 2, .rules = {.border = 1, .standardise = true}, .standardise_images = true};
    if (tiles) options.tiles = TileOptions{.scale = 0.9, .overlap = 8};
    DefectProbe<HalvesBackbone, Reference<float>> probe(features, options);
    probe.learn(Stripes(10, 1, false));
    std::vector<double> scores;
    std::vector<std::vector<float>> maps;
    probe.on_score = [&](const DefectScore& s) {
      scores.push_back(s.score);
      maps.emplace_back(s.heat_map.begin(), s.heat_map.end());
    };
    probe.score(Stripes(4, 2, true));
    probe.on_score = {};
    for (const std::size_t i : {3, 0}) {
      const DefectScore alone = probe.score_image(Stripes(4, 2, true).load(static_cast<Index>(i)).image);
      CHECK(alone.score == scores[i]);
      CHECK(std::ranges::equal(alone.heat_map, maps[i]));
      CHECK(alone.width == (tiles ? 43 : 48));
    }
  }
}

TEST_CASE("an image alone has the score and the map that it has in a source") {
  for (const InputFit fit : {InputFit::stretch, InputFit::pad}) {
    auto features = halves_extractor(Reference<float>());
    DefectProbe<HalvesBackbone, Reference<float>> probe(features, {.coreset = 0.5, .fit = fit});
    const LabelledImage narrow = Narrow().load(2);
    CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(probe.score_image(narrow.image)); }), "nothing was learned"));
    probe.learn(Stripes(10, 1, false));
    std::vector<double> scores;
    std::vector<std::vector<float>> maps;
    probe.on_score = [&](const DefectScore& s) {
      scores.push_back(s.score);
      maps.emplace_back(s.heat_map.begin(), s.heat_map.end());
    };
    probe.score(Narrow());
    probe.score(Stripes(4, 2, true));
    probe.on_score = [](const DefectScore&) { FAIL("an image alone is nobody else's"); };
    const auto same = [&](const AnyImageView& image, std::size_t i) {
      const DefectScore alone = probe.score_image(image);
      CHECK(alone.score == scores[i]);
      CHECK(std::ranges::equal(alone.heat_map, maps[i]));
    };
    same(narrow.image, 2);
    same(Stripes(4, 2, true).load(3).image, 7);
    same(Narrow().load(0).image, 0);
    // Grey is repeated.
    const Image<std::uint8_t> grey(32, 48, 1), black(32, 48, 3);
    const double of_grey = probe.score_image(grey).score;
    CHECK(probe.score_image(black).score == of_grey);
    CHECK(contains(thrown_by<ImageError>([&] { static_cast<void>(probe.score_image(Image<std::uint8_t>(32, 48, 2))); }),
                   "has 2 channels; expected 3"));
  }
}

namespace {

/// Normal stripes with a bright line along the top, in every second image, and brighter from image to image.
class EdgeAndLight {
 public:
  [[nodiscard]] Index size() const { return 6; }
  [[nodiscard]] std::string name(Index i) const { return join("edge ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out = Stripes(6, 21, false).load(i / 2);
    auto& image = std::get<Image<std::uint8_t>>(out.image);
    for (Index y = 0; y < 32; ++y) {
      for (Index x = 0; x < 48; ++x) {
        for (Index c = 0; c < 3; ++c) {
          auto& v = image(y, x, c);
          if (i % 2 == 1 && y < 5) v = 250;
        }
      }
    }
    return out;
  }
};

/// The same images at another exposure.
class Exposed {
 public:
  explicit Exposed(double gain) : x_gain(gain) {}
  [[nodiscard]] Index size() const { return 4; }
  [[nodiscard]] std::string name(Index i) const { return join("exposed ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out = Stripes(4, 33, false).load(i);
    auto& from = std::get<Image<std::uint8_t>>(out.image);
    Image<float> image(32, 48, 3);
    for (std::size_t n = 0; n < image.pixels().size(); ++n)
      image.pixels()[n] = static_cast<float>(x_gain * static_cast<double>(from.pixels()[n]) / 255);
    out.image = std::move(image);
    return out;
  }

 private:
  double x_gain;
};

}  // namespace

TEST_CASE("patches of the border neither are learned nor raise a score, and a border that leaves nothing is refused") {
  auto features = halves_extractor(Reference<double>());
  const auto scores = [&](Index border) {
    DefectProbe<HalvesBackbone, Reference<double>> probe(
        features, {.coreset = 1.0, .reweighting = 0, .rules = {.border = border}, .neighbourhood = 1, .smoothing = 0});
    probe.learn(Stripes(10, 1, false));
    CHECK(probe.bank()->size() == 10 * (4 - 2 * border) * (6 - 2 * border));
    CHECK(probe.bank()->options().rules.border == border);
    std::vector<double> out;
    probe.on_score = [&](const DefectScore& s) {
      out.push_back(s.score);
      CHECK(s.score == Approx(static_cast<double>(*std::ranges::max_element(s.heat_map))).epsilon(0.3));
    };
    probe.score(EdgeAndLight{});
    return out;
  };
  const std::vector<double> all = scores(0), inner = scores(1);
  REQUIRE(inner.size() == 6);
  for (std::size_t i = 0; i < 6; i += 2) {
    CHECK(all[i + 1] > 2 * all[i]);  // the line along the edge raises an alarm
    CHECK(inner[i + 1] < all[i + 1] / 2);
  }
  using Probe = DefectProbe<HalvesBackbone, Reference<double>>;
  CHECK(contains(thrown_by<OptionError>([&] { Probe(features, {.rules = {.border = 2}}); }),
                 "'border' is 2; expected 0 to 1, as images have 4 x 6 patches"));
  CHECK(contains(thrown_by<OptionError>([&] { Probe(features, {.top = 0}); }), "'top' is 0"));
  // Padded images, and images by windows, are small one by one.
  Probe padded(features, {.rules = {.border = 1}, .fit = InputFit::pad});
  CHECK(contains(thrown_by<DataError>([&] { padded.learn(Narrow()); }), "narrow 0: has 4 x 2 patches; a border of 1 leaves none"));
  Probe tiled(features, {.rules = {.border = 1}, .tiles = TileOptions{.overlap = 8}});
  CHECK(contains(thrown_by<DataError>([&] { tiled.learn(Narrow()); }), "narrow 0: has 4 x 2 patches; a border of 1 leaves none"));
}

TEST_CASE("standardised images and features find defects; another exposure then changes no score") {
  auto features = halves_extractor(Reference<double>());
  for (const bool images : {false, true}) {
    DefectProbe<HalvesBackbone, Reference<double>> probe(
        features, {.coreset = 1.0, .reweighting = 0, .standardise_images = images, .smoothing = 0});
    probe.learn(Stripes(10, 1, false));
    const DefectResult plain = probe.evaluate(Exposed(1)), dim = probe.evaluate(Exposed(0.6));
    double most = 0;
    for (std::size_t i = 0; i < 4; ++i) most = std::max(most, std::abs(dim.normal_scores[i] / plain.normal_scores[i] - 1));
    CHECK((images ? most < 1e-3 : most > 0.1));
  }
  CHECK(run(Reference<double>(), {.rules = {.standardise = true}, .smoothing = 2}).image > 0.9);
  CHECK(run(Reference<double>(), {.standardise_images = true, .smoothing = 2}).image == 1);
  CHECK(run(Reference<double>(), {.top = 3, .smoothing = 2}).image == 1);
  CHECK(run(Reference<double>(), {.rules = {.place = 0.3}, .smoothing = 2}).image > 0.9);
}

TEST_CASE("images by windows have maps of their own size, the same for any threads and batches") {
  const DefectProbeOptions options{.coreset = 0.5, .tiles = TileOptions{.overlap = 8}, .smoothing = 2, .seed = 3};
  const Outcome whole = run(Reference<double>(), options);
  CHECK(whole.image == 1);
  CHECK(run(Reference<double>(), options, 1).defect == whole.defect);
  // A window that is the image is the image.
  auto resized = options;
  resized.tiles.reset();
  CHECK(run(Reference<double>(), resized).defect == whole.defect);
  auto features = halves_extractor(Reference<double>());
  DefectProbe<HalvesBackbone, Reference<double>> probe(features, {.coreset = 0.5, .tiles = TileOptions{.scale = 0.9, .overlap = 8}});
  probe.learn(Stripes(10, 1, false));
  Index seen = 0;
  probe.on_score = [&](const DefectScore& s) {
    ++seen;
    CHECK(s.height == 29);
    CHECK(s.width == 14);
    CHECK(s.heat_map.size() == 29 * 14);
    CHECK(s.input.size() == 3 * 29 * 14);
    CHECK(std::ranges::none_of(s.truth, [](std::uint8_t t) { return t == ClassMap::ignored; }));
  };
  probe.score(Narrow());
  CHECK(seen == 4);
  CHECK(probe.tiled().smaller == 4);
#if __has_include(<dssl/backend/cpu.hpp>)
  auto two_loading = options;
  two_loading.loader = {.prefetch = 3, .threads = 2};
  two_loading.rules = {.border = 1, .standardise = true};
  auto one_loading = two_loading;
  one_loading.loader = {};
  CHECK(run(Cpu({.threads = 1}), one_loading).defect == run(Cpu({.threads = 2}), two_loading).defect);
#endif
}

TEST_CASE("a bank brings the rules it was made by; a file from before them has none") {
  const TemporaryFolder folder;
  auto features = halves_extractor(Reference<float>());
  using Probe = DefectProbe<HalvesBackbone, Reference<float>>;
  Probe probe(features, {.coreset = 0.3, .top = 4, .rules = {.border = 1, .standardise = true, .place = 0.4}});
  probe.learn(Stripes(6, 1, false));
  CHECK(probe.bank()->options().place_unit > 0);
  save_defect_bank(folder / "bank.safetensors", *probe.bank());
  const auto file = SafetensorsFile::open(folder / "bank.safetensors");
  Probe later(features, {});
  later.take(load_defect_bank(features.backend(), file));
  CHECK(later.rules().border == 1);
  CHECK(later.rules().standardise);
  CHECK(later.rules().place == 0.4);
  CHECK(later.bank()->options().top == 4);
  CHECK(later.bank()->options().place_unit == probe.bank()->options().place_unit);
  CHECK(probe.evaluate(Stripes(6, 2, true)).defect_scores == later.evaluate(Stripes(6, 2, true)).defect_scores);
  // Rules that are none write no entry, as before there were any.
  Probe plain(features, {.coreset = 0.3});
  plain.learn(Stripes(6, 1, false));
  save_defect_bank(folder / "plain.safetensors", *plain.bank());
  const auto old = SafetensorsFile::open(folder / "plain.safetensors");
  for (const char* const key : {"top", "border", "standardise", "place", "place_unit"}) CHECK_FALSE(old.metadata().contains(key));
  later.take(load_defect_bank(features.backend(), old));
  CHECK(later.rules().border == 0);
  CHECK_FALSE(later.rules().standardise);
  const auto damaged = [&](const char* key, const char* value) {
    save_defect_bank(folder / "damaged.safetensors", *plain.bank(), {{key, value}});
    return thrown_by<CheckpointError>(
        [&] { static_cast<void>(load_defect_bank(features.backend(), SafetensorsFile::open(folder / "damaged.safetensors"))); });
  };
  CHECK(contains(damaged("top", "0"), "metadata 'top' is 0; expected a whole number from 1 on"));
  CHECK(contains(damaged("border", "1.5"), "metadata 'border' is 1.5"));
  CHECK(contains(damaged("place", "-1"), "metadata 'place' is -1"));
  CHECK(contains(damaged("place_unit", "inf"), "metadata 'place_unit' is inf"));
  CHECK(contains(damaged("standardise", "yes"), "metadata 'standardise' is 'yes'"));
}

TEST_CASE("a threshold from normal images tells defects from others") {
  auto features = halves_extractor(Reference<double>());
  DefectProbe<HalvesBackbone, Reference<double>> probe(features, {.coreset = 0.5});
  probe.learn(Stripes(10, 1, false));
  const auto calibration = probe.evaluate(Stripes(19, 5, false));
  CHECK(calibration.normal_scores.size() == 19);
  const double threshold = alarm_threshold(calibration.normal_scores, 0.1);
  const auto result = probe.evaluate(Stripes(12, 2, true));
  for (const double score : result.defect_scores) CHECK(score >= threshold);
  Index alarms = 0;
  for (const double score : result.normal_scores) alarms += score >= threshold ? 1 : 0;
  CHECK(alarms <= 2);
}

TEST_CASE("patches with defects in them are not learned; a probe says what is wrong with its use") {
  auto features = halves_extractor(Reference<double>());
  DefectProbe<HalvesBackbone, Reference<double>> probe(features, {.coreset = 1.0});
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(probe.evaluate(Stripes(2, 1, false))); }),
                 "nothing was learned"));
  probe.learn(Stripes(10, 1, true));
  CHECK(probe.bank()->size() < 10 * 24);
  CHECK(probe.bank()->size() >= 10 * 24 - 5 * 9);
  CHECK(auroc(probe.evaluate(Stripes(12, 2, true)).tally.images()) > 0.9);
  std::stop_source stop;
  stop.request_stop();
  probe.learn(Stripes(10, 1, false), stop.get_token());
  CHECK_FALSE(probe.bank().has_value());
  CHECK(contains(thrown_by<OptionError>(
                     [&] { DefectProbe<HalvesBackbone, Reference<double>>(features, {.coreset = 2}); }),
                 "'coreset' is 2"));
  CHECK(contains(thrown_by<OptionError>(
                     [&] { DefectProbe<HalvesBackbone, Reference<double>>(features, {.neighbourhood = 2}); }),
                 "'neighbourhood' is 2"));
}

TEST_CASE("a bank from a file gives the same scores; a file that holds none says so") {
  const TemporaryFolder folder;
  auto features = halves_extractor(Reference<float>());
  DefectProbe<HalvesBackbone, Reference<float>> probe(features, {.coreset = 0.3, .reweighting = 5});
  probe.learn(Stripes(6, 1, false));
  save_defect_bank(folder / "bank.safetensors", *probe.bank(), {{"made_by", "a test"}});
  CHECK(folder.entries() == 1);
  const auto file = SafetensorsFile::open(folder / "bank.safetensors");
  CHECK(file.metadata().at("made_by") == "a test");

  DefectProbe<HalvesBackbone, Reference<float>> later(features, {});
  later.take(load_defect_bank(features.backend(), file));
  CHECK(later.bank()->radius() == probe.bank()->radius());
  CHECK(later.bank()->options().reweighting == 5);
  const DefectResult before = probe.evaluate(Stripes(6, 2, true));
  const DefectResult after = later.evaluate(Stripes(6, 2, true));
  CHECK(before.defect_scores == after.defect_scores);
  CHECK(before.normal_scores == after.normal_scores);
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(load_defect_bank(features.backend(), file, 8)); }),
                 "holds patches of width 16; these features have 8"));
  CHECK_NOTHROW(load_defect_bank(features.backend(), file, 16));

  const std::vector<float> odd{1, 2, std::numeric_limits<float>::infinity(), 4};
  SafetensorsWriter writer;
  writer.add("bank", {2, 2}, std::span<const float>(odd));
  writer.write(folder / "odd.safetensors");
  const auto reading = [&](const std::string& path) {
    return thrown_by<CheckpointError>(
        [&] { static_cast<void>(load_defect_bank(features.backend(), SafetensorsFile::open(path))); });
  };
  CHECK(contains(reading(folder / "odd.safetensors"), "not finite"));
  const std::vector<float> plain{1, 2, 3, 4};
  SafetensorsWriter numberless;
  numberless.add("bank", {1, 4}, std::span<const float>(plain));
  numberless.write(folder / "numberless.safetensors");
  CHECK(contains(reading(folder / "numberless.safetensors"), "'reweighting' is missing"));
  SafetensorsWriter other;
  other.add("weights", {1, 4}, std::span<const float>(plain));
  other.write(folder / "other.safetensors");
  CHECK(contains(reading(folder / "other.safetensors"), "no tensor 'bank'"));
  DefectBank<Reference<float>> narrow(features.backend(), {.width = 4, .pool = 1});
  narrow.restore(MatrixView<const float>(plain.data(), 1, 4), 0);
  CHECK(contains(thrown_by<ShapeError>([&] { later.take(std::move(narrow)); }), "width 4"));
}
