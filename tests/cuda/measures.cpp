// What eval measures with the Cuda backend: the numbers it measures on the CPU, with no word of the device's memory
// read by the host.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cuda.hpp>
#include <dssl/core/random.hpp>
#include <dssl/defects/defect_bank.hpp>
#include <dssl/defects/template_comparison.hpp>
#include <dssl/features/token_trace.hpp>
#include <dssl/metrics/effective_rank.hpp>
#include <dssl/monitor/feature_monitor.hpp>
#include <dssl/pictures/patch_matches.hpp>
#include <dssl/probe/cluster_probe.hpp>
#include <dssl/probe/fine_tuned_classifier.hpp>
#include <dssl/probe/linear_probe.hpp>
#include <dssl/probe/retrieval_probe.hpp>
#include <dssl/search/dense_retrieval.hpp>
#include <dssl/search/kmeans.hpp>
#include <dssl/search/knn.hpp>
#include <dssl/search/nearest.hpp>
#include <dssl/train/trainer.hpp>

#include "cuda/rig.hpp"
#include "halves.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

constexpr ViTConfig two_blocks{.image = 16, .patch = 4, .width = 16, .depth = 2, .heads = 2};
using Small = ViT<two_blocks>;

std::vector<float> drawn(Index count, std::uint64_t seed, double deviation = 1) {
  RandomStream random({.seed = seed, .purpose = Purpose::user});
  std::vector<float> out;
  for (Index i = 0; i < count; ++i) out.push_back(static_cast<float>(deviation * random.normal()));
  return out;
}

std::vector<float> drawn_weights(const ParameterLayout& layout) { return drawn(layout.total(), 5, 0.2); }

/// Rows (n,D) in a backend's memory.
template <Backend B>
class RowsOn {
 public:
  RowsOn(const B& backend, const std::vector<float>& values, Index width)
      : x_room(backend.allocate(values.size() * sizeof(float))),
        x_rows(reinterpret_cast<float*>(x_room.data()), static_cast<Index>(values.size()) / width, width) {
    backend.upload(x_rows.data(), std::span<const float>(values));
  }
  [[nodiscard]] MatrixView<const float> rows() const { return x_rows; }

 private:
  Buffer x_room;
  MatrixView<float> x_rows;
};

MatrixView<const float> rows_of(const std::vector<float>& values, Index width) {
  return MatrixView<const float>(values.data(), static_cast<Index>(values.size()) / width, width);
}

/// measure(backend) gives numbers of both backends that differ by 1e-4 at most.
template <class Measure>
void check_equal(const Measure& measure, double within = 1e-4) {
  const std::vector<double> on_cpu = measure(Cpu({.threads = 1}));
  const std::vector<double> on_cuda = measure(Cuda());
  REQUIRE_FALSE(on_cpu.empty());
  REQUIRE(on_cuda.size() == on_cpu.size());
  double apart = 0;
  double largest = 0;
  for (std::size_t i = 0; i < on_cpu.size(); ++i) {
    apart = std::max(apart, std::abs(on_cuda[i] - on_cpu[i]));
    largest = std::max(largest, std::abs(on_cpu[i]));
  }
  CHECK(largest > 1e-3);  // numbers that are all nothing would be equal whatever was computed
  CHECK(apart <= within);
}

constexpr Index row_width = 12;

}  // namespace

TEST_CASE("features on Cuda are those of the CPU", "[cuda]") {
  if (!device_is_there()) return;
  for (const bool flips : {false, true}) {
    for (const auto& blocks : {std::vector<Index>{}, std::vector<Index>{0, -1}}) {
      INFO("flips " << flips << ", blocks " << blocks.size());
      check_equal([&](const auto& backend) {
        FeatureExtractor<Small, std::decay_t<decltype(backend)>> extractor(
            backend, {.height = 12, .width = 20, .batch = 2, .blocks = blocks, .flips = flips});
        extractor.load(drawn_weights(extractor.layout()));
        const Index n = 3;
        std::vector<float> tokens(static_cast<std::size_t>(n * extractor.width()));
        std::vector<float> patches(static_cast<std::size_t>(n * extractor.grid().size() * extractor.width()));
        extractor.extract(tokens, patches, drawn(n * extractor.image_size(), 6));
        std::vector<double> out(tokens.begin(), tokens.end());
        out.insert(out.end(), patches.begin(), patches.end());
        return out;
      });
    }
  }
}

