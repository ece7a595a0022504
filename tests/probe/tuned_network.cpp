// Fine-tuning: gradients by central differences, rates layer by layer, and learning that shows.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/probe/fine_tuned_classifier.hpp>
#include <dssl/probe/fine_tuned_segmenter.hpp>

#include "gradient_check.hpp"
#include "halves.hpp"
#include "noise_images.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

constexpr ViTConfig small_vit{.image = 16, .patch = 8, .width = 8, .depth = 2, .heads = 2, .mlp_ratio = 2};
using SmallBackbone = ViT<small_vit>;
constexpr ViTConfig registers_vit{
    .image = 16, .patch = 8, .width = 8, .depth = 2, .heads = 2, .mlp_ratio = 2, .registers = 3, .class_norm = true};

template <class Network>
void load_drawn(Network& network, std::uint64_t seed, const ViTConfig& config = small_vit) {
  using T = typename Network::T;
  ParameterLayout layout;
  ViTFamily::add_parameters(layout, config, {}, "");
  std::vector<T> weights(static_cast<std::size_t>(layout.total()));
  initialise(std::span<T>(weights), layout, seed);
  for (T& w : weights) w *= T{4};  // far enough from 0 that every part has a say
  network.load(weights);
}

std::vector<float> drawn_images(std::size_t values, std::uint64_t seed) {
  const auto drawn = normal_values(values, seed);
  return {drawn.begin(), drawn.end()};
}

/// Checks every tensor's gradient of a tuner whose `loss()` accumulates it as well. `unread`: the norm that no token of
/// the head goes through.
template <class Network, class Loss>
void check_gradients(Network& network, const Loss& loss, std::string_view unread = "none") {
  const double first = loss();
  CHECK(first > 0.1);
  const VectorView<const double> all = network.gradients();
  const std::vector<double> gradients(all.data(), all.data() + all.size());
  const VectorView<double> weights = network.parameters();
  for (const auto& spec : network.layout().specs()) {
    INFO(spec.name.view());
    const auto at = static_cast<std::size_t>(spec.offset);
    const auto size = static_cast<std::size_t>(spec.size);
    const auto found = gradient_difference(std::span<double>(weights.data() + spec.offset, size),
                                           std::span<const double>(gradients).subspan(at, size), loss, 5);
    CHECK(found.small());
    // A key's bias shifts all logits of a softmax alike; all else matters.
    CHECK((found.norm > 0) != spec.name.view().starts_with(unread));
  }
}

/// Bright and dark squares, classes 1 and 0; image i is bright where i is odd.
class Squares {
 public:
  explicit Squares(Index count, std::uint64_t seed) : x_count(count), x_seed(seed) {}
  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return join("square ", i); }
  [[nodiscard]] AnyImage load(Index i) const {
    if (i == unreadable) throw ImageError(name(i), "is broken");
    return test::noise_image(20, 24, 3, {.seed = x_seed, .sample = static_cast<std::uint64_t>(i)},
                             [&](RandomStream& random) { return (i % 2 == 1 ? 120 : 90) + random.below(60); });
  }
  [[nodiscard]] std::vector<std::int64_t> labels() const {
    std::vector<std::int64_t> out;
    for (Index i = 0; i < x_count; ++i) out.push_back(i % 2);
    return out;
  }
  Index unreadable = -1;

 private:
  Index x_count;
  std::uint64_t x_seed;
};

}  // namespace

TEST_CASE("gradients of fine-tuning for classes are those of central differences") {
  FineTunedClassifier<SmallBackbone, Reference<double>> tuner(
      Reference<double>(), {.height = 16, .width = 24, .batch = 3, .classes = 4, .seed = 2});
  load_drawn(tuner.network(), 1);
  const auto images = drawn_images(static_cast<std::size_t>(3 * tuner.network().image_size()), 3);
  const std::vector<std::int64_t> labels{2, 0, 3};
  check_gradients(tuner.network(), [&] { return tuner.accumulate(images, labels); });
  CHECK(contains(thrown_by<OptionError>([&] {
                   tuner.accumulate(images, std::vector<std::int64_t>{0, 1, 4});
                 }),
                 "'label' is 4; expected 0 to 3"));
  CHECK_THROWS_AS(tuner.accumulate(images, std::vector<std::int64_t>{0, 1}), ShapeError);
}

