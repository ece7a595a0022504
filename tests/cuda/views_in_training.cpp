// Runs whose views the device makes: the run of the host's views, resumed, cut short, with images that cannot
// be read.
#include "catch.hpp"

#include <stop_token>
#include <string>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cuda.hpp>
#include <dssl/core/error.hpp>
#include <dssl/train/trainer.hpp>
#include <dssl/views/paired_views.hpp>

#include "cuda/rig.hpp"
#include "cuda/small_runs.hpp"
#include "docs/cuda.cpp"  // what docs/cuda.md quotes: compiled here, where most of what it instantiates is
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Four updates of two passes.
TrainerOptions options_of(ViewsOn where) {
  TrainerOptions options = tiny_options();
  options.epochs = 2;
  options.views_on = where;
  return options;
}
TrainerOptions device_options() { return options_of(ViewsOn::device); }

/// Sixteen images of noise, so many of which, from one on, cannot be read.
NoiseImages damaged_images(Index from, Index damaged) {
  std::vector<Index> unreadable;
  for (Index i = from; i < from + damaged; ++i) unreadable.push_back(i);
  return NoiseImages(16, unreadable);
}

/// A generator that only renders.
struct PlainViews {
  using Plan = ViewPlan;
  using Workspace = ViewWorkspace;
  [[nodiscard]] Index views() const { return 2; }
  [[nodiscard]] ViewSize size(Index) const { return {16, 16}; }
  void plan(std::vector<ViewPlan>& out, Index, Index, const RandomKey&) const { out.resize(2); }
  void render(const AnyImageView&, const ViewPlan&, std::span<float>, Workspace&) const {}
};

}  // namespace

TEST_CASE("a run on Cuda that makes its views there is the run with views of the host", "[cuda]") {
  if (!device_is_there()) return;
  const auto of_host = run<Tiny>(Cuda(), options_of(ViewsOn::host));
  const auto of_device = run<Tiny>(Cuda(), device_options());
  REQUIRE(of_device.losses.size() == of_host.losses.size());
  for (std::size_t i = 0; i < of_host.losses.size(); ++i)
    CHECK(of_device.losses[i] == Approx(of_host.losses[i]).epsilon(1e-5));
  CHECK(distance(of_device.state, of_host.state) < 1e-3);
  for (int way = 1; way < ways_of_running(); ++way) {
    run_in_way(way);
    CHECK(same_bits(run<Tiny>(Cuda(), device_options()).state, of_device.state));
  }
  run_in_way(0);
  // Views do not depend on who else loads, nor on how far ahead.
  TrainerOptions options = device_options();
  options.loader_threads = 1;
  options.prefetch = 1;
  CHECK(same_bits(run<Tiny>(Cuda(), options).state, of_device.state));
}

TEST_CASE("a run on Cuda with turned views of the device is the run with those of the host", "[cuda]") {
  if (!device_is_there()) return;
  const auto losses_on = [](ViewsOn where) {
    TrainerOptions options = options_of(where);
    options.views.rotation = 30;
    options.views.perspective = 0.2;
    options.views.quarter_turns = 0.5;
    return run<Tiny::with_views<Paired<Tiny::Views>>>(Cuda(), options).losses;
  };
  const auto of_host = losses_on(ViewsOn::host), of_device = losses_on(ViewsOn::device);
  REQUIRE(of_device.size() == of_host.size());
  for (std::size_t i = 0; i < of_host.size(); ++i) CHECK(of_device[i] == Approx(of_host[i]).epsilon(1e-4));
}

TEST_CASE("a run with views of the device goes on where it was cut, here or there", "[cuda]") {
  if (!device_is_there()) return;
  const TemporaryFolder folder;
  TrainerOptions options = device_options();
  const auto whole = run<Tiny>(Cuda(), options);
  options.checkpoint = folder / "run.checkpoint";
  static_cast<void>(run<Tiny>(Cuda(), options, {}, 3));
  SECTION("with views of the device") {
    CHECK(same_bits(run<Tiny>(Cuda(), options, options.checkpoint).state, whole.state));
  }
  SECTION("with views of the host") {
    options.views_on = ViewsOn::host;
    CHECK(distance(run<Tiny>(Cuda(), options, options.checkpoint).state, whole.state) < 1e-3);
  }
}

