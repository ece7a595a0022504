// Samplers that look at the scene, from an image to the points of its pairs of views.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include <dssl/concepts.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/points/any_sampler.hpp>
#include <dssl/points/even_points.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/points/jittered_grid.hpp>
#include <dssl/points/mixed_points.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/points/salient_points.hpp>
#include <dssl/points/scene_points.hpp>
#include <dssl/points/weighted_points.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/views/multi_crop.hpp>

using namespace dssl;

namespace {

MultiCrop<> small_views() {
  MultiCropOptions options;
  options.locals = 2;
  options.global_size = {8, 8};
  options.local_size = {4, 4};
  options.local_area = {0.1, 0.4};
  return MultiCrop<>(options);
}

RandomKey key_of(std::uint64_t sample, std::uint32_t epoch = 0) {
  return {.seed = 9, .epoch = epoch, .sample = sample};
}

/// What a run draws of an image.
template <class Sampler>
SampleViews drawn(const Sampler& sampler, const AnyImage& image, std::uint64_t sample,
                  std::uint32_t epoch = 0) {
  const SampleMaker<MultiCrop<>, Sampler> maker(small_views(), sampler, channels(image), true);
  SampleViews out;
  out.index = static_cast<Index>(sample);
  ViewWorkspace workspace;
  maker.make(out, image, key_of(sample, epoch), workspace);
  return out;
}

/// The places of the scene of all points, as the teacher's views have them, and the largest distance in
/// pixels, of the scene and of the student's view, to where the student's have them. Pairs that share nothing
/// of the scene are left out.
struct Places {
  std::vector<ScenePoint> at;
  double apart = 0;
};
Places places_of(const SampleViews& sample, const AnyImage& image, Index count) {
  const MultiCrop<> views = small_views();
  const auto plans =
      views.plan(height(image), width(image), key_of(static_cast<std::uint64_t>(sample.index)));
  Places out;
  for (Index q = 0; q < 2; ++q) {
    for (Index v = 0; v < views.views(); ++v) {
      const CropMap& teacher = plans[static_cast<std::size_t>(q)].map;
      const CropMap& student = plans[static_cast<std::size_t>(v)].map;
      if (intersect(teacher.box, student.box).area() == 0) continue;
      for (Index k = 0; k < count; ++k) {
        const Point& there =
            sample.teacher_points[static_cast<std::size_t>((q * views.views() + v) * count + k)];
        const Point& here = sample.student_points[static_cast<std::size_t>((v * 2 + q) * count + k)];
        REQUIRE((std::abs(there.x) <= 1 && std::abs(there.y) <= 1 && std::abs(here.x) <= 1 &&
                 std::abs(here.y) <= 1));
        const ScenePoint a = teacher.to_scene(there);
        const ScenePoint b = student.to_scene(here);
        const Point back = student.to_view(a);
        const double half = 0.5 * static_cast<double>(views.size(v).height);
        out.apart = std::max({out.apart, std::abs(a.x - b.x), std::abs(a.y - b.y),
                              half * std::abs(back.x - here.x), half * std::abs(back.y - here.y)});
        out.at.push_back(a);
      }
    }
  }
  return out;
}

/// The weights where the points lie, averaged.
double mean_weight(const PointWeights& weights, const std::vector<ScenePoint>& places,
                   const AnyImage& image) {
  double sum = 0;
  for (const ScenePoint& p : places) {
    const auto cell = [](double at, Index extent, Index cells) {
      return std::min(static_cast<Index>(at / static_cast<double>(extent) * static_cast<double>(cells)),
                      cells - 1);
    };
    sum += weights(cell(p.y, height(image), weights.rows()), cell(p.x, width(image), weights.columns()));
  }
  return sum / static_cast<double>(places.size());
}

AnyImage scene(Index i) {
  const SyntheticScenes scenes({.seed = 3, .count = 8, .height = 96, .width = 128, .channels = 3});
  return scenes.load(i).image;
}

/// The largest difference of coordinates.
double apart(const SampleViews& a, const SampleViews& b) {
  REQUIRE(a.teacher_points.size() == b.teacher_points.size());
  double out = 0;
  for (std::size_t i = 0; i < a.teacher_points.size(); ++i) {
    out = std::max({out, std::abs(a.teacher_points[i].x - b.teacher_points[i].x),
                    std::abs(a.teacher_points[i].y - b.teacher_points[i].y)});
  }
  return out;
}

/// Weights of columns: `left` in the left half of the scene, 0 in the right.
WeightedPoints left_half(Index points, double left = 1) {
  return {points, [left](const SampledScene&) { return std::optional(PointWeights(1, 2, {left, 0.0})); }};
}

}  // namespace

