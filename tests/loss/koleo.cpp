// KoLeo against its public code's numbers, and gradients against central differences.
#include <cstdint>
#include <string>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/koleo.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("KoLeo is the published one", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("koleo");
    const KoLeoNumbers numbers{.epsilon = fixture.config().template get<double>("eps")};
    Memory<B> memory(backend);
    const auto x = memory.matrix(fixture.file(), "in");
    const auto run = [&](MatrixView<T> d, VectorView<T> value, MatrixView<const T> rows, Index neighbours) {
      const auto buffers =
          memory.buffers([&](Arena& arena) { return KoLeoBuffers<T>::take(arena, rows.rows(), rows.cols(), neighbours); });
      buffers.begin(backend);
      koleo_loss(backend, buffers, value, d, rows, numbers);
      return memory.read(buffers.nearest);
    };
    for (const auto& [name, neighbours] : {std::pair{"v2", 1}, {"v3_top1", 1}, {"v3_top2", 2}}) {
      const auto value = memory.zeros(1);
      const auto d = memory.zeros(x.rows(), x.cols());
      const auto nearest = run(d, value, x, neighbours);
      fixture.expect(name + std::string(".loss"), memory.read(value));
      fixture.expect(name + std::string(".d_in"), memory.read(d));
      const auto expected = fixture.file().template read<std::int64_t>("nearest");
      CHECK(std::vector<std::int64_t>(nearest.begin(), nearest.begin() + x.rows()) == expected);
    }
    // A view's rows by themselves, the views added.
    const auto group = fixture.config().template get<Index>("group");
    const auto value = memory.zeros(1);
    const auto d = memory.zeros(x.rows(), x.cols());
    for (Index first = 0; first < x.rows(); first += group) run(d.rows(first, group), value, x.rows(first, group), 1);
    fixture.expect("v2_halves.loss", memory.read(value));
    fixture.expect("v2_halves.d_in", memory.read(d));
    // Equal rows are their own nearest neighbours' distance epsilon away.
    const auto twins = memory.matrix(fixture.file(), "twins.in");
    const auto of_twins = memory.zeros(1);
    run(memory.zeros(twins.rows(), twins.cols()), of_twins, twins, 1);
    fixture.expect("twins.loss", memory.read(of_twins));
  });
}

TEST_CASE("gradients of KoLeo flow into rows and their neighbours", "[loss][gradients]") {
  for (const Index neighbours : {Index{1}, Index{3}}) {
    check_term_gradients({normal_values(77, 1)}, 7, 1, 0.6,
                         [&](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                           const auto buffers = memory.buffers(
                               [&](Arena& arena) { return KoLeoBuffers<double>::take(arena, 11, 7, neighbours); });
                           buffers.begin(backend);
                           koleo_loss(backend, buffers, value, d[0], x[0], {}, 0.6);
                         });
  }
}

TEST_CASE("KoLeo of one row is refused", "[loss]") {
  const Reference<double> backend;
  Memory<Reference<double>> memory(backend);
  const auto buffers = memory.buffers([](Arena& arena) { return KoLeoBuffers<double>::take(arena, 1, 3); });
  CHECK_THROWS_AS(koleo_loss(backend, buffers, memory.zeros(1), memory.zeros(1, 3), memory.zeros(1, 3)), ShapeError);
}
