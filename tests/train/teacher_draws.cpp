// Points that a teacher chooses: what it says, where they lie then, and that a step is the one of these
// points.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../compare.hpp"
#include "backbone/vit_runner.hpp"
#include "catch.hpp"
#include "thrown.hpp"
#include "train/instances.hpp"
#include "train/tiny_heads.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/train/teacher_draws.hpp>
#include <dssl/train/training_step.hpp>
#include <dssl/views/multi_crop.hpp>

using namespace dssl;
using dssl::test::contains;
using dssl::test::relative_difference;
using dssl::test::thrown_by;

namespace {

constexpr ViTConfig size{.image = 8,
                         .patch = 2,
                         .width = 8,
                         .depth = 3,
                         .heads = 2,
                         .mlp_ratio = 2,
                         .channels = 2,
                         .registers = 2};
constexpr GridSize grid{4, 4};

using Dense = test::TinyRecipe<ReferenceTokens<>, ImageAndPointLoss, size, test::tiny_head>;
using Sampled = test::TinyRecipe<FeatureMap, ImageAndPointLoss, size, test::tiny_head>;

/// Three points a pair, of which the last two are drawn by the teacher.
StepOptions drawn_by(TeacherSays by) {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 2, .points = 3, .views = {{8, 8}, {8, 8}, {4, 6}, {6, 4}}};
  options.shape.drawn = {{.first = 1, .count = 2, .by = by, .numbers = {}}};
  options.seed = 11;
  options.stochastic_depth = 0.3;
  return options;
}

/// Views that overlap, the global ones in part, some mirrored.
ViewBatch batch_of(const BatchShape& shape) {
  ViewBatch batch = test::drawn_batch(shape, 5);
  batch.epoch = 3;
  for (std::size_t b = 0; b < 2; ++b) {
    batch.frames[2 + b].first.y += 0.35;
    batch.frames[2 + b].last.y += 0.35;
  }
  for (std::size_t v = 0; v < batch.frames.size(); v += 3)
    std::swap(batch.frames[v].first.x, batch.frames[v].last.x);
  return batch;
}

template <class Step>
void draw(Step& step) {
  const auto student = test::drawn_weights<double>(step.layout(), 1, 0.5);
  const auto teacher = test::drawn_weights<double>(step.layout(), 2, 0.5);
  std::copy(student.begin(), student.end(), step.student().data());
  std::copy(teacher.begin(), teacher.end(), step.teacher().data());
}

/// The teacher's backbone over a global view of an image, without references, by the plain loops.
test::VitRunner<Reference<double>> teacher_alone(const ParameterLayout& layout,
                                                 std::span<const double> weights, const ViewBatch& batch,
                                                 Index view, Index image) {
  test::VitRunner<Reference<double>> runner({}, size, false, {{.count = 1, .grid = grid, .registers = 2}},
                                            all_groups);
  for (const auto& spec : runner.parameters().specs()) {
    const auto values = test::tensor_of(weights, layout.find("backbone." + std::string(spec.name.view())));
    std::copy(values.begin(), values.end(), runner.weights().data() + spec.offset);
  }
  const auto& images = batch.images[static_cast<std::size_t>(view)];
  const std::size_t each = images.size() / static_cast<std::size_t>(batch.shape.batch);
  std::copy_n(images.begin() + static_cast<std::ptrdiff_t>(each) * image, each, runner.image(0).begin());
  runner.forward<private_relation>();
  return runner;
}

/// The class token's attention to the 16 patches, written out: the mean over two heads of softmax(q k / 2).
std::vector<double> plain_attention(const test::VitRunner<Reference<double>>& runner) {
  const auto& qkv = runner.activations().blocks.back().qkv;
  std::vector<double> out(16, 0.0);
  for (Index head = 0; head < 2; ++head) {
    std::vector<double> shares;
    double sum = 0;
    for (Index token = 0; token < 1 + 2 + 16; ++token) {
      double score = 0;
      for (Index d = 0; d < 4; ++d) score += qkv(0, 4 * head + d) * qkv(token, 8 + 4 * head + d);
      shares.push_back(std::exp(score / 2));
      sum += shares.back();
    }
    for (std::size_t n = 0; n < 16; ++n) out[n] += shares[3 + n] / sum / 2;
  }
  return out;
}

