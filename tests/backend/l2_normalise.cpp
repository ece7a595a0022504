// L2 normalisation against the reference numbers: rows of every length, shorter than epsilon and 0 too.
#include <string>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"
#include "objective_fixture.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("L2 normalisation is PyTorch's, and of rows shorter than epsilon a division alone") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    const ObjectiveFixture fixture("l2norm");
    Memory<B> memory(backend);
    const auto x = memory.matrix(fixture.file(), "in"), d_y = memory.matrix(fixture.file(), "d_out");
    const auto y = memory.zeros(x.rows(), x.cols()), d_x = memory.zeros(x.rows(), x.cols());
    const auto norm = memory.zeros(x.rows());
    const auto epsilon = fixture.config().template get<double>("eps");
    backend.l2_normalise_forward(y, norm, x, epsilon);
    backend.l2_normalise_backward(d_x, d_y, y, norm, epsilon);
    fixture.expect("out", memory.read(y));
    fixture.expect("d_in", memory.read(d_x));
  });
}
