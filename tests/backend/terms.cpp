// What losses on matrices of features are made of: the Cpu backend against the oracle, the oracle's gradients against
// central differences.
#include "catch.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

#include "backend/held_on_cpu.hpp"
#include "backend/term_cases.hpp"
#include "gradient_check.hpp"

using namespace dssl;
using dssl::test::gradient_difference;
using dssl::test::normal_values;

namespace {

const Reference<double> oracle;

std::vector<double> infinities(Index count) {
  return std::vector<double>(static_cast<std::size_t>(count), std::numeric_limits<double>::infinity());
}

double total(const std::vector<double>& loss) {
  double sum = 0;
  for (const double one : loss) sum += one;
  return sum;
}

}  // namespace

TEST_CASE("Cpu terms of losses hold to the oracle", "[backend][cpu]") {
  dssl::test::term_cases(dssl::test::HeldToOracle{});
}

TEST_CASE("gradients of cross-entropy with labels", "[backend][gradients]") {
  const Index m = 4, n = 7;
  auto x = normal_values(28, 1);
  auto positive = normal_values(4, 2);
  const std::vector<std::int32_t> labels{3, 0, 6, 3}, excluded{0, 6, -1, 2};
  for (const bool beside : {false, true}) {
    auto d_x = infinities(m * n), d_positive = infinities(m), loss = infinities(m);
    const auto run = [&](std::vector<double>& gradient, std::vector<double>& of_positive) {
      LabelledLogits<double> logits{.columns = MatrixView<const double>(x.data(), m, n),
                                    .excluded = RowIndex(excluded.data(), m)};
      if (beside) logits.positive = VectorView<const double>(positive.data(), m);
      else logits.labels = RowIndex(labels.data(), m);
      oracle.label_cross_entropy(VectorView<double>(loss.data(), m), MatrixView<double>(gradient.data(), m, n),
                                 beside ? VectorView<double>(of_positive.data(), m) : VectorView<double>{}, logits, 0.4,
                                 0.7);
      return 0.7 * total(loss);
    };
    run(d_x, d_positive);
    const auto value = [&] {
      auto other = infinities(m * n), another = infinities(m);
      return run(other, another);
    };
    CHECK(gradient_difference(x, d_x, value, 3, 6).small());
    CHECK(d_x[0] == 0);
    if (beside) CHECK(gradient_difference(positive, d_positive, value, 3, 3).small());
  }
}

TEST_CASE("gradients of comparisons, distances and correlation losses", "[backend][gradients]") {
  const Index m = 5, n = 7;
  auto x = normal_values(35, 1);
  const auto target = normal_values(35, 2);
  const MatrixView<const double> to(target.data(), m, n);
  auto loss = infinities(m), d_x = infinities(m * n);
  const auto check = [&](const auto& call) {
    const auto run = [&](std::vector<double>& gradient) {
      call(VectorView<double>(loss.data(), m), MatrixView<double>(gradient.data(), m, n),
           MatrixView<const double>(x.data(), m, n));
      return 0.7 * total(loss);
    };
    d_x = infinities(m * n);
    run(d_x);
    CHECK(gradient_difference(
              x, d_x,
              [&] {
                auto other = infinities(m * n);
                return run(other);
              },
              3, 6)
              .small());
  };
  for (const Comparison comparison : {Comparison::squared, Comparison::smooth_l1, Comparison::negative_dot,
                                      Comparison::positive_squared, Comparison::squared_to_positive}) {
    INFO("comparison " << static_cast<int>(comparison));
    check([&](auto of, auto d, auto v) { oracle.compare_rows(of, d, v, to, comparison, 0.7); });
  }
  check([&](auto of, auto d, auto v) { oracle.log_distance(of, d, v, to, 0.1, 0.7); });

  auto c = normal_values(36, 4);
  for (std::size_t i = 0; i < 36; i += 7) c[i] = 0.3 + 0.4 * static_cast<double>(i % 5);
  for (const Diagonal diagonal : {Diagonal::one, Diagonal::least_std_one}) {
    const CorrelationNumbers numbers{
        .diagonal = diagonal, .factor = 0.9, .epsilon = 1e-4, .diagonal_scale = 2.0, .rest_scale = 0.3};
    const auto run = [&](std::vector<double>& gradient) {
      auto on = infinities(6), rest = infinities(6);
      oracle.correlation_loss(VectorView<double>(on.data(), 6), VectorView<double>(rest.data(), 6),
                              MatrixView<double>(gradient.data(), 6, 6), MatrixView<const double>(c.data(), 6, 6), numbers);
      return 2.0 * total(on) + 0.3 * total(rest);
    };
    auto d_c = infinities(36);
    run(d_c);
    CHECK(gradient_difference(
              c, d_c,
              [&] {
                auto other = infinities(36);
                return run(other);
              },
              3, 6)
              .small());
  }
}

TEST_CASE("the largest columns of rows are the first of equals", "[backend]") {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> x{1, 3, 3, 2,  //
                              none, -5, none, -5,  //
                              9, 0, 9, 9};
  const std::vector<std::int32_t> excluded{-1, -1, 0};
  std::vector<std::int32_t> out(9, -7);
  oracle.largest_columns(MatrixView<std::int32_t>(out.data(), 3, 3), MatrixView<const double>(x.data(), 3, 4),
                         RowIndex(excluded.data(), 3));
  CHECK(out == std::vector<std::int32_t>{1, 1, 2, 2, 3, 3, 3, 0, 1});
}

TEST_CASE("losses of rows that hold no number are none", "[backend]") {
  const auto check = [](const auto& backend) {
    using T = typename std::decay_t<decltype(backend)>::Scalar;
    const Index n = 9;
    std::vector<T> x(81, T{0.5}), d(81), target(81, T{0.25}), loss(9), rest(9);
    x[40] = std::numeric_limits<T>::quiet_NaN();
    const MatrixView<const T> in(x.data(), n, n), to(target.data(), n, n);
    const MatrixView<T> gradient(d.data(), n, n);
    const VectorView<T> out(loss.data(), n), others(rest.data(), n);
    const auto none_of = [&](const char* what) {
      INFO(what);
      for (std::size_t m = 0; m < 9; ++m) CHECK(std::isnan(loss[m]) == (m == 4));
    };
    for (const Comparison comparison : {Comparison::squared, Comparison::smooth_l1, Comparison::negative_dot,
                                        Comparison::positive_squared, Comparison::squared_to_positive}) {
      backend.compare_rows(out, gradient, in, to, comparison, 1.0);
      none_of("compare_rows");
    }
    backend.log_distance(out, gradient, in, to, 1e-8, 1.0);
    none_of("log_distance");
    for (const Diagonal diagonal : {Diagonal::one, Diagonal::least_std_one}) {
      backend.correlation_loss(out, others, gradient, in, {.diagonal = diagonal});
      none_of("correlation_loss");
    }
    backend.label_cross_entropy(out, gradient, {}, {.columns = in}, 0.1, 1.0);
    none_of("label_cross_entropy");
    backend.row_log_sum(out, in, {}, 0.1);
    none_of("row_log_sum");
    backend.column_log_sum(out, in, {}, 0.1);
    none_of("column_log_sum");
  };
  check(oracle);
  check(Cpu({.threads = 1}));
}