TEST_CASE("gradients of fine-tuning for segmentation are those of central differences, weighted or not") {
  for (const auto& weights : {std::vector<double>{}, std::vector<double>{0.5, 3, 1}}) {
    FineTunedSegmenter<SmallBackbone, Reference<double>> tuner(
        Reference<double>(), {.height = 16, .width = 24, .batch = 2, .seed = 2},
        {.classes = 3, .void_ids = {}}, {}, 7, weights);
    CHECK(tuner.label_width() == 7);
    CHECK(tuner.label_height() == 5);
    load_drawn(tuner.network(), 1);
    const auto images = drawn_images(static_cast<std::size_t>(2 * tuner.network().image_size()), 3);
    std::vector<std::uint8_t> labels;
    for (std::size_t i = 0; i < 70; ++i)
      labels.push_back(i % 5 == 4 ? ClassMap::ignored : static_cast<std::uint8_t>(i % 3));
    check_gradients(tuner.network(), [&] { return tuner.accumulate(images, labels); });

    // The loss is the weighted mean over labelled pixels, from the logits as they are.
    tuner.network().forward(images);
    const MatrixView<double> logits = tuner.network().logits();
    const auto taps = bilinear_taps<double>(5, 7, tuner.network().grid());
    double sum = 0, total = 0;
    for (std::size_t i = 0; i < 70; ++i) {
      if (labels[i] == ClassMap::ignored) continue;
      double value[3] = {0, 0, 0};
      for (Index c = 0; c < 3; ++c) {
        for (std::size_t t = 0; t < taps[i % 35].row.size(); ++t)
          value[c] +=
              taps[i % 35].weight[t] * logits(static_cast<Index>(i / 35) * 6 + taps[i % 35].row[t], c);
      }
      const double weight = weights.empty() ? 1 : weights[labels[i]];
      sum -= weight *
             (value[labels[i]] - std::log(std::exp(value[0]) + std::exp(value[1]) + std::exp(value[2])));
      total += weight;
    }
    CHECK(tuner.accumulate(images, labels) == Approx(sum / total).epsilon(1e-9));
    CHECK(tuner.accumulate(images, std::vector<std::uint8_t>(70, ClassMap::ignored)) == 0);
  }
}

TEST_CASE("a backbone with registers and a norm of class tokens is tuned: these too, and no register is a token of the head") {
  using Backend = Reference<double>;
  const TuningOptions sizes{.height = 16, .width = 24, .batch = 2, .classes = 3, .learning_rate = 1e-3, .layer_decay = 0.5,
                            .warmup = 0, .weight_decay = 0, .seed = 2};
  FineTunedClassifier<ViT<registers_vit>, Backend> tuner(Backend(), sizes);
  auto& network = tuner.network();
  load_drawn(network, 1, registers_vit);
  const auto images = drawn_images(static_cast<std::size_t>(2 * network.image_size()), 3);
  const std::vector<std::int64_t> labels{2, 0};
  check_gradients(network, [&] { return tuner.accumulate(images, labels); }, "norm.");

  // A step moves them as an embedding: by the rate of its layer, whatever the gradient.
  load_drawn(network, 1, registers_vit);
  tuner.accumulate(images, labels);
  const std::vector<double> before(network.parameters().data(), network.parameters().data() + network.parameters().size());
  network.update();
  Index met = 0;
  for (const auto& spec : network.layout().specs()) {
    if (spec.name.view() != "register_tokens") continue;
    REQUIRE(spec.size == 3 * 8);
    ++met;
    for (Index i = spec.offset; i < spec.offset + spec.size; ++i)
      CHECK(std::abs(network.parameters()(i) - before[static_cast<std::size_t>(i)]) == Approx(1e-3 * 0.125).epsilon(0.01));
  }
  CHECK(met == 1);

  // A label a patch, none a register: 2 x 3 patches an image.
  FineTunedSegmenter<ViT<registers_vit>, Backend> segmenter(Backend(), {.height = 16, .width = 24, .batch = 2, .seed = 2},
                                                            {.classes = 3, .void_ids = {}}, {}, 3, {});
  load_drawn(segmenter.network(), 1, registers_vit);
  CHECK(segmenter.network().logits().rows() == 2 * 6);
  std::vector<std::uint8_t> masks;
  for (std::size_t i = 0; i < 2 * 6; ++i) masks.push_back(static_cast<std::uint8_t>(i % 3));
  check_gradients(segmenter.network(), [&] { return segmenter.accumulate(images, masks); }, "cls_norm.");
}

