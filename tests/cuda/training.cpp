// Whole steps and runs on the Cuda backend: the published numbers, the same run as on the CPU, checkpoints
// that move.
#include "catch.hpp"

#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cuda.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/features/features.hpp>
#include <dssl/points/mixed_points.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/train/trainer.hpp>

#include "cuda/rig.hpp"
#include "cuda/small_runs.hpp"
#include "temporary_folder.hpp"
#include "train/training_parity.hpp"

using namespace dssl;
using namespace dssl::test;

TEST_CASE("whole training steps on Cuda give the published numbers", "[cuda]") {
  if (!device_is_there()) return;
  check_training(Cuda());
  check_training(Cuda(), true);  // the student's views one after the other
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

TEST_CASE("points that the teacher chooses on Cuda are those that it chooses on the CPU", "[cuda]") {
  if (!device_is_there()) return;
  using Drawn = Tiny::with_points<MixedPoints<AttentionPoints<1>, DisagreementPoints<1>>>;
  TrainerOptions options = tiny_options();
  options.epochs = 1;
  const auto on_cpu = run<Drawn>(Cpu({.threads = 1}), options);
  const auto on_cuda = run<Drawn>(Cuda({.graphs = true}), options);
  REQUIRE(on_cuda.losses.size() == on_cpu.losses.size());
  for (std::size_t i = 0; i < on_cpu.losses.size(); ++i)
    CHECK(on_cuda.losses[i] == Approx(on_cpu.losses[i]).epsilon(1e-4));
  CHECK(same_bits(run<Drawn>(Cuda(), options).state, on_cuda.state));
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
