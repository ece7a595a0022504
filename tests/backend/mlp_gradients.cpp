// Batch norm without weight and bias or by running statistics, ReLU, and sums weighted by row: the oracle against central
// differences and what is known of them.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "../gradient_check.hpp"
#include "catch.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/error.hpp>

using namespace dssl;
using dssl::test::dot;
using dssl::test::gradient_difference;
using dssl::test::normal_values;

namespace {

const Reference<double> oracle;

/// Numbers of a matrix or vector, with views of both kinds.
struct Numbers {
  Index rows, cols;
  std::vector<double> values;

  Numbers(Index m, Index d, double value) : rows(m), cols(d), values(static_cast<std::size_t>(m * d), value) {}
  static Numbers drawn(Index m, Index d, std::uint64_t seed, double scale = 1.0, double centre = 0.0) {
    Numbers n(m, d, 0.0);
    test::fill_normal(n.values, seed, scale, centre);
    return n;
  }
  static Numbers infinite(Index m, Index d) { return {m, d, std::numeric_limits<double>::infinity()}; }

  [[nodiscard]] MatrixView<double> matrix() { return {values.data(), {rows, cols}}; }
  [[nodiscard]] VectorView<double> vector() { return {values.data(), {rows * cols}}; }
};

void check(const char* what, Numbers& x, const Numbers& d_x, const auto& value) {
  INFO("gradient of " << what);
  const auto found = gradient_difference(std::span<double>(x.values), std::span<const double>(d_x.values), value, 7, 5);
  INFO("norm " << found.norm << ", difference " << found.difference);
  CHECK(found.norm > 1e-3);
  CHECK(found.small());
}

}  // namespace

TEST_CASE("gradients of batch norm without weight or bias", "[backend][gradients]") {
  const Index m = 6, d = 5;
  for (const bool weighted : {false, true}) {
    for (const bool biased : {false, true}) {
      INFO("weight " << weighted << ", bias " << biased);
      auto x = Numbers::drawn(m, d, 1, 2.0), w = Numbers::drawn(1, d, 2), b = Numbers::drawn(1, d, 3);
      auto d_y = Numbers::drawn(m, d, 4), y = Numbers::infinite(m, d), d_x = y;
      Numbers mean(1, d, 0), inverse_std(1, d, 0), d_w(1, d, 0), d_b(1, d, 0);
      const auto if_there = [](bool there, Numbers& n) { return there ? n.vector() : VectorView<double>{}; };
      const auto value = [&] {
        oracle.batch_norm_forward(y.matrix(), mean.vector(), inverse_std.vector(), x.matrix(), if_there(weighted, w),
                                  if_there(biased, b), 1e-3);
        return dot(y.values, d_y.values);
      };
      value();
      oracle.batch_norm_backward(d_x.matrix(), if_there(weighted, d_w), if_there(biased, d_b), d_y.matrix(),
                                 x.matrix(), mean.vector(), inverse_std.vector(), if_there(weighted, w));
      check("x", x, d_x, value);
      if (weighted) check("weight", w, d_w, value);
      if (biased) check("bias", b, d_b, value);
    }
  }
}

TEST_CASE("gradients of batch norm by running statistics", "[backend][gradients]") {
  const Index m = 6, d = 5;
  for (const bool affine : {false, true}) {
    INFO("affine " << affine);
    auto x = Numbers::drawn(m, d, 1, 2.0), w = Numbers::drawn(1, d, 2), b = Numbers::drawn(1, d, 3);
    auto mean = Numbers::drawn(1, d, 5), variance = Numbers::drawn(1, d, 6, 0.1, 0.5);
    auto d_y = Numbers::drawn(m, d, 4), y = Numbers::infinite(m, d), d_x = y;
    Numbers d_w(1, d, 0), d_b(1, d, 0);
    const auto if_affine = [affine](Numbers& n) { return affine ? n.vector() : VectorView<double>{}; };
    const auto value = [&] {
      oracle.batch_norm_evaluate_forward(y.matrix(), x.matrix(), mean.vector(), variance.vector(), if_affine(w),
                                         if_affine(b), 1e-3);
      return dot(y.values, d_y.values);
    };
    value();
    oracle.batch_norm_evaluate_backward(d_x.matrix(), if_affine(d_w), if_affine(d_b), d_y.matrix(), x.matrix(),
                                        mean.vector(), variance.vector(), if_affine(w), 1e-3);
    check("x", x, d_x, value);
    if (affine) check("weight", w, d_w, value);
    if (affine) check("bias", b, d_b, value);
  }
}

