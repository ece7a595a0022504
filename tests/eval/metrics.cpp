// Ranking metrics against the reference numbers.
#include "catch.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include <dssl/eval/metrics.hpp>
#include <dssl/io/safetensors.hpp>

#include "fixtures.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

TEST_CASE("AUROC and average precision give the published numbers, ties included") {
  const auto file = SafetensorsFile::open(fixture_path("evaluation.safetensors"));
  const auto scores = file.read<double>("rank.scores");
  const auto labels = file.read<std::int64_t>("rank.labels");
  CHECK(auroc<double, std::int64_t>(scores, labels) ==
        Approx(file.read<double>("rank.auroc")[0]).epsilon(1e-12));
  // The reference sums in float32.
  CHECK(average_precision<double, std::int64_t>(scores, labels) ==
        Approx(file.read<double>("rank.average_precision")[0]).epsilon(1e-7));
}

TEST_CASE("ranking by hand") {
  const std::array<double, 4> scores{0.9, 0.5, 0.5, 0.1};
  const std::array<int, 4> labels{1, 1, 0, 0};
  // Pairs: (.9 > .5, .1), (.5 = .5 half, .5 > .1): 3.5 of 4.
  CHECK(auroc(std::span<const double>(scores), std::span<const int>(labels)) == Approx(3.5 / 4));
  // Recall 1/2 at precision 1, then 1/2 more at precision 2/3.
  CHECK(average_precision(std::span<const double>(scores), std::span<const int>(labels)) ==
        Approx(0.5 + 0.5 * 2 / 3));
  const std::array<int, 4> ones{1, 1, 1, 1};
  const std::array<int, 4> zeros{};
  CHECK(std::isnan(auroc(std::span<const double>(scores), std::span<const int>(ones))));
  CHECK(std::isnan(average_precision(std::span<const double>(scores), std::span<const int>(zeros))));
  auto broken = scores;
  broken[2] = std::numeric_limits<double>::quiet_NaN();
  CHECK(contains(thrown_by<NonFiniteError>([&] {
                   static_cast<void>(auroc(std::span<const double>(broken), std::span<const int>(labels)));
                 }),
                 "not a number"));
}
