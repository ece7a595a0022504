// Class tokens and maps held to a frozen teacher of another shape: the terms in small steps, whole runs.
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "noise_images.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/loss/imitation_term.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/trainer.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

using Wide = Frozen<ViT<listed_teacher>>;
using Alike = Frozen<ViT<term_size>>;
using OfClass = Imitate<Imitated::class_level, Wide>;
using OfMap = Imitate<Imitated::map, Wide>;
template <Imitated What>
using Bare = Imitate<What, Alike, Adapter::none>;

static_assert(WeightedSum<OfClass, ImageLevel>::frozen_reads == FeatureKinds{.class_level = true});
static_assert(!WeightedSum<OfClass, OfMap>::teacher_pass && !WeightedSum<OfClass, OfMap>::teacher_weights);
static_assert(WeightedSum<OfMap, ImageLevel>::teacher_reads == FeatureKinds{.class_level = true});

template <class Loss>
double loss_of(TrainingStep<Tiny<Loss>, Reference<double>>& step, const ViewBatch& batch) {
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.4);
  return report.loss;
}

constexpr ViTConfig small_size{.image = 16, .patch = 4, .width = 16, .depth = 2, .heads = 2, .mlp_ratio = 2, .channels = 3};
constexpr ViTConfig large_size{.image = 16, .patch = 4, .width = 24, .depth = 3, .heads = 2, .mlp_ratio = 2, .channels = 3};
using Small = DistilledFrom<ViT<large_size>>::with_backbone<ViT<small_size>>::with_head<ProjectionHead<term_widths>>;
using Large = Dino::with_backbone<ViT<large_size>>::with_head<ProjectionHead<term_widths>>;

TrainerOptionsOf<Small> small_options() {
  TrainerOptionsOf<Small> options;
  options.epochs = 3;
  options.batch = 4;
  options.seed = 5;
  options.views.global_size = {16, 16};
  options.optimiser.warmup_epochs = 1;
  options.optimiser.learning_rate = 0.01;
  return options;
}

