// Every term of two views in a whole training step of a small model: slopes, state that moves in updates alone, threads,
// accumulation, what is refused.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <dssl/loss/point_contrast.hpp>

#include "catch.hpp"
#include "objective_fixture.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

using ByolLoss = ListedByol;
using SimSiamLoss = ListedSimSiam;
using SimClrLoss = ListedSimClr;
using MocoV2Term = QueueContrast<by_head(moco_v2_projector)>;
using MocoV2Loss = WeightedSum<MocoV2Term>;
using DinoAndKoLeo = WeightedSum<ImageLevel, KoLeo>;
using DinoV2Image = WeightedSum<SinkhornImageLevel<>, KoLeo>;
using Both = WeightedSum<ImageLevel, NtXent<by_head(simclr_projector)>, KoLeo>;
/// All whose heads go by one name, but for the first by names of their own.
using Named = WeightedSum<Cosine<Ema, by_head(byol_mlp), by_head(byol_mlp)>, NtXent<by_head(simclr_projector), "pairs">,
                          InfoNce<by_head(moco_v3_projector), by_head(moco_v3_predictor), "batch">,
                          QueueContrast<by_head(moco_v2_projector), "keys">, CrossCorrelation<by_head(barlow_projector), "columns">,
                          VarianceCovariance<by_head(vicreg_expander), "spread">,
                          SwappedAssignment<Ema, by_head(swav_projector), "swapped">>;

}  // namespace

TEST_CASE("two views: what every term is held to") { check_listed(listed_two_views()); }

TEST_CASE("two views: slopes of other sums") { check_slopes_of(slopes_two_views()); }

TEST_CASE("two views over ranks: those that the catalogue has not") {
  SECTION("MoCo v2, whose queue takes the keys of all ranks in the order of the batch") { check_ranks<MocoV2Loss>(); }
  SECTION("three terms, each adding to the rows of the one before") { check_ranks<Both>(std::vector<ViewSize>{{4, 4}}); }
}

TEST_CASE("views whose points nobody reads have no references, and no patches for them") {
  const BatchShape shape = options_of<ListedTold>(2, {{4, 4}}).shape;  // grids of 3 x 3, 3 x 3 and 2 x 2
  REQUIRE(shape.points == 2);
  const auto told = [&]<class Tokens>(std::type_identity<Tokens>, Index first, Index views, Index points, FeatureKinds reads) {
    return ViewPass<NetworkKindOf<Tiny<ListedTold, Tokens>>, Reference<double>>(shape, first, views, points, 2, reads).tokens();
  };
  const std::type_identity<ContentReferences<>> references;
  const std::type_identity<FeatureMap> map;
  const FeatureKinds student = ListedTold::student_reads, teacher = ListedTold::teacher_reads;
  CHECK(told(references, 0, 3, 4, student).reference_count() == 2 * 2 * 4);
  CHECK(told(references, 0, 3, 4, student).sequences().size() == 6);
  CHECK(told(references, 2, 1, 4, student).reference_count() == 0);
  CHECK(told(references, 0, 2, 6, teacher).reference_count() == 0);
  CHECK(told(map, 0, 3, 4, student).read_patch_count() == 2 * 2 * 9);
  CHECK(told(map, 0, 2, 6, teacher).read_patch_count() == 0);
  // A term that reads them everywhere has them everywhere.
  const BatchShape all = options_of<ListedPoints>(2, {{4, 4}}).shape;
  using Pass = ViewPass<NetworkKindOf<Tiny<ListedPoints, ContentReferences<>>>, Reference<double>>;
  CHECK(Pass(all, 0, 3, 4, 2, ListedPoints::student_reads).tokens().reference_count() == 3 * 2 * 4);
  CHECK(Pass(all, 0, 2, 6, 2, ListedPoints::teacher_reads).tokens().reference_count() == 2 * 2 * 6);
}

