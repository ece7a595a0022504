// Monitors of a run: the numbers of the evaluations called by hand, and the run left as it is.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/symmetric_eigen.hpp>
#include <dssl/core/random.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/instances.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/metrics/effective_rank.hpp>
#include <dssl/monitor/feature_monitor.hpp>
#include <dssl/monitor/reference_locality.hpp>
#include <dssl/probe/retrieval_probe.hpp>
#include <dssl/search/knn.hpp>
#include <dssl/train/trainer.hpp>

#include "backbone/convolution.hpp"
#include "halves.hpp"
#include "noise_images.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

using Tiny = DenseDino::with_backbone<HalvesBackbone>::
    with_tokens<ReferenceTokens<private_relation, ReferenceConfig{.learned = true}>>::with_head<
        ProjectionHead<HeadConfig{.hidden = 24, .bottleneck = 8, .prototypes = 32}>>;

/// Bright and dark noise in turn; the label says which.
class Noise {
 public:
  explicit Noise(Index count, Index unreadable = -1) : x_count(count), x_unreadable(unreadable) {}
  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return join("noise ", i); }
  [[nodiscard]] std::vector<std::int64_t> labels() const {
    std::vector<std::int64_t> out;
    for (Index i = 0; i < x_count; ++i) out.push_back(i % 3 == 0 ? 2 : 0);
    return out;
  }
  [[nodiscard]] AnyImage load(Index i) const {
    if (i == x_unreadable) throw ImageError(name(i), "is broken");
    return test::noise_image(20, 30, 3,
                             {.seed = 3, .sample = static_cast<std::uint64_t>(i), .purpose = Purpose::user},
                             [&](RandomStream& random) { return (i % 3 == 0 ? 120 : 60) + random.below(70); });
  }

 private:
  Index x_count, x_unreadable;
};

TrainerOptions tiny_options() {
  TrainerOptions options{.epochs = 4, .batch = 2, .seed = 11};
  options.views.global_size = {16, 16};
  options.views.local_size = {16, 16};
  options.views.locals = 1;
  options.optimiser.warmup_epochs = 1;
  options.optimiser.learning_rate = 0.05;
  return options;
}

FeatureMonitorOptions monitor_options() {
  return {.height = 24, .width = 32, .batch = 3, .every = 2, .neighbours = 5};
}

void fill(std::span<float> out, std::uint64_t seed, double scale = 1) {
  RandomStream random({.seed = seed});
  for (float& value : out) value = static_cast<float>(scale * random.normal());
}

RetrievalProbeOptions retrieval() {
  return {.classes = {.classes = 8, .only = {2, 7}}, .memory = 60, .neighbours = 5, .seed = 3};
}

/// Effective rank of rows (m,d) from the eigenvalues of their second moment, in double.
double slow_rank(const std::vector<float>& rows, Index m, Index d) {
  std::vector<double> moment(static_cast<std::size_t>(d * d), 0.0);
  for (Index r = 0; r < m; ++r) {
    for (Index i = 0; i < d; ++i) {
      for (Index j = 0; j < d; ++j) {
        moment[static_cast<std::size_t>(i * d + j)] +=
            static_cast<double>(rows[static_cast<std::size_t>(r * d + i)]) *
            static_cast<double>(rows[static_cast<std::size_t>(r * d + j)]);
      }
    }
  }
  std::vector<double> values = symmetric_eigen(moment, d, 0).values;
  for (double& value : values) value = std::sqrt(std::max(0.0, value));
  return effective_rank(values);
}

