// The step on the CPU with products by a library.
#include <string>
#include <variant>

#include <dssl/backend/cpu.hpp>
#ifdef DSSL_WITH_ONEDNN
#include <dssl/backend/onednn.hpp>
#endif
#ifdef DSSL_WITH_CBLAS
#include <dssl/backend/cblas.hpp>
#endif
#include <dssl/instances.hpp>

#include "common/precision.hpp"
#include "compare/serve_step.hpp"

namespace dssl::programs {
namespace {

#if defined(DSSL_WITH_ONEDNN) || defined(DSSL_WITH_CBLAS)
/// Which of the libraries the backend multiplies by; a process has one backend, and a policy is made from its options alone.
std::string chosen;

/// Products by whichever library was chosen: the rest of the backend, which is the same for both, is compiled once.
class LibraryProducts {
 public:
  explicit LibraryProducts(const CpuOptions& options) : x_products(x_made(options)) {}

  void multiply(cpu::Workers& workers, const cpu::MatrixProduct<float>& p) const {
    std::visit([&](const auto& products) { products.multiply(workers, p); }, x_products);
  }
  [[nodiscard]] std::string describe() const {
    return std::visit([](const auto& products) { return products.describe(); }, x_products);
  }

 private:
#if !defined(DSSL_WITH_CBLAS)
  using Any = std::variant<OneDnnProducts>;
#elif !defined(DSSL_WITH_ONEDNN)
  using Any = std::variant<CblasProducts>;
#else
  using Any = std::variant<OneDnnProducts, CblasProducts>;
#endif

  static Any x_made([[maybe_unused]] const CpuOptions& options) {
#ifdef DSSL_WITH_ONEDNN
    if (chosen == "onednn") return OneDnnProducts(options);
#endif
#ifdef DSSL_WITH_CBLAS
    if (chosen == "cblas") return CblasProducts(options);
#endif
    throw Error(join("this program was built without ", chosen));
  }

  Any x_products;
};
#endif

}  // namespace

void serve_library(const CompareSettings& s, const Combination& c) {
#if defined(DSSL_WITH_ONEDNN) || defined(DSSL_WITH_CBLAS)
  chosen = c.products;
  serve_step(s, BasicCpu<float, LibraryProducts>(CpuOptions{
                    .threads = c.threads, .precision = precision_of(c.precision), .emulate_bf16 = s.emulate_bf16}));
#else
  static_cast<void>(s);
  throw Error(join("this program was built without ", c.products));
#endif
}

}  // namespace dssl::programs
