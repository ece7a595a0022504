// Comparison with a template: what differs, and what is only shifted.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <span>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/defects/template_comparison.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

constexpr GridSize grid{5, 6};
constexpr Index width = 8;

template <Backend B>
void check(const B& backend) {
  using T = typename B::Scalar;
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  std::vector<T> pattern(30 * width);
  for (T& v : pattern) v = static_cast<T>(normal(random));
  const auto scores_of = [&](const std::vector<T>& test, const TemplateOptions& options) {
    std::vector<float> scores(30, -1.0F);
    const float largest =
        compare_with_template(backend, std::span<float>(scores), MatrixView<const T>(test.data(), 30, width),
                              MatrixView<const T>(pattern.data(), 30, width), grid, options);
    CHECK(largest == *std::max_element(scores.begin(), scores.end()));
    return scores;
  };
  // The same image, one patch of it changed, brighter by a factor.
  auto test = pattern;
  for (Index d = 0; d < width; ++d)
    test[static_cast<std::size_t>(14 * width + d)] = static_cast<T>(normal(random));
  auto bright = test;
  for (T& v : bright) v *= T{3};
  for (const Index reach : {0, 1, 2}) {
    for (const Nearness by : {Nearness::cosine, Nearness::distance}) {
      const auto scores = scores_of(by == Nearness::cosine ? bright : test, {.by = by, .reach = reach});
      for (Index i = 0; i < 30; ++i) {
        double expected = 1e300;
        for (Index j = 0; j < 30; ++j) {
          if (std::abs(i / 6 - j / 6) > reach || std::abs(i % 6 - j % 6) > reach) continue;
          double dot = 0;
          double a2 = 0;
          double b2 = 0;
          double apart = 0;
          for (Index d = 0; d < width; ++d) {
            const auto a = static_cast<double>(test[static_cast<std::size_t>(i * width + d)]);
            const auto b = static_cast<double>(pattern[static_cast<std::size_t>(j * width + d)]);
            dot += a * b;
            a2 += a * a;
            b2 += b * b;
            apart += (a - b) * (a - b);
          }
          expected =
              std::min(expected, by == Nearness::cosine ? 1 - dot / std::sqrt(a2 * b2) : std::sqrt(apart));
        }
        CHECK(scores[static_cast<std::size_t>(i)] == Approx(expected).margin(2e-6));
        if (i != 14) CHECK(scores[static_cast<std::size_t>(i)] < 1e-5F);
      }
      CHECK(scores[14] > 0.1F);
    }
  }
  // Shifted by a patch: a reach of 1 forgives it, but at the edge where something new comes in.
  std::vector<T> shifted(pattern.size());
  for (Index y = 0; y < 5; ++y) {
    for (Index x = 0; x < 6; ++x) {
      for (Index d = 0; d < width; ++d)
        shifted[static_cast<std::size_t>((y * 6 + x) * width + d)] =
            x == 0 ? static_cast<T>(normal(random))
                   : pattern[static_cast<std::size_t>((y * 6 + x - 1) * width + d)];
    }
  }
  const auto strict = scores_of(shifted, {.reach = 0});
  const auto lenient = scores_of(shifted, {.reach = 1});
  for (std::size_t i = 0; i < 30; ++i) {
    CHECK(strict[i] > 0.05F);
    if (i % 6 != 0) CHECK(lenient[i] < 1e-5F);
  }
}

}  // namespace

TEST_CASE("a template comparison finds what changed and forgives small shifts") {
  check(Reference<double>());
#if __has_include(<dssl/backend/cpu.hpp>)
  check(Cpu({.threads = 1}));
#endif
}

TEST_CASE("a template of another size is refused") {
  const std::vector<double> rows(12);
  std::vector<float> scores(4);
  CHECK(contains(thrown_by<ShapeError>([&] {
                   compare_with_template(Reference<double>(), std::span<float>(scores),
                                         MatrixView<const double>(rows.data(), 4, 3),
                                         MatrixView<const double>(rows.data(), 3, 4), {2, 2});
                 }),
                 "4 x 3 patches with 3 x 4"));
  CHECK(contains(thrown_by<OptionError>([&] {
                   compare_with_template(Reference<double>(), std::span<float>(scores),
                                         MatrixView<const double>(rows.data(), 4, 3),
                                         MatrixView<const double>(rows.data(), 4, 3), {2, 2}, {.reach = -1});
                 }),
                 "'reach' is -1"));
}
