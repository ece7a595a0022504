// A pass ends where features mean nothing: not finite, or the same for images that differ.
#include "catch.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/random.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/features.hpp>

#include "noise_images.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

constexpr ViTConfig small{.image = 16, .patch = 8, .width = 8, .depth = 1, .heads = 2};
using Extractor = FeatureExtractor<ViT<small>, Reference<double>>;

/// Weights of which those whose name begins with `changed` have one value.
Extractor extractor_with(GroupSet reads, const std::string& changed, double value) {
  Extractor out(Reference<double>(), {.height = 16, .width = 16, .batch = 2, .reads = reads});
  std::vector<double> weights(static_cast<std::size_t>(out.layout().total()));
  RandomStream random({.seed = 3});
  for (double& w : weights) w = 0.3 * random.normal();
  for (const auto& spec : out.layout().specs()) {
    if (!spec.name.view().starts_with(changed)) continue;
    for (Index i = 0; i < spec.size; ++i) weights[static_cast<std::size_t>(spec.offset + i)] = value;
  }
  out.load(std::span<const double>(weights));
  return out;
}

AnyImage noise(std::uint64_t seed) {
  return noise_image(20, 20, 3, {.seed = seed}, [](RandomStream& random) { return 255.0 * random.uniform(); });
}

Index passed(Extractor& extractor, const MemoryImages& images, bool require_sound = true) {
  const InputRenderer renderer({.height = 16, .width = 16}, ClassMap({.classes = 1, .void_ids = {}}));
  return pass_features(extractor, renderer, images, {.loader = {.threads = 1}, .require_sound = require_sound}, {}, {},
                       [](const PassedImage<double>&) {})
      .images;
}

}  // namespace

TEST_CASE("features that are the same for images that differ end a pass at its end") {
  const MemoryImages images({noise(1), noise(2), noise(3)});
  for (const GroupSet reads : {GroupSet{.class_token = true}, GroupSet{.patch = true}, GroupSet{.class_token = true, .patch = true}}) {
    Extractor blind = extractor_with(reads, "patch_embed.proj.weight", 0);
    CHECK(contains(thrown_by<DataError>([&] { passed(blind, images); }),
                   "the features of all 3 images are the same, though the images are not; expected weights"));
    CHECK(passed(blind, images, false) == 3);
    // Images that are the same have the same features, and one alone is the same as itself.
    const AnyImage one = noise(1);
    CHECK(passed(blind, MemoryImages({one, one})) == 2);
    CHECK(passed(blind, MemoryImages({one})) == 1);
    Extractor seeing = extractor_with(reads, "nothing", 0);
    CHECK(passed(seeing, images) == 3);
  }
}

TEST_CASE("features that are not finite end a pass by the image's name") {
  const MemoryImages images({noise(1), noise(2)}, {"first.png", "second.png"});
  Extractor broken = extractor_with({.patch = true}, "norm.bias", std::numeric_limits<double>::infinity());
  CHECK(contains(thrown_by<NonFiniteError>([&] { passed(broken, images); }),
                 "the features of first.png hold inf; expected finite numbers"));
  CHECK(passed(broken, images, false) == 2);
}
