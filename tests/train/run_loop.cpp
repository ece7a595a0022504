// The loop of a run over a step that only writes down what it is asked.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/data/source.hpp>
#include <dssl/train/run_loop.hpp>
#include "catch.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using test::contains;

namespace {

/// Three numbers of a type.
template <class T>
class Numbers final : public LastingState {
 public:
  explicit Numbers(std::string& log) : x_log(log) {}

  [[nodiscard]] ElementType element() const override { return *element_type_of<T>(); }
  [[nodiscard]] std::vector<LastingTensor> tensors() const override { return {{"weights", {3}, values->data(), 3}}; }
  void download(std::span<std::byte> to, const LastingTensor& tensor) const override {
    std::memcpy(to.data(), tensor.data, to.size());
  }
  void upload(const LastingTensor& tensor, std::span<const std::byte> from) const override {
    std::memcpy(tensor.data, from.data(), from.size());
  }
  [[nodiscard]] std::string non_finite_tensor() const override {
    x_log += 'n';
    return {};
  }
  [[nodiscard]] std::optional<FrozenWeights> frozen() const override { return std::nullopt; }
  void require_taught() const override {}

  std::shared_ptr<std::vector<T>> values = std::make_shared<std::vector<T>>(3);

 private:
  std::string& x_log;
};

/// Writes a letter for each call.
class Writer final : public AnyStep {
 public:
  void begin() override { log += 'b'; }
  void start_pass(const ViewBatch& batch, double /*teacher_temperature*/) override {
    log += 's';
    samples.insert(samples.end(), batch.samples.begin(), batch.samples.end());
  }
  void finish_pass(StepReport& /*report*/) override {
    log += 'f';
    if (fails) throw NonFiniteError("the loss is not finite");
  }
  void update(StepReport& /*report*/, const UpdateNumbers& now) override {
    log += 'u';
    state_numbers.values->front() += 1;
    updates.push_back(now);
  }
  void inspect(StepReport& report) override {
    log += 'i';
    report.feature_spread = 1;
  }
  [[nodiscard]] const LastingState& state() const override { return state_numbers; }
  [[nodiscard]] bool finite_view(Index view, Index image) const override { return !(fails && view == 0 && image == 1); }
  [[nodiscard]] std::unique_ptr<ViewsAhead> rendering(std::function<std::optional<SampleViews>()> /*next*/) const override {
    return nullptr;
  }
  [[nodiscard]] Index prototypes() const override { return 2; }
  [[nodiscard]] Index width() const override { return 4; }

  std::string log;
  std::vector<std::int64_t> samples;
  std::vector<UpdateNumbers> updates;
  Numbers<float> state_numbers{log};
  bool fails = false;
};

/// Two passes of two images an update; of the five images there are, so one update an epoch.
RunOptions options_of(const std::string& checkpoint = {}) {
  TrainerOptions options{.epochs = 2, .batch = 2, .accumulate = 2, .seed = 5, .checkpoint = checkpoint};
  return run_options(options);
}

RunLoop loop_of(RunOptions options, std::string recipe = "no recipe at all") {
  const auto make = [](SampleViews& out, const AnyImageView& /*image*/, const RandomKey& /*key*/) {
    out.images.assign(8, 1.0F);
    out.frames.resize(2);
  };
  return {std::move(options),
          {.shape = {.batch = 2, .channels = 1, .views = {{2, 2}, {2, 2}}}, .make = make, .make_packed = {}},
          std::move(recipe)};
}

MemoryImages five_images() { return MemoryImages(std::vector<AnyImage>(5, Image<std::uint8_t>(4, 4, 1))); }

}  // namespace

TEST_CASE("A step of a run is a few calls, always the same", "[run_loop]") {
  const MemoryImages images = five_images();
  Writer step;
  RunLoop loop = loop_of(options_of());
  std::vector<std::string> logs;
  loop.on_step([&](const StepReport&) {
    logs.push_back(std::exchange(step.log, {}));
    return proceed;
  });
  const RunSummary summary = loop.fit(step, SourceView(images), {});
  CHECK(summary.finished);
  // At the end of an epoch a look at what lasts, and at the last batch once more.
  CHECK(logs == std::vector<std::string>{"bsfsfuinbsf", "bsfsfuinbsf"});
  CHECK(step.log.empty());
  REQUIRE(step.samples.size() == 12);
  CHECK(step.samples[2] == step.samples[4]);
  CHECK(step.samples[3] == step.samples[5]);
  REQUIRE(step.updates.size() == 2);
  CHECK(step.updates[0].optimiser.step == 0);
  CHECK(step.updates[1].optimiser.step == 1);
  CHECK(step.updates[1].teacher_momentum > step.updates[0].teacher_momentum);
}

TEST_CASE("What lasts of any step goes into a checkpoint and comes back", "[run_loop]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "checkpoint.safetensors";
  const MemoryImages images = five_images();
  Writer step;
  *step.state_numbers.values = {0, 0.25F, -3};
  loop_of(options_of(path)).fit(step, SourceView(images), {});

  Writer again;
  RunLoop resumed = loop_of(options_of());
  resumed.resume(again.state(), path, false);
  CHECK(resumed.steps_done() == 2);
  CHECK(*again.state_numbers.values == std::vector<float>{2, 0.25F, -3});

  const auto refused = [&](const LastingState& state, RunLoop loop) {
    return test::thrown_by<CheckpointError>([&] { loop.resume(state, path, false); });
  };
  std::string log;
  CHECK(contains(refused(Numbers<double>(log), loop_of(options_of())), "'weights' has another precision"));
  CHECK(contains(refused(again.state(), loop_of(options_of(), "another recipe")), "another recipe: no recipe at all"));
  // Numbers of a loss are known by their names and texts.
  TrainerOptions other{.epochs = 2, .batch = 2, .accumulate = 2, .seed = 5};
  other.loss.alpha = 0.75;
  const std::string words = refused(again.state(), loop_of(run_options(other)));
  CHECK(contains(words, "alpha' "));
  CHECK(contains(words, "this run has 0.75"));
}

TEST_CASE("A step that is not finite names the view it came from", "[run_loop]") {
  const MemoryImages images = five_images();
  Writer step;
  step.fails = true;
  const std::string words = test::thrown_by<NonFiniteError>([&] { loop_of(options_of()).fit(step, SourceView(images), {}); });
  CHECK(words == join("the loss is not finite; found not finite: view 0 of image ", step.samples[1]));
}