TEST_CASE("points are told among all points of the batch, in both views") {
  using Term = PointNtXent<MlpConfig{.layers = 1, .hidden = 1, .out = 2}>;
  const Reference<double> backend;
  // Two images, three views of which the last is local, two points a pair: rows (view, image, partner, point).
  const bool checked = GENERATE(false, true);
  const TermSetting setting{.batch = 2, .views = 3, .points = 2, .checked_points = checked, .parts = {{0, 3}}, .width = 3};
  Term::Run<Reference<double>> run(setting, {});
  Memory<Reference<double>> memory(backend);
  static_cast<void>(memory.buffers([&](Arena& arena) {
    run.place_lasting(backend, arena);
    run.place_student(backend, arena, 0);
    return 0;
  }));
  RandomStream random({.seed = 5});
  const auto drawn = [&random](std::size_t count) {
    std::vector<double> out(count);
    for (double& v : out) v = random.normal();
    return out;
  };
  const std::vector<double> points = drawn(std::size_t{3} * 2 * 2 * 2 * 3), weight = drawn(6);
  MlpParameters<const double> head;
  head.layers.push_back({.weight = memory.matrix(weight, 3), .bias = {}, .norm_weight = {}, .norm_bias = {}});
  MlpParameters<double> d_head;
  d_head.layers.push_back({.weight = memory.zeros(2, 3), .bias = {}, .norm_weight = {}, .norm_bias = {}});
  const TermParameters<Term, const double> p{.head = head, .predictor = {}};
  const TermParameters<Term, double> d_p{.head = d_head, .predictor = {}};
  const MatrixView<double> d_points = memory.zeros(24, 3);
  // The second image's first point may be beyond the image in the second view: its pair is left out. (2,B,V,K)
  std::vector<std::uint8_t> valid(std::size_t{2} * 2 * 3 * 2, 1);
  valid[((1 * 2 + 1) * 3 + 0) * 2 + 0] = 0;
  const auto left_out = [checked](std::size_t image, std::size_t point) { return checked && image == 1 && point == 0; };
  if (checked) run.set_valid(backend, valid);
  run.student(backend, {.part = 0,
                        .d_features = {.points = d_points},
                        .d_parameters = d_p,
                        .features = {.points = memory.matrix(points, 3)},
                        .parameters = p,
                        .teacher = p,
                        .numbers = {}});
  TermReport report;
  run.add_to(backend, report);

  // What is read: of each global view the points that it shares with the other one.
  struct Read {
    std::size_t view, image, point, row;
    std::array<double, 2> u;
  };
  std::vector<Read> read;
  for (std::size_t view = 0; view < 2; ++view) {
    for (std::size_t image = 0; image < 2; ++image) {
      for (std::size_t point = 0; point < 2; ++point) {
        if (left_out(image, point)) continue;
        const std::size_t row = ((view * 2 + image) * 2 + (1 - view)) * 2 + point;
        std::array<double, 2> z{};
        for (std::size_t o = 0; o < 2; ++o) {
          for (std::size_t i = 0; i < 3; ++i) z[o] += weight[3 * o + i] * points[3 * row + i];
        }
        const double norm = std::hypot(z[0], z[1]);
        read.push_back({view, image, point, row, {z[0] / norm, z[1] / norm}});
      }
    }
  }
  double expected = 0;
  for (const Read& a : read) {
    double own = 0, all = 0;
    for (const Read& b : read) {
      if (a.row == b.row) continue;
      const double e = std::exp((a.u[0] * b.u[0] + a.u[1] * b.u[1]) / 0.5);
      all += e;
      if (a.image == b.image && a.point == b.point) own += e;
    }
    expected -= std::log(own / all) / static_cast<double>(read.size());
  }
  CHECK(report.loss == Approx(expected).epsilon(1e-12));
  // No other row has a gradient.
  for (std::size_t row = 0; row < 24; ++row) {
    double size = 0;
    for (Index i = 0; i < 3; ++i) size += std::abs(d_points(static_cast<Index>(row), i));
    CHECK((size > 1e-9) == std::ranges::any_of(read, [&](const Read& r) { return r.row == row; }));
  }
  CHECK(read.size() == (checked ? 6 : 8));
}

