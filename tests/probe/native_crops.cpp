// Crops at an image's own resolution: which they are, that masks go along, and what training on them comes to.
#include "catch.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/probe/fine_tuned_segmenter.hpp>
#include <dssl/probe/held_out_tuning.hpp>
#include <dssl/probe/native_crops.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// An image whose pixel says where it is: channel 0 the row, 1 the column; ids of the mask likewise, 200 for the row of
/// `marked`.
LabelledImage placed(Index rows, Index columns) {
  Image<std::uint8_t> image(rows, columns, 2);
  LabelledImage out{.image = {}, .mask = Image<std::uint8_t>(rows, columns, 1)};
  for (Index y = 0; y < rows; ++y) {
    for (Index x = 0; x < columns; ++x) {
      image(y, x, 0) = static_cast<std::uint8_t>(y);
      image(y, x, 1) = static_cast<std::uint8_t>(x);
      out.mask(y, x, 0) = static_cast<std::uint8_t>((y * 31 + x * 17) % 200);
    }
  }
  out.image = std::move(image);
  return out;
}

/// The pixel's value again, of a renderer whose mean is 0 and deviation 1.
Index level(float value) { return std::lround(255.0 * static_cast<double>(value)); }

InputRenderer plain_renderer(Index rows, Index columns, Index image_channels, Index classes) {
  const auto n = static_cast<std::size_t>(image_channels);
  return {{.height = rows,
           .width = columns,
           .channels = image_channels,
           .mean = std::vector<float>(n, 0.0F),
           .deviation = std::vector<float>(n, 1.0F)},
          ClassMap({.classes = classes, .void_ids = {}})};
}

constexpr NativeCropOptions as_it_is{.brightness = 0, .contrast = 0};

/// Pixels of two levels drawn one by one; where the mask is 1, the levels alternate, beginning with one or the other:
/// neither mean nor contrast tells them apart.
class Gratings {
 public:
  Gratings(Index count, Index with, std::uint64_t seed) : x_count(count), x_with(with), x_seed(seed) {}
  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return join("grating ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    if (i == unreadable) throw ImageError(name(i), "is broken");
    RandomStream random({.seed = x_seed, .sample = static_cast<std::uint64_t>(i)});
    Image<std::uint8_t> image(40, 52, 1);
    LabelledImage out{.image = {}, .mask = Image<std::uint8_t>(40, 52, 1)};
    const Index top = random.below(24), left = random.below(36);
    const int sign = random.bernoulli(0.5) ? 1 : -1;
    for (Index y = 0; y < 40; ++y) {
      for (Index x = 0; x < 52; ++x) {
        const bool inside = i < x_with && y >= top && y < top + 16 && x >= left && x < left + 16;
        const int drawn = random.bernoulli(0.5) ? 1 : -1;
        const int wave = (x + y) % 2 == 0 ? sign : -sign;
        image(y, x, 0) =
            static_cast<std::uint8_t>(118 + static_cast<int>(random.below(21)) + 40 * (inside ? wave : drawn));
        out.mask(y, x, 0) = inside ? 1 : 0;
      }
    }
    out.image = std::move(image);
    return out;
  }
  Index unreadable = -1;

 private:
  Index x_count, x_with;
  std::uint64_t x_seed;
};

constexpr ViTConfig small_vit{.image = 16, .patch = 4, .width = 16, .depth = 1, .heads = 2, .channels = 1};
using SmallSegmenter = FineTunedSegmenter<ViT<small_vit>, Cpu>;

std::vector<float> drawn_weights() {
  ParameterLayout layout;
  ViTFamily::add_parameters(layout, small_vit, {}, "");
  std::vector<float> weights(static_cast<std::size_t>(layout.total()));
  initialise(std::span<float>(weights), layout, 5);
  return weights;
}

