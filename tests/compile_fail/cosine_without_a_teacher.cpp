// expect: Cosine: without targets there is nothing to be held to; use Ema or StopGradient
#include <dssl/loss/objective.hpp>
#include <dssl/loss/two_view_terms.hpp>

#ifdef DSSL_MUST_COMPILE
using Teacher = dssl::StopGradient;
#else
using Teacher = dssl::NoTeacher;
#endif
using Loss = dssl::WeightedSum<dssl::Cosine<Teacher, dssl::MlpConfig{}, dssl::MlpConfig{}>>;

int main() { return static_cast<int>(sizeof(Loss) == 0); }