static_assert(SamplesOverlap<RandomPoints<>> && !LooksAtScene<RandomPoints<>>);
static_assert(LooksAtScene<SalientPoints<>> && !SamplesOverlap<SalientPoints<>>);
static_assert(PointSampler<WeightedPoints> && PointSampler<AnySampler>);
static_assert(!LooksAtScene<MixedPoints<GridPoints<2>, RandomPoints<3>>> &&
              LooksAtScene<MixedPoints<GridPoints<2>, SalientPoints<3>>>);

TEMPLATE_TEST_CASE("points of every sampler are one place of the scene in both views, drawn by the key alone",
                   "", RandomPoints<5>, GridPoints<3>, JitteredGrid<2>, EvenPoints<7>, SalientPoints<6>,
                   (MixedPoints<GridPoints<2>, SalientPoints<3>>)) {
  const TestType sampler;
  for (Index i = 0; i < 4; ++i) {
    const AnyImage image = scene(i);
    const auto number = static_cast<std::uint64_t>(i);
    const SampleViews sample = drawn(sampler, image, number);
    const Places places = places_of(sample, image, sampler.count());
    CHECK(places.apart < 1e-6);
    CHECK(places.at.size() >= static_cast<std::size_t>(6 * sampler.count()));
    CHECK(drawn(sampler, image, number).teacher_points == sample.teacher_points);
    if (std::is_same_v<TestType, GridPoints<3>>) continue;  // which draws nothing
    CHECK(drawn(sampler, image, number, 1).teacher_points != sample.teacher_points);
  }
}

TEST_CASE("salient points lie where the energy is: on average several times what random ones have") {
  const SalientPoints<> salient(16);
  const RandomPoints<> random(16);
  double of_salient = 0, of_random = 0;
  for (Index i = 0; i < 8; ++i) {
    const AnyImage image = scene(i);
    const PointWeights energy = gradient_energy(image);
    const auto number = static_cast<std::uint64_t>(i);
    const double salient_mean =
        mean_weight(energy, places_of(drawn(salient, image, number), image, 16).at, image);
    const double random_mean =
        mean_weight(energy, places_of(drawn(random, image, number), image, 16).at, image);
    CHECK(salient_mean > random_mean);
    of_salient += salient_mean;
    of_random += random_mean;
  }
  CAPTURE(of_salient / 8, of_random / 8);
  CHECK(of_salient > 2 * of_random);
}

TEST_CASE("a grid covers the overlap: each of its cells has a point") {
  const GridPoints<> grid(4);
  const JitteredGrid<> jittered(4);
  const AnyImage image = scene(1);
  const auto plans = small_views().plan(96, 128, key_of(1));
  const auto check = [&](const SampleViews& sample) {
    const SceneRegion region = overlap(plans[0].map, plans[1].map);
    std::vector<int> cells(16, 0);
    for (std::size_t k = 0; k < 16; ++k) {
      const ScenePoint at = plans[0].map.to_scene(sample.teacher_points[16 + k]);  // of the pair (0, 1)
      const auto cell = [](double x, double first, double last) {
        return std::min(static_cast<std::size_t>(4 * (x - first) / (last - first)), std::size_t{3});
      };
      ++cells[cell(at.x, region.first.x, region.last.x) * 4 + cell(at.y, region.first.y, region.last.y)];
    }
    CHECK(std::ranges::all_of(cells, [](int n) { return n == 1; }));
  };
  check(drawn(grid, image, 1));
  check(drawn(jittered, image, 1));
}