SmallSegmenter small_segmenter(Index steps, double decay, int threads = 1) {
  return SmallSegmenter(
      Cpu({.threads = threads}),
      {.height = 16, .width = 16, .batch = 8, .steps = steps, .learning_rate = 1e-2, .layer_decay = decay, .seed = 3},
      {.classes = 2, .void_ids = {}}, {.loader = {.threads = threads}, .skip = {.min_bad = 100}}, 16);
}

/// IoU of the grating on images that nobody learned from.
double defect_iou(SmallSegmenter& segmenter, Index overlap = 8) {
  return segmenter.evaluate_windows(Gratings(12, 8, 77), {.overlap = overlap}).scores().iou[1];
}

}  // namespace

TEST_CASE("of n crops the balanced share lies about labelled pixels, however few the images that have some") {
  // One labelled image of eight, with one labelled pixel of each of two classes.
  LabelledParts parts{.labelled = {5}, .others = {0, 1, 2, 3, 4, 6, 7}};
  for (const double share : {0.0, 0.3, 0.5, 1.0}) {
    CropOrder order(parts, share, 9);
    Index balanced = 0;
    std::map<Index, Index> seen;
    for (Index n = 0; n < 800; ++n) {
      const CropOrder::Sample sample = order(n);
      balanced += sample.balanced ? 1 : 0;
      if (sample.balanced) CHECK(sample.image == 5);
      if (!sample.balanced) ++seen[sample.image];
      REQUIRE(balanced == static_cast<Index>(std::floor(share * static_cast<double>(n + 1))));
    }
    // The rest is of all images alike: each once an epoch.
    for (const auto& [image, times] : seen) CHECK(std::abs(static_cast<double>(times) - (1 - share) * 100) <= 1);
    CHECK(seen.size() == (share < 1 ? 8U : 0U));
  }
  LabelledParts none;
  none.others = {0, 1};
  CHECK_FALSE(CropOrder(none, 0.5, 9)(1).balanced);
  CHECK(contains(thrown_by<DataError>([] { CropOrder(LabelledParts{}, 0.5, 9); }), "holds no images"));

  Image<std::uint8_t> mask(60, 80, 1);
  mask(3, 70, 0) = 1;
  mask(50, 10, 0) = 2;
  for (Index x = 0; x < 40; ++x) mask(59, x, 0) = 2;  // a class of many pixels is drawn no more often
  const ClassMap classes({.classes = 3, .void_ids = {}});
  Index first = 0, anywhere = 0;
  for (std::uint64_t n = 0; n < 1000; ++n) {
    const auto shows = [&](const NativeCrop& crop, std::uint8_t id) {
      for (Index y = 0; y < 16; ++y) {
        for (Index x = 0; x < 24; ++x) {
          const auto [v, u] = crop.pixel(y, x);
          REQUIRE((v >= 0 && v < 60 && u >= 0 && u < 80));
          if (mask(v, u, 0) == id) return true;
        }
      }
      return false;
    };
    const NativeCrop crop = drawn_native_crop(mask, classes, 16, 24, true, {}, {.seed = 1, .sample = n});
    const bool one = shows(crop, 1), two = shows(crop, 2);
    CHECK((one || two));
    first += one ? 1 : 0;
    const NativeCrop other = drawn_native_crop(mask, classes, 16, 24, false, {}, {.seed = 1, .sample = n});
    anywhere += shows(other, 1) || shows(other, 2) ? 1 : 0;
  }
  CHECK(std::abs(static_cast<double>(first) - 500) < 60);
  CHECK(anywhere < 250);
  CHECK(drawn_native_crop(mask, classes, 16, 24, true, {}, {.seed = 1, .sample = 4}) ==
        drawn_native_crop(mask, classes, 16, 24, true, {}, {.seed = 1, .sample = 4}));
}

