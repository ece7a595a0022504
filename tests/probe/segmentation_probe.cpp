// The whole segmentation probe on pictures that a random backbone can tell apart.
#include "catch.hpp"

#include <cmath>
#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/core/random.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/features.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/probe/segmentation_probe.hpp>

#include "halves.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

using Backbone = HalvesBackbone;

SegmentationProbeOptions quick() {
  return {.classes = {.classes = 8, .only = {2, 7}},
          .epochs = 5,
          .batch = 5,
          .learning_rate = 2.0,
          .label_extent = 24,
          .seed = 3};
}

struct Outcome {
  std::vector<double> losses;
  std::vector<std::int64_t> counts;
  double mean_iou = 0;
};

template <Backend B>
Outcome run(const B& backend, const SegmentationProbeOptions& options, Index extraction_batch = 4) {
  auto features = halves_extractor(backend, extraction_batch);
  SegmentationProbe<Backbone, B> probe(features, options);
  Outcome out;
  probe.on_step = [&](const ProbeStep& step) { out.losses.push_back(step.loss); };
  probe.train(Halves(12, 1));
  const auto result = probe.evaluate(Halves(6, 2));
  out.counts.assign(result.confusion.counts().begin(), result.confusion.counts().end());
  out.mean_iou = result.scores().mean_iou;
  return out;
}

}  // namespace

TEST_CASE("the probe learns what features tell, the same on every backend") {
  const auto exact = run(Reference<double>(), quick());
  CHECK(exact.losses.size() == 15);  // 12 images in batches of 5, 5 and 2
  CHECK(exact.losses.back() < 0.7 * exact.losses.front());
  CHECK(exact.mean_iou > 0.8);
  CHECK(run(Reference<float>(), quick()).losses.back() == Approx(exact.losses.back()).epsilon(1e-3));
#if __has_include(<dssl/backend/cpu.hpp>)
  const auto one = run(Cpu({.threads = 1}), quick());
  CHECK(one.losses.back() == Approx(exact.losses.back()).epsilon(1e-3));
  auto two_loading = quick();
  two_loading.loader = {.prefetch = 3, .threads = 2};
  const auto two = run(Cpu({.threads = 2}), two_loading);
  CHECK(two.losses == one.losses);
  CHECK(two.counts == one.counts);
#endif
}

TEST_CASE("kept features give the numbers of features computed again, and any extraction batch the same") {
  auto options = quick();
  options.augment = false;
  const auto fresh = run(Reference<double>(), options);
  options.cache_features = true;
  const auto cached = run(Reference<double>(), options);
  CHECK(cached.losses == fresh.losses);
  CHECK(cached.counts == fresh.counts);
  const auto single = run(Reference<double>(), options, 1);
  CHECK(single.losses == fresh.losses);

  options.cache_limit = 1e-6;
  CHECK(contains(thrown_by<OptionError>([&] { run(Reference<double>(), options); }), "'cache_limit'"));
  options = quick();
  options.cache_features = true;
  CHECK(contains(thrown_by<OptionError>([&] { run(Reference<double>(), options); }), "'cache_features'"));
}

TEST_CASE("standardised features train a classifier of the features as they are") {
  auto options = quick();
  options.augment = false;
  options.cache_features = true;
  options.learning_rate = 1e-12;
  options.weight_decay = 0;
  const auto before = run(Reference<double>(), options);
  options.standardise = true;
  // Nearly without a step the restated classifier gives the losses and counts of the one it restates.
  const auto restated = run(Reference<double>(), options);
  REQUIRE(restated.losses.size() == before.losses.size());
  for (std::size_t i = 0; i < before.losses.size(); ++i) CHECK(restated.losses[i] == Approx(before.losses[i]));
  CHECK(restated.counts == before.counts);

  options.learning_rate = 2.0;
  Index computed = 0;
  auto features = halves_extractor(Reference<double>());
  SegmentationProbe<HalvesBackbone, Reference<double>> probe(features, options);
  probe.on_features = [&](Index images) { computed = images; };
  double last = 0;
  probe.on_step = [&](const ProbeStep& step) { last = step.loss; };
  probe.train(Halves(12, 1));
  CHECK(computed == 12);
  CHECK(last < 0.5 * before.losses.back());
  CHECK(probe.evaluate(Halves(6, 2)).scores().mean_iou > 0.8);

  // A training that is broken off leaves a classifier of the features as they are too.
  auto fresh = halves_extractor(Reference<double>());
  options.learning_rate = 1e-12;
  SegmentationProbe<HalvesBackbone, Reference<double>> broken(fresh, options);
  broken.on_step = [](const ProbeStep&) { throw Error("enough"); };
  CHECK_THROWS_AS(broken.train(Halves(12, 1)), Error);
  const auto counts = broken.evaluate(Halves(6, 2)).confusion;
  CHECK(std::vector<std::int64_t>(counts.counts().begin(), counts.counts().end()) == before.counts);

  options.cache_features = false;
  CHECK(contains(thrown_by<OptionError>([&] { run(Reference<double>(), options); }), "'standardise'"));
}

