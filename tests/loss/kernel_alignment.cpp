// Patch kernel alignment against its public code's numbers, and gradients against central differences.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/kernel_alignment.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

/// Row numbers in a backend's memory.
template <class B>
RowIndex rows_in(const B& backend, Memory<B>& memory, const std::vector<std::int32_t>& rows) {
  const auto view = memory.buffers(
      [&](Arena& arena) { return arena.vector<std::int32_t>(static_cast<Index>(rows.size())); });
  backend.upload(view.data(), std::span<const std::int32_t>(rows));
  return view;
}

}  // namespace

TEST_CASE("patch kernel alignment is the published one, with and without ignored patches", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    const ObjectiveFixture fixture("paka");
    const Index images = fixture.extent("student", 0), patches = fixture.extent("student", 1);
    const auto ignored = fixture.file().template read<float>("ignore");
    for (const bool some : {false, true}) {
      Memory<B> memory(backend);
      const auto student = memory.matrix(fixture.file(), "student"), teacher = memory.matrix(fixture.file(), "teacher");
      std::vector<Index> tokens(static_cast<std::size_t>(images), some ? 0 : patches);
      std::vector<std::int32_t> kept;
      for (std::size_t i = 0; some && i < ignored.size(); ++i) {
        if (ignored[i] != 0) continue;
        kept.push_back(static_cast<std::int32_t>(i));
        ++tokens[i / static_cast<std::size_t>(patches)];
      }
      const auto buffers = memory.buffers([&](Arena& arena) {
        return KernelAlignmentBuffers<typename B::Scalar>::take(arena, patches, student.cols(), teacher.cols());
      });
      const auto value = memory.zeros(1);
      const auto d = memory.zeros(student.rows(), student.cols());
      kernel_alignment_loss(backend, buffers, value, d, student, teacher, tokens,
                            some ? rows_in(backend, memory, kept) : RowIndex{});
      const std::string name = some ? "some" : "all";
      fixture.expect(name + ".loss", memory.read(value));
      fixture.expect(name + ".d_student", memory.read(d));
    }
  });
}

TEST_CASE("gradients of patch kernel alignment, with a teacher of another width", "[loss][gradients]") {
  const auto teacher = normal_values(50, 2);
  for (const bool some : {false, true}) {
    // Images of unlike sizes; with patches ignored, the second has a single one left, and the third's are out of order.
    const std::vector<Index> tokens = some ? std::vector<Index>{3, 1, 4} : std::vector<Index>{4, 2, 4};
    check_term_gradients({normal_values(70, 1)}, 7, 1, 0.6,
                         [&](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                           const auto buffers = memory.buffers(
                               [](Arena& arena) { return KernelAlignmentBuffers<double>::take(arena, 4, 7, 5); });
                           kernel_alignment_loss(
                               backend, buffers, value, d[0], x[0], memory.matrix(teacher, 5), tokens,
                               some ? rows_in(backend, memory, {0, 2, 3, 5, 9, 6, 8, 7}) : RowIndex{}, 0.6);
                         });
  }
}

TEST_CASE("patches that are all alike have a loss of 1 and no gradient that is not finite", "[loss]") {
  const Reference<double> backend;
  Memory<Reference<double>> memory(backend);
  const auto buffers =
      memory.buffers([](Arena& arena) { return KernelAlignmentBuffers<double>::take(arena, 3, 2, 2); });
  const auto value = memory.zeros(1);
  const auto d = memory.zeros(3, 2);
  const std::vector<Index> tokens{3};
  kernel_alignment_loss(backend, buffers, value, d, memory.zeros(3, 2), memory.matrix(normal_values(6, 1), 2), tokens);
  CHECK(memory.read(value) == std::vector<double>{1});
  CHECK(memory.read(d) == std::vector<double>(6, 0.0));
}

TEST_CASE("tokens that do not fit the rows are refused, and without images the loss is 0", "[loss]") {
  const Reference<double> backend;
  Memory<Reference<double>> memory(backend);
  const auto buffers =
      memory.buffers([](Arena& arena) { return KernelAlignmentBuffers<double>::take(arena, 4, 3, 3); });
  const auto value = memory.zeros(1);
  const auto d = memory.zeros(6, 3), x = memory.zeros(6, 3);
  const auto run = [&](const std::vector<Index>& tokens, const auto& teacher) {
    kernel_alignment_loss(backend, buffers, value, d, x, teacher, tokens);
  };
  CHECK_THROWS_AS(run({4, 3}, x), ShapeError);
  CHECK_THROWS_AS(run({5, 1}, x), ShapeError);
  CHECK_THROWS_AS(run({-1, 4, 3}, x), ShapeError);
  CHECK_THROWS_AS(run({3, 3}, memory.zeros(5, 3)), ShapeError);
  run({1, 0, 1}, x);
  CHECK(memory.read(value) == std::vector<double>{0});
}
