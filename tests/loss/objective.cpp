// What is known of objectives at compile time, and their options.
#include <string>
#include <vector>

#include "catch.hpp"

#include <dssl/core/error.hpp>
#include <dssl/loss/objective.hpp>

using namespace dssl;

namespace {

struct NumberOptions {
  double number = 3;
  void validate(std::string_view prefix) const {
    if (number < 0) throw OptionError(join(prefix, "number"), number, "at least 0");
  }
  template <class F>
  void for_each(std::string_view prefix, F&& f) const {
    f(join(prefix, "number"), number);
  }
};

struct Within {
  static constexpr std::string_view name = "within";
  static constexpr Reads reads{{.class_level = true, .map = true}, {}};
  static constexpr Whole whole = Whole::batch;
  using Teacher = NoTeacher;
  using Options = NumberOptions;
};

struct Targets {
  static constexpr std::string_view name = "targets";
  static constexpr Reads reads{{.points = true}, {}};
  static constexpr Whole whole = Whole::view;
  using Teacher = StopGradient;
  using Options = NumberOptions;
};

using Three = WeightedSum<ImageLevel, Within, Targets>;

// One kind read after the other; who comes first writes, who comes later adds.
static_assert(Three::reads == FeatureKinds{true, true, true} && Three::teacher_weights && Three::teacher_pass);
static_assert(Three::whole == Whole::batch && WeightedSum<ImageLevel, Targets>::whole == Whole::view);
static_assert(Three::read_before<ImageLevel> == FeatureKinds{});
static_assert(Three::read_before<Within> == FeatureKinds{.class_level = true});
static_assert(Three::read_before<Targets> == FeatureKinds{.class_level = true, .map = true});
static_assert(!Three::last_of_points<ImageLevel> && Three::last_of_points<Targets>);
static_assert(WeightedSum<PointLevel, Targets>::last_of_points<Targets>);
static_assert(!WeightedSum<PointLevel, Targets>::last_of_points<PointLevel>);
static_assert(!WeightedSum<Within, Targets>::teacher_pass && !WeightedSum<Within, Targets>::teacher_weights);
static_assert(ImageAndPointLoss::whole == Whole::row && !ImageLoss::reads.points && !ImageAndPointLoss::reads.map);
static_assert(std::is_same_v<WeightedSum<ImageLevel>::plus<Within, Targets>, Three>);
static_assert(Three::within_rank == "within" && WeightedSum<ImageLevel, PointLevel>::within_rank.empty());
static_assert(has_term<Three, Within> && !has_term<Three, PointLevel>);

template <class Options>
std::vector<std::string> names_of(const Options& options) {
  std::vector<std::string> out;
  options.for_each([&](std::string_view name, const auto& /*value*/) { out.emplace_back(name); });
  return out;
}

}  // namespace

TEST_CASE("options of a sum are by term") {
  Three::Options options;
  options.of<Within>().weight = 0.25;
  options.of<Within>().options.number = 4;
  CHECK(Three::weight<Within>(options) == 0.25);
  CHECK(Three::weight<Targets>(options) == 1);
  CHECK(Three::options_of<Within>(options).number == 4);
  CHECK(Three::options_of<Targets>(options).number == 3);
  CHECK(Three::describe() == "image + within + targets");
  CHECK(WeightedSum<SinkhornImageLevel<2>>::describe() == "image-sinkhorn (2 rounds)");
  CHECK(names_of(options) == std::vector<std::string>{"loss.image.weight", "loss.image.student_temperature",
                                                      "loss.image.centre_momentum", "loss.image.all_views",
                                                      "loss.within.weight", "loss.within.number",
                                                      "loss.targets.weight", "loss.targets.number"});
  CHECK_NOTHROW(options.validate());
  options.of<Targets>().options.number = -2;
  CHECK_THROWS_WITH(options.validate(), Catch::Contains("loss.targets.number") && Catch::Contains("-2"));
  options.of<Targets>().options.number = 0;
  options.of<ImageLevel>().weight = -1;
  CHECK_THROWS_WITH(options.validate(), Catch::Contains("loss.image.weight") && Catch::Contains("-1"));
}

TEST_CASE("numbers that both published levels have are said once") {
  CHECK(names_of(LossOptions{}) ==
        std::vector<std::string>{"loss.alpha", "loss.student_temperature", "loss.centre_momentum",
                                 "loss.image_all_views", "loss.point_all_views"});
  LossOptions options;
  options.student_temperature = 0.2;
  options.centre_momentum = 0.5;
  options.image_all_views = true;
  options.point_all_views = false;
  CHECK(ImageAndPointLoss::options_of<ImageLevel>(options).all_views);
  CHECK_FALSE(ImageAndPointLoss::options_of<PointLevel>(options).all_views);
  CHECK(ImageAndPointLoss::options_of<PointLevel>(options).student_temperature == 0.2);
  CHECK(ImageLoss::options_of<ImageLevel>(options).centre_momentum == 0.5);
  // As checkpoints have always said it.
  CHECK(ImageAndPointLoss::describe() == "image 1, point 1");
  CHECK(ImageLoss::describe() == "image 1, point 0");
  CHECK(PointLoss::describe() == "image 0, point 1");
  options.centre_momentum = 1;
  CHECK_THROWS_WITH(options.validate(), Catch::Contains("loss.centre_momentum"));
}
