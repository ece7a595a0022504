// expect: SwappedAssignment: without targets there is nothing to predict; use StopGradient or Ema
#include <dssl/loss/objective.hpp>
#include <dssl/loss/swapped_term.hpp>

#ifdef DSSL_MUST_COMPILE
using Teacher = dssl::StopGradient;
#else
using Teacher = dssl::NoTeacher;
#endif
using Loss = dssl::WeightedSum<dssl::SwappedAssignment<Teacher, dssl::MlpConfig{}>>;

int main() { return static_cast<int>(sizeof(Loss) == 0); }