/// Where the other view's map is read for the centre of a patch, and what a patch disagrees by; NaN where it
/// is not shown.
std::vector<double> plain_disagreement(const MatrixView<const double>& own,
                                       const MatrixView<const double>& other, const ViewFrame& here,
                                       const ViewFrame& there) {
  std::vector<double> out;
  for (Index n = 0; n < 16; ++n) {
    const double u = (static_cast<double>(n % 4) + 0.5) / 4, v = (static_cast<double>(n / 4) + 0.5) / 4;
    const double x = here.first.x + u * (here.last.x - here.first.x),
                 y = here.first.y + v * (here.last.y - here.first.y);
    const Point at{2 * (x - there.first.x) / (there.last.x - there.first.x) - 1,
                   2 * (y - there.first.y) / (there.last.y - there.first.y) - 1};
    if (std::abs(at.x) > 1 || std::abs(at.y) > 1) {
      out.push_back(std::numeric_limits<double>::quiet_NaN());
      continue;
    }
    const auto taps = point_read<double>(at, grid);
    double dot = 0, own_square = 0, other_square = 0;
    for (Index d = 0; d < size.width; ++d) {
      double read = 0;
      for (std::size_t t = 0; t < taps.row.size(); ++t) read += taps.weight[t] * other(taps.row[t], d);
      dot += own(n, d) * read;
      own_square += own(n, d) * own(n, d);
      other_square += read * read;
    }
    out.push_back(1 - dot / std::sqrt(own_square * other_square));
  }
  return out;
}

template <class Recipe, class B>
void check_said(const B& backend) {
  INFO(backend.describe());
  StepOptions options = drawn_by(TeacherSays::attention);
  options.shape.drawn.push_back({.first = 0, .count = 1, .by = TeacherSays::disagreement, .numbers = {}});
  TrainingStep<Recipe, B> step(backend, options);
  draw(step);
  const ViewBatch batch = batch_of(options.shape);
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.3);
  const TeacherSaid& said = step.teacher_draws().said();
  REQUIRE((said.attention.size() == 4 * 16 && said.disagreement.size() == 4 * 16));
  Index shown = 0;
  for (Index q = 0; q < 2; ++q) {
    for (Index b = 0; b < 2; ++b) {
      const auto runner = teacher_alone(step.layout(), step.teacher().flat(), batch, q, b);
      const auto other = teacher_alone(step.layout(), step.teacher().flat(), batch, 1 - q, b);
      const auto at = static_cast<std::size_t>(q * 2 + b);
      const auto attention = plain_attention(runner);
      CHECK(relative_difference<const double, double>(std::span(said.attention).subspan(16 * at, 16),
                                                      attention) < 1e-12);
      CHECK(*std::max_element(attention.begin(), attention.end()) >
            1.5 * *std::min_element(attention.begin(), attention.end()));
      const auto patches = [](const auto& of) {
        return MatrixView<const double>(of.activations().out)
            .rows(of.tokens().output_begin(TokenGroup::patch), 16);
      };
      const auto disagreement = plain_disagreement(
          patches(runner), patches(other), batch.frames[at],
          batch.frames[2 * (1 - static_cast<std::size_t>(q)) + static_cast<std::size_t>(b)]);
      for (std::size_t n = 0; n < 16; ++n) {
        const double found = said.disagreement[16 * at + n];
        CHECK(std::isnan(found) == std::isnan(disagreement[n]));
        if (std::isnan(found)) continue;
        CHECK(std::abs(found - disagreement[n]) < 1e-12);
        ++shown;
      }
    }
  }
  CHECK(shown > 8);
  CHECK(shown < 64);
}