TEST_CASE("a token trace on Cuda attends as on the CPU", "[cuda]") {
  if (!device_is_there()) return;
  check_equal([&](const auto& backend) {
    TokenTrace<Small, std::decay_t<decltype(backend)>> trace(backend,
                                                             {.height = 12, .width = 20, .references = 2});
    trace.load(drawn_weights(trace.layout()));
    const std::vector<Point> points{{-0.3, 0.4}, {0.9, -0.8}};
    trace.forward(drawn(trace.image_size(), 7), points);
    std::vector<double> out;
    for (const Index block : {0, -1}) {
      for (const TokenGroup group : {TokenGroup::class_token, TokenGroup::reference, TokenGroup::patch}) {
        const AttentionRow row = trace.attention(block, 1, group);
        out.push_back(row.class_token);
        out.insert(out.end(), row.patches.begin(), row.patches.end());
        out.insert(out.end(), row.references.begin(), row.references.end());
      }
    }
    std::vector<float> references(static_cast<std::size_t>(trace.references().size()));
    trace.backend().download(std::span<float>(references), trace.references().data());
    out.insert(out.end(), references.begin(), references.end());
    return out;
  });
}

TEST_CASE("nearest rows and their votes on Cuda are those of the CPU", "[cuda]") {
  if (!device_is_there()) return;
  const std::vector<float> bank = drawn(90 * row_width, 1), queries = drawn(20 * row_width, 2);
  for (const Nearness by : {Nearness::cosine, Nearness::distance}) {
    check_equal([&](const auto& backend) {
      using B = std::decay_t<decltype(backend)>;
      NearestRows<B> nearest(backend, {.width = row_width,
                                       .capacity = 100,
                                       .neighbours = 4,
                                       .by = by,
                                       .queries = 7,
                                       .block = 32});
      nearest.add(RowsOn<B>(backend, bank, row_width).rows());
      std::vector<Neighbour> found(20 * 4);
      nearest.find(found, RowsOn<B>(backend, queries, row_width).rows(), 4);
      std::vector<double> out;
      for (const Neighbour& n : found) out.insert(out.end(), {static_cast<double>(n.row), n.nearness});
      return out;
    });
  }
  std::vector<std::int64_t> labels;
  for (Index i = 0; i < 90; ++i) labels.push_back(i % 3);
  check_equal([&](const auto& backend) {
    // A high temperature: at the published one a cosine's rounding is fourteen times as much in a vote.
    KnnClassifier<std::decay_t<decltype(backend)>> knn(backend, rows_of(bank, row_width), labels,
                                                       {.classes = 3, .temperature = 1, .queries = 7});
    std::vector<double> votes(20 * 3);
    knn.votes(MatrixView<double>(votes.data(), 20, 3), rows_of(queries, row_width), 5);
    return votes;
  });
  check_equal([&](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    const RowsOn<B> from(backend, queries, row_width), to(backend, bank, row_width);
    std::vector<double> out;
    for (const PatchMatch& match : match_patches(backend, from.rows(), to.rows()))
      out.insert(out.end(), {static_cast<double>(match.to), match.cosine, match.mutual ? 1.0 : 0.0});
    return out;
  });
}

TEST_CASE("defects on Cuda have the scores of the CPU", "[cuda]") {
  if (!device_is_there()) return;
  const std::vector<float> normal = drawn(150 * row_width, 3), test = drawn(24 * row_width, 4, 1.5);
  for (const Index projection : {0, 6}) {
    INFO("projection " << projection);
    check_equal([&](const auto& backend) {
      using B = std::decay_t<decltype(backend)>;
      DefectBank<B> bank(backend, {.width = row_width,
                                   .pool = 150,
                                   .coreset = 0.3,
                                   .projection = projection,
                                   .reweighting = 4,
                                   .queries = 7,
                                   .block = 16});
      bank.add(RowsOn<B>(backend, normal, row_width).rows());
      bank.build();
      std::vector<float> scores(24);
      const double image = bank.score(scores, RowsOn<B>(backend, test, row_width).rows());
      std::vector<double> out(scores.begin(), scores.end());
      out.insert(out.end(), {image, bank.radius(), static_cast<double>(bank.size())});
      return out;
    });
  }
  check_equal([&](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    const std::vector<float> pattern = drawn(24 * row_width, 8);
    std::vector<float> scores(24);
    compare_with_template(backend, scores, RowsOn<B>(backend, test, row_width).rows(),
                          RowsOn<B>(backend, pattern, row_width).rows(), {4, 6});
    return std::vector<double>(scores.begin(), scores.end());
  });
}

