// expect: with_points: the teacher chooses the points, but the views are no boxes of the scene
#include <dssl/backend/reference.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>
#include <dssl/views/warped_views.hpp>

using Drawn = dssl::DenseDino::with_points<dssl::AttentionPoints<>>;

#ifdef DSSL_MUST_COMPILE
using Recipe = Drawn;
#else
using Recipe = Drawn::with_views<dssl::Warped<dssl::MultiCrop<>>>;
#endif

int main() { return static_cast<int>(sizeof(dssl::Trainer<Recipe, dssl::Reference<float>>) == 0); }
