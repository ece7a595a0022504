// What every policy of products is held to: the oracle, its own bits on other numbers of threads, whole
// steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "backend/op_cases.hpp"
#include "backend/outcome.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

namespace dssl::test {

/// Shapes of which policies make several blocks, groups of depth and parts, beside those of `linear_cases`.
template <class Visit>
void large_linear_cases(Visit&& visit) {
  struct Shape {
    Index m, i, o;
  };
  for (const Shape& s : {Shape{1700, 40, 100}, Shape{4500, 40, 401}, Shape{50, 70, 3000}}) {
    const std::string shape = join(s.m, " x ", s.i, " to ", s.o);
    visit("linear_forward " + shape, [s](const auto& b, auto& board) {
      const auto y = board.output(s.m, s.o);
      b.linear_forward(y, board.matrix(s.m, s.i), board.matrix(s.o, s.i, 0.1), board.vector(s.o));
    });
    visit("linear_backward_input " + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.output(s.m, s.i);
      b.linear_backward_input(d_x, board.matrix(s.m, s.o), board.matrix(s.o, s.i, 0.1));
    });
    visit("linear_backward_weight " + shape, [s](const auto& b, auto& board) {
      const auto d_weight = board.sum(s.o, s.i);
      const auto d_bias = board.sum(s.o);
      b.linear_backward_weight(d_weight, d_bias, board.matrix(s.m, s.o), board.matrix(s.m, s.i));
    });
  }
}

/// Holds the products of `Products` in T to the double oracle, and 1, 2 and 4 threads to the same bits.
template <class T, class Products>
class HeldProducts {
 public:
  /// `tolerance`: of the norm of every output.
  HeldProducts(CpuOptions options, double tolerance) : x_tolerance(tolerance) {
    for (const int threads : {1, 2, 4}) {
      options.threads = threads;
      x_backends.emplace_back(options);
    }
  }

  template <class Call>
  void operator()(const std::string& name, const Call& call) {
    ++x_seed;
    const auto want = outcome(x_oracle, call, x_seed);
    const auto got = outcome(x_backends[0], call, x_seed);
    INFO(name << " on " << x_backends[0].describe());
    REQUIRE(got.size() == want.size());
    for (std::size_t o = 0; o < want.size(); ++o) {
      const double off = norm_distance(got[o].values, want[o].values);
      INFO("output " << o << ", relative error " << off);
      CHECK(off <= x_tolerance);
    }
    for (const auto& backend : x_backends) {
      const auto again = outcome(backend, call, x_seed);
      INFO(backend.threads() << " threads");
      for (std::size_t o = 0; o < want.size(); ++o) CHECK(again[o].bytes == got[o].bytes);
    }
  }

 private:
  Reference<double> x_oracle;
  std::vector<BasicCpu<T, Products>> x_backends;
  double x_tolerance;
  std::uint64_t x_seed = 1;
};

template <class T, class Products>
void check_products(const CpuOptions& options, double tolerance) {
  HeldProducts<T, Products> held(options, tolerance);
  linear_cases(held);
  large_linear_cases(held);
}

}  // namespace dssl::test
