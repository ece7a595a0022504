// The oracle's step.
#include <dssl/backend/reference.hpp>

#include "compare/serve_step.hpp"

namespace dssl::programs {

void serve_reference(const CompareSettings& s) { serve_step(s, Reference<double>()); }

}  // namespace dssl::programs
