// Masked patches in a whole training step of a small model: slopes, a loss by hand, bits, streamed views, no masks at all.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "thrown.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

#include <dssl/loss/prototype_level.hpp>

using namespace dssl;
using dssl::test::check_listed;
using dssl::test::check_slopes_of;
using dssl::test::draw;
using dssl::test::listed_masked;
using dssl::test::options_of;
using dssl::test::slopes_masked;
using dssl::test::states_of;
using dssl::test::Tiny;

namespace {

using IbotLoss = dssl::test::ListedIbot;
using Alone = WeightedSum<MaskedLevel>;

struct Done {
  StepReport report;
  std::vector<double> gradients;
  std::vector<double> centre;
};

/// A pass and an update.
template <class Step>
Done done_by(Step& step, const ViewBatch& batch) {
  Done out;
  step.begin();
  step.forward_backward(out.report, batch, 0.4);
  out.gradients.assign(step.gradients().flat().begin(), step.gradients().flat().end());
  step.update(out.report, {.optimiser = {.learning_rate = 1e-3, .weight_decay = 0.04, .step = 0}, .teacher_momentum = 0.99});
  const auto states = states_of(step);
  if (!states.empty()) out.centre = states.back().second;
  return out;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i) out = std::max(out, std::abs(a[i] - b[i]));
  return out;
}

}  // namespace

TEST_CASE("masked patches: what every term is held to") { check_listed(listed_masked()); }

TEST_CASE("masked patches: slopes of DINOv2's alone") { check_slopes_of(slopes_masked()); }

TEST_CASE("masked patches: the student's local views are read where a term reads them alone") {
  // The teacher's map is IbotLevel's; the student's local patches are nobody's.
  const BatchShape shape{.batch = 2, .channels = 1, .points = 0, .views = {{6, 6}, {6, 6}, {4, 4}}, .masked = 36};
  using Pass = ViewPass<NetworkKindOf<Tiny<IbotLoss>>, Reference<double>>;
  CHECK(Pass(shape, 0, 3, 0, 2, IbotLoss::student_reads).tokens().read_count() == 3 * 2 + 2 * 2 * 9);
  CHECK(Pass(shape, 0, 2, 0, 2, IbotLoss::teacher_reads).tokens().read_count() == 2 * 2 + 2 * 2 * 9);
}

TEST_CASE("masked patches: views one after the other are all at once, and the centre is the mean of what was masked") {
  auto options = options_of<Alone>();
  options.shape.views.push_back({4, 4});
  TrainingStep<Tiny<Alone>, Reference<double>> at_once({}, options);
  options.stream_views = true;
  TrainingStep<Tiny<Alone>, Reference<double>> streamed({}, options);
  draw(at_once);
  draw(streamed);
  const ViewBatch batch = test::drawn_batch(options.shape, 5);
  const Done a = done_by(at_once, batch);
  const Done b = done_by(streamed, batch);
  CHECK(a.report.loss > 0.1);
  CHECK(b.report.loss == Approx(a.report.loss).epsilon(1e-12));
  CHECK(largest_difference(b.gradients, a.gradients) < 1e-12);
  CHECK(largest_difference(b.centre, a.centre) < 1e-12);
  CHECK(largest_difference(a.centre, std::vector<double>(a.centre.size())) > 1e-3);
  CHECK(b.report.term("masked").teacher_entropy == Approx(a.report.term("masked").teacher_entropy).epsilon(1e-12));
}

TEST_CASE("masked patches: two passes of an update are one of both") {
  auto options = options_of<Alone>(4);
  TrainingStep<Tiny<Alone>, Reference<double>> whole({}, options);
  auto half = options_of<Alone>(2);
  half.accumulate = 2;
  TrainingStep<Tiny<Alone>, Reference<double>> halves({}, half);
  draw(whole);
  draw(halves);
  StepReport of_whole;
  StepReport of_halves;
  whole.begin();
  whole.forward_backward(of_whole, test::drawn_batch(options.shape, 5), 0.4);
  halves.begin();
  halves.forward_backward(of_halves, test::drawn_batch(half.shape, 5), 0.4);
  halves.forward_backward(of_halves, test::drawn_batch(half.shape, 5, 2), 0.4);
  CHECK(of_halves.loss == Approx(of_whole.loss).epsilon(1e-12));
  const auto flat = [](const auto& step) { return std::vector<double>(step.gradients().flat().begin(), step.gradients().flat().end()); };
  CHECK(largest_difference(flat(halves), flat(whole)) < 1e-12);
}

