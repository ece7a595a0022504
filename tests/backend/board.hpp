// Inputs and guarded outputs of one primitive's call, in any backend's memory.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/operands.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/sequence.hpp>

namespace dssl::test {

/// Makes the operands of a case from a seed and collects what the call wrote.
///
/// The numbers are representable in float, so that backends of every scalar type start from the same ones.
/// Buffers of "=" outputs are filled with NaN or infinity beforehand; every output lies between guard words.
template <class B>
class Board {
 public:
  using T = typename B::Scalar;

  Board(const B& backend, std::uint64_t seed) : x_backend(backend), x_random(seed) {}

  /// Random numbers around 0.
  MatrixView<const T> matrix(Index rows, Index cols, double scale = 1.0) {
    return MatrixView<const T>(x_upload(x_normal(rows * cols, scale)), rows, cols);
  }
  VectorView<const T> vector(Index size, double scale = 1.0, double centre = 0.0) {
    std::vector<double> values = x_normal(size, scale);
    for (double& v : values) v = static_cast<float>(v + centre);
    return VectorView<const T>(x_upload(values), size);
  }
  TensorView<const T, 4> images(Index s, Index c, Index h, Index w) {
    return TensorView<const T, 4>(x_upload(x_normal(s * c * h * w, 1.0)), s, c, h, w);
  }
  /// Rows of positive numbers that sum to about 1; every third number is 0.
  MatrixView<const T> distributions(Index rows, Index cols) {
    std::vector<double> values = x_normal(rows * cols, 2.0);
    for (Index r = 0; r < rows; ++r) {
      double sum = 0;
      for (Index c = 0; c < cols; ++c) {
        double& v = values[static_cast<std::size_t>(r * cols + c)];
        v = (c % 3 == 2) ? 0.0 : std::exp(v);
        sum += v;
      }
      for (Index c = 0; c < cols; ++c) {
        double& v = values[static_cast<std::size_t>(r * cols + c)];
        v = static_cast<float>(v / sum);
      }
    }
    return MatrixView<const T>(x_upload(values), rows, cols);
  }
  /// Given values.
  MatrixView<const T> given(const std::vector<double>& values, Index rows, Index cols) {
    return MatrixView<const T>(x_upload(values), rows, cols);
  }

  /// An "=" output, full of what must not survive.
  MatrixView<T> output(Index rows, Index cols) {
    std::vector<T> fill(static_cast<std::size_t>(rows * cols), std::numeric_limits<T>::quiet_NaN());
    for (std::size_t i = 0; i < fill.size(); i += 3) fill[i] = std::numeric_limits<T>::infinity();
    return MatrixView<T>(x_guarded(fill), rows, cols);
  }
  VectorView<T> output(Index size) { return VectorView<T>(output(1, size).data(), size); }
  /// A "+=" output, or one that is read before it is written: full of random numbers.
  MatrixView<T> sum(Index rows, Index cols, double scale = 1.0) {
    return MatrixView<T>(x_guarded(x_cast<T>(x_normal(rows * cols, scale))), rows, cols);
  }
  VectorView<T> sum(Index size, double scale = 1.0) { return VectorView<T>(sum(1, size, scale).data(), size); }
  /// As `sum`, all numbers positive.
  VectorView<T> positive(Index size, double scale = 1.0) {
    std::vector<double> values = x_normal(size, scale);
    for (double& v : values) v = std::abs(v);
    return VectorView<T>(x_guarded(x_cast<T>(values)), size);
  }
  /// An "=" output of doubles.
  VectorView<double> doubles(Index size) {
    return VectorView<double>(
        x_guarded(std::vector<double>(static_cast<std::size_t>(size), std::numeric_limits<double>::quiet_NaN())),
        size);
  }

  /// An output of whole numbers, filled with these.
  VectorView<std::int32_t> whole_numbers(const std::vector<std::int32_t>& content) {
    return VectorView<std::int32_t>(x_guarded(content), static_cast<Index>(content.size()));
  }