TEST_CASE("weights are respected: no point where they are 0, but in pairs that see nothing else") {
  const WeightedPoints weighted = left_half(8);
  const MultiCrop<> views = small_views();
  int on_both_sides = 0, right = 0;
  for (Index i = 0; i < 8; ++i) {
    const AnyImage image = scene(i);
    const auto number = static_cast<std::uint64_t>(i);
    const SampleViews sample = drawn(weighted, image, number);
    const auto plans = views.plan(96, 128, key_of(number));
    for (std::size_t q = 0; q < 2; ++q) {
      for (std::size_t v = 0; v < 4; ++v) {
        const SceneRegion region = overlap(plans[q].map, plans[v].map);
        for (std::size_t k = 0; k < 8; ++k) {
          const double x = plans[q].map.to_scene(sample.teacher_points[(q * 4 + v) * 8 + k]).x;
          if (region.first.x < 64) CHECK(x <= 64 + 1e-9);
          right += x > 64 ? 1 : 0;
        }
        on_both_sides += region.first.x < 64 && region.last.x > 64 ? 1 : 0;
      }
    }
  }
  CHECK(on_both_sides > 30);  // of 64 pairs
  CHECK(right > 0);           // where there is no left
  // Only shares count.
  CHECK(apart(drawn(left_half(8, 1000), scene(0), 0), drawn(weighted, scene(0), 0)) < 1e-9);
}