TEST_CASE("each layer has its share of the rate, which rises, then falls") {
  CHECK(tuning_layer("cls_token", 12) == 0);
  CHECK(tuning_layer("patch_embed.proj.weight", 12) == 0);
  CHECK(tuning_layer("blocks.0.norm1.weight", 12) == 1);
  CHECK(tuning_layer("blocks.11.mlp.fc2.bias", 12) == 12);
  CHECK(tuning_layer("norm.bias", 12) == 13);
  CHECK(tuning_layer("cls_norm.weight", 12) == 13);
  CHECK(tuning_layer("local_cls_norm.bias", 12) == 13);
  CHECK(tuning_layer("head.weight", 12) == 13);

  for (const double decay : {0.5, 0.0}) {
    FineTunedClassifier<SmallBackbone, Reference<double>> tuner(Reference<double>(), {.height = 16,
                                                                                      .width = 16,
                                                                                      .batch = 2,
                                                                                      .classes = 2,
                                                                                      .steps = 10,
                                                                                      .learning_rate = 1e-3,
                                                                                      .layer_decay = decay,
                                                                                      .warmup = 0.2,
                                                                                      .weight_decay = 0});
    auto& network = tuner.network();
    load_drawn(network, 1);
    CHECK(network.learning_rate() == Approx(5e-4));
    const auto images = drawn_images(static_cast<std::size_t>(2 * network.image_size()), 3);
    tuner.accumulate(images, std::vector<std::int64_t>{0, 1});
    const std::vector<double> before(network.parameters().data(),
                                     network.parameters().data() + network.parameters().size());
    CHECK(network.update() == 1);
    CHECK(network.learning_rate() == Approx(1e-3));
    for (const auto& spec : network.layout().specs()) {
      // The first step of AdamW moves an entry by the rate, whatever its gradient, unless that is next to
      // nothing.
      double most = 0;
      for (Index i = spec.offset; i < spec.offset + spec.size; ++i)
        most = std::max(most, std::abs(network.parameters()(i) - before[static_cast<std::size_t>(i)]));
      const double share = std::pow(decay, static_cast<double>(3 - tuning_layer(spec.name.view(), 2)));
      INFO(spec.name.view());
      CHECK(most == Approx(5e-4 * share).epsilon(0.01).margin(1e-12));
    }
    for (Index i = 0; i < network.gradients().size(); ++i) REQUIRE(network.gradients()(i) == 0);
    std::vector<double> rates;
    for (int step = 1; step < 10; ++step) {
      rates.push_back(network.learning_rate());
      network.update();
    }
    CHECK(std::is_sorted(rates.begin() + 1, rates.end(), std::greater<>()));
    CHECK(rates.back() < 1e-4);
  }
}

TEST_CASE("fine-tuning for classes learns, the same for any number of threads") {
  const Squares train(12, 1), test(9, 2);
  const TuningOptions options{
      .height = 16, .width = 16, .batch = 4, .classes = 2, .steps = 60, .learning_rate = 5e-3, .seed = 4};
  const auto run = [&](const auto& backend, int loading) {
    using B = std::decay_t<decltype(backend)>;
    FineTunedClassifier<SmallBackbone, B> tuner(backend, options, {.loader = {.threads = loading}});
    load_drawn(tuner.network(), 1);
    std::vector<double> losses;
    tuner.on_step = [&](Index step, double loss) {
      CHECK(step == static_cast<Index>(losses.size()) + 1);
      losses.push_back(loss);
    };
    tuner.train(train, train.labels());
    CHECK(losses.size() == 60);
    double right = 0;
    Index next = 0;
    const auto passed = tuner.predict(test, {}, [&](Index index, auto logits) {
      CHECK(index == next++);
      right += (logits[1] > logits[0]) == (index % 2 == 1) ? 1 : 0;
    });
    CHECK(passed.images == 9);
    CHECK(right >= 8);
    CHECK(losses.back() < 0.5 * losses.front());
    return losses;
  };
  run(Reference<double>(), 1);
#if __has_include(<dssl/backend/cpu.hpp>)
  CHECK(run(Cpu({.threads = 1}), 1) == run(Cpu({.threads = 2}), 2));
#endif
}

