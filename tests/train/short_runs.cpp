// What a run of a step or two tells: its summary, and what a trainer that was moved from says.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/data/source.hpp>
#include <dssl/instances.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>
#include "catch.hpp"
#include "temporary_folder.hpp"
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

TEST_CASE("A finished run is extended, with the schedules of the longer run from there on", "[trainer]") {
  const test::TemporaryFolder folder;
  const std::string finished = folder / "finished.safetensors";
  const std::string halfway = folder / "halfway.safetensors";
  const MemoryImages images({Image<float>(20, 20, 3), Image<float>(24, 20, 3)});  // one step an epoch
  const auto rates_of = [&images](Small& trainer, Index stop_after = 100) {
    std::vector<double> rates;
    trainer.on_step([&](const StepReport& report) {
      rates.push_back(report.learning_rate);
      rates.push_back(report.teacher_momentum);
      return report.step + 1 == stop_after ? stop : proceed;
    });
    trainer.fit(images);
    return rates;
  };
  Small whole = small_trainer(4);
  const std::vector<double> of_whole = rates_of(whole);
  Small first = small_trainer(2);
  CHECK(rates_of(first).size() == 4);
  first.save(finished);

  Small extended = small_trainer(4);
  CHECK(test::contains(test::thrown_by<CheckpointError>([&] { extended.resume(finished); }), "option 'epochs' 2"));
  extended.extend(finished);
  CHECK(extended.steps_done() == 2);
  CHECK(rates_of(extended) == std::vector<double>(of_whole.begin() + 4, of_whole.end()));
  CHECK(extended.steps_done() == 4);

  // An extension that is interrupted is resumed to the same bits.
  Small part = small_trainer(4);
  part.extend(finished);
  rates_of(part, 3);
  part.save(halfway);
  Small rest = small_trainer(4);
  rest.resume(halfway);
  rates_of(rest);
  CHECK(rest.teacher().values == extended.teacher().values);
  CHECK(rest.teacher().values != whole.teacher().values);  // whose first steps had another learning rate

  Small shorter = small_trainer(1);
  CHECK(test::contains(test::thrown_by<CheckpointError>([&] { shorter.extend(finished); }),
                       "was made with 2 epochs; expected at most those it is extended to, 1"));
}
