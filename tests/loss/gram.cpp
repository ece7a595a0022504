// Gram anchoring against its public code's numbers, and gradients against central differences.
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/gram.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("Gram anchoring is the published one", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    const ObjectiveFixture fixture("gram");
    const Index tokens = fixture.extent("student", 1);
    for (const auto& [negative, of_negative] : {std::pair{"keep", NegativeSimilarity::keep},
                                                {"remove_neg", NegativeSimilarity::to_zero},
                                                {"remove_only_teacher_neg", NegativeSimilarity::teachers_to_zero}}) {
      for (const bool normalised : {true, false}) {
        for (const bool image : {true, false}) {
          Memory<B> memory(backend);
          const auto student = memory.matrix(fixture.file(), "student"), teacher = memory.matrix(fixture.file(), "teacher");
          const Index rows = image ? tokens : student.rows();
          const auto buffers = memory.buffers([&](Arena& arena) {
            return GramBuffers<typename B::Scalar>::take(arena, rows, student.cols(), teacher.cols());
          });
          const auto value = memory.zeros(1);
          const auto d = memory.zeros(student.rows(), student.cols());
          gram_loss(backend, buffers, value, d, student, teacher, {.normalised = normalised, .negative = of_negative});
          const std::string name =
              std::string(negative) + (normalised ? ".normalised" : ".raw") + (image ? ".image" : ".batch");
          fixture.expect(name + ".loss", memory.read(value));
          fixture.expect(name + ".d_student", memory.read(d));
        }
      }
    }
  });
}

TEST_CASE("gradients of Gram anchoring, with a teacher of another width", "[loss][gradients]") {
  const auto teacher = normal_values(50, 2);
  for (const bool normalised : {true, false}) {
    for (const auto negative :
         {NegativeSimilarity::keep, NegativeSimilarity::to_zero, NegativeSimilarity::teachers_to_zero}) {
      check_term_gradients({normal_values(70, 1)}, 7, 1, 0.6,
                           [&](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                             const auto buffers = memory.buffers(
                                 [](Arena& arena) { return GramBuffers<double>::take(arena, 5, 7, 5); });
                             gram_loss(backend, buffers, value, d[0], x[0], memory.matrix(teacher, 5),
                                       {.normalised = normalised, .negative = negative}, 0.6);
                           });
    }
  }
}

TEST_CASE("rows that are no whole number of blocks are refused", "[loss]") {
  const Reference<double> backend;
  Memory<Reference<double>> memory(backend);
  const auto buffers = memory.buffers([](Arena& arena) { return GramBuffers<double>::take(arena, 4, 3, 3); });
  CHECK_THROWS_AS(gram_loss(backend, buffers, memory.zeros(1), memory.zeros(6, 3), memory.zeros(6, 3), memory.zeros(6, 3)),
                  ShapeError);
}
