// PixPro's term: the published numbers through the term alone, and whole training steps of a small model.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../loss/map_rows.hpp"
#include "../objective_fixture.hpp"
#include "catch.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

#include <dssl/loss/pixel_term.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/views/multi_crop.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

using Term = PixelConsistency<by_head(pixpro_projector), by_head(pixpro_transform)>;
using WithoutTransform = PixelConsistency<by_head(pixpro_projector), no_mlp>;
using PixProLoss = ListedPixPro;
using Both = WeightedSum<DenseContrast<by_head(moco_v2_projector)>, Term, KoLeo>;

/// The pixel branch of the published step: its projector and transform, and what its running statistics become. The
/// loss and the gradients of the maps are of both published branches, so they are not compared.
template <class B>
void check_published(const B& backend) {
  using T = typename B::Scalar;
  const ObjectiveFixture fixture("pixpro");
  const auto& file = fixture.file();
  const auto size = [&](const char* name) { return fixture.config().template get<Index>(name); };
  const Index batch = size("batch"), channels = size("channels"), patches = size("height") * size("width");
  const HeadConfig head{.hidden = size("hidden"), .bottleneck = size("dim")};
  Memory<B> memory(backend);
  const GridSize grid{size("height"), size("width")};
  typename Term::template Run<B> run(
      {.batch = batch, .views = 2, .grids = {grid, grid}, .parts = {{0, 2}}, .head = head, .width = channels},
      {.reach = fixture.config().template get<double>("pos_ratio"), .power = size("p")});
  static_cast<void>(memory.buffers([&](Arena& arena) {
    run.place_lasting(backend, arena);
    run.place_teacher(backend, arena);
    run.place_student(backend, arena, 0);
    return 0;
  }));
  run.for_each_state([&](const std::string& name, VectorView<T> values, const auto&) {
    const bool mean = name.ends_with("mean");
    const auto drawn = file.template read<T>(join("step.before.", name.starts_with("teacher") ? "projector_k" : "projector",
                                                  ".bn1.running_", mean ? "mean" : "var"));
    backend.upload(values.data(), std::span<const T>(drawn));
  });

  const auto parameters = [&](const std::string& prefix) {
    const auto vector = [&](const std::string& name) {
      const auto values = file.template read<T>(prefix + name);
      return VectorView<const T>(memory.matrix(values, static_cast<Index>(values.size())).data(), static_cast<Index>(values.size()));
    };
    MlpParameters<const T> p;
    p.layers.push_back({.weight = memory.matrix(file.template read<T>(prefix + "linear1.weight"), channels),
                        .bias = vector("linear1.bias"),
                        .norm_weight = vector("bn1.weight"),
                        .norm_bias = vector("bn1.bias")});
    p.layers.push_back({.weight = memory.matrix(file.template read<T>(prefix + "linear2.weight"), head.hidden),
                        .bias = vector("linear2.bias"),
                        .norm_weight = {},
                        .norm_bias = {}});
    return p;
  };
  TermParameters<Term, const T> p, of_teacher;
  p.head = parameters("step.before.projector.");
  of_teacher.head = parameters("step.after.projector_k.");  // it moves before the keys are made
  const auto bias = memory.matrix(file.template read<T>("step.before.value_transform.bias"), head.bottleneck);
  p.predictor.layers.push_back(
      {.weight = memory.matrix(file.template read<T>("step.before.value_transform.weight"), head.bottleneck),
       .bias = VectorView<const T>(bias.data(), bias.size()),
       .norm_weight = {},
       .norm_bias = {}});
  TermParameters<Term, T> d_p;
  d_p.head.layers.push_back({.weight = memory.zeros(head.hidden, channels),
                             .bias = memory.zeros(head.hidden),
                             .norm_weight = memory.zeros(head.hidden),
                             .norm_bias = memory.zeros(head.hidden)});
  d_p.head.layers.push_back({.weight = memory.zeros(head.bottleneck, head.hidden),
                             .bias = memory.zeros(head.bottleneck),
                             .norm_weight = {},
                             .norm_bias = {}});
  d_p.predictor.layers.push_back({.weight = memory.zeros(head.bottleneck, head.bottleneck),
                                  .bias = memory.zeros(head.bottleneck),
                                  .norm_weight = {},
                                  .norm_bias = {}});

  std::vector<T> maps;
  std::vector<ViewFrame> frames;
  for (const std::string view : {"1", "2"}) {
    const auto rows = transposed(file.template read<T>("step.map." + view), batch, channels, patches);
    maps.insert(maps.end(), rows.begin(), rows.end());
    const auto box = file.template read<double>("box." + view);
    for (std::size_t b = 0; b < static_cast<std::size_t>(batch); ++b) {
      const double* at = box.data() + 4 * b;
      frames.push_back({{at[0], at[1]}, {at[2], at[3]}});
    }
  }
  const auto map = memory.matrix(maps, channels);
  run.set_frames(backend, frames);
  run.teacher(backend, {.features = {.map = map}, .parameters = of_teacher});
  run.student(backend, {.part = 0,
                        .d_features = {.map = memory.zeros(map.rows(), channels)},
                        .d_parameters = d_p,
                        .features = {.map = map},
                        .parameters = p,
                        .teacher = of_teacher,
                        .numbers = {}});
  TermReport report;
  run.add_to(backend, report);
  CHECK(std::abs(report.loss) > 0.1);
  fixture.expect("step.grad.value_transform.weight", memory.read(d_p.predictor.layers[0].weight));
  fixture.expect("step.grad.value_transform.bias", memory.read(d_p.predictor.layers[0].bias));
  fixture.expect("step.grad.projector.linear1.weight", memory.read(d_p.head.layers[0].weight));
  fixture.expect("step.grad.projector.bn1.weight", memory.read(d_p.head.layers[0].norm_weight));
  fixture.expect("step.grad.projector.bn1.bias", memory.read(d_p.head.layers[0].norm_bias));
  fixture.expect("step.grad.projector.linear2.weight", memory.read(d_p.head.layers[1].weight));
  fixture.expect("step.grad.projector.linear2.bias", memory.read(d_p.head.layers[1].bias));
  run.update(backend);
  run.for_each_state([&](const std::string& name, VectorView<T> values, const auto&) {
    fixture.expect(join("step.after.", name.starts_with("teacher") ? "projector_k" : "projector", ".bn1.running_",
                        name.ends_with("mean") ? "mean" : "var"),
                   memory.read(values));
  });
}

}  // namespace

