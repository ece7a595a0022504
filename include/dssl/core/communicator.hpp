// The ranks that share one run: sums, gathers and decisions over all of them.
// Tests: tests/core/communicator.cpp, tests/train/ranks.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// What carries bytes between ranks: `ThreadRanks` within a process, `MpiRanks` between processes. All ranks call the same
/// functions in the same order with spans of the same sizes; each is for one thread at a time.
///
/// Throws `RankError` in bounded time where another rank has left, or is not heard of.
class RankExchange {
 public:
  RankExchange() = default;
  RankExchange(const RankExchange&) = delete;
  RankExchange& operator=(const RankExchange&) = delete;
  virtual ~RankExchange() = default;

  [[nodiscard]] virtual Index rank() const = 0;
  [[nodiscard]] virtual Index size() const = 0;
  /// out (size,n) = block `rank()` of every rank's `in` (size,n), in the order of ranks.
  virtual void all_to_all(std::span<std::byte> out, std::span<const std::byte> in) = 0;
  /// out (size,n) = every rank's `in` (n), in the order of ranks.
  virtual void all_gather(std::span<std::byte> out, std::span<const std::byte> in) = 0;
  /// Tells the others, who wait or will, that this rank takes part no more, and why. Later exchanges throw.
  virtual void leave(std::string_view why) noexcept = 0;
};

/// The message of the `RankError` that other ranks get where one leaves.
[[nodiscard]] inline std::string left_words(Index rank, std::string_view why) {
  return join("rank ", rank, " left the run: ", why);
}

/// What a rank has sent, to all others together.
struct RankTraffic {
  std::int64_t exchanges = 0;  ///< calls of the transport: each a message to every other rank
  std::int64_t bytes = 0;

  [[nodiscard]] bool operator==(const RankTraffic&) const = default;
};

/// The ranks of a run. By default there is one, nothing is exchanged, and every function returns at once.
///
/// A cheap value; copies share one transport and its buffers. What is exchanged lies in host memory. Sums are taken in the
/// order of ranks, in double, so they have the same bits on every rank, and from run to run at one size.
///
/// Few calls a step, each through one virtual call: which transport it is, is no part of a trainer's type.
class Communicator {
 public:
  /// One rank alone.
  Communicator() = default;
  explicit Communicator(std::shared_ptr<RankExchange> exchange) {
    if (exchange && exchange->size() > 1) x_state = std::make_shared<x_State>(std::move(exchange));
  }

  [[nodiscard]] bool alone() const { return x_state == nullptr; }
  [[nodiscard]] Index rank() const { return alone() ? 0 : x_state->exchange->rank(); }
  [[nodiscard]] Index size() const { return alone() ? 1 : x_state->exchange->size(); }
  /// Whether this rank is the one that writes files and tells of progress.
  [[nodiscard]] bool first() const { return rank() == 0; }

  /// values (n) = their sum over ranks.
  ///
  /// Each rank adds a share of the numbers: bytes sent 2 (size - 1) / size of theirs, in pieces of at most `piece_bytes`
  /// for each rank; few numbers go to every rank as they are.
  template <class T>
  void all_sum(std::span<T> values) const {
    x_reduce(values, [n = size()](const auto& of) {
      double sum = static_cast<double>(of(0));
      for (Index r = 1; r < n; ++r) sum += static_cast<double>(of(r));
      return static_cast<T>(sum);
    });
  }
  /// values (n) = scale log(sum over ranks exp(value / scale)); minus infinity stands for nothing.
  template <class T>
  void all_log_sum(std::span<T> values, double scale) const {
    x_reduce(values, [n = size(), scale](const auto& of) {
      double largest = static_cast<double>(of(0));
      for (Index r = 1; r < n; ++r) largest = std::max(largest, static_cast<double>(of(r)));
      if (std::isinf(largest)) return static_cast<T>(largest);
      double sum = 0;
      for (Index r = 0; r < n; ++r) sum += std::exp((static_cast<double>(of(r)) - largest) / scale);
      return static_cast<T>(largest + scale * std::log(sum));
    });
  }
  /// out (size,n) = every rank's `own` (n), in the order of ranks.
  template <class T>
  void all_gather(std::span<T> out, std::span<const T> own) const {
    static_assert(std::is_trivially_copyable_v<T>);
    require_shape(out.size() == own.size() * static_cast<std::size_t>(size()), "all_gather: ", own.size(), " numbers of each of ",
                  size(), " ranks into ", out.size());
    if (alone()) {
      std::copy(own.begin(), own.end(), out.begin());
    } else if (!own.empty()) {
      x_state->all_gather(std::as_writable_bytes(out), std::as_bytes(own));
    }
  }
  /// What each rank says, in the order of ranks: for small decisions.
  template <class Said>
  [[nodiscard]] std::vector<Said> all_say(const Said& own) const {
    std::vector<Said> out(static_cast<std::size_t>(size()));
    all_gather(std::span<Said>(out), std::span<const Said>(&own, 1));
    return out;
  }
  /// Whether any rank says so.
  [[nodiscard]] bool any(bool own) const {
    if (alone()) return own;
    const auto said = all_say(static_cast<std::uint8_t>(own ? 1 : 0));
    return std::ranges::find(said, std::uint8_t{1}) != said.end();
  }
  /// `RankExchange::leave`; nothing for one rank alone.
  void leave(std::string_view why) const noexcept {
    if (!alone()) x_state->exchange->leave(why);
  }