  /// Structures or row numbers.
  template <class U>
  VectorView<const U> list(const std::vector<U>& values) {
    if (values.empty()) return {};
    U* data = x_take<U>(values.size());
    x_backend.upload(data, std::span<const U>(values));
    return VectorView<const U>(data, static_cast<Index>(values.size()));
  }
  RowIndex rows(const std::vector<std::int32_t>& values) { return list(values); }
  /// Taps at random rows of a table, with repeats.
  VectorView<const Taps<T>> taps(Index count, Index table_rows) {
    std::vector<Taps<T>> values(static_cast<std::size_t>(count));
    std::uniform_int_distribution<std::int32_t> row(0, static_cast<std::int32_t>(table_rows) - 1);
    for (Taps<T>& tap : values) {
      for (std::size_t t = 0; t < 16; ++t) {
        tap.row[t] = row(x_random);
        tap.weight[t] = static_cast<T>(x_normal(1, 0.3)[0]);
      }
    }
    return list(values);
  }
  /// Sequences one after the other.
  SequenceBatch sequences(std::vector<Sequence> values) {
    SequenceBatch batch;
    for (Sequence& s : values) {
      s.first = batch.rows;
      batch.rows += s.tokens();
      batch.longest = std::max(batch.longest, s.tokens());
    }
    batch.sequences = list(values);
    return batch;
  }

  /// Everything that the call could have written, in the order in which outputs were made.
  struct Written {
    std::vector<double> values;
    std::vector<std::byte> bytes;
  };
  [[nodiscard]] std::vector<Written> written() const {
    std::vector<Written> all;
    for (const auto& read : x_outputs) all.push_back(read());
    return all;
  }
  [[nodiscard]] bool guards_hold() const {
    for (const auto& holds : x_guards) {
      if (!holds()) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t guard = 32;  // elements before and after an output: 128 bytes at least

  std::vector<double> x_normal(Index count, double scale) {
    std::normal_distribution<double> normal;
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& v : values) v = static_cast<float>(scale * normal(x_random));
    return values;
  }
  template <class U>
  static std::vector<U> x_cast(const std::vector<double>& values) {
    std::vector<U> cast;
    for (const double v : values) cast.push_back(static_cast<U>(v));
    return cast;
  }
  template <class U>
  U* x_take(std::size_t count) {
    x_buffers.push_back(x_backend.allocate(count * sizeof(U)));
    return reinterpret_cast<U*>(x_buffers.back().data());
  }
  const T* x_upload(const std::vector<double>& values) {
    if (values.empty()) return nullptr;
    const std::vector<T> cast = x_cast<T>(values);
    T* data = x_take<T>(cast.size());
    x_backend.upload(data, std::span<const T>(cast));
    return data;
  }
  template <class U>
  U* x_guarded(const std::vector<U>& content) {
    constexpr U word = static_cast<U>(1234.5);
    std::vector<U> all(guard, word);
    all.insert(all.end(), content.begin(), content.end());
    all.insert(all.end(), guard, word);
    U* data = x_take<U>(all.size());
    x_backend.upload(data, std::span<const U>(all));
    const std::size_t count = content.size();
    const auto whole = [this, data, count] {
      std::vector<U> now(count + 2 * guard);
      x_backend.download(std::span<U>(now), static_cast<const U*>(data));
      return now;
    };
    x_guards.push_back([whole, count] {
      const std::vector<U> now = whole();
      for (std::size_t i = 0; i < guard; ++i) {
        if (now[i] != word || now[guard + count + i] != word) return false;
      }
      return true;
    });
    x_outputs.push_back([whole, count] {
      const std::vector<U> now = whole();
      Written result;
      for (std::size_t i = guard; i < guard + count; ++i) result.values.push_back(static_cast<double>(now[i]));
      const auto bytes = std::as_bytes(std::span<const U>(now).subspan(guard, count));
      result.bytes.assign(bytes.begin(), bytes.end());
      return result;
    });
    return data + guard;
  }

  const B& x_backend;
  std::mt19937_64 x_random;
  std::vector<Buffer> x_buffers;
  std::vector<std::function<Written()>> x_outputs;
  std::vector<std::function<bool()>> x_guards;
};

}  // namespace dssl::test