TEST_CASE(
    "a crop's mask lies under its image, whichever way it is turned and mirrored; light changes leave masks alone") {
  const LabelledImage picture = placed(40, 50);
  const InputRenderer renderer = plain_renderer(8, 12, 2, 200);
  std::set<std::pair<int, bool>> ways;
  for (std::uint64_t n = 0; n < 200; ++n) {
    const NativeCrop crop =
        drawn_native_crop(picture.mask, renderer.classes(), 8, 12, n % 2 == 0, as_it_is, {.seed = 2, .sample = n});
    ways.emplace(crop.turns, crop.flip);
    const LabelledInput input = render_native_crop(renderer, picture, crop, 8, 12);
    REQUIRE(input.image.size() == 2 * 96);
    REQUIRE(input.labels.size() == 96);
    std::set<std::pair<Index, Index>> shown;
    for (std::size_t i = 0; i < 96; ++i) {
      const Index v = level(input.image[i]), u = level(input.image[96 + i]);
      REQUIRE(input.labels[i] == picture.mask(v, u, 0));
      shown.emplace(v, u);
    }
    CHECK(shown.size() == 96);  // every pixel once: no stretching
    // Down the first column and along the first row of the crop, the image goes on by one pixel.
    const auto at = [&](Index i) {
      return std::pair(level(input.image[static_cast<std::size_t>(i)]),
                       level(input.image[static_cast<std::size_t>(96 + i)]));
    };
    const auto [dv, du] = std::pair(at(12).first - at(0).first, at(12).second - at(0).second);
    const auto [rv, ru] = std::pair(at(1).first - at(0).first, at(1).second - at(0).second);
    CHECK(std::abs(dv) + std::abs(du) == 1);
    CHECK(std::abs(rv) + std::abs(ru) == 1);
    // Clockwise: down and right turn with the window; mirrored, the turn from right to down is the other way.
    CHECK(rv * du - ru * dv == (crop.flip ? 1 : -1));
    const std::pair<Index, Index> down[4] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
    const auto expected = down[crop.turns];
    CHECK(std::pair(dv, crop.flip ? -du : du) == expected);
  }
  CHECK(ways.size() == 8);
  CHECK(drawn_native_crop(picture.mask, renderer.classes(), 8, 12, true, {.flips = false, .turns = false}, {.seed = 2})
            .turns == 0);

  // Labels coarser than the crop are those of the middle pixels of their cells.
  const NativeCrop upright{.top = 4, .left = 6, .height = 8, .width = 12};
  const LabelledInput coarse = render_native_crop(renderer, picture, upright, 4, 4);
  REQUIRE(coarse.labels.size() == 16);
  CHECK(coarse.labels[5] == picture.mask(4 + 3, 6 + 4, 0));

  // Light: about the crop's mean, in all channels alike.
  NativeCrop bright = upright;
  bright.gain = 1.5;
  bright.shift = 0.1;
  const LabelledInput as_taken = render_native_crop(renderer, picture, upright, 8, 12),
                      changed = render_native_crop(renderer, picture, bright, 8, 12);
  CHECK(changed.labels == as_taken.labels);
  double mean = 0;
  for (const float v : as_taken.image) mean += static_cast<double>(v) / 192;
  for (std::size_t i = 0; i < 192; ++i)
    REQUIRE(static_cast<double>(changed.image[i]) ==
            Approx(1.5 * (static_cast<double>(as_taken.image[i]) - mean) + mean + 0.1).margin(1e-6));
  double low = 1, high = 1;
  for (std::uint64_t n = 0; n < 300; ++n) {
    const NativeCrop crop =
        drawn_native_crop(picture.mask, renderer.classes(), 8, 12, false, {}, {.seed = 2, .sample = n});
    low = std::min(low, crop.gain);
    high = std::max(high, crop.gain);
    REQUIRE(std::abs(crop.shift) <= 0.1);
  }
  CHECK((low >= 0.8 && low < 0.85 && high <= 1.2 && high > 1.15));
  CHECK_THROWS_AS(render_native_crop(plain_renderer(8, 8, 2, 200), picture, upright, 8, 8), ShapeError);
  CHECK(contains(thrown_by<OptionError>([] { NativeCropOptions{.balanced = 1.5}.validate(); }),
                 "'balanced' is 1.5; expected 0 to 1"));
}

