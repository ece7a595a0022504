// An extractor's weights, which its backend may pack to stay: the features of every pass are those of a first one.
#include "catch.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/features/features.hpp>

using namespace dssl;

namespace {

using Extractor = FeatureExtractor<ViTFamily, Cpu>;

// Widths that fill no whole panels of the kernels, whatever the processor.
constexpr ViTConfig sizes{.image = 64, .patch = 8, .width = 40, .depth = 2, .heads = 4, .registers = 2};
constexpr FeatureOptions square{.height = 64, .width = 64};
constexpr FeatureOptions wide{.height = 24, .width = 160};

std::vector<float> drawn(Index count, std::uint64_t seed, double deviation = 1) {
  RandomStream random({.seed = seed});
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>(deviation * random.normal());
  return values;
}

std::vector<float> weights_of(const Extractor& extractor, std::uint64_t seed) {
  return drawn(extractor.layout().total(), seed, 0.2);
}

/// Class token and patches of a drawn image.
std::vector<float> features(Extractor& extractor) {
  const auto map = static_cast<std::size_t>(extractor.grid().size() * extractor.width());
  std::vector<float> out(static_cast<std::size_t>(extractor.width()) + map);
  extractor.extract(std::span(out).first(out.size() - map), std::span(out).last(map), drawn(extractor.image_size(), 9));
  return out;
}

/// The first features of an extractor that has done nothing before.
std::vector<float> first_features(const CpuOptions& cpu, const FeatureOptions& options, std::uint64_t seed, const ViTConfig& config = sizes) {
  Extractor extractor(Cpu(cpu), options, config);
  extractor.load(weights_of(extractor, seed));
  return features(extractor);
}

/// In float and in bf16.
std::vector<CpuOptions> backends() {
  return {{.threads = 2, .split_products = false}, {.threads = 2, .precision = Precision::bf16, .emulate_bf16 = true}};
}

class CountedLoops : public cpu::LoopObserver {
 public:
  void loop(bool, std::span<const double>) override { ++x_count; }
  /// Since the last call.
  [[nodiscard]] int take() { return std::exchange(x_count, 0); }

 private:
  int x_count = 0;
};

}  // namespace

TEST_CASE("every pass gives the bits of a first one, at several sizes of image through one copy of the weights") {
  ViTConfig scaled = sizes;
  scaled.layer_scale = true;  // multiplies two of a block's matrices in every pass
  for (const CpuOptions& cpu : backends()) {
    for (const ViTConfig& config : {sizes, scaled}) {
      Extractor one(Cpu(cpu), square, config);
      Extractor other(one, wide);
      one.load(weights_of(one, 1));
      const std::vector<float> of_one = first_features(cpu, square, 1, config), of_other = first_features(cpu, wide, 1, config);
      for (int pass = 0; pass < 3; ++pass) {
        CHECK((features(one) == of_one));
        CHECK((features(other) == of_other));
      }
    }
  }
}

TEST_CASE("weights that are loaded after passes are those of the next pass, in all extractors that share them") {
  for (const CpuOptions& cpu : backends()) {
    Extractor one(Cpu(cpu), square, sizes);
    Extractor other(one, wide);
    const std::vector<float> of_zeros = features(one);
    const auto pass_often = [&] {
      for (int pass = 0; pass < 3; ++pass) {
        features(one);
        features(other);
      }
    };
    const auto check = [&](std::uint64_t seed) {
      CHECK((features(one) == first_features(cpu, square, seed)));
      CHECK((features(other) == first_features(cpu, wide, seed)));
    };
    pass_often();
    CHECK_THROWS_AS(one.load_by([](std::span<float> flat) {
                      std::ranges::fill(flat, 1.0F);
                      throw std::runtime_error("no such file");
                    }),
                    std::runtime_error);
    CHECK((features(one) == of_zeros));
    pass_often();
    one.load_by([&](std::span<float> flat) { std::ranges::copy(weights_of(one, 2), flat.begin()); });
    check(2);
    pass_often();
    one.load_by([&](std::span<float> flat) { std::ranges::copy(weights_of(one, 3), flat.begin()); });
    check(3);
    pass_often();
    other.load(weights_of(one, 4));
    check(4);
  }
}

TEST_CASE("one that may not share the weights leaves them as they are") {
  for (const CpuOptions& cpu : backends()) {
    for (const QkvBias bias : {QkvBias::full, QkvBias::none}) {
      ViTConfig config = sizes;
      config.qkv_bias = bias;
      const std::vector<float> expected = first_features(cpu, square, 1, config);
      Extractor one(Cpu(cpu), square, config);
      one.load(weights_of(one, 1));
      FeatureOptions more = square, learned = square;
      more.channels = 5;
      learned.references.learned = true;
      CHECK_THROWS_AS(Extractor(one, more), OptionError);
      CHECK_THROWS_AS(Extractor(one, learned), OptionError);
      for (int pass = 0; pass < 3; ++pass) CHECK((features(one) == expected));
      one.load(weights_of(one, 1));
      for (int pass = 0; pass < 3; ++pass) CHECK((features(one) == expected));
    }
  }
}

TEST_CASE("two extractors at once give the bits that each gives alone") {
  for (const CpuOptions& cpu : backends()) {
    const std::vector<float> expected[] = {first_features(cpu, square, 1), first_features(cpu, wide, 2)};
    std::vector<float> last[2];
    const auto work = [&](std::size_t i) {
      Extractor extractor(Cpu(cpu), i == 0 ? square : wide, sizes);
      extractor.load(weights_of(extractor, i + 1));
      for (int pass = 0; pass < 5; ++pass) last[i] = features(extractor);
    };
    {
      const std::jthread second(work, 1);
      work(0);
    }
    CHECK((last[0] == expected[0]));
    CHECK((last[1] == expected[1]));
  }
}

TEST_CASE("from the third pass on weights are packed no more, and nothing is kept beside them") {
  CountedLoops loops;
  ViTConfig whole = sizes;  // widths that fill panels
  whole.width = 64;
  constexpr FeatureOptions many{.height = 128, .width = 128};  // as many tokens that all tasks share one packed operand
  Extractor extractor(Cpu({.threads = 1, .split_products = false, .observer = &loops}), many, whole);
  extractor.load(weights_of(extractor, 1));
  const std::size_t plan = extractor.memory_plan().total();
  static_cast<void>(loops.take());
  features(extractor);
  const int first = loops.take();
  features(extractor);
  const int second = loops.take();
  features(extractor);
  const int third = loops.take();
  const int products = 1 + 4 * static_cast<int>(whole.depth);
  CHECK(second == first);  // each packs once, to stay
  CHECK(third == first - products);
  CHECK(extractor.memory_plan().total() == plan);
  CHECK(extractor.bytes_beside_weights() == 0);
}
