// Matrix products of the Cpu backend by oneDNN.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>

#include <dnnl.hpp>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/definitions.hpp>
#include <dssl/backend/cpu/library_blocks.hpp>
#include <dssl/backend/cpu/onednn_kernels.hpp>
#include <dssl/backend/cpu/product.hpp>
#include <dssl/backend/cpu/product_policy.hpp>
#include <dssl/backend/cpu/rounding.hpp>
#include <dssl/core/error.hpp>

namespace dssl {

/// Matrix products in float, or with operands in bf16 and sums in float, by oneDNN (CMake: dssl::onednn).
///
/// c is cut into blocks by its shape and the depth into groups; each block of a group is one primitive of the
/// library on one of the backend's threads, with OpenMP held to that thread. The right factor is packed once
/// a call for all blocks of rows. Primitives are made at the first call of a shape and kept; large memory is
/// the backend's scratch, but each call of a primitive makes a few small objects on the heap. The same
/// bits for any number of threads. Tests: tests/products/onednn.cpp.
class OneDnnProducts {
 public:
  /// Throws `OptionError` where `precision` is bf16 and oneDNN has no such products for this processor.
  explicit OneDnnProducts(const CpuOptions& options)
      : x_kernels(std::make_shared<cpu::onednn::Kernels>()), x_bf16(cpu::bf16::rounding_of(options).has_value()) {
    x_in_place_of_bf16 = options.precision == Precision::bf16 && !x_bf16;
    if (!x_bf16) return;
    try {
      (void)x_kernels->find(
          {.rows = 16, .cols = 16, .depth = 32, .a = {32}, .b = {16}, .c_stride = 16, .bf16 = true});
    } catch (const Error&) {
      throw OptionError("precision", "bf16", "full, as oneDNN has no products in bf16 for this processor");
    }
  }

  /// c = or += a b [+ bias].
  void multiply(cpu::Workers& workers, const cpu::MatrixProduct<float>& p) const {
    p.require_rows();
    if (cpu::detail::empty_product(p.c, p.depth, p.onto, p.bias)) return;
    const Index groups = (p.depth + x_deepest - 1) / x_deepest;
    const Index depth = (p.depth + groups - 1) / groups;
    for (Index begin = 0; begin < p.depth; begin += depth) {
      x_multiply_group(workers, p, begin, std::min(depth, p.depth - begin));
    }
  }

  [[nodiscard]] std::string describe() const {
    const dnnl_version_t& version = *dnnl_version();
    return join(x_bf16 ? ", products in bf16, of linear layers by oneDNN " : ", linear layers by oneDNN ",
                version.major, ".", version.minor, ".", version.patch,
                x_in_place_of_bf16 ? cpu::bf16::not_multiplied : "");
  }

 private:
  using Kernel = cpu::onednn::Kernel;
  /// Depth up to which a block of a and the packed b stay near the processor.
  static constexpr Index x_deepest = 2048;

  void x_multiply_group(cpu::Workers& workers, const cpu::MatrixProduct<float>& p, Index begin,
                        Index depth) const {
    const Index m = p.c.rows();
    const Index n = p.c.cols();
    const cpu::LibraryBlocks blocks(m, n, 96, 192, 384);
    const bool shared_right = blocks.down > 1;  // the others' packing would be read once
    const bool first = begin == 0;
    cpu::onednn::KernelKey key{.depth = depth,
                               .a = {p.a.stride, p.a.transposed},
                               .b = {p.b.stride, p.b.transposed},
                               .c_stride = n,
                               .onto = first ? p.onto : cpu::Onto::sum,
                               .bias = first && p.bias != nullptr,
                               .bf16 = x_bf16,
                               .shared_right = shared_right,
                               .packed_for = blocks.rows};
    // By whether a block is in the last row of blocks, and in the last column.
    std::array<std::array<const Kernel*, 2>, 2> kernels{};
    std::size_t scratch = 0;
    for (const bool last_col : {false, true}) {
      key.cols = last_col ? blocks.cols_of(blocks.across - 1, n) : blocks.cols;
      key.rows = blocks.rows;
      const Kernel& model = x_kernels->find(key);
      key.rows = blocks.rows_of(blocks.down - 1, m);
      const Kernel& last = x_kernels->find(key, shared_right ? &model : nullptr);
      kernels[0][last_col ? 1 : 0] = &model;
      kernels[1][last_col ? 1 : 0] = &last;
      scratch = std::max({scratch, model.scratch_bytes(), last.scratch_bytes()});
    }
    const auto kernel = [&](Index down, Index across) -> const Kernel& {
      return *kernels[down == blocks.down - 1 ? 1 : 0][across == blocks.across - 1 ? 1 : 0];
    };
    const auto right = [&](Index across) {
      const Index col = across * blocks.cols;
      return p.b.data + (p.b.transposed ? col * p.b.stride + begin : begin * p.b.stride + col);
    };
    const std::size_t right_bytes = std::max(kernels[0][0]->right_bytes(), kernels[0][1]->right_bytes());
    std::byte* packed = nullptr;
    const auto packed_right = [&](Index across) {
      return packed + right_bytes * static_cast<std::size_t>(across);
    };
    if (shared_right) {
      packed = workers.shared(right_bytes * static_cast<std::size_t>(blocks.across)).data();
      workers.run(blocks.across, n * depth / 4, [&](Index across, std::size_t) {
        kernel(0, across).pack_right(packed_right(across), right(across));
      });
    }
    workers.reserve(scratch);
    // Where there are enough of them, a task is a whole row of blocks, which then packs its part of a once.
    const Index in_turn = blocks.down >= cpu::LibraryBlocks::enough ? blocks.across : 1;
    workers.run(blocks.count() / in_turn, m * n * depth / 64, [&](Index task, std::size_t slot) {
      const Kernel* before = nullptr;
      for (Index block = task * in_turn; block < (task + 1) * in_turn; ++block) {
        const Index down = block / blocks.across;
        const Index across = block % blocks.across;
        const Index row = down * blocks.rows;
        const Index col = across * blocks.cols;
        const Kernel& now = kernel(down, across);
        const bool left_packed = before != nullptr && now.packs_left_as(*before);
        const float* const a =
            p.a.data + (p.a.transposed ? begin * p.a.stride + row : row * p.a.stride + begin);
        const void* const b = shared_right ? static_cast<const void*>(packed_right(across)) : right(across);
        now.run(p.c.data() + row * n + col, a, b, key.bias ? p.bias + col : nullptr,
                workers.scratch(slot).data(), left_packed);
        before = &now;
      }
    });
  }

  std::shared_ptr<cpu::onednn::Kernels> x_kernels;
  bool x_bf16;
  bool x_in_place_of_bf16 = false;
};

/// The CPU backend in float with products by oneDNN.
using OneDnnCpu = BasicCpu<float, OneDnnProducts>;

static_assert(ProductPolicy<OneDnnProducts, float>);

}  // namespace dssl
