// What labelled images add to fixed filters, and what filters learned in a file.
#include "catch.hpp"

#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/defects/filter_bank_file.hpp>
#include <dssl/defects/filter_probe.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/metrics/metrics.hpp>

#include "noise_images.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Noise with many dots of a pixel, bright and dark, as on every normal image; with `defects` every image has a block too that is
/// a little brighter, and no further from what is normal than some dots are.
class Dotted {
 public:
  /// `marked`: how many of them, the first ones, have the block.
  Dotted(Index count, bool defects, std::uint64_t seed, Index marked = 1000)
      : x_count(count), x_marked(defects ? marked : 0), x_seed(seed) {}
  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return join("dotted ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    const Index side = 64 + 8 * (i % 2);
    RandomStream random({.seed = x_seed, .sample = static_cast<std::uint64_t>(i), .view = 1});
    LabelledImage out{.image = {}, .mask = Image<std::uint8_t>(side, side, 1)};
    Image<std::uint8_t> image = test::noise_image(side, side, 1, {.seed = x_seed, .sample = static_cast<std::uint64_t>(i)},
                                                  [](RandomStream& of) { return 110 + of.below(20); });
    const auto place = [&] { return 9 + static_cast<Index>(random.below(static_cast<std::uint32_t>(side - 22))); };
    for (Index dots = 12; dots > 0; --dots) {
      const Index y = place(), x = place(), length = 1 + static_cast<Index>(random.below(4));
      for (Index k = 0; k < length; ++k) image(y, x + k, 0) = static_cast<std::uint8_t>(random.bernoulli(0.5) ? 180 + random.below(70) : random.below(70));
    }
    const Index top = place(), left = place();
    for (Index y = top; i < x_marked && y < top + 4; ++y) {
      for (Index x = left; x < left + 4; ++x) {
        image(y, x, 0) = static_cast<std::uint8_t>(image(y, x, 0) / 2 + 90);
        out.mask(y, x, 0) = 255;
      }
    }
    out.image = std::move(image);
    return out;
  }

 private:
  Index x_count;
  Index x_marked;
  std::uint64_t x_seed;
};

struct Told {
  std::vector<double> scores;  // of normal images, then of those with a defect
  double images = 0, pixels = 0;
};

Told told_by(FilterProbe& probe) {
  Told out;
  DefectResult result;
  probe.on_score = [&](const DefectScore& image) {
    out.scores.push_back(image.score);
    result.add(image);
  };
  probe.score(Dotted(16, false, 3));
  probe.score(Dotted(16, true, 4));
  out.images = auroc(result.tally.images());
  out.pixels = auroc(result.tally.pixels());
  return out;
}

constexpr FilterLabelOptions few_trees{.trees = {.trees = 24, .threads = 1}, .normal_patches = 1500, .folds = 4};

}  // namespace

TEST_CASE("what a patch's surroundings are, beyond the edge of the grid too") {
  const std::vector<float> rows{0, 10, 1, 11, 2, 12, 3, 13, 4, 14, 5, 15};  // 2 x 3 cells of width 2
  std::vector<float> out{7};
  append_surroundings(out, rows, 2, {2, 3}, 4);
  CHECK(out.size() == 1 + 7 * 2);
  CHECK((out[0] == 7 && out[1] == 4 && out[2] == 14));
  // The ring of 8 reads 0 1 2 / 3 5 / 3 4 5, its last row beyond the edge; that of 16 0 0 1 2 2 / 0 2 / 3 5 / 3 5 / 3 3 4 5 5.
  CHECK(out[3] == 23 / 8.0F);
  CHECK(out[4] == 10 + 23 / 8.0F);
  CHECK(std::vector<float>(out.begin() + 5, out.begin() + 9) == std::vector<float>{5, 15, 0, 10});
  CHECK(out[9] == 43 / 16.0F);
  CHECK(std::vector<float>(out.begin() + 11, out.begin() + 15) == std::vector<float>{5, 15, 0, 10});
  const std::vector<float> mirrored{2, 12, 1, 11, 0, 10, 5, 15, 4, 14, 3, 13};
  std::vector<float> other{7};
  append_surroundings(other, mirrored, 2, {2, 3}, 4);
  CHECK(other == out);
}

