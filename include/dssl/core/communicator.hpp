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

#include <dssl/core/bf16.hpp>
#include <dssl/core/device_exchange.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/rank_part.hpp>
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
  /// Throws `RankError` where it is known that another rank has left. Does not wait.
  virtual void listen() {}
  /// Whether exchanges may be called on one thread after another, or on the one that made it alone.
  [[nodiscard]] virtual bool on_any_thread() const { return true; }
  /// Whether it keeps copies of what goes out and comes in, as many bytes as the largest exchange had.
  [[nodiscard]] virtual bool copies() const { return false; }
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

/// How the numbers of a sum are sent.
enum class SentAs : std::uint8_t {
  whole,  ///< as they are
  bf16    ///< rounded to `Bf16`, a half of a float's bytes: what each rank adds, and their sum, which is taken in double
};

/// The name that programs use.
[[nodiscard]] constexpr std::string_view name_of(SentAs as) { return as == SentAs::whole ? "full" : "bf16"; }

/// The ranks of a run. By default there is one, nothing is exchanged, and every function returns at once.
///
/// A cheap value; copies share one transport and its buffers. What is exchanged lies in host memory. Sums are taken in the
/// order of ranks, in double, so they have the same bits on every rank, and from run to run at one size. Where ranks have
/// devices that add what lies in their memory (`with`), whoever has such numbers asks `device`.
///
/// Few calls a step, each through one virtual call: which transport it is, is no part of a trainer's type.
class Communicator {
  struct x_State;

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

  /// The same ranks, that add numbers of their devices by `exchange`. Nothing of it for one rank alone.
  [[nodiscard]] Communicator with(std::shared_ptr<DeviceExchange> exchange) const {
    Communicator out = *this;
    if (!alone()) out.x_device = std::move(exchange);
    return out;
  }
  /// What adds numbers in the memory of devices; null where these go through the host's.
  [[nodiscard]] DeviceExchange* device() const { return x_device.get(); }

  /// While one lives, nothing goes to other ranks: each is taken to have what this one has. For work that is called to see
  /// what it needs (`Rehearses`).
  class Quiet {
   public:
    explicit Quiet(const Communicator& ranks) : x_state(ranks.x_state) { x_be(true); }
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;
    ~Quiet() { x_be(false); }

   private:
    void x_be(bool quiet) {
      if (x_state) x_state->quiet = quiet;
    }
    std::shared_ptr<x_State> x_state;
  };

