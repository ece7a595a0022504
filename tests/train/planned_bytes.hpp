// What a training step would allocate, without allocating it.
#pragma once

#include <cstddef>

#include <dssl/backend/cpu.hpp>
#include <dssl/train/training_step.hpp>

#include "train/tiny_model.hpp"

namespace dssl::test {

/// A Cpu backend that only tells what it is asked for.
class AskedCpu : public Cpu {
 public:
  struct Asked {
    std::size_t bytes;
  };

  AskedCpu() : Cpu({.threads = 1}) {}
  [[noreturn]] Buffer allocate(std::size_t bytes) const { throw Asked{bytes}; }
};

/// DenseDINO's tokens, losses and heads on a backbone of any size.
template <ViTConfig Size>
using DenseOf = TinyRecipe<ReferenceTokens<>, ImageAndPointLoss, Size, HeadConfig{}>;

/// Bytes of a step of `DenseOf<Size>`.
template <ViTConfig Size>
std::size_t planned_bytes(const StepOptions& options) {
  try {
    const TrainingStep<DenseOf<Size>, AskedCpu> step(AskedCpu(), options);
  } catch (const AskedCpu::Asked& asked) {
    return asked.bytes;
  }
  return 0;
}

}  // namespace dssl::test
