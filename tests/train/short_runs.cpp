// What a run of a step or two tells: its summary, and what a trainer that was moved from says.
#include <cmath>
#include <string>
#include <utility>

#include <dssl/backend/cpu.hpp>
#include <dssl/data/source.hpp>
#include <dssl/instances.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>
#include "catch.hpp"
#include "thrown.hpp"

using namespace dssl;

namespace {

constexpr ViTConfig size{.image = 16, .patch = 8, .width = 16, .depth = 1, .heads = 2};
constexpr HeadConfig head{.hidden = 16, .bottleneck = 8, .prototypes = 8};
using Small = Trainer<DenseDino::with_backbone<ViT<size>>::with_head<ProjectionHead<head>>, Cpu>;

Small small_trainer(Index epochs = 1) {
  TrainerOptions options{.epochs = epochs, .batch = 2, .stochastic_depth = 0};
  options.views.locals = 1;
  options.views.global_size = options.views.local_size = {16, 16};
  options.optimiser.warmup_epochs = 0;
  return Small(options, Cpu({.threads = 1}));
}

}  // namespace

TEST_CASE("A trainer that was moved from refuses to fit, and the one it was moved to trains", "[trainer]") {
  const MemoryImages images({Image<float>(20, 20, 3), Image<float>(24, 20, 3)});
  Small first = small_trainer();
  Small second = std::move(first);
  CHECK_THAT(test::thrown_by<Error>([&] { first.fit(images); }), Catch::Contains("this trainer was moved from"));
  const RunSummary summary = second.fit(images);
  CHECK(summary.finished);
  CHECK(summary.steps == 1);
}

TEST_CASE("A run's summary holds the loss of its last step", "[trainer]") {
  const MemoryImages images({Image<float>(20, 20, 3), Image<float>(24, 20, 3)});
  Small trainer = small_trainer(2);
  double last = 0;
  trainer.on_step([&](const StepReport& report) {
    last = report.loss;
    return proceed;
  });
  const RunSummary summary = trainer.fit(images);
  CHECK(summary.steps == 2);
  CHECK(last > 0);
  CHECK(summary.loss == last);
  CHECK(std::isnan(trainer.fit(images).loss));  // nothing was left to do
}
