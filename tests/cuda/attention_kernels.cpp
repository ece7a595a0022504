// Attention below the backend: rounding of operands, relations as kernels see them, memory.
#include "catch.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/cuda.cuh>
#include <dssl/backend/reference.hpp>

#include "backend/board.hpp"
#include "cuda/held_to_oracle.hpp"
#include "cuda/test_instances.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

template <AttentionRelation R>
void check_pattern(GroupSet queries) {
  const auto pattern = cuda::AttentionPattern::of<R>(queries);
  constexpr TokenGroup groups[3] = {TokenGroup::class_token, TokenGroup::patch, TokenGroup::reference};
  for (unsigned row = 0; row < 3; ++row) {
    const bool query = queries.has(groups[row]);
    CHECK(((pattern.queries() >> row & 1U) != 0) == query);
    CHECK(((pattern.self() >> row & 1U) != 0) ==
          (query && row != 0 && R.sees(groups[row], groups[row]) == Sees::self));
    for (unsigned column = 0; column < 3; ++column) {
      const Sees sees = R.sees(groups[row], groups[column]);
      const bool whole = query && (sees == Sees::full || (row == 0 && column == 0 && sees == Sees::self));
      CHECK(((pattern.sees(row) >> column & 1U) != 0) == whole);
      CHECK(((pattern.seen_by(column) >> row & 1U) != 0) == whole);
      if (whole) CHECK((pattern.keys() >> column & 1U) != 0);
    }
  }
}

}  // namespace

TEST_CASE("operands of tensor cores are rounded to the nearest", "[cuda]") {
  using cuda::detail::bits_of;
  using cuda::detail::float_of;
  const auto bf16 = [](std::uint32_t bits) { return cuda::Bf16Words::pack(float_of(bits), 0.0F); };
  CHECK(bf16(0x3f807fffU) == 0x3f80U);
  CHECK(bf16(0x3f808000U) == 0x3f80U);  // a tie, the even one below
  CHECK(bf16(0x3f818000U) == 0x3f82U);  // a tie, the even one above
  CHECK((bf16(0x7f800001U) & 0x7fc0U) == 0x7fc0U);
  CHECK(cuda::Bf16Words::pack(1.0F, -2.0F) == 0xc0003f80U);
  CHECK(cuda::Tf32Words::pack(float_of(0x3f800fffU)) == 0x3f800000U);
  CHECK(cuda::Tf32Words::pack(float_of(0x3f801000U)) == 0x3f802000U);  // a tie, away from 0
  CHECK(cuda::Tf32Words::pack(std::numeric_limits<float>::infinity()) == 0x7f800000U);
  CHECK(std::isnan(float_of(cuda::Tf32Words::pack(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE("attention's pattern is the relation's", "[cuda]") {
  for (const GroupSet queries : {all_groups, GroupSet{.class_token = true}, GroupSet{.reference = true},
                                 GroupSet{.class_token = true, .patch = true}, GroupSet{}}) {
    check_pattern<open_relation>(queries);
    check_pattern<hidden_relation>(queries);
    check_pattern<hidden_no_class_relation>(queries);
    check_pattern<private_relation>(queries);
    check_pattern<all_query_relation>(queries);
    check_pattern<gap_relation>(queries);
    check_pattern<lonely_relation>(queries);
  }
}

TEST_CASE("attention allocates nothing in a second call, nor does the loss over prototypes", "[cuda]") {
  for (const Precision precision : {Precision::full, Precision::bf16}) {
    const Cuda backend(CudaOptions{.precision = precision});
    Board<Cuda> board(backend, 1);
    const SequenceBatch batch = board.sequences({{.patches = 70, .references = 2}, {.patches = 5}});
    const auto qkv = board.matrix(batch.rows, 96);
    const auto d_out = board.matrix(batch.rows, 32);
    const auto out = board.output(batch.rows, 32);
    const auto log_sum = board.output(batch.rows, 1);
    const auto d_qkv = board.output(batch.rows, 96);

    const std::vector<TargetRows> targets{{0, 1}, {1, -1}, {-1, -1}};
    const PrototypeLossResult<float> result{
        board.output(3), board.output(2), board.output(3, 16), board.sum(200, Index{16}), {}, board.sum(200)};
    const PrototypeRows<float> student{board.matrix(3, 16), board.matrix(200, 16), {}};
    const PrototypeRows<float> teacher{board.matrix(2, 16), board.matrix(200, 16), {}};
    const PrototypeTargets<float> compared{board.vector(200), board.list(targets), {}};
    const std::size_t bytes = backend.prototype_loss_workspace(std::span(targets), 2, 200, 16);
    const Buffer workspace = backend.allocate(bytes);
    const auto work = [&] {
      backend.attention_forward<private_relation>(out, log_sum, qkv, batch, 1, all_groups);
      backend.attention_backward<private_relation>(d_qkv, d_out, out, log_sum, qkv, batch, 1, all_groups);
      backend.prototype_loss(result, student, teacher, compared, PrototypeLossNumbers{},
                             VectorView<std::byte>(workspace.data(), static_cast<Index>(bytes)));
      backend.synchronise();
    };
    work();
    cuda_stand_in::Device& device = cuda_stand_in::Device::get();
    device.fails = {{"cudaMalloc", cudaErrorMemoryAllocation}, {"cudaMallocHost", cudaErrorMemoryAllocation}};
    const std::string thrown = thrown_by<CudaError>(work);
    device.fails.clear();
    CHECK(thrown == "(nothing was thrown)");
  }
}
