// The step on the CPU with products by dssl's own kernels.
#include <dssl/backend/cpu.hpp>
#include <dssl/instances.hpp>

#include "common/precision.hpp"
#include "compare/serve_step.hpp"

namespace dssl::programs {

void serve_own(const CompareSettings& s, const Combination& c) {
  serve_step(s, dssl::Cpu(CpuOptions{
                    .threads = c.threads, .precision = precision_of(c.precision), .emulate_bf16 = s.emulate_bf16}));
}

}  // namespace dssl::programs
