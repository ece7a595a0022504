// expect: with_points: not a point sampler, see PointSampler in dssl/concepts.hpp
#include <dssl/train/recipe.hpp>

#ifdef DSSL_MUST_COMPILE
using Recipe = dssl::DenseDino::with_points<dssl::RandomPoints<3>>;
#else
using Recipe = dssl::DenseDino::with_points<dssl::ImageLoss>;
#endif

int main() { return static_cast<int>(sizeof(Recipe) == 0); }
