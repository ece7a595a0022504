// One way of compiling the Cpu backend; DSSL_TEST_WAY names it.
#include <cmath>
#include <cstddef>
#include <memory>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/isa.hpp>

#include "ways.hpp"

namespace {

using dssl::Index;
using dssl::MatrixView;
using dssl::VectorView;

/// Buffers of the backend, the first numbers of which are given.
struct Desk {
  std::vector<std::vector<float>> pages;

  MatrixView<float> matrix(Index rows, Index cols, double seed = 0) {
    pages.emplace_back(static_cast<std::size_t>(rows * cols));
    for (std::size_t i = 0; i < pages.back().size(); ++i) {
      pages.back()[i] = seed == 0 ? 0.0F : static_cast<float>(std::sin(seed + 0.37 * static_cast<double>(i)));
    }
    return MatrixView<float>(pages.back().data(), rows, cols);
  }
  VectorView<float> vector(Index size, double seed = 0) {
    return VectorView<float>(matrix(1, size, seed).data(), size);
  }
};

/// Products whose extents are no whole tiles, both passes of attention, and the fused end of a head, whose
/// workspace is measured by one call and used by another.
std::vector<float> compute(dssl::Precision precision) {
  const dssl::Cpu cpu({.threads = 2, .precision = precision});
  Desk desk;
  desk.pages.reserve(64);
  constexpr Index rows = 61, width = 48, heads = 3, prototypes = 70;
  const auto x = desk.matrix(rows, width, 1), weight = desk.matrix(3 * width, width, 2);
  const auto qkv = desk.matrix(rows, 3 * width);
  cpu.linear_forward(qkv, x, weight, desk.vector(3 * width, 3));

  const std::vector<dssl::Sequence> sequences{{.first = 0, .patches = 30, .references = 5},
                                              {.first = 36, .patches = 20, .references = 4}};
  const dssl::SequenceBatch batch{
      .sequences = VectorView<const dssl::Sequence>(sequences.data(), 2), .rows = rows, .longest = 36};
  const auto out = desk.matrix(rows, width), log_sum = desk.matrix(rows, heads);
  cpu.attention_forward<dssl::private_relation>(out, log_sum, qkv, batch, heads, dssl::GroupSet{});
  const auto d_qkv = desk.matrix(rows, 3 * width);
  cpu.attention_backward<dssl::private_relation>(d_qkv, x, out, log_sum, qkv, batch, heads, dssl::GroupSet{});
  const auto d_x = desk.matrix(rows, width), d_weight = desk.matrix(3 * width, width);
  cpu.linear_backward_input(d_x, d_qkv, weight);
  cpu.linear_backward_weight(d_weight, desk.vector(3 * width), d_qkv, x);
  cpu.gelu_forward(out, d_x);

  const auto unit = desk.matrix(rows, width);
  cpu.l2_normalise_forward(unit, desk.vector(rows), out, 1e-12);
  std::vector<dssl::TargetRows> targets;
  for (std::int32_t i = 0; i < rows; ++i) targets.push_back({(i * 7) % 61, i % 3 == 0 ? -1 : (i * 5) % 61});
  std::vector<std::byte> workspace(cpu.prototype_loss_workspace(targets, rows, prototypes, width) + 64);
  void* aligned = workspace.data();
  std::size_t space = workspace.size();
  std::align(64, workspace.size() - 64, aligned, space);
  const auto v = desk.matrix(prototypes, width, 5);
  const dssl::PrototypeRows<float> both{.unit = unit, .v = v, .g = {}};
  cpu.prototype_loss({.loss = desk.vector(rows),
                      .entropy = desk.vector(rows),
                      .d_unit = desk.matrix(rows, width),
                      .d_v = desk.matrix(prototypes, width),
                      .d_g = {},
                      .centre_sum = desk.vector(prototypes)},
                     both, both,
                     {.centre = desk.vector(prototypes, 6),
                      .rows = VectorView<const dssl::TargetRows>(targets.data(), rows),
                      .centre_rows = {}},
                     dssl::PrototypeLossNumbers{},
                     VectorView<std::byte>(static_cast<std::byte*>(aligned), static_cast<Index>(space)));
  std::vector<float> all;
  for (const auto& page : desk.pages) all.insert(all.end(), page.begin(), page.end());
  return all;
}

}  // namespace

dssl::test::WayResult dssl::test::DSSL_TEST_WAY() {
  WayResult out{compute(Precision::full), DSSL_ISA_TEXT(DSSL_CPU_KERNELS)};
  const auto rounded = compute(Precision::bf16);
  out.numbers.insert(out.numbers.end(), rounded.begin(), rounded.end());
  return out;
}
