// Patches held to a copy of the teacher (Gram anchoring): when copies are taken, the term in small steps, whole runs.
#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "noise_images.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "train/term_steps.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/loss/gram_term.hpp>
#include <dssl/train/initial_weights.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/trainer.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

using Anchored = WeightedSum<ImageLevel, Gram<>>;
using HeldToTeacher = WeightedSum<ImageLevel, Gram<Ema>>;

static_assert(Anchored::snapshots == 1 && Anchored::snapshot_reads == FeatureKinds{.map = true});
static_assert(Anchored::teacher_reads == FeatureKinds{.class_level = true} && Anchored::teacher_pass);
static_assert(HeldToTeacher::snapshots == 0 && HeldToTeacher::teacher_reads.map);

/// The updates, from 1, of the first `count` after which a copy is taken.
std::vector<Index> taken(const SnapshotOptions& options, Index count) {
  std::vector<Index> out;
  for (Index updates = 0; updates < count; ++updates) {
    if (options.due(updates)) out.push_back(updates + 1);
  }
  return out;
}

constexpr ViTConfig small_size{.image = 16, .patch = 4, .width = 16, .depth = 2, .heads = 2, .mlp_ratio = 2, .channels = 3};
using Small = DinoV2Gram::with_backbone<ViT<small_size>>::with_head<ProjectionHead<term_widths>>;

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
  options.loss.of<Gram<>>().options.snapshot = {.first = 2, .every = 2};
  return options;
}

template <class Run>
std::vector<float> state_of(const Run& trainer) {
  std::vector<float> out;
  detail::for_each_state(trainer.step(), [&](const auto&, const auto& values, const auto&) {
    out.insert(out.end(), values.flat().begin(), values.flat().end());
  });
  return out;
}

}  // namespace

TEST_CASE("copies of the teacher are taken after multiples of a number of updates, from one on, so many times") {
  CHECK(taken({.first = 0, .every = 2}, 7) == std::vector<Index>{2, 4, 6});
  CHECK(taken({.first = 5, .every = 2}, 9) == std::vector<Index>{6, 8});
  CHECK(taken({.first = 4, .every = 2, .most = 2}, 20) == std::vector<Index>{4, 6});
  CHECK(taken({.first = 0, .every = 3, .most = 1}, 20) == std::vector<Index>{3});
  GramOptions options;
  options.snapshot.every = 0;
  CHECK(contains(thrown_by<OptionError>([&] { options.validate("loss.gram."); }), "'loss.gram.snapshot.every' is 0"));
}

TEST_CASE("patches held to a copy of the teacher, or to the teacher") {
  SECTION("copy") { check_term<Anchored>(); }
  SECTION("copy, beside masked patches") {
    check_term<WeightedSum<SinkhornImageLevel<>, SinkhornMaskedLevel<>, Gram<>>>();
  }
  SECTION("teacher") { check_term<HeldToTeacher>(); }
}

TEST_CASE("a copy is another network's weights through the same pass") {
  const auto options = options_of<Anchored>();
  const auto of_teacher = options_of<HeldToTeacher>();
  TrainingStep<Tiny<Anchored>, Reference<double>> copied({}, options);
  TrainingStep<Tiny<HeldToTeacher>, Reference<double>> held({}, of_teacher);
  draw(copied);
  draw(held);
  const ViewBatch batch = drawn_batch(options.shape, 5);
  const auto loss = [&](auto& step) {
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, 0.4);
    return report.term("gram").loss;
  };
  // The copy has weights of its own.
  CHECK(loss(copied) > 1e-6);
  CHECK(loss(copied) != loss(held));
  std::copy_n(copied.teacher().data(), copied.teacher().size(), copied.snapshot().data());
  CHECK(loss(copied) == loss(held));
  std::copy_n(copied.student().data(), copied.student().size(), copied.snapshot().data());
  CHECK(loss(copied) < 1e-25);
}

