// expect: Trainer<Recipe, Backend>: the second argument is no backend; say dssl::Cpu
#include <dssl/dssl.hpp>

int main() {
#ifdef DSSL_MUST_COMPILE
  dssl::Trainer<dssl::DenseDino, dssl::Reference<float>> trainer;
#else
  dssl::Trainer<dssl::DenseDino, float> trainer;
#endif
  return trainer.steps_done() == 0 ? 0 : 1;
}
