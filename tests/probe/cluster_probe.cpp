// Overclustering on pictures that a random backbone can tell apart.
#include "catch.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/probe/cluster_probe.hpp>

#include "halves.hpp"
#include "ranks.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

template <Backend B>
std::vector<std::int64_t> counts_of(const B& backend, ClusterProbeOptions options, Index batch = 4) {
  options.classes = {.classes = 8, .only = {2, 7}};
  auto features = halves_extractor(backend, batch);
  ClusterProbe<HalvesBackbone, B> probe(features, options);
  CHECK(probe.fit(ImagesOf<Halves>(Halves(12, 1))).converged);  // no labels
  const auto result = probe.evaluate(Halves(6, 2));
  CHECK(result.images == 6);
  CHECK(result.majority().mean_iou > 0.75);
  if (options.clusters == 0) CHECK(result.hungarian().mean_iou > 0.75);
  std::int64_t pixels = 0;
  for (const auto n : result.counts.counts()) pixels += n;
  CHECK(pixels == 6 * 32 * 47);  // all but the void column
  return {result.counts.counts().begin(), result.counts.counts().end()};
}

}  // namespace

TEST_CASE("clusters of patches find the classes, the same for any threads and batches") {
  const auto exact = counts_of(Reference<double>(), {.seed = 1});
  CHECK(exact.size() == 4);
  CHECK(counts_of(Reference<double>(), {.seed = 1}, 1) == exact);
  CHECK(counts_of(Reference<double>(), {.clusters = 9, .patches = 100, .unit_length = false}).size() == 18);
#if __has_include(<dssl/backend/cpu.hpp>)
  CHECK(counts_of(Cpu({.threads = 1}), {.seed = 1}) ==
        counts_of(Cpu({.threads = 2}), {.seed = 1, .loader = {.prefetch = 3, .threads = 2}}));
#endif
}

TEST_CASE("clusters of ranks that share the images are those of one") {
  const auto alone = counts_of(Reference<double>(), {.seed = 1}, 2);
  for (const Index size : {2, 3}) {
    std::vector<std::vector<std::int64_t>> found(static_cast<std::size_t>(size));
    const auto words = on_ranks(size, [&](const Communicator& ranks) {
      auto features = halves_extractor(Reference<double>(), 2);
      ClusterProbe<HalvesBackbone, Reference<double>> probe(features, {.classes = {.classes = 8, .only = {2, 7}}, .seed = 1, .ranks = ranks});
      probe.fit(ImagesOf<Halves>(Halves(12, 1)));
      const auto result = probe.evaluate(Halves(6, 2));
      if (result.images != 6) throw Error("not all images are counted");
      found[static_cast<std::size_t>(ranks.rank())] = {result.counts.counts().begin(), result.counts.counts().end()};
    });
    REQUIRE(words == no_words(size));
    for (const auto& counts : found) CHECK((counts == alone));
  }
}

TEST_CASE("overclustering refuses more clusters than patches, and options that make no sense") {
  auto features = halves_extractor(Reference<double>());
  ClusterProbe<HalvesBackbone, Reference<double>> probe(features, {.clusters = 50, .patches = 40});
  CHECK(contains(thrown_by<DataError>([&] { probe.fit(Halves(3, 1)); }), "40 rows are too few for 50"));
  CHECK(contains(thrown_by<OptionError>(
                     [&] { ClusterProbe<HalvesBackbone, Reference<double>>(features, {.patches = 0}); }),
                 "'patches' is 0"));
}
