// Tensor views: extents, layout and constness.
#include "catch.hpp"

#include <array>
#include <numeric>
#include <type_traits>

#include <dssl/core/tensor_view.hpp>

using dssl::Index;
using dssl::MatrixView;
using dssl::TensorView;
using dssl::VectorView;

TEST_CASE("a view reads its memory in row-major order", "[tensor_view]") {
  std::array<int, 24> memory{};
  std::iota(memory.begin(), memory.end(), 0);
  const TensorView<int, 3> view{memory.data(), 2, 3, 4};
  CHECK(view.size() == 24);
  CHECK(view.extent(0) == 2);
  CHECK(view.extent(2) == 4);
  int expected = 0;
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) {
      for (Index k = 0; k < 4; ++k) CHECK(view(i, j, k) == expected++);
    }
  }
  CHECK(view.flat().size() == 24);
  CHECK(view.flat().back() == 23);
}

TEST_CASE("a matrix view has rows", "[tensor_view]") {
  std::array<float, 12> memory{};
  std::iota(memory.begin(), memory.end(), 0.0F);
  const MatrixView<float> matrix{memory.data(), 4, 3};
  CHECK(matrix.rows() == 4);
  CHECK(matrix.cols() == 3);
  CHECK(matrix.row(2)[0] == 6.0F);

  const MatrixView<float> middle = matrix.rows(1, 2);
  CHECK(middle.rows() == 2);
  CHECK(middle.cols() == 3);
  CHECK(middle(1, 2) == 8.0F);
  middle(0, 0) = -1.0F;
  CHECK(memory[3] == -1.0F);
}

TEST_CASE("mutable views become constant ones, not the reverse", "[tensor_view]") {
  static_assert(std::is_convertible_v<MatrixView<double>, MatrixView<const double>>);
  static_assert(!std::is_convertible_v<MatrixView<const double>, MatrixView<double>>);
  static_assert(!std::is_convertible_v<VectorView<double>, MatrixView<double>>);
  std::array<double, 2> memory{1.0, 2.0};
  const VectorView<const double> view = VectorView<double>{memory.data(), 2};
  CHECK(view.data() == memory.data());
  CHECK(view(1) == 2.0);
}

TEST_CASE("a view of nothing is empty", "[tensor_view]") {
  CHECK(MatrixView<float>{}.empty());
  float one = 1.0F;
  CHECK(MatrixView<float>{&one, 0, 5}.empty());
  CHECK_FALSE(MatrixView<float>{&one, 1, 1}.empty());
}
