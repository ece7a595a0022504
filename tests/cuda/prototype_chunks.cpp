// The fused loss over prototypes in several chunks, and with rounded products.
#include "catch.hpp"

#include <memory>
#include <span>
#include <vector>

#include <dssl/backend/cuda.cuh>

#include "backend/op_cases.hpp"
#include "cuda/held_to_oracle.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// The backend with its loss over prototypes cut otherwise.
template <class T>
class InChunks : public BasicCuda<T> {
 public:
  InChunks(Precision precision, Index chunk)
      : BasicCuda<T>(CudaOptions{.precision = precision}),
        x_stream(std::make_shared<cuda::Stream>(0)),
        x_products(std::make_shared<cuda::Products>(*x_stream, precision)),
        x_chunk(chunk) {}

  [[nodiscard]] std::size_t prototype_loss_workspace(std::span<const TargetRows> targets, Index teacher_rows,
                                                     Index, Index width) const {
    Arena measure;
    const cuda::PrototypeRoom<T> room(measure, static_cast<Index>(targets.size()), teacher_rows, width,
                                      x_chunk, this->precision());
    return measure.high_water();
  }
  void prototype_loss(const PrototypeLossResult<T>& result, const PrototypeRows<T>& student,
                      const PrototypeRows<T>& teacher, const PrototypeTargets<T>& targets,
                      const PrototypeLossNumbers& numbers, VectorView<std::byte> workspace) const {
    this->synchronise();
    cuda::prototype_loss(*x_stream, *x_products, result, student, teacher, targets, numbers, workspace,
                         x_chunk);
    x_stream->synchronise();
  }

 private:
  std::shared_ptr<cuda::Stream> x_stream;
  std::shared_ptr<cuda::Products> x_products;
  Index x_chunk;
};

}  // namespace

TEST_CASE("a chunk of prototypes is as large as its logits may be", "[cuda]") {
  CHECK(cuda::prototypes_of_chunk(256, 65'536) == 65'536);
  CHECK(cuda::prototypes_of_chunk(6144, 65'536) == 2688);
  CHECK(cuda::prototypes_of_chunk(100'000, 65'536) == 1024);
  CHECK(cuda::prototypes_of_chunk(6144, 3000) == 1536);  // chunks of about one size
  CHECK(cuda::prototypes_of_chunk(3, 20) == 20);
  for (const Index rows : {Index{1}, Index{700}, Index{5000}, Index{1'000'000}}) {
    for (const Index prototypes : {Index{1}, Index{1000}, Index{4099}, Index{65'536}}) {
      const Index chunk = cuda::prototypes_of_chunk(rows, prototypes);
      CHECK((chunk >= 1 && chunk <= prototypes));
      CHECK((chunk * rows <= Index{1} << 24 || chunk <= 1024));
    }
  }
}

TEST_CASE("Cuda loss over prototypes in chunks holds to the oracle", "[cuda]") {
  // More than one warp's row, less than it, a last chunk of a few.
  prototype_loss_cases(HeldToOracle(InChunks<float>(Precision::full, 128), 1e-5));
  prototype_loss_cases(HeldToOracle(InChunks<double>(Precision::full, 33), 1e-12, Measure::largest, 1));
  prototype_loss_cases(HeldToOracle(InChunks<float>(Precision::full, 4096), 1e-5, Measure::largest, 1));
}

TEST_CASE("Cuda loss over prototypes stays near the oracle with rounded products", "[cuda]") {
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    INFO((precision == Precision::tf32 ? "tf32" : "bf16"));
    const double tolerance = precision == Precision::tf32 ? 1e-2 : 4e-2;  // of three numbers; of many less
    prototype_loss_cases(HeldToOracle(InChunks<float>(precision, 256), tolerance, Measure::norm, 1));
  }
}
