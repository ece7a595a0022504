// What a run of a step or two tells: its summary, and what a trainer that was moved from says.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/data/source.hpp>
#include <dssl/instances.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/trainer.hpp>
#include "catch.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;

namespace {

constexpr ViTConfig size{.image = 16, .patch = 8, .width = 16, .depth = 1, .heads = 2};
constexpr HeadConfig head{.hidden = 16, .bottleneck = 8, .prototypes = 8};
using Small = Trainer<DenseDino::with_backbone<ViT<size>>::with_head<ProjectionHead<head>>, Cpu>;

Small small_trainer(Index epochs = 1, bool other_images = false) {
  TrainerOptions options{.epochs = epochs, .batch = 2, .stochastic_depth = 0, .other_images = other_images};
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
  const test::TemporaryFolder folder;
  const std::string path = folder / "checkpoint.safetensors";
  CHECK_THAT(test::thrown_by<Error>([&] { first.save(path); }), Catch::Contains("save: this trainer was moved from"));
  CHECK_THAT(test::thrown_by<Error>([&] { (void)first.teacher(); }), Catch::Contains("teacher: this trainer was moved from"));
  CHECK(folder.entries() == 0);
  const RunSummary summary = second.fit(images);
  CHECK(summary.finished);
  CHECK(summary.steps == 1);

  second.save(path);
  CHECK_THAT(test::thrown_by<Error>([&] { first.resume(path); }), Catch::Contains("resume: this trainer was moved from"));
  first = std::move(second);
  CHECK_THAT(test::thrown_by<Error>([&] { second.fit(images); }), Catch::Contains("this trainer was moved from"));
  CHECK(first.teacher().values.size() > 0);
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

TEST_CASE("A run is resumed on the images that it was begun on, or on others where that is said", "[trainer]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "first.safetensors";
  const auto images_of = [](std::vector<std::string> names, Index width = 20) {
    return MemoryImages({Image<float>(20, 20, 3), Image<float>(24, width, 3)}, std::move(names));
  };
  const MemoryImages images = images_of({"set/a", "set/b"});
  Small first = small_trainer(2);
  first.on_step([](const StepReport&) { return stop; });
  first.fit(images);
  first.save(path);
  const auto resumed = [&](const MemoryImages& now, const std::string& from, bool other_images = false) {
    Small run = small_trainer(2, other_images);
    run.resume(from);
    const std::string message = test::thrown_by<DataError>([&] { run.fit(now); });
    CHECK(run.steps_done() == (message == "(nothing was thrown)" ? 2 : 1));
    return message;
  };
  const std::string nothing = "(nothing was thrown)";
  CHECK(resumed(images, path) == nothing);
  CHECK(resumed(images_of({"moved/to/a", "moved/to/b"}), path) == nothing);
  CHECK(resumed(images_of({"set/a", "set/c"}), path) ==
        "the run was begun on 2 images of other names, or in another order, than those of the data now, the first set/a; "
        "expected the same (option 'other_images' goes on with others)");
  CHECK(test::contains(resumed(images_of({"set/b", "set/a"}), path), "of other names, or in another order,"));
  CHECK(test::contains(resumed(images_of({"set/a", "set/b"}, 21), path), "of other sizes than"));
  CHECK(resumed(images_of({"set/a", "set/c"}), path, true) == nothing);

  // A checkpoint from before there were fingerprints knows nothing of the images but their number; nor does it name
  // options that there were not.
  const SafetensorsFile file = SafetensorsFile::open(path);
  SafetensorsWriter writer;
  for (const StoredTensor& tensor : file.tensors()) writer.add_bytes(tensor.name, tensor.type, tensor.shape, file.bytes(tensor.name));
  for (const auto& [key, value] : file.metadata()) {
    const bool later = std::any_of(std::begin(later_options), std::end(later_options),
                                   [&name = key](const LaterOption& o) { return name == join("option.", o.name); });
    if (key != "dataset" && !later) writer.metadata(key, value);
  }
  const std::string old = folder / "old.safetensors";
  writer.write(old);
  CHECK(resumed(images_of({"set/a", "set/c"}), old) == nothing);
}

TEST_CASE("The value of an option that an old checkpoint does not name is its default", "[trainer]") {
  std::set<std::string_view> found;
  const auto look = [&](std::string_view name, const auto& value) {
    for (const LaterOption& later : later_options) {
      if (later.name != name) continue;
      CHECK(later.value == detail::option_text(value));
      found.insert(later.name);
    }
  };
  for_each_option(TrainerOptions{}, look);
  for_each_option(TrainerOptionsOf<DinoV2Gram>{}, look);
  for_each_option(TrainerOptionsOf<Swav>{}, look);
  CHECK(found.size() == std::size(later_options));
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