/// A step whose teacher draws points against one that is given these.
template <class Recipe, class B>
void check_step(const B& backend, StepOptions options, double tolerance) {
  INFO(backend.describe() << ", by " << name_of(options.shape.drawn[0].by) << ", streamed "
                          << options.stream_views);
  TrainingStep<Recipe, B> drawing(backend, options);
  const ViewBatch before = batch_of(options.shape);
  options.shape.drawn.clear();
  TrainingStep<Recipe, B> given(backend, options);
  draw(drawing);
  draw(given);
  StepReport report, expected, undrawn;
  drawing.begin();
  drawing.forward_backward(report, before, 0.3);
  const auto& draws = drawing.teacher_draws();
  ViewBatch batch = before;
  batch.shape = options.shape;
  given.begin();
  given.forward_backward(undrawn, batch, 0.3);
  CHECK(std::abs(undrawn.loss - report.loss) > 1e-6);  // it matters
  batch.teacher_points.assign(draws.teacher_points().begin(), draws.teacher_points().end());
  batch.student_points.assign(draws.student_points().begin(), draws.student_points().end());
  given.begin();
  given.forward_backward(expected, batch, 0.3);
  CHECK(std::abs(report.loss - expected.loss) <= tolerance * std::abs(expected.loss));
  CHECK(relative_difference<double, double>(drawing.gradients().flat(), given.gradients().flat()) <=
        tolerance);
  // One of three points is the loaders', two are not.
  for (std::size_t i = 0; i < before.teacher_points.size(); ++i) {
    CHECK((before.teacher_points[i] == batch.teacher_points[i]) == (i % 3 == 0));
    CHECK((before.student_points[i] == batch.student_points[i]) == (i % 3 == 0));
  }
}

}  // namespace

TEST_CASE(
    "what the teacher says of patches is its class token's attention, and how unlike its features of two "
    "views are") {
  check_said<Dense>(Reference<double>());
  check_said<Sampled>(BasicCpu<double>({.threads = 2}));
}

TEST_CASE("a step whose teacher draws the points is the step of these points") {
  for (const TeacherSays by : {TeacherSays::attention, TeacherSays::disagreement}) {
    StepOptions options = drawn_by(by);
    check_step<Dense>(Reference<double>(), options, 0);
    check_step<Sampled>(BasicCpu<double>({.threads = 2}), options, 1e-12);
    options.stream_views = true;
    check_step<Dense>(BasicCpu<double>({.threads = 2}), options, 1e-11);
    check_step<Sampled>(Reference<double>(), options, 0);
  }
}

TEST_CASE("where others see the references the teacher passes twice") {
  using Open = test::TinyRecipe<ReferenceTokens<open_relation>, ImageAndPointLoss, size, test::tiny_head>;
  check_step<Open>(Reference<double>(), drawn_by(TeacherSays::attention), 0);
}

namespace {

/// Points of many samples by what is said by hand, in one batch of images of the same two or three views.
struct Drawn {
  ViewBatch batch;
  TeacherSaid all;
  GridSize grid;
  std::vector<Point> teacher_points, student_points;

  Drawn(const std::vector<ViewFrame>& frames, Index images, Index points, const std::vector<double>& said,
        GridSize of, const TeacherPointsOptions& numbers = {})
      : grid(of) {
    BatchShape shape{.batch = images, .channels = 1, .points = points};
    shape.views.assign(frames.size(), {8, 8});
    shape.drawn = {{.first = 0, .count = points, .by = TeacherSays::attention, .numbers = numbers}};
    batch = ViewBatch::of(shape, false);
    for (std::size_t v = 0; v < frames.size(); ++v) {
      for (Index b = 0; b < images; ++b)
        batch.frames[v * static_cast<std::size_t>(images) + static_cast<std::size_t>(b)] = frames[v];
    }
    for (Index b = 0; b < images; ++b) batch.samples[static_cast<std::size_t>(b)] = b;
    const std::size_t patches = said.size() / 2;
    for (std::size_t q = 0; q < 2; ++q) {
      for (Index b = 0; b < images; ++b) {
        const auto first = said.begin() + static_cast<std::ptrdiff_t>(q * patches);
        all.attention.insert(all.attention.end(), first, first + static_cast<std::ptrdiff_t>(patches));
      }
    }
    teacher_points.resize(batch.teacher_points.size());
    student_points.resize(batch.student_points.size());
    draw_in(0);
  }

  void draw_in(Index epoch, std::uint64_t seed = 7) {
    batch.epoch = epoch;
    draw_by_teacher(teacher_points, student_points, batch, all, grid, seed);
  }
};

}  // namespace

