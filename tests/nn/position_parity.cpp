// Both reads of the position table, and their gradients, against the reference numbers.
#include <string>
#include <vector>

#include "../compare.hpp"
#include "../fixtures.hpp"
#include "catch.hpp"

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
  int reads = 0;
  for (const auto& tensor : file.tensors()) {
    const auto cross = tensor.name.find('x');
    if (!tensor.name.ends_with(".out") || cross == std::string::npos) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - 4);
    INFO("grid read " << name);
    const GridSize grid{std::stol(name), std::stol(name.substr(cross + 1))};
    std::vector<Taps<T>> taps(static_cast<std::size_t>(grid.size()));
    grid_read<T>(taps, grid, table);
    check_read<T>(file, name, table, taps, 0, false, d_table);
    const auto expected = file.read<double>(name + ".d_table");
    CHECK(relative_difference<T, double>(d_table, expected) < 1e-4);
    ++reads;
  }
  CHECK(reads == 7);

  const auto xy = file.read<double>("points");
  std::vector<Taps<T>> taps;
  for (std::size_t i = 0; i < xy.size(); i += 2) taps.push_back(point_read<T>({xy[i], xy[i + 1]}, table));
  INFO("point read");
  check_read<T>(file, "points", table, taps, 0, false, d_table);
  const auto expected = file.read<double>("points.d_table");
  CHECK(relative_difference<T, double>(d_table, expected) < 1e-4);
}

}  // namespace

TEST_CASE("position tables are read as published, at grids and at points") {
  check<double>();
  check<float>();
}