/// The numbers a monitor should find, by calls of the evaluations it is made of. `load`: has an extractor take the weights.
template <class Backbone, class Load>
std::vector<Figure> by_hand(Load&& load) {
  FeatureExtractor<Backbone, Cpu> extractor(Cpu({.threads = 1}), {.height = 24, .width = 32, .batch = 1});
  load(extractor);
  const Noise images(14);
  const InputRenderer renderer({.height = 24, .width = 32}, ClassMap({.classes = 1}));
  std::vector<float> tokens(14 * 16);
  for (std::size_t i = 0; i < 14; ++i) {
    const AnyImage image = images.load(static_cast<Index>(i));
    const auto input =
        renderer.render({image, Image<std::uint8_t>(height(image), width(image), 1)}, 24, 32).image;
    extractor.extract(std::span(tokens).subspan(16 * i, 16), {}, input);
  }
  // Labels 2 0 0 2 0 0 2 ...: the halves by hand.
  const std::vector<std::size_t> bank{0, 6, 12, 1, 4, 7, 10, 13}, queries{3, 9, 2, 5, 8, 11};
  const auto labels = images.labels();
  const auto rows = [&](std::vector<std::size_t> numbers) {
    std::sort(numbers.begin(), numbers.end());
    std::pair<std::vector<float>, std::vector<std::int64_t>> out;
    for (const std::size_t n : numbers) {
      out.first.insert(out.first.end(), tokens.begin() + static_cast<Index>(16 * n),
                       tokens.begin() + static_cast<Index>(16 * n + 16));
      out.second.push_back(labels[n]);
    }
    return out;
  };
  const auto [bank_rows, bank_labels] = rows(bank);
  const auto [query_rows, query_labels] = rows(queries);
  KnnClassifier<Cpu> knn(Cpu({.threads = 1}), MatrixView<const float>(bank_rows.data(), 8, 16), bank_labels,
                         {.classes = 3});
  const auto named = knn.predict(MatrixView<const float>(query_rows.data(), 6, 16), 5);
  double right = 0;
  for (std::size_t i = 0; i < 6; ++i) right += named[i] == query_labels[i] ? 1 : 0;
  const double rank = slow_rank(tokens, 14, 16);
  const double spread = spread_of(MatrixView<float>(tokens.data(), 14, 16));

  RetrievalProbe<Backbone, Cpu> probe(extractor, retrieval());
  probe.remember(Halves(8, 1));
  const double miou = probe.evaluate(Halves(4, 2)).scores().mean_iou;
  return {{"knn", right / 6}, {"rank", rank}, {"spread", spread}, {"retrieval", miou}};
}

std::vector<float> state_of(const Trainer<Tiny, Cpu>& trainer) {
  std::vector<float> out;
  detail::for_each_state(trainer.step(), [&](const auto&, const auto& values, const auto&) {
    out.insert(out.end(), values.flat().begin(), values.flat().end());
  });
  return out;
}

void check_figures(const std::vector<Figure>& found, const std::vector<Figure>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i].name == expected[i].name);
    // To the bit, but for the rank, whose square of the features is taken in float.
    if (found[i].name != "rank") CHECK(found[i].value == expected[i].value);
    if (found[i].name == "rank") CHECK(found[i].value == Approx(expected[i].value).epsilon(0.01));
  }
}

}  // namespace

TEST_CASE("a monitor's figures are those of the evaluations called by hand, and training is left as it is") {
  const TemporaryFolder folder;
  const Noise images(9);
  Trainer<Tiny, Cpu> plain(tiny_options(), Cpu({.threads = 2}));
  plain.fit(images);

  Trainer<Tiny, Cpu> watched(tiny_options(), Cpu({.threads = 2}));
  FeatureMonitor<HalvesBackbone, Cpu> monitor(Cpu({.threads = 2}), monitor_options());
  monitor.watch(Noise(14), Noise(14).labels());
  monitor.watch(Halves(8, 1), Halves(4, 2), retrieval());
  std::vector<Index> looked;
  watched.on_epoch([&](const StepReport& report) {
    if (!monitor.due(report)) return proceed;
    looked.push_back(report.epoch);
    const auto figures = monitor.measure(watched.teacher());
    const auto expected = by_hand<HalvesBackbone>([&](auto& extractor) {
      save_backbone(folder / "teacher.safetensors", watched.teacher());
      extractor.load(SafetensorsFile::open(folder / "teacher.safetensors"));
    });
    check_figures(figures, expected);
    CHECK(figures[0].value > 0.5);  // bright and dark are easily told apart
    CHECK(figures[2].value > 0);
    CHECK(monitor.measure(watched.teacher()) == figures);
    return proceed;
  });
  watched.fit(images);
  CHECK(looked == std::vector<Index>{1, 3});
  const auto with = state_of(watched);
  const auto without = state_of(plain);
  REQUIRE(with.size() == without.size());
  CHECK(std::memcmp(with.data(), without.data(), with.size() * sizeof(float)) == 0);
}

TEST_CASE("a monitor of a convolutional backbone, which has no blocks, finds what the evaluations do") {
  using Backbone = Convolutional<ConvolutionConfig{}>;
  FeatureMonitor<Backbone, Cpu> monitor(Cpu({.threads = 2}), monitor_options());
  monitor.watch(Noise(14), Noise(14).labels());
  monitor.watch(Halves(8, 1), Halves(4, 2), retrieval());
  BackboneWeights<float> weights{.layout = monitor.extractor().layout(), .values = {}};
  weights.values.resize(static_cast<std::size_t>(weights.layout.total()));
  fill(weights.values, 3, 0.3);
  const auto figures = monitor.measure(weights);
  check_figures(figures, by_hand<Backbone>([&](auto& extractor) { extractor.load(weights.values); }));
  CHECK(figures[3].value > 0);
}