TEST_CASE(
    "a place of a patch is drawn as often as its weight in what both views show says, mirrored or not") {
  // Teacher view 0 is mirrored; the second view shows its right two thirds of the scene, which are its left
  // ones.
  const std::vector<ViewFrame> frames{{{30, 0}, {0, 20}}, {{10, 0}, {40, 20}}};
  const std::vector<double> said{0, 6, 2, 0, 1, 1,  // 2 x 3 patches of view 0
                                 1, 1, 1, 1, 1, 1};
  const Index images = 4000;
  const Drawn drawn(frames, images, 1, said, {2, 3}, {.temperature = 1, .uniform = 0.3});
  for (const Index v : {Index{0}, Index{1}}) {
    std::vector<double> found(6, 0.0), expected{0, 6, 2, 0, 1, 1};
    double total = 0;
    for (std::size_t n = 0; n < 6; ++n) {
      expected[n] =
          v == 1 && n % 3 == 2
              ? 0
              : 0.3 + 0.7 * 6 * expected[n] / 10;  // the third column of the mirrored view is not shared
      total += expected[n];
    }
    for (Index b = 0; b < images; ++b) {
      const Point p = drawn.teacher_points[static_cast<std::size_t>(b * 2 + v)];
      const auto column = std::min<Index>(2, static_cast<Index>((p.x + 1) * 1.5)),
                 row = std::min<Index>(1, static_cast<Index>(p.y + 1));
      found[static_cast<std::size_t>(row * 3 + column)] += 1.0 / static_cast<double>(images);
    }
    for (std::size_t n = 0; n < 6; ++n) {
      const double share = expected[n] / total;
      INFO("pair (0, " << v << "), patch " << n << ": " << found[n] << " of " << share);
      CHECK(std::abs(found[n] - share) <= 4.5 * std::sqrt(share * (1 - share) / static_cast<double>(images)));
      CHECK((found[n] > 0) == (share > 0));
    }
  }
}

TEST_CASE("points that a teacher draws lie in both views, at one place, and are those of the sample alone") {
  MultiCropOptions options;
  options.locals = 3;
  const MultiCrop<> views(options);
  for (std::uint64_t sample = 0; sample < 20; ++sample) {
    std::vector<ViewFrame> frames;
    std::vector<CropMap> maps;
    for (const auto& plan : views.plan(480, 640, {.seed = 5, .sample = sample})) {
      const ScenePoint first = plan.map.to_scene(Point{-1, -1}), last = plan.map.to_scene(Point{1, 1});
      frames.push_back({{first.x, first.y}, {last.x, last.y}});
      maps.push_back(plan.map);
    }
    std::vector<double> said(2 * 196);
    RandomStream random({.seed = sample});
    for (double& s : said) s = random.uniform();
    const Drawn drawn(frames, 1, 4, said, {14, 14});
    const std::size_t count = maps.size();
    for (std::size_t q = 0; q < 2; ++q) {
      for (std::size_t v = 0; v < count; ++v) {
        for (std::size_t k = 0; k < 4; ++k) {
          const Point there = drawn.teacher_points[(q * count + v) * 4 + k],
                      here = drawn.student_points[(v * 2 + q) * 4 + k];
          CHECK((std::abs(there.x) <= 1 && std::abs(there.y) <= 1 && std::abs(here.x) <= 1 &&
                 std::abs(here.y) <= 1));
          const ScenePoint a = maps[q].to_scene(there), b = maps[v].to_scene(here);
          const Point back = maps[v].to_view(a);
          CHECK(std::max(std::abs(a.x - b.x), std::abs(a.y - b.y)) < 1e-6);
          CHECK(112 * std::max(std::abs(back.x - here.x), std::abs(back.y - here.y)) <
                1e-6);  // pixels of a view of 224
        }
      }
    }
    Drawn again(frames, 1, 4, said, {14, 14});
    CHECK((again.teacher_points == drawn.teacher_points && again.student_points == drawn.student_points));
    again.draw_in(1);
    CHECK_FALSE((again.teacher_points == drawn.teacher_points));
    again.draw_in(0, 8);
    CHECK_FALSE((again.teacher_points == drawn.teacher_points));
    // Of a batch the first image has these points, the second, with views like them, others.
    const Drawn two(frames, 2, 4, said, {14, 14});
    const auto first_of_view = two.teacher_points.begin();
    CHECK(std::equal(drawn.teacher_points.begin(),
                     drawn.teacher_points.begin() + static_cast<std::ptrdiff_t>(4 * count), first_of_view));
    CHECK_FALSE(std::equal(drawn.teacher_points.begin(),
                           drawn.teacher_points.begin() + static_cast<std::ptrdiff_t>(4 * count),
                           first_of_view + static_cast<std::ptrdiff_t>(4 * count)));
  }
}

