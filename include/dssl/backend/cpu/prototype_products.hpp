// Cpu backend: products of rows with blocks of prototypes, the only arithmetic of the fused loss that grows with D.
#pragma once

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/product.hpp>
#include <dssl/backend/cpu/tile.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::cpu::inline DSSL_ISA {

/// M rows (M,D) laid out for products with C prototypes at a time; one thread each, all threads read the same rows.
///
/// Logits lie transposed, (C, stride) with one row of the matrix a lane: softmax statistics of 16 rows are then
/// registers, and prototypes are read where they lie, once, in order.
template <class T>
class PrototypeProducts {
 public:
  PrototypeProducts() = default;

  /// Room for at most `rows` rows.
  static PrototypeProducts take(Arena& arena, Index rows, Index width) {
    PrototypeProducts p;
    p.x_width = width;
    p.x_rows = arena.take<T>(rows * width);
    p.x_columns = arena.take<T>(x_panels(rows) * panel_width<T> * width);
    p.x_panels_of_rows = arena.take<T>(x_panels(width) * panel_width<T> * rows);
    return p;
  }

  /// Room for the i-th row, which the caller fills before `pack`.
  [[nodiscard]] T* row(Index i) const { return x_rows + i * x_width; }

  /// Lays out the first `rows` rows; `backward`: for the gradients as well.
  void pack(Index rows, bool backward) {
    x_count = rows;
    detail::pack_right<RightOrder::columns>(x_columns, static_cast<const T*>(x_rows), x_width, 0, x_width, 0, rows);
    if (backward) {
      detail::pack_right<RightOrder::rows>(x_panels_of_rows, static_cast<const T*>(x_rows), x_width, 0, rows, 0,
                                           x_width);
    }
  }

  [[nodiscard]] Index count() const { return x_count; }
  /// Lanes that the rows fill: `count` rounded up to whole registers.
  [[nodiscard]] Index lanes() const { return padded<T>(x_count); }

  /// t (C, stride) = v (C,D) rows^T; columns from `count` up to `lanes` become 0.
  void logits(T* t, Index stride, const T* v, Index prototypes) const {
    multiply<false, T>(t, stride, prototypes, lanes(), {v, x_width},
                       {x_columns, panel_width<T>, panel_width<T> * x_width}, x_width, Onto::assign);
  }

  /// d_w (C,D) = d_t (C, stride) rows.
  void gradient_of_prototypes(T* d_w, const T* d_t, Index stride, Index prototypes) const {
    multiply<false, T>(d_w, x_width, prototypes, x_width, {d_t, stride},
                       {x_panels_of_rows, panel_width<T>, panel_width<T> * x_count}, x_count, Onto::assign);
  }

  /// Numbers of scratch that `gradient_of_rows` wants for a block of prototypes.
  static Index scratch(Index prototypes, Index width) { return x_panels(width) * panel_width<T> * prototypes; }

  /// d_rows (M,D) = or += d_t^T v, d_t (C, stride), v (C,D).
  void gradient_of_rows(T* d_rows, const T* d_t, Index stride, const T* v, Index prototypes, Onto onto,
                        T* scratch) const {
    detail::pack_right<RightOrder::rows>(scratch, v, x_width, 0, prototypes, 0, x_width);
    multiply<true, T>(d_rows, x_width, x_count, x_width, {d_t, stride},
                      {scratch, panel_width<T>, panel_width<T> * prototypes}, prototypes, onto);
  }

 private:
  static Index x_panels(Index columns) { return (columns + panel_width<T> - 1) / panel_width<T>; }

  Index x_width = 0;
  Index x_count = 0;
  T* x_rows = nullptr;            // (M,D)
  T* x_columns = nullptr;         // right operand (D,M)
  T* x_panels_of_rows = nullptr;  // right operand (M,D)
};

/// The way back through the weight norm of one prototype w = g v / |v|: d_v (D) += from d_w (D), which comes divided
/// by |v|; gives the gradient of g.
template <class T>
T add_through_norm(T* d_v, const T* d_w, const T* v, Index width, T g, T inverse_norm) {
  const double dot = sum<T>(width, [](const auto& a, const auto& b) { return a * b; }, d_w, v);
  const auto inverse = static_cast<double>(inverse_norm);
  const auto scale = spread(g);
  const auto along = spread(static_cast<T>(dot * inverse * inverse));
  map(d_v, width, [&](const auto& d, const auto& a, const auto& b) { return multiply_add(scale, a - along * b, d); },
      d_v, d_w, v);
  return static_cast<T>(dot);
}

}  // namespace dssl::cpu::inline DSSL_ISA
