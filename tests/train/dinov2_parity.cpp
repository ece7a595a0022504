// Three whole training steps of DINOv2 against the numbers of its own code: class tokens, masked patches and KoLeo, with
// centres and one head, and with Sinkhorn-Knopp, registers, small local views and a head of its own for patches.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../compare.hpp"
#include "../objective_fixture.hpp"
#include "catch.hpp"
#include "train/published_steps.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/training_step.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

constexpr std::string_view of_class = "backbone.cls_pos_embed";

/// The fixture's name of a tensor, without what stands before it: positions of class and patches are one table there.
std::string published(std::string_view name) {
  return name == of_class || name == "backbone.patch_pos_embed" ? "backbone.pos_embed" : published_head(name);
}

/// The position of the class token is the first row of the published table.
template <class T>
std::vector<T> tensor(const ObjectiveFixture& fixture, const std::string& prefix, std::string_view name, Index width) {
  const auto values = fixture.read<T>(prefix + published(name));
  if (!published(name).ends_with("pos_embed")) return values;
  const auto second = values.begin() + width;
  return name == of_class ? std::vector<T>(values.begin(), second) : std::vector<T>(second, values.end());
}

template <class ClassLevel, class PatchLevel, Backend B>
void check(const B& backend, const std::string& name, double tolerance) {
  using T = typename B::Scalar;
  using Loss = WeightedSum<ClassLevel, PatchLevel, KoLeo>;
  using Kind = NetworkKind<ViTFamily, ClassToken, Loss>;
  const ObjectiveFixture fixture(name);
  const FixtureConfig& config = fixture.config();
  const FixtureConfig student = config.section("student"), crops = config.section("crops"),
                            dino = config.section("dino"), ibot = config.section("ibot"), optim = config.section("optim");
  INFO(name << " on " << backend.describe());
  OwnMasked::sizes = head_of_fixture(ibot, false);
  const Index image = crops.get<Index>("global_crops_size"), local = crops.get<Index>("local_crops_size");
  const ViTConfig sizes{.image = image,
                        .patch = student.get<Index>("patch_size"),
                        .width = config.get<Index>("dim"),
                        .depth = config.get<Index>("depth"),
                        .heads = config.get<Index>("heads"),
                        .mlp_ratio = static_cast<Index>(config.get<double>("ratio")),
                        .registers = student.get<Index>("num_register_tokens"),
                        .layer_scale = true,
                        .layer_scale_exponent = 0};
  REQUIRE(config.get<double>("ln_eps") == sizes.norm_epsilon());
  const Index locals = crops.get<Index>("local_crops_number");

  typename BasicTrainingStep<Kind, B>::Options options;
  options.shape = {.batch = config.get<Index>("batch"), .channels = 3, .views = {{image, image}, {image, image}}};
  for (Index i = 0; i < locals; ++i) options.shape.views.push_back({local, local});
  const auto steps = config.get<Index>("steps");
  for (Index s = 0; s < steps; ++s) {
    const auto mask = fixture.read<std::uint8_t>(std::to_string(s) + ".mask");
    const auto masked = static_cast<Index>(std::count(mask.begin(), mask.end(), std::uint8_t{1}));
    options.shape.masked = std::max(options.shape.masked, masked);
  }
  options.stochastic_depth = 0;
  options.optimiser = {.beta1 = optim.get<double>("adamw_beta1"),
                       .beta2 = optim.get<double>("adamw_beta2"),
                       .epsilon = config.get<double>("adamw_eps"),
                       .clip = optim.get<double>("clip_grad"),
                       .clip_over = ClipOver::part,
                       .rates = {.layer_decay = optim.get<double>("layerwise_decay"),
                                 .patch_embedding = optim.get<double>("patch_embed_lr_mult")},
                       .frozen_moments = true};
  const double patch_weight = ibot.get<double>("loss_weight"), spread_weight = dino.get<double>("koleo_loss_weight");
  const LevelOptions levels{.student_temperature = config.get<double>("student_temp"),
                            .centre_momentum = config.get<double>("center_momentum")};
  options.loss.template of<ClassLevel>() = {.weight = dino.get<double>("loss_weight"), .options = levels};
  options.loss.template of<PatchLevel>() = {.weight = patch_weight, .options = levels};
  options.loss.template of<KoLeo>().weight = spread_weight;

  BasicTrainingStep<Kind, B> step(backend, options, {sizes, head_of_fixture(dino, false)});
  for (const auto& spec : step.layout().specs()) {
    const auto values = tensor<T>(fixture, "initial.", spec.name.view(), sizes.width);
    INFO(spec.name.view());
    REQUIRE(static_cast<Index>(values.size()) == spec.size);
    backend.upload(step.student().data() + spec.offset, std::span<const T>(values));
    backend.upload(step.teacher().data() + spec.offset, std::span<const T>(values));
  }

  const auto check_tensor = [&](const std::string& what, std::string_view of, const T* at, std::vector<double> expected) {
    INFO(what);
    std::vector<T> is(expected.size());
    backend.download(std::span<T>(is), at);
    CHECK(test::relative_difference<T, double>(without_keys(is, of), without_keys(expected, of)) <=
          fixture.tolerance_after_steps<T>(what));
  };
  const auto check_centres = [&](const std::string& when) {
    for (const std::string centre : {"center", "patch_center"}) {
      const std::string what = "final." + centre + when;
      if (fixture.file().contains(what)) check_tensor(what, centre, step.term_state(centre).data(), fixture.read<double>(what));
    }
  };

  const auto schedule = fixture.read<double>("schedule");
  const auto parts = config.get<std::vector<std::string>>("submodules");
  for (Index s = 0; s < steps; ++s) {
    INFO("step " << s);
    const std::string at = std::to_string(s) + ".";
    const double* now = schedule.data() + 5 * s;
    ViewBatch batch = ViewBatch::of(options.shape);
    for (std::size_t v = 0; v < batch.images.size(); ++v) {
      batch.images[v] = fixture.read<float>(at + (v < 2 ? "global." + std::to_string(v + 1) : "local." + std::to_string(v - 1)));
    }
    batch.masks = fixture.read<std::uint8_t>(at + "mask");
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, now[3]);
    const auto losses = fixture.read<double>(at + "loss");
    const auto near = [&](double expected) { return Approx(expected).epsilon(tolerance); };
    CHECK(report.loss == near(losses[0]));
    CHECK(report.term(ClassLevel::name).loss == near(losses[1] + losses[2]));
    CHECK(spread_weight * report.term("koleo").loss / 2 == near(losses[3]));
    CHECK(report.term(PatchLevel::name).loss / 2 == near(losses[4]));
    if (s + 1 == steps) check_centres(".used_last");
    REQUIRE(now[4] == (s == 0 ? 0.0 : now[0]));  // the last layers' rate
    step.update(report, {.optimiser = {.learning_rate = now[0], .weight_decay = now[1], .step = s, .frozen_steps = 1},
                         .teacher_momentum = now[2]});
    const auto norms = fixture.read<double>(at + "gradient_norm");
    std::vector<double> squares(step.layout().size());
    backend.download(std::span<double>(squares), step.optimiser_states().front().squared_norms().data());
    for (std::size_t p = 0; p < parts.size(); ++p) {
      for (std::size_t i = 0; i < squares.size(); ++i) {
        if (!published_head(step.layout().specs()[i].name.view()).starts_with(parts[p] + ".")) continue;
        CHECK(std::sqrt(squares[i]) == Approx(norms[p]).epsilon(10 * tolerance));
      }
    }
  }

  for (const auto& spec : step.layout().specs()) {
    const std::string_view of = spec.name.view();
    check_tensor("final.student." + published(of), of, step.student().data() + spec.offset,
                 tensor<double>(fixture, "final.student.", of, sizes.width));
    check_tensor("final.teacher." + published(of), of, step.teacher().data() + spec.offset,
                 tensor<double>(fixture, "final.teacher.", of, sizes.width));
  }
  check_centres("");
  CHECK(fixture.left_out() == std::vector<std::string>{});
}

}  // namespace

TEST_CASE("DINOv2 trains as published, with centres and one head for both levels") {
  check<CentredImageLevel, SharedMaskedLevel<CentredImageLevel>>(Reference<double>(), "training_dinov2_centering", 1e-9);
  check<CentredImageLevel, SharedMaskedLevel<CentredImageLevel>>(Cpu(), "training_dinov2_centering", 5e-6);
}

TEST_CASE("DINOv2 trains as published, with Sinkhorn-Knopp, registers and a head for patches") {
  check<SinkhornImageLevel<>, OwnMasked>(Reference<double>(), "training_dinov2_sinkhorn", 1e-9);
  check<SinkhornImageLevel<>, OwnMasked>(Cpu(), "training_dinov2_sinkhorn", 5e-6);
}