TEST_CASE("KoLeo over ranks is the mean of each rank's own") {
  auto options = options_of<DinoAndKoLeo>(4);
  options.loss.of<KoLeo>().weight = 2;
  std::vector<TwoUpdates> ranks(2);
  REQUIRE(on_ranks(2, [&](const Communicator& own) {
            ranks[static_cast<std::size_t>(own.rank())] = two_updates<DinoAndKoLeo, ClassToken>(options, own);
          }) == no_words(2));
  options.optimiser.kind = OptimiserKind::sgd;
  auto halves = options;
  halves.shape.batch = 2;
  halves.accumulate = 2;
  TrainingStep<Tiny<DinoAndKoLeo>, Reference<double>> step({}, halves);
  draw(step);
  StepReport report;
  step.begin();
  const ThreadRanks two(2);
  for (const Index rank : {0, 1}) {
    step.forward_backward(report, part_of(drawn_batch(options.shape, 7), two.communicator(rank)), 0.4);
  }
  const TermReport& found = ranks[0].reports[0].term("koleo");
  CHECK(std::abs(found.loss) > 1e-3);
  CHECK(found.loss == Approx(report.term("koleo").loss).epsilon(1e-12));
  CHECK(ranks[0].reports[0].loss == Approx(report.loss).epsilon(1e-12));
  step.update(report, {.optimiser = {.learning_rate = 0.01, .weight_decay = 0.04}, .teacher_momentum = 0.9});
  CHECK(ranks[0].reports[0].gradient_norm == Approx(report.gradient_norm).epsilon(1e-12));
}

TEST_CASE("KoLeo of all ranks is that of the batch as one, of views one after the other too, and of an image a rank") {
  for (const bool streamed : {false, true}) {
    INFO(streamed);
    auto options = options_of<DinoAndKoLeo>(4, {{4, 4}});
    options.stream_views = streamed;
    options.loss.of<KoLeo>() = {.weight = 2, .options = {.all_ranks = true}};
    const TwoUpdates expected = two_updates<DinoAndKoLeo, ClassToken>(options, {});
    auto local = options;
    local.loss.of<KoLeo>().options.all_ranks = false;
    CHECK((two_updates<DinoAndKoLeo, ClassToken>(local, {}).student == expected.student));
    for (const Index size : {2, 4}) {
      std::vector<TwoUpdates> ranks(static_cast<std::size_t>(size));
      REQUIRE(on_ranks(size, [&](const Communicator& own) {
                ranks[static_cast<std::size_t>(own.rank())] = two_updates<DinoAndKoLeo, ClassToken>(options, own);
              }) == no_words(size));
      for (const TwoUpdates& rank : ranks) check_same_updates(rank, expected, true);
    }
  }
  auto one = options_of<DinoAndKoLeo>(1);
  one.loss.of<KoLeo>().options.all_ranks = true;
  CHECK(refusal_of<DinoAndKoLeo>(one) ==
        "option 'batch' is 1; expected at least 2: the term 'koleo' compares the images of a batch");
}

TEST_CASE("SimSiam is BYOL's comparison with the student for a teacher, at a quarter of its scale") {
  using Twin = WeightedSum<Cosine<Ema, by_head(simsiam_projector), listed_predictor>>;
  TrainingStep<Tiny<SimSiamLoss>, Reference<double>> step({}, options_of<SimSiamLoss>());
  TrainingStep<Tiny<Twin>, Reference<double>> twin({}, options_of<Twin>());
  REQUIRE(step.layout().total() == twin.layout().total());
  CHECK(step.teacher().data() == step.student().data());
  draw(step);
  draw(twin);
  std::copy(twin.student().flat().begin(), twin.student().flat().end(), twin.teacher().data());
  const ViewBatch batch = drawn_batch(step.options().shape, 5);
  StepReport report;
  StepReport of_twin;
  step.begin();
  twin.begin();
  step.forward_backward(report, batch, 0.4);
  twin.forward_backward(of_twin, batch, 0.4);
  // 2 - 2 cos each way, added, against half of -cos each way.
  CHECK(report.loss == Approx((of_twin.loss - 4) / 4).epsilon(1e-9));
  double off = 0;
  double largest = 0;
  for (Index i = 0; i < step.layout().total(); ++i) {
    off = std::max(off, std::abs(step.gradients()(i) - twin.gradients()(i) / 4));
    largest = std::max(largest, std::abs(step.gradients()(i)));
  }
  CHECK(largest > 1e-3);
  CHECK(off < 1e-9 * largest);
}

