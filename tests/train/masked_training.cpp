// Whole runs with masked patches: bits for any number of threads and after a resume, words of a checkpoint; registers.
#include <cstring>
#include <string>
#include <vector>

#include "catch.hpp"
#include "noise_images.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "train/term_steps.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/trainer.hpp>

using namespace dssl;

namespace {

constexpr ViTConfig with_registers{
    .image = 16, .patch = 4, .width = 16, .depth = 2, .heads = 2, .mlp_ratio = 2, .channels = 3, .registers = 3};
using Small = DinoV2::with_backbone<ViT<with_registers>>::with_head<ProjectionHead<test::term_widths>>;

TrainerOptionsOf<Small> small_options() {
  TrainerOptionsOf<Small> options;
  options.epochs = 3;
  options.batch = 4;
  options.seed = 5;
  options.views.locals = 1;
  options.views.global_size = {16, 16};
  options.views.local_size = {8, 8};
  options.optimiser.warmup_epochs = 1;
  options.optimiser.learning_rate = 0.01;
  options.stochastic_depth = 0.3;
  options.loss.of<KoLeo>().weight = 0.1;
  return options;
}

template <class T>
std::vector<float> state_of(const T& trainer) {
  std::vector<float> out;
  detail::for_each_state(trainer.step(), [&](const auto&, const auto& values, const auto&) {
    out.insert(out.end(), values.flat().begin(), values.flat().end());
  });
  return out;
}

}  // namespace

TEST_CASE("masked training: bits for any number of threads, and after a resume") {
  const test::NoiseImages images(9);
  const test::TemporaryFolder folder;
  Trainer<Small, Cpu> whole(small_options(), Cpu({.threads = 1}));
  double masked_loss = 0;
  whole.on_step([&](const StepReport& report) {
    masked_loss += report.term("masked-sinkhorn").loss;
    return proceed;
  });
  REQUIRE(whole.fit(images).finished);
  CHECK(masked_loss > 0.1);
  const auto expected = state_of(whole);
  CHECK(whole.recipe().find("registers 3") != std::string::npos);
  CHECK(whole.recipe().find("masks: blocks in 0.5 of the views") != std::string::npos);

  auto options = small_options();
  options.checkpoint = folder / "checkpoint.safetensors";
  for (const int threads : {2, 4}) {
    Trainer<Small, Cpu> first(options, Cpu({.threads = threads}));
    first.on_step([](const StepReport& report) { return report.step + 1 == 3 ? stop : proceed; });
    static_cast<void>(first.fit(images));
    Trainer<Small, Cpu> second(options, Cpu({.threads = 1}));
    second.resume(options.checkpoint);
    REQUIRE(second.fit(images).finished);
    const auto found = state_of(second);
    REQUIRE(found.size() == expected.size());
    CHECK(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0);
  }
  // Other masks are another run.
  options.masks.high = 0.4;
  Trainer<Small, Cpu> other(options, Cpu({.threads = 1}));
  CHECK(test::contains(test::thrown_by<CheckpointError>([&] { other.resume(options.checkpoint); }), "masks: blocks"));
  options.masks.high = 2;
  CHECK(test::contains(test::thrown_by<OptionError>([&] { Trainer<Small, Cpu> refused(options); }), "'masks.high' is 2"));
}

TEST_CASE("masked training: rows that stochastic depth leaves out change nothing") {
  // Cpu leaves them out, Reference computes them and multiplies by 0.
  BasicStepOptions<typename Small::Loss::Options> options;
  options.shape = {.batch = 3, .channels = 3, .points = 0, .views = {{16, 16}, {16, 16}, {8, 8}}, .masked = 2 * 3 * 16};
  options.stochastic_depth = 0.5;
  options.seed = 3;
  const ViewBatch batch = test::drawn_batch(options.shape, 8);
  const auto gradients = [&](auto&& step) {
    test::draw(step);
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, 0.3);
    return std::vector<double>(step.gradients().flat().begin(), step.gradients().flat().end());
  };
  const auto expected = gradients(TrainingStep<Small, Reference<double>>({}, options));
  const auto found = gradients(TrainingStep<Small, BasicCpu<double>>(BasicCpu<double>({.threads = 2}), options));
  REQUIRE(found.size() == expected.size());
  double off = 0, largest = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    off = std::max(off, std::abs(found[i] - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  CHECK(off < 1e-9 * largest);
}
