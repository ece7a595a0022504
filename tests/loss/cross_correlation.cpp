// Barlow Twins' loss against its public code's numbers, and gradients against central differences.
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/cross_correlation.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("Barlow Twins' loss is the published one", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("barlow");
    Memory<B> memory(backend);
    const auto z1 = memory.matrix(fixture.file(), "z.1"), z2 = memory.matrix(fixture.file(), "z.2");
    const Index rows = z1.rows(), width = z1.cols();
    const auto buffers = memory.buffers([&](Arena& arena) { return CrossCorrelationBuffers<T>::take(arena, rows, width); });
    const auto value = memory.zeros(2);
    const auto d1 = memory.zeros(rows, width), d2 = memory.zeros(rows, width);
    const CrossCorrelationNumbers numbers{.redundancy = fixture.config().template get<double>("lambd"),
                                          .epsilon = fixture.config().template get<double>("eps")};
    cross_correlation_loss(backend, buffers, value, d1, d2, z1, z2, numbers);
    const auto terms = memory.read(value);
    fixture.expect("loss", std::vector<T>{terms[0] + terms[1]});
    fixture.expect("loss_solo_learn", std::vector<T>{static_cast<T>(0.025) * (terms[0] + terms[1])});
    fixture.expect("terms", std::vector<T>{terms[0], terms[1] / static_cast<T>(numbers.redundancy)});
    fixture.expect("d_z.1", memory.read(d1));
    fixture.expect("d_z.2", memory.read(d2));

    const auto correlation = memory.zeros(width, width);
    backend.linear_backward_weight(correlation, {}, buffers.first.normal, buffers.second.normal);
    auto divided = memory.read(correlation);
    for (T& c : divided) c /= static_cast<T>(rows);
    fixture.expect("correlation", divided);

    // One module's running statistics see the first view, then the second.
    const auto mean = memory.zeros(width), variance = memory.zeros(width);
    backend.fill(variance, T{1});
    for (const auto* side : {&buffers.first, &buffers.second}) {
      backend.batch_norm_update(mean, variance, side->mean, side->inverse_std, rows,
                                fixture.config().template get<double>("momentum"), numbers.epsilon);
    }
    fixture.expect("after.bn.running_mean", memory.read(mean));
    fixture.expect("after.bn.running_var", memory.read(variance));
  });
}

TEST_CASE("gradients of Barlow Twins' loss", "[loss][gradients]") {
  check_term_gradients({normal_values(35, 1), normal_values(35, 2)}, 5, 2, 0.6,
                       [](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                         const auto buffers = memory.buffers(
                             [](Arena& arena) { return CrossCorrelationBuffers<double>::take(arena, 7, 5); });
                         cross_correlation_loss(backend, buffers, value, d[0], d[1], x[0], x[1], {.redundancy = 0.3}, 0.6);
                       });
}
