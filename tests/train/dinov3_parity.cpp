// Three whole training steps of DINOv3 against the numbers of its own code: Sinkhorn-Knopp, plain prototypes, rotary positions
// and keys without bias, a norm of local views' class tokens, KoLeo, and a Gram teacher that sees larger views and is
// replaced after the second step.
#include <algorithm>
#include <cmath>
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

using Class = SinkhornImageLevel<>;
using Loss = WeightedSum<Class, OwnMasked, KoLeo, Gram<>>;

/// The tensors of the fixture that one of ours is, in its order, without what stands before their names.
std::vector<std::string> published(std::string_view name) {
  std::string out = published_head(name);
  if (name == "backbone.register_tokens") out = "backbone.storage_tokens";
  const auto gated = out.find("mlp.w12.");
  if (gated == std::string::npos) return {out};
  const std::string block = out.substr(0, gated), part = out.substr(gated + 8);
  return {block + "mlp.w1." + part, block + "mlp.w2." + part};
}

template <class T>
std::vector<T> tensor(const ObjectiveFixture& fixture, const std::string& prefix, std::string_view name) {
  std::vector<T> values;
  for (const std::string& part : published(name)) {
    const auto more = fixture.read<T>(prefix + part);
    values.insert(values.end(), more.begin(), more.end());
  }
  return values;
}

