// Segmentation by retrieval on pictures that a random backbone can tell apart.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/features/features.hpp>
#include <dssl/probe/retrieval_probe.hpp>

#include "halves.hpp"
#include "ranks.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

RetrievalProbeOptions quick() {
  return {.classes = {.classes = 8, .only = {2, 7}}, .memory = 100, .neighbours = 5, .block = 32, .seed = 3};
}

template <Backend B>
std::vector<std::int64_t> counts_of(const B& backend, const RetrievalProbeOptions& options, Index batch = 4) {
  auto features = halves_extractor(backend, batch);
  RetrievalProbe<HalvesBackbone, B> probe(features, options);
  CHECK(probe.remember(Halves(12, 1)).images == 12);
  CHECK(probe.remembered() == std::min<Index>(options.memory, 12 * 24));
  const auto result = probe.evaluate(Halves(6, 2));
  CHECK(result.images == 6);
  CHECK(result.scores().mean_iou > 0.8);
  return {result.confusion.counts().begin(), result.confusion.counts().end()};
}

}  // namespace

TEST_CASE("retrieval finds the classes of patches, the same for any threads and batches") {
  const auto exact = counts_of(Reference<double>(), quick());
  CHECK(counts_of(Reference<double>(), quick(), 1) == exact);
  auto uniform = quick();
  uniform.sampling = PatchSampling::uniform;
  uniform.memory = 7;  // fewer patches than images
  uniform.neighbours = 3;
  counts_of(Reference<double>(), uniform);
#if __has_include(<dssl/backend/cpu.hpp>)
  const auto one = counts_of(Cpu({.threads = 1}), quick());
  auto two_loading = quick();
  two_loading.loader = {.prefetch = 3, .threads = 2};
  CHECK(counts_of(Cpu({.threads = 2}), two_loading) == one);
#endif
}

TEST_CASE("retrieval of ranks that share the images is that of one, each with its own predictions") {
  Halves broken(7, 2);
  broken.unreadable = 4;
  struct Found {
    SegmentationResult result{2};
    std::vector<Index> seen;
    Index remembered = 0, unreadable = 0;
  };
  const auto measure = [&](const Communicator& ranks) {
    auto options = quick();
    options.ranks = ranks;
    auto features = halves_extractor(Reference<double>(), 2);
    RetrievalProbe<HalvesBackbone, Reference<double>> probe(features, options);
    Found out;
    out.unreadable = probe.remember(broken).unreadable;
    out.remembered = probe.remembered();
    probe.on_prediction = [&](const ProbePrediction& p) { out.seen.push_back(p.index); };
    out.result = probe.evaluate(broken);
    return out;
  };
  const Found alone = measure({});
  for (const Index size : {2, 3, 8}) {  // of eight ranks one has no image
    std::vector<Found> found(static_cast<std::size_t>(size));
    const auto words = on_ranks(size, [&](const Communicator& ranks) { found[static_cast<std::size_t>(ranks.rank())] = measure(ranks); });
    REQUIRE(words == no_words(size));
    std::vector<Index> seen;
    for (const Found& of : found) {
      CHECK(std::ranges::equal(of.result.confusion.counts(), alone.result.confusion.counts()));
      for (Index c = 0; c < 2; ++c) CHECK(of.result.boundary.both(c) == alone.result.boundary.both(c));
      CHECK((of.result.census == alone.result.census));
      CHECK(of.result.images == 6);
      CHECK(of.result.unreadable == 1);
      CHECK(of.unreadable == 1);
      CHECK(of.remembered == alone.remembered);
      seen.insert(seen.end(), of.seen.begin(), of.seen.end());
    }
    std::ranges::sort(seen);
    CHECK(seen == alone.seen);
  }
}

TEST_CASE("retrieval leaves unreadable images out, obeys a stop, and says where nothing was remembered") {
  auto features = halves_extractor(Reference<double>());
  RetrievalProbe<HalvesBackbone, Reference<double>> probe(features, quick());
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(probe.evaluate(Halves(2, 1))); }),
                 "nothing was remembered"));
  Halves broken(6, 2);
  broken.unreadable = 4;
  std::vector<std::string> warned;
  probe.on_skip = [&](std::string_view name, std::string_view) { warned.emplace_back(name); };
  CHECK(probe.remember(broken).unreadable == 1);
  CHECK(warned == std::vector<std::string>{"halves 4"});
  std::vector<Index> seen;
  probe.on_prediction = [&](const ProbePrediction& p) {
    seen.push_back(p.index);
    CHECK(p.truth.size() == p.predicted.size());
  };
  const auto result = probe.evaluate(broken);
  CHECK(result.images == 5);
  CHECK(result.unreadable == 1);
  CHECK(seen == std::vector<Index>{0, 1, 2, 3, 5});
  std::stop_source stop;
  probe.on_prediction = nullptr;
  probe.on_images = [&](Index) { stop.request_stop(); };
  CHECK(probe.evaluate(Halves(12, 2), stop.get_token()).images == 4);
  CHECK(contains(thrown_by<OptionError>([&] {
                   auto bad = quick();
                   bad.memory = 0;
                   RetrievalProbe<HalvesBackbone, Reference<double>>(features, bad);
                 }),
                 "'memory' is 0"));
}

TEST_CASE("nothing is remembered of masks whose other ids no class claims") {
  auto features = halves_extractor(Reference<double>(), 4);
  auto options = quick();
  options.classes = {.classes = 3};
  RetrievalProbe<HalvesBackbone, Reference<double>> probe(features, options);
  CHECK(contains(thrown_by<DataError>([&] { probe.remember(Halves(12, 1)); }),
                 "in the images to remember only the class of id 2 has a labelled pixel"));
}