  /// values (n) = their sum over ranks.
  ///
  /// Each rank adds a share of the numbers: bytes sent 2 (size - 1) / size of theirs, in pieces (`piece_of`); few that are
  /// sent whole go to every rank.
  template <class T>
  void all_sum(std::span<T> values, SentAs as = SentAs::whole) const {
    all_sum<T>(static_cast<Index>(values.size()), as, x_reader(std::span<const T>(values)), x_writer(values));
  }
  /// The same of n numbers in another memory: read(first, to) copies those from `first` on, write(first, from) puts them back.
  template <class T, class Read, class Write>
  void all_sum(Index count, SentAs as, const Read& read, const Write& write) const {
    x_reduce<T>(count, as, read, write, x_sum);
  }
  /// Of numbers of which each rank has a part: its own = their sum over ranks. The others stay as they are.
  ///
  /// Half of the bytes of `all_sum`; few numbers are treated as many.
  template <class T, class Read, class Write>
  void sum_parts(const RankPart& part, Index count, SentAs as, const Read& read, const Write& write) const {
    if (alone() || count == 0) return;
    const auto write_own = [&](Index first, std::span<const T> sums) {
      const Index here = std::clamp(part.size - first, Index{0}, static_cast<Index>(sums.size()));
      if (here > 0) write(part.first + first, sums.first(static_cast<std::size_t>(here)));
    };
    if (as == SentAs::bf16) return x_sum_shares<T, Bf16>(part.share, count, read, x_sum, write_own);
    x_sum_shares<T, T>(part.share, count, read, x_sum, write_own);
  }
  /// Tells every rank the others' parts of n numbers.
  template <class T, class Read, class Write>
  void gather_parts(const RankPart& part, Index count, const Read& read, const Write& write) const {
    if (alone() || count == 0) return;
    const Index each = piece_of(part.share, sizeof(T));
    for (Index done = 0; done < part.share; done += each) {
      const Index piece = std::min(each, part.share - done);
      const std::span<T> own = x_room<T>(x_state->from, piece);
      std::fill(own.begin(), own.end(), T{0});
      const Index here = std::clamp(part.size - done, Index{0}, piece);
      if (here > 0) read(part.first + done, own.first(static_cast<std::size_t>(here)));
      x_tell<T, T>(part.share, count, done, std::span<const T>(own), write);
    }
  }
  /// values (n) = scale log(sum over ranks exp(value / scale)); minus infinity stands for nothing.
  template <class T>
  void all_log_sum(std::span<T> values, double scale) const {
    x_reduce<T>(static_cast<Index>(values.size()), SentAs::whole, x_reader(std::span<const T>(values)), x_writer(values),
                [scale](Index ranks, const auto& of) {
                  double largest = of(0);
                  for (Index r = 1; r < ranks; ++r) largest = std::max(largest, of(r));
                  if (std::isinf(largest)) return largest;
                  double sum = 0;
                  for (Index r = 0; r < ranks; ++r) sum += std::exp((of(r) - largest) / scale);
                  return largest + scale * std::log(sum);
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
  /// Whether exchanges may be called on one thread after another.
  [[nodiscard]] bool on_any_thread() const { return alone() || x_state->exchange->on_any_thread(); }
  /// `RankExchange::leave`; nothing for one rank alone.
  void leave(std::string_view why) const noexcept {
    if (!alone()) x_state->exchange->leave(why);
  }
  /// `RankExchange::listen`; nothing for one rank alone.
  void listen() const {
    if (!alone()) x_state->exchange->listen();
  }

  /// Room for so many numbers that go out or come in, kept from call to call: number `slot` of a few.
  template <class T>
  [[nodiscard]] std::span<T> room(std::size_t count, std::size_t slot = 0) const {
    return x_room<T>(x_state->rooms.at(slot), static_cast<Index>(count));
  }

  /// What this rank has sent so far, all copies together.
  [[nodiscard]] RankTraffic traffic() const { return alone() ? RankTraffic{} : x_state->traffic; }

  /// Numbers of a share, of so many bytes as they are sent, that are exchanged at a time.
  [[nodiscard]] Index piece_of(Index share, std::size_t number_bytes) const {
    const std::size_t bytes = std::min(piece_bytes, exchange_bytes / static_cast<std::size_t>(size()));
    return std::min(share, std::max(Index{1}, static_cast<Index>(bytes / number_bytes)));
  }
  /// Bytes that sums of numbers of T keep from call to call, where each rank has so many of them: for what goes out and what
  /// comes in, and the transport's copies of both. `parts`: of `sum_parts` and `gather_parts`.
  template <class T>
  [[nodiscard]] std::size_t sum_room(Index share, SentAs as, bool parts) const {
    if (alone()) return 0;
    const auto ranks = static_cast<std::size_t>(size());
    const std::size_t sent = as == SentAs::bf16 ? sizeof(Bf16) : sizeof(T);
    const auto piece = static_cast<std::size_t>(piece_of(share, sent));
    const std::size_t told = parts ? sizeof(T) * static_cast<std::size_t>(piece_of(share, sizeof(T))) : 0;
    const std::size_t out = std::max(ranks * piece * sent, told), in = std::max(ranks * piece * sent, ranks * told);
    return (x_state->exchange->copies() ? 2U : 1U) * (out + in) + piece * sizeof(T);
  }
  /// Bytes that sums keep now, without the transport's copies.
  [[nodiscard]] std::size_t sum_room() const {
    return alone() ? 0 : x_state->from.size() + x_state->to.size() + x_state->numbers.size();
  }

  static constexpr std::size_t piece_bytes = std::size_t{1} << 20U;     ///< of a sum, for each rank at a time, at most
  static constexpr std::size_t exchange_bytes = std::size_t{1} << 25U;  ///< for all ranks together, at most
  static constexpr std::size_t few_bytes = std::size_t{1} << 12U;       ///< of numbers that every rank adds by itself

 private:
  struct x_State {
    explicit x_State(std::shared_ptr<RankExchange> of) : exchange(std::move(of)) {}

    void all_to_all(std::span<std::byte> out, std::span<const std::byte> in) {
      const std::size_t each = in.size() / static_cast<std::size_t>(exchange->size());
      if (quiet) return x_repeat(out, in.subspan(static_cast<std::size_t>(exchange->rank()) * each, each));
      x_count(each);
      exchange->all_to_all(out, in);
    }
    void all_gather(std::span<std::byte> out, std::span<const std::byte> in) {
      if (quiet) return x_repeat(out, in);
      x_count(in.size());
      exchange->all_gather(out, in);
    }
    static void x_repeat(std::span<std::byte> out, std::span<const std::byte> in) {
      for (std::size_t at = 0; at < out.size(); at += in.size()) std::ranges::copy(in, out.begin() + static_cast<std::ptrdiff_t>(at));
    }
    void x_count(std::size_t to_each) {
      ++traffic.exchanges;
      traffic.bytes += (exchange->size() - 1) * static_cast<std::int64_t>(to_each);
    }

    std::shared_ptr<RankExchange> exchange;
    RankTraffic traffic;
    bool quiet = false;
    std::vector<std::byte> from, to;  // what pieces lie in
    std::vector<std::byte> numbers;   // of a rank's share of one
    std::array<std::vector<std::byte>, 2> rooms;
  };

  /// Room for so many numbers; not their values from before.
  template <class T>
  static std::span<T> x_room(std::vector<std::byte>& bytes, Index count) {
    const auto numbers = static_cast<std::size_t>(count);
    if (bytes.size() < numbers * sizeof(T)) bytes.resize(numbers * sizeof(T));
    return {reinterpret_cast<T*>(bytes.data()), numbers};
  }
  template <class T>
  static auto x_reader(std::span<const T> values) {
    return [values](Index first, std::span<T> to) {
      std::ranges::copy(values.subspan(static_cast<std::size_t>(first), to.size()), to.begin());
    };
  }
  template <class T>
  static auto x_writer(std::span<T> values) {
    return [values](Index first, std::span<const T> from) {
      std::ranges::copy(from, values.begin() + static_cast<std::ptrdiff_t>(first));
    };
  }
  /// Sent is T or Bf16, the numbers of T as they go out and come in.
  template <class Sent, class T>
  static Sent x_as(T value) {
    if constexpr (std::is_same_v<Sent, T>) {
      return value;
    } else if constexpr (std::is_same_v<Sent, Bf16>) {
      return Bf16(static_cast<float>(value));
    } else {
      return static_cast<Sent>(static_cast<float>(value));
    }
  }
  static constexpr auto x_sum = [](Index ranks, const auto& of) {
    double sum = of(0);
    for (Index r = 1; r < ranks; ++r) sum += of(r);
    return sum;
  };

  /// Each rank gets combine(ranks, of) of its share of the numbers, where of(r) is that of rank r: take(first, combined), from
  /// `first` of the share on, piece by piece; what lies behind the last number is 0.
  template <class T, class Sent, class Read, class Combine, class Take>
  void x_sum_shares(Index share, Index count, const Read& read, const Combine& combine, const Take& take) const {
    const Index ranks = size(), each = piece_of(share, sizeof(Sent));
    x_State& state = *x_state;
    for (Index done = 0; done < share; done += each) {
      const Index piece = std::min(each, share - done);
      const std::span<Sent> out = x_room<Sent>(state.from, piece * ranks);
      for (Index r = 0; r < ranks; ++r) {
        const auto block = out.subspan(static_cast<std::size_t>(r * piece), static_cast<std::size_t>(piece));
        const Index first = r * share + done, there = std::clamp(count - first, Index{0}, piece);
        std::fill(block.begin() + there, block.end(), Sent{});
        if (there == 0) continue;
        if constexpr (std::is_same_v<Sent, T>) {
          read(first, block.first(static_cast<std::size_t>(there)));
        } else {
          const std::span<T> numbers = x_room<T>(state.numbers, there);
          read(first, numbers);
          std::ranges::transform(numbers, block.begin(), x_as<Sent, T>);
        }
      }
      const std::span<Sent> in = x_room<Sent>(state.to, piece * ranks);
      state.all_to_all(std::as_writable_bytes(in), std::as_bytes(std::span<const Sent>(out)));
      const std::span<T> own = x_room<T>(state.numbers, piece);
      for (Index i = 0; i < piece; ++i) {
        const auto of = [&](Index r) { return static_cast<double>(x_as<T, Sent>(in[static_cast<std::size_t>(r * piece + i)])); };
        own[static_cast<std::size_t>(i)] = static_cast<T>(combine(ranks, of));
      }
      take(done, std::span<const T>(own));
    }
  }

  /// Every rank gets what each has of its share from `done` on, as many numbers as `own`.
  template <class T, class Sent, class Write>
  void x_tell(Index share, Index count, Index done, std::span<const Sent> own, const Write& write) const {
    const auto piece = static_cast<Index>(own.size());
    const std::span<Sent> all = x_room<Sent>(x_state->to, piece * size());
    x_state->all_gather(std::as_writable_bytes(all), std::as_bytes(own));
    for (Index r = 0; r < size(); ++r) {
      const Index first = r * share + done, there = std::clamp(count - first, Index{0}, piece);
      if (there == 0) continue;
      const auto block = all.subspan(static_cast<std::size_t>(r * piece), static_cast<std::size_t>(there));
      if constexpr (std::is_same_v<Sent, T>) {
        write(first, std::span<const T>(block));
      } else {
        const std::span<T> numbers = x_room<T>(x_state->numbers, there);
        std::ranges::transform(block, numbers.begin(), x_as<T, Sent>);
        write(first, std::span<const T>(numbers));
      }
    }
  }

  template <class T, class Read, class Write, class Combine>
  void x_reduce(Index count, SentAs as, const Read& read, const Write& write, const Combine& combine) const {
    if (alone() || count == 0) return;
    if (as == SentAs::whole && static_cast<std::size_t>(count) * sizeof(T) <= few_bytes) {
      x_State& state = *x_state;
      const std::span<T> own = x_room<T>(state.from, count), all = x_room<T>(state.to, count * size());
      read(0, own);
      state.all_gather(std::as_writable_bytes(all), std::as_bytes(std::span<const T>(own)));
      for (Index i = 0; i < count; ++i) {
        const auto of = [&](Index r) { return static_cast<double>(all[static_cast<std::size_t>(r * count + i)]); };
        own[static_cast<std::size_t>(i)] = static_cast<T>(combine(size(), of));
      }
      return write(0, std::span<const T>(own));
    }
    if (as == SentAs::bf16) return x_all_reduce<T, Bf16>(count, read, write, combine);
    x_all_reduce<T, T>(count, read, write, combine);
  }
  template <class T, class Sent, class Read, class Write, class Combine>
  void x_all_reduce(Index count, const Read& read, const Write& write, const Combine& combine) const {
    const Index share = (count + size() - 1) / size();
    x_sum_shares<T, Sent>(share, count, read, combine, [&](Index done, std::span<const T> sums) {
      const std::span<Sent> own = x_room<Sent>(x_state->from, static_cast<Index>(sums.size()));
      std::ranges::transform(sums, own.begin(), x_as<Sent, T>);
      x_tell<T, Sent>(share, count, done, std::span<const Sent>(own), write);
    });
  }

  std::shared_ptr<x_State> x_state;  // none: alone
  std::shared_ptr<DeviceExchange> x_device;
};

}  // namespace dssl
