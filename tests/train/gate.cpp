// The gate of the published recipes: the primitives that their steps call, with their shapes and in their order, are those
// written down in fixtures/gate.txt. A change of the library's parts leaves them alone; one that moves them says why, and
// writes the file anew: DSSL_WRITE_GATE=FOLDER writes the file, and each trace whole beside it, to be compared with another
// commit's. That the numbers keep their bits is shown by scripts/same_bits.sh, on one machine.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../../benchmarks/timed_backend.hpp"
#include "../../benchmarks/workload.hpp"
#include "catch.hpp"
#include "fixtures.hpp"
#include "train/instances.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/train/training_step.hpp>

using namespace dssl;

namespace {

constexpr ViTConfig size{.image = 32, .patch = 8, .width = 16, .depth = 2, .heads = 2, .channels = 3};
constexpr HeadConfig head{.hidden = 24, .bottleneck = 8, .prototypes = 32};
constexpr benchmarks::Workload workload{
    .batch = 2, .locals = 2, .global_size = 32, .local_size = 16, .points = 2, .prototypes = 32};

template <class Tokens, class Loss>
using Tiny = test::TinyRecipe<Tokens, Loss, size, head>;

/// The calls of two updates, of all that a run does between two batches.
template <class Recipe>
[[nodiscard]] benchmarks::Trace trace_of(const StepOptions& options, Precision precision) {
  using Timed = benchmarks::TimedBackend<Cpu>;
  Timed backend(Cpu({.threads = 1, .precision = precision, .emulate_bf16 = true}));
  TrainingStep<Recipe, Timed> step(backend, options);
  const auto weights = test::drawn_weights<float>(step.layout(), 1);
  backend.upload(step.student().data(), std::span<const float>(weights));
  backend.upload(step.teacher().data(), std::span<const float>(weights));
  benchmarks::Trace trace;
  backend.write_to(&trace);
  StepReport report;
  for (Index n = 0; n < 2; ++n) {
    step.begin();
    for (Index pass = 0; pass < options.accumulate; ++pass) {
      step.forward_backward(report, test::drawn_batch(options.shape, 5, 2 * (options.accumulate * n + pass)), 0.1);
    }
    step.update(report, {.optimiser = {.learning_rate = 1e-3, .step = n}, .teacher_momentum = 0.99});
  }
  backend.write_to(nullptr);
  return trace;
}

/// FNV-1a, 64 bits, of all lines.
[[nodiscard]] std::uint64_t hash_of(const benchmarks::Trace& trace) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const std::string& line : trace) {
    for (const char c : line + '\n') hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
  return hash;
}

[[nodiscard]] std::map<std::string, benchmarks::Trace> traces() {
  std::map<std::string, benchmarks::Trace> out;
  const auto add = [&]<class Recipe>(const std::string& recipe, Recipe) {
    StepOptions plain;
    plain.shape = workload.shape(3);
    StepOptions changed = plain;
    out[recipe + " plain"] = trace_of<Recipe>(plain, Precision::full);
    out[recipe + " bf16"] = trace_of<Recipe>(plain, Precision::bf16);
    changed.stream_views = true;
    out[recipe + " stream_views"] = trace_of<Recipe>(changed, Precision::full);
    changed = plain;
    changed.recompute = true;
    out[recipe + " recompute"] = trace_of<Recipe>(changed, Precision::full);
    changed = plain;
    changed.accumulate = 2;
    out[recipe + " accumulated"] = trace_of<Recipe>(changed, Precision::full);
  };
  add("densedino", Tiny<ReferenceTokens<>, ImageAndPointLoss>());
  add("dino", Tiny<ClassToken, ImageLoss>());
  add("feature_map", Tiny<FeatureMap, ImageAndPointLoss>());
  return out;
}

}  // namespace

TEST_CASE("steps of the published recipes call the primitives that they always called, in their order") {
  const auto now = traces();
  if (const char* folder = std::getenv("DSSL_WRITE_GATE"); folder != nullptr) {
    std::ofstream file(std::string(folder) + "/gate.txt");
    for (const auto& [name, trace] : now) {
      file << name << ' ' << trace.size() << ' ' << hash_of(trace) << '\n';
      std::string whole = std::string(folder) + '/' + name + ".txt";
      std::ofstream lines(whole);
      for (const std::string& line : trace) lines << line << '\n';
    }
  }
  std::ifstream file(test::own_fixture_folder() + "/gate.txt");
  REQUIRE(file);
  std::size_t seen = 0;
  std::string recipe, how;
  std::size_t calls = 0;
  std::uint64_t hash = 0;
  while (file >> recipe >> how >> calls >> hash) {
    INFO(recipe << " " << how);
    const auto found = now.find(recipe + ' ' + how);
    REQUIRE(found != now.end());
    CHECK(found->second.size() == calls);
    CHECK(hash_of(found->second) == hash);
    ++seen;
  }
  CHECK(seen == now.size());
}