TEST_CASE("a sampler of weights is asked once an image, by its number; without a map points are uniform") {
  std::vector<Index> asked;
  const WeightedPoints some(4, [&asked](const SampledScene& shown) -> std::optional<PointWeights> {
    CHECK((height(shown.image) == 96 && width(shown.image) == 128));
    asked.push_back(shown.index);
    if (shown.index % 2 == 0) return std::nullopt;
    return PointWeights(2, 1, {1.0, 0.0});
  });
  double below = 0;
  for (Index i = 0; i < 8; ++i) {
    const auto places = places_of(drawn(some, scene(i), static_cast<std::uint64_t>(i)), scene(i), 4).at;
    const double share =
        static_cast<double>(std::ranges::count_if(places, [](const ScenePoint& p) { return p.y > 48; })) /
        static_cast<double>(places.size());
    if (i % 2 == 0) below += share / 4;
  }
  CHECK(asked == std::vector<Index>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(std::abs(below - 0.5) < 0.2);
  const WeightedPoints equal(
      4, [](const SampledScene&) { return std::optional(PointWeights(3, 5, std::vector<double>(15, 0.5))); });
  CHECK(apart(drawn(some, scene(0), 0), drawn(equal, scene(0), 0)) < 1e-9);
}

TEST_CASE("a sampler chosen at run time draws what it draws itself") {
  const AnyImage image = scene(5);
  const auto check = [&](const auto& sampler, const char* words) {
    const AnySampler any(sampler);
    CHECK(any.count() == sampler.count());
    CHECK(any.words() == words);
    const SampleViews own = drawn(sampler, image, 5);
    const SampleViews erased = drawn(any, image, 5);
    CHECK(own.teacher_points == erased.teacher_points);
    CHECK(own.student_points == erased.student_points);
    CHECK(own.images == erased.images);
  };
  check(RandomPoints<>(3), "random");
  check(GridPoints<>(2), "grid");
  check(SalientPoints<>(5), "salient");
  check(left_half(3), "weighted");
  check(MixedPoints(GridPoints<2>(), SalientPoints<3>()), "mixed (grid 4, salient 3)");
  check(MixedPoints(RandomPoints<1>(), left_half(2)), "mixed (random 1, weighted 2)");
  CHECK(AnySampler().count() == 2);
  CHECK(WeightedPoints(
            1, [](const SampledScene&) { return std::optional<PointWeights>(); }, "abc")
            .words() == "weighted (maps abc)");
}

TEST_CASE("several samplers chosen at run time are mixed as those of a type are") {
  const AnyImage image = scene(6);
  const AnySampler several(std::vector<AnySampler>{GridPoints<2>(), SalientPoints<3>(), RandomPoints<1>()});
  const MixedPoints<GridPoints<2>, SalientPoints<3>, RandomPoints<1>> mixed;
  CHECK(several.count() == 8);
  CHECK(several.words() == mixed.words());
  CHECK(drawn(several, image, 6).teacher_points == drawn(mixed, image, 6).teacher_points);
  CHECK_THROWS_AS(AnySampler(std::vector<AnySampler>{}), OptionError);
}

TEST_CASE("a sampler that does not look is handed no scene, and copies of it are not made") {
  struct Alone {
    std::shared_ptr<int> uses;
    [[nodiscard]] Index count() const { return 1; }
    void sample(std::span<Point> out, RandomStream&) const { out[0] = {0.25, 0.75}; }
  };
  const Alone sampler{std::make_shared<int>(0)};
  const auto points = points_of_scene(sampler, SampledScene{scene(0), 0});
  CHECK(sampler.uses.use_count() == 1);
  std::vector<Point> out(1);
  RandomStream random({});
  points.sample(out, random, {});
  CHECK(out[0] == Point{0.25, 0.75});
}

TEST_CASE("weights of a picture are its values, whatever the pixels; more channels are refused") {
  Image<std::uint8_t> bytes(2, 3, 1);
  Image<float> floats(2, 3, 1);
  for (Index y = 0; y < 2; ++y) {
    for (Index x = 0; x < 3; ++x) {
      bytes(y, x, 0) = static_cast<std::uint8_t>(51 * (3 * y + x));
      floats(y, x, 0) = static_cast<float>(7 * y + x);
    }
  }
  const PointWeights of_bytes = weights_of(bytes);
  CHECK((of_bytes.rows() == 2 && of_bytes.columns() == 3));
  CHECK(of_bytes(1, 1) == Approx(0.8));
  CHECK(weights_of(floats)(1, 2) == 9);
  CHECK_THROWS_AS(weights_of(Image<std::uint8_t>(2, 2, 3)), ShapeError);
  CHECK_THROWS_AS(WeightedPoints(0, [](const SampledScene&) { return std::optional<PointWeights>(); }),
                  OptionError);
  CHECK_THROWS_AS(WeightedPoints(1, {}), OptionError);
  CHECK_THROWS_AS(SalientPoints<>(0), OptionError);
}

namespace {

/// A crop whose camera is blind left of the column `blind`.
struct BlindMap : CropMap {
  double blind = 0;
  [[nodiscard]] bool shows(const ScenePoint& s) const { return s.x >= blind; }
};

/// Small views by such maps; view v is blind left of 16 (v + 1) pixels.
class BlindViews {
 public:
  struct Plan {
    BlindMap map;
    ViewPlan view;
  };
  using Workspace = ViewWorkspace;

  [[nodiscard]] Index views() const { return x_views.views(); }
  [[nodiscard]] ViewSize size(Index v) const { return x_views.size(v); }
  void plan(std::vector<Plan>& out, Index height, Index width, const RandomKey& key) const {
    out.clear();
    for (const ViewPlan& view : x_views.plan(height, width, key)) {
      out.push_back({{view.map, 16.0 * static_cast<double>(out.size() + 1)}, view});
    }
  }
  void render(const AnyImageView& image, const Plan& plan, std::span<float> out, Workspace& workspace) const {
    x_views.render(image, plan.view, out, workspace);
  }

 private:
  MultiCrop<> x_views = small_views();
};

}  // namespace

TEST_CASE("points that one view of a pair does not show are not valid, and a batch says which") {
  static_assert(ViewGenerator<BlindViews> && ChecksPoints<BlindMap> && !ChecksPoints<CropMap>);
  constexpr Index count = 8;
  const SampleMaker<BlindViews, RandomPoints<count>> maker(BlindViews(), RandomPoints<count>(), 3, true);
  const BatchShape shape = maker.shape(2);
  REQUIRE(shape.checked_points);
  CHECK_FALSE(SampleMaker<BlindViews, RandomPoints<count>>(BlindViews(), RandomPoints<count>(), 3, false).shape(2).checked_points);
  CHECK_FALSE(SampleMaker<MultiCrop<>, RandomPoints<count>>(small_views(), RandomPoints<count>(), 3, true).shape(2).checked_points);
  ViewBatch batch = ViewBatch::of(shape);
  const Index views = shape.view_count();
  std::vector<BlindViews::Plan> plans[2];
  ViewWorkspace workspace;
  for (Index b = 0; b < 2; ++b) {
    const AnyImage image = scene(b);
    SampleViews sample;
    sample.index = b;
    maker.make(sample, image, key_of(static_cast<std::uint64_t>(b)), workspace);
    BlindViews().plan(plans[b], height(image), width(image), key_of(static_cast<std::uint64_t>(b)));
    put_sample(batch, b, sample);
    // Points that are valid at once are those of views that see all; the others were drawn again.
    const SampleViews seeing = drawn(RandomPoints<count>(), image, static_cast<std::uint64_t>(b));
    CHECK(seeing.valid.empty());
    std::size_t same = 0, drawn_again = 0;
    for (Index row = 0; row < 2 * views * count; ++row) {
      const auto at = static_cast<std::size_t>(row);
      const Index q = row / (views * count), v = row / count % views;
      const bool valid_at_once = plans[b][static_cast<std::size_t>(std::max(q, v))].map.shows(
          plans[b][static_cast<std::size_t>(q)].map.to_scene(seeing.teacher_points[at]));
      const bool is_same = seeing.teacher_points[at] == sample.teacher_points[at];
      if (valid_at_once) CHECK(is_same);
      same += is_same ? 1 : 0;
      drawn_again += !is_same && sample.valid[at] == 1 ? 1 : 0;
    }
    CHECK(same > 10);
    CHECK(drawn_again > 10);
  }
  std::size_t valid = 0, off = 0;
  for (Index q = 0; q < 2; ++q) {
    for (Index b = 0; b < 2; ++b) {
      for (Index v = 0; v < views; ++v) {
        for (Index k = 0; k < count; ++k) {
          const auto row = static_cast<std::size_t>(((q * 2 + b) * views + v) * count + k);
          const double x = plans[b][static_cast<std::size_t>(q)].map.to_scene(batch.teacher_points[row]).x;
          const double blind = 16.0 * static_cast<double>(std::max(q, v) + 1);
          if (std::abs(x - blind) < 1e-9) continue;
          valid += batch.valid[row];
          off += batch.valid[row] != (x >= blind ? 1 : 0) ? 1 : 0;
        }
      }
    }
  }
  CHECK(off == 0);
  CHECK(valid > 20);
  // Points that are the same every time stay as they are.
  const SampleMaker<BlindViews, GridPoints<3>> fixed(BlindViews(), GridPoints<3>(), 3, true);
  SampleViews grid;
  fixed.make(grid, scene(0), key_of(0), workspace);
  CHECK(std::count(grid.valid.begin(), grid.valid.end(), 0) > 0);
  CHECK(std::count(grid.valid.begin(), grid.valid.end(), 1) > 0);
}
