// Position tables of sines and cosines against the public codes' numbers, in double and float.
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "objective_fixture.hpp"

#include <dssl/nn/sincos.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

/// A table that nothing but zeros and its own numbers may be left in.
template <class T>
std::vector<T> table(Index rows, Index width, GridSize grid, SincosOrder order, double temperature = 10000) {
  std::vector<T> values(static_cast<std::size_t>(rows * width), T{7});
  sincos_positions(MatrixView<T>(values.data(), rows, width), grid, order, temperature);
  return values;
}

template <class T>
void check_published() {
  const ObjectiveFixture fixture("sincos");
  const auto side = fixture.config().get<Index>("grid");
  const auto temperature = fixture.config().get<double>("temperature");
  for (const auto& [name, order] :
       {std::pair{"mae.table", SincosOrder::column_first}, std::pair{"mocov3.table", SincosOrder::row_first}}) {
    const Index rows = fixture.extent(name, 0), width = fixture.extent(name, 1);
    REQUIRE(rows == side * side + 1);
    fixture.expect(name, table<T>(rows, width, {side, side}, order, temperature));
  }
}

}  // namespace

TEST_CASE("tables of sines and cosines are MAE's and MoCo v3's", "[nn]") {
  check_published<double>();
  check_published<float>();
}

TEST_CASE("a grid that is not square is numbered row by row in both orders", "[nn]") {
  const auto columns = table<double>(6, 4, {2, 3}, SincosOrder::column_first);
  const auto rows = table<double>(6, 4, {2, 3}, SincosOrder::row_first);
  // Cell (1, 2), the last one; the only frequency is 1.
  CHECK(columns[20] == Approx(std::sin(2.0)));
  CHECK(columns[23] == Approx(std::cos(1.0)));
  CHECK(rows[20] == Approx(std::sin(1.0)));
  CHECK(rows[23] == Approx(std::cos(2.0)));
}

TEST_CASE("tables that have no such positions are refused", "[nn]") {
  CHECK_THROWS_AS(table<double>(6, 6, {2, 3}, SincosOrder::row_first), ShapeError);
  CHECK_THROWS_AS(table<double>(5, 8, {2, 3}, SincosOrder::row_first), ShapeError);
  CHECK_THROWS_AS(table<double>(5, 8, {0, 3}, SincosOrder::row_first), ShapeError);
}