TEST_CASE("PixPro's term alone gives the published numbers") {
  check_published(Reference<double>{});
  check_published(Cpu({.threads = 2}));
}

TEST_CASE("PixPro: what every term is held to") { check_listed(listed_pixels()); }

TEST_CASE("PixPro: slopes in a sum, with a small view, and without a transform") {
  const std::vector<std::string> unfelt{"pixel_projector.0.bias"};
  const std::vector<std::string> alone{"backbone.norm.bias", "pixel_projector.0.bias"};
  SECTION("without a transform") { check_slopes<WeightedSum<WithoutTransform>>(alone); }
  SECTION("among terms that read the same rows, with a small view") { check_slopes<Both>(unfelt, {{4, 4}}); }
}

TEST_CASE("PixPro over ranks: it is the patches of all that are normed, of which a rank may have one of each view") {
  auto options = options_of<PixProLoss>();
  options.shape.views = {{2, 2}, {2, 2}};
  check_ranks<PixProLoss>(options);
  options.shape.batch = 1;
  CHECK(refusal_of<PixProLoss>(options) == "option 'batch' is 1; expected at least 2: the term 'pixel-consistency' compares patches");
}

TEST_CASE("PixPro: statistics move in updates alone") {
  TrainingStep<Tiny<PixProLoss>, Reference<double>> step({}, options_of<PixProLoss>());
  draw(step);
  const auto before = states_of(step);
  REQUIRE(before.size() == 4);
  StepReport report;
  step.begin();
  step.forward_backward(report, drawn_batch(step.options().shape, 5), 0.4);
  CHECK(states_of(step) == before);
  step.update(report, {.optimiser = {.learning_rate = 0.01}, .teacher_momentum = 0.9});
  const auto after = states_of(step);
  for (std::size_t i = 0; i < after.size(); ++i) {
    INFO(after[i].first);
    CHECK(after[i].second != before[i].second);
  }
}

