// The products of the Cpu backend by dssl's own kernels.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <type_traits>

#include <dssl/backend/cpu/bf16_product.hpp>
#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/options.hpp>
#include <dssl/backend/cpu/product.hpp>
#include <dssl/backend/cpu/product_policy.hpp>
#include <dssl/backend/cpu/workers.hpp>

namespace dssl {

/// Matrix products by dssl's own kernels, which need no library: in the backend's numbers, in float by three
/// bf16 numbers for each where the processor multiplies these sooner, or in bf16.
///
/// Operands become bf16 numbers, one or three each, as they are packed. Products are cut into blocks by
/// shapes alone. Tests: tests/backend/cpu.cpp, tests/backend/bf16.cpp.
template <std::floating_point T>
class OwnProducts {
 public:
  explicit OwnProducts(const CpuOptions& options) {
    using cpu::bf16::Engine;
    if (!std::is_same_v<T, float>) return;
    if (options.precision == Precision::bf16) {
      x_mode = {.engine = cpu::bf16::best_engine(), .parts = 1};
    } else if (options.split_products && cpu::bf16::best_engine() == Engine::tile_unit) {
      x_mode = {.engine = Engine::tile_unit, .parts = 3};
    }
  }

  /// c = or += a b [+ bias].
  void multiply(cpu::Workers& workers, const cpu::MatrixProduct<T>& p) const {
    if constexpr (std::is_same_v<T, float>) {
      using cpu::bf16::Order;
      if (x_mode && p.a.transposed) return x_in_tiles<Order::by_depth, Order::by_depth>(workers, p);
      if (x_mode && p.b.transposed) return x_in_tiles<Order::by_extent, Order::by_extent>(workers, p);
      if (x_mode) return x_in_tiles<Order::by_extent, Order::by_depth>(workers, p);
    }
    using cpu::RightOrder;
    if (p.a.transposed) return x_plain<true, RightOrder::rows>(workers, p);
    if (p.b.transposed) return x_plain<false, RightOrder::columns>(workers, p);
    x_plain<false, RightOrder::rows>(workers, p);
  }

  /// How products are computed, where not in the backend's own numbers.
  [[nodiscard]] std::string describe() const {
    if (!x_mode) return "";
    if (x_mode->parts == 3) return ", linear layers by AMX with three bf16 numbers for a float";
    switch (x_mode->engine) {
      case cpu::bf16::Engine::tile_unit:
        return ", products in bf16 by AMX";
      case cpu::bf16::Engine::dot_product:
        return ", products in bf16 by AVX-512";
      case cpu::bf16::Engine::emulated:
        break;
    }
    return ", products in bf16, emulated: slower than float32, as this processor (or the flags dssl was "
           "compiled with) "
           "has no instructions for bf16";
  }

 private:
  template <bool ByColumns, cpu::RightOrder Order>
  static void x_plain(cpu::Workers& workers, const cpu::MatrixProduct<T>& p) {
    cpu::product<ByColumns, Order, T>(workers, p.c, {p.a.data, p.a.stride}, p.b.data, p.b.stride, p.depth,
                                      p.onto, p.bias);
  }
  template <cpu::bf16::Order A, cpu::bf16::Order B>
  void x_in_tiles(cpu::Workers& workers, const cpu::MatrixProduct<T>& p) const {
    cpu::bf16::product<A, B>(workers, *x_mode, p.c, {p.a.data, p.a.stride}, {p.b.data, p.b.stride}, p.depth,
                             p.onto, p.bias);
  }

  std::optional<cpu::bf16::Mode> x_mode;
};

}  // namespace dssl
