// Products with bf16 operands: the same numbers on every engine, and near the oracle.
#include "catch.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/definitions.hpp>
#include <dssl/backend/reference.hpp>

#include "backend/op_cases.hpp"
#include "backend/outcome.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;
namespace bf16 = dssl::cpu::bf16;

namespace {

/// Those that this program was compiled for and may use here.
std::vector<bf16::Engine> engines() {
  std::vector<bf16::Engine> all{bf16::Engine::emulated};
#if defined(__AVX512BF16__)
  all.push_back(bf16::Engine::dot_product);
#endif
  if (bf16::best_engine() == bf16::Engine::tile_unit) all.push_back(bf16::Engine::tile_unit);
  return all;
}

/// A matrix in one of the two orders, between guard words.
struct Stored {
  std::vector<float> values;
  Index stride = 0;

  template <bf16::Order O>
  static Stored of(const std::vector<float>& by_extent, Index extent, Index depth) {
    Stored out{.values = {}, .stride = (O == bf16::Order::by_extent ? depth : extent) + 3};
    const Index lines = O == bf16::Order::by_extent ? extent : depth;
    out.values.assign(static_cast<std::size_t>(lines * out.stride), std::numeric_limits<float>::quiet_NaN());
    for (Index i = 0; i < extent; ++i) {
      for (Index k = 0; k < depth; ++k) {
        const Index at = O == bf16::Order::by_extent ? i * out.stride + k : k * out.stride + i;
        out.values[static_cast<std::size_t>(at)] = by_extent[static_cast<std::size_t>(i * depth + k)];
      }
    }
    return out;
  }
};

std::vector<float> drawn(Index count, unsigned seed, bool whole) {
  std::minstd_rand random(seed);
  std::uniform_real_distribution<float> real(-2.0F, 2.0F);
  std::uniform_int_distribution<int> integer(-9, 9);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = whole ? static_cast<float>(integer(random)) : real(random);
  return values;
}

/// c = or += a b (+ bias) by loops in double over the operands as they are taken.
template <int Parts>
std::vector<double> expected(const std::vector<float>& c, const std::vector<float>& a,
                             const std::vector<float>& b, const std::vector<float>& bias, Index m, Index n,
                             Index k, cpu::Onto onto) {
  std::vector<double> out;
  for (Index i = 0; i < m; ++i) {
    for (Index j = 0; j < n; ++j) {
      double sum = onto == cpu::Onto::sum ? static_cast<double>(c[static_cast<std::size_t>(i * n + j)])
                   : bias.empty()         ? 0.0
                                          : static_cast<double>(bias[static_cast<std::size_t>(j)]);
      for (Index d = 0; d < k; ++d) {
        const auto taken = [](float x) {
          return static_cast<double>(Parts == 1 ? bf16::round_to_bf16(x) : x);
        };
        sum += taken(a[static_cast<std::size_t>(i * k + d)]) * taken(b[static_cast<std::size_t>(j * k + d)]);
      }
      out.push_back(sum);
    }
  }
  return out;
}

template <int Parts, bf16::Order A, bf16::Order B>
void check_product(Index m, Index n, Index k, bool whole) {
  const std::vector<float> a = drawn(m * k, 1, whole);
  const std::vector<float> b = drawn(n * k, 2, whole);
  const std::vector<float> bias = drawn(n, 3, whole);
  const std::vector<float> before = drawn(m * n, 4, whole);
  const Stored left = Stored::of<A>(a, m, k);
  const Stored right = Stored::of<B>(b, n, k);
  for (const int threads : {1, 2}) {
    cpu::Workers workers(threads);
    for (const bf16::Engine engine : engines()) {
      for (const auto& [onto, with_bias] :
           {std::pair{cpu::Onto::assign, false}, {cpu::Onto::assign, true}, {cpu::Onto::sum, false}}) {
        INFO(m << " x " << n << ", depth " << k << ", engine " << static_cast<int>(engine) << ", threads "
               << threads);
        constexpr std::size_t guard = 64;
        std::vector<float> c(static_cast<std::size_t>(m * n) + 2 * guard, 777.0F);
        if (onto == cpu::Onto::assign) {
          std::fill_n(c.begin() + guard, m * n, std::numeric_limits<float>::quiet_NaN());
        } else {
          std::copy(before.begin(), before.end(), c.begin() + guard);
        }
        bf16::product<Parts, A, B>(workers, engine, MatrixView<float>(c.data() + guard, m, n),
                                   {left.values.data(), left.stride}, {right.values.data(), right.stride}, k,
                                   onto, with_bias ? bias.data() : nullptr);
        const auto want =
            expected<Parts>(before, a, b, with_bias ? bias : std::vector<float>{}, m, n, k, onto);
        double most = 0;
        for (std::size_t i = 0; i < want.size(); ++i) {
          const double off = std::abs(static_cast<double>(c[guard + i]) - want[i]);
          most = off <= most ? most : off;  // a NaN stays
        }
        // Whole numbers below 2^24 are exact in every order of summation.
        CHECK(most <= (whole ? 0.0 : 4e-6 * static_cast<double>(k) + 1e-6));
        for (std::size_t i = 0; i < guard; ++i) {
          CHECK(c[i] == 777.0F);
          CHECK(c[guard + want.size() + i] == 777.0F);
        }
      }
    }
  }
}

template <int Parts>
void check_orders(Index m, Index n, Index k, bool whole) {
  check_product<Parts, bf16::Order::by_extent, bf16::Order::by_extent>(m, n, k, whole);
  check_product<Parts, bf16::Order::by_extent, bf16::Order::by_depth>(m, n, k, whole);
  check_product<Parts, bf16::Order::by_depth, bf16::Order::by_depth>(m, n, k, whole);
  check_product<Parts, bf16::Order::by_depth, bf16::Order::by_extent>(m, n, k, whole);
}

}  // namespace