TEST_CASE("an image smaller than the crop is mirrored beyond its ends, and what is beyond is void in the mask") {
  const LabelledImage picture = placed(5, 30);
  const InputRenderer renderer = plain_renderer(8, 12, 2, 200);
  std::set<Index> tops;
  for (std::uint64_t n = 0; n < 100; ++n) {
    const NativeCrop crop =
        drawn_native_crop(picture.mask, renderer.classes(), 8, 12, n % 2 == 0, as_it_is, {.seed = 2, .sample = n});
    const LabelledInput input = render_native_crop(renderer, picture, crop, 8, 12);
    Index labelled = 0;
    for (Index y = 0; y < 8; ++y) {
      for (Index x = 0; x < 12; ++x) {
        const auto i = static_cast<std::size_t>(y * 12 + x);
        auto [v, u] = crop.pixel(y, x);
        const bool inside = v >= 0 && v < 5 && u >= 0 && u < 30;
        CHECK((input.labels[i] != ClassMap::ignored) == inside);
        labelled += inside ? 1 : 0;
        // By hand: to and fro between the first and the last pixel.
        while (v < 0 || v > 4) v = v < 0 ? -v : 8 - v;
        while (u < 0 || u > 29) u = u < 0 ? -u : 58 - u;
        REQUIRE(level(input.image[i]) == v);
        REQUIRE(level(input.image[96 + i]) == u);
      }
    }
    if (crop.turns % 2 == 0) tops.insert(crop.top);
    CHECK(labelled == (crop.turns % 2 == 0 ? 5 * 12 : 5 * 8));  // all of the short axis
    Index counted = 0;
    for (const Index pixels : input.census.pixels) counted += pixels;
    CHECK(counted == labelled);
  }
  CHECK(tops == std::set<Index>{-3, -2, -1, 0});
}

TEST_CASE(
    "batches of crops are the same bits for 1, 2 and 4 threads; an unreadable image is replaced, and parts say who has "
    "what") {
  Gratings source(9, 4, 1);
  source.unreadable = 6;
  const InputRenderer renderer({.height = 16, .width = 24, .channels = 1}, ClassMap({.classes = 2, .void_ids = {}}));
  const SkipPolicy bears{.min_bad = 100};
  const LabelledParts parts = labelled_parts(source, renderer.classes(), {}, bears, {}, {});
  CHECK(parts.labelled == std::vector<Index>{0, 1, 2, 3});
  CHECK(parts.others == std::vector<Index>{4, 5, 7, 8});
  CHECK(parts.census.pixels[1] == 4 * 256);
  LabelledParts hopeful = parts;
  hopeful.others.push_back(6);
  std::vector<std::vector<float>> images[3];
  std::vector<std::vector<std::uint8_t>> labels[3];
  Index with = 0;
  for (std::size_t way = 0; way < 3; ++way) {
    Index batches = 0;
    each_crop_batch(renderer, source, hopeful, 16, 24, 20, 3, {},
                    {.prefetch = 5, .threads = way == 2 ? 4 : static_cast<int>(way) + 1}, bears, 7, {}, {},
                    [&](const std::vector<LoadedInput>& batch) {
                      for (const LoadedInput& sample : batch) {
                        CHECK(sample.index != 6);
                        images[way].push_back(sample.input.image);
                        labels[way].push_back(sample.input.labels);
                        if (way == 0)
                          with += std::count(labels[way].back().begin(), labels[way].back().end(), 1) > 0 ? 1 : 0;
                      }
                      return ++batches < 15;
                    });
    CHECK(batches == 15);
  }
  CHECK(images[0].size() == 45);
  CHECK(images[0] == images[1]);
  CHECK(images[0] == images[2]);
  CHECK(labels[0] == labels[2]);
  CHECK(with >= 22);
  CHECK(images[0][0] != images[0][2]);

  // What stands in for an image that can no longer be read is of the same parts: the one behind it may be held out.
  const LabelledParts some{.labelled = {3}, .others = {6}};
  std::set<Index> used, skipped;
  each_crop_batch(renderer, source, some, 16, 24, 4, 3, {}, {.threads = 1}, bears, 7, {}, {},
                  [&](const std::vector<LoadedInput>& batch) {
                    for (const LoadedInput& sample : batch) {
                      used.insert(sample.index);
                      for (const SkippedImage& image : sample.skipped) skipped.insert(image.index);
                    }
                    return true;
                  });
  CHECK(used == std::set<Index>{3});
  CHECK(skipped == std::set<Index>{6});
}

