// What DINOv3's steps have beside DINOv2's: a snapshot that sees views of another size, and plain prototypes.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../compare.hpp"
#include "catch.hpp"
#include "thrown.hpp"
#include "train/term_steps.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/loss/gram_term.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

struct PlainLevel : ClassTokenLevel<PlainLevel> {
  static constexpr std::string_view name = "plain";
  static constexpr Index sinkhorn_rounds = 3;

  static constexpr HeadConfig head_of(HeadConfig head) {
    head.plain_prototypes = true;
    return head;
  }
};

using Anchored = WeightedSum<ImageLevel, Gram<>>;
using Step = TrainingStep<Tiny<Anchored>, Reference<double>>;

/// Cell (i, j) of a map of (from) cells read at (to): the four nearest along each axis, a = -0.75, edge cells repeated.
double bicubic(MatrixView<const double> map, GridSize to, GridSize from, Index i, Index j, Index d) {
  const auto weight = [](double x) {
    x = std::abs(x);
    constexpr double a = -0.75;
    if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
    return x < 2 ? a * (x * x * x - 5 * x * x + 8 * x - 4) : 0.0;
  };
  const double y = (static_cast<double>(i) + 0.5) * static_cast<double>(from.height) / static_cast<double>(to.height) - 0.5;
  const double x = (static_cast<double>(j) + 0.5) * static_cast<double>(from.width) / static_cast<double>(to.width) - 0.5;
  double sum = 0;
  for (Index row = -3; row < from.height + 3; ++row) {
    for (Index col = -3; col < from.width + 3; ++col) {
      const Index at = std::clamp<Index>(row, 0, from.height - 1) * from.width + std::clamp<Index>(col, 0, from.width - 1);
      sum += weight(static_cast<double>(row) - y) * weight(static_cast<double>(col) - x) * map(at, d);
    }
  }
  return sum;
}

/// The term's loss where the student's map is this and the snapshot's that.
double gram_of(const GramOptions& options, const TermSetting& setting, std::vector<double> student, std::vector<double> teacher) {
  const Reference<double> backend;
  Gram<>::Run<Reference<double>> run(setting, options);
  const auto place = [&](Arena& arena) {
    run.place_lasting(backend, arena);
    run.place_student(backend, arena, 0);
  };
  Arena measure;
  place(measure);
  const Buffer buffer = backend.allocate(measure.high_water());
  Arena live(buffer);
  place(live);
  const Index width = setting.width;
  std::vector<double> d_student(student.size(), 0.0);
  const auto as_map = [&](std::vector<double>& of) { return MatrixView<double>(of.data(), static_cast<Index>(of.size()) / width, width); };
  const TermParameters<Gram<>, double> d_none{};
  const TermParameters<Gram<>, const double> none{};
  run.teacher(backend, TeacherPass<Gram<>, double>{.features = {.map = as_map(teacher)}, .parameters = none});
  run.student(backend, StudentPass<Gram<>, double>{.part = 0,
                                                   .d_features = {.map = as_map(d_student)},
                                                   .d_parameters = d_none,
                                                   .features = {.map = as_map(student)},
                                                   .parameters = none,
                                                   .teacher = none,
                                                   .numbers = {}});
  TermReport report;
  run.add_to(backend, report);
  return report.loss;
}

/// Maps of images of `from` cells resized to `to` by what each axis reads, image by image.
std::vector<double> antialiased(const std::vector<double>& maps, Index images, Index width, GridSize to, GridSize from) {
  const auto down = detail::antialiased_axis(to.height, from.height), across = detail::antialiased_axis(to.width, from.width);
  std::vector<double> out;
  for (Index image = 0; image < images; ++image) {
    const MatrixView<const double> map(maps.data() + image * from.size() * width, from.size(), width);
    for (const auto& rows : down) {
      for (const auto& cols : across) {
        for (Index d = 0; d < width; ++d) {
          double sum = 0;
          for (const auto& [row, weight] : rows) {
            for (const auto& [col, share] : cols) sum += weight * share * map(row * from.width + col, d);
          }
          out.push_back(sum);
        }
      }
    }
  }
  return out;
}

ViewBatch batch_of(const BatchShape& shape, std::uint64_t seed) {
  ViewBatch batch = drawn_batch(shape, 5);
  for (auto& view : batch.snapshot_images) {
    const auto values = normal_values(view.size(), seed++);
    std::transform(values.begin(), values.end(), view.begin(), [](double v) { return static_cast<float>(v); });
  }
  return batch;
}