TEST_CASE("numbers are rounded to bf16 to nearest, ties to even") {
  const auto bits = [](std::uint32_t x) { return bf16::rounded(x) >> 16U; };
  CHECK(bits(0x3f800000U) == 0x3f80U);  // 1
  CHECK(bits(0x3f807fffU) == 0x3f80U);
  CHECK(bits(0x3f808000U) == 0x3f80U);  // a tie, the even one below
  CHECK(bits(0x3f808001U) == 0x3f81U);
  CHECK(bits(0x3f818000U) == 0x3f82U);  // a tie, the even one above
  CHECK(bits(0x7f7fffffU) == 0x7f80U);  // the largest float becomes infinite
  CHECK(bits(0x7f800000U) == 0x7f80U);
  CHECK(bits(0xff800000U) == 0xff80U);
  CHECK((bits(0x7fffffffU) & 0x7fc0U) == 0x7fc0U);  // a NaN stays one
  CHECK((bits(0x7f800001U) & 0x7fc0U) == 0x7fc0U);
}

TEST_CASE(
    "products of bf16 tiles are those of the rounded or whole operands, on every engine and for any "
    "threads") {
  struct Shape {
    Index m, n, k;
  };
  for (const Shape& s : {Shape{0, 3, 4}, Shape{3, 0, 4}, Shape{3, 5, 0}, Shape{1, 1, 1}, Shape{3, 5, 7},
                         Shape{16, 16, 32}, Shape{33, 17, 31}, Shape{40, 130, 65}, Shape{300, 48, 96},
                         Shape{20, 700, 40}, Shape{7, 40, 4200}, Shape{65, 33, 2100}}) {
    for (const bool whole : {true, false}) {
      check_orders<1>(s.m, s.n, s.k, whole);
      check_orders<3>(s.m, s.n, s.k, whole);
    }
  }
}

namespace {

/// The product of two vectors.
float dot(bf16::Mode mode, const std::vector<float>& a, const std::vector<float>& b) {
  cpu::Workers workers(1);
  const auto k = static_cast<Index>(a.size());
  float c = 0;
  bf16::product<bf16::Order::by_extent, bf16::Order::by_extent>(
      workers, mode, MatrixView<float>(&c, 1, 1), {a.data(), k}, {b.data(), k}, k, cpu::Onto::assign);
  return c;
}

}  // namespace

TEST_CASE("numbers that are not finite are seen in products of bf16 tiles") {
  for (const bf16::Engine engine : engines()) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      std::vector<float> a(32, 1.0F);
      a[5] = bad;
      CHECK_FALSE(std::isfinite(dot({.engine = engine, .parts = 1}, a, std::vector<float>(32, 1.0F))));
      CHECK(std::isnan(dot({.engine = engine, .parts = 3}, a, std::vector<float>(32, 1.0F))));
    }
  }
}

TEST_CASE("three bf16 parts hold a float whole") {
  for (const bf16::Engine engine : engines()) {
    const bf16::Mode mode{.engine = engine, .parts = 3};
    for (const float x : {1.2345678F, -1.2345678e-30F, 3.3e38F, 16'777'215.0F, 1.0F + 0x1p-23F}) {
      INFO(x);
      CHECK(dot(mode, {x}, {1.0F}) == x);
      CHECK(dot(mode, {2.0F}, {x / 4}) == x / 2);
    }
  }
}

