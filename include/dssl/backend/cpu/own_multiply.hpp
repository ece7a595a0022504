// How dssl's own products are computed.
#pragma once

#include <string>
#include <type_traits>

#include <dssl/backend/cpu/bf16_product.hpp>
#include <dssl/backend/cpu/bf16_tile.hpp>
#include <dssl/backend/cpu/packed_operand.hpp>
#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/own_products.hpp>
#include <dssl/backend/cpu/product.hpp>
#include <dssl/backend/cpu/rounding.hpp>

namespace dssl::inline DSSL_CPU_KERNELS {

template <std::floating_point T>
OwnProducts<T>::OwnProducts(const CpuOptions& options) {
  using cpu::bf16::Engine;
  if (!std::is_same_v<T, float>) return;
  if (options.precision == Precision::bf16) {
    if (const auto engine = cpu::bf16::rounding_of(options)) x_mode = {.engine = *engine, .parts = 1};
    x_in_place_of_bf16 = !x_mode;
  } else if (options.split_products && cpu::bf16::best_engine() == Engine::tile_unit) {
    x_mode = {.engine = Engine::tile_unit, .parts = 3};
  }
}

template <std::floating_point T>
void OwnProducts<T>::multiply(cpu::Workers& workers, const cpu::MatrixProduct<T>& p) const {
  if constexpr (std::is_same_v<T, float>) {
    using cpu::bf16::Order;
    if (x_mode && x_mode->parts == 1 && p.packed != nullptr) {
      cpu::bf16::PackedTiles tiles;
      const bool ready = cpu::bf16::packed_tiles(tiles, workers, *p.packed, p.c.cols(), p.depth);
      return cpu::bf16::product<1, Order::by_extent, Order::by_extent>(workers, x_mode->engine, p.c, {p.a.data, p.a.stride},
                                                                       {p.b.data, p.b.stride}, p.depth, p.onto, p.bias,
                                                                       ready ? &tiles : nullptr);
    }
    if (x_mode) p.require_rows();
    const auto in_tiles = [&]<Order A, Order B>() {
      cpu::bf16::product<A, B>(workers, *x_mode, p.c, {p.a.data, p.a.stride}, {p.b.data, p.b.stride}, p.depth,
                               p.onto, p.bias);
    };
    if (x_mode && p.a.transposed) return in_tiles.template operator()<Order::by_depth, Order::by_depth>();
    if (x_mode && p.b.transposed) return in_tiles.template operator()<Order::by_extent, Order::by_extent>();
    if (x_mode) return in_tiles.template operator()<Order::by_extent, Order::by_depth>();
  }
  using cpu::RightOrder;
  if (p.packed != nullptr) {
    cpu::PackedPanels<T> panels;
    const bool ready = cpu::packed_panels(panels, workers, *p.packed, p.c.cols(), p.depth);
    return cpu::product<false, RightOrder::columns, T>(workers, p.c, {p.a.data, p.a.stride}, p.b.data, p.b.stride, p.depth,
                                                       p.onto, p.bias, ready ? &panels : nullptr);
  }
  const auto plain = [&]<bool ByColumns, RightOrder Order>() {
    cpu::product<ByColumns, Order, T>(workers, p.c, {p.a.data, p.a.stride}, p.b.data, p.b.stride, p.depth,
                                      p.onto, p.bias);
  };
  if (p.a.transposed) return plain.template operator()<true, RightOrder::rows>();
  if (p.b.transposed) return plain.template operator()<false, RightOrder::columns>();
  plain.template operator()<false, RightOrder::rows>();
}

template <std::floating_point T>
std::string OwnProducts<T>::describe() const {
  if (!x_mode) return x_in_place_of_bf16 ? cpu::bf16::not_multiplied : "";
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

}  // namespace dssl::inline DSSL_CPU_KERNELS
