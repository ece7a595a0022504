// Ranks on threads: sums and gathers in the order of ranks, what is counted, and what happens when one is missing.
#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "ranks.hpp"
#include "thrown.hpp"

#include <dssl/core/bf16.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/random.hpp>

using namespace dssl;

namespace {

/// Numbers of a rank, of sizes far apart so that the order of a sum shows.
template <class T>
std::vector<T> numbers_of_rank(Index rank, std::size_t count) {
  RandomStream random({.seed = 3, .sample = static_cast<std::uint64_t>(rank)});
  std::vector<T> out(count);
  for (T& value : out) value = static_cast<T>(random.normal() * std::pow(10.0, random.uniform(-6, 6)));
  return out;
}

/// A number as bf16 has it.
template <class T>
T rounded(T value) {
  return static_cast<T>(static_cast<float>(Bf16(static_cast<float>(value))));
}

/// What a sum over ranks gives, to the bit.
template <class T>
std::vector<T> sum_of_ranks(Index size, std::size_t count, bool bf16) {
  std::vector<double> sums(count);
  for (Index r = 0; r < size; ++r) {
    const auto own = numbers_of_rank<T>(r, count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto value = static_cast<double>(bf16 ? rounded(own[i]) : own[i]);
      sums[i] = r == 0 ? value : sums[i] + value;
    }
  }
  return {sums.begin(), sums.end()};
}

template <class T>
void check_sums(Index size, std::size_t count, SentAs as = SentAs::whole) {
  INFO(size << " ranks, " << count << " numbers of " << sizeof(T) << " bytes, " << name_of(as));
  const bool bf16 = as == SentAs::bf16;
  const bool few = !bf16 && count * sizeof(T) <= Communicator::few_bytes;
  std::vector<T> expected = sum_of_ranks<T>(size, count, bf16);
  if (bf16) std::ranges::transform(expected, expected.begin(), rounded<T>);
  std::vector<std::vector<T>> found(static_cast<std::size_t>(size));
  std::vector<RankTraffic> sent(found.size());
  const auto words = test::on_ranks(size, [&](const Communicator& ranks) {
    auto values = numbers_of_rank<T>(ranks.rank(), count);
    ranks.all_sum(std::span(values), as);
    found[static_cast<std::size_t>(ranks.rank())] = values;
    sent[static_cast<std::size_t>(ranks.rank())] = ranks.traffic();
  });
  CHECK(words == test::no_words(size));
  for (const auto& values : found) CHECK((values == expected));
  const std::size_t each = bf16 ? 2 : sizeof(T);
  const std::size_t bytes = count * each;
  const auto others = static_cast<std::size_t>(size - 1);
  if (few) {
    CHECK(sent[0] == RankTraffic{1, static_cast<std::int64_t>(others * bytes)});
  } else {
    // Two exchanges of a share each, whole numbers of values in every piece.
    const double share = 2.0 * static_cast<double>(others) * static_cast<double>(bytes) / static_cast<double>(size);
    CHECK(static_cast<double>(sent[0].bytes) >= share);
    CHECK(static_cast<double>(sent[0].bytes) < share + static_cast<double>(2 * others * each));
  }
}

/// Numbers of which each rank has a part: its sums, to the bit those of `all_sum`, then all of them on every rank.
template <class T>
void check_parts(Index size, Index count, SentAs as) {
  INFO(size << " ranks, " << count << " numbers of " << sizeof(T) << " bytes, " << name_of(as));
  const auto numbers = static_cast<std::size_t>(count);
  const std::vector<T> expected = sum_of_ranks<T>(size, numbers, as == SentAs::bf16);
  Index parts = 0;
  std::vector<std::uint8_t> right(static_cast<std::size_t>(size));
  const auto words = test::on_ranks(size, [&](const Communicator& ranks) {
    const auto own = numbers_of_rank<T>(ranks.rank(), numbers);
    std::vector<T> values = own;
    const RankPart part = RankPart::of(count, size, ranks.rank());
    const auto read = [&](Index first, std::span<T> to) { std::copy_n(values.begin() + first, to.size(), to.begin()); };
    const auto write = [&](Index first, std::span<const T> from) { std::ranges::copy(from, values.begin() + first); };
    ranks.sum_parts<T>(part, count, as, read, write);
    bool as_told = true;
    for (Index i = 0; i < count; ++i) {
      const bool mine = i >= part.first && i < part.first + part.size;
      as_told = as_told && values[static_cast<std::size_t>(i)] == (mine ? expected : own)[static_cast<std::size_t>(i)];
    }
    const RankTraffic summed = ranks.traffic();
    ranks.gather_parts<T>(part, count, read, write);
    const RankTraffic told = ranks.traffic();
    const Index sent = (size - 1) * part.share * static_cast<Index>(as == SentAs::bf16 ? 2 : sizeof(T));
    as_told = as_told && values == expected && summed.bytes == sent &&
              told.bytes - sent == (size - 1) * part.share * static_cast<Index>(sizeof(T));
    right[static_cast<std::size_t>(ranks.rank())] = as_told ? 1 : 0;
    if (ranks.sum_room() > ranks.sum_room<T>(part.share, as, true)) throw Error("more room than planned");
  });
  CHECK(words == test::no_words(size));
  CHECK(right == std::vector<std::uint8_t>(right.size(), 1));
  for (Index r = 0; r < size; ++r) {
    const RankPart part = RankPart::of(count, size, r);
    CHECK(part.first == parts);
    CHECK((part.size == part.share || part.first + part.size == count));
    parts += part.size;
  }
  CHECK(parts == count);
}

/// One of many ranks that all have the same numbers.
class Alike final : public RankExchange {
 public:
  Alike(Index size, bool copies) : x_size(size), x_copies(copies) {}
  [[nodiscard]] Index rank() const override { return 3; }
  [[nodiscard]] Index size() const override { return x_size; }
  void all_to_all(std::span<std::byte> out, std::span<const std::byte> in) override {
    const std::size_t each = in.size() / static_cast<std::size_t>(x_size);
    all_gather(out, in.subspan(3 * each, each));
  }
  void all_gather(std::span<std::byte> out, std::span<const std::byte> in) override {
    for (std::size_t r = 0; r < static_cast<std::size_t>(x_size); ++r) {
      std::ranges::copy(in, out.begin() + static_cast<std::ptrdiff_t>(r * in.size()));
    }
  }
  void leave(std::string_view /*why*/) noexcept override {}
  [[nodiscard]] bool copies() const override { return x_copies; }