TEST_CASE("masked patches: the loss by hand") {
  using B = Reference<double>;
  const B backend;
  const TermSetting setting{.batch = 2, .views = 2, .grids = {{3, 3}, {3, 3}}, .parts = {{0, 2}}, .head = test::term_widths,
                            .width = 8, .masked = 36};
  MaskedLevel::Run<B> run(setting, {.student_temperature = 0.2});
  ParameterLayout layout;
  MaskedLevel::add_parameters(layout, setting.head, setting.width);
  const auto weights = test::drawn_weights<double>(layout, 1), teacher_weights = test::drawn_weights<double>(layout, 2);
  std::vector<double> slopes(weights.size());
  const auto bound = [&]<class T>(T* base) {
    ParameterCursor<T> next(layout, base);
    TermParameters<MaskedLevel, T> out;
    out.head = MaskedLevel::bind<T>(next, setting.head);
    return out;
  };
  const auto student = bound(weights.data());
  const auto teacher = bound(teacher_weights.data());
  const auto d = bound(slopes.data());
  const auto place = [&](Arena& arena) {
    run.place_lasting(backend, arena);
    run.place_teacher(backend, arena);
    run.place_student(backend, arena, 0);
  };
  Arena measure;
  place(measure);
  const Buffer memory = backend.allocate(measure.high_water());
  std::fill_n(memory.data(), memory.bytes(), std::byte{0});
  Arena live(memory);
  place(live);
  // Views 0 to 3 of both images have 2, 0, 3 and 1 masked patches.
  const MaskedRows rows{.patches = {1, 4, 18, 20, 25, 30}, .each = {2, 2, 3, 3, 3, 1}, .first = 0, .all = 6};
  std::vector<double> seen(36 * 8), target(36 * 8), d_seen(36 * 8);
  RandomStream random({.seed = 4});
  for (std::size_t i = 0; i < 6 * 8; ++i) seen[i] = random.normal(), target[i] = random.normal();
  run.begin(backend);
  run.set(backend, 0, rows);
  run.teacher(backend, {.features = {.masked = MatrixView<const double>(target.data(), 36, 8)}, .parameters = teacher, .numbers = {0.3}});
  run.student(backend, {.part = 0,
                        .d_features = {.masked = MatrixView<double>(d_seen.data(), 36, 8)},
                        .d_parameters = d,
                        .features = {.masked = MatrixView<const double>(seen.data(), 36, 8)},
                        .parameters = student,
                        .teacher = teacher,
                        .numbers = {0.3},
                        .weight = 1});
  TermReport report;
  run.start(report);
  run.add_to(backend, report);
  // Logits of one row of features at a time.
  const auto logits = [&](const std::vector<double>& features, std::size_t row, const auto& p) {
    Arena sizes;
    const auto take = [&](Arena& arena) {
      const auto unit = arena.matrix<double>(1, setting.head.bottleneck);
      return std::tuple(HeadActivations<double>::take(arena, setting.head, 8, unit), unit,
                        NormalisedPrototypes<double>::take(arena, setting.head.prototypes, setting.head.bottleneck),
                        arena.matrix<double>(1, setting.head.prototypes));
    };
    static_cast<void>(take(sizes));
    const Buffer room = backend.allocate(sizes.high_water());
    Arena arena(room);
    const auto [head, unit, normalised, out] = take(arena);
    std::copy_n(features.begin() + static_cast<std::ptrdiff_t>(row * 8), 8, head.x.data());
    head_forward(backend, head, p.head);
    prototype_logits(backend, out, normalised, PrototypeRows<double>{unit, p.head.prototypes, p.head.prototype_norm});
    return std::vector<double>(out.flat().begin(), out.flat().end());
  };
  double loss = 0;
  for (std::size_t row = 0; row < 6; ++row) {
    const auto t = logits(target, row, teacher), s = logits(seen, row, student);
    double t_total = 0, s_total = 0;
    for (std::size_t c = 0; c < t.size(); ++c) t_total += std::exp(t[c] / 0.3), s_total += std::exp(s[c] / 0.2);
    for (std::size_t c = 0; c < t.size(); ++c) {
      loss -= std::exp(t[c] / 0.3) / t_total * (s[c] / 0.2 - std::log(s_total)) / rows.each[row] / 4;
    }
  }
  CHECK(report.loss == Approx(loss).epsilon(1e-12));
}

TEST_CASE("masked patches: a batch without masks has no loss and moves no centre; impossible masks are refused") {
  const auto options = options_of<Alone>();
  TrainingStep<Tiny<Alone>, Reference<double>> step({}, options);
  draw(step);
  const ViewBatch masked = test::drawn_batch(options.shape, 5);
  const Done first = done_by(step, masked);
  ViewBatch none = masked;
  std::ranges::fill(none.masks, std::uint8_t{0});
  const Done then = done_by(step, none);
  CHECK(then.report.loss == 0);
  CHECK(std::all_of(then.gradients.begin(), then.gradients.end(), [](double g) { return g == 0; }));
  CHECK(largest_difference(then.centre, first.centre) < 1e-15);

  auto few = options;
  few.shape.masked = 5;
  TrainingStep<Tiny<Alone>, Reference<double>> small({}, few);
  StepReport report;
  small.begin();
  ViewBatch too_many = masked;
  too_many.shape.masked = 5;
  CHECK(test::thrown_by<ShapeError>([&] { small.forward_backward(report, too_many, 0.4); }).find("at most 5 were planned for") !=
        std::string::npos);
  ViewBatch misshapen = masked;
  misshapen.masks.resize(40);
  CHECK(test::thrown_by<ShapeError>([&] { static_cast<void>(done_by(step, misshapen)); }).find("masks of 40 patches") !=
        std::string::npos);
  // Any mark but 0 is one.
  ViewBatch marked = masked;
  for (std::uint8_t& mark : marked.masks) mark = mark != 0 ? 255 : 0;
  StepReport as_marked, as_masked;
  step.forward_backward(as_marked, marked, 0.4);
  step.forward_backward(as_masked, masked, 0.4);
  CHECK(as_marked.loss == as_masked.loss);
  CHECK(as_masked.term("masked").counted == Approx(7.0 / 8));  // view 1 of image 1 has no mask
  CHECK(then.report.term("masked").counted == 0);
  CHECK(collapse_of(then.report.term("masked"), 6) == Collapse::none);
  auto unmasked = options;
  unmasked.shape.masked = 0;
  CHECK(test::thrown_by<OptionError>([&] { TrainingStep<Tiny<Alone>, Reference<double>>({}, unmasked); })
            .find("'views' is without masks") != std::string::npos);
  using Normed = test::TinyRecipe<ClassToken, Alone, test::term_size,
                                  HeadConfig{.layers = 2, .hidden = 7, .bottleneck = 5, .prototypes = 6, .batch_norm = true}>;
  CHECK(test::thrown_by<OptionError>([&] { TrainingStep<Normed, Reference<double>>({}, options); })
            .find("head.batch_norm") != std::string::npos);
}