TEST_CASE("where attention lies on the objects of scenes, so do the points: more of them than at random") {
  MultiCropOptions options;
  options.locals = 2;
  const MultiCrop<> views(options);
  const SyntheticScenes scenes({.seed = 3, .count = 12, .height = 96, .width = 128});
  double random_share = 0, drawn_share = 0;
  Index count = 0;
  for (Index i = 0; i < scenes.size(); ++i) {
    const Scene scene = scenes.scene(i);
    const auto on_object = [&](const ScenePoint& s) {
      const Index x = std::clamp<Index>(static_cast<Index>(s.x), 0, 127),
                  y = std::clamp<Index>(static_cast<Index>(s.y), 0, 95);
      return scene.mask(y, x, 0) != 0 ? 1.0 : 0.0;
    };
    const RandomKey key{.seed = 9, .sample = static_cast<std::uint64_t>(i)};
    const auto plans = views.plan(96, 128, key);
    std::vector<ViewFrame> frames;
    std::vector<double> said;
    for (const auto& plan : plans) {
      const ScenePoint first = plan.map.to_scene(Point{-1, -1}), last = plan.map.to_scene(Point{1, 1});
      frames.push_back({{first.x, first.y}, {last.x, last.y}});
    }
    for (std::size_t q = 0; q < 2; ++q) {  // as a class token might attend, if it knew
      for (Index n = 0; n < 196; ++n) {
        said.push_back(0.05 +
                       on_object(plans[q].map.to_scene({(static_cast<double>(n % 14) + 0.5) / 7 - 1,
                                                        (static_cast<double>(n / 14) + 0.5) / 7 - 1})));
      }
    }
    const Drawn drawn(frames, 1, 16, said, {14, 14});
    const SampleMaker<MultiCrop<>, AttentionPoints<>> maker(views, AttentionPoints<>(16), 3, true);
    CHECK((maker.shape(1).drawn == drawn.batch.shape.drawn));
    SampleViews before;
    ViewWorkspace workspace;
    maker.make(before, scene.image, key, workspace);
    for (std::size_t p = 0; p < before.teacher_points.size(); ++p) {
      const CropMap& teacher = plans[p / (16 * plans.size())].map;
      random_share += on_object(teacher.to_scene(before.teacher_points[p]));
      drawn_share += on_object(teacher.to_scene(drawn.teacher_points[p]));
      ++count;
    }
  }
  random_share /= static_cast<double>(count);
  drawn_share /= static_cast<double>(count);
  INFO(random_share << " of random points, " << drawn_share << " of those drawn by attention");
  CHECK((random_share > 0.1 && random_share < 0.7));
  CHECK(drawn_share > 1.5 * random_share);
}

TEST_CASE("what cannot say where points belong is refused in words") {
  const auto made = [](StepOptions options) {
    return thrown_by<OptionError>(
        [&] { static_cast<void>(TrainingStep<Dense, Reference<double>>({}, options)); });
  };
  StepOptions options = drawn_by(TeacherSays::attention);
  options.shape.framed = false;
  CHECK(contains(made(options),
                 "'sampler' is attention; expected points that need no teacher: with such views"));
  options = drawn_by(TeacherSays::disagreement);
  options.shape.checked_points = true;
  CHECK(contains(made(options),
                 "'sampler' is disagreement; expected points that need no teacher: with such views"));
  options = drawn_by(TeacherSays::attention);
  options.shape.drawn[0].count = 3;
  CHECK(contains(made(options), "'sampler' is attention; expected some of a pair's points"));
  options = drawn_by(TeacherSays::attention);
  TrainingStep<Dense, Reference<double>> step({}, options);
  ViewBatch batch = batch_of(options.shape);
  batch.frames[5].last = batch.frames[5].first;
  StepReport report;
  step.begin();
  CHECK(contains(thrown_by<ShapeError>([&] { step.forward_backward(report, batch, 0.3); }),
                 "a view's frame has no extent"));
}