TEST_CASE("prototypes assigned by Sinkhorn-Knopp have a centre in each pass, and keep none") {
  auto options = options_of<DinoV2Image>(6);
  TrainingStep<Tiny<DinoV2Image>, Reference<double>> step({}, options);
  TrainingStep<Tiny<DinoAndKoLeo>, Reference<double>> centred({}, options_of<DinoAndKoLeo>(6));
  draw(step);
  draw(centred);
  const ViewBatch batch = drawn_batch(options.shape, 5);
  StepReport report;
  StepReport of_centred;
  step.begin();
  step.forward_backward(report, batch, 0.5);
  step.inspect(report);
  centred.begin();
  centred.forward_backward(of_centred, batch, 0.5);
  // The centre was 0 in the step with a moving one; the assigned one is not, and is no lasting state.
  CHECK(report.term("image-sinkhorn").centre_norm > 1e-3);
  CHECK(report.term("image-sinkhorn").loss != Approx(of_centred.term("image").loss));
  CHECK(states_of(step).empty());
  CHECK(states_of(centred).size() == 1);
}

TEST_CASE("prototypes by softmax alone are those of a centre that is held at 0, and keep none") {
  using Uncentred = WeightedSum<UncentredImageLevel, KoLeo>;
  using Centred = WeightedSum<CentredImageLevel, KoLeo>;
  TrainingStep<Tiny<Uncentred>, Reference<double>> step({}, options_of<Uncentred>());
  TrainingStep<Tiny<Centred>, Reference<double>> held({}, options_of<Centred>()), moving({}, options_of<Centred>());
  std::array<StepReport, 3> reports;
  const auto update = [&](auto& of, StepReport& report, Index i) {
    if (i == 0) draw(of);
    of.begin();
    of.forward_backward(report = {}, drawn_batch(of.options().shape, 7, 4 * i), 0.1);
    of.inspect(report);
    of.update(report, {.optimiser = {.learning_rate = 0.01, .step = i}, .teacher_momentum = 0.9});
  };
  for (Index i = 0; i < 3; ++i) {
    held.backend().fill(held.term_state("center"), 0.0);
    update(step, reports[0], i);
    update(held, reports[1], i);
    update(moving, reports[2], i);
    const TermReport& found = reports[0].term("image-uncentred");
    const TermReport& expected = reports[1].term("image-centred");
    CHECK(found.loss == expected.loss);
    CHECK(found.teacher_entropy == expected.teacher_entropy);
    CHECK(found.centre_norm == 0);
    CHECK(reports[0].gradient_norm == reports[1].gradient_norm);
  }
  CHECK(host_of(step, step.student()) == host_of(held, held.student()));
  CHECK(host_of(step, step.teacher()) == host_of(held, held.teacher()));
  CHECK(states_of(step).empty());
  CHECK(std::abs(reports[2].loss - reports[0].loss) > 1e-6);  // a centre tells
}

TEST_CASE("two views: state moves in updates, and only there") {
  TrainingStep<Tiny<MocoV2Loss>, Reference<double>> step({}, options_of<MocoV2Loss>());
  draw(step);
  const auto queue = [&] { return states_of(step).at(0).second; };
  const auto first = queue();
  REQUIRE(states_of(step).at(0).first == "queue");
  REQUIRE(states_of(step).at(1).first == "queue_ptr");
  REQUIRE(first.size() == 7U * 5U);
  for (Index k = 0; k < 7; ++k) {
    double squares = 0;
    for (Index d = 0; d < 5; ++d) squares += std::pow(first[static_cast<std::size_t>(k * 5 + d)], 2);
    CHECK(squares == Approx(1));
  }
  const ViewBatch batch = drawn_batch(step.options().shape, 5);
  for (const double pointer : {4.0, 1.0, 5.0}) {  // four keys an update, seven rows
    const auto before = queue();
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, 0.4);
    CHECK(queue() == before);
    step.update(report, {.optimiser = {.learning_rate = 0.01}, .teacher_momentum = 0.9});
    CHECK(queue() != before);
    CHECK(states_of(step).at(1).second == std::vector<double>{pointer});
  }

  TrainingStep<Tiny<ByolLoss>, Reference<double>> byol({}, options_of<ByolLoss>());
  draw(byol);
  StepReport report;
  byol.begin();
  byol.forward_backward(report, batch, 0.4);
  const auto before = states_of(byol);
  std::vector<std::string> names;
  for (const auto& [name, values] : before) names.push_back(name);
  CHECK(names == std::vector<std::string>{"statistics.projector.1.running_mean", "statistics.projector.1.running_var",
                                          "statistics.predictor.1.running_mean", "statistics.predictor.1.running_var",
                                          "teacher_statistics.projector.1.running_mean",
                                          "teacher_statistics.projector.1.running_var"});
  CHECK(before[0].second == std::vector<double>(7, 0.0));
  CHECK(before[1].second == std::vector<double>(7, 1.0));
  byol.update(report, {.optimiser = {.learning_rate = 0.01}, .teacher_momentum = 0.9});
  const auto after = states_of(byol);
  for (std::size_t i = 0; i < after.size(); ++i) {
    INFO(after[i].first);
    CHECK(after[i].second != before[i].second);
  }
}

