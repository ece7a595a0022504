// What a training step does, counted instead of timed: calls of primitives, FLOP of products, bytes of all
// others.
#include <map>
#include <string>
#include <vector>

#include "../../benchmarks/timed_backend.hpp"
#include "../../benchmarks/workload.hpp"
#include "catch.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/train/training_step.hpp>

using namespace dssl;

namespace {

constexpr ViTConfig size{.image = 32, .patch = 4, .width = 64, .depth = 3, .heads = 2, .channels = 3};
constexpr HeadConfig head{.hidden = 96, .bottleneck = 32, .prototypes = 512};
constexpr benchmarks::Workload workload{
    .batch = 2, .locals = 4, .global_size = 32, .local_size = 32, .points = 2, .prototypes = 512};

using Timed = benchmarks::TimedBackend<Cpu>;
using Recipe = test::TinyRecipe<ReferenceTokens<>, ImageAndPointLoss, size, head>;

/// What one step of the published recipe did, by primitive.
std::map<std::string, benchmarks::Part> counted(bool stream_views = false) {
  const Timed backend(Cpu({.threads = 1}));
  StepOptions options;
  options.shape = workload.shape(3);
  options.stochastic_depth = 0;
  options.stream_views = stream_views;
  TrainingStep<Recipe, Timed> step(backend, options);
  const auto weights = test::drawn_weights<float>(step.layout(), 1);
  backend.upload(step.student().data(), std::span<const float>(weights));
  backend.upload(step.teacher().data(), std::span<const float>(weights));
  const ViewBatch batch = test::drawn_batch(options.shape, 5);
  Timed(backend).clear();
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.1);
  step.update(report, {.optimiser = {.learning_rate = 1e-3, .step = 0}, .teacher_momentum = 0.99});
  std::map<std::string, benchmarks::Part> parts;
  for (const auto& [key, part] : backend.ledger()) {
    benchmarks::Part& sum = parts[key.first];
    sum.calls += part.calls;
    sum.flops += part.flops;
    sum.bytes += part.bytes;
  }
  return parts;
}

}  // namespace

TEST_CASE("a step makes the passes that its fused operations promise, and no others") {
  auto parts = counted();
  for (const auto& [name, part] : parts) {
    UNSCOPED_INFO(name << ": " << part.calls << " calls, " << part.flops << " FLOP, " << part.bytes
                       << " bytes");
  }
  const long depth = size.depth;
  // Teacher and student forward, the student backward; two norms a block and one at the end. Going backward, the
  // student's norms in blocks are made again.
  CHECK(parts["attention_forward"].calls == 2 * depth);
  CHECK(parts["attention_backward"].calls == depth);
  CHECK(parts["residual_norm_forward"].calls == 2 * (2 * depth + 1) + 2 * depth);
  CHECK(parts["norm_residual_backward"].calls == 2 * depth + 1);
  // Blocks make GELU's values and slopes again in one pass; the two layers of each head's MLP keep both sides.
  CHECK(parts["gelu_again_backward"].calls == depth);
  CHECK(parts["gelu_backward"].calls == 2 * 2);
  // Of both levels: prototypes meet rows in one operation, no logits of all rows.
  CHECK(parts["prototype_loss"].calls == 2);
  // Optimiser and teacher in one pass over the weights; `lerp` is left for the two centres.
  CHECK(parts["squared_norms"].calls == 1);
  CHECK(parts["adamw_step"].calls == 1);
  CHECK(parts["lerp"].calls == 2);
  for (const char* replaced : {"residual_forward", "residual_backward", "layer_norm_forward",
                               "layer_norm_backward", "batch_norm_forward", "batch_norm_backward", "centred_softmax", "cross_entropy", "row_entropy",
                               "weight_norm_forward", "weight_norm_backward", "copy"}) {
    INFO(replaced);
    CHECK(parts[replaced].calls == 0);
  }
}

TEST_CASE("a step does less arithmetic than the published method, and moves a bounded number of bytes") {
  const auto parts = counted();
  double flops = 0;
  double bytes = 0;
  for (const auto& [name, part] : parts) {
    UNSCOPED_INFO(name << ": " << part.calls << " calls, " << part.flops << " FLOP, " << part.bytes
                       << " bytes");
    flops += part.flops;
    if (part.flops == 0 && name != "adamw_step" && name != "squared_norms") bytes += part.bytes;
  }
  // The last block only for rows that are read, pairs that the relation leaves, head rows that the loss
  // reads.
  const double method = benchmarks::step_flop(size, head, workload);
  INFO(flops << " FLOP of " << method << ", " << bytes << " bytes");
  CHECK(flops < 0.78 * method);
  CHECK(flops > 0.5 * method);
  // All but products and the update: 33.3 numbers a token, channel and block, students and teachers in one. One pass
  // more over the student's residual path would be 1.5 of them. (2.5 are the norms made again going backward: that,
  // and GELU's values made again in the pass that needs their slope, keeps 10 numbers where 16 were kept.)
  const double tokens = 2.0 * 6 * (1 + 64 + 4) + 2.0 * 2 * (1 + 64 + 12);
  const double floats = bytes / 4 / (tokens * size.width * size.depth);
  INFO(floats << " numbers a token, channel and block");
  CHECK(floats < 34);
}

TEST_CASE("views one after the other are more passes, and no arithmetic more") {
  auto at_once = counted();
  auto streamed = counted(true);
  const long depth = size.depth;
  const long views = 2 + workload.locals;
  CHECK(streamed["attention_forward"].calls == (1 + views) * depth);
  CHECK(streamed["attention_backward"].calls == views * depth);
  // Points of all views, class tokens of the global ones.
  CHECK(streamed["prototype_loss"].calls == views + 2);
  for (const auto& [name, part] : at_once) {
    INFO(name);
    CHECK(streamed[name].flops == Approx(part.flops).epsilon(1e-12));
  }
}