TEST_CASE("batches taken ahead change nothing of what a run says of unreadable images", "[cuda]") {
  if (!device_is_there()) return;
  const auto story = [](ViewsOn where, const NoiseImages& images, double bearable) {
    TrainerOptions options = options_of(where);
    options.epochs = 1;
    options.max_unreadable = bearable;
    Trainer<Tiny, Cuda> trainer(options, Cuda());
    std::vector<Index> out;
    trainer.on_step([&](const StepReport& report) {
      out.push_back(report.unreadable);
      return proceed;
    });
    const std::string error = thrown_by<DataError>([&] { static_cast<void>(trainer.fit(images)); });
    out.push_back(trainer.steps_done());
    return std::pair(out, error);
  };
  const auto bearable = story(ViewsOn::device, damaged_images(5, 3), 1.0);
  CHECK(bearable == story(ViewsOn::host, damaged_images(5, 3), 1.0));
  CHECK(bearable.second == "(nothing was thrown)");
  CHECK(bearable.first[bearable.first.size() - 2] > 0);
  const auto too_many = story(ViewsOn::device, damaged_images(4, 6), 0.01);
  CHECK(too_many == story(ViewsOn::host, damaged_images(4, 6), 0.01));
  CHECK(contains(too_many.second, "cannot be read"));
  CHECK(contains(story(ViewsOn::device, damaged_images(0, 16), 1.0).second, "images in a row cannot be read"));
}

TEST_CASE("a run with views of the device stops when it is told to", "[cuda]") {
  if (!device_is_there()) return;
  Trainer<Tiny, Cuda> trainer(device_options(), Cuda());
  std::stop_source stop_it;
  trainer.on_step([&](const StepReport& report) {
    if (report.step == 1) stop_it.request_stop();
    return proceed;
  });
  const RunSummary first = trainer.fit(NoiseImages(9), stop_it.get_token());
  CHECK(first.steps == 2);
  CHECK_FALSE(first.finished);
  trainer.on_step({});
  CHECK(trainer.fit(NoiseImages(9)).finished);
  CHECK(same_bits(state_of(trainer), run<Tiny>(Cuda(), device_options()).state));
}

TEST_CASE("the plan of a run with views of the device has the scratch in which they are rendered", "[cuda]") {
  if (!device_is_there()) return;
  const auto scratch_of = [](ViewsOn where) {
    const Cuda cuda;
    Trainer<Tiny, Cuda> trainer(options_of(where), cuda);
    const MemoryPlanEntry planned = trainer.memory_plan().entries.back();
    CHECK(planned.name == "scratch of the device");
    static_cast<void>(trainer.fit(NoiseImages(9)));
    CHECK(cuda.scratch_bytes() == planned.bytes);
    return planned.bytes;
  };
  CHECK(scratch_of(ViewsOn::host) < std::size_t{40} << 20);
  CHECK(scratch_of(ViewsOn::device) == std::size_t{80} << 20);  // 32 MiB for products, 48 for views
}

TEST_CASE("views on a device that cannot make them are an error in words", "[cuda]") {
  CHECK(thrown_by<OptionError>([] { Trainer<Tiny, Cpu> trainer(device_options(), Cpu({.threads = 1})); }) ==
        "option 'views_on' is device; expected host: this backend renders no views (Cuda does)");
  if (!device_is_there()) return;
  CHECK(contains(thrown_by<OptionError>(
                     [] { Trainer<Tiny::with_views<PlainViews>, Cuda> trainer(device_options(), Cuda()); }),
                 "option 'views_on' is device; expected host: the recipe's view generator"));
  CHECK(thrown_by<OptionError>([] {
          TrainerOptions options = device_options();
          options.views.parts = {{PhotometricKind::jpeg, 40}};
          Trainer<Tiny, Cuda> trainer(options, Cuda());
        }) == "option 'views_on' is device; expected host: photometric parts (jpeg=40) are made there alone");
}
