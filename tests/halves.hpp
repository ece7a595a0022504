// Pictures that a random backbone can tell apart, and such a backbone.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/random.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/features.hpp>
#include <dssl/nn/parameters.hpp>

namespace dssl::test {

inline constexpr ViTConfig halves_vit{.image = 32, .patch = 8, .width = 16, .depth = 1, .heads = 2};
using HalvesBackbone = ViT<halves_vit>;

/// Pictures in halves of a bright and a dark class at a random column, with a void border between them.
class Halves {
 public:
  Halves(Index count, std::uint64_t seed) : x_count(count), x_seed(seed) {}

  [[nodiscard]] Index size() const { return x_count; }
  [[nodiscard]] std::string name(Index i) const { return join("halves ", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    if (i == unreadable) throw ImageError(name(i), "is broken");
    RandomStream random({.seed = x_seed, .sample = static_cast<std::uint64_t>(i)});
    Image<std::uint8_t> image(32, 48, 3);
    LabelledImage out{.image = {}, .mask = Image<std::uint8_t>(32, 48, 1)};
    const Index middle = 12 + random.below(24);
    const bool left_bright = random.bernoulli(0.5);
    for (Index y = 0; y < 32; ++y) {
      for (Index x = 0; x < 48; ++x) {
        const bool bright = (x < middle) == left_bright;
        out.mask(y, x, 0) = x == middle ? 255 : bright ? 7 : 2;
        for (Index c = 0; c < 3; ++c)
          image(y, x, c) = static_cast<std::uint8_t>((bright ? 170 : 40) + random.below(40));
      }
    }
    out.image = std::move(image);
    return out;
  }

  Index unreadable = -1;

 private:
  Index x_count;
  std::uint64_t x_seed;
};

/// An extractor of patches for them, with drawn weights.
template <Backend B>
FeatureExtractor<HalvesBackbone, B> halves_extractor(const B& backend, Index batch = 4) {
  FeatureExtractor<HalvesBackbone, B> out(
      backend, {.height = 32, .width = 48, .batch = batch, .reads = {.patch = true}});
  std::vector<typename B::Scalar> weights(static_cast<std::size_t>(out.layout().total()));
  initialise(std::span<typename B::Scalar>(weights), out.layout(), 11);
  out.load(weights);
  return out;
}

}  // namespace dssl::test