TEST_CASE("variance of tokens, by images, by places, and what is neither") {
  // Two images of three places, one number each: image 0 has 1 2 6, image 1 has 3 8 4.
  const std::vector<double> rows{1, 2, 6, 3, 8, 4};
  const VarianceShares shares = VarianceShares::of(MatrixView<const double>(rows.data(), 6, 1), 3);
  // Mean 4; images 3 and 5; places 2, 5 and 5; total 9 + 4 + 4 + 1 + 16 + 0 = 34.
  CHECK(shares.images == Approx(6.0 / 34));
  CHECK(shares.places == Approx(2 * (4 + 1 + 1) / 34.0));
  CHECK(shares.rest == Approx((34 - 6 - 12) / 34.0));
  CHECK(shares.within() == Approx(28.0 / 34));
  // A number more that tells images apart alone.
  const std::vector<double> wide{1, 0, 2, 0, 6, 0, 3, 2, 8, 2, 4, 2};
  const VarianceShares more = VarianceShares::of(MatrixView<const double>(wide.data(), 6, 2), 3);
  CHECK(more.images == Approx(12.0 / 40));
  CHECK(more.rest == Approx(16.0 / 40));
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(VarianceShares::of(MatrixView<const double>(rows.data(), 5, 1), 3)); }),
                 "variance of 5 tokens; expected as many at 3 places"));
}

TEST_CASE("locality of references: none for positions, the patches' for content, and attention by hand") {
  using Locality = ReferenceLocality<HalvesBackbone, Cpu>;
  std::vector<float> images(4 * 3 * 32 * 32);
  fill(std::span(images), 5);
  const LocalityOptions options{.height = 32, .width = 32, .attention_images = 4};
  BackboneWeights<float> weights{.layout = vit_layout(halves_vit), .values = {}};
  weights.values.resize(static_cast<std::size_t>(weights.layout.total()));
  const auto tensor = [&](const char* name) {
    const auto& spec = weights.layout.find(name);
    return std::span(weights.values).subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
  };
  // Blocks that add nothing: tokens leave as they came in.
  fill(tensor("patch_pos_embed"), 1, 0.1);
  fill(tensor("patch_embed.proj.weight"), 2, 0.1);
  for (float& v : tensor("norm.weight")) v = 1;
  for (float& v : tensor("blocks.0.norm1.weight")) v = 1;
  LocalityFigures figures = Locality(Cpu({.threads = 1}), options, images).measure(weights);
  CHECK(figures.references.rest < 1e-6);
  CHECK(figures.references.places == Approx(1));
  CHECK(figures.patches.rest > 0.5);
  REQUIRE(figures.attention.size() == 1);
  CHECK(figures.attention[0] == Approx(1));  // keys and queries are 0
  CHECK(figures.blind());

  LocalityOptions with_content = options;
  with_content.content = true;
  figures = Locality(Cpu({.threads = 1}), with_content, images).measure(weights);
  CHECK(figures.references.rest == Approx(figures.patches.rest).epsilon(1e-4));
  CHECK_FALSE(figures.blind());

  // Attention, by the trace's own.
  fill(tensor("blocks.0.attn.qkv.weight"), 3, 0.7);
  figures = Locality(Cpu({.threads = 1}), with_content, images).measure(weights);
  TokenTrace<HalvesBackbone, Cpu> trace(Cpu({.threads = 1}), {.height = 32, .width = 32, .references = 16, .content = true});
  trace.load(weights.values);
  std::vector<Point> centres;
  for (int i = 0; i < 16; ++i) centres.push_back({(2 * (i % 4) + 1) / 4.0 - 1, (2 * (i / 4) + 1) / 4.0 - 1});
  double sum = 0;
  for (std::size_t image = 0; image < 4; ++image) {
    trace.forward(std::span(images).subspan(image * 3 * 32 * 32, 3 * 32 * 32), centres);
    for (Index head = 0; head < 2; ++head) {
      for (int r = 0; r < 16; ++r) {
        const AttentionRow row = trace.attention(0, head, TokenGroup::reference, r);
        double near = 0, all = 0, patches = 0;
        for (int n = 0; n < 16; ++n) {
          all += row.patches[static_cast<std::size_t>(n)];
          if (std::abs(n / 4 - r / 4) > 1 || std::abs(n % 4 - r % 4) > 1) continue;
          near += row.patches[static_cast<std::size_t>(n)];
          ++patches;
        }
        sum += near / all * 16 / patches / (4 * 2 * 16);
      }
    }
  }
  CHECK(figures.attention[0] == Approx(sum).epsilon(1e-4));
  CHECK(std::abs(sum - 1) > 0.01);
  CHECK(figures.attention_mean() == figures.attention_most());

  CHECK(contains(thrown_by<ShapeError>([&] { Locality(Cpu({.threads = 1}), options, std::vector<float>(3 * 32 * 32)); }),
                 "locality of 3072 values; expected 2 or more images of 3072"));
  CHECK(contains(thrown_by<OptionError>([&] { Locality(Cpu({.threads = 1}), {.height = 32, .width = 32, .attention_images = 0}, images); }),
                 "'attention_images' is 0"));
}