TEST_CASE("gradients of ReLU", "[backend][gradients]") {
  const Index m = 4, d = 7;
  auto x = Numbers::drawn(m, d, 1), d_y = Numbers::drawn(m, d, 2), y = Numbers::infinite(m, d), d_x = y, by_y = y;
  const auto value = [&] {
    oracle.relu_forward(y.matrix(), x.matrix());
    return dot(y.values, d_y.values);
  };
  value();
  oracle.relu_backward(d_x.matrix(), d_y.matrix(), x.matrix());
  oracle.relu_backward(by_y.matrix(), d_y.matrix(), y.matrix());
  CHECK(d_x.values == by_y.values);
  check("x", x, d_x, value);
}

TEST_CASE("ReLU lets NaN through, and has no slope at 0", "[backend]") {
  const auto held = [](const auto& backend) {
    INFO(backend.describe());
    std::vector<float> x(21, -1.0F), y(21, 9.0F), d_y(21, 2.0F), d_x(21, 9.0F);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    x[2] = nan;
    x[3] = 0.0F;
    x[4] = -0.0F;
    x[18] = nan;  // beyond the last whole register
    x[20] = 1.5F;
    d_y[7] = nan;  // where nothing passes
    const auto of = [](auto& v) { return MatrixView<std::remove_reference_t<decltype(v[0])>>(v.data(), 3, 7); };
    backend.relu_forward(of(y), of(x));
    backend.relu_backward(of(d_x), of(d_y), of(x));
    CHECK(std::isnan(y[2]));
    CHECK(std::isnan(y[18]));
    CHECK(d_x[2] == 2.0F);
    CHECK(d_x[18] == 2.0F);
    CHECK(y[20] == 1.5F);
    CHECK(d_x[20] == 2.0F);
    for (const std::size_t i : {std::size_t{0}, std::size_t{3}, std::size_t{4}, std::size_t{7}, std::size_t{19}}) {
      INFO(i);
      CHECK(y[i] == 0.0F);
      CHECK(d_x[i] == 0.0F);
    }
  };
  held(Reference<float>());
  held(Cpu({.threads = 1}));
}

TEST_CASE("running statistics keep the unbiased variance, of two rows at least", "[backend]") {
  const auto held = [](const auto& backend) {
    using T = typename std::decay_t<decltype(backend)>::Scalar;
    INFO(backend.describe());
    // Columns 1, 5, 3, 3 and four times 7: means 3 and 7, squares around them 8 and 0.
    const std::vector<T> x{1, 7, 5, 7, 3, 7, 3, 7};
    std::vector<T> y(8), mean(2), inverse_std(2), running_mean{10, 0}, running_variance{4, 0};
    const auto vector = [](auto& v) { return VectorView<T>(v.data(), 2); };
    backend.batch_norm_forward(MatrixView<T>(y.data(), 4, 2), vector(mean), vector(inverse_std),
                               MatrixView<const T>(x.data(), 4, 2), VectorView<const T>{}, VectorView<const T>{},
                               1e-5);
    const auto update = [&](Index rows) {
      backend.batch_norm_update(vector(running_mean), vector(running_variance), vector(mean), vector(inverse_std), rows,
                                0.25, 1e-5);
    };
    update(4);
    CHECK(running_mean[0] == Approx(0.75 * 10 + 0.25 * 3));
    CHECK(running_mean[1] == Approx(0.25 * 7));
    CHECK(running_variance[0] == Approx(0.75 * 4 + 0.25 * 8.0 / 3));
    CHECK(running_variance[1] >= 0);
    CHECK(running_variance[1] < 1e-10);
    const auto before = running_variance;
    for (const Index rows : {Index{1}, Index{0}}) {
      CHECK_THROWS_AS(update(rows), ShapeError);
      CHECK_THROWS_WITH(update(rows), Catch::Contains(join(rows, " rows")) && Catch::Contains("at least 2"));
    }
    CHECK(running_variance == before);
  };
  held(Reference<double>());
  held(Reference<float>());
  held(Cpu({.threads = 1}));
}
