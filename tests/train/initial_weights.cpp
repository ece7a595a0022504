// Runs that begin with a backbone's weights.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "noise_images.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "train/tiny_run.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/sincos.hpp>
#include <dssl/train/initial_weights.hpp>
#include <dssl/train/recipes.hpp>

using namespace dssl;

namespace {

using Run = Trainer<test::Tiny, Cpu>;

Run run_of(std::uint64_t seed) {
  TrainerOptions options = test::tiny_options();
  options.seed = seed;
  return Run(options, Cpu({.threads = 1}));
}

std::vector<float> values(VectorView<float> network, const ParameterSpec& spec) {
  return {network.data() + spec.offset, network.data() + spec.offset + spec.size};
}

}  // namespace

TEST_CASE("a run begins with a backbone's weights in student and teacher, and with heads of its own") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "teacher.safetensors";
  Run first = run_of(3);
  REQUIRE(first.fit(test::NoiseImages(8)).finished);
  save_backbone(path, first.teacher());

  Run fresh = run_of(4);
  Run second = run_of(4);
  const LoadedBackbone loaded = begin_with(second, SafetensorsFile::open(path));
  CHECK(loaded.ignored == 0);
  std::size_t backbone = 0, heads = 0;
  for (const ParameterSpec& spec : second.step().layout().specs()) {
    INFO(spec.name.view());
    const bool of_backbone = spec.name.view().starts_with("backbone.");
    const auto expected = of_backbone ? values(first.step().teacher(), spec) : values(fresh.step().student(), spec);
    CHECK(values(second.step().student(), spec) == expected);
    CHECK(values(second.step().teacher(), spec) == expected);
    (of_backbone ? backbone : heads) += 1;
  }
  CHECK(backbone > 10);
  CHECK(heads > 3);

  // It trains from there, and is resumed as any run.
  REQUIRE(second.fit(test::NoiseImages(8)).finished);
  CHECK(test::contains(test::thrown_by<Error>([&] { begin_with(second, SafetensorsFile::open(path)); }), "steps were made already"));
}

TEST_CASE("a run begins with positions of sines and cosines, of the size that is asked for, in both networks") {
  const Run fresh = run_of(4);
  Run run = run_of(4);
  begin_with_sincos(run, 0.5);
  const GridSize grid = run.step().config().backbone.native_grid();
  const Index width = run.step().config().backbone.width;
  std::vector<float> table(static_cast<std::size_t>(grid.size() * width));
  sincos_positions(MatrixView<float>(table.data(), grid.size(), width), grid, SincosOrder::column_first);
  for (const ParameterSpec& spec : run.step().layout().specs()) {
    INFO(spec.name.view());
    const auto found = values(run.step().student(), spec);
    CHECK(found == values(run.step().teacher(), spec));
    if (spec.name.view() != "backbone.patch_pos_embed") {
      CHECK(found == values(fresh.step().student(), spec));
      continue;
    }
    double squares = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      squares += static_cast<double>(found[i]) * static_cast<double>(found[i]);
      CHECK(found[i] == Approx(table[i] / std::sqrt(2.0)).margin(1e-6));
    }
    CHECK(std::sqrt(squares / static_cast<double>(found.size())) == Approx(0.5).epsilon(1e-5));
  }
  CHECK(test::contains(test::thrown_by<OptionError>([&] { begin_with_sincos(run, 0); }), "'root_mean_square' is 0"));
  REQUIRE(run.fit(test::NoiseImages(8)).finished);
  CHECK(test::contains(test::thrown_by<Error>([&] { begin_with_sincos(run, 1); }), "steps were made already"));
}

TEST_CASE("weights of another shape leave a run as it was") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "other.safetensors";
  using Wider = test::Tiny::with_backbone<ViT<ViTConfig{.image = 16, .patch = 4, .width = 24, .depth = 2, .heads = 2}>>;
  Trainer<Wider, Cpu> other(test::tiny_options(), Cpu({.threads = 1}));
  save_backbone(path, other.teacher());
  Run fresh = run_of(4);
  Run run = run_of(4);
  CHECK(test::contains(test::thrown_by<CheckpointError>([&] { begin_with(run, SafetensorsFile::open(path)); }),
                       "does not fit this architecture"));
  for (const ParameterSpec& spec : run.step().layout().specs()) {
    CHECK(values(run.step().student(), spec) == values(fresh.step().student(), spec));
  }
}
