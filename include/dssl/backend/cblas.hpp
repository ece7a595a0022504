// Matrix products of the Cpu backend by a CBLAS, such as OpenBLAS or BLIS.
#pragma once

#include <algorithm>
#include <concepts>
#include <limits>
#include <string>

#include <cblas.h>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/definitions.hpp>
#include <dssl/backend/cpu/library_blocks.hpp>
#include <dssl/backend/cpu/product.hpp>
#include <dssl/backend/cpu/product_policy.hpp>
#include <dssl/core/error.hpp>

// Of OpenBLAS alone; null with another library.
extern "C" {
__attribute__((weak)) void openblas_set_num_threads(int threads);
__attribute__((weak)) char* openblas_get_config(void);
}

namespace dssl {

/// Matrix products in float or double by the CBLAS that the program links (CMake: dssl::cblas).
///
/// c is cut into blocks by its shape, and where these are few, the depth into parts that are added in order;
/// each is one call of the library on one of the backend's threads. OpenBLAS, which has threads of its own,
/// is held to one: its number of threads belongs to the whole program, is set when a backend is made, and
/// stays. Another CBLAS with threads must be told by its own means (OMP_NUM_THREADS=1), or both kinds of
/// threads compete for the processors. The same bits for any number of the backend's threads. Tests:
/// tests/products/cblas.cpp.
class CblasProducts {
 public:
  /// Throws `OptionError` when `precision` is bf16, which a CBLAS does not have.
  explicit CblasProducts(const CpuOptions& options) {
    if (options.precision != Precision::full) {
      throw OptionError("precision", "bf16", "full with products by a CBLAS");
    }
    if (openblas_set_num_threads != nullptr) openblas_set_num_threads(1);
  }

  /// c = or += a b [+ bias]. Throws `ShapeError` where an extent does not fit into an int.
  void multiply(cpu::Workers& workers, const cpu::MatrixProduct<float>& p) const { x_multiply(workers, p); }
  void multiply(cpu::Workers& workers, const cpu::MatrixProduct<double>& p) const { x_multiply(workers, p); }

  [[nodiscard]] std::string describe() const {
    if (openblas_get_config == nullptr) return ", linear layers by a CBLAS";
    // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...": its name and version.
    const std::string config = openblas_get_config();
    return ", linear layers by " + config.substr(0, config.find(' ', config.find(' ') + 1));
  }

 private:
  static constexpr Index x_part_depth = 1024;

  template <class T>
  static void x_multiply(cpu::Workers& workers, const cpu::MatrixProduct<T>& p) {
    p.require_rows();
    if (cpu::detail::empty_product(p.c, p.depth, p.onto, p.bias)) return;
    const Index m = p.c.rows();
    const Index n = p.c.cols();
    constexpr Index most = std::numeric_limits<int>::max();
    require_shape(std::max({m, n, p.depth, p.a.stride, p.b.stride}) <= most, "product by a CBLAS: ", m, " x ",
                  n, ", depth ", p.depth, ", beyond int");
    const cpu::LibraryBlocks blocks(m, n, 192, 768, 768);
    const Index parts = blocks.count() < cpu::LibraryBlocks::enough && p.depth >= 2 * x_part_depth
                            ? (p.depth + x_part_depth - 1) / x_part_depth
                            : 1;
    T* partial = nullptr;
    if (parts > 1) {
      partial = reinterpret_cast<T*>(
          workers.shared(static_cast<std::size_t>(parts * p.c.size()) * sizeof(T)).data());
    }
    const Index depth = parts > 1 ? x_part_depth : p.depth;
    workers.run(parts * blocks.count(), m * n * p.depth / 64, [&](Index task, std::size_t) {
      const Index part = task / blocks.count();
      const Index down = task % blocks.count() / blocks.across;
      const Index across = task % blocks.count() % blocks.across;
      T* const c = partial == nullptr ? p.c.data() : partial + part * p.c.size();
      x_block(p, c, partial == nullptr, {down * blocks.rows, blocks.rows_of(down, m)},
              {across * blocks.cols, blocks.cols_of(across, n)},
              {part * depth, std::min(depth, p.depth - part * depth)});
    });
    if (partial != nullptr) {
      cpu::detail::add_parts(workers, p.c, static_cast<const T*>(partial), parts, p.onto, p.bias);
    }
  }

  struct Range {
    Index begin;
    Index extent;
  };

  /// One block of c, or (not `whole`) of a part of its depth.
  template <class T>
  static void x_block(const cpu::MatrixProduct<T>& p, T* c, bool whole, Range row, Range col, Range depth) {
    const Index n = p.c.cols();
    c += row.begin * n + col.begin;
    const bool adds = whole && p.onto == cpu::Onto::sum;
    const bool begins = whole && !adds && p.bias != nullptr;
    if (begins) {
      for (Index i = 0; i < row.extent; ++i) std::copy_n(p.bias + col.begin, col.extent, c + i * n);
    }
    const auto at = [](const cpu::Factor<T>& f, Index i, Index j) {
      return f.data + (f.transposed ? j * f.stride + i : i * f.stride + j);
    };
    x_gemm(p.a.transposed, p.b.transposed, row.extent, col.extent, depth.extent,
           at(p.a, row.begin, depth.begin), p.a.stride, at(p.b, depth.begin, col.begin), p.b.stride,
           adds || begins ? T{1} : T{0}, c, n);
  }

  template <class T>
  static void x_gemm(bool a_transposed, bool b_transposed, Index m, Index n, Index k, const T* a,
                     Index a_stride, const T* b, Index b_stride, T beta, T* c, Index c_stride) {
    const auto order = [](bool transposed) { return transposed ? CblasTrans : CblasNoTrans; };
    const auto whole = [](Index extent) { return static_cast<int>(extent); };
    if constexpr (std::same_as<T, float>) {
      cblas_sgemm(CblasRowMajor, order(a_transposed), order(b_transposed), whole(m), whole(n), whole(k), 1.0F,
                  a, whole(a_stride), b, whole(b_stride), beta, c, whole(c_stride));
    } else {
      cblas_dgemm(CblasRowMajor, order(a_transposed), order(b_transposed), whole(m), whole(n), whole(k), 1.0,
                  a, whole(a_stride), b, whole(b_stride), beta, c, whole(c_stride));
    }
  }
};

/// The CPU backend in float with products by a CBLAS.
using CblasCpu = BasicCpu<float, CblasProducts>;

static_assert(ProductPolicy<CblasProducts, float> && ProductPolicy<CblasProducts, double>);

}  // namespace dssl
