// Whole steps and runs on the Cuda backend: the published numbers, the same run as on the CPU, checkpoints
// that move.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cuda.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/data/source.hpp>
#include <dssl/eval/features.hpp>
#include <dssl/train/trainer.hpp>

#include "cuda/rig.hpp"
#include "temporary_folder.hpp"
#include "train/training_parity.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

using Tiny =
    DenseDino::with_backbone<ViT<ViTConfig{.image = 16, .patch = 4, .width = 16, .depth = 2, .heads = 2}>>::
        with_head<ProjectionHead<HeadConfig{.hidden = 24, .bottleneck = 8, .prototypes = 32}>>;

/// Images of noise.
class NoiseImages {
 public:
  [[nodiscard]] Index size() const { return 9; }
  [[nodiscard]] std::string name(Index i) const { return "noise " + std::to_string(i); }
  [[nodiscard]] AnyImage load(Index i) const {
    Image<std::uint8_t> image(24 + i % 5, 30, 3);
    RandomStream random({.seed = 3, .sample = static_cast<std::uint64_t>(i), .purpose = Purpose::user});
    for (auto& p : image.pixels()) p = static_cast<std::uint8_t>(random.bits() & 255U);
    return image;
  }
};

TrainerOptions tiny_options() {
  TrainerOptions options{.epochs = 3, .batch = 2, .accumulate = 2, .seed = 11};
  options.views.global_size = {16, 16};
  options.views.local_size = {8, 12};
  options.views.locals = 1;
  options.optimiser.warmup_epochs = 1;
  options.optimiser.learning_rate = 0.05;
  return options;
}

/// Every lasting number of a run, part after part.
template <class R, class B>
std::vector<std::vector<float>> state_of(const Trainer<R, B>& trainer) {
  using T = typename B::Scalar;
  std::vector<std::vector<float>> out;
  detail::for_each_state(trainer.step(), [&](const auto&, const auto& values, const auto&) {
    std::vector<T> host(values.flat().size());
    trainer.step().backend().download(std::span<T>(host), static_cast<const T*>(values.data()));
    std::vector<float>& part = out.emplace_back();
    for (const T v : host) part.push_back(static_cast<float>(v));
  });
  return out;
}

bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

/// Largest distance of a part, by norm.
double distance(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t part = 0; part < a.size(); ++part) {
    REQUIRE(a[part].size() == b[part].size());
    double off = 0;
    double size = 0;
    for (std::size_t i = 0; i < a[part].size(); ++i) {
      const double difference = static_cast<double>(a[part][i]) - static_cast<double>(b[part][i]);
      off += difference * difference;
      size += static_cast<double>(b[part][i]) * static_cast<double>(b[part][i]);
    }
    if (size > 0) most = std::max(most, std::sqrt(off / size));
  }
  return most;
}

struct Run {
  std::vector<std::vector<float>> state;
  std::vector<double> losses;
};

/// A run from the beginning or from a checkpoint, which may stop after some steps.
template <class R, class B>
Run run(const B& backend, const TrainerOptions& options, const std::string& resumed = {}, Index cut = -1) {
  Trainer<R, B> trainer(options, backend);
  if (!resumed.empty()) trainer.resume(resumed);
  Run out;
  trainer.on_step([&](const StepReport& report) {
    out.losses.push_back(report.loss);
    return report.step + 1 == cut ? stop : proceed;
  });
  static_cast<void>(trainer.fit(NoiseImages()));
  out.state = state_of(trainer);
  return out;
}

}  // namespace

TEST_CASE("whole training steps on Cuda give the published numbers", "[cuda]") {
  if (!device_is_there()) return;
  check_training(Cuda());
}

