// Rows of images by several ranks: those of one, in order, and on all of them.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/features/ordered_rows.hpp>

#include "ranks.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Images by number, some of which cannot be read.
struct Numbers {
  Index count = 0;
  std::vector<Index> broken{};

  [[nodiscard]] Index size() const { return count; }
  [[nodiscard]] std::string name(Index i) const { return join("image ", i); }
  [[nodiscard]] Index load(Index i) const { return i; }
  [[nodiscard]] bool readable(Index i) const { return std::ranges::find(broken, i) == broken.end(); }
};

using Row = std::pair<Index, std::optional<std::vector<float>>>;
struct Passed {
  std::vector<Row> rows;
  FeaturePassCount count;
};

/// Image i has i % 3 numbers.
std::vector<float> row_of(Index i) { return std::vector<float>(static_cast<std::size_t>(i % 3), static_cast<float>(i)); }

void pass(Passed& out, const Communicator& ranks, const Numbers& numbers, Index at_once) {
  out.count = pass_in_turns<float>(
      ranks, numbers, 2, at_once, {}, {},
      [&](Index image, std::optional<std::span<const float>> row) {
        out.rows.emplace_back(image, row ? std::optional(std::vector<float>(row->begin(), row->end())) : std::nullopt);
      },
      [&](const ChosenSamples<Numbers>& own, const SkipPolicy& skip, const auto& add) {
        SkipCounter skips(skip);
        FeaturePassCount count;
        for (Index i = 0; i < own.size(); ++i) {
          std::vector<SkippedImage> skipped;
          if (!numbers.readable(own.load(i))) skipped.push_back({.index = i, .name = own.name(i), .message = own.name(i)});
          skips.count(skipped);
          if (!skipped.empty()) continue;
          ++count.images;
          ++count.census.pixels[static_cast<std::size_t>(own.number(i) % 2)];
          add(i, row_of(own.number(i)));
        }
        count.unreadable = skips.unreadable();
        return count;
      });
}

}  // namespace

TEST_CASE("every rank is told the rows of all images in order, whoever made them") {
  for (const Numbers& numbers : {Numbers{11, {3, 10}}, Numbers{2, {0}}, Numbers{1}}) {
    Passed alone;
    pass(alone, {}, numbers, 4);
    REQUIRE(static_cast<Index>(alone.rows.size()) == numbers.size());
    for (Index i = 0; i < numbers.size(); ++i) {
      const Row& row = alone.rows[static_cast<std::size_t>(i)];
      CHECK(row.first == i);
      CHECK(row.second == (numbers.readable(i) ? std::optional(row_of(i)) : std::nullopt));
    }
    for (const Index size : {2, 3}) {
      for (const Index at_once : {1, 2, 100}) {
        std::vector<Passed> found(static_cast<std::size_t>(size));
        const auto words = on_ranks(size, [&](const Communicator& ranks) { pass(found[static_cast<std::size_t>(ranks.rank())], ranks, numbers, at_once); });
        REQUIRE(words == no_words(size));
        for (const Passed& passed : found) {
          CHECK(passed.rows == alone.rows);
          CHECK(passed.count.images == alone.count.images);
          CHECK(passed.count.unreadable == alone.count.unreadable);
          CHECK(passed.count.census == alone.count.census);
        }
      }
    }
  }
}

TEST_CASE("images that cannot be read are judged over all ranks, in their order") {
  Numbers numbers{60, {}};
  for (Index i = 0; i < 22; i += 2) numbers.broken.push_back(i);
  Passed passed;
  const std::string alone = thrown_by<DataError>([&] { pass(passed, {}, numbers, 4); });
  CHECK(contains(alone, "11 of 32 images cannot be read"));
  std::vector<Passed> found(2);
  const auto work = [&](const Communicator& ranks) { pass(found[static_cast<std::size_t>(ranks.rank())], ranks, numbers, 1); };
  CHECK(on_ranks(2, work) == std::vector<std::string>(2, alone));
  for (const Passed& other : found) CHECK(other.rows.size() == 20);
  numbers.broken.pop_back();
  CHECK(on_ranks(2, work) == no_words(2));
}
