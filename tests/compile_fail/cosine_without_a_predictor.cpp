// expect: Cosine: without a predictor all features become one; name its MlpConfig
#include <dssl/loss/objective.hpp>
#include <dssl/loss/two_view_terms.hpp>

#ifdef DSSL_MUST_COMPILE
constexpr dssl::MlpConfig predictor{};
#else
constexpr dssl::MlpConfig predictor = dssl::no_mlp;
#endif
using Loss = dssl::WeightedSum<dssl::Cosine<dssl::Ema, dssl::MlpConfig{}, predictor>>;

int main() { return static_cast<int>(sizeof(Loss) == 0); }
