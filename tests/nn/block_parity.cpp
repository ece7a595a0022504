// Blocks with the options of published backbones against the numbers of their own code: outputs and all gradients.
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "objective_fixture.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/derived_weights.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/token_layout.hpp>

using namespace dssl;

namespace {

/// Where a parameter lies in a fixture: DINOv3 keeps the layers of gates and of values apart, whose rows follow here.
std::vector<std::string> published_names(const test::ObjectiveFixture& fixture, const std::string& name) {
  if (name.starts_with("mlp.w12.") && !fixture.file().contains("weight." + name)) {
    return {"mlp.w1." + name.substr(8), "mlp.w2." + name.substr(8)};
  }
  return {name};
}

/// What a pass needs beside the weights.
template <class T>
struct Buffers {
  MatrixView<T> rotations;
  VectorView<std::int32_t> places;
  DeviceTokenLayout device;
  BlockScratch<T> scratch;
  DerivedWeights<T> scaled;
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
  const bool no_key = fixture.config().template get<bool>("mask_k_bias", false);
  const bool gated = fixture.config().template get<bool>("swiglu");
  const BlockSize size{.width = width,
                       .heads = fixture.config().template get<Index>("heads"),
                       .hidden = fixture.extent(gated ? "weight.mlp.w3.weight" : "weight.mlp.fc2.weight", 1),
                       .gated = gated,
                       .qkv_bias = no_key ? QkvBias::no_key : QkvBias::full,
                       .norm_epsilon = fixture.config().template get<double>("ln_eps"),
                       .layer_scale = fixture.config().template get<bool>("layerscale")};
  ParameterLayout layout;
  add_block_parameters(layout, size);

  test::Memory<B> memory(backend);
  const VectorView<T> weights = memory.zeros(layout.total()), gradients = memory.zeros(layout.total());
  for (const auto& spec : layout.specs()) {
    std::vector<T> values;
    for (const std::string& part : published_names(fixture, std::string(spec.name.view()))) {
      const auto more = fixture.read<T>("weight." + part);
      values.insert(values.end(), more.begin(), more.end());
    }
    REQUIRE(values.size() == static_cast<std::size_t>(spec.size));
    backend.upload(weights.data() + spec.offset, std::span<const T>(values));
  }
  const bool rotary = fixture.config().contains("base");
  const auto sides = fixture.config().template get<std::vector<Index>>("grid", {1, tokens - 1});
  const GridSize grid{sides[0], sides[1]};
  const TokenLayout layout_of_tokens({{.count = batch, .grid = grid, .registers = tokens - 1 - grid.size()}},
                                     all_groups);
  const Index rows = layout_of_tokens.rows();
  const MatrixView<const T> x = memory.matrix(fixture.read<T>("in"), width);
  Buffers<T> b = memory.buffers([&](Arena& arena) {
    Buffers<T> taken;
    taken.device = DeviceTokenLayout::place(backend, arena, layout_of_tokens);
    taken.scratch = BlockScratch<T>::take(arena, size, rows);
    taken.scaled = DerivedWeights<T>::take(arena, size, true);
    taken.a = BlockActivations<T>::saved(arena, size, taken.scratch, rows, false);
    taken.g = BlockGradients<T>::take(arena, size, rows, rows);
    taken.branch = arena.matrix<T>(rows, width);
    taken.rotations = arena.matrix<T>(rotary ? grid.size() : 0, width / size.heads);
    taken.places = arena.vector<std::int32_t>(rotary ? rows : 0);
    return taken;
  });
  ParameterCursor<const T> next(layout, weights.data());
  ParameterCursor<T> next_gradient(layout, gradients.data());
  const auto p = BlockParameters<const T>::bind(next, size);
  const auto d_p = BlockParameters<T>::bind(next_gradient, size);
  const BranchKeep<T> keep;
  HeadChanges<T> rotations;
  if (rotary) {
    const Index quarter = width / size.heads / 4;
    std::vector<T> coordinates, periods;
    for (const Taps<T>& centre : coordinate_reads<T>(grid)) {
      coordinates.insert(coordinates.end(), {centre.weight[0], centre.weight[1]});
    }
    for (Index j = 0; j < quarter; ++j) {
      periods.push_back(static_cast<T>(std::pow(fixture.config().template get<double>("base"),
                                                static_cast<double>(j) / static_cast<double>(quarter))));
    }
    backend.rotation_rows(b.rotations, memory.matrix(coordinates, 2),
                          VectorView<const T>(memory.matrix(periods, 1).data(), quarter));
    std::vector<std::int32_t> places(static_cast<std::size_t>(rows), -1);
    for (std::size_t i = 0; i < layout_of_tokens.patch_rows().size(); ++i) {
      places[static_cast<std::size_t>(layout_of_tokens.patch_rows()[i])] = layout_of_tokens.patch_cells()[i];
    }
    backend.upload(b.places.data(), std::span<const std::int32_t>(places));
    rotations = {b.rotations, b.places};
  }

  const auto scaled = derived_parameters(backend, b.scaled, p);
  norm_alone<B, T>(backend, x, first_norm(b.a, p, keep, size.norm_epsilon));
  block_forward<open_relation>(backend, b.a, x, scaled, size, b.device, keep, b.branch, all_groups, false, {},
                               rotations);
  fixture.expect("out", memory.read(b.a.out));

  const auto d_scaled = derived_gradients(b.scaled, d_p, 0);
  backend.upload(b.g.d_x.data(), std::span<const T>(fixture.template read<T>("d_out")));
  begin_derived_branch(backend, d_scaled);
  begin_derived_block(backend, d_scaled);
  branch_alone<B, T>(backend, b.g.d_x, mlp_branch(b.g, d_scaled, b.a, b.device, keep, false));
  block_backward<open_relation>(backend, b.g, d_scaled, b.a, b.scratch, x, scaled, size, b.device, keep, all_groups,
                                false, {}, rotations);
  end_derived_block(backend, b.scaled, d_p, d_scaled, p);
  fixture.expect("d_in", memory.read(b.g.d_x));
  for (const auto& spec : layout.specs()) {
    const auto parts = published_names(fixture, std::string(spec.name.view()));
    const Index each = spec.size / static_cast<Index>(parts.size());
    T* gradient = gradients.data() + spec.offset;
    for (const std::string& part : parts) {
      fixture.expect("grad." + part, memory.read(VectorView<T>(gradient, each)));
      gradient += each;
    }
  }
  CHECK(fixture.left_out() == std::vector<std::string>{});
}

}  // namespace

TEST_CASE("blocks with published options give the published outputs and gradients") {
  for (const std::string name : {"block_dinov2", "block_dinov2_swiglu", "block_dinov3"}) {
    check(Reference<double>(), name);
    check(Reference<float>(), name);
    check(Cpu({.threads = 2}), name);
  }
}
