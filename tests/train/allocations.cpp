// The memory of a training step: all of it is in the plan, and a step allocates nothing beyond it.
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "thrown.hpp"
#include "train/instances.hpp"
#include "train/planned_bytes.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/train/training_step.hpp>

namespace {

std::atomic<bool> counting{false};
std::atomic<long> allocations{0};

}  // namespace

// Everything that asks for memory goes through malloc and its kin: the standard library, Eigen, oneTBB. Sanitizers
// have a malloc of their own, and other C libraries do not give theirs a second name.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define DSSL_TEST_SANITIZED
#endif
#endif
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(DSSL_TEST_SANITIZED)
#define DSSL_TEST_COUNTS_MALLOC

extern "C" {
void* __libc_malloc(std::size_t);                 // NOLINT(bugprone-reserved-identifier)
void* __libc_calloc(std::size_t, std::size_t);    // NOLINT(bugprone-reserved-identifier)
void* __libc_realloc(void*, std::size_t);         // NOLINT(bugprone-reserved-identifier)
void* __libc_memalign(std::size_t, std::size_t);  // NOLINT(bugprone-reserved-identifier)

static void count_allocation() {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
}
void* malloc(std::size_t bytes) noexcept {
  count_allocation();
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) noexcept {
  count_allocation();
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) noexcept {
  count_allocation();
  return __libc_realloc(memory, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  count_allocation();
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  count_allocation();
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) noexcept {
  count_allocation();
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}
}
#endif

using namespace dssl;

namespace {

constexpr ViTConfig size{.image = 32, .patch = 4, .width = 64, .depth = 2, .heads = 2, .channels = 3};
constexpr HeadConfig head{.hidden = 96, .bottleneck = 32, .prototypes = 512};

using Dense = test::TinyRecipe<ReferenceTokens<>, ImageAndPointLoss, size, head>;
using Plain = test::TinyRecipe<ClassToken, ImageLoss, size, head>;
using Sampled = test::TinyRecipe<FeatureMap, ImageAndPointLoss, size, head>;

StepOptions step_options() {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 3, .points = 4, .views = {{32, 32}, {32, 32}, {16, 16}}};
  return options;
}

/// A Cpu backend that remembers what it was asked for; copies share what they remember.
template <class T>
class ListingCpu : public BasicCpu<T> {
 public:
  explicit ListingCpu(const CpuOptions& options) : BasicCpu<T>(options) {}

  [[nodiscard]] Buffer allocate(std::size_t bytes) const {
    x_asked->push_back(bytes);
    return BasicCpu<T>::allocate(bytes);
  }
  [[nodiscard]] const std::vector<std::size_t>& asked() const { return *x_asked; }

 private:
  std::shared_ptr<std::vector<std::size_t>> x_asked = std::make_shared<std::vector<std::size_t>>();
};

/// Bytes of a step with the published views and points, two global and four local views of 224 pixels.
template <ViTConfig Size>
std::size_t planned(Index batch, Index prototypes) {
  StepOptions options;
  options.shape = {.batch = batch, .channels = 3, .points = 2, .views = std::vector<ViewSize>(6, {224, 224})};
  options.prototypes = prototypes;
  return test::planned_bytes<Size>(options);
}

template <class Recipe>
void check_plan(bool stream_views = false) {
  const ListingCpu<float> backend({.threads = 1});
  StepOptions options = step_options();
  options.stream_views = stream_views;
  const TrainingStep<Recipe, ListingCpu<float>> step(backend, options);
  REQUIRE(backend.asked().size() == 1);
  CHECK(step.memory_plan().total() == backend.asked()[0]);
  CHECK(step.memory_plan().total() > 6 * sizeof(float) * static_cast<std::size_t>(step.layout().total()));
  for (const auto& entry : step.memory_plan().entries) {
    INFO(entry.name);
    CHECK_FALSE(entry.name.empty());
    // Whoever trains on 64 GB wants to know where they are: no part is without bytes but what others left room for.
    if (!test::contains(entry.name, "beyond")) CHECK(entry.bytes > 0);
  }
}

template <class Recipe, class T>
void check_steps(int threads, bool stream_views = false) {
  INFO(threads << " threads, " << sizeof(T) << " bytes a number, views streamed: " << stream_views);
  const BasicCpu<T> backend({.threads = threads});
  StepOptions options = step_options();
  options.stream_views = stream_views;
  const ViewBatch batch = test::drawn_batch(options.shape, 5);
  const auto run = [&](TrainingStep<Recipe, BasicCpu<T>>& step, Index number) {
    StepReport report;
    allocations = 0;
    counting = true;
    step.begin();
    step.forward_backward(report, batch, 0.1);
    step.update(report, {.optimiser = {.learning_rate = 1e-3, .step = number}, .teacher_momentum = 0.99});
    step.inspect(report);
    counting = false;
    return allocations.load();
  };
  const auto drawn = [&](TrainingStep<Recipe, BasicCpu<T>>& step) {
    const auto weights = test::drawn_weights<T>(step.layout(), 1);
    std::copy(weights.begin(), weights.end(), step.student().data());
    std::copy(weights.begin(), weights.end(), step.teacher().data());
  };
  TrainingStep<Recipe, BasicCpu<T>> first(backend, options);
  drawn(first);
  // The backend's scratch grows in the first step of all. With several threads oneTBB may want memory for its
  // tasks at any time: then only the scratch is looked at.
  const bool alone = threads == 1;
  const long grown = run(first, 0);
  CHECK(grown > 0);
  const std::size_t scratch = backend.scratch_bytes();
  for (Index number = 1; number < 3; ++number) {
    const long later = run(first, number);
    CHECK((later == 0 || !alone));
  }
  // With scratch there, even a model's first step needs nothing.
  TrainingStep<Recipe, BasicCpu<T>> second(backend, options);
  drawn(second);
  const long second_model = run(second, 0);
  CHECK((second_model == 0 || !alone));
  CHECK(backend.scratch_bytes() == scratch);
}

}  // namespace

