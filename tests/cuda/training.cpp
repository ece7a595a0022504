// Whole steps and runs on the Cuda backend: the published numbers, the same run as on the CPU, checkpoints
// that move.
#include "catch.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cuda.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/random.hpp>
#include <dssl/features/features.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/points/mixed_points.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/train/initial_weights.hpp>
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

namespace {

/// A backbone of random weights as DINOv2 publishes its own: registers, LayerScale, a mask token, one table of class and
/// patches. It fits `Tiny`'s sizes.
void write_dinov2(const std::string& path) {
  std::vector<std::pair<std::string, std::vector<Index>>> tensors{
      {"cls_token", {1, 1, 16}},  {"register_tokens", {1, 4, 16}},         {"mask_token", {1, 16}}, {"pos_embed", {1, 17, 16}},
      {"norm.weight", {16}},      {"patch_embed.proj.weight", {16, 3, 4, 4}}, {"norm.bias", {16}},     {"patch_embed.proj.bias", {16}}};
  for (const std::string block : {"blocks.0.", "blocks.1."}) {
    for (const auto& [layer, rows, columns] :
         {std::tuple("attn.qkv", 48, 16), {"attn.proj", 16, 16}, {"mlp.fc1", 64, 16}, {"mlp.fc2", 16, 64}}) {
      tensors.push_back({join(block, layer, ".weight"), {rows, columns}});
      tensors.push_back({join(block, layer, ".bias"), {rows}});
    }
    for (const char* const each : {"norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma", "ls2.gamma"})
      tensors.push_back({block + each, {16}});
  }
  RandomStream random({.seed = 23});
  SafetensorsWriter writer;
  std::vector<std::vector<float>> values(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, shape] = tensors[i];
    Index count = 1;
    for (const Index extent : shape) count *= extent;
    for (Index n = 0; n < count; ++n) values[i].push_back(static_cast<float>((name.ends_with("gamma") ? 0.7 : 0) + 0.2 * random.normal()));
    writer.add(name, shape, std::span<const float>(values[i]));
  }
  writer.write(path);
}

/// `Tiny` on such a backbone, whose LayerScale is trained.
using OnDinoV2 = Tiny::with_backbone<ViT<ViTConfig{.image = 16,
                                                   .patch = 4,
                                                   .width = 16,
                                                   .depth = 2,
                                                   .heads = 2,
                                                   .registers = 4,
                                                   .position_rule = PositionRule::size_antialiased,
                                                   .layer_scale = true}>>;

/// Losses and state after a few steps from a file's weights, with which student and teacher begin to the bit.
template <class B>
Run begun_with(const B& backend, const TrainerOptions& options, const BackboneFile& file) {
  using T = typename B::Scalar;
  Trainer<OnDinoV2, B> trainer(options, backend);
  CHECK(begin_with(trainer, file, "").ignored == 1);  // the mask token, which nothing here reads
  const auto& step = trainer.step();
  const auto values_of = [&](VectorView<T> network, const std::string& name) {
    const ParameterSpec& spec = step.layout().find("backbone." + name);
    std::vector<T> out(static_cast<std::size_t>(spec.size));
    step.backend().download(std::span<T>(out), static_cast<const T*>(network.data() + spec.offset));
    return out;
  };
  const std::vector<std::string> names{"cls_token", "register_tokens", "patch_pos_embed", "blocks.0.ls1.gamma", "blocks.1.ls2.gamma",
                                       "blocks.1.attn.qkv.weight", "norm.bias"};
  for (const std::string& name : names) {
    INFO(name);
    CHECK(values_of(step.student(), name) == file.read<T>(name));
    CHECK(values_of(step.teacher(), name) == file.read<T>(name));
  }
  Run out;
  trainer.on_step([&](const StepReport& report) {
    out.losses.push_back(report.loss);
    return report.step + 1 == 3 ? stop : proceed;
  });
  static_cast<void>(trainer.fit(NoiseImages(9)));
  for (const std::string& name : names) {
    INFO(name);
    CHECK(values_of(step.student(), name) != file.read<T>(name));
  }
  out.state = state_of(trainer);
  return out;
}

}  // namespace

TEST_CASE("DenseDINO that begins with weights as DINOv2's goes on alike on every backend", "[cuda]") {
  if (!device_is_there()) return;
  const TemporaryFolder folder;
  write_dinov2(folder / "dinov2.safetensors");
  const BackboneFile file = BackboneFile::open(folder / "dinov2.safetensors");
  REQUIRE(file.description().family == WeightFamily::dinov2);
  REQUIRE(file.description().layer_scale);
  REQUIRE(file.description().registers == 4);
  TrainerOptions options = tiny_options();
  options.optimiser.warmup_epochs = 0;
  options.optimiser.learning_rate = 0.02;
  const Run exact = begun_with(Reference<double>(), options, file);
  REQUIRE(exact.losses.size() == 3);
  CHECK(exact.losses[2] != Approx(exact.losses[0]).epsilon(1e-3));
  const auto check = [&](const Run& other) {
    REQUIRE(other.losses.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(other.losses[i] == Approx(exact.losses[i]).epsilon(1e-4));
    CHECK(distance(other.state, exact.state) < 1e-3);
  };
  check(begun_with(Cpu({.threads = 1}), options, file));
  check(begun_with(Cuda(), options, file));
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
