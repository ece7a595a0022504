// Products with weights that a backend may pack to stay: the same bits as with weights that stay as they are.
#include "catch.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory_resource>
#include <new>
#include <random>
#include <span>
#include <stdexcept>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/packed_weights.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/error.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

struct Shape {
  Index i, o;
};

/// Products whose right operand is packed once for all rows, by blocks of columns, and by parts of the depth; columns and depths
/// that fill whole panels and tiles, and that do not.
const std::vector<Shape> shapes{{1, 1}, {7, 5}, {384, 13}, {65, 130}, {192, 576}, {400, 2700}, {4100, 70}, {33, 16}, {15, 32}};
const std::vector<Index> row_counts{5, 201, 1, 400};

template <class T>
std::vector<T> drawn(Index count, unsigned seed) {
  std::minstd_rand random(seed);
  std::uniform_real_distribution<double> real(-1.0, 1.0);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = static_cast<T>(real(random));
  return values;
}

/// A matrix of weights with guard words behind it.
template <class T>
struct Lasting {
  static constexpr std::size_t guards = 64;

  Lasting(Shape size, unsigned seed) : shape(size), values(drawn<T>(size.i * size.o, seed)) {
    values.resize(values.size() + guards, T{777});
    weights = PackedWeights<T>(values.data(), 1);
  }
  [[nodiscard]] PackedMatrix<T>& state() { return *weights.matrix(0, 0); }
  [[nodiscard]] WeightView<const T> view() {
    return {MatrixView<const T>(values.data(), shape.o, shape.i), &state()};
  }
  /// What owners do: say that the weights are written, and write them.
  void write(const std::vector<T>& other) {
    weights.forget();
    std::copy(other.begin(), other.end(), values.begin());
  }
  [[nodiscard]] bool guards_stand() const {
    return std::all_of(values.end() - guards, values.end(), [](T value) { return value == T{777}; });
  }

  Shape shape;
  std::vector<T> values;
  PackedWeights<T> weights;
};

template <class B, class T = typename B::Scalar>
std::vector<T> product(const B& backend, WeightView<const T> weight, Index rows) {
  const std::vector<T> x = drawn<T>(rows * weight.cols(), 7), bias = drawn<T>(weight.rows(), 8);
  std::vector<T> y(static_cast<std::size_t>(rows * weight.rows()), std::numeric_limits<T>::quiet_NaN());
  backend.linear_forward(MatrixView<T>(y.data(), rows, weight.rows()), MatrixView<const T>(x.data(), rows, weight.cols()),
                         weight, VectorView<const T>(bias.data(), weight.rows()));
  return y;
}

template <class T>
WeightView<const T> plain(const std::vector<T>& values, Shape shape) {
  return MatrixView<const T>(values.data(), shape.o, shape.i);
}

/// `fits`: whether a matrix of that shape is packed at all; `columns`: at most how many lie beside it.
template <class B, class Fits>
void check_bits(const B& backend, WeightOrder order, Index columns, const Fits& fits) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  for (const Shape& shape : shapes) {
    INFO(shape.i << " to " << shape.o);
    const std::vector<T> values = drawn<T>(shape.i * shape.o, 3), others = drawn<T>(shape.i * shape.o, 4);
    Lasting<T> lasting(shape, 3);
    for (const Index rows : row_counts) CHECK((product(backend, lasting.view(), rows) == product(backend, plain(values, shape), rows)));
    CHECK(lasting.state().order == (fits(shape) ? order : WeightOrder::rows));
    CHECK(lasting.guards_stand());
    CHECK(lasting.weights.bytes() <= static_cast<std::size_t>(columns * (shape.i + 31)) * sizeof(T));
    if (shape.o % columns == 0) CHECK(lasting.weights.bytes() == 0);

    lasting.write(others);
    for (const Index rows : row_counts) CHECK((product(backend, lasting.view(), rows) == product(backend, plain(others, shape), rows)));
    CHECK(lasting.guards_stand());
  }
}

const auto always = [](Shape) { return true; };
const auto in_tiles = [](Shape shape) { return shape.i >= 16; };

}  // namespace

TEST_CASE("weights that stay packed give the bits of others, however products are cut, and again after they were written anew") {
  for (const int threads : {1, 2}) {
    check_bits(Cpu({.threads = threads, .split_products = false}), WeightOrder::panels, 32, always);
    check_bits(BasicCpu<double>({.threads = threads}), WeightOrder::panels, 16, always);
    check_bits(Cpu({.threads = threads, .precision = Precision::bf16, .emulate_bf16 = true}), WeightOrder::tiles, 16, in_tiles);
  }
}