TEST_CASE("the memory plan of a training step is what it allocates") {
  check_plan<Dense>();
  check_plan<Plain>();
  check_plan<Sampled>();
  check_plan<Dense>(true);
  check_plan<Sampled>(true);
}

TEST_CASE("the memory plan of the published step keeps to its bounds") {
  constexpr std::size_t mb = 1'000'000;
  const std::size_t small = planned<vit_small16>(2, 65'536);
  const std::size_t parameters = 66'350'000;
  INFO("ViT-S/16, batch 2, 65 536 prototypes: " << small << " bytes");
  // Weights of student and teacher, gradients and two moments; then activations, 350 MB an image, and nothing that
  // grows with rows times prototypes or holds the prototypes once more.
  CHECK(small > 5 * sizeof(float) * parameters);
  CHECK(small <= 5 * sizeof(float) * parameters + 740 * mb);
  const std::size_t more = planned<vit_small16>(16, 65'536);
  INFO("batch 16: " << more << " bytes");
  CHECK(more - small <= 14 * 368 * mb);
  const std::size_t tiny = planned<vit_tiny16>(8, 4'096);
  INFO("ViT-Ti/16, batch 8, 4096 prototypes: " << tiny << " bytes");
  CHECK(tiny > 0);
  CHECK(tiny <= 1'860 * mb);
  // Sixteen times the prototypes: their weights, gradients and moments, and at most 2 x 112 rows of logits.
  const std::size_t wide = planned<vit_tiny16>(8, 65'536) - tiny;
  const std::size_t added = 65'536 - 4'096;
  CHECK(wide <= sizeof(float) * added * (2 * 5 * 257 + 2 * 112 + 2 * 16));
}

TEST_CASE("a training step allocates nothing") {
#ifdef DSSL_TEST_COUNTS_MALLOC
  check_steps<Dense, float>(1);
  check_steps<Plain, float>(1);
  check_steps<Sampled, float>(1);
  check_steps<Dense, double>(1);
  check_steps<Sampled, double>(1);
  check_steps<Dense, float>(2);
  check_steps<Dense, float>(1, true);
  check_steps<Plain, double>(1, true);
  check_steps<Sampled, float>(1, true);
  check_steps<Dense, float>(2, true);
#else
  WARN("skipped: allocations are counted on glibc without sanitizers only");
#endif
}
