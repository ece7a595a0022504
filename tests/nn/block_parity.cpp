// Blocks with the options of published backbones against the numbers of their own code: outputs and all gradients.
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "objective_fixture.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/token_layout.hpp>

using namespace dssl;

namespace {

/// What a pass needs beside the weights.
template <class T>
struct Buffers {
  DeviceTokenLayout device;
  BlockScratch<T> scratch;
  LayerScaleScratch<T> scaled;
  BlockActivations<T> a;
  BlockGradients<T> g;
  MatrixView<T> branch;
};

template <class B>
void check(const B& backend, const std::string& name) {
  using T = typename B::Scalar;
  const test::ObjectiveFixture fixture(name);
  INFO(backend.describe() << ", " << name);
  const Index batch = fixture.extent("in", 0), tokens = fixture.extent("in", 1), width = fixture.extent("in", 2);
  const bool gated = fixture.config().template get<bool>("swiglu");
  const BlockSize size{.width = width,
                       .heads = fixture.config().template get<Index>("heads"),
                       .hidden = fixture.extent(gated ? "weight.mlp.w3.weight" : "weight.mlp.fc2.weight", 1),
                       .gated = gated,
                       .norm_epsilon = fixture.config().template get<double>("ln_eps"),
                       .layer_scale = fixture.config().template get<bool>("layerscale")};
  ParameterLayout layout;
  add_block_parameters(layout, size);

  test::Memory<B> memory(backend);
  const VectorView<T> weights = memory.zeros(layout.total()), gradients = memory.zeros(layout.total());
  for (const auto& spec : layout.specs()) {
    const auto values = fixture.file().read<T>("weight." + std::string(spec.name.view()));
    REQUIRE(values.size() == static_cast<std::size_t>(spec.size));
    backend.upload(weights.data() + spec.offset, std::span<const T>(values));
  }
  const TokenLayout layout_of_tokens({{.count = batch, .grid = {1, tokens - 1}}}, all_groups);
  const Index rows = layout_of_tokens.rows();
  const MatrixView<const T> x = memory.matrix(fixture.file(), "in");
  Buffers<T> b = memory.buffers([&](Arena& arena) {
    Buffers<T> taken;
    taken.device = DeviceTokenLayout::place(backend, arena, layout_of_tokens);
    taken.scratch = BlockScratch<T>::take(arena, size, rows);
    taken.scaled = LayerScaleScratch<T>::take(arena, size, true);
    taken.a = BlockActivations<T>::saved(arena, size, taken.scratch, rows, false);
    taken.g = BlockGradients<T>::take(arena, size, rows, rows);
    taken.branch = arena.matrix<T>(rows, width);
    return taken;
  });
  ParameterCursor<const T> next(layout, weights.data());
  ParameterCursor<T> next_gradient(layout, gradients.data());
  const auto p = BlockParameters<const T>::bind(next, size);
  const auto d_p = BlockParameters<T>::bind(next_gradient, size);
  const BranchKeep<T> keep;

  const auto scaled = scaled_parameters(backend, b.scaled, p);
  norm_alone<B, T>(backend, x, first_norm(b.a, p, keep, size.norm_epsilon));
  block_forward<open_relation>(backend, b.a, x, scaled, size, b.device, keep, b.branch, all_groups, false);
  fixture.expect("out", memory.read(b.a.out));

  const auto d_scaled = scaled_gradients(b.scaled, d_p, 0);
  backend.upload(b.g.d_x.data(), std::span<const T>(fixture.file().template read<T>("d_out")));
  begin_scaled_branch(backend, d_scaled);
  begin_scaled_block(backend, d_scaled);
  branch_alone<B, T>(backend, b.g.d_x, mlp_branch(b.g, d_scaled, b.a, b.device, keep, false));
  block_backward<open_relation>(backend, b.g, d_scaled, b.a, b.scratch, x, scaled, size, b.device, keep, all_groups,
                                false);
  end_scaled_block(backend, b.scaled, d_p, d_scaled, p);
  fixture.expect("d_in", memory.read(b.g.d_x));
  for (const auto& spec : layout.specs()) {
    fixture.expect("grad." + std::string(spec.name.view()),
                   memory.read(VectorView<T>(gradients.data() + spec.offset, spec.size)));
  }
}

}  // namespace

TEST_CASE("blocks with published options give the published outputs and gradients") {
  for (const std::string name : {"block_dinov2", "block_dinov2_swiglu"}) {
    check(Reference<double>(), name);
    check(Reference<float>(), name);
    check(Cpu({.threads = 2}), name);
  }
}
