// Attention's kernels below the backend: fragments of tensor cores, heads and relations that no recipe has
// yet.
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
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// c (16,8) = a (16,K) b (K,8) by one warp.
template <class Words, int K>
__global__ void one_product(float* c, const float* a, const float* b) {
  const int g = cuda::lane_number() / 4;
  const int t = cuda::lane_number() % 4;
  const auto left = [&](int row, int word) { return Words::load(a + row * K, word, K); };
  const auto right = [&](int word, int column) {
    if constexpr (Words::per_word == 2) {
      return Words::pack(b[2 * word * 8 + column], b[(2 * word + 1) * 8 + column]);
    } else {
      return Words::pack(b[word * 8 + column]);
    }
  };
  const std::uint32_t words[4] = {left(g, t), left(g + 8, t), left(g, t + 4), left(g + 8, t + 4)};
  float sum[4] = {};
  Words::multiply_add(sum, words, right(t, g), right(t + 4, g));
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

template <class Words>
void check_fragments() {
  constexpr int k = 8 * Words::per_word;
  const Cuda backend;
  Board<Cuda> board(backend, 5);
  std::vector<double> a, b;
  for (int i = 0; i < 16 * k; ++i) a.push_back((i * 37) % 23 - 11);
  for (int i = 0; i < k * 8; ++i) b.push_back((i * 29) % 19 - 9);
  const auto left = board.given(a, 16, k);
  const auto right = board.given(b, k, 8);
  const auto out = board.output(16, 8);
  backend.synchronise();
  const cuda::Stream stream(0);
  cuda::launch(stream, one_product<Words, k>, dim3(1), dim3(32), 0, out.data(), left.data(), right.data());
  stream.synchronise();
  const std::vector<double> got = board.written()[0].values;
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      double sum = 0;
      for (int n = 0; n < k; ++n)
        sum += a[static_cast<std::size_t>(i * k + n)] * b[static_cast<std::size_t>(n * 8 + j)];
      CHECK(got[static_cast<std::size_t>(i * 8 + j)] == sum);
    }
  }
}

// Relations that are none of the published ones: a gap between what is seen, keys that some see whole and
// others alone, patches that see no patch.
constexpr AttentionRelation gap_relation{{Sees::full, Sees::full, Sees::none},
                                         {Sees::full, Sees::self, Sees::none},
                                         {Sees::none, Sees::full, Sees::self}};
constexpr AttentionRelation lonely_relation{{Sees::self, Sees::none, Sees::full},
                                            {Sees::none, Sees::full, Sees::none},
                                            {Sees::none, Sees::none, Sees::self}};

struct Shape {
  std::vector<Sequence> sequences;
  Index heads, d;
};

template <AttentionRelation R, class Held>
void visit(Held&& held, const std::string& name, const Shape& shape, GroupSet queries) {
  held(name, [shape, queries](const auto& b, auto& board) {
    const SequenceBatch batch = board.sequences(shape.sequences);
    const Index width = shape.heads * shape.d;
    const auto d_qkv = board.output(batch.rows, 3 * width);
    const auto out = board.sum(batch.rows, width);
    const auto log_sum = board.sum(batch.rows, shape.heads);
    const auto qkv = board.matrix(batch.rows, 3 * width, 1.5);
    b.template attention_forward<R>(out, log_sum, qkv, batch, shape.heads, queries);
    b.template attention_backward<R>(d_qkv, board.matrix(batch.rows, width), out, log_sum, qkv, batch,
                                     shape.heads, queries);
  });
}

template <class Held>
void visit_relations(Held&& held, const Shape& shape, const std::string& name) {
  visit<private_relation>(held, name + ", private", shape, all_groups);
  visit<all_query_relation>(held, name + ", all-query, references and patches", shape,
                            {.reference = true, .patch = true});
  for (const GroupSet queries :
       {all_groups, GroupSet{.class_token = true, .patch = true}, GroupSet{.reference = true}}) {
    visit<gap_relation>(held, name + ", gap", shape, queries);
    visit<lonely_relation>(held, name + ", lonely", shape, queries);
  }
}

/// A head's width that tensor cores take, up to the largest; sequences that end before, at and behind a
/// tile's end.
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const Index d : {Index{16}, Index{48}, Index{80}, Index{128}}) {
    all.push_back(
        {{{.patches = 31, .references = 3}, {.patches = 63}, {.patches = 66, .references = 9}}, 2, d});
  }
  return all;
}

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

TEST_CASE("a warp's tensor-core product is the matrix product", "[cuda]") {
  check_fragments<cuda::Bf16Words>();
  check_fragments<cuda::Tf32Words>();
}

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

TEST_CASE("attention on tensor cores takes heads of every width and any relation", "[cuda]") {
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    INFO((precision == Precision::tf32 ? "tf32" : "bf16"));
    const Cuda backend(CudaOptions{.precision = precision});
    HeldToOracle held(backend, precision == Precision::tf32 ? 4e-3 : 3e-2, Measure::norm, 2);
    for (const Shape& shape : shapes()) visit_relations(held, shape, join("heads of ", shape.d));
  }
}

TEST_CASE("attention in the backend's own numbers takes any relation", "[cuda]") {
  const Cuda in_float;
  const BasicCuda<double> in_double;
  HeldToOracle held(in_float, 1e-5);
  HeldToOracle precisely(in_double, 1e-12);
  for (const Index d : {Index{3}, Index{40}}) {
    const Shape shape{
        {{.patches = 31, .references = 3}, {.patches = 30}, {.patches = 33, .references = 40}}, 2, d};
    visit_relations(held, shape, join("heads of ", d));
    visit_relations(precisely, shape, join("heads of ", d));
  }
}

TEST_CASE("a NaN among the keys reaches every row that sees it, on tensor cores too", "[cuda]") {
  for (const Precision precision : {Precision::full, Precision::tf32, Precision::bf16}) {
    const Cuda backend(CudaOptions{.precision = precision});
    Board<Cuda> board(backend, 1);
    const SequenceBatch batch = board.sequences({{.patches = 70, .references = 2}});
    std::vector<double> numbers(static_cast<std::size_t>(batch.rows * 48), 0.25);
    numbers[static_cast<std::size_t>(69 * 48 + 16 + 5)] =
        std::numeric_limits<double>::quiet_NaN();  // key of a patch
    const auto out = board.sum(batch.rows, Index{16});
    const auto log_sum = board.sum(batch.rows, Index{1});
    backend.attention_forward<private_relation>(out, log_sum, board.given(numbers, batch.rows, 48), batch, 1,
                                                all_groups);
    const auto written = board.written();
    for (const auto& output : written) {
      for (const double x : output.values) CHECK((std::isnan(x)));
    }
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
