// Class tokens and maps held to a frozen teacher of another shape: the terms in small steps, whole runs.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "noise_images.hpp"
#include "ranks.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/loss/imitation_term.hpp>
#include <dssl/loss/resized_map.hpp>
#include <dssl/train/rescaled_patches.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/teacher_file.hpp>
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
  SECTION("alone") { check_listed(slopes_frozen()); }
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

TEST_CASE("a frozen teacher whose sizes are the run's is that of its type, to the bit") {
  using Typed = WeightedSum<OfClass, OfMap>;
  using OfRun = WeightedSum<Imitate<Imitated::class_level, Frozen<ViTFamily>>, Imitate<Imitated::map, Frozen<ViTFamily>>>;
  using Recipe = Tiny<OfRun>;
  const auto three_steps = [](auto& step) {
    draw(step);
    std::vector<double> bits;
    for (Index i = 0; i < 3; ++i) {
      StepReport report;
      step.begin();
      step.forward_backward(report, drawn_batch(step.options().shape, 7, 4 * i), 0.04);
      step.update(report, {.optimiser = {.learning_rate = 1e-2, .step = i}, .teacher_momentum = 0.9});
      bits.insert(bits.end(), {report.terms[0].loss, report.terms[1].loss, report.gradient_norm});
    }
    bits.insert(bits.end(), step.student().flat().begin(), step.student().flat().end());
    return bits;
  };
  TrainingStep<Tiny<Typed>, Reference<double>> typed({}, options_of<Typed>());
  NetworkConfigOf<Recipe> sizes{Recipe::Backbone::config, Recipe::Head::config, listed_teacher};
  using Step = BasicTrainingStep<NetworkKindOf<Recipe>, Reference<double>>;
  Step given({}, options_of<OfRun>(), sizes);
  CHECK(given.layout().find("map_adapter.weight").shape() == std::vector<Index>{12, 8});
  CHECK(given.memory_plan().total() == typed.memory_plan().total());
  CHECK((three_steps(given) == three_steps(typed)));
  const std::string words = describe_recipe<DistilledFrom<ViTFamily>>(sizes, 0);
  CHECK(contains(words, "imitate-class (frozen teacher; linear adapter) + imitate-map (frozen teacher; linear adapter)"));
  CHECK(contains(words, "; frozen teacher: " + ViTFamily::describe(listed_teacher)));
  // Any sizes go through that one step: other patches than the student's, another width, rotary positions.
  sizes.teacher = {.image = 6, .patch = 3, .width = 16, .depth = 2, .heads = 2, .mlp_ratio = 2, .channels = 1, .registers = 1,
                   .positions = Positions::rotary};
  Step coarse({}, options_of<OfRun>(), sizes);
  draw(coarse);
  const ViewBatch batch = drawn_batch(coarse.options().shape, 5);
  for (const ParameterGradient& p : gradient_differences(coarse, batch, 0.4)) {
    INFO("gradient of " << p.name << ", norm " << p.found.norm << ", difference " << p.found.difference);
    CHECK(p.found.small());
    CHECK((!p.trained || p.found.norm > 1e-6));
  }
  sizes.teacher.channels = 3;
  CHECK(contains(thrown_by<OptionError>([&] { Step({}, options_of<OfRun>(), sizes); }), "'channels' is 1; expected 3, those of the frozen teacher"));
}

TEST_CASE("a map of other patches is read at the centres of the student's, each image's for itself") {
  const Reference<double> backend;
  // Two views: over the first f = 2 x + y + 1 at its cells' centres, over the second minus that.
  const auto ramp = [](GridSize grid) {
    std::vector<double> out;
    for (const double sign : {1.0, -1.0}) {
      for (Index y = 0; y < grid.height; ++y) {
        for (Index x = 0; x < grid.width; ++x) {
          const auto centre = [](Index i, Index n) { return (static_cast<double>(i) + 0.5) / static_cast<double>(n); };
          out.push_back(sign * (2 * centre(x, grid.width) + centre(y, grid.height) + 1));
          out.push_back(sign);
        }
      }
    }
    return out;
  };
  struct Case {
    GridSize to, from;
    Index edge;  // cells at the border, whose kernels are cut there
    double off;  // weights of a kernel that does not lie alike over its cells are not quite those of a line
  };
  for (const auto& [to, from, edge, off] :
       {Case{{4, 5}, {4, 5}, 0, 0}, Case{{7, 9}, {8, 10}, 2, 5e-3}, Case{{5, 6}, {10, 12}, 2, 0}, Case{{16, 20}, {8, 10}, 4, 0},
        Case{{5, 6}, {20, 24}, 2, 0}}) {
    INFO(from.height << " x " << from.width << " to " << to.height << " x " << to.width);
    ResizedMap<Reference<double>> map(to, from, PositionRule::size_antialiased, 2);
    Arena measure;
    map.place(backend, measure, 2);
    const Buffer buffer = backend.allocate(measure.high_water());
    Arena live(buffer);
    map.place(backend, live, 2);
    std::vector<double> maps = ramp(from), read(static_cast<std::size_t>(4 * to.size()));
    map.read(backend, MatrixView<double>(read.data(), 2 * to.size(), 2), MatrixView<const double>(maps.data(), 2 * from.size(), 2));
    const std::vector<double> expected = ramp(to);
    for (Index i = 0; i < 2 * to.size(); ++i) {
      const Index y = i % to.size() / to.width, x = i % to.width;
      const auto at = static_cast<std::size_t>(2 * i);
      CHECK(read[at + 1] == Approx(expected[at + 1]).epsilon(1e-12));
      if (std::min({y, x, to.height - 1 - y, to.width - 1 - x}) < edge) continue;
      CHECK(std::abs(read[at] - expected[at]) <= std::max(off, 1e-12));
    }
  }
}