TEST_CASE(
    "a whole backbone learns a made-up defect by crops that a head on frozen random weights does not; 2 threads to the "
    "same bits") {
  const auto trained = [](double decay, int threads) {
    auto segmenter = small_segmenter(250, decay, threads);
    segmenter.network().load(drawn_weights());
    const Gratings source(24, 12, 1);
    segmenter.train_crops(source, segmenter.parts(source), {}, 0, {}, [](Index /*step*/) { return true; });
    return std::pair(defect_iou(segmenter), segmenter.network().snapshot());
  };
  const auto [tuned, weights] = trained(1.0, 1);
  const auto [frozen, none] = trained(0.0, 1);
  CAPTURE(tuned, frozen);
  CHECK(tuned > 0.6);
  CHECK(frozen < 0.3);
  CHECK(trained(1.0, 2).second == weights);
}

TEST_CASE("windows of an image are those that its own crops are: logits and figures at the image's own size") {
  auto segmenter = small_segmenter(1, 1.0);
  segmenter.network().load(drawn_weights());
  const Gratings source(3, 2, 4);
  Index seen = 0, right = 0;
  std::vector<std::vector<std::uint8_t>> predicted;
  segmenter.on_prediction = [&](const ProbePrediction& p) {
    CHECK((p.height == 40 && p.width == 52));
    REQUIRE(p.predicted.size() == 40 * 52);
    REQUIRE(p.truth.size() == 40 * 52);
    const LabelledImage image = source.load(seen++);
    for (std::size_t i = 0; i < p.truth.size(); ++i) {
      REQUIRE(p.truth[i] == image.mask.pixels()[i]);
      right += p.truth[i] == p.predicted[i] ? 1 : 0;
    }
  };
  const SegmentationResult result = segmenter.evaluate_windows(source, {.overlap = 4});
  CHECK(seen == 3);
  CHECK(result.confusion(0, 0) + result.confusion(1, 1) == right);
  CHECK(result.census.pixels[1] == 2 * 256);
  const auto passed = segmenter.predict_windows(source, {.overlap = 4}, {}, [&](const PatchMap<float>& map) {
    CHECK((map.grid.height == 10 && map.grid.width == 13));
    // The first window's first patch, by the network itself.
    std::vector<float> window;
    for (Index y = 0; y < 16; ++y) {
      for (Index x = 0; x < 16; ++x) window.push_back(map.input.image[static_cast<std::size_t>(y * 52 + x)]);
    }
    // And the crop there is that window.
    const LabelledInput crop =
        render_native_crop(segmenter.renderer(), source.load(map.index), {.height = 16, .width = 16}, 16, 16);
    REQUIRE(crop.image.size() == window.size());
    for (std::size_t i = 0; i < window.size(); ++i)
      REQUIRE(static_cast<double>(crop.image[i]) == Approx(static_cast<double>(window[i])).margin(1e-5));
    const std::vector<float> logits(map.patches.begin(), map.patches.begin() + 2);
    segmenter.network().forward(window);
    CHECK(static_cast<double>(segmenter.network().logits()(0, 0)) ==
          Approx(static_cast<double>(logits[0])).margin(1e-6));
    CHECK(static_cast<double>(segmenter.network().logits()(0, 1)) ==
          Approx(static_cast<double>(logits[1])).margin(1e-6));
  });
  CHECK(passed.windows == 3 * 3 * 4);
}