TEST_CASE("two views: the same bits for any number of threads, of terms that add to the rows of others") { check_threads<Both>(); }

TEST_CASE("two views: what needs the batch whole is not streamed, and wants two images") {
  auto streamed = options_of<SimClrLoss>();
  streamed.stream_views = true;
  CHECK(refusal_of<SimClrLoss>(streamed) == refusal_of_streamed);
  CHECK(refusal_of<ByolLoss>(options_of<ByolLoss>(1)) ==
        "option 'batch' is 1; expected at least 2: the term 'cosine' compares the images of a batch");
  CHECK(refusal_of<DinoAndKoLeo>(options_of<DinoAndKoLeo>(1)) ==
        "option 'batch' is 1; expected at least 2, on each rank: the term 'koleo' compares the images of a batch");
  auto short_queue = options_of<MocoV2Loss>();
  short_queue.loss.of<MocoV2Term>().options.keys = 3;
  CHECK(refusal_of<MocoV2Loss>(short_queue) == "option 'batch' is 4; expected at most the keys of the queue, 3");

  // A term that needs a view whole goes with it.
  auto options = options_of<DinoAndKoLeo>();
  options.shape.views.push_back({4, 4});
  TrainingStep<Tiny<DinoAndKoLeo>, Reference<double>> at_once({}, options);
  options.stream_views = true;
  TrainingStep<Tiny<DinoAndKoLeo>, Reference<double>> one_by_one({}, options);
  draw(at_once);
  draw(one_by_one);
  const ViewBatch batch = drawn_batch(options.shape, 5);
  StepReport a;
  StepReport b;
  at_once.begin();
  at_once.forward_backward(a, batch, 0.4);
  one_by_one.begin();
  one_by_one.forward_backward(b, batch, 0.4);
  CHECK(b.loss == Approx(a.loss).epsilon(1e-12));
  CHECK(b.term("koleo").loss == Approx(a.term("koleo").loss).epsilon(1e-12));
  double off = 0;
  for (Index i = 0; i < at_once.layout().total(); ++i) {
    off = std::max(off, std::abs(at_once.gradients()(i) - one_by_one.gradients()(i)));
  }
  CHECK(off < 1e-12);
}

TEST_CASE("two views: a run says what it is") {
  CHECK(ByolLoss::describe() != SimSiamLoss::describe());
  CHECK(WeightedSum<Cosine<Ema, by_head(byol_mlp), by_head(byol_mlp)>>::describe() !=
        WeightedSum<Cosine<StopGradient, by_head(byol_mlp), by_head(byol_mlp)>>::describe());
  CHECK(SimClrLoss::describe() != WeightedSum<NtXent<by_head(moco_v2_projector)>>::describe());

  // Without a teacher, what is watched is a part that ran: the last view has no global view for KoLeo.
  using Alone = WeightedSum<KoLeo>;
  auto options = options_of<Alone>();
  options.shape.views.push_back({4, 4});
  options.stream_views = true;
  TrainingStep<Tiny<Alone>, Reference<double>> step({}, options);
  draw(step);
  StepReport report;
  step.begin();
  step.forward_backward(report, drawn_batch(options.shape, 5), 0.4);
  step.inspect(report);
  CHECK(report.feature_spread > 0);
}