TEST_CASE("the rate is scaled by the batch and falls at 80 % of the epochs") {
  auto features = halves_extractor(Reference<double>());
  auto options = quick();
  options.epochs = 10;
  options.batch = 12;
  SegmentationProbe<Backbone, Reference<double>> probe(features, options);
  std::vector<double> rates;
  probe.on_step = [&](const ProbeStep& step) {
    rates.push_back(step.learning_rate);
    CHECK(step.steps == 10);
    CHECK(step.images == 12 * step.step);
  };
  probe.train(Halves(12, 1));
  REQUIRE(rates.size() == 10);
  CHECK(rates[7] == Approx(2.0 * 12 / 60));
  CHECK(rates[8] == Approx(0.1 * 2.0 * 12 / 60));
}

TEST_CASE("void pixels are not counted, unreadable images are left out, and a stop request is obeyed") {
  auto features = halves_extractor(Reference<double>());
  SegmentationProbe<Backbone, Reference<double>> probe(features, quick());
  std::vector<std::string> warned;
  probe.on_skip = [&](std::string_view name, std::string_view) { warned.emplace_back(name); };
  Halves broken(6, 2);
  broken.unreadable = 4;
  std::vector<Index> seen;
  std::int64_t labelled = 0;
  probe.on_prediction = [&](const ProbePrediction& prediction) {
    seen.push_back(prediction.index);
    for (const auto label : prediction.truth) labelled += label != ClassMap::ignored ? 1 : 0;
  };
  const auto result = probe.evaluate(broken);
  CHECK(result.images == 5);
  CHECK(result.unreadable == 1);
  CHECK(seen == std::vector<Index>{0, 1, 2, 3, 5});
  CHECK(warned == std::vector<std::string>{"halves 4"});
  CHECK(labelled == 5 * 32 * 47);
  std::int64_t counted = 0;
  for (const auto n : result.confusion.counts()) counted += n;
  CHECK(counted == labelled);

  std::stop_source stop;
  Index steps = 0;
  probe.on_step = [&](const ProbeStep& step) {
    steps = step.step;
    if (step.step == 2) stop.request_stop();
  };
  probe.train(broken, stop.get_token());
  CHECK(steps == 2);
  CHECK(contains(thrown_by<OptionError>([&] {
                   auto bad = quick();
                   bad.epochs = 0;
                   SegmentationProbe<Backbone, Reference<double>>(features, bad);
                 }),
                 "'epochs' is 0"));
}

TEST_CASE("masks whose other ids no class claims end the training with what is wrong") {
  auto features = halves_extractor(Reference<double>(), 4);
  for (const bool cached : {true, false}) {
    auto options = quick();
    options.classes = {.classes = 3};  // the masks hold ids 2 and 7
    options.augment = !cached;
    options.cache_features = cached;
    SegmentationProbe<Backbone, Reference<double>> probe(features, options);
    const std::string message = thrown_by<DataError>([&] { probe.train(Halves(12, 1)); });
    CHECK(contains(message, "in the training images only the class of id 2 has a labelled pixel"));
    CHECK(contains(message, "of ids that no class claims (7)"));
    CHECK(probe.trained_on().pixels[7] > 0);
  }
}