double gram_of(Step& step, const ViewBatch& batch) {
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.4);
  return report.term("gram").loss;
}

}  // namespace

TEST_CASE("plain prototypes: slopes, bits, accumulated and streamed equality") {
  check_term<WeightedSum<PlainLevel, KoLeo>>();
}

TEST_CASE("plain prototypes are a linear layer's rows: one matrix, drawn small, that decays and is frozen as others are") {
  ParameterLayout layout;
  add_head_parameters(layout, {.layers = 2, .hidden = 8, .bottleneck = 6, .prototypes = 700, .plain_prototypes = true}, 4, "head.");
  const ParameterSpec& spec = layout.specs().back();
  CHECK(spec.name.view() == "head.last_layer.weight");
  CHECK(spec.shape() == std::vector<Index>{700, 6});
  CHECK((spec.trained && spec.prototype && spec.decayed()));
  std::vector<double> flat(static_cast<std::size_t>(layout.total()));
  initialise(std::span<double>(flat), layout, 3);
  const auto drawn = tensor_of<double>(flat, spec);
  CHECK(std::sqrt(dot(drawn, drawn) / static_cast<double>(spec.size)) == Approx(0.02).epsilon(0.05));

  using Plain = TrainingStep<Tiny<WeightedSum<PlainLevel, KoLeo>>, Reference<double>>;
  const auto options = options_of<WeightedSum<PlainLevel, KoLeo>>();
  Plain step({}, options);
  draw(step);
  const auto& of_step = *std::ranges::find_if(step.layout().specs(), [](const auto& s) { return s.prototype; });
  REQUIRE(of_step.name.view().ends_with("last_layer.weight"));
  const auto prototypes = [&] {
    const auto now = tensor_of<const double>(step.student().flat(), of_step);
    return std::vector<double>(now.begin(), now.end());
  };
  const auto first = prototypes();
  for (const bool frozen : {true, false}) {
    StepReport report;
    step.begin();
    step.forward_backward(report, drawn_batch(options.shape, 5), 0.4);
    step.update(report, {.optimiser = {.learning_rate = 0.01, .step = frozen ? 0 : 1, .frozen_steps = 1}});
    CHECK((prototypes() == first) == frozen);
  }
}

TEST_CASE("a snapshot's larger map is read bicubically for the student's patches") {
  const GridSize to{3, 4}, from{5, 7};
  const TermSetting setting{.batch = 2, .views = 2, .grids = {to, to}, .parts = {{0, 2}}, .width = 3, .snapshot = from};
  const std::vector<double> teacher = normal_values(static_cast<std::size_t>(4 * from.size() * 3), 1);
  std::vector<double> student;
  for (Index image = 0; image < 4; ++image) {
    const MatrixView<const double> map(teacher.data() + image * from.size() * 3, from.size(), 3);
    for (Index n = 0; n < to.size(); ++n) {
      for (Index d = 0; d < 3; ++d) student.push_back(bicubic(map, to, from, n / to.width, n % to.width, d));
    }
  }
  CHECK(gram_of({}, setting, student, teacher) < 1e-25);
  CHECK(gram_of({.resize = PositionRule::size_antialiased}, setting, student, teacher) > 1e-4);
  student[5] += 0.1;
  CHECK(gram_of({}, setting, student, teacher) > 1e-6);
  // What is the same everywhere stays the same by any rule.
  const std::vector<double> flat(teacher.size(), 0.5), of_student(student.size(), 0.5);
  for (const PositionRule rule : {PositionRule::size, PositionRule::size_antialiased, PositionRule::corners}) {
    CHECK(gram_of({.resize = rule}, setting, of_student, flat) < 1e-25);
  }
}

TEST_CASE("a snapshot's larger map is read antialiased, in one pass over its rows or in several") {
  const GridSize to{3, 4};
  const Index width = 2, images = 4;  // two of each view, each another one
  for (const GridSize from : {GridSize{5, 7}, GridSize{18, 20}}) {
    INFO(from.height << " x " << from.width);
    CHECK((grid_reads<double>(to, from, PositionRule::size_antialiased).size() > 2) == (from.height == 18));
    const TermSetting setting{.batch = 2, .views = 2, .grids = {to, to}, .parts = {{0, 2}}, .width = width, .snapshot = from};
    const std::vector<double> teacher = normal_values(static_cast<std::size_t>(images * from.size() * width), 1);
    std::vector<double> student = antialiased(teacher, images, width, to, from);
    CHECK(gram_of({.resize = PositionRule::size_antialiased}, setting, student, teacher) < 1e-25);
    CHECK(gram_of({}, setting, student, teacher) > 1e-4);
    student.back() += 0.1;  // of the last image
    CHECK(gram_of({.resize = PositionRule::size_antialiased}, setting, student, teacher) > 1e-6);
  }
}