TEST_CASE("at another scale crops in training are those that windows of that scale are cut from, with their labels") {
  CHECK(contains(thrown_by<OptionError>([] { NativeCropOptions{.scale = 0}.validate(); }), "'scale' is 0; expected above 0"));
  auto segmenter = small_segmenter(1, 1.0);
  segmenter.network().load(drawn_weights());
  const Gratings source(3, 2, 4);
  const InputRenderer& renderer = segmenter.renderer();
  const auto picture = [&](Index i) { return scaled(source.load(i), 0.5, renderer.options().interpolation); };
  Index seen = 0, marked = 0;
  const auto passed = segmenter.predict_windows(source, {.scale = 0.5, .overlap = 4}, {}, [&](const PatchMap<float>& map) {
    REQUIRE((map.height == 20 && map.width == 26));
    const LabelledImage own = picture(map.index);
    REQUIRE((own.mask.height() == 20 && own.mask.width() == 26));
    for (std::size_t i = 0; i < map.input.labels.size(); ++i) {
      REQUIRE(map.input.labels[i] == renderer.classes().class_of(own.mask.pixels()[i]));
      marked += map.input.labels[i] == 1 ? 1 : 0;
    }
    const LabelledInput crop = render_native_crop(renderer, own, {.height = 16, .width = 16}, 16, 16);
    for (Index y = 0; y < 16; ++y) {
      for (Index x = 0; x < 16; ++x)
        REQUIRE(static_cast<double>(crop.image[static_cast<std::size_t>(y * 16 + x)]) ==
                Approx(static_cast<double>(map.input.image[static_cast<std::size_t>(y * 26 + x)])).margin(1e-5));
    }
    ++seen;
  });
  CHECK(seen == 3);
  CHECK(marked == 2 * 64);
  CHECK(passed.windows == 3 * 2 * 2);

  const NativeCropOptions half{.scale = 0.5};
  const LabelledParts parts = segmenter.parts(source);
  CropOrder order(parts, half.balanced, 7);
  Index n = 0;
  each_crop_batch(renderer, source, parts, 16, 16, 3, 4, half, {.threads = 1}, {}, 7, {}, {}, [&](const std::vector<LoadedInput>& batch) {
    for (const LoadedInput& sample : batch) {
      const CropOrder::Sample drawn = order(n);
      const LabelledImage own = picture(drawn.image);
      const NativeCrop crop = drawn_native_crop(own.mask, renderer.classes(), 16, 16, drawn.balanced, half,
                                                {.seed = 7, .sample = static_cast<std::uint64_t>(n++), .view = 14, .purpose = Purpose::probe});
      const LabelledInput expected = render_native_crop(renderer, own, crop, 16, 16);
      CHECK(sample.index == drawn.image);
      CHECK(sample.input.image == expected.image);
      CHECK(sample.input.labels == expected.labels);
    }
    return true;
  });
  CHECK(n == 12);
}

