// The largest numbers of rows, held to a stable sort; and what a search makes of them.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <type_traits>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cuda.hpp>
#include <dssl/search/knn.hpp>
#include <dssl/search/nearest.hpp>

#include "cuda/rig.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Numbers of which many are equal, with zeros of both signs, infinities and what is none.
std::vector<float> drawn(Index count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> out;
  for (Index i = 0; i < count; ++i) {
    const auto kind = random() % 200;
    out.push_back(kind == 0   ? std::numeric_limits<float>::infinity()
                  : kind == 1 ? -std::numeric_limits<float>::infinity()
                  : kind == 2 ? std::numeric_limits<float>::quiet_NaN()
                  : kind == 3 ? -std::numeric_limits<float>::quiet_NaN()
                  : kind < 20 ? -0.0F
                              : static_cast<float>(static_cast<int>(random() % 401) - 200) / 16);
  }
  return out;
}

struct Chosen {
  std::vector<float> values;
  std::vector<std::int32_t> columns;
};

Chosen chosen(const Cuda& cuda, const std::vector<float>& x, Index rows, Index width, Index count) {
  const auto size = static_cast<std::size_t>(rows * count);
  const Buffer room = cuda.allocate(x.size() * sizeof(float));
  const Buffer out = cuda.allocate(size * sizeof(float));
  const Buffer places = cuda.allocate(size * sizeof(std::int32_t));
  auto* const in = reinterpret_cast<float*>(room.data());
  auto* const values = reinterpret_cast<float*>(out.data());
  auto* const columns = reinterpret_cast<std::int32_t*>(places.data());
  cuda.upload(in, std::span<const float>(x));
  cuda.largest_of_rows(MatrixView<float>(values, rows, count), MatrixView<std::int32_t>(columns, rows, count),
                       MatrixView<const float>(in, rows, width));
  Chosen got{std::vector<float>(size), std::vector<std::int32_t>(size)};
  cuda.download(std::span<float>(got.values), static_cast<const float*>(values));
  cuda.download(std::span<std::int32_t>(got.columns), static_cast<const std::int32_t*>(columns));
  return got;
}

Chosen sorted(const std::vector<float>& x, Index rows, Index width, Index count) {
  Chosen out;
  for (Index row = 0; row < rows; ++row) {
    std::vector<float> numbers(x.begin() + row * width, x.begin() + (row + 1) * width);
    for (float& v : numbers) v = v == v ? v : -std::numeric_limits<float>::infinity();
    std::vector<std::int32_t> order(numbers.size());
    std::iota(order.begin(), order.end(), std::int32_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return numbers[static_cast<std::size_t>(a)] > numbers[static_cast<std::size_t>(b)];
    });
    for (Index n = 0; n < count; ++n) {
      out.columns.push_back(order[static_cast<std::size_t>(n)]);
      out.values.push_back(numbers[static_cast<std::size_t>(order[static_cast<std::size_t>(n)])]);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("Cuda chooses the largest of rows as a stable sort does", "[cuda]") {
  if (!device_is_there()) return;
  const Cuda cuda;
  struct Case {
    Index rows, width, count;
  };
  for (const Case& c : {Case{5, 1, 1}, Case{6, 70, 1}, Case{3, 1500, 1}, Case{3, 2, 2}, Case{4, 70, 20},
                        Case{2, 2048, 3}, Case{2, 4100, 30}, Case{1, 1024, 1024}, Case{1, 5000, 1024}}) {
    INFO(c.rows << " x " << c.width << ", " << c.count << " of each");
    const std::vector<float> x = drawn(c.rows * c.width, static_cast<unsigned>(c.width + c.count));
    const Chosen expected = sorted(x, c.rows, c.width, c.count);
    Chosen first;
    for (int way = 0; way < ways_of_running(); ++way) {
      run_in_way(way);
      const Chosen got = chosen(cuda, x, c.rows, c.width, c.count);
      CHECK(got.columns == expected.columns);
      CHECK(got.values == expected.values);
      if (way == 0) first = got;
      CHECK(std::memcmp(got.values.data(), first.values.data(), got.values.size() * sizeof(float)) == 0);
    }
    run_in_way(0);
  }
  // Nothing but what is no number, and more than the row's tile holds of one number.
  for (const float same : {-std::numeric_limits<float>::quiet_NaN(), 3.0F}) {
    const std::vector<float> x(3000, same);
    const Chosen got = chosen(cuda, x, 1, 3000, 40);
    for (std::int32_t n = 0; n < 40; ++n) CHECK(got.columns[static_cast<std::size_t>(n)] == n);
  }
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(chosen(cuda, drawn(4, 1), 1, 4, 5)); }),
                 "expected 1 to 4 of each row"));
  CHECK(contains(thrown_by<ShapeError>([&] { static_cast<void>(chosen(cuda, drawn(2000, 1), 1, 2000, 1025)); }),
                 "expected 1 to 1024 of each row"));
}

