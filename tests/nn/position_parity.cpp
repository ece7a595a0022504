// Both reads of the position table, and their gradients, against the reference numbers.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "../compare.hpp"
#include "../fixtures.hpp"
#include "catch.hpp"
#include "objective_fixture.hpp"

#include <dssl/backend/reference.hpp>
#include <dssl/nn/position.hpp>

using namespace dssl;
using dssl::test::relative_difference;

namespace {

template <class T>
void check_read(const SafetensorsFile& file, const std::string& name, GridSize table, const std::vector<Taps<T>>& taps,
                Index first, bool accumulate, std::vector<T>& d_table) {
  const Reference<T> backend;
  const auto width = file.shape("table")[2];
  auto weights = file.read<T>("table");
  const auto count = static_cast<Index>(taps.size());
  const auto expected = file.read<double>(name + ".out");
  auto upstream = file.read<T>(name + ".d_out");
  std::vector<T> out(static_cast<std::size_t>(count * width));
  const VectorView<const Taps<T>> view(taps.data(), count);
  backend.sample_rows_forward(MatrixView<T>(out.data(), count, width),
                              MatrixView<const T>(weights.data(), table.size(), width), view);
  const auto begin = static_cast<std::size_t>(first * width);
  CHECK(relative_difference<T, double>(out, std::span(expected).subspan(begin, out.size())) < 1e-5);
  if (!accumulate) d_table.assign(weights.size(), T{0});
  backend.sample_rows_backward(MatrixView<T>(d_table.data(), table.size(), width),
                               MatrixView<const T>(upstream.data() + begin, count, width), view);
}

template <class T>
void check() {
  const auto file = SafetensorsFile::open(test::fixture_path("positions.safetensors"));
  const test::FixtureConfig config(file);
  const Index side = config.get<Index>("image") / config.get<Index>("patch");
  const GridSize table{side, side};
  std::vector<T> d_table;
  int checked = 0;
  for (const auto& tensor : file.tensors()) {
    const auto cross = tensor.name.find('x');
    if (!tensor.name.ends_with(".out") || cross == std::string::npos) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - 4);
    INFO("grid read " << name);
    const GridSize grid{std::stol(name), std::stol(name.substr(cross + 1))};
    const auto reads = grid_reads<T>(grid, table);
    REQUIRE(reads.size() == 1);
    check_read<T>(file, name, table, reads[0], 0, false, d_table);
    const auto expected = file.read<double>(name + ".d_table");
    CHECK(relative_difference<T, double>(d_table, expected) < 1e-4);
    ++checked;
  }
  CHECK(checked == 7);

  const auto xy = file.read<double>("points");
  std::vector<Taps<T>> taps;
  for (std::size_t i = 0; i < xy.size(); i += 2) taps.push_back(point_read<T>({xy[i], xy[i + 1]}, table));
  INFO("point read");
  check_read<T>(file, "points", table, taps, 0, false, d_table);
  const auto expected = file.read<double>("points.d_table");
  CHECK(relative_difference<T, double>(d_table, expected) < 1e-4);
}

/// What reads in turn make of a table (g,D), and of the gradient of that: its share of the table's, =.
template <class T>
struct Resampled {
  std::vector<T> out, d_table;

  Resampled(const std::vector<std::vector<Taps<T>>>& reads, std::vector<T> table, std::vector<T> d_out, Index width) {
    const Reference<T> backend;
    const auto rows = [width](std::vector<T>& values) {
      return MatrixView<T>(values.data(), static_cast<Index>(values.size()) / width, width);
    };
    std::vector<std::vector<T>> steps{std::move(table)};
    for (const auto& taps : reads) {
      std::vector<T> next(taps.size() * static_cast<std::size_t>(width));
      backend.sample_rows_forward(rows(next), rows(steps.back()),
                                  VectorView<const Taps<T>>(taps.data(), static_cast<Index>(taps.size())));
      steps.push_back(std::move(next));
    }
    out = steps.back();
    d_table = std::move(d_out);
    for (std::size_t k = reads.size(); k-- > 0;) {
      std::vector<T> d_from(steps[k].size(), T{0});
      backend.sample_rows_backward(rows(d_from), rows(d_table),
                                   VectorView<const Taps<T>>(reads[k].data(), static_cast<Index>(reads[k].size())));
      d_table = std::move(d_from);
    }
  }
};

