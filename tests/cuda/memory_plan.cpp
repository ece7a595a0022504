// The memory plan of a step on Cuda: what it says of scratch is what steps then need.
#include "catch.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <dssl/backend/cuda.hpp>
#include <dssl/train/training_step.hpp>

#include "cuda/planned_steps.hpp"
#include "cuda/rig.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// The same backend without a rehearsal: its scratch grows as steps need it.
template <class T>
struct Unrehearsed : BasicCuda<T> {
  using BasicCuda<T>::BasicCuda;
  void rehearse() const = delete;
};
static_assert(Backend<Unrehearsed<float>> && !Rehearses<Unrehearsed<float>>);

/// Bytes of scratch after two steps; `planned`: what the plan says of it.
template <class Recipe, class B>
std::size_t scratch_of(const CudaOptions& how, const StepOptions& options, std::size_t* planned = nullptr) {
  const B backend(how);
  TrainingStep<Recipe, B> step(backend, options);
  if (planned != nullptr) {
    const MemoryPlanEntry& last = step.memory_plan().entries.back();
    CHECK(last.name == "scratch of the device");
    *planned = last.bytes;
    CHECK(backend.scratch_bytes() == last.bytes);
  }
  two_steps(backend, step);
  return backend.scratch_bytes();
}

template <class Recipe, class T = float>
void check_planned(StepOptions options, Precision precision) {
  const CudaOptions how{.precision = precision};
  std::size_t planned = 0;
  options.stochastic_depth = 0;
  CHECK(scratch_of<Recipe, BasicCuda<T>>(how, options, &planned) == planned);
  CHECK(scratch_of<Recipe, Unrehearsed<T>>(how, options) == planned);
  // What is dropped makes matrices smaller, and never anything larger.
  options.stochastic_depth = 0.6;
  std::size_t with_drops = 0;
  CHECK(scratch_of<Recipe, BasicCuda<T>>(how, options, &with_drops) == planned);
  CHECK(with_drops == planned);
  CHECK(scratch_of<Recipe, Unrehearsed<T>>(how, options) <= planned);
}

template <class Recipe>
void check_formats(const StepOptions& options = planned_options()) {
  check_planned<Recipe>(options, Precision::full);
  check_planned<Recipe>(options, Precision::bf16);
}

}  // namespace

TEST_CASE("what the plan says of scratch is what steps on Cuda need", "[cuda]") {
  if (!device_is_there()) return;
  SECTION("private references") { check_formats<PlannedDense<private_relation>>(); }
  SECTION("hidden references") { check_formats<PlannedDense<hidden_relation>>(); }
  SECTION("hidden references, without class token") { check_formats<PlannedDense<hidden_no_class_relation>>(); }
  SECTION("all queries") { check_formats<PlannedDense<all_query_relation>>(); }
  SECTION("open references") { check_formats<PlannedDense<open_relation>>(); }
  SECTION("a class token alone") { check_formats<PlannedDino>(); }
  SECTION("sampled patches") { check_formats<PlannedSampled>(); }
  SECTION("heads with batch norm") { check_formats<PlannedNormed>(); }
  SECTION("views one after the other") {
    StepOptions options = planned_options();
    options.stream_views = true;
    check_formats<PlannedDense<private_relation>>(options);
    check_formats<PlannedSampled>(options);
  }
  SECTION("other ways of keeping and updating") {
    StepOptions options = planned_options();
    options.recompute = true;
    options.optimiser.kind = OptimiserKind::lars;
    check_formats<PlannedDense<private_relation>>(options);
  }
}

TEST_CASE("a rehearsal gives the device nothing to do and ends with what it calls", "[cuda]") {
  if (!device_is_there()) return;
  const Cuda cuda;
  const Buffer buffer = cuda.allocate(1000);
  auto* const x = reinterpret_cast<float*>(buffer.data());
  const std::vector<float> host(1'000'000, 3.0F);
  const std::size_t before = cuda.scratch_bytes();
  const auto overwrite = [&] {
    CHECK(cuda.rehearsing());
    cuda.upload(x, std::span<const float>(host));  // beyond the buffer
    cuda.fill(VectorView<float>(x + 100, 100), 4);
    cuda.layer_norm_backward(MatrixView<float>(x, 10, 10), VectorView<float>(x + 100, 10),
                             VectorView<float>(x + 110, 10), MatrixView<const float>(x, 10, 10),
                             MatrixView<const float>(x, 10, 10), VectorView<const float>(x + 120, 10),
                             VectorView<const float>(x + 130, 10), VectorView<const float>(x + 140, 10));
  };
  const WorkingMemory needed = cuda.rehearse(overwrite);
  CHECK_FALSE(cuda.rehearsing());
  CHECK(needed.scratch > 0);
  CHECK(needed.workspace == before);
  CHECK(needed.staging >= 2 * host.size() * sizeof(float));  // two of the largest upload
  CHECK(cuda.scratch_bytes() == before);
  CHECK(cuda.rehearse([] {}).scratch == 0);
  CHECK(contains(thrown_by<Error>([&] { static_cast<void>(cuda.rehearse([&] { throw Error("in the midst"); })); }),
                 "in the midst"));
  std::vector<float> back(200, 1.0F);
  cuda.download(std::span<float>(back), static_cast<const float*>(x));
  CHECK(std::count(back.begin(), back.end(), 0.0F) == 200);
}
