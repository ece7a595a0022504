// Sinkhorn-Knopp's assignments against the public codes' numbers, and where those overflow.
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/sinkhorn.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("Sinkhorn-Knopp's assignments are the published ones", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    const ObjectiveFixture fixture("sinkhorn");
    struct Case {
      const char *scores, *assignments, *epsilon;
      Index iterations;
    };
    const auto iterations = fixture.config().template get<Index>("iterations");
    for (const Case& c : {Case{"swav.scores", "swav.assignments", "epsilon", iterations},
                          Case{"swav.scores", "swav.assignments_1_iteration", "epsilon", 1},
                          Case{"dino.teacher", "dino.assignments", "teacher_temp", iterations},
                          Case{"ibot.teacher", "ibot.assignments", "teacher_temp", iterations}}) {
      Memory<B> memory(backend);
      const auto scores = memory.matrix(fixture.file(), c.scores);
      const auto q = memory.zeros(scores.rows(), scores.cols());
      sinkhorn_assign(backend, q, memory.zeros(scores.cols()), memory.zeros(scores.rows()), scores,
                      fixture.config().template get<double>(c.epsilon), c.iterations);
      fixture.expect(c.assignments, memory.read(q));
    }
  });
}

TEST_CASE("Sinkhorn-Knopp shares scores out that the exponential of a float cannot hold", "[loss]") {
  const Index rows = 40, prototypes = 5;
  std::vector<float> values;
  for (const double v : normal_values(static_cast<std::size_t>(rows * prototypes), 1, 30.0)) {
    values.push_back(static_cast<float>(v + 100));
  }
  const Cpu backend({.threads = 2});
  Memory<Cpu> memory(backend);
  const auto q = memory.zeros(rows, prototypes);
  sinkhorn_assign(backend, q, memory.zeros(prototypes), memory.zeros(rows), memory.matrix(values, prototypes), 0.5, 300);
  const auto got = memory.read(q);
  for (Index p = 0; p < prototypes; ++p) {
    double share = 0;
    for (Index m = 0; m < rows; ++m) share += static_cast<double>(got[static_cast<std::size_t>(m * prototypes + p)]);
    CHECK(std::abs(share - static_cast<double>(rows) / static_cast<double>(prototypes)) < 0.2);
  }
  CHECK_THROWS_AS(sinkhorn_centre(backend, memory.zeros(prototypes), memory.zeros(rows), q, 0.5, 0), ShapeError);
}
