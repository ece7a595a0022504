// Batch norms over ranks: an MLP whose rows ranks share is that of all of them, group by group, and what is refused.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "../gradient_check.hpp"
#include "../ranks.hpp"
#include "catch.hpp"
#include "nn/mlp_in_memory.hpp"

#include <dssl/backend/reference.hpp>
#include <dssl/nn/mlp.hpp>

using namespace dssl;
using dssl::test::normal_values;

namespace {

constexpr MlpConfig normed_twice{.hidden = 5, .out = 4, .last_norm = BatchNorm::affine};
constexpr Index inputs = 3, groups = 2;

struct Passed {
  std::vector<double> out, d_x, gradients, running;
};

/// A pass and its way back of the rows r, r + ranks, ... of each group of `rows`, drawn for all.
Passed pass(const Communicator& ranks, Index rows) {
  const Reference<double> backend;
  const Index here = rows / ranks.size();
  test::MlpInMemory<Reference<double>> mlp(backend, normed_twice, groups * here, groups, inputs, ranks);
  std::ranges::copy(normal_values(mlp.weights.flat().size(), 1), mlp.weights.data());
  std::ranges::fill(mlp.gradients.flat(), 0.0);
  mlp.statistics.reset(backend);
  const auto draw = [&](MatrixView<double> to, std::uint64_t seed) {
    const auto all = normal_values(static_cast<std::size_t>(groups * rows * to.cols()), seed);
    for (Index g = 0; g < groups; ++g) {
      for (Index i = 0; i < here; ++i) {
        const double centre = static_cast<double>(3 * g);  // groups have other statistics
        for (Index c = 0; c < to.cols(); ++c) {
          to(g * here + i, c) = centre + all[static_cast<std::size_t>((g * rows + i * ranks.size() + ranks.rank()) * to.cols() + c)];
        }
      }
    }
  };
  draw(mlp.x, 2);
  draw(mlp.g.d_out, 3);
  mlp.forward();
  Passed out;
  out.out.assign(mlp.a.out.data(), mlp.a.out.data() + mlp.a.out.size());  // which the way back overwrites
  mlp.update();
  mlp.backward();
  out.d_x.assign(mlp.g.d_x.data(), mlp.g.d_x.data() + mlp.g.d_x.size());
  out.gradients.assign(mlp.gradients.data(), mlp.gradients.data() + mlp.gradients.size());
  mlp.statistics.for_each("", [&](const auto&, VectorView<double> values) {
    out.running.insert(out.running.end(), values.flat().begin(), values.flat().end());
  });
  return out;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double off = 0;
  for (std::size_t i = 0; i < a.size(); ++i) off = std::max(off, std::abs(a[i] - b[i]));
  return off;
}

/// The rows of all ranks in their order in the whole batch.
std::vector<double> joined(const std::vector<Passed>& ranks, std::vector<double> Passed::* rows, Index columns) {
  const auto size = static_cast<Index>(ranks.size());
  const Index here = static_cast<Index>((ranks[0].*rows).size()) / (groups * columns);
  std::vector<double> out;
  for (Index g = 0; g < groups; ++g) {
    for (Index i = 0; i < here * size; ++i) {
      const auto from = (ranks[static_cast<std::size_t>(i % size)].*rows).begin() + (g * here + i / size) * columns;
      out.insert(out.end(), from, from + columns);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("an MLP with batch norms whose rows ranks share is that of all rows, group by group") {
  const Passed whole = pass({}, 6);
  for (const Index size : {2, 3, 6}) {  // of six each has one row of a group
    INFO(size << " ranks");
    std::vector<Passed> ranks(static_cast<std::size_t>(size));
    REQUIRE(test::on_ranks(size, [&](const Communicator& own) {
              ranks[static_cast<std::size_t>(own.rank())] = pass(own, 6);
            }) == test::no_words(size));
    CHECK(distance(joined(ranks, &Passed::out, normed_twice.out), whole.out) < 1e-11);
    CHECK(distance(joined(ranks, &Passed::d_x, inputs), whole.d_x) < 1e-11);
    std::vector<double> sum(whole.gradients.size());
    for (const Passed& rank : ranks) {
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += rank.gradients[i];
      CHECK(distance(rank.running, whole.running) < 1e-11);
      CHECK((rank.running == ranks[0].running));
    }
    CHECK(distance(sum, whole.gradients) < 1e-11);
  }
}

TEST_CASE("ranks whose batch norms have not as many rows each are refused") {
  CHECK(test::on_ranks(2, [&](const Communicator& own) { pass(own, own.first() ? 4 : 6); }) ==
        std::vector<std::string>{"batch norm over ranks: 2 rows on rank 0; expected as many as on each, 2.5 in the mean",
                                 "batch norm over ranks: 3 rows on rank 1; expected as many as on each, 2.5 in the mean"});
}
