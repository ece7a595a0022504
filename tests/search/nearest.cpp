// Nearest rows against a sort of all pairs.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <span>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/search/nearest.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Small integers: every product and sum is exact, and many pairs are equally near.
template <class T>
std::vector<T> drawn(Index count, int span, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<T> out;
  for (Index i = 0; i < count; ++i)
    out.push_back(static_cast<T>(static_cast<int>(random() % static_cast<unsigned>(2 * span + 1)) - span));
  return out;
}

template <class T>
std::vector<Neighbour> slow(const std::vector<T>& bank, const std::vector<T>& queries, Index width, Index k,
                            Nearness by) {
  std::vector<Neighbour> out;
  const auto n = static_cast<Index>(bank.size()) / width;
  for (Index q = 0; q < static_cast<Index>(queries.size()) / width; ++q) {
    std::vector<Neighbour> all;
    for (Index i = 0; i < n; ++i) {
      double dot = 0;
      double x2 = 0;
      double y2 = 0;
      double apart = 0;
      for (Index d = 0; d < width; ++d) {
        const auto x = static_cast<double>(queries[static_cast<std::size_t>(q * width + d)]);
        const auto y = static_cast<double>(bank[static_cast<std::size_t>(i * width + d)]);
        dot += x * y;
        x2 += x * x;
        y2 += y * y;
        apart += (x - y) * (x - y);
      }
      const double lengths = std::max(std::sqrt(x2), 1e-12) * std::max(std::sqrt(y2), 1e-12);
      all.push_back({i, by == Nearness::cosine ? dot / lengths : std::sqrt(apart)});
    }
    std::stable_sort(all.begin(), all.end(), [&](const Neighbour& a, const Neighbour& b) {
      return by == Nearness::cosine ? a.nearness > b.nearness : a.nearness < b.nearness;
    });
    out.insert(out.end(), all.begin(), all.begin() + k);
  }
  return out;
}

template <Backend B>
void check(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  constexpr Index width = 6;
  const auto bank = drawn<T>(103 * width, 3, 1);
  const auto queries = drawn<T>(37 * width, 3, 2);
  const MatrixView<const T> rows(bank.data(), 103, width);
  for (const Nearness by : {Nearness::distance, Nearness::cosine}) {
    for (const Index block : {7, 64, 5000}) {
      NearestRows<B> nearest(
          backend,
          {.width = width, .capacity = 120, .neighbours = 11, .by = by, .queries = 10, .block = block});
      nearest.add(rows.rows(0, 1));
      nearest.add(rows.rows(1, 60));
      nearest.add(rows.rows(61, 42));
      CHECK(nearest.size() == 103);
      for (const Index k : {1, 5, 11}) {
        std::vector<Neighbour> found(static_cast<std::size_t>(37 * k));
        nearest.find(found, MatrixView<const T>(queries.data(), 37, width), k);
        const auto expected = slow(bank, queries, width, k, by);
        INFO((by == Nearness::cosine ? "cosine" : "distance") << ", block " << block << ", k " << k);
        bool same_rows = true;
        double difference = 0;
        for (std::size_t i = 0; i < found.size(); ++i) {
          difference = std::max(difference, std::abs(found[i].nearness - expected[i].nearness));
          same_rows = same_rows && found[i].row == expected[i].row;
        }
        // Integers make distances exact, so that equal ones are told apart by their rows alone. Cosines
        // round.
        if (by == Nearness::distance) {
          CHECK(same_rows);
          CHECK(difference == 0);
        } else {
          CHECK(difference < 1e-6);
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("the nearest rows are those of a sort, in any blocks, the lower row among equals") {
  check(Reference<double>());
  check(Reference<float>());
#if __has_include(<dssl/backend/cpu.hpp>)
  check(Cpu({.threads = 1}));
  check(BasicCpu<double>({.threads = 2}));
#endif
}

#if __has_include(<dssl/backend/cpu.hpp>)
TEST_CASE("nearest rows: the same bits for any number of threads; near duplicates are measured exactly") {
  constexpr Index width = 48;
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  std::vector<float> bank(2000 * width);
  for (float& v : bank) v = 10.0F + normal(random);
  std::vector<float> queries(bank.begin(), bank.begin() + 300 * width);
  for (Index q = 0; q < 300; ++q)
    queries[static_cast<std::size_t>(q * width)] += 0.001F * static_cast<float>(q);
  std::vector<std::vector<Neighbour>> found;
  for (const int threads : {1, 2}) {
    const Cpu backend({.threads = threads});
    NearestRows<Cpu> nearest(backend,
                             {.width = width, .capacity = 2000, .neighbours = 3, .by = Nearness::distance});
    nearest.add(MatrixView<const float>(bank.data(), 2000, width));
    found.emplace_back(900);
    nearest.find(found.back(), MatrixView<const float>(queries.data(), 300, width), 3);
  }
  bool same = true;
  for (std::size_t i = 0; i < 900; ++i)
    same = same && found[0][i].row == found[1][i].row && found[0][i].nearness == found[1][i].nearness;
  CHECK(same);
  // |x|^2 is 5000: without the second measurement a distance of 0.01 would drown in its rounding.
  for (std::size_t q = 0; q < 300; ++q) {
    const double moved = static_cast<double>(queries[q * width]) - static_cast<double>(bank[q * width]);
    CHECK(found[0][3 * q].row == static_cast<Index>(q));
    CHECK(found[0][3 * q].nearness == Approx(moved).margin(1e-12));
  }
}
#endif

TEST_CASE("a bank names what does not fit") {
  NearestRows<Reference<double>> nearest(Reference<double>(), {.width = 2, .capacity = 3, .neighbours = 2});
  const std::vector<double> rows{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<Neighbour> found(2);
  const MatrixView<const double> view(rows.data(), 4, 2);
  CHECK(contains(thrown_by<ShapeError>([&] { nearest.add(view); }), "bank of 3 rows"));
  nearest.add(view.rows(0, 1));
  CHECK(contains(thrown_by<OptionError>([&] { nearest.find(found, view.rows(0, 1), 2); }), "'k' is 2"));
  CHECK(contains(thrown_by<ShapeError>([&] { nearest.find(found, view.rows(0, 1), 1); }), "room for 2"));
  nearest.clear();
  CHECK(nearest.size() == 0);
  CHECK(contains(
      thrown_by<OptionError>([] { NearestRows<Reference<double>>(Reference<double>(), {.width = 2}); }),
      "'capacity' is 0"));
}
