// SwiGLU and rotations of heads: the oracle against central differences and what is known of them.
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "../gradient_check.hpp"
#include "catch.hpp"

#include <dssl/backend/reference.hpp>

using namespace dssl;
using dssl::test::dot;
using dssl::test::gradient_difference;
using dssl::test::normal_values;

namespace {

const Reference<double> oracle;

[[nodiscard]] MatrixView<double> rows_of(std::vector<double>& values, Index cols) {
  return MatrixView<double>(values.data(), static_cast<Index>(values.size()) / cols, cols);
}

}  // namespace

TEST_CASE("gradients of SwiGLU", "[backend][gradients]") {
  const Index m = 5, d = 3;
  std::vector<double> x = normal_values(static_cast<std::size_t>(2 * m * d), 1, 2.0);
  std::vector<double> y(static_cast<std::size_t>(m * d)), d_x(x.size()), again(y.size());
  std::fill(d_x.begin(), d_x.end(), std::numeric_limits<double>::infinity());
  const std::vector<double> d_y = normal_values(y.size(), 2);
  const auto value = [&] {
    oracle.swiglu_forward(rows_of(y, d), rows_of(x, 2 * d));
    return dot(y, d_y);
  };
  value();
  oracle.swiglu_again_backward(rows_of(again, d), rows_of(d_x, 2 * d),
                               MatrixView<const double>(d_y.data(), m, d), rows_of(x, 2 * d));
  CHECK(again == y);
  const auto found = gradient_difference(x, d_x, value, 7, 5);
  CHECK(found.norm > 1e-3);
  CHECK(found.small());
  // A gate far below 0 shuts, one far above hands on the value times itself.
  x = {-800.0, 800.0, 3.0, 2.0};
  y.resize(2);
  oracle.swiglu_forward(rows_of(y, 2), rows_of(x, 4));
  CHECK(y[0] == 0);
  CHECK(y[1] == 1600);
}

TEST_CASE("rotations of heads turn pairs, and back by the other direction, as gradients", "[backend][gradients]") {
  const Index heads = 2, width = 4;
  std::vector<double> turns;
  for (const double angle : {0.3, 2.0}) {
    turns.insert(turns.end(), {std::cos(angle), std::cos(3 * angle), std::sin(angle), std::sin(3 * angle)});
  }
  const MatrixView<const double> rotations(turns.data(), 2, width);
  const std::vector<std::int32_t> at{1, -1, 0, 1}, to{2, 1, -1, 0};
  const RowIndex places(at.data(), 4), packed(to.data(), 4);
  std::vector<double> x = normal_values(static_cast<std::size_t>(3 * 3 * heads * width), 1);
  std::vector<double> y, d_x = normal_values(x.size(), 2);
  const std::vector<double> d_y = d_x;
  const auto value = [&] {
    y = x;
    oracle.rotate_heads(rows_of(y, 3 * heads * width), rotations, places, packed, heads, 1.0);
    return dot(y, d_y);
  };
  value();
  // Token 0 is row 2 and turned by 2; its second head's key begins at number 8 + 4.
  const auto first = static_cast<std::size_t>(2 * 24 + 12);
  CHECK(std::abs(y[first] - (x[first] * std::cos(2.0) - x[first + 2] * std::sin(2.0))) < 1e-15);
  CHECK(std::abs(y[first + 3] - (x[first + 3] * std::cos(6.0) + x[first + 1] * std::sin(6.0))) < 1e-15);
  // Its values are left alone, and so is row 1, whose token is not turned.
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i / 24 == 1 || i % 24 >= 16) CHECK(y[i] == x[i]);
    else CHECK(y[i] != x[i]);
  }
  oracle.rotate_heads(rows_of(d_x, 3 * heads * width), rotations, places, packed, heads, -1.0);
  const auto found = gradient_difference(x, d_x, value, 7, 5);
  CHECK(found.norm > 1e-3);
  CHECK(found.small());
  value();
  oracle.rotate_heads(rows_of(y, 3 * heads * width), rotations, places, packed, heads, -1.0);
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(std::abs(y[i] - x[i]) < 1e-14);
}
