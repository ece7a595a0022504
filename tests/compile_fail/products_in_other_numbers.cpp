// expect: these products have no multiply() in the backend's numbers
#include <string>

#include <dssl/backend/cpu.hpp>

struct ProductsInFloat {
  explicit ProductsInFloat(const dssl::CpuOptions&) {}
  void multiply(dssl::cpu::Workers&, const dssl::cpu::MatrixProduct<float>&) const {}
  [[nodiscard]] std::string describe() const { return {}; }
};

int main() {
#ifdef DSSL_MUST_COMPILE
  const dssl::BasicCpu<float, ProductsInFloat> backend;
#else
  const dssl::BasicCpu<double, ProductsInFloat> backend;
#endif
  return backend.threads() == 0 ? 1 : 0;
}