// Small integers: every product is exact, and many pairs are equally near.
TEST_CASE("what Cuda chooses and what is chosen on the host are the same neighbours", "[cuda]") {
  if (!device_is_there()) return;
  std::mt19937 random(5);
  constexpr Index bank = 1300;
  constexpr Index width = 4;
  constexpr Index queries = 9;
  std::vector<float> numbers;
  for (Index i = 0; i < (bank + queries) * width; ++i) {
    numbers.push_back(static_cast<float>(static_cast<int>(random() % 7) - 3));
  }
  const auto neighbours = [&](const auto& backend, Index k) {
    const Buffer room = backend.allocate(numbers.size() * sizeof(float));
    auto* const rows = reinterpret_cast<float*>(room.data());
    backend.upload(rows, std::span<const float>(numbers));
    NearestRows<std::decay_t<decltype(backend)>> nearest(backend, {.width = width,
                                                                   .capacity = bank,
                                                                   .neighbours = 1100,
                                                                   .by = Nearness::distance,
                                                                   .queries = 4,
                                                                   .block = 500});
    nearest.add(MatrixView<const float>(rows, bank, width));
    std::vector<Neighbour> found(static_cast<std::size_t>(queries * k));
    nearest.find(found, MatrixView<const float>(rows + bank * width, queries, width), k);
    return found;
  };
  for (const Index k : {Index{1}, Index{7}, Index{600}, Index{1100}}) {  // the last is chosen on the host
    INFO(k << " neighbours");
    const std::vector<Neighbour> on_cpu = neighbours(Cpu({.threads = 1}), k);
    const std::vector<Neighbour> on_cuda = neighbours(Cuda(), k);
    bool same = true;
    for (std::size_t i = 0; i < on_cpu.size(); ++i) {
      same = same && on_cuda[i].row == on_cpu[i].row && on_cuda[i].nearness == on_cpu[i].nearness;
    }
    CHECK(same);
  }

  // Rows along one axis each: cosines are -1, 0 or 1, and which of equals vote is a matter of their order alone.
  std::vector<float> axes(numbers.size(), 0.0F);
  for (Index i = 0; i < bank + queries; ++i) {
    axes[static_cast<std::size_t>(i * width) + random() % width] = random() % 2 == 0 ? 1.0F : -1.0F;
  }
  std::vector<std::int64_t> labels;
  for (Index i = 0; i < bank; ++i) labels.push_back(i * i % 11);
  const auto votes = [&](const auto& backend, Index k) {
    KnnClassifier<std::decay_t<decltype(backend)>> knn(backend, MatrixView<const float>(axes.data(), bank, width),
                                                       labels, {.classes = 11, .queries = 4});
    std::vector<double> out(queries * 11);
    knn.votes(MatrixView<double>(out.data(), queries, 11),
              MatrixView<const float>(axes.data() + bank * width, queries, width), k);
    return out;
  };
  for (const Index k : {Index{1}, Index{20}, Index{700}, Index{1300}}) {  // the last is chosen on the host
    INFO(k << " voters");
    CHECK(votes(Cuda(), k) == votes(Cpu({.threads = 1}), k));
  }
}