TEST_CASE("PixPro: views that do not overlap have no loss, and where they lie decides") {
  TrainingStep<Tiny<PixProLoss>, Reference<double>> step({}, options_of<PixProLoss>());
  draw(step);
  ViewBatch batch = drawn_batch(step.options().shape, 5);
  const auto loss = [&] {
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, 0.4);
    return report.loss;
  };
  const double drawn = loss();
  CHECK(std::abs(drawn) > 1e-2);
  ViewBatch moved = batch;
  for (std::size_t i = 0; i < 4; ++i) batch.frames[i] = {{100, 100}, {101, 101}};
  CHECK(loss() == 0);
  CHECK(std::ranges::all_of(step.gradients().flat(), [](double g) { return g == 0; }));
  for (std::size_t i = 0; i < 4; ++i) std::swap(moved.frames[i].first.x, moved.frames[i].last.x);
  batch = moved;
  CHECK(std::abs(loss() - drawn) > 1e-4);
}

TEST_CASE("PixPro: what cannot be is refused in words") {
  auto streamed = options_of<PixProLoss>();
  streamed.stream_views = true;
  CHECK_THROWS_WITH((TrainingStep<Tiny<PixProLoss>, Reference<double>>({}, streamed)), Catch::Contains("stream_views"));
  TrainingStep<Tiny<PixProLoss>, Reference<double>> step({}, options_of<PixProLoss>());
  ViewBatch batch = drawn_batch(step.options().shape, 5);
  batch.frames.clear();
  StepReport report;
  step.begin();
  CHECK_THROWS_WITH(step.forward_backward(report, batch, 0.4), Catch::Contains("where the views lie: 0 frames"));
  batch.frames = ViewBatch::of(batch.shape).frames;  // made by hand, and nobody filled them
  const auto where = Catch::Contains("where the views lie: the frame of view 0 of image 0 has no extent");
  CHECK_THROWS_WITH(step.forward_backward(report, batch, 0.4), where);
  auto turned = options_of<PixProLoss>();
  turned.shape.framed = false;
  CHECK_THROWS_WITH((TrainingStep<Tiny<PixProLoss>, Reference<double>>({}, turned)),
                    "option 'views' is turned or seen at an angle; expected boxes of the image: the term 'pixel-consistency' asks "
                    "where patches lie by them");
  static_assert(PixProLoss::asks_frames == "pixel-consistency" && test::ListedPlaced::asks_frames == "dense-contrast-placed" &&
                test::ListedDenseCl::asks_frames.empty());
  PixProLoss::Options options;
  options.of<Term>().options.power = 3;
  CHECK_THROWS_WITH(options.validate(), Catch::Contains("loss.pixel-consistency.power"));
  options.of<Term>().options = {.reach = 0};
  CHECK_THROWS_WITH(options.validate(), Catch::Contains("loss.pixel-consistency.reach"));
}

TEST_CASE("a batch knows where its views lie") {
  const MultiCrop<> views({.locals = 1, .global_size = {6, 6}, .local_size = {4, 4}});
  struct None {
    Index count() const { return 0; }
    void sample(std::span<Point>, RandomStream&) const {}
  };
  const SampleMaker<MultiCrop<>, None> maker(views, {}, 1, false);
  ViewBatch batch = ViewBatch::of(maker.shape(2));
  const Image<std::uint8_t> image(40, 30, 1);
  bool mirrored = false;
  for (Index b : {0, 1}) {
    const RandomKey key{.seed = 3, .sample = static_cast<std::uint64_t>(b)};
    SampleViews sample;
    ViewWorkspace workspace;
    maker.make(sample, ImageView<std::uint8_t>(image), key, workspace);
    put_sample(batch, b, sample);
    const auto plans = views.plan(40, 30, key);
    for (std::size_t v = 0; v < 3; ++v) {
      const ViewFrame& frame = batch.frames[2 * v + static_cast<std::size_t>(b)];
      const PatchGrid grid{frame.first.x, frame.first.y, frame.last.x, frame.last.y, 2, 3, false};
      // The centre of the patch in the upper right corner.
      const ScenePoint centre = plans[v].map.to_scene({2.0 / 3, -0.5});
      CHECK(grid.x(2) == Approx(centre.x));
      CHECK(grid.y(2) == Approx(centre.y));
      mirrored = mirrored || plans[v].map.flip;
    }
  }
  CHECK(mirrored);
}