TEST_CASE("a run on Cuda is the run on the CPU, with equal bits from run to run", "[cuda]") {
  if (!device_is_there()) return;
  TrainerOptions options = tiny_options();
  for (const bool recompute : {false, true}) {
    INFO("recompute " << recompute);
    options.recompute = recompute;
    const auto on_cpu = run<Tiny>(Cpu({.threads = 1}), options);
    const auto first = run<Tiny>(Cuda(), options);
    REQUIRE(first.losses.size() == on_cpu.losses.size());
    for (std::size_t i = 0; i < first.losses.size(); ++i)
      CHECK(first.losses[i] == Approx(on_cpu.losses[i]).epsilon(1e-4));
    // AdamW amplifies the rounding of gradients that are nearly 0: the run in double says what may be asked
    // for. (On a device, sums have another order still: then a thousandth will do.)
    const auto exact = run<Tiny>(Reference<double>(), options);
    INFO("Cpu is off by " << distance(on_cpu.state, exact.state));
    CHECK(distance(first.state, exact.state) < std::max(1e-3, 2 * distance(on_cpu.state, exact.state)));
    for (int way = 1; way < ways_of_running(); ++way) {
      run_in_way(way);
      CHECK(same_bits(run<Tiny>(Cuda(), options).state, first.state));
    }
    run_in_way(0);
  }
}

TEST_CASE("checkpoints move between Cuda and the CPU", "[cuda]") {
  if (!device_is_there()) return;
  const TemporaryFolder folder;
  TrainerOptions options = tiny_options();
  const Cuda cuda;
  const auto whole = run<Tiny>(cuda, options);
  options.checkpoint = folder / "run.checkpoint";
  const auto resumed_on = [&](const auto& backend) {
    return run<Tiny>(backend, options, options.checkpoint);
  };
  SECTION("from Cuda to Cuda, with the bits of a run that was not cut") {
    static_cast<void>(run<Tiny>(cuda, options, {}, 3));
    CHECK(same_bits(resumed_on(cuda).state, whole.state));
  }
  SECTION("from Cuda to the CPU") {
    static_cast<void>(run<Tiny>(cuda, options, {}, 3));
    CHECK(distance(resumed_on(Cpu({.threads = 1})).state, whole.state) < 0.03);
  }
  SECTION("from the CPU to Cuda") {
    static_cast<void>(run<Tiny>(Cpu({.threads = 1}), options, {}, 3));
    CHECK(distance(resumed_on(cuda).state, whole.state) < 0.03);
  }
}

TEST_CASE("other recipes and number formats train on Cuda", "[cuda]") {
  if (!device_is_there()) return;
  TrainerOptions options = tiny_options();
  options.epochs = 1;
  using Dino = Tiny::with_tokens<ClassToken>::with_loss<ImageLoss>;
  const auto on_cpu = run<Dino>(Cpu({.threads = 1}), options);
  const auto on_cuda = run<Dino>(Cuda(), options);
  REQUIRE(on_cuda.losses.size() == on_cpu.losses.size());
  for (std::size_t i = 0; i < on_cpu.losses.size(); ++i)
    CHECK(on_cuda.losses[i] == Approx(on_cpu.losses[i]).epsilon(1e-4));
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    const auto rounded = run<Dino>(Cuda(CudaOptions{.precision = precision}), options);
    for (std::size_t i = 0; i < on_cpu.losses.size(); ++i)
      CHECK(rounded.losses[i] == Approx(on_cpu.losses[i]).epsilon(0.02));
  }
}

TEST_CASE("features of a frozen backbone on Cuda are those of the CPU", "[cuda]") {
  if (!device_is_there()) return;
  const auto features_on = [](const auto& backend) {
    FeatureExtractor<Tiny::Backbone, std::decay_t<decltype(backend)>> extractor(
        backend, FeatureOptions{.height = 16, .width = 24, .batch = 2, .blocks = {0, -1}, .flips = true});
    std::vector<float> weights(static_cast<std::size_t>(extractor.layout().total()));
    RandomStream random({.seed = 5});
    for (float& w : weights) w = static_cast<float>(0.3 * random.normal());
    extractor.load(weights);
    std::vector<float> images(static_cast<std::size_t>(3 * extractor.image_size()));
    for (float& p : images) p = static_cast<float>(random.normal());
    std::vector<float> classes(static_cast<std::size_t>(3 * extractor.width()));
    std::vector<float> patches(static_cast<std::size_t>(3 * extractor.grid().size() * extractor.width()));
    extractor.extract(std::span<float>(classes), std::span<float>(patches), std::span<const float>(images));
    return std::vector<std::vector<float>>{classes, patches};
  };
  CHECK(distance(features_on(Cuda()), features_on(Cpu())) < 1e-5);
}