TEST_CASE("dense retrieval, clusters and the spectrum on Cuda are those of the CPU", "[cuda]") {
  if (!device_is_there()) return;
  const std::vector<float> rows = drawn(80 * row_width, 9), queries = drawn(15 * row_width, 10);
  check_equal([&](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    DenseRetrieval<B> retrieval(backend, {.width = row_width,
                                          .classes = 3,
                                          .memory = 100,
                                          .neighbours = 5,
                                          .temperature = 0.1,
                                          .queries = 7,
                                          .block = 32});
    std::vector<float> shares(80 * 3);
    for (std::size_t i = 0; i < 80; ++i) shares[i * 3 + i % 3] = 1;
    retrieval.add(RowsOn<B>(backend, rows, row_width).rows(), rows_of(shares, 3));
    std::vector<float> out(15 * 3);
    retrieval.predict(MatrixView<float>(out.data(), 15, 3), RowsOn<B>(backend, queries, row_width).rows());
    return std::vector<double>(out.begin(), out.end());
  });
  check_equal([&](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    KMeans<B> means(backend, {.width = row_width, .clusters = 6, .seed = 2, .rows_at_once = 32});
    const KMeansResult result = means.fit(RowsOn<B>(backend, rows, row_width).rows());
    std::vector<std::int32_t> clusters(15);
    means.assign(clusters, RowsOn<B>(backend, queries, row_width).rows());
    std::vector<double> out(clusters.begin(), clusters.end());
    // Sums of 80 squares of float rows: relative to their size.
    out.insert(out.end(), {result.inertia / 1000, static_cast<double>(result.iterations)});
    return out;
  });
  check_equal([&](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    FeatureSpectrum<B> spectrum(backend, row_width);
    spectrum.add(RowsOn<B>(backend, rows, row_width).rows());
    std::vector<double> out = spectrum.singular_values(true);
    out.push_back(spectrum.effective_rank());
    return out;
  });
}

TEST_CASE("classifiers learn on Cuda what they learn on the CPU", "[cuda]") {
  if (!device_is_there()) return;
  const std::vector<float> rows = drawn(60 * row_width, 12);
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < 60; ++i) labels.push_back(rows[i * row_width] > 0 ? 1 : 0);
  check_equal([&](const auto& backend) {
    LinearProbe<std::decay_t<decltype(backend)>> probe(backend, {.width = row_width,
                                                                 .classes = 2,
                                                                 .learning_rates = {0.1, 1.0},
                                                                 .epochs = 4,
                                                                 .batch = 16,
                                                                 .standardise = true,
                                                                 .seed = 3});
    probe.train(rows_of(rows, row_width), labels);
    std::vector<double> out = probe.accuracies(rows_of(rows, row_width), labels);
    std::vector<float> weight(2 * row_width), bias(2);
    probe.get_weights(weight, bias, 1);
    out.insert(out.end(), weight.begin(), weight.end());
    out.insert(out.end(), bias.begin(), bias.end());
    return out;
  });
  check_equal([&](const auto& backend) {
    FineTunedClassifier<Small, std::decay_t<decltype(backend)>> tuner(
        backend, {.height = 12, .width = 20, .batch = 2, .classes = 2, .steps = 4, .learning_rate = 0.01});
    auto& network = tuner.network();
    ParameterLayout layout;
    Small::add_parameters(layout, two_blocks, {}, "");
    network.load(drawn_weights(layout));
    const std::vector<float> images = drawn(2 * 3 * 12 * 20, 13);
    std::vector<double> losses;
    for (int step = 0; step < 3; ++step) {
      losses.push_back(tuner.accumulate(images, std::vector<std::int64_t>{1, 0}));
      network.update();
    }
    return losses;
  });
}

TEST_CASE("probes and the monitor on Cuda say what they say on the CPU", "[cuda]") {
  if (!device_is_there()) return;
  const ClassOptions classes{.classes = 8, .only = {2, 7}};
  check_equal(
      [&](const auto& backend) {
        using B = std::decay_t<decltype(backend)>;
        auto features = halves_extractor(backend);
        RetrievalProbe<HalvesBackbone, B> retrieval(features, {.classes = classes, .memory = 100, .neighbours = 5});
        retrieval.remember(Halves(6, 1));
        const auto found = retrieval.evaluate(Halves(4, 2)).scores();
        ClusterProbe<HalvesBackbone, B> clusters(features, {.classes = classes, .clusters = 4, .patches = 100});
        clusters.fit(Halves(6, 1));
        const auto named = clusters.evaluate(Halves(4, 2)).majority();
        FeatureMonitor<HalvesBackbone, B> monitor(backend, {.height = 32, .width = 48});
        monitor.watch(ImagesOf(Halves(6, 3)), {0, 1, 0, 1, 0, 1});
        std::vector<float> weights(static_cast<std::size_t>(features.layout().total()));
        initialise(std::span<float>(weights), features.layout(), 11);
        std::vector<double> out{found.mean_iou, named.mean_iou};
        for (const Figure& figure : monitor.measure(BackboneWeights<float>{features.layout(), weights}))
          out.push_back(figure.value);
        return out;
      },
      // A pixel in a thousand may change its class: shares are compared after they were rounded.
      1e-3);
}
