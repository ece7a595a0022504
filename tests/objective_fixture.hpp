// Reference numbers of published objectives, and views of them in any backend's memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "compare.hpp"
#include "fixtures.hpp"

#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/safetensors.hpp>

namespace dssl::test {

/// A fixture of tests/fixtures/objectives: numbers that a method's public code gave in float64.
class ObjectiveFixture {
 public:
  explicit ObjectiveFixture(const std::string& name)
      : x_file(SafetensorsFile::open(objective_path(name + ".safetensors"))),
        x_config(x_file),
        x_float_error(nlohmann::json::parse(x_file.metadata().at("float32_error"))),
        x_zero(nlohmann::json::parse(x_file.metadata().at("zero"))) {}

  [[nodiscard]] const SafetensorsFile& file() const { return x_file; }
  [[nodiscard]] const FixtureConfig& config() const { return x_config; }
  [[nodiscard]] Index extent(const std::string& tensor, std::size_t dimension) const {
    return x_file.shape(tensor).at(dimension);
  }

  /// A tensor that a test computes with.
  template <class T>
  [[nodiscard]] std::vector<T> read(const std::string& tensor) const {
    x_used.insert(tensor);
    return x_file.read<T>(tensor);
  }

  /// Tensors that were neither read nor compared, by name, for a test that leaves none out.
  [[nodiscard]] std::vector<std::string> left_out() const {
    std::vector<std::string> names;
    for (const StoredTensor& tensor : x_file.tensors()) {
      if (!x_used.contains(tensor.name)) names.push_back(tensor.name);
    }
    std::ranges::sort(names);
    return names;
  }

  /// How far a tensor computed in T may be from the reference, relative to the tensor's largest magnitude.
  template <class T>
  [[nodiscard]] double tolerance(const std::string& tensor) const {
    if constexpr (std::is_same_v<T, double>) {
      // Numbers that are stored rounded are as near as that.
      return x_file.tensor(tensor).type == ElementType::f32 ? 1e-7 : 1e-10;
    }
    return std::max(2e-5, x_float_error.value(tensor, 0.0));
  }

  /// The same of what several whole training steps leave behind: their rounding adds up. Published code in float is off by
  /// 2e-5 at most there.
  template <class T>
  [[nodiscard]] double tolerance_after_steps(const std::string& tensor) const {
    return std::is_same_v<T, double> ? tolerance<double>(tensor) : std::max(5e-5, tolerance<float>(tensor));
  }

  /// Checks numbers against a tensor; against 0 absolutely, where the tensor is exactly that.
  template <class T>
  void expect(const std::string& tensor, const std::vector<T>& got) const {
    INFO(x_file.path() << ", " << tensor);
    x_used.insert(tensor);
    const auto expected = x_file.read<double>(tensor);
    if (std::find(x_zero.begin(), x_zero.end(), tensor) != x_zero.end()) {
      REQUIRE(got.size() == expected.size());
      for (const T v : got) CHECK(std::abs(static_cast<double>(v)) < (std::is_same_v<T, double> ? 1e-12 : 1e-5));
      return;
    }
    CHECK(relative_difference<T, double>(std::span<const T>(got), std::span<const double>(expected)) <=
          tolerance<T>(tensor));
  }

 private:
  SafetensorsFile x_file;
  FixtureConfig x_config;
  nlohmann::json x_float_error;
  nlohmann::json x_zero;
  mutable std::set<std::string> x_used;
};

/// Matrices and buffers in a backend's memory, which live as long as this.
template <class B>
class Memory {
 public:
  using T = typename B::Scalar;

  explicit Memory(const B& backend) : x_backend(backend) {}

  /// A tensor with all but its last dimension as rows.
  MatrixView<T> matrix(const SafetensorsFile& file, const std::string& name) {
    const auto& shape = file.shape(name);
    const Index cols = shape.back();
    return matrix(file.read<T>(name), cols);
  }
  /// Given numbers, row by row.
  MatrixView<T> matrix(const std::vector<T>& values, Index cols) {
    const MatrixView<T> m(x_take(values.size() * sizeof(T)), static_cast<Index>(values.size()) / cols, cols);
    x_backend.upload(m.data(), std::span<const T>(values));
    return m;
  }
  MatrixView<T> zeros(Index rows, Index cols) {
    return MatrixView<T>(x_take(static_cast<std::size_t>(rows * cols) * sizeof(T)), rows, cols);
  }
  VectorView<T> zeros(Index size) { return VectorView<T>(zeros(1, size).data(), size); }

  /// What take(arena) cuts, full of what must not survive: NaN, and row numbers that are none.
  template <class Take>
  auto buffers(const Take& take) {
    Arena measure;
    static_cast<void>(take(measure));
    x_buffers.push_back(x_backend.allocate(measure.high_water()));
    const std::vector<std::byte> noise(measure.high_water(), std::byte{0xFF});
    x_backend.upload(x_buffers.back().data(), std::span<const std::byte>(noise));
    Arena live(x_buffers.back());
    return take(live);
  }

  template <class U, std::size_t Rank>
  [[nodiscard]] auto read(TensorView<U, Rank> view) const {
    std::vector<std::remove_const_t<U>> values(static_cast<std::size_t>(view.size()));
    x_backend.download(std::span<std::remove_const_t<U>>(values), static_cast<const U*>(view.data()));
    return values;
  }

 private:
  T* x_take(std::size_t bytes) {
    x_buffers.push_back(x_backend.allocate(bytes));
    return reinterpret_cast<T*>(x_buffers.back().data());
  }

  const B& x_backend;
  std::vector<Buffer> x_buffers;
};

}  // namespace dssl::test
