// BYOL's and SimSiam's loss against their public code's numbers, and gradients against central differences.
#include <string>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/cosine.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

void check(const std::string& name, const CosineNumbers& numbers, double mean_of_each) {
  on_backends([&](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    const ObjectiveFixture fixture(name);
    Memory<B> memory(backend);
    const auto load = [&](const char* tensor) { return memory.matrix(fixture.file(), tensor); };
    const auto p1 = load("prediction.1"), p2 = load("prediction.2"), z1 = load("target.1"), z2 = load("target.2");
    const auto buffers = memory.buffers(
        [&](Arena& arena) { return CosineBuffers<typename B::Scalar>::take(arena, p1.rows(), p1.cols()); });
    const auto value = memory.zeros(2);
    const auto d1 = memory.zeros(p1.rows(), p1.cols()), d2 = memory.zeros(p2.rows(), p2.cols());
    cosine_loss(backend, buffers, VectorOf<B>(value.data(), 1), d1, p1, z2, numbers);
    cosine_loss(backend, buffers, VectorOf<B>(value.data() + 1, 1), d2, p2, z1, numbers);
    const auto each = memory.read(value);
    const auto scale = static_cast<typename B::Scalar>(mean_of_each);
    fixture.expect("loss", std::vector{each[0] + each[1], scale * each[0], scale * each[1]});
    fixture.expect("d_prediction.1", memory.read(d1));
    fixture.expect("d_prediction.2", memory.read(d2));
  });
}

}  // namespace

TEST_CASE("BYOL's loss is the published one", "[loss]") { check("byol_loss", byol_cosine, 1); }
TEST_CASE("SimSiam's loss is the published one", "[loss]") { check("simsiam_loss", simsiam_cosine, 2); }

TEST_CASE("gradients of the cosine, also of rows shorter than epsilon", "[loss][gradients]") {
  const auto target = normal_values(35, 2);
  for (const double epsilon : {1e-8, 2.5}) {
    const CosineNumbers numbers{.factor = 1.7, .offset = 0.3, .epsilon = epsilon};
    check_term_gradients({normal_values(35, 1)}, 7, 1, 0.6,
                         [&](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                           const auto buffers =
                               memory.buffers([](Arena& arena) { return CosineBuffers<double>::take(arena, 5, 7); });
                           cosine_loss(backend, buffers, value, d[0], x[0], memory.matrix(target, 7), numbers, 0.6);
                         });
  }
}