/// The rules of DINOv2's code, with a class row before table and result that is handed on as it is.
template <class T>
void check_rules() {
  const test::ObjectiveFixture fixture("position_interpolation");
  const Index side = fixture.config().template get<Index>("grid"), width = fixture.extent("table", 2);
  const auto without_class = [&](std::vector<T> rows) {
    rows.erase(rows.begin(), rows.begin() + width);
    return rows;
  };
  const auto table = fixture.file().template read<T>("table");
  int checked = 0;
  for (const auto& [name, rule] : {std::pair<std::string, PositionRule>{"offset", PositionRule::offset},
                                   {"size", PositionRule::size},
                                   {"antialias", PositionRule::size_antialiased}}) {
    for (const auto& size : fixture.config().template get<std::vector<std::vector<Index>>>("sizes")) {
      const std::string shape = std::to_string(size[0]) + "x" + std::to_string(size[1]);
      INFO(name << " " << shape);
      const auto d_out = fixture.file().template read<T>(shape + ".d_out");
      Resampled<T> got(grid_reads<T>({size[0], size[1]}, {side, side}, rule), without_class(table),
                       without_class(d_out), width);
      got.out.insert(got.out.begin(), table.begin(), table.begin() + width);
      got.d_table.insert(got.d_table.begin(), d_out.begin(), d_out.begin() + width);
      fixture.expect(name + "." + shape + ".out", got.out);
      fixture.expect(name + "." + shape + ".d_table", got.d_table);
      ++checked;
    }
  }
  CHECK(checked >= 3);
}

}  // namespace

TEST_CASE("the rules of other libraries read position tables as their code does") {
  check_rules<double>();
  check_rules<float>();
}

TEST_CASE("an antialiased read of any size hands a constant on and keeps each cell's whole share") {
  // 40 cells a side to 3: 54 rows and columns a cell, each in partial sums; and one axis larger, the other smaller.
  for (const GridSize grid : {GridSize{3, 3}, {2, 50}, {50, 2}, {10, 11}, {40, 3}, {41, 80}}) {
    INFO(grid.height << " x " << grid.width);
    const GridSize table{40, 40};
    const auto reads = grid_reads<double>(grid, table, PositionRule::size_antialiased);
    CHECK((reads.size() == 1) == (grid.height >= table.height && grid.width >= table.width));
    CHECK(static_cast<Index>(reads.back().size()) == grid.size());
    std::vector<double> coordinates;  // (1, row, column) of each cell
    for (Index i = 0; i < table.height; ++i) {
      for (Index j = 0; j < table.width; ++j) {
        coordinates.insert(coordinates.end(), {1.0, static_cast<double>(i), static_cast<double>(j)});
      }
    }
    const std::vector<double> ones(static_cast<std::size_t>(3 * grid.size()), 1.0);
    const Resampled<double> got(reads, coordinates, ones, 3);
    const double middle_row = (static_cast<double>(table.height) - 1) / 2;
    double row_sum = 0, share = 0;
    for (std::size_t n = 0; n < got.out.size(); n += 3) {
      CHECK(std::abs(got.out[n] - 1) < 1e-12);
      row_sum += got.out[n + 1];
    }
    // The rule is its own mirror image: rows and columns keep their mean.
    CHECK(std::abs(row_sum / static_cast<double>(grid.size()) - middle_row) < 1e-10);
    for (std::size_t n = 0; n < got.d_table.size(); n += 3) share += got.d_table[n];
    CHECK(std::abs(share - static_cast<double>(grid.size())) < 1e-9);
  }
}

TEST_CASE("corners of the table are read at a grid's corners by the rule of corners") {
  const std::vector<double> table{0, 1, 2, 10, 11, 12, 20, 21, 22};  // 3 x 3, row and column
  const Resampled<double> got(grid_reads<double>({5, 2}, {3, 3}, PositionRule::corners), table,
                              std::vector<double>(10, 1.0), 1);
  CHECK(std::abs(got.out[0] - 0) < 1e-12);
  CHECK(std::abs(got.out[1] - 2) < 1e-12);
  CHECK(std::abs(got.out[4] - 10) < 1e-12);
  CHECK(std::abs(got.out[8] - 20) < 1e-12);
  CHECK(std::abs(got.out[9] - 22) < 1e-12);
  // One cell along an axis reads the table's first.
  const Resampled<double> one(grid_reads<double>({1, 3}, {3, 3}, PositionRule::corners), table,
                              std::vector<double>(3, 1.0), 1);
  CHECK(std::abs(one.out[2] - 2) < 1e-12);
}

TEST_CASE("position tables are read as published, at grids and at points") {
  check<double>();
  check<float>();
}