  /// Room for so many numbers that go out or come in, kept from call to call: number `slot` of a few.
  template <class T>
  [[nodiscard]] std::span<T> room(std::size_t count, std::size_t slot = 0) const {
    return x_room<T>(x_state->rooms.at(slot), count);
  }

  /// What this rank has sent so far, all copies together.
  [[nodiscard]] RankTraffic traffic() const { return alone() ? RankTraffic{} : x_state->traffic; }

  static constexpr std::size_t piece_bytes = std::size_t{1} << 20U;  ///< of a sum, for each rank at a time
  static constexpr std::size_t few_bytes = std::size_t{1} << 12U;    ///< of numbers that every rank adds by itself

 private:
  struct x_State {
    explicit x_State(std::shared_ptr<RankExchange> of) : exchange(std::move(of)) {}

    void all_to_all(std::span<std::byte> out, std::span<const std::byte> in) {
      x_count(in.size() / static_cast<std::size_t>(exchange->size()));
      exchange->all_to_all(out, in);
    }
    void all_gather(std::span<std::byte> out, std::span<const std::byte> in) {
      x_count(in.size());
      exchange->all_gather(out, in);
    }
    void x_count(std::size_t to_each) {
      ++traffic.exchanges;
      traffic.bytes += (exchange->size() - 1) * static_cast<std::int64_t>(to_each);
    }

    std::shared_ptr<RankExchange> exchange;
    RankTraffic traffic;
    std::vector<std::byte> from, to;  // what pieces lie in
    std::array<std::vector<std::byte>, 2> rooms;
  };

  /// Room for so many numbers; not their values from before.
  template <class T>
  static std::span<T> x_room(std::vector<std::byte>& bytes, std::size_t count) {
    if (bytes.size() < count * sizeof(T)) bytes.resize(count * sizeof(T));
    return {reinterpret_cast<T*>(bytes.data()), count};
  }

  /// value i = combine(of), where of(r) is value i of rank r.
  template <class T, class Combine>
  void x_reduce(std::span<T> values, const Combine& combine) const {
    if (alone() || values.empty()) return;
    const auto ranks = static_cast<std::size_t>(size());
    x_State& state = *x_state;
    const auto combined = [&](std::span<const T> of_all, std::size_t each, std::size_t i) {
      return combine([&](Index r) { return of_all[static_cast<std::size_t>(r) * each + i]; });
    };
    if (values.size_bytes() <= few_bytes) {
      const std::span<T> all = x_room<T>(state.to, ranks * values.size());
      state.all_gather(std::as_writable_bytes(all), std::as_bytes(std::span<const T>(values)));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = combined(all, values.size(), i);
      return;
    }
    for (std::span<T> rest = values; !rest.empty();) {
      const std::size_t each = std::min((rest.size() + ranks - 1) / ranks, piece_bytes / sizeof(T));
      const std::span<T> piece = rest.first(std::min(rest.size(), each * ranks));
      const std::span<T> from = x_room<T>(state.from, each * ranks), to = x_room<T>(state.to, each * ranks);
      std::fill(std::ranges::copy(piece, from.begin()).out, from.end(), T{0});
      state.all_to_all(std::as_writable_bytes(to), std::as_bytes(std::span<const T>(from)));
      const std::span<T> own = from.first(each);
      for (std::size_t i = 0; i < each; ++i) own[i] = combined(to, each, i);
      state.all_gather(std::as_writable_bytes(to), std::as_bytes(std::span<const T>(own)));
      std::ranges::copy(to.first(piece.size()), piece.begin());
      rest = rest.subspan(piece.size());
    }
  }

  std::shared_ptr<x_State> x_state;  // none: alone
};

}  // namespace dssl
