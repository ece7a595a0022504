// expect: load(i) of a source must be const: loaders call it from several threads at once
#include <string>

#include <dssl/dssl.hpp>

struct Pictures {
  [[nodiscard]] dssl::Index size() const { return 64; }
  [[nodiscard]] std::string name(dssl::Index /*i*/) const { return "grey"; }
#ifdef DSSL_MUST_COMPILE
  [[nodiscard]] dssl::AnyImage load(dssl::Index /*i*/) const { return dssl::Image<float>(64, 64, 3); }
#else
  [[nodiscard]] dssl::AnyImage load(dssl::Index /*i*/) { return dssl::Image<float>(64, 64, 3); }
#endif
};

int main() {
  dssl::Trainer<dssl::DenseDino, dssl::Cpu> trainer;
  trainer.fit(Pictures{});
}