TEST_CASE("of few images none found is no certainty") {
  CHECK(detail::share_error(0, 10) == Approx(std::sqrt(1.0 / 12 * 11 / 12 / 10)));
  CHECK(detail::share_error(1, 10) == Approx(detail::share_error(0, 10)));
  CHECK(detail::share_error(0.5, 10000) == Approx(0.005));
  CHECK(detail::share_error(0, 10) > 0.025);  // one found at one of the four shares of false alarms
}

TEST_CASE("labels teach filters a defect that is less unusual than what is normal, from one image on") {
  const Dotted normal(20, false, 1);
  FilterProbe probe({.channels = 1, .smoothing = 1});
  CHECK(contains(thrown_by<DataError>([&] { probe.learn_labels(normal, Dotted(2, true, 2), few_trees); }), "before normal ones"));
  probe.learn(normal);
  const Told without = told_by(probe);
  CHECK(without.images < 0.85);

  const FilterLabelChoice choice = probe.learn_labels(normal, Dotted(8, true, 2), few_trees);
  CHECK(choice.images == 8);
  CHECK((choice.patches >= 8 && choice.patches <= 16));
  CHECK(choice.folds == 4);
  CHECK(choice.found > choice.found_without);
  CHECK(probe.labels()->trees.size() == choice.trees);
  CHECK(probe.labels()->scales.share == choice.share);
  const Told with = told_by(probe);
  CHECK(with.images > 0.95);
  CHECK(with.pixels > without.pixels);

  // On normal patches either score has a mean of 0 and a deviation of 1: so has a share of one of them and the rest of the other.
  const FilterScales scales = probe.labels()->scales;
  CHECK(scales.distance.mean > 2);
  CHECK(scales.of(scales.distance.mean, scales.logit.mean) == Approx(0).margin(1e-9));
  CHECK(scales.of(scales.distance.mean + scales.distance.deviation, scales.logit.mean) == Approx(1 - scales.share).margin(1e-9));

  // The same for any threads, and from a file, with the trend over sizes that was set.
  FilterProbe same({.channels = 1, .smoothing = 1, .loader = {.threads = 3}});
  same.learn(normal);
  FilterLabelOptions threaded = few_trees;
  threaded.trees.threads = 4;
  static_cast<void>(same.learn_labels(normal, Dotted(8, true, 2), threaded));
  CHECK(told_by(same).scores == with.scores);
  const TemporaryFolder folder;
  probe.set_size_trend({.slope = 0.5, .usual = 70});
  const Told free = told_by(probe);
  CHECK(free.scores != with.scores);
  save_filter_bank(folder / "bank.safetensors", probe, {{"threshold", "1"}});
  const SafetensorsFile file = SafetensorsFile::open(folder / "bank.safetensors");
  FilterProbe read = load_filter_bank(file);
  CHECK(read.learned() == probe.learned());
  CHECK(read.options().smoothing == 1);
  CHECK(told_by(read).scores == free.scores);
  CHECK(file.metadata().at("threshold") == "1");
  CHECK(told_by(read).pixels == free.pixels);

  // Learned anew without labels, it is what it was.
  probe.learn(normal);
  CHECK(!probe.labels());
  CHECK(told_by(probe).scores == without.scores);
  save_filter_bank(folder / "plain.safetensors", probe);
  FilterProbe plain = load_filter_bank(SafetensorsFile::open(folder / "plain.safetensors"));
  CHECK(told_by(plain).scores == without.scores);

  // One image: nothing can be held out.
  // One normal image lies in a fold without which nothing is learned: its scores have a scale all the same.
  static_cast<void>(probe.learn_labels(Dotted(1, false, 1), Dotted(2, true, 2, 1), few_trees));
  CHECK(probe.labels()->scales.distance.mean > 2);

  const FilterLabelChoice one = probe.learn_labels(normal, Dotted(1, true, 2), few_trees);
  CHECK(one.folds == 0);
  CHECK(one.trees == 24);
  CHECK(told_by(probe).images > without.images);
  CHECK(contains(thrown_by<DataError>([&] { probe.learn_labels(normal, Dotted(3, false, 2), few_trees); }), "no patch of 3 labelled images shows a defect"));
  const auto refused = [&](const FilterLabelOptions& options) {
    return thrown_by<OptionError>([&] { probe.learn_labels(normal, Dotted(1, true, 2), options); });
  };
  CHECK(contains(refused({.folds = 1}), "'folds' is 1"));
  CHECK(contains(refused({.normal_images = 0}), "'normal_images' is 0"));
  CHECK(contains(refused({.normal_patches = 0}), "'normal_patches' is 0"));
  CHECK(contains(refused({.trees = {.depth = 0}}), "'depth' is 0"));
}

