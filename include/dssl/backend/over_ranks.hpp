// Numbers in a backend's memory, summed or gathered over the ranks of a run.
// Tests: tests/train/ranks.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <span>

#include <dssl/backend/concept.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/device_exchange.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

// Numbers go through the host's memory, but sums and parts of a device's where `Communicator::device` adds them; a rank alone
// downloads nothing and returns at once.

/// Optional: a backend of a device, that does its work in the order of one stream.
///
/// stream(): as its library has it. rehearsing(): whether nothing is given to the device now (`Rehearses`).
template <class B>
concept WorksInStream = requires(const B& b) {
  { b.stream() } -> std::same_as<void*>;
  { b.rehearsing() } -> std::same_as<bool>;
};

/// Whether devices add what lies in the memory of such a backend; else it goes through the host's.
template <Backend B>
[[nodiscard]] bool devices_add(const Communicator& ranks) {
  return WorksInStream<B> && ranks.device() != nullptr;
}

namespace detail {

/// Whether a device exchange has done what go(exchange, numbers) asks of it; in a rehearsal it is not asked.
template <Backend B, class Go>
bool done_by_devices(const B& backend, const Communicator& ranks, VectorView<typename B::Scalar> values, const Go& go) {
  if constexpr (WorksInStream<B>) {
    if (!devices_add<B>(ranks)) return false;
    if (!backend.rehearsing()) {
      go(*ranks.device(), DeviceNumbers{values.data(), values.size(), sizeof(typename B::Scalar), backend.stream()});
    }
    return true;
  }
  return false;
}

/// Copies numbers of the backend's memory from `first` on to the host, and back.
template <Backend B, class T = typename B::Scalar>
auto reader_of(const B& backend, VectorView<T> values) {
  return [&backend, values](Index first, std::span<T> to) { backend.download(to, static_cast<const T*>(values.data() + first)); };
}
template <Backend B, class T = typename B::Scalar>
auto writer_of(const B& backend, VectorView<T> values) {
  return [&backend, values](Index first, std::span<const T> from) { backend.upload(values.data() + first, from); };
}

}  // namespace detail

/// values (n) = their sum over ranks.
template <Backend B>
void sum_over_ranks(const B& backend, const Communicator& ranks, VectorView<typename B::Scalar> values,
                    SentAs as = SentAs::whole) {
  if (ranks.alone() || values.empty()) return;
  const auto by_devices = [](DeviceExchange& exchange, const DeviceNumbers& numbers) { exchange.all_sum(numbers); };
  if (as == SentAs::whole && detail::done_by_devices(backend, ranks, values, by_devices)) return;
  ranks.all_sum<typename B::Scalar>(values.size(), as, detail::reader_of(backend, values), detail::writer_of(backend, values));
}

/// This rank's part of values (n) = their sum over ranks; the others are as they were.
template <Backend B>
void sum_parts_over_ranks(const B& backend, const Communicator& ranks, VectorView<typename B::Scalar> values,
                          const RankPart& part, SentAs as) {
  const auto by_devices = [&](DeviceExchange& exchange, const DeviceNumbers& numbers) { exchange.sum_parts(numbers, part); };
  if (as == SentAs::whole && detail::done_by_devices(backend, ranks, values, by_devices)) return;
  ranks.sum_parts<typename B::Scalar>(part, values.size(), as, detail::reader_of(backend, values),
                                      detail::writer_of(backend, values));
}

/// values (n) = of each rank its part.
template <Backend B>
void gather_parts_over_ranks(const B& backend, const Communicator& ranks, VectorView<typename B::Scalar> values,
                             const RankPart& part) {
  const auto by_devices = [&](DeviceExchange& exchange, const DeviceNumbers& numbers) { exchange.gather_parts(numbers, part); };
  if (detail::done_by_devices(backend, ranks, values, by_devices)) return;
  ranks.gather_parts<typename B::Scalar>(part, values.size(), detail::reader_of(backend, values),
                                         detail::writer_of(backend, values));
}

/// values (n) = scale log(sum over ranks of exp(value / scale)), of the ranks that have some: `here`. Where none has they
/// stay as they were.
template <Backend B>
void log_sum_over_ranks(const B& backend, const Communicator& ranks, VectorView<typename B::Scalar> values, bool here,
                        double scale) {
  using T = typename B::Scalar;
  if (ranks.alone() || values.empty()) return;
  const std::span<T> host = ranks.room<T>(static_cast<std::size_t>(values.size()));
  if (here) {
    backend.download(host, static_cast<const T*>(values.data()));
  } else {
    std::fill(host.begin(), host.end(), -std::numeric_limits<T>::infinity());
  }
  ranks.all_log_sum(host, scale);
  if (!here && std::isinf(host.front())) return;
  backend.upload(values.data(), std::span<const T>(host));
}

/// out (groups size n,D) = the rows of all ranks, x (groups n,D) of each: row i of a group of rank r is row r + size i of
/// that group, as images are numbered in the whole batch. A copy for a rank alone.
template <Backend B>
void gather_over_ranks(const B& backend, const Communicator& ranks, MatrixView<typename B::Scalar> out,
                       MatrixView<const typename B::Scalar> x, Index groups) {
  using T = typename B::Scalar;
  if (ranks.alone()) return backend.copy_rows(out, {}, x, {});
  const Index size = ranks.size(), each = x.rows() / groups, width = x.cols();
  require_shape(out.rows() == size * x.rows() && each * groups == x.rows(), "gather_over_ranks: ", x.rows(), " rows in ",
                groups, " groups of each of ", size, " ranks into ", out.rows());
  const std::span<T> own = ranks.room<T>(static_cast<std::size_t>(x.size()));
  const std::span<T> all = ranks.room<T>(static_cast<std::size_t>(out.size()), 1);
  backend.download(own, x.data());
  ranks.all_gather(all, std::span<const T>(own));
  const std::span<T> ordered = ranks.room<T>(static_cast<std::size_t>(out.size()));
  for (Index r = 0; r < size; ++r) {
    for (Index g = 0; g < groups; ++g) {
      for (Index i = 0; i < each; ++i) {
        std::copy_n(all.begin() + ((r * groups + g) * each + i) * width, width,
                    ordered.begin() + ((g * each + i) * size + r) * width);
      }
    }
  }
  backend.upload(out.data(), std::span<const T>(ordered));
}

}  // namespace dssl