TEST_CASE("a teacher's patch embedding for pixels of another scale, and for grey ones, is the same function of the image") {
  constexpr std::size_t rows = 2, pixels = 4;
  RandomStream random({.seed = 3});
  const auto drawn = [&](std::size_t n) {
    std::vector<float> out(n);
    for (float& v : out) v = static_cast<float>(random.normal());
    return out;
  };
  const std::vector<float> weight = drawn(rows * 3 * pixels), bias = drawn(rows);
  const PixelScale from{{0.5F, 0.4F, 0.3F}, {0.5F, 0.3F, 0.2F}};
  const auto embedded = [&](std::span<const float> w, std::span<const float> b, const PixelScale& scale, auto&& pixel) {
    std::vector<double> out(b.begin(), b.end());
    const std::size_t channels = scale.mean.size();
    for (std::size_t i = 0; i < w.size(); ++i) {
      const std::size_t c = i / pixels % channels;
      out[i / pixels / channels] += static_cast<double>(w[i]) * (pixel(c, i % pixels) - scale.mean[c]) / scale.deviation[c];
    }
    return out;
  };
  const auto colour = [](std::size_t c, std::size_t i) { return 0.1 + 0.2 * static_cast<double>(c) + 0.05 * static_cast<double>(i); };
  const auto grey = [](std::size_t, std::size_t i) { return 0.9 - 0.2 * static_cast<double>(i); };
  const auto check = [&](const PixelScale& to, const auto& image) {
    std::vector<float> own_bias = bias;
    const std::vector<float> own = rescaled_patches(weight, own_bias, from, to);
    CHECK(own.size() == rows * to.mean.size() * pixels);
    const std::vector<double> found = embedded(own, own_bias, to, image), expected = embedded(weight, bias, from, image);
    for (std::size_t d = 0; d < rows; ++d) CHECK(found[d] == Approx(expected[d]).epsilon(1e-5));
  };
  check(usual_pixels(3), colour);
  check(usual_pixels(1), grey);
  std::vector<float> same = bias;
  CHECK((rescaled_patches(weight, same, from, from) == weight && same == bias));
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(rescaled_patches(weight, same, from, usual_pixels(2))); }),
                 "as many channels as views have, 2, or views of one"));
}