TEST_CASE("fine-tuning for segmentation learns, and its backbone fits an extractor") {
  const ClassOptions classes{.classes = 9, .void_ids = {255}, .only = {2, 7}};
  FineTunedSegmenter<HalvesBackbone, Reference<float>> tuner(
      Reference<float>(),
      {.height = 32, .width = 48, .batch = 2, .steps = 40, .learning_rate = 5e-3, .seed = 1}, classes,
      {.crop_area = {0.8, 1.0}, .skip = {.min_bad = 100}}, 24);
  auto extractor = halves_extractor(Reference<float>());
  ParameterLayout layout;
  std::vector<float> weights(static_cast<std::size_t>(extractor.layout().total()));
  initialise(std::span<float>(weights), extractor.layout(), 11);
  tuner.network().load(weights);
  const double before = tuner.evaluate(Halves(6, 2)).scores().mean_iou;
  Halves train(4, 1);
  train.unreadable = 3;
  std::set<std::string> skipped;
  tuner.on_skip = [&](std::string_view name, std::string_view) { skipped.emplace(name); };
  tuner.train(train);
  CHECK(skipped == std::set<std::string>{"halves 3"});
  Index seen = 0;
  tuner.on_prediction = [&](const ProbePrediction& p) {
    ++seen;
    CHECK(p.truth.size() == 32 * 48);
    CHECK(p.predicted.size() == 32 * 48);
  };
  const SegmentationResult result = tuner.evaluate(Halves(6, 2));
  CHECK(seen == 6);
  CHECK(result.scores().mean_iou > 0.85);
  CHECK(result.scores().mean_iou > before + 0.1);

  std::vector<float> tuned(weights.size());
  tuner.network().get_backbone(tuned);
  CHECK(tuned != weights);
  extractor.load(tuned);
  std::vector<float> patches(static_cast<std::size_t>(24 * extractor.width()));
  const auto images = drawn_images(static_cast<std::size_t>(extractor.image_size()), 8);
  extractor.extract({}, patches, images);
  tuner.network().forward(images);
  const auto& spec = tuner.network().layout().find("head.weight");
  const auto& bias = tuner.network().layout().find("head.bias");
  for (Index n = 0; n < 24; ++n) {
    double logit = static_cast<double>(tuner.network().parameters()(bias.offset + 1));
    for (Index d = 0; d < extractor.width(); ++d) {
      logit += static_cast<double>(patches[static_cast<std::size_t>(n * extractor.width() + d)]) *
               static_cast<double>(tuner.network().parameters()(spec.offset + extractor.width() + d));
    }
    CHECK(static_cast<double>(tuner.network().logits()(n, 1)) == Approx(logit).epsilon(1e-3).margin(1e-4));
  }
}

TEST_CASE(
    "samples of fine-tuning come in drawn orders, each image once an epoch; options say what is wrong") {
  const Squares train(5, 1);
  const InputRenderer renderer({.height = 16, .width = 16}, ClassMap({.classes = 1, .void_ids = {}}));
  std::vector<Index> seen;
  std::vector<std::vector<float>> first, again;
  const auto pass = [&](std::vector<std::vector<float>>& inputs) {
    seen.clear();
    each_tuning_batch(renderer, train, 1, 1, 5, 3, {}, 7, {}, {}, [&](const std::vector<LoadedInput>& batch) {
      CHECK(batch.size() == 3);
      for (const LoadedInput& sample : batch) {
        seen.push_back(sample.index);
        inputs.push_back(sample.input.image);
      }
    });
  };
  pass(first);
  pass(again);
  CHECK(first == again);
  CHECK(seen.size() == 15);
  for (std::size_t epoch = 0; epoch < 3; ++epoch)
    CHECK(std::set<Index>(seen.begin() + static_cast<Index>(5 * epoch),
                          seen.begin() + static_cast<Index>(5 * epoch + 5))
              .size() == 5);
  CHECK(std::vector<Index>(seen.begin(), seen.begin() + 5) !=
        std::vector<Index>(seen.begin() + 5, seen.begin() + 10));

  const auto made = [](auto change) {
    TuningOptions wrong{.height = 16, .width = 16, .classes = 2};
    change(wrong);
    return thrown_by<OptionError>(
        [&] { FineTunedClassifier<SmallBackbone, Reference<double>>(Reference<double>(), wrong); });
  };
  CHECK(contains(made([](auto& o) { o.height = 20; }), "'height' is 20; expected a multiple of the patch"));
  CHECK(contains(made([](auto& o) { o.layer_decay = 1.5; }), "'layer_decay' is 1.5"));
  CHECK(contains(made([](auto& o) { o.classes = 0; }), "'classes' is 0"));
  CHECK(contains(made([](auto& o) { o.steps = 0; }), "'steps' is 0"));
}
