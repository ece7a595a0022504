// Imitation of a teacher's features through an adapter against torch's numbers, and central differences.
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/imitation.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("imitation through a linear adapter is torch's", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    const ObjectiveFixture fixture("distillation");
    for (const std::string level : {"class", "patch"}) {
      for (const auto& [name, likeness] : {std::pair{"mse", Likeness::squared}, {"cosine", Likeness::cosine},
                                           {"smooth_l1", Likeness::smooth_l1}, {"mse_normalised", Likeness::unit_squared}}) {
        Memory<B> memory(backend);
        const auto load = [&](const std::string& tensor) { return memory.matrix(fixture.file(), tensor); };
        const auto student = load(level + ".student"), teacher = load(level + ".teacher");
        const auto weight = load("weight.weight"), bias = load("weight.bias");
        const Index rows = student.rows(), width = teacher.cols();
        const auto buffers = memory.buffers(
            [&](Arena& arena) { return ImitationBuffers<typename B::Scalar>::take(arena, rows, width); });
        const auto value = memory.zeros(1);
        const auto adapted = memory.zeros(rows, width), d_adapted = memory.zeros(rows, width);
        const auto d_student = memory.zeros(rows, student.cols());
        const auto d_weight = memory.zeros(weight.rows(), weight.cols()), d_bias = memory.zeros(1, width);
        backend.linear_forward(adapted, student, weight, numbers_of(bias));
        imitation_loss(backend, buffers, value, d_adapted, adapted, teacher, likeness);
        backend.linear_backward_weight(d_weight, numbers_of(d_bias), d_adapted, student);
        backend.linear_backward_input(d_student, d_adapted, weight);
        const std::string of = level + "." + name;
        fixture.expect(of + ".loss", memory.read(value));
        fixture.expect(of + ".d_student", memory.read(d_student));
        fixture.expect(of + ".grad.weight", memory.read(d_weight));
        fixture.expect(of + ".grad.bias", memory.read(d_bias));
      }
    }
  });
}

TEST_CASE("gradients of imitation", "[loss][gradients]") {
  const auto teacher = normal_values(35, 2, 1.5);
  for (const auto likeness : {Likeness::squared, Likeness::cosine, Likeness::smooth_l1, Likeness::unit_squared}) {
    check_term_gradients({normal_values(35, 1)}, 7, 1, 0.6,
                         [&](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                           const auto buffers =
                               memory.buffers([](Arena& arena) { return ImitationBuffers<double>::take(arena, 5, 7); });
                           imitation_loss(backend, buffers, value, d[0], x[0], memory.matrix(teacher, 7), likeness, 0.6);
                         });
  }
}