TEST_CASE("a look at references leaves training as it is, and gives the same figures each time") {
  const Noise images(9);
  Trainer<Tiny, Cpu> plain(tiny_options(), Cpu({.threads = 2}));
  plain.fit(images);
  Trainer<Tiny, Cpu> watched(tiny_options(), Cpu({.threads = 2}));
  std::vector<float> looked_at(3 * 3 * 16 * 16);
  fill(std::span(looked_at), 5);
  ReferenceLocality<HalvesBackbone, Cpu> locality(
      watched.step().backend(), {.height = 16, .width = 16, .learned_reference = true}, looked_at);
  watched.on_epoch([&](const StepReport&) {
    const LocalityFigures first = locality.measure(watched.teacher()), again = locality.measure(watched.teacher());
    CHECK(first.attention == again.attention);
    CHECK(first.references.rest == again.references.rest);
    CHECK(first.references.within() > 0);
    return proceed;
  });
  watched.fit(images);
  const auto with = state_of(watched), without = state_of(plain);
  REQUIRE(with.size() == without.size());
  CHECK(std::memcmp(with.data(), without.data(), with.size() * sizeof(float)) == 0);
}

TEST_CASE("a monitor looks after every n-th epoch and after the last") {
  FeatureMonitorOptions options = monitor_options();
  options.every = 3;
  const FeatureMonitor<HalvesBackbone, Cpu> monitor(Cpu({.threads = 1}), options);
  std::vector<Index> due;
  for (Index step = 0; step < 16; ++step) {
    if (monitor.due({.step = step, .epoch_steps = 2, .steps = 16})) due.push_back(step);
  }
  CHECK(due == std::vector<Index>{5, 11, 15});
}

TEST_CASE("the halves of labels: every other image of each") {
  const std::vector<std::int64_t> labels{5, 0, 5, 5, 0, 7};
  const LabelHalves halves = LabelHalves::of(labels);
  CHECK(halves.bank == std::vector<Index>{0, 1, 3, 5});
  CHECK(halves.queries == std::vector<Index>{2, 4});
}

TEST_CASE("monitors leave unreadable images out, obey a stop, and refuse what they cannot measure") {
  FeatureMonitor<HalvesBackbone, Cpu> monitor(Cpu({.threads = 1}), monitor_options());
  CHECK(contains(thrown_by<DataError>([&] {
                   monitor.watch(Noise(3), {0, 1});
                 }),
                 "2 labels for the 3 images"));
  CHECK(contains(thrown_by<DataError>([&] { monitor.watch(Noise(3), {0, 1, 2}); }), "at least 2 images"));
  auto wrong = retrieval();
  wrong.memory = 0;
  CHECK(contains(thrown_by<OptionError>([&] { monitor.watch(Halves(2, 1), Halves(2, 2), wrong); }),
                 "'memory' is 0"));
  CHECK(contains(
      thrown_by<OptionError>([] { FeatureMonitor<HalvesBackbone, Cpu>(Cpu({.threads = 1}), {.every = 0}); }),
      "'every' is 0"));

  std::vector<std::string> warned;
  monitor.on_skip = [&](std::string_view name, std::string_view) { warned.emplace_back(name); };
  monitor.watch(Noise(14, 4));
  const Trainer<Tiny, Cpu> trainer(tiny_options(), Cpu({.threads = 1}));
  const auto figures = monitor.measure(trainer.teacher());
  REQUIRE(figures.size() == 2);
  CHECK(figures[0].name == "rank");
  CHECK(figures[1].name == "spread");
  CHECK(warned == std::vector<std::string>{"noise 4"});
  std::stop_source stop;
  stop.request_stop();
  CHECK(monitor.measure(trainer.teacher(), stop.get_token()).empty());

  using Other =
      DenseDino::with_backbone<ViT<ViTConfig{.image = 32, .patch = 8, .width = 24, .depth = 1, .heads = 2}>>::
          with_head<ProjectionHead<HeadConfig{.hidden = 24, .bottleneck = 8, .prototypes = 32}>>;
  const Trainer<Other, Cpu> other(tiny_options(), Cpu({.threads = 1}));
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(monitor.measure(other.teacher())); }),
                 "a monitor of 'cls_token' with 16 values; the weights have 24"));
}
