// Steps whose passes are launched as CUDA graphs: the same bits as without.
#include "catch.hpp"

#include <cstring>
#include <span>
#include <vector>

#include <dssl/backend/cuda.hpp>
#include <dssl/train/training_step.hpp>

#include "cuda/planned_steps.hpp"
#include "cuda/rig.hpp"
#include "cuda/small_runs.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Losses and weights of seven steps, in which the teacher's temperature changes twice and returns.
template <class Recipe>
std::vector<float> steps_of(const CudaOptions& how, const StepOptions& options) {
  const Cuda cuda(how);
  TrainingStep<Recipe, Cuda> step(cuda, options);
  draw_into(cuda, step);
  std::vector<float> out;
  Index number = 0;
  for (const double temperature : {0.1, 0.1, 0.1, 0.07, 0.07, 0.1, 0.1}) {
    const StepReport report = one_step(step, number++, temperature);
    out.push_back(static_cast<float>(report.loss));
    out.push_back(static_cast<float>(report.gradient_norm));
    // Somebody else uses the backend meanwhile, and moves its scratch once.
    if (number == 5) {
      constexpr Index rows = 100;
      constexpr Index width = 40'000;
      const std::size_t before = cuda.scratch_bytes();
      const Buffer other = cuda.allocate(rows * width * sizeof(float));
      auto* const x = reinterpret_cast<float*>(other.data());
      cuda.add_column_sum(VectorView<float>(x, width), MatrixView<const float>(x, rows, width), {}, 1.0);
      cuda.synchronise();
      CHECK(cuda.scratch_bytes() > before);
    }
  }
  std::vector<float> weights(static_cast<std::size_t>(step.layout().total()));
  cuda.download(std::span<float>(weights), static_cast<const float*>(step.teacher().data()));
  out.insert(out.end(), weights.begin(), weights.end());
  cuda.download(std::span<float>(weights), static_cast<const float*>(step.student().data()));
  out.insert(out.end(), weights.begin(), weights.end());
  return out;
}

template <class Recipe>
void check_bits(double stochastic_depth, Precision precision, bool stream_views = false) {
  INFO("stochastic depth " << stochastic_depth << ", precision " << static_cast<int>(precision));
  StepOptions options = planned_options();
  options.stochastic_depth = stochastic_depth;
  options.stream_views = stream_views;
  const auto plain = steps_of<Recipe>({.precision = precision}, options);
  for (int way = 0; way < ways_of_running(); ++way) {
    run_in_way(way);
    const auto with_graphs = steps_of<Recipe>({.precision = precision, .graphs = true}, options);
    REQUIRE(with_graphs.size() == plain.size());
    CHECK(std::memcmp(with_graphs.data(), plain.data(), plain.size() * sizeof(float)) == 0);
  }
  run_in_way(0);
}

}  // namespace

TEST_CASE("steps with graphs have the bits of steps without", "[cuda]") {
  if (!device_is_there()) return;
  for (const Precision precision : {Precision::full, Precision::bf16}) {
    check_bits<PlannedDense<private_relation>>(0, precision);
    check_bits<PlannedDense<private_relation>>(0.5, precision);
    check_bits<PlannedSampled>(0, precision);
    check_bits<PlannedDense<private_relation>>(0, precision, true);
    check_bits<PlannedDino>(0, precision);
  }
}

TEST_CASE("a run with graphs has the bits of a run without", "[cuda]") {
  if (!device_is_there()) return;
  TrainerOptions options = tiny_options();
  options.stochastic_depth = 0;
  options.teacher.warmup_temperature = 0.07;
  options.teacher.warmup_temperature_epochs = 3;
  for (const ViewsOn where : {ViewsOn::host, ViewsOn::device}) {
    options.views_on = where;
    const auto plain = run<Tiny>(Cuda(), options);
    const auto with_graphs = run<Tiny>(Cuda({.graphs = true}), options);
    CHECK(with_graphs.losses == plain.losses);
    CHECK(same_bits(with_graphs.state, plain.state));
  }
}

TEST_CASE("a backend says that it uses graphs", "[cuda]") {
  if (!device_is_there()) return;
  CHECK(contains(Cuda({.graphs = true}).describe(), ", graphs)"));
  CHECK_FALSE(contains(Cuda().describe(), "graphs"));
}