TEST_CASE("a file of what filters learned is refused for what is wrong in it") {
  const TemporaryFolder folder;
  const std::string path = folder / "bank.safetensors";
  FilterProbe probe({.channels = 1});
  CHECK(contains(thrown_by<DataError>([&] { save_filter_bank(path, probe); }), "before it learned"));
  probe.learn(Dotted(6, false, 1));
  static_cast<void>(probe.learn_labels(Dotted(6, false, 1), Dotted(1, true, 2), {.trees = {.trees = 2, .depth = 1}}));
  const auto refused = [&](const std::map<std::string, std::string>& changed) {
    save_filter_bank(path, probe, changed);
    return thrown_by<CheckpointError>([&] { static_cast<void>(load_filter_bank(SafetensorsFile::open(path))); });
  };
  CHECK(contains(refused({}), "(nothing was thrown)"));
  CHECK(contains(refused({{"share", "2"}}), "metadata 'share' is 2; expected 0 to 1"));
  CHECK(contains(refused({{"patch", "1"}}), "metadata 'patch' is 1; expected a whole number from 2 on"));
  CHECK(contains(refused({{"patch", "5000"}}), "metadata 'patch' is 5000; expected 2 to 4096"));
  CHECK(contains(refused({{"top", "x"}}), "metadata 'top' is 'x'; expected a number"));
  CHECK(contains(refused({{"smoothing", "1e9"}}), "metadata 'smoothing' is 1e+09; expected 0 to 16384 pixels"));
  CHECK(contains(refused({{"logit_deviation", "0"}}), "'logit_deviation' are "));
  CHECK(contains(refused({{"trees_start", "inf"}}), "a tree has a number that is not finite"));
  const auto with = [&](const char* name, std::vector<Index> shape, const auto& values) {
    SafetensorsWriter writer;
    save_filter_bank(path, probe);
    {
      const SafetensorsFile good = SafetensorsFile::open(path);
      for (const auto& [key, value] : good.metadata()) writer.metadata(key, value);
    }
    const std::vector<double> mean(13), factor(13 * 13, 1.0);
    const std::vector<std::int32_t> columns{0, 0};
    const std::vector<float> thresholds{0, 0}, leaves{0, 0, 0, 0};
    const auto put = [&](const char* own, std::vector<Index> extents, const auto& numbers) {
      if (std::string(own) == name) return writer.add(own, shape, std::span(values));
      writer.add(own, std::move(extents), std::span(numbers));
    };
    put("filters.mean", {13}, mean);
    put("filters.factor", {13, 13}, factor);
    put("trees.columns", {2, 1}, columns);
    put("trees.thresholds", {2, 1}, thresholds);
    put("trees.values", {2, 2}, leaves);
    writer.write(folder / "other.safetensors");
    return thrown_by<CheckpointError>([&] { static_cast<void>(load_filter_bank(SafetensorsFile::open(folder / "other.safetensors"))); });
  };
  CHECK(contains(with("", {}, std::vector<float>{}), "(nothing was thrown)"));
  CHECK(contains(with("filters.mean", {2}, std::vector<double>{1, 2}), "other.safetensors: a mean of 2 and a factor of 169"));
  CHECK(contains(with("filters.factor", {13, 13}, std::vector<double>(169, 0.0)), "not above 0"));
  CHECK(contains(with("trees.columns", {2, 1}, std::vector<std::int32_t>{0, 91}), "asks for column 91; expected -1 to 90"));
  CHECK(contains(with("trees.values", {1, 3}, std::vector<float>(3)), "'trees.values' is [1, 3]; expected trees by leaves"));
  CHECK(contains(with("trees.values", {1, 2}, std::vector<float>(2)), "2 leaves, 2 columns and 2 thresholds"));
}
