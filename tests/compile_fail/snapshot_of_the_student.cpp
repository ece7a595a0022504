// expect: Snapshot: of Ema, whose weights are copied
#include <dssl/loss/gram_term.hpp>
#include <dssl/loss/objective.hpp>

#ifdef DSSL_MUST_COMPILE
using Of = dssl::Ema;
#else
using Of = dssl::StopGradient;
#endif
using Loss = dssl::WeightedSum<dssl::ImageLevel, dssl::Gram<dssl::Snapshot<Of>>>;

int main() { return static_cast<int>(sizeof(Loss) == 0); }
