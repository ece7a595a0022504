// SwAV's loss against its public code's numbers, and gradients against central differences.
#include <string>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/swapped_assignment.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("SwAV's loss is the published one, with a queue and without", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("swav");
    const auto& config = fixture.config();
    const auto images = config.template get<Index>("batch");
    const auto assigning = config.template get<std::vector<Index>>("assign");
    const SwappedAssignmentNumbers numbers{.temperature = config.template get<double>("temperature"),
                                           .epsilon = config.template get<double>("epsilon"),
                                           .iterations = config.template get<Index>("iterations")};
    for (const std::string run : {"plain", "queue"}) {
      Memory<B> memory(backend);
      const auto x = memory.matrix(fixture.file(), run + ".projection");
      const auto before = memory.matrix(fixture.file(), run + ".prototypes.before");
      const Index width = x.cols(), queued = run == "queue" ? config.template get<Index>("queue") : 0;
      const auto z = memory.buffers([&](Arena& arena) { return UnitRows<T>::take(arena, x.rows(), width); });
      const auto prototypes = memory.buffers([&](Arena& arena) { return UnitRows<T>::take(arena, before.rows(), width); });
      z.forward(backend, x, unit_epsilon);
      prototypes.forward(backend, before, unit_epsilon);
      fixture.expect(run + ".prototypes.normalised", memory.read(prototypes.unit));
      const auto buffers = memory.buffers([&](Arena& arena) {
        return SwappedAssignmentBuffers<T>::take(arena, arena.vector<TargetRows>(images), before.rows(), width, queued);
      });
      number_targets(backend, buffers.targets);
      const auto value = memory.zeros(1);
      const auto d_unit = memory.zeros(x.rows(), width), d_x = memory.zeros(x.rows(), width);
      const auto d_prototypes = memory.zeros(before.rows(), width);
      for (std::size_t i = 0; i < assigning.size(); ++i) {
        MatrixView<const T> queue;
        if (queued > 0) queue = memory.matrix(fixture.file(), "queue.queue.before").rows(static_cast<Index>(i) * queued, queued);
        swapped_assignment_loss(backend, buffers, value, d_unit, d_prototypes, z.unit, prototypes.unit, queue, assigning[i],
                                numbers, 1.0 / static_cast<double>(assigning.size()));
      }
      z.backward(backend, d_x, d_unit, unit_epsilon);
      fixture.expect(run + ".loss", memory.read(value));
      fixture.expect(run + ".d_projection", memory.read(d_x));
      fixture.expect(run + ".d_prototypes", memory.read(d_prototypes));
    }
  });
}

TEST_CASE("gradients of SwAV's loss, assignments being constants", "[loss][gradients]") {
  // The assigning view is no input, so that central differences do not move the assignments; prototypes do, and are not.
  const auto prototypes = normal_values(63, 2, 0.4), assigning = normal_values(35, 3, 0.4), queue = normal_values(28, 4, 0.4);
  check_term_gradients({normal_values(70, 1)}, 7, 1, 0.6,
                       [&](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                         const auto buffers = memory.buffers([](Arena& arena) {
                           return SwappedAssignmentBuffers<double>::take(arena, arena.vector<TargetRows>(5), 9, 7, 4);
                         });
                         number_targets(backend, buffers.targets);
                         const auto all = memory.zeros(15, 7), d_all = memory.zeros(15, 7), d_prototypes = memory.zeros(9, 7);
                         backend.copy_rows(all.rows(0, 5), {}, memory.matrix(assigning, 7), {});
                         backend.copy_rows(all.rows(5, 10), {}, x[0], {});
                         swapped_assignment_loss(backend, buffers, value, d_all, d_prototypes, all, memory.matrix(prototypes, 7),
                                                 memory.matrix(queue, 7), 0, {.temperature = 0.3, .epsilon = 0.4}, 0.5, 0.6);
                         backend.add_rows(d[0], {}, d_all.rows(5, 10), {});
                       });
}