TEST_CASE("weights stay as they lie for one product, and with a backend that packs none") {
  constexpr Shape shape{64, 96};
  const std::vector<float> values = drawn<float>(shape.i * shape.o, 3);
  const auto as_drawn = [&](const Lasting<float>& lasting) {
    return std::equal(values.begin(), values.end(), lasting.values.begin());
  };
  Lasting<float> once(shape, 3);
  const Cpu cpu({.threads = 1, .split_products = false});
  product(cpu, once.view(), 3);
  CHECK(as_drawn(once));
  CHECK(once.state().order == WeightOrder::rows);
  product(cpu, once.view(), 3);
  CHECK_FALSE(as_drawn(once));

  Lasting<float> elsewhere(shape, 3);
  const Reference<float> reference;
  const std::vector<float> first = product(reference, elsewhere.view(), 3);
  for (int i = 0; i < 3; ++i) CHECK((product(reference, elsewhere.view(), 3) == first));
  CHECK(as_drawn(elsewhere));
  CHECK(elsewhere.state().order == WeightOrder::rows);
}

TEST_CASE("weights whose packing was broken off are refused until they are written anew") {
  struct Breaks : cpu::LoopObserver {
    int loops = 0, at = -1;
    void loop(bool, std::span<const double>) override {
      if (loops++ == at) throw std::runtime_error("broken off");
    }
  };
  for (const Precision precision : {Precision::full, Precision::bf16}) {
    constexpr Shape shape{64, 96};
    Breaks breaks;
    const Cpu cpu({.threads = 1, .precision = precision, .emulate_bf16 = true, .split_products = false, .observer = &breaks});
    Lasting<float> lasting(shape, 3);
    product(cpu, lasting.view(), 3);
    breaks.at = breaks.loops;  // the first loop of the second product packs
    CHECK_THROWS_AS(product(cpu, lasting.view(), 3), std::runtime_error);
    CHECK(contains(thrown_by<Error>([&] { product(cpu, lasting.view(), 3); }), "load them anew"));
    lasting.write(drawn<float>(shape.i * shape.o, 4));
    for (int i = 0; i < 3; ++i)
      CHECK((product(cpu, lasting.view(), 3) == product(cpu, plain(drawn<float>(shape.i * shape.o, 4), shape), 3)));
  }
}

TEST_CASE("nothing is taken away where memory for packing runs out") {
  struct Full : std::pmr::memory_resource {
    bool full = false;
    void* do_allocate(std::size_t bytes, std::size_t alignment) override {
      if (full) throw std::bad_alloc();
      return std::pmr::new_delete_resource()->allocate(bytes, alignment);
    }
    void do_deallocate(void* p, std::size_t bytes, std::size_t alignment) override {
      std::pmr::new_delete_resource()->deallocate(p, bytes, alignment);
    }
    [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }
  } memory;
  constexpr Shape shape{64, 13};
  const Cpu cpu({.threads = 1, .split_products = false, .memory = &memory});
  Lasting<float> lasting(shape, 3);
  const std::vector<float> first = product(cpu, lasting.view(), 3);
  memory.full = true;
  CHECK_THROWS_AS(product(cpu, lasting.view(), 3), std::bad_alloc);
  memory.full = false;
  for (int i = 0; i < 2; ++i) CHECK((product(cpu, lasting.view(), 3) == first));
  CHECK(lasting.state().order == WeightOrder::panels);
}

TEST_CASE("a matrix of packed weights lies where it did") {
  std::vector<float> values(64);
  PackedWeights<float> weights(values.data(), 2);
  CHECK(weights.matrix(1, 32) == weights.matrix(1, 32));
  CHECK_THROWS_AS(weights.matrix(1, 16), ShapeError);
}

TEST_CASE("a backend refuses weights that one of another precision has packed") {
  Lasting<float> lasting({64, 96}, 3);
  const Cpu full({.threads = 1, .split_products = false});
  const Cpu half({.threads = 1, .precision = Precision::bf16, .emulate_bf16 = true});
  for (int i = 0; i < 2; ++i) product(full, lasting.view(), 3);
  CHECK(contains(thrown_by<Error>([&] { product(half, lasting.view(), 3); }), "another backend has packed"));
  Lasting<float> shallow({15, 32}, 3);  // no tiles: read as they lie
  for (int i = 0; i < 2; ++i) product(full, shallow.view(), 3);
  CHECK(contains(thrown_by<Error>([&] { product(half, shallow.view(), 3); }), "another backend has packed"));
  lasting.write(drawn<float>(64 * 96, 3));
  CHECK((product(half, lasting.view(), 3) == product(half, plain(drawn<float>(64 * 96, 3), {64, 96}), 3)));
}
