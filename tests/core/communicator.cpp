// Ranks on threads: sums and gathers in the order of ranks, what is counted, and what happens when one is missing.
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "ranks.hpp"
#include "thrown.hpp"

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

template <class T>
void check_sums(Index size, std::size_t count) {
  INFO(size << " ranks, " << count << " numbers of " << sizeof(T) << " bytes");
  std::vector<double> sums(count);
  for (Index r = 0; r < size; ++r) {
    const auto own = numbers_of_rank<T>(r, count);
    for (std::size_t i = 0; i < count; ++i) sums[i] = r == 0 ? static_cast<double>(own[i]) : sums[i] + static_cast<double>(own[i]);
  }
  const std::vector<T> expected(sums.begin(), sums.end());
  std::vector<std::vector<T>> found(static_cast<std::size_t>(size));
  std::vector<RankTraffic> sent(found.size());
  const auto words = test::on_ranks(size, [&](const Communicator& ranks) {
    auto values = numbers_of_rank<T>(ranks.rank(), count);
    ranks.all_sum(std::span(values));
    found[static_cast<std::size_t>(ranks.rank())] = values;
    sent[static_cast<std::size_t>(ranks.rank())] = ranks.traffic();
  });
  CHECK(words == test::no_words(size));
  for (const auto& values : found) CHECK((values == expected));
  const std::size_t bytes = count * sizeof(T);
  const auto others = static_cast<std::size_t>(size - 1);
  if (bytes <= Communicator::few_bytes) {
    CHECK(sent[0] == RankTraffic{1, static_cast<std::int64_t>(others * bytes)});
  } else {
    // Two exchanges of a share each, whole numbers of values in every piece.
    const double share = 2.0 * static_cast<double>(others) * static_cast<double>(bytes) / static_cast<double>(size);
    CHECK(static_cast<double>(sent[0].bytes) >= share);
    CHECK(static_cast<double>(sent[0].bytes) < share + static_cast<double>(2 * others * sizeof(T)));
  }
}

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
