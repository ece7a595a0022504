// The catalogue of terms on the Cuda backend: those that compare two views, and maps.
#include "cuda/listed_steps.hpp"

using namespace dssl::test;

TEST_CASE("terms of two views on Cuda hold to the oracle", "[cuda]") {
  if (device_is_there()) check_on_cuda(listed_two_views());
}

TEST_CASE("terms of maps and assignments on Cuda hold to the oracle", "[cuda]") {
  if (!device_is_there()) return;
  check_on_cuda(listed_dense());
  check_on_cuda(listed_swapped());
  check_on_cuda(listed_pixels());
}

TEST_CASE("SwAV's passes with graphs have the bits of those without, while its queue fills and after", "[cuda]") {
  if (!device_is_there()) return;
  const auto bits = [](const dssl::CudaOptions& how) {
    using Step = dssl::TrainingStep<Tiny<ListedSwapped>, dssl::Cuda>;
    Step step(dssl::Cuda(how), options_of<ListedSwapped>());
    draw(step);
    std::vector<float> out;
    for (dssl::Index i = 0; i < 6; ++i) {  // the queue is full after the second
      dssl::StepReport report;
      step.begin();
      step.forward_backward(report, drawn_batch(step.options().shape, 7, 4 * i), 0.2);
      step.update(report, {.optimiser = {.learning_rate = 1e-3, .step = i}, .teacher_momentum = 0.9});
      out.push_back(static_cast<float>(report.loss));
    }
    for (const float weight : host_of(step, step.student())) out.push_back(weight);
    return out;
  };
  CHECK(bits({.graphs = true}) == bits({}));
}
