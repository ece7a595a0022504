// Attention with heads and relations that no recipe has yet, and the tensor cores' product by itself.
#include "catch.hpp"

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <dssl/backend/cuda.hpp>

#include "backend/board.hpp"
#include "cuda/held_to_oracle.hpp"
#include "cuda/relation_cases.hpp"
#include "cuda/test_instances.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// A head's width that tensor cores take, up to the largest; sequences that end before, at and behind a
/// tile's end.
std::vector<RelationShape> shapes() {
  std::vector<RelationShape> all;
  for (const Index d : {Index{16}, Index{48}, Index{80}, Index{128}}) {
    all.push_back(
        {{{.patches = 31, .references = 3}, {.patches = 63}, {.patches = 66, .references = 9}}, 2, d});
  }
  return all;
}

}  // namespace

TEST_CASE("a warp's tensor-core product is the matrix product", "[cuda]") {
  if (!device_is_there()) return;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    const std::size_t depth = precision == Precision::bf16 ? 16 : 8;
    std::vector<float> a, b;  // whole numbers that rounding leaves alone
    for (std::size_t i = 0; i < 16 * depth; ++i) a.push_back(static_cast<float>(i * 37 % 23) - 11.0F);
    for (std::size_t i = 0; i < depth * 8; ++i) b.push_back(static_cast<float>(i * 29 % 19) - 9.0F);
    const std::vector<float> c = warp_product(precision, a, b);
    for (std::size_t i = 0; i < 16; ++i) {
      for (std::size_t j = 0; j < 8; ++j) {
        float sum = 0;
        for (std::size_t k = 0; k < depth; ++k) sum += a[i * depth + k] * b[k * 8 + j];
        CHECK(c[i * 8 + j] == sum);
      }
    }
  }
}

TEST_CASE("attention on tensor cores takes heads of every width and any relation", "[cuda]") {
  if (!device_is_there()) return;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    INFO((precision == Precision::tf32 ? "tf32" : "bf16"));
    const Cuda backend(CudaOptions{.precision = precision});
    HeldToOracle held(backend, precision == Precision::tf32 ? 4e-3 : 3e-2, Measure::norm, 2);
    for (const RelationShape& shape : shapes()) relation_cases(held, shape, join("heads of ", shape.d));
  }
}

TEST_CASE("attention in the backend's own numbers takes any relation", "[cuda]") {
  if (!device_is_there()) return;
  const Cuda in_float;
  HeldToOracle held(in_float, 1e-5);
  for (const Index d : {Index{3}, Index{40}}) {
    const RelationShape shape{
        {{.patches = 31, .references = 3}, {.patches = 30}, {.patches = 33, .references = 40}}, 2, d};
    relation_cases(held, shape, join("heads of ", d));
  }
}

TEST_CASE("a NaN among the keys reaches every row that sees it, on tensor cores too", "[cuda]") {
  if (!device_is_there()) return;
  for (const Precision precision : {Precision::full, Precision::tf32, Precision::bf16}) {
    const Cuda backend(CudaOptions{.precision = precision});
    Board<Cuda> board(backend, 1);
    const SequenceBatch batch = board.sequences({{.patches = 70, .references = 2}});
    std::vector<double> numbers(static_cast<std::size_t>(batch.rows * 48), 0.25);
    numbers[static_cast<std::size_t>(69 * 48 + 16 + 5)] =
        std::numeric_limits<double>::quiet_NaN();  // key of a patch
    const auto out = board.sum(batch.rows, Index{16});
    const auto log_sum = board.sum(batch.rows, Index{1});
    backend.attention_forward<private_relation>(out, log_sum, board.given(numbers, batch.rows, 48), batch, 1,
                                                all_groups);
    const auto written = board.written();
    for (const auto& output : written) {
      for (const double x : output.values) CHECK((std::isnan(x)));
    }
  }
}