TEST_CASE("products of three bf16 parts are as precise as float's") {
  const Index m = 70, n = 90, k = 800;
  const std::vector<float> a = drawn(m * k, 1, false);
  const std::vector<float> b = drawn(n * k, 2, false);
  const auto want = expected<3>({}, a, b, {}, m, n, k, cpu::Onto::assign);
  const auto error = [&](const std::vector<float>& got) {
    double squares = 0;
    for (std::size_t i = 0; i < want.size(); ++i)
      squares += std::pow(static_cast<double>(got[i]) - want[i], 2);
    return std::sqrt(squares / static_cast<double>(want.size()));
  };
  cpu::Workers workers(1);
  std::vector<float> c(want.size());
  cpu::product<false, cpu::RightOrder::columns, float>(workers, MatrixView<float>(c.data(), m, n),
                                                       {a.data(), k}, b.data(), k, k, cpu::Onto::assign);
  const double of_float = error(c);
  CHECK(of_float > 0);
  for (const bf16::Engine engine : engines()) {
    bf16::product<3, bf16::Order::by_extent, bf16::Order::by_extent>(
        workers, engine, MatrixView<float>(c.data(), m, n), {a.data(), k}, {b.data(), k}, k,
        cpu::Onto::assign);
    INFO("engine " << static_cast<int>(engine) << ": " << error(c) << ", in float: " << of_float);
    // The tile unit adds up in more digits than the others, which nobody needs for this.
    CHECK(error(c) <= (engine == bf16::Engine::tile_unit ? 1.0 : 3.0) * of_float);
  }
}

namespace {

/// Holds one call in bf16 to the oracle within what 8 bits of precision leave, and to itself on two threads.
struct NearOracle {
  double tolerance;  // of the norm
  Reference<double> oracle{};
  Cpu one{CpuOptions{.threads = 1, .precision = Precision::bf16, .emulate_bf16 = true}};
  Cpu two{CpuOptions{.threads = 2, .precision = Precision::bf16, .emulate_bf16 = true}};
  std::uint64_t seed = 1;

  template <class Call>
  void operator()(const std::string& name, const Call& call) {
    INFO(name);
    ++seed;
    const auto want = outcome(oracle, call, seed);
    const auto got = outcome(one, call, seed);
    const auto again = outcome(two, call, seed);
    REQUIRE(got.size() == want.size());
    for (std::size_t o = 0; o < want.size(); ++o) {
      const double off = norm_distance(got[o].values, want[o].values);
      INFO("output " << o << ", relative error " << off);
      CHECK(off <= tolerance);
      CHECK(got[o].bytes == again[o].bytes);
    }
  }
};

}  // namespace

TEST_CASE(
    "linear layers and attention in bf16 stay near the oracle, with the same bits for any number of "
    "threads") {
  linear_cases(NearOracle{.tolerance = 5e-3});
  attention_cases(NearOracle{.tolerance = 3e-2});  // of single small gradients; over a whole head about 4e-3
}

TEST_CASE("a backend in bf16 says so, and one in double refuses it") {
  const Cpu backend(CpuOptions{.precision = Precision::bf16, .emulate_bf16 = true});
  CHECK(contains(backend.describe(), "bf16"));
  CHECK(backend.precision() == Precision::bf16);
  CHECK(Cpu().precision() == Precision::full);
  CHECK_FALSE(contains(Cpu(CpuOptions{.split_products = false}).describe(), "bf16"));
  CHECK(contains(Cpu().describe(), "three bf16 numbers") == (bf16::best_engine() == bf16::Engine::tile_unit));
  CHECK(contains(thrown_by<OptionError>([] { BasicCpu<double>(CpuOptions{.precision = Precision::bf16}); }),
                 "'precision'"));
  CHECK(contains(thrown_by<OptionError>([] { Cpu(CpuOptions{.precision = Precision::tf32}); }),
                 "'precision' is tf32; expected full or bf16"));
}

namespace {

/// Holds one call of a backend that was asked for bf16 to the bits of one in float, or to others.
struct BesideFloat {
  bool same;
  bool differed = false;
  Cpu full{CpuOptions{.threads = 1, .split_products = false}};
  Cpu asked{CpuOptions{.threads = 1, .precision = Precision::bf16}};
  std::uint64_t seed = 1;

  template <class Call>
  void operator()(const std::string& name, const Call& call) {
    INFO(name);
    const auto want = outcome(full, call, ++seed);
    const auto got = outcome(asked, call, seed);
    for (std::size_t o = 0; o < want.size(); ++o) {
      if (same) CHECK(got[o].bytes == want[o].bytes);
      differed = differed || got[o].bytes != want[o].bytes;
    }
  }
};

}  // namespace

TEST_CASE("bf16 is float where nothing multiplies it, and a backend says so") {
  const bool multiplied = Cpu::multiplies_bf16();
  BesideFloat linear{.same = !multiplied};
  linear_cases(linear);
  CHECK(linear.differed == multiplied);
  BesideFloat attention{.same = !multiplied};
  attention_cases(attention);
  CHECK(attention.differed == multiplied);
  CHECK(multiplied == (bf16::best_engine() != bf16::Engine::emulated));
  CHECK(linear.asked.precision() == (multiplied ? Precision::bf16 : Precision::full));
  CHECK(contains(linear.asked.describe(), "float32 in place of bf16") == !multiplied);
  const CpuOptions emulated{.precision = Precision::bf16, .emulate_bf16 = true};
  CHECK(contains(Cpu(emulated).describe(), "emulated") == !multiplied);
}