 private:
  Index x_size;
  bool x_copies;
};

}  // namespace

TEST_CASE("one rank alone exchanges nothing") {
  const Communicator alone;
  CHECK(alone.alone());
  CHECK(alone.first());
  CHECK(alone.size() == 1);
  std::vector<double> values{1, 2};
  alone.all_sum(std::span(values));
  alone.all_log_sum(std::span(values), 0.1);
  CHECK(values == std::vector<double>{1, 2});
  std::vector<double> out(2);
  alone.all_gather(std::span(out), std::span<const double>(values));
  CHECK(out == values);
  CHECK(alone.any(true));
  CHECK_FALSE(alone.any(false));
  CHECK(alone.traffic() == RankTraffic{});
  CHECK(ThreadRanks(1).communicator(0).alone());
}

TEST_CASE("sums over ranks have the bits of a sum in their order, whatever the number of numbers") {
  for (const Index size : {2, 3, 4}) {
    check_sums<float>(size, 1);
    check_sums<double>(size, 37);
    check_sums<float>(size, 1025);
  }
  check_sums<float>(3, 900'000);  // several pieces, the last one not full
}

TEST_CASE("sums that are sent in bf16 have the bits of rounded numbers, and half the bytes") {
  for (const Index size : {2, 3}) {
    check_sums<float>(size, 37, SentAs::bf16);  // few, too
    check_sums<float>(size, 1025, SentAs::bf16);
    check_sums<double>(size, 1025, SentAs::bf16);
  }
  check_sums<float>(3, 1'800'000, SentAs::bf16);
  // Ties to even; what is no number, and what is beyond the largest.
  const auto of = [](float x) { return static_cast<float>(Bf16(x)); };
  CHECK(of(1) == 1);
  CHECK(of(-0x1.01p0F) == -1);
  CHECK(of(0x1.03p0F) == 0x1.04p0F);
  CHECK(of(0x1.0101p0F) == 0x1.02p0F);
  CHECK(of(0x1p-140F) == 0);
  CHECK(of(0x1p-133F) == 0x1p-133F);
  CHECK(std::isinf(of(std::numeric_limits<float>::max())));
  CHECK(std::isnan(of(std::numeric_limits<float>::quiet_NaN())));
  CHECK(std::isnan(of(std::bit_cast<float>(0x7f800001U))));
}

TEST_CASE("numbers that each rank has a part of are summed where they belong and told to all") {
  for (const SentAs as : {SentAs::whole, SentAs::bf16}) {
    for (const Index size : {2, 3, 4}) {
      check_parts<float>(size, 5, as);  // of which one rank has all
      check_parts<double>(size, 1030, as);
    }
    check_parts<float>(3, 1'700'000, as);  // several pieces, the last one not full
  }
  const RankPart part = RankPart::of(100, 4, 1);
  CHECK((part.share == 32 && part.first == 32 && part.size == 32));
  CHECK(part.overlap(30, 10) == std::pair<Index, Index>(0, 8));
  CHECK(part.overlap(60, 10) == std::pair<Index, Index>(28, 4));
  CHECK(part.overlap(0, 32) == std::pair<Index, Index>(0, 0));
  CHECK(part.overlap(0, 100) == std::pair<Index, Index>(0, 32));
  CHECK(RankPart::of(100, 4, 3).size == 4);
  CHECK(RankPart::of(5, 4, 2).size == 0);
}

TEST_CASE("what sums lie in is bounded, however many the ranks, and told before") {
  const Index size = 256, count = 12'000'000;
  for (const bool copies : {false, true}) {
    const Communicator ranks(std::make_shared<Alike>(size, copies));
    std::vector<float> values(static_cast<std::size_t>(count), 0.5F);
    ranks.all_sum(std::span(values));
    CHECK(std::ranges::count(values, 128.0F) == count);
    const std::size_t planned = ranks.sum_room<float>((count + size - 1) / size, SentAs::whole, false);
    const std::size_t numbers = Communicator::exchange_bytes / static_cast<std::size_t>(size);
    CHECK(planned == (copies ? 4U : 2U) * Communicator::exchange_bytes + numbers);
    CHECK(ranks.sum_room() == 2 * Communicator::exchange_bytes + numbers);
    CHECK(ranks.traffic().exchanges == 4);
  }
  CHECK(Communicator().sum_room<float>(1000, SentAs::whole, false) == 0);
}

TEST_CASE("sums of exponentials, gathers and decisions over ranks") {
  std::vector<double> sums(3);
  std::vector<Index> gathered;
  std::vector<std::uint8_t> decided(3);
  const auto words = test::on_ranks(3, [&](const Communicator& ranks) {
    const auto r = static_cast<std::size_t>(ranks.rank());
    const double none = -std::numeric_limits<double>::infinity();
    std::vector<double> values{0.1 * static_cast<double>(r), r == 1 ? none : 500.0 + static_cast<double>(r), none};
    ranks.all_log_sum(std::span(values), 0.5);
    if (ranks.first()) sums = values;
    const auto said = ranks.all_say(10 * ranks.rank());
    if (r == 2) gathered = said;
    decided[r] = static_cast<std::uint8_t>((ranks.any(r == 1) ? 1 : 0) + (ranks.any(false) ? 2 : 0));
  });
  CHECK(words == test::no_words(3));
  CHECK(sums[0] == Approx(0.5 * std::log(1 + std::exp(0.2) + std::exp(0.4))).epsilon(1e-14));
  CHECK(sums[1] == Approx(502 + 0.5 * std::log1p(std::exp(-4.0))).epsilon(1e-14));
  CHECK(std::isinf(sums[2]));
  CHECK(gathered == std::vector<Index>{0, 10, 20});
  CHECK(decided == std::vector<std::uint8_t>{1, 1, 1});
}

TEST_CASE("a rank that leaves, hangs or does something else ends the others, in words") {
  const auto exchange = [](const Communicator& ranks) { static_cast<void>(ranks.all_say(1)); };
  auto words = test::on_ranks(3, [&](const Communicator& ranks) {
    exchange(ranks);
    if (ranks.rank() == 1) throw DataError("no images");
    exchange(ranks);
  });
  CHECK(words == std::vector<std::string>{"rank 1 left the run: no images", "no images", "rank 1 left the run: no images"});

  words = test::on_ranks(
      3,
      [&](const Communicator& ranks) {
        if (ranks.rank() == 2) return;
        if (ranks.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        exchange(ranks);
      },
      std::chrono::milliseconds(200));
  CHECK(words == std::vector<std::string>{"rank 2 was not heard of for 0.2 s", "rank 2 was not heard of for 0.2 s", ""});

  words = test::on_ranks(2, [&](const Communicator& ranks) {
    std::vector<double> values(ranks.first() ? 2 : 3);
    ranks.all_sum(std::span(values));
  });
  CHECK(words == std::vector<std::string>(2, "rank 1 exchanges 24 bytes where rank 0 exchanges 16"));

  CHECK(test::contains(test::thrown_by<OptionError>([] { ThreadRanks(0); }), "'ranks' is 0"));
}