TEST_CASE("two views: heads by names of their own are of one sum, and so is what lasts of them") {
  check_slopes<Named>({"projector.0.bias", "predictor.0.bias", "spread_projector.0.bias", "spread_projector.3.bias",
                       "swapped_projector.0.bias"});
  TrainingStep<Tiny<Named>, Reference<double>> step({}, options_of<Named>());
  std::set<std::string> of_heads, of_states;
  for (const ParameterSpec& spec : step.layout().specs()) of_heads.insert(std::string(spec.name.view()));
  for (const char* name : {"projector.0.weight", "predictor.0.weight", "pairs_projector.0.weight", "batch_projector.0.weight",
                           "batch_predictor.0.weight", "keys_projector.0.weight", "columns_projector.0.weight",
                           "spread_projector.0.weight", "swapped_projector.0.weight", "swapped_prototypes.weight"}) {
    INFO(name);
    CHECK(of_heads.contains(name));
  }
  const auto states = states_of(step);
  for (const auto& [name, values] : states) of_states.insert(name);
  CHECK(of_states.size() == states.size());
  for (const char* name : {"statistics.projector.1.running_mean", "statistics.predictor.1.running_mean",
                           "teacher_statistics.projector.1.running_mean", "statistics.pairs_projector.1.running_mean",
                           "statistics.batch_projector.1.running_mean", "statistics.batch_predictor.1.running_mean",
                           "teacher_statistics.batch_projector.1.running_mean", "keys_queue", "keys_queue_ptr",
                           "statistics.columns_projector.1.running_mean", "statistics.spread_projector.1.running_mean",
                           "statistics.swapped_projector.1.running_mean",
                           "teacher_statistics.swapped_projector.1.running_mean", "swapped_queue", "swapped_queue_ptr"}) {
    INFO(name);
    CHECK(of_states.contains(name));
  }
  using OfTeacher = SwappedAssignment<Ema, by_head(swav_projector), "swapped">;
  CHECK(OfTeacher::words() == SwappedAssignment<Ema, by_head(swav_projector)>::words() + "; head named swapped");
  CHECK(NtXent<by_head(simclr_projector), "pairs">::words() == NtXent<by_head(simclr_projector)>::words() + "; head named pairs");
}

TEST_CASE("two views: a queue's pointer outside of it is refused") {
  TrainingStep<Tiny<MocoV2Loss>, Reference<double>> step({}, options_of<MocoV2Loss>());
  draw(step);
  for (const double pointer : {7.0, -1.0, 1e30}) {
    step.for_each_term_state([&](std::string_view name, VectorView<double> values, const auto&) {
      if (name == "queue_ptr") values(0) = pointer;
    });
    StepReport report;
    step.begin();
    step.forward_backward(report, drawn_batch(step.options().shape, 5), 0.4);
    CHECK_THROWS_WITH(step.update(report, {}), Catch::Contains("queue_ptr"));
  }
}

TEST_CASE("recipes of two views have their published widths, and those of another head") {
  constexpr auto byol = network_layout<NetworkKindOf<Byol>>;
  const ParameterLayout layout = byol(network_config<Byol>());
  CHECK(layout.find("projector.0.weight").shape() == std::vector<Index>{4096, 384});
  CHECK(layout.find("projector.3.weight").shape() == std::vector<Index>{256, 4096});
  CHECK(layout.find("predictor.0.weight").shape() == std::vector<Index>{4096, 256});
  CHECK(layout.find("predictor.3.weight").shape() == std::vector<Index>{256, 4096});
  auto config = network_config<SimSiam>();
  config.head.bottleneck = 64;
  const ParameterLayout small = network_layout<NetworkKindOf<SimSiam>>(config);
  CHECK(small.find("predictor.3.weight").shape() == std::vector<Index>{64, 512});
  CHECK_FALSE(small.find("projector.6.bias").trained);
  CHECK(network_layout<NetworkKindOf<BarlowTwins>>(network_config<BarlowTwins>()).find("projector.6.weight").shape() ==
        std::vector<Index>{8192, 8192});
}
