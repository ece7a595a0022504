// Masked patches in a whole training step of a small model: slopes, a loss by hand, bits, streamed views, no masks at all.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
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
  // Nor are they where the terms beside masked patches read the global views' maps alone, or such terms are all.
  using Anchored = dssl::test::ListedDinoV2;
  CHECK(Pass(shape, 0, 3, 0, 2, Anchored::student_reads).tokens().read_count() == 3 * 2 + 2 * 2 * 9);
  using Maps = dssl::test::ListedAlignment;
  using OfMaps = ViewPass<NetworkKindOf<Tiny<Maps>>, Reference<double>>;
  CHECK(OfMaps(shape, 0, 3, 0, 2, Maps::student_reads).tokens().read_count() == 2 * 2 * 9);
  CHECK(OfMaps(shape, 2, 1, 0, 2, Maps::student_reads).tokens().read_count() == 0);
  // A term that reads all views' maps has them beside those, and so has a backbone that masks no patches, which gives all.
  using All = dssl::test::ListedPlaced;
  CHECK(ViewPass<NetworkKindOf<Tiny<All>>, Reference<double>>(shape, 0, 3, 0, 2, All::student_reads).tokens().read_count() ==
        3 * 2 + 2 * (2 * 9 + 4));
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

namespace {

/// A level by itself behind heads of drawn weights, the teacher's temperature 0.3, the student's 0.2: what a pass of it
/// reports, and the cross-entropy of two rows of features by softmaxes of their logits.
template <class Level>
class OneLevel {
 public:
  using B = Reference<double>;
  static constexpr Index width = 8;

  explicit OneLevel(TermSetting setting) : x_setting(std::move(setting)) {
    x_setting.head = test::term_widths;
    x_setting.width = width;
    Level::add_parameters(x_layout, x_setting.head, width);
    x_student = test::drawn_weights<double>(x_layout, 1);
    x_teacher = test::drawn_weights<double>(x_layout, 2);
  }

  /// `give(features, rows)`: as what they are read. `set(run)`: before the pass.
  template <class Give, class Set>
  TermReport report_of(const std::vector<double>& seen, const std::vector<double>& target, Give&& give, Set&& set) {
    typename Level::template Run<B> run(x_setting, {.student_temperature = 0.2});
    const auto place = [&](Arena& arena) {
      run.place_lasting(x_backend, arena);
      run.place_teacher(x_backend, arena);
      run.place_student(x_backend, arena, 0);
    };
    Arena measure;
    place(measure);
    const Buffer memory = x_backend.allocate(measure.high_water());
    std::fill_n(memory.data(), memory.bytes(), std::byte{0});
    Arena live(memory);
    place(live);
    std::vector<double> slopes(x_student.size()), d_seen(seen.size());
    const auto student = x_bound<const double>(x_student.data()), teacher = x_bound<const double>(x_teacher.data());
    const auto d = x_bound<double>(slopes.data());
    const auto rows = []<class Values>(Values& values) {
      return MatrixView<std::remove_pointer_t<decltype(values.data())>>(values.data(), static_cast<Index>(values.size()) / width, width);
    };
    TeacherPass<Level, double> of_teacher{.features = {}, .parameters = teacher, .numbers = {0.3}};
    give(of_teacher.features, rows(target));
    StudentPass<Level, double> of_student{.part = 0, .d_features = {}, .d_parameters = d, .features = {}, .parameters = student,
                                          .teacher = teacher, .numbers = {0.3}, .weight = 1};
    give(of_student.features, rows(seen));
    give(of_student.d_features, rows(d_seen));
    run.begin(x_backend);
    set(run);
    run.teacher(x_backend, of_teacher);
    run.student(x_backend, of_student);
    TermReport report;
    run.start(report);
    run.add_to(x_backend, report);
    return report;
  }

  /// -sum p log q of a row of the teacher's features and one of the student's.
  double cross_entropy(const std::vector<double>& target, std::size_t of_target, const std::vector<double>& seen,
                       std::size_t of_seen) const {
    const auto t = x_logits(target, of_target, x_teacher), s = x_logits(seen, of_seen, x_student);
    double t_total = 0, s_total = 0, out = 0;
    for (std::size_t c = 0; c < t.size(); ++c) t_total += std::exp(t[c] / 0.3), s_total += std::exp(s[c] / 0.2);
    for (std::size_t c = 0; c < t.size(); ++c) out -= std::exp(t[c] / 0.3) / t_total * (s[c] / 0.2 - std::log(s_total));
    return out;
  }

