// Schedules at their ends, with long, short and no warm-up, and against published ones' numbers.
#include <cmath>
#include <cstddef>
#include <string>

#include "catch.hpp"
#include "objective_fixture.hpp"

#include <dssl/optim/schedule.hpp>

using namespace dssl;

TEST_CASE("a cosine without warm-up falls from start to end") {
  const CosineSchedule schedule{.start = 0.4, .end = 0.02, .steps = 100};
  CHECK(schedule(0) == Approx(0.4).epsilon(1e-14));
  CHECK(schedule(50) == Approx((0.4 + 0.02) / 2).epsilon(1e-14));
  CHECK(schedule(25) == Approx(0.02 + 0.38 * (1 + std::sqrt(0.5)) / 2).epsilon(1e-14));
  // The last step is one short of the end, which would be the first step after the run.
  CHECK(schedule(99) > 0.02);
  CHECK(schedule(99) < 0.0202);
  CHECK(schedule(100) == Approx(0.02).epsilon(1e-14));
  for (Index i = 1; i < 100; ++i) CHECK(schedule(i) < schedule(i - 1));
}

TEST_CASE("a cosine may rise") {
  const CosineSchedule schedule{.start = 0.996, .end = 1.0, .steps = 40};
  CHECK(schedule(0) == Approx(0.996).epsilon(1e-14));
  CHECK(schedule(20) == Approx(0.998).epsilon(1e-14));
  for (Index i = 1; i < 40; ++i) CHECK(schedule(i) > schedule(i - 1));
  CHECK(schedule(39) < 1.0);
}

TEST_CASE("a cosine between equal ends is constant") {
  const CosineSchedule schedule{.start = 0.3, .end = 0.3, .steps = 7, .warmup_steps = 0};
  for (Index i = 0; i < 7; ++i) CHECK(schedule(i) == 0.3);
}

TEST_CASE("a warm-up rises in equal parts from 0 to start, then the cosine begins there") {
  const CosineSchedule schedule{.start = 0.8, .end = 0.0, .steps = 25, .warmup_steps = 5};
  CHECK(schedule(0) == 0.0);
  CHECK(schedule(1) == Approx(0.2).epsilon(1e-14));
  CHECK(schedule(2) == Approx(0.4).epsilon(1e-14));
  CHECK(schedule(4) == Approx(0.8).epsilon(1e-14));
  CHECK(schedule(5) == Approx(0.8).epsilon(1e-14));
  CHECK(schedule(15) == Approx(0.4).epsilon(1e-14));
}

TEST_CASE("a warm-up of one step is one step at 0") {
  const CosineSchedule schedule{.start = 0.8, .end = 0.1, .steps = 9, .warmup_steps = 1};
  CHECK(schedule(0) == 0.0);
  CHECK(schedule(1) == Approx(0.8).epsilon(1e-14));
  CHECK(schedule(5) == Approx(0.45).epsilon(1e-14));
}

TEST_CASE("a run that is all warm-up never reaches the cosine") {
  const CosineSchedule schedule{.start = 0.9, .end = 0.1, .steps = 4, .warmup_steps = 4};
  for (Index i = 0; i < 4; ++i) CHECK(schedule(i) == Approx(0.3 * static_cast<double>(i)).margin(1e-14));
}

TEST_CASE("the teacher's temperature warms up by the epoch") {
  const EpochWarmup schedule{.start = 0.02, .end = 0.08, .warmup_epochs = 4};
  CHECK(schedule(0) == 0.02);
  CHECK(schedule(1) == Approx(0.04).epsilon(1e-14));
  CHECK(schedule(3) == Approx(0.08).epsilon(1e-14));
  CHECK(schedule(4) == 0.08);
  CHECK(schedule(1000) == 0.08);

  const EpochWarmup none{.start = 0.02, .end = 0.08, .warmup_epochs = 0};
  CHECK(none(0) == 0.08);

  const EpochWarmup one{.start = 0.02, .end = 0.08, .warmup_epochs = 1};
  CHECK(one(0) == 0.02);
  CHECK(one(1) == 0.08);
}

namespace {

/// Every step of a schedule is as near to the published one as rounding allows.
template <class Schedule>
void check_published(const test::ObjectiveFixture& fixture, const std::string& name, const Schedule& schedule) {
  INFO(name);
  const auto values = fixture.file().read<double>(name);
  REQUIRE(values.size() > 1);
  const double tolerance = 1e-12 * std::abs(values.front() - values.back());
  for (std::size_t step = 0; step < values.size(); ++step) {
    INFO("step " << step);
    CHECK(std::abs(schedule(static_cast<Index>(step)) - values[step]) <= tolerance);
  }
}

/// The schedule that a section of the fixture's configuration names.
CosineSchedule cosine_of(const test::FixtureConfig& config) {
  return {.start = config.get<double>("base_value"),
          .end = config.get<double>("final_value"),
          .steps = config.get<Index>("total_iters"),
          .warmup_steps = config.get<Index>("warmup_iters", 0),
          .warmup_start = config.get<double>("start_warmup_value", 0.0),
          .frozen_steps = config.get<Index>("freeze_iters", 0),
          .truncated = config.get<double>("trunc_extra", 0.0)};
}

}  // namespace

TEST_CASE("schedules of DINOv2 and DINOv3 are the published ones, to the end of the run and beyond") {
  const test::ObjectiveFixture fixture("schedules");
  const auto runs = fixture.config().section("runs");
  REQUIRE(runs.json().size() == 4);
  for (const auto& [name, values] : runs.json().items()) {
    check_published(fixture, "dinov2." + name, cosine_of(runs.section(name)));
  }
  const auto dinov3 = fixture.config().section("dinov3");
  check_published(fixture, "dinov3.cosine_warmup_truncated", cosine_of(dinov3.section("cosine_warmup_truncated")));
  const auto peak = dinov3.section("linear_warmup_cosine_decay");
  const auto count = [&](const char* key) { return peak.get<Index>(key); };
  REQUIRE(count("warmup_iterations") + count("cosine_iterations") < count("total_iterations"));
  check_published(fixture, "dinov3.linear_warmup_cosine_decay",
                  PeakSchedule{.start = peak.get<double>("start"),
                               .peak = peak.get<double>("peak"),
                               .end = peak.get<double>("end"),
                               .warmup_steps = count("warmup_iterations"),
                               .cosine_steps = count("cosine_iterations")});
}

TEST_CASE("a cosine of one step is at its start") {
  CHECK(CosineSchedule{.start = 0.4, .end = 0.1, .steps = 1, .truncated = 0.25}(0) == 0.4);
  const PeakSchedule peak{.start = 0.1, .peak = 0.4, .end = 0.2};
  CHECK(peak(0) == 0.4);
  CHECK(peak(1) == 0.2);
}
