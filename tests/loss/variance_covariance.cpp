// VICReg's loss against its public code's numbers, and gradients against central differences.
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/variance_covariance.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("VICReg's loss is the published one", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("vicreg");
    const auto number = [&](const char* name) { return fixture.config().template get<double>(name); };
    for (const bool solo_learn : {false, true}) {
      Memory<B> memory(backend);
      const auto z1 = memory.matrix(fixture.file(), "z.1"), z2 = memory.matrix(fixture.file(), "z.2");
      const Index rows = z1.rows(), width = z1.cols();
      const auto buffers =
          memory.buffers([&](Arena& arena) { return VarianceCovarianceBuffers<T>::take(arena, rows, width); });
      const auto value = memory.zeros(3);
      const auto d1 = memory.zeros(rows, width), d2 = memory.zeros(rows, width);
      variance_covariance_loss(backend, buffers, value, d1, d2, z1, z2,
                               {.invariance = number("sim"),
                                .variance = number("std"),
                                .covariance = number("cov"),
                                .variance_share = solo_learn ? 1.0 : 0.5,
                                .epsilon = number("eps")});
      const auto terms = memory.read(value);
      if (solo_learn) {
        fixture.expect("loss_solo_learn", std::vector<T>{terms[0] + terms[1] + terms[2]});
        continue;
      }
      const auto plain = [&](std::size_t term, const char* name) { return terms[term] / static_cast<T>(number(name)); };
      fixture.expect("loss", std::vector<T>{terms[0] + terms[1] + terms[2], plain(0, "sim"), plain(1, "std"), plain(2, "cov")});
      fixture.expect("d_z.1", memory.read(d1));
      fixture.expect("d_z.2", memory.read(d2));
    }
  });
}

TEST_CASE("gradients of VICReg's loss", "[loss][gradients]") {
  // Deviations on both sides of 1, means away from 0.
  auto first = normal_values(35, 1, 0.8), second = normal_values(35, 2, 1.3);
  for (double& v : first) v += 2;
  check_term_gradients({first, second}, 5, 3, 0.6,
                       [](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                         const auto buffers = memory.buffers(
                             [](Arena& arena) { return VarianceCovarianceBuffers<double>::take(arena, 7, 5); });
                         variance_covariance_loss(backend, buffers, value, d[0], d[1], x[0], x[1],
                                                  {.invariance = 0.7, .variance = 3, .covariance = 1.3}, 0.6);
                       });
}

TEST_CASE("one row has no variance", "[loss]") {
  const Reference<double> backend;
  Memory<Reference<double>> memory(backend);
  const auto buffers = memory.buffers([](Arena& arena) { return VarianceCovarianceBuffers<double>::take(arena, 1, 3); });
  CHECK_THROWS_AS(variance_covariance_terms(backend, buffers, memory.zeros(2), memory.zeros(1, 3), memory.zeros(1, 3), {}),
                  ShapeError);
}
