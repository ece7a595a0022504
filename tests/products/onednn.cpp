// The Cpu backend with products by oneDNN: linear layers against the oracle, whole steps against the
// published numbers, the same bits for any number of threads.
#include "catch.hpp"

#include <string>

#include <dssl/backend/onednn.hpp>

#include "backend/product_cases.hpp"
#include "train/training_parity.hpp"

using namespace dssl;

static_assert(Backend<OneDnnCpu> && FusedPrototypeLoss<OneDnnCpu> && FusedUpdate<OneDnnCpu>);

TEST_CASE("products by oneDNN hold to the oracle, with the same bits for any number of threads") {
  test::check_products<float, OneDnnProducts>({}, 2e-6);
}

namespace {

bool has_bf16() {
  try {
    OneDnnProducts({.precision = Precision::bf16, .emulate_bf16 = true});
    return true;
  } catch (const OptionError&) {
    return false;
  }
}

}  // namespace

TEST_CASE("products by oneDNN in bf16 stay near the oracle, with the same bits for any number of threads") {
  if (!has_bf16()) {
    WARN("oneDNN has no products in bf16 for this processor");
    return;
  }
  test::check_products<float, OneDnnProducts>({.precision = Precision::bf16, .emulate_bf16 = true}, 5e-3);
}

TEST_CASE("whole training steps with products by oneDNN give the published numbers") {
  for (const int threads : {1, 2}) {
    test::check_training<private_relation>(OneDnnCpu({.threads = threads}), "training_adamw");
  }
}

TEST_CASE("a backend with products by oneDNN says so") {
  const std::string text = OneDnnCpu().describe();
  CHECK(text.find("linear layers by oneDNN " + std::to_string(DNNL_VERSION_MAJOR) + ".") !=
        std::string::npos);
}