BackboneWeights<float> large_weights(std::uint64_t seed) {
  BackboneWeights<float> out;
  ViTFamily::add_parameters(out.layout, large_size, LearnedTokens{}, "");
  out.values = drawn_weights<float>(out.layout, seed);
  return out;
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

TEST_CASE("imitation of a frozen teacher, alone and in sums") {
  SECTION("class") { check_term<WeightedSum<OfClass>>(); }
  SECTION("map") { check_term<WeightedSum<OfMap>>(); }
  SECTION("those of the catalogue") { check_listed(listed_frozen()); }
  SECTION("both, beside a term with an EMA teacher") { check_term<WeightedSum<ImageLevel, OfClass, OfMap>>(); }
}

TEST_CASE("imitation without an adapter: a student with the teacher's weights has nothing to learn") {
  using Both = WeightedSum<Bare<Imitated::class_level>, Bare<Imitated::map>>;
  check_slopes<Both>();
  for (const Likeness likeness : {Likeness::squared, Likeness::cosine, Likeness::smooth_l1, Likeness::unit_squared}) {
    auto options = options_of<Both>(4, {{4, 4}});
    options.loss.of<Bare<Imitated::class_level>>().options.likeness = likeness;
    options.loss.of<Bare<Imitated::map>>().options.likeness = likeness;
    TrainingStep<Tiny<Both>, Reference<double>> step({}, options);
    draw(step);
    const ViewBatch batch = drawn_batch(options.shape, 5);
    CHECK(loss_of(step, batch) > 1e-3);
    const auto student = step.student().flat();
    step.frozen().give(step.backend(), std::vector<double>(student.begin(), student.begin() + step.frozen().layout().total()));
    CHECK(std::abs(loss_of(step, batch)) < 1e-12);
  }
}

TEST_CASE("a frozen teacher's weights stay what they were given as") {
  using Loss = WeightedSum<ImageLevel, OfClass, OfMap>;
  TrainingStep<Tiny<Loss>, Reference<double>> step({}, options_of<Loss>());
  draw(step);
  const auto weights = [&] { return std::vector<double>(step.frozen().weights().flat().begin(), step.frozen().weights().flat().end()); };
  const auto before = weights();
  for (Index i = 0; i < 3; ++i) {
    StepReport report;
    step.begin();
    step.forward_backward(report, drawn_batch(step.options().shape, 7, 4 * i), 0.04);
    step.update(report, {.optimiser = {.learning_rate = 1e-2, .step = i}, .teacher_momentum = 0.9});
  }
  CHECK(weights() == before);
}

TEST_CASE("a frozen teacher that does not fit is refused in words") {
  using Both = WeightedSum<OfClass, OfMap>;
  using Step = TrainingStep<Tiny<Both>, Reference<double>>;
  auto options = options_of<Both>();
  {
    Step step({}, options);
    const ViewBatch batch = drawn_batch(options.shape, 5);
    CHECK(contains(thrown_by<Error>([&] { loss_of(step, batch); }), "weights were not given; expected teach_with(file)"));
    auto weights = drawn_weights<double>(step.frozen().layout(), 4);
    weights[static_cast<std::size_t>(step.frozen().layout().find("norm.weight").offset)] = std::numeric_limits<double>::quiet_NaN();
    CHECK(contains(thrown_by<NonFiniteError>([&] { step.frozen().give(step.backend(), weights); }),
                   "frozen teacher's norm.weight is not finite"));
    weights.pop_back();
    CHECK(contains(thrown_by<ShapeError>([&] { step.frozen().give(step.backend(), weights); }), "weights of a frozen teacher"));
  }
  options.shape.channels = 2;
  CHECK(contains(thrown_by<OptionError>([&] { Step({}, options); }), "'channels' is 2; expected 1, those of the frozen teacher"));
  using Coarse = Frozen<ViT<ViTConfig{.image = 6, .patch = 3, .width = 8, .depth = 1, .heads = 2, .channels = 1}>>;
  using CoarseMap = WeightedSum<Imitate<Imitated::map, Coarse>>;
  using CoarseClass = WeightedSum<Imitate<Imitated::class_level, Coarse>>;
  const auto make = []<class Loss>(Loss) { TrainingStep<Tiny<Loss>, Reference<double>>({}, options_of<Loss>()); };
  CHECK(contains(thrown_by<OptionError>([&] { make(CoarseMap()); }), "'patch' is 2; expected 3, that of the frozen teacher"));
  make(CoarseClass());
  using Fine = Frozen<ViT<ViTConfig{.image = 8, .patch = 4, .width = 8, .depth = 1, .heads = 2, .channels = 1}>>;
  CHECK(contains(thrown_by<OptionError>([&] { make(WeightedSum<Imitate<Imitated::class_level, Fine>>()); }), "'views.global_size' is 6 x 6"));
  CHECK(contains(thrown_by<OptionError>([&] { make(WeightedSum<Imitate<Imitated::class_level, Wide, Adapter::none>>()); }),
                 "'width' is 8; expected 12"));
}

TEST_CASE("distillation: bits for any number of threads, after a resume, and with weights of a file") {
  const NoiseImages images(9);
  const TemporaryFolder folder;
  const std::string teacher = folder / "teacher.safetensors";
  save_backbone(teacher, large_weights(3));

  Trainer<Small, Cpu> whole(small_options(), Cpu({.threads = 1}));
  CHECK(contains(thrown_by<Error>([&] { whole.fit(images); }), "weights were not given"));
  whole.teach_with(large_weights(3));
  std::array<double, 2> losses{};
  whole.on_step([&](const StepReport& report) {
    losses[report.step == 0 ? 0 : 1] = report.loss;
    return proceed;
  });
  REQUIRE(whole.fit(images).finished);
  CHECK(losses[1] < losses[0]);
  CHECK(contains(thrown_by<Error>([&] { whole.teach_with(large_weights(4)); }), "steps were made already"));
  const auto expected = state_of(whole);
  CHECK(contains(whole.recipe(), "imitate-map (frozen teacher " + ViTFamily::describe(large_size) + "; linear adapter)"));

  auto options = small_options();
  options.checkpoint = folder / "checkpoint.safetensors";
  for (const int threads : {2, 4}) {
    Trainer<Small, Cpu> first(options, Cpu({.threads = threads}));
    static_cast<void>(first.teach_with(teacher));
    first.on_step([](const StepReport& report) { return report.step + 1 == 3 ? stop : proceed; });
    static_cast<void>(first.fit(images));
    Trainer<Small, Cpu> second(options, Cpu({.threads = 1}));
    static_cast<void>(second.teach_with(teacher));
    second.resume(options.checkpoint);
    REQUIRE(second.fit(images).finished);
    const auto found = state_of(second);
    REQUIRE(found.size() == expected.size());
    CHECK(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0);
  }
  Trainer<Small, Cpu> other(options, Cpu({.threads = 1}));
  CHECK(contains(thrown_by<Error>([&] { other.resume(options.checkpoint); }), "weights were not given"));
  other.teach_with(large_weights(4));
  CHECK(contains(thrown_by<CheckpointError>([&] { other.resume(options.checkpoint); }), "other weights of the frozen teacher"));
}