template <Backend B>
void check(const B& backend, double tolerance) {
  using T = typename B::Scalar;
  using Kind = NetworkKind<ViTFamily, ClassToken, Loss>;
  const ObjectiveFixture fixture("training_dinov3");
  const FixtureConfig& config = fixture.config();
  const FixtureConfig student = config.section("student"), crops = config.section("crops"),
                            dino = config.section("dino"), ibot = config.section("ibot"), optim = config.section("optim"),
                            gram = config.section("gram");
  INFO(backend.describe());
  OwnMasked::sizes = head_of_fixture(ibot, true);
  const Index image = crops.get<Index>("global_crops_size"), local = crops.get<Index>("local_crops_size"),
              seen = crops.get<Index>("gram_teacher_crops_size");
  const ViTConfig sizes{.image = image,
                        .patch = student.get<Index>("patch_size"),
                        .width = config.get<Index>("dim"),
                        .depth = config.get<Index>("depth"),
                        .heads = config.get<Index>("heads"),
                        .mlp_ratio = static_cast<Index>(config.get<double>("ratio")),
                        .registers = student.get<Index>("n_storage_tokens"),
                        .positions = Positions::rotary,
                        .qkv_bias = student.get<bool>("mask_k_bias") ? QkvBias::no_key : QkvBias::full,
                        .swiglu = student.get<std::string>("ffn_layer") == "swiglu",
                        .norm_exponent = static_cast<Index>(std::lround(-std::log10(config.get<double>("ln_eps")))),
                        .layer_scale = true,
                        .layer_scale_exponent = 0,
                        .class_norm = student.get<bool>("untie_cls_and_patch_norms"),
                        .local_class_norm = student.get<bool>("untie_global_and_local_cls_norm")};
  const Index locals = crops.get<Index>("local_crops_number");

  typename BasicTrainingStep<Kind, B>::Options options;
  options.shape = {.batch = config.get<Index>("batch"),
                   .channels = 3,
                   .views = {{image, image}, {image, image}},
                   .snapshot_view = {seen, seen}};
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
  const LevelOptions levels{.student_temperature = config.get<double>("student_temp")};
  options.loss.template of<Class>() = {.weight = dino.get<double>("loss_weight"), .options = levels};
  options.loss.template of<OwnMasked>() = {.weight = ibot.get<double>("loss_weight"), .options = levels};
  options.loss.template of<KoLeo>().weight = dino.get<double>("koleo_loss_weight");
  REQUIRE_FALSE(gram.get<bool>("global_teacher_resize_antialias"));
  const GramOptions anchoring{.snapshot = {.first = gram.get<Index>("it_first_update"), .every = gram.get<Index>("update_frequency")}};
  options.loss.template of<Gram<>>() = {.weight = gram.get<double>("loss_weight"), .options = anchoring};

  BasicTrainingStep<Kind, B> step(backend, options, {sizes, head_of_fixture(dino, true)});
  for (const auto& spec : step.layout().specs()) {
    const std::string_view name = spec.name.view();
    INFO(name);
    const auto put = [&](VectorView<T> to, const std::vector<T>& values) {
      REQUIRE(static_cast<Index>(values.size()) == spec.size);
      backend.upload(to.data() + spec.offset, std::span<const T>(values));
    };
    std::vector<T> values(static_cast<std::size_t>(spec.size));
    if (name == "backbone.rope_embed.periods") {  // of its base, which the file does not hold
      RandomStream unused({});
      draw_initial(std::span<T>(values), spec, unused);
    } else {
      values = tensor<T>(fixture, "initial.", name);
    }
    put(step.student(), values);
    put(step.teacher(), values);
    const bool of_copy = name.starts_with("backbone.") && name != "backbone.rope_embed.periods";
    put(step.snapshot(), of_copy ? tensor<T>(fixture, "initial.gram_teacher.", name) : values);
  }

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
    for (std::size_t v = 0; v < 2; ++v) batch.snapshot_images[v] = fixture.read<float>(at + "gram." + std::to_string(v + 1));
    batch.masks = fixture.read<std::uint8_t>(at + "mask");
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, now[3]);
    // The total, cross-entropy of class tokens with local and with global views, KoLeo, masked patches, Gram anchoring.
    const auto losses = fixture.read<double>(at + "loss");
    const auto near = [&](double expected) { return Approx(expected).epsilon(tolerance); };
    const auto of_local = static_cast<double>(2 * locals);  // pairs of a teacher's view and a student's, and two global ones
    CHECK(report.loss == near(losses[0]));
    CHECK(report.term(Class::name).loss == near((of_local * losses[1] + 2 * losses[2]) / (of_local + 2)));
    // A mean of logarithms of either sign, which nearly vanishes in the second step: rounding is that of the summands.
    CHECK(report.term("koleo").loss / 2 == near(losses[3]).margin(tolerance / 10));
    CHECK(report.term(OwnMasked::name).loss == near(losses[4]));
    CHECK(report.term("gram").loss == near(losses[5]));
    REQUIRE(now[4] == (s == 0 ? 0.0 : now[0]));  // the last layers' rate
    step.update(report, {.optimiser = {.learning_rate = now[0], .weight_decay = now[1], .step = s, .frozen_steps = 1},
                         .teacher_momentum = now[2]});
    const auto norms = fixture.read<double>(at + "gradient_norm");
    std::vector<double> squares(step.layout().size());
    backend.download(std::span<double>(squares), step.optimiser_states().front().squared_norms().data());
    for (std::size_t p = 0; p < parts.size(); ++p) {
      double sum = 0;
      bool once = true;  // clipped together, each tensor may say the norm of all
      for (std::size_t i = 0; i < squares.size(); ++i) {
        if (!published(step.layout().specs()[i].name.view())[0].starts_with(parts[p] + ".")) continue;
        if (once) sum = squares[i];
        once = false;
        CHECK(squares[i] == sum);
      }
      CHECK(std::sqrt(sum) == Approx(norms[p]).epsilon(10 * tolerance));
    }
  }

  for (const auto& spec : step.layout().specs()) {
    const std::string_view of = spec.name.view();
    if (of == "backbone.rope_embed.periods") continue;
    const auto check_tensor = [&](const std::string& what, VectorView<T> flat) {
      INFO(what << of);
      const auto expected = tensor<double>(fixture, what, of);
      std::vector<T> is(expected.size());
      backend.download(std::span<T>(is), static_cast<const T*>(flat.data() + spec.offset));
      double tolerance_of = 0;
      for (const std::string& part : published(of)) tolerance_of = std::max(tolerance_of, fixture.tolerance_after_steps<T>(what + part));
      CHECK(test::relative_difference<T, double>(without_keys(is, of), without_keys(expected, of)) <= tolerance_of);
    };
    check_tensor("final.student.", step.student());
    check_tensor("final.teacher.", step.teacher());
  }
  CHECK(fixture.left_out() == std::vector<std::string>{});
}

}  // namespace

TEST_CASE("DINOv3 trains as published, with a norm of local class tokens and a Gram teacher that sees larger views") {
  check(Reference<double>(), 1e-9);
  check(Cpu(), 5e-6);
}