TEST_CASE("training ends when held-out images are found no better, with the weights of the best look") {
  const std::vector<float> start = drawn_weights();
  const Gratings source(40, 30, 1);
  // What the figure says is made up: best at the third look.
  const auto told = [](Index step) { return step == 6 ? 0.9 : 0.1 + 0.001 * static_cast<double>(step); };
  const HeldOutTuningOptions options{.look_every = 2, .patience = 3, .few = 20, .hold_out = 0.2};
  auto segmenter = small_segmenter(40, 1.0);
  std::vector<float> at_best;
  std::set<Index> held;
  const HeldOutTuning out = tune_held_out(segmenter, std::span<const float>(start), source, options,
                                          [&](const auto& images, Index fold, Index step) {
                                            CHECK(fold == 0);
                                            for (Index i = 0; i < images.size(); ++i) held.insert(images.number(i));
                                            if (step == 6) at_best = segmenter.network().snapshot();
                                            return told(step);
                                          });
  CHECK(out.trainings == 1);
  CHECK(out.steps == 6);
  CHECK(out.figure == 0.9);
  CHECK(out.steps_run == 12);  // three looks after the best
  REQUIRE(out.looks.size() == 6);
  CHECK(out.looks[2].step == 6);
  CHECK(segmenter.network().snapshot() == at_best);
  // The first fifth of the 30 labelled ones, and as many others as there are in their fifth: 2 of 10.
  CHECK(held == std::set<Index>{0, 1, 2, 3, 4, 5, 30, 31});

  // Of equal figures the earliest counts, and a stop request leaves the weights where they are: not at the best look.
  const HeldOutTuning equal =
      tune_held_out(segmenter, std::span<const float>(start), source, {.look_every = 2, .patience = 2},
                    [&](const auto&, Index, Index) { return 0.5; });
  CHECK(equal.steps == 2);
  CHECK(equal.steps_run == 6);
  std::stop_source stop;
  std::vector<float> at_stop;
  const HeldOutTuning stopped = tune_held_out(
      segmenter, std::span<const float>(start), source, {.look_every = 2, .patience = 9},
      [&](const auto&, Index, Index step) {
        if (step == 6) {
          at_stop = segmenter.network().snapshot();
          stop.request_stop();
        }
        return 1.0 / static_cast<double>(step);
      },
      stop.get_token());
  CHECK(stopped.steps_run == 6);
  CHECK(segmenter.network().snapshot() == at_stop);
  REQUIRE(stopped.looks.size() == 3);
  CHECK(stopped.looks[0].figure == 0.5);

  // Nobody trains on what is held out.
  std::vector<std::atomic<Index>> loaded(40);
  struct Watched {
    const Gratings& from;
    std::vector<std::atomic<Index>>& loaded;
    [[nodiscard]] Index size() const { return from.size(); }
    [[nodiscard]] std::string name(Index i) const { return from.name(i); }
    [[nodiscard]] LabelledImage load(Index i) const {
      ++loaded[static_cast<std::size_t>(i)];
      return from.load(i);
    }
  };
  auto one = SmallSegmenter(Cpu({.threads = 1}), {.height = 16, .width = 16, .batch = 8, .steps = 20, .seed = 3},
                            {.classes = 2, .void_ids = {}}, {.loader = {.prefetch = 1, .threads = 1}}, 16);
  one.on_step = [&](Index step, double /*loss*/) {
    if (step == 1) std::ranges::for_each(loaded, [](auto& times) { times = 0; });  // what all masks were looked at for
  };
  bool first_look = true;
  static_cast<void>(
      tune_held_out(one, std::span<const float>(start), Watched{source, loaded}, {.look_every = 20},
                    [&](const auto& images, Index, Index) {
                      if (std::exchange(first_look, false)) {
                        // 150 crops, half of them of the 24 labelled images in turn: all of these, and none that is
                        // held out.
                        for (Index i = 0; i < images.size(); ++i)
                          CHECK(loaded[static_cast<std::size_t>(images.number(i))] == 0);
                        CHECK(std::ranges::count_if(loaded, [](const auto& times) { return times > 0; }) == 32);
                      }
                      return 0.0;
                    }));
  CHECK_FALSE(first_look);
}

