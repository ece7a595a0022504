// The pairs of two-view methods.
#include <vector>

#include "catch.hpp"

#include <dssl/core/error.hpp>
#include <dssl/views/swav_views.hpp>
#include <dssl/views/two_views.hpp>
#include <dssl/views/view_pack.hpp>

using namespace dssl;

static_assert(PlansViews<TwoViews>);
static_assert(PlansViews<SimClrViews> && PlansViews<MocoViews> && PlansViews<SwavViews>);

TEST_CASE("two views are the global ones of the same options, and no others") {
  MultiCropOptions options = byol_view_options();
  options.global_size = {48, 40};
  const RandomKey key{.seed = 5, .epoch = 1, .sample = 7};
  const auto pair = TwoViews(options).plan(90, 120, key);
  options.locals = 3;
  const auto many = MultiCrop<>(options).plan(90, 120, key);
  REQUIRE(TwoViews(options).views() == 2);
  REQUIRE(pair.size() == 2);
  CHECK(pair[0] == many[0]);
  CHECK(pair[1] == many[1]);
  CHECK(TwoViews(options).plan(90, 120, key) == pair);
  options.locals = -1;
  CHECK_THROWS_AS(TwoViews(options), OptionError);
}

TEST_CASE("the pairs differ as published") {
  const auto counts = [](const MultiCropOptions& options) {
    struct {
      int first_blurred = 0, second_blurred = 0, first_solarised = 0, second_solarised = 0;
      double least = 1;
    } out;
    const TwoViews views(options);
    for (std::uint64_t sample = 0; sample < 2000; ++sample) {
      const auto plans = views.plan(100, 100, {.seed = 3, .sample = sample});
      out.first_blurred += plans[0].colour.blur_radius > 0;
      out.second_blurred += plans[1].colour.blur_radius > 0;
      out.first_solarised += plans[0].colour.solarise;
      out.second_solarised += plans[1].colour.solarise;
      for (const auto& plan : plans) out.least = std::min(out.least, static_cast<double>(plan.map.box.area()) / 1e4);
    }
    return out;
  };
  const auto byol = counts(byol_view_options());
  CHECK(byol.first_blurred == 2000);
  CHECK(byol.second_blurred > 120);
  CHECK(byol.second_blurred < 280);
  CHECK(byol.first_solarised == 0);
  CHECK(byol.second_solarised > 320);
  CHECK(byol.second_solarised < 480);
  CHECK(byol.least < 0.1);
  const auto simclr = counts(simclr_view_options());
  CHECK(simclr.first_blurred > 900);
  CHECK(simclr.first_blurred < 1100);
  CHECK(simclr.second_blurred > 900);
  CHECK(simclr.second_blurred < 1100);
  CHECK(simclr.second_solarised == 0);
  const auto moco = counts(moco_view_options());
  CHECK(moco.least > 0.18);
  CHECK(moco.least < 0.25);
  CHECK(moco.second_solarised == 0);
}

TEST_CASE("a generator begins with the method's numbers") {
  CHECK(TwoViews().options() == byol_view_options());
  CHECK(SimClrViews().options() == simclr_view_options());
  CHECK(MocoViews().options() == moco_view_options());
  const SwavViews swav;
  CHECK(swav.options() == swav_view_options());
  REQUIRE(swav.views() == 8);
  CHECK(swav.size(0) == ViewSize{224, 224});
  CHECK(swav.size(7) == ViewSize{96, 96});
  for (std::uint64_t sample = 0; sample < 50; ++sample) {
    const auto plans = swav.plan(200, 200, {.seed = 3, .sample = sample});
    for (std::size_t v = 0; v < plans.size(); ++v) {
      const double share = static_cast<double>(plans[v].map.box.area()) / 4e4;
      CHECK(share > (v < 2 ? 0.13 : 0.045));
      CHECK(share < (v < 2 ? 1.001 : 0.15));
    }
  }
}
