// Options of the Cpu backend.
#pragma once

#include <memory_resource>

#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/precision.hpp>

namespace dssl {

/// Options of the CPU backend.
struct CpuOptions {
  int threads = 0;                        ///< threads that share the work; 0: as many as the process may use
  /// full, or bf16 on backends in float. Where nothing multiplies bf16 numbers, bf16 becomes full, as it would
  /// cost about ten times as much; `describe()` and `precision()` tell.
  Precision precision = Precision::full;
  /// Precision bf16 gives its numbers on every processor: without instructions for it, operands are rounded and
  /// then multiplied in float, slowly.
  bool emulate_bf16 = false;
  /// Read by `OwnProducts`. Precision `full`, in float: linear layers multiply by the processor's bf16 tile
  /// unit where it has one (AMX), each operand as the sum of three bf16 numbers. The results are as precise
  /// as float's, sooner; false: plain float.
  bool split_products = true;
  /// Where weights, activations and scratch come from; it must outlive the backend and its buffers. Null: the
  /// system.
  std::pmr::memory_resource* memory = nullptr;
  /// Is told how long every task took, and must outlive the backend; all work is then done on one thread.
  /// Null: none.
  cpu::LoopObserver* observer = nullptr;
};

}  // namespace dssl