 private:
  template <class T>
  TermParameters<Level, T> x_bound(T* base) const {
    ParameterCursor<T> next(x_layout, base);
    TermParameters<Level, T> out;
    out.head = Level::template bind<T>(next, x_setting.head);
    return out;
  }
  std::vector<double> x_logits(const std::vector<double>& features, std::size_t row, const std::vector<double>& weights) const {
    const HeadConfig& head = x_setting.head;
    Arena sizes;
    const auto take = [&](Arena& arena) {
      const auto unit = arena.matrix<double>(1, head.bottleneck);
      return std::tuple(HeadActivations<double>::take(arena, head, width, unit), unit,
                        NormalisedPrototypes<double>::take(arena, head.prototypes, head.bottleneck),
                        arena.matrix<double>(1, head.prototypes));
    };
    static_cast<void>(take(sizes));
    const Buffer room = x_backend.allocate(sizes.high_water());
    Arena arena(room);
    const auto [activations, unit, normalised, out] = take(arena);
    std::copy_n(features.begin() + static_cast<std::ptrdiff_t>(row * width), width, activations.x.data());
    const auto p = x_bound<const double>(weights.data());
    head_forward(x_backend, activations, p.head);
    prototype_logits(x_backend, out, normalised, PrototypeRows<double>{unit, p.head.prototypes, p.head.prototype_norm});
    return std::vector<double>(out.flat().begin(), out.flat().end());
  }

  B x_backend;
  TermSetting x_setting;
  ParameterLayout x_layout;
  std::vector<double> x_student, x_teacher;  // weights of both heads
};

/// So many rows of features of each network, of 36.
std::array<std::vector<double>, 2> drawn_features(std::size_t rows) {
  std::array<std::vector<double>, 2> out{std::vector<double>(36 * 8), std::vector<double>(36 * 8)};
  RandomStream random({.seed = 4});
  for (std::size_t i = 0; i < rows * 8; ++i) out[0][i] = random.normal(), out[1][i] = random.normal();
  return out;
}

}  // namespace

TEST_CASE("masked patches: the loss by hand") {
  OneLevel<MaskedLevel> level({.batch = 2, .views = 2, .grids = {{3, 3}, {3, 3}}, .parts = {{0, 2}}, .masked = 36});
  // Views 0 to 3 of both images have 2, 0, 3 and 1 masked patches.
  const MaskedRows rows{.patches = {1, 4, 18, 20, 25, 30}, .each = {2, 2, 3, 3, 3, 1}, .first = 0, .all = 6};
  const auto [seen, target] = drawn_features(6);
  const TermReport report = level.report_of(seen, target, [](auto& to, auto of) { to.masked = of; },
                                            [&](auto& run) { run.set(Reference<double>(), 0, rows); });
  double loss = 0;
  for (std::size_t row = 0; row < 6; ++row) loss += level.cross_entropy(target, row, seen, row) / rows.each[row] / 4;
  CHECK(report.loss == Approx(loss).epsilon(1e-12));
}

TEST_CASE("class tokens by softmax alone: the loss by hand") {
  OneLevel<UncentredImageLevel> level({.batch = 18, .views = 2, .grids = {{3, 3}, {3, 3}}, .parts = {{0, 2}}});
  const auto [seen, target] = drawn_features(36);
  const TermReport report =
      level.report_of(seen, target, [](auto& to, auto of) { to.class_level = of; }, [](auto& /*run*/) {});
  double loss = 0;
  for (std::size_t row = 0; row < 36; ++row) loss += level.cross_entropy(target, (row + 18) % 36, seen, row) / 36;
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
            .find("'masks' is of no patch") != std::string::npos);
  using Normed = test::TinyRecipe<ClassToken, Alone, test::term_size,
                                  HeadConfig{.layers = 2, .hidden = 7, .bottleneck = 5, .prototypes = 6, .batch_norm = true}>;
  CHECK(test::thrown_by<OptionError>([&] { TrainingStep<Normed, Reference<double>>({}, options); })
            .find("head.batch_norm") != std::string::npos);
}