TEST_CASE(
    "few labelled images are cross-validated, each held out once; then all of them train for the best mean's steps") {
  const std::vector<float> start = drawn_weights();
  const Gratings source(9, 5, 1);
  auto segmenter = small_segmenter(12, 1.0);
  std::map<Index, std::set<Index>> held;
  // Folds differ; in the mean the second look of three is best.
  const HeldOutTuning out =
      tune_held_out(segmenter, std::span<const float>(start), source, {.look_every = 5, .few = 20, .folds = 3},
                    [&](const auto& images, Index fold, Index step) {
                      for (Index i = 0; i < images.size(); ++i) held[fold].insert(images.number(i));
                      return step == 10 ? 0.5 : fold == 0 ? 0.6 : 0.1;
                    });
  CHECK(out.trainings == 3);
  CHECK(held[0] == std::set<Index>{0, 1, 5, 6});  // blocks of the five labelled, and of the four others
  CHECK(held[1] == std::set<Index>{2, 3, 7});
  CHECK(held[2] == std::set<Index>{4, 8});
  REQUIRE(out.looks.size() == 3);
  CHECK(out.looks[2].step == 12);
  CHECK(out.looks[0].figure == Approx(0.8 / 3));
  CHECK(out.steps == 10);
  CHECK(out.steps_run == 3 * 12 + 10);
  // To the bits what training on all of them for ten steps comes to.
  auto again = small_segmenter(12, 1.0);
  again.network().load(start);
  again.train_crops(source, again.parts(source), {}, 10, {}, [](Index /*step*/) { return true; });
  CHECK(again.network().snapshot() == segmenter.network().snapshot());

  // Of equal means the earliest counts; one that is stopped has no means, and no look that says so.
  CHECK(tune_held_out(segmenter, std::span<const float>(start), Gratings(4, 2, 1), {.look_every = 5},
                      [&](const auto&, Index, Index) { return 0.5; })
            .steps == 5);
  std::stop_source stop;
  std::vector<float> at_stop;
  const HeldOutTuning stopped = tune_held_out(
      segmenter, std::span<const float>(start), source, {.look_every = 5, .folds = 3},
      [&](const auto&, Index fold, Index) {
        if (fold == 1) {
          at_stop = segmenter.network().snapshot();
          stop.request_stop();
        }
        return 0.5;
      },
      stop.get_token());
  CHECK(stopped.steps_run == 12 + 5);
  CHECK(segmenter.network().snapshot() == at_stop);
  REQUIRE(stopped.looks.size() == 3);
  for (const TuningLook& look : stopped.looks) CHECK(std::isnan(look.figure));

  // One labelled image cannot be held out, however few `few` are; figures that are no numbers choose nothing.
  const auto steps_of = [&](Index with, double figure, Index few = 20) {
    const HeldOutTuning found =
        tune_held_out(segmenter, std::span<const float>(start), Gratings(4, with, 1), {.look_every = 5, .few = few},
                      [&](const auto&, Index, Index) { return figure; });
    CHECK(std::isnan(found.figure));
    return std::pair(found.trainings, found.steps);
  };
  for (const Index few : {0, 1, 20}) CHECK(steps_of(1, 0.5, few) == std::pair<Index, Index>(0, 12));
  CHECK(steps_of(0, 0.5, 0) == std::pair<Index, Index>(0, 12));
  CHECK(steps_of(3, std::nan("")) == std::pair<Index, Index>(3, 12));
  const auto problem = [](const HeldOutTuningOptions& wrong) {
    return thrown_by<OptionError>([&] { wrong.validate(); });
  };
  CHECK(contains(problem({.look_every = 0}), "'look_every' is 0"));
  CHECK(contains(problem({.folds = 1}), "'folds' is 1; expected at least 2"));
  CHECK(contains(problem({.hold_out = 0.7}), "'hold_out' is 0.7; expected 0.01 to 0.5"));
  CHECK(contains(problem({.hold_out = 1e-30}), "'hold_out' is 1e-30; expected 0.01 to 0.5"));
}
