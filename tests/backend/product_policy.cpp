// The policy of products: dssl's own, and one that a user writes.
#include "catch.hpp"

#include <string>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/definitions.hpp>

#include "backend/product_cases.hpp"
#include "compare.hpp"

using namespace dssl;

namespace {

/// The smallest policy: plain loops on one thread.
struct LoopProducts {
  explicit LoopProducts(const CpuOptions& /*options*/) {}

  template <class T>
  void multiply(cpu::Workers& /*workers*/, const cpu::MatrixProduct<T>& p) const {
    const auto at = [](const cpu::Factor<T>& f, Index i, Index j) {
      return f.data[f.transposed ? j * f.stride + i : i * f.stride + j];
    };
    for (Index i = 0; i < p.c.rows(); ++i) {
      for (Index j = 0; j < p.c.cols(); ++j) {
        double sum = p.onto == cpu::Onto::sum ? p.c.row(i)[j] : p.bias != nullptr ? p.bias[j] : T{0};
        for (Index k = 0; k < p.depth; ++k) sum += static_cast<double>(at(p.a, i, k)) * at(p.b, k, j);
        p.c.row(i)[j] = static_cast<T>(sum);
      }
    }
  }

  [[nodiscard]] std::string describe() const { return ", linear layers by loops"; }
};

struct FloatOnly {
  explicit FloatOnly(const CpuOptions&) {}
  void multiply(cpu::Workers&, const cpu::MatrixProduct<float>&) const {}
  [[nodiscard]] std::string describe() const { return {}; }
};

static_assert(ProductPolicy<OwnProducts<float>, float> && ProductPolicy<OwnProducts<double>, double>);
static_assert(ProductPolicy<LoopProducts, float> && ProductPolicy<LoopProducts, double>);
static_assert(ProductPolicy<FloatOnly, float> && !ProductPolicy<FloatOnly, double>);
static_assert(Backend<BasicCpu<float, LoopProducts>>);

}  // namespace

TEST_CASE("a policy of products that a user writes is held to the oracle as the own ones are") {
  test::check_products<float, OwnProducts<float>>({}, 2e-6);
  test::check_products<float, OwnProducts<float>>({.split_products = false}, 2e-6);
  test::check_products<double, OwnProducts<double>>({}, 1e-14);
  test::linear_cases(test::HeldProducts<float, LoopProducts>({}, 5e-7));
  CHECK(BasicCpu<float, LoopProducts>().describe().find("float32, linear layers by loops)") !=
        std::string::npos);
}