TEST_CASE("views of a snapshot's own, one after the other and in several passes: losses and gradients of all at once") {
  auto options = options_of<Anchored>(4, {{4, 4}});
  options.shape.snapshot_view = {10, 8};
  Step at_once({}, options);
  options.stream_views = true;
  Step streamed({}, options);
  options.accumulate = 2;
  Step both({}, options);
  for (Step* step : {&at_once, &streamed, &both}) draw(*step);
  std::vector<double> mean(static_cast<std::size_t>(at_once.layout().total()), 0.0);
  const auto off = [](std::span<const double> a, std::span<const double> b) {
    double out = 0;
    for (std::size_t i = 0; i < a.size(); ++i) out = std::max(out, std::abs(a[i] - b[i]));
    return out;
  };
  StepReport of_both;
  double loss = 0;
  both.begin();
  for (const std::uint64_t seed : {1, 50}) {
    const ViewBatch batch = batch_of(options.shape, seed);
    StepReport expected, report;
    at_once.begin();
    at_once.forward_backward(expected, batch, 0.4);
    streamed.begin();
    streamed.forward_backward(report, batch, 0.4);
    CHECK(report.loss == Approx(expected.loss).epsilon(1e-12));
    CHECK(off(streamed.gradients().flat(), at_once.gradients().flat()) < 1e-12);
    loss += expected.loss / 2;
    for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += at_once.gradients().flat()[i] / 2;
    both.forward_backward(of_both, batch, 0.4);
  }
  CHECK(of_both.loss == Approx(loss).epsilon(1e-12));
  CHECK(off(both.gradients().flat(), mean) < 1e-12);
  CHECK(off(at_once.gradients().flat(), mean) > 1e-6);  // the passes differ
}

TEST_CASE("a snapshot sees views of its own: at the student's size and the same they change nothing") {
  auto options = options_of<Anchored>();
  Step without({}, options);
  options.shape.snapshot_view = {6, 6};
  Step same({}, options);
  options.shape.snapshot_view = {10, 8};
  Step larger({}, options);
  for (Step* step : {&without, &same, &larger}) draw(*step);
  const double expected = gram_of(without, drawn_batch(without.options().shape, 5));
  ViewBatch batch = batch_of(same.options().shape, 1);
  CHECK(gram_of(same, batch) != expected);
  batch.snapshot_images = {batch.images[0], batch.images[1]};
  CHECK(gram_of(same, batch) == expected);
  ViewBatch seen = batch_of(larger.options().shape, 1);
  const double of_larger = gram_of(larger, seen);
  CHECK(of_larger > 1e-6);
  seen.snapshot_images[1].back() += 1;
  CHECK(gram_of(larger, seen) != of_larger);
  for (const ParameterGradient& p : gradient_differences(larger, seen, 0.4)) {
    INFO("gradient of " << p.name << ", norm " << p.found.norm << ", difference " << p.found.difference);
    CHECK(p.found.small());
  }
  seen.snapshot_images.pop_back();
  CHECK(contains(thrown_by<ShapeError>([&] { gram_of(larger, seen); }), "1 views of a snapshot's own; expected 2"));
}

TEST_CASE("views of a snapshot's own are refused where nobody sees them, and where they have no whole patches") {
  auto options = options_of<Anchored>();
  options.shape.snapshot_view = {10, 9};
  CHECK(contains(thrown_by<OptionError>([&] { Step({}, options); }), "'snapshot_view' is 10 x 9; expected multiples of the patch, 2"));
  auto of_teacher = options_of<WeightedSum<ImageLevel, Gram<Ema>>>();
  of_teacher.shape.snapshot_view = {10, 8};
  using Held = TrainingStep<Tiny<WeightedSum<ImageLevel, Gram<Ema>>>, Reference<double>>;
  CHECK(contains(thrown_by<OptionError>([&] { Held({}, of_teacher); }), "'snapshot_view' is 10 x 8; expected 0 x 0"));
}