TEST_CASE("the memory plan names what a copy of the teacher takes, and counts it in no other part") {
  const auto plan_of = []<class Loss>(std::type_identity<Loss>) {
    return TrainingStep<Tiny<Loss>, Reference<double>>({}, options_of<Loss>()).memory_plan();
  };
  const auto bytes = [](const MemoryPlan& plan, std::string_view name) -> std::size_t {
    std::size_t sum = 0;
    Index met = 0;
    for (const MemoryPlanEntry& entry : plan.entries) {
      if (entry.name != name) continue;
      sum += entry.bytes;
      ++met;
    }
    INFO(name);
    CHECK(met == 1);
    return sum;
  };
  const MemoryPlan copied = plan_of(std::type_identity<Anchored>{});
  const MemoryPlan held = plan_of(std::type_identity<HeldToTeacher>{});
  const std::string weights = "weights of student and teacher, gradients";
  // Two networks and their gradients, and one more.
  CHECK(bytes(copied, weights) == bytes(held, weights));
  CHECK(bytes(copied, "weights of the teacher's copy") == bytes(copied, weights) / 3);
  // The copy's pass overwrites the teacher's, and is as large but for the head.
  CHECK(bytes(copied, "activations of the teacher's copy, beyond what the teacher's left") <
        bytes(copied, "teacher's activations"));
  // Beside the inputs: which rows its pass reads.
  const std::string layouts = "views, points and token layouts";
  CHECK(bytes(copied, layouts) > bytes(held, layouts));
  CHECK(bytes(copied, layouts) - bytes(held, layouts) < bytes(copied, "weights of the teacher's copy"));
  for (const MemoryPlanEntry& entry : held.entries) CHECK_FALSE(contains(entry.name, "copy"));
}

TEST_CASE("a copy is the teacher after the updates that it is taken at, and stays what it is between them") {
  auto options = options_of<Anchored>();
  options.loss.of<Gram<>>().options.snapshot = {.first = 0, .every = 2};
  TrainingStep<Tiny<Anchored>, Reference<double>> step({}, options);
  draw(step);
  const auto values = [](VectorView<double> v) { return std::vector<double>(v.flat().begin(), v.flat().end()); };
  auto before = values(step.snapshot());
  for (Index i = 0; i < 4; ++i) {
    StepReport report;
    step.begin();
    step.forward_backward(report, drawn_batch(options.shape, 7, 4 * i), 0.04);
    step.update(report, {.optimiser = {.learning_rate = 1e-2, .step = i}, .teacher_momentum = 0.9});
    CHECK(values(step.snapshot()) == (i % 2 == 1 ? values(step.teacher()) : before));
    CHECK((values(step.snapshot()) == before) == (i % 2 == 0));
    before = values(step.snapshot());
  }
}

TEST_CASE("DINOv2 with anchored patches: bits for any number of threads, and after a resume") {
  const NoiseImages images(9);
  const TemporaryFolder folder;
  Trainer<Small, Cpu> whole(small_options(), Cpu({.threads = 1}));
  double anchored = 0;
  whole.on_step([&](const StepReport& report) {
    anchored += report.term("gram").loss;
    return proceed;
  });
  REQUIRE(whole.fit(images).finished);
  CHECK(anchored > 1e-6);
  const auto expected = state_of(whole);

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
  options.loss.of<Gram<>>().options.snapshot.every = 3;
  Trainer<Small, Cpu> other(options, Cpu({.threads = 1}));
  CHECK(contains(thrown_by<CheckpointError>([&] { other.resume(options.checkpoint); }), "'loss.gram.snapshot.every' 2"));
}

TEST_CASE("a run that begins with a backbone's weights has them in the copy, too") {
  const TemporaryFolder folder;
  Trainer<Small, Cpu> other(small_options(), Cpu({.threads = 1}));
  REQUIRE(other.fit(NoiseImages(9)).finished);
  save_backbone(folder / "other.safetensors", other.teacher());
  auto options = small_options();
  options.seed = 6;
  Trainer<Small, Cpu> run(options, Cpu({.threads = 1}));
  const auto backbone = [](const auto& step, VectorView<float> network) {
    std::vector<float> out;
    for (const ParameterSpec& spec : step.layout().specs()) {
      if (!spec.name.view().starts_with("backbone.")) continue;
      out.insert(out.end(), network.data() + spec.offset, network.data() + spec.offset + spec.size);
    }
    return out;
  };
  const auto expected = backbone(other.step(), other.step().teacher());
  REQUIRE(backbone(run.step(), run.step().snapshot()) != expected);
  begin_with(run, SafetensorsFile::open(folder / "other.safetensors"));
  CHECK(backbone(run.step(), run.step().snapshot()) == expected);
  CHECK(backbone(run.step(), run.step().teacher()) == expected);
}