TEST_CASE("a teacher of a file: its sizes, its weights, and what does not fit") {
  const TemporaryFolder folder;
  const std::string path = folder / "teacher.safetensors";
  const BackboneWeights<float> weights = large_weights(3);
  save_backbone(path, weights, {{"heads", "2"}});
  const auto values_of = [](const TeacherFile& file) {
    BackboneWeights<float> out;
    ViTFamily::add_parameters(out.layout, file.sizes(), LearnedTokens{}, "");
    out.values.resize(static_cast<std::size_t>(out.layout.total()));
    static_cast<void>(load_fresh_backbone(std::span<float>(out.values), out.layout, file, ""));
    return out;
  };
  const TeacherFile read(path, {}, usual_pixels(3));
  CHECK(read.sizes() == large_size);
  CHECK((values_of(read).values == weights.values));
  TeacherFileOptions options;
  options.file.heads = 3;
  CHECK(contains(thrown_by<OptionError>([&] { TeacherFile(path, options, usual_pixels(3)); }),
                 "'teacher_heads' is 3; expected 2, which " + path + " says itself"));
  options.file.heads = 0;
  options.pixels = {{0.5F, 0.25F, 0.5F}, {0.5F, 0.5F, 0.5F}};
  const TeacherFile rescaled(path, options, usual_pixels(1));
  CHECK(rescaled.sizes().channels == 1);
  const BackboneWeights<float> grey = values_of(rescaled);
  const auto tensor = [](const BackboneWeights<float>& of, std::string_view name) {
    const auto its = tensor_of<const float>(std::span<const float>(of.values), of.layout.find(name));
    return std::vector<float>(its.begin(), its.end());
  };
  // A grey pixel that is 0 there, 0.5, is 0, 0.5 and 0 here, and deviations are 0.25 for 0.5.
  const auto patches = tensor(weights, "patch_embed.proj.weight"), of_grey = tensor(grey, "patch_embed.proj.weight");
  REQUIRE(3 * of_grey.size() == patches.size());
  CHECK(of_grey[0] == Approx(0.5 * (patches[0] + patches[16] + patches[32])).epsilon(1e-6));
  const double shift = 0.5 * std::accumulate(patches.begin() + 16, patches.begin() + 32, 0.0);
  CHECK(std::abs(shift) > 1e-3);
  CHECK(tensor(grey, "patch_embed.proj.bias")[0] == Approx(tensor(weights, "patch_embed.proj.bias")[0] + shift).epsilon(1e-5));
  CHECK(tensor(grey, "norm.bias") == tensor(weights, "norm.bias"));
  CHECK(tensor(grey, "blocks.0.attn.qkv.weight") == tensor(weights, "blocks.0.attn.qkv.weight"));
  CHECK(contains(thrown_by<OptionError>([&] { TeacherFile(path, options, usual_pixels(2)); }),
                 "'channels' is 2; expected 3, those of the teacher"));
  options.pixels.deviation = {0.5F, 0.0F, 0.5F};
  CHECK(contains(thrown_by<OptionError>([&] { TeacherFile(path, options, usual_pixels(3)); }),
                 "'teacher_deviation' is 0; expected 1e-6 to 10, for pixels of 0 to 1"));
  options.pixels.mean.pop_back();
  CHECK(contains(thrown_by<OptionError>([&] { TeacherFile(path, options, usual_pixels(3)); }),
                 "'teacher_mean' is 2 values; expected one a channel of"));
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
  // Given anew, they are written where they lie: there is no second copy.
  const auto check_sum = step.frozen().check_sum();
  step.frozen().take(step.backend(), "a file", [&](std::span<double> flat) {
    CHECK(flat.data() == step.frozen().weights().data());
    CHECK(std::ranges::all_of(flat, [](double v) { return v == 0; }));
    std::ranges::copy(before, flat.begin());
  });
  CHECK((weights() == before && step.frozen().check_sum() == check_sum));
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
    CHECK(contains(thrown_by<Error>([&] { loss_of(step, batch); }), "weights were not given"));
    weights.pop_back();
    CHECK(contains(thrown_by<ShapeError>([&] { step.frozen().give(step.backend(), weights); }), "weights of a frozen teacher"));
  }
  options.shape.channels = 2;
  CHECK(contains(thrown_by<OptionError>([&] { Step({}, options); }), "'channels' is 2; expected 1, those of the frozen teacher"));
  const auto make = []<class Loss>(Loss) { TrainingStep<Tiny<Loss>, Reference<double>>({}, options_of<Loss>()); };
  using Fine = Frozen<ViT<ViTConfig{.image = 8, .patch = 4, .width = 8, .depth = 1, .heads = 2, .channels = 1}>>;
  CHECK(contains(thrown_by<OptionError>([&] { make(WeightedSum<Imitate<Imitated::class_level, Fine>>()); }),
                 "'views.global_size' is 6 x 6; expected multiples of 4, of the student's patch of 2 and the frozen teacher's of 4"));
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
  CHECK(contains(thrown_by<CheckpointError>([&] { other.resume(options.checkpoint); }), "other weights of the frozen teacher; expected"));
  save_backbone(teacher, large_weights(4));
  static_cast<void>(other.teach_with(teacher));
  CHECK(contains(thrown_by<CheckpointError>([&] { other.resume(options.checkpoint); }),
                 "other weights of the frozen teacher than those of " + teacher + "; expected the same ones, read with the same options"));
  const std::string blind = folder / "blind.safetensors";
  save_backbone(blind, large_weights(3), {{"heads", "2"}, {"relation", "all-query"}});
  const std::string why = blind + ": was trained with relation all-query, whose patches do not see the class token; expected weights of another";
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(other.teach_with(blind)); }), why));
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(other.teach_with(TeacherFile(blind, {}, usual_pixels(3)), "")); }), why));
  const std::vector<std::string> words = on_ranks(2, [&](const Communicator& ranks) {
    auto shared = small_options();
    shared.ranks = ranks;
    Trainer<Small, Cpu> trainer(shared, Cpu({.threads = 1}));
    trainer.teach_with(large_weights(ranks.first() ? 3 : 4));
    static_cast<void>(trainer.fit(images));
  });
  CHECK(words == std::vector<std::string>(2, "rank 1 has other weights of the frozen teacher than rank 0; expected the same on all ranks"));
}
