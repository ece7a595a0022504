// After the first call with the largest shapes the Cpu backend's primitives take no memory from the heap.
#include "catch.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include <dssl/backend/cpu.hpp>

namespace {

std::atomic<long> allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  void* p = alignment > __STDCPP_DEFAULT_NEW_ALIGNMENT__
                ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
                : std::malloc(bytes == 0 ? 1 : bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

// Inlining one of a pair and not the other, g++ takes them for strangers.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

// The whole program counts; only differences around the calls below are looked at.
void* operator new(std::size_t bytes) { return counted(bytes, 0); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
// A sanitizer has a version of its own for this one, which would not go with the delete below.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return counted(bytes, 0);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

TEST_CASE("Cpu primitives allocate in their first call only", "[backend][cpu]") {
  using dssl::Index;
  using dssl::MatrixView;
  using dssl::VectorView;
  constexpr Index rows = 402, width = 384, hidden = 1536, heads = 6;
  const auto numbers = [](Index count) { return std::vector<float>(static_cast<std::size_t>(count), 0.25F); };
  auto x = numbers(rows * width), y = numbers(rows * hidden), w = numbers(hidden * width),
       b = numbers(hidden), qkv = numbers(rows * 3 * width), d_qkv = numbers(rows * 3 * width),
       log_sum = numbers(rows * heads), mean = numbers(rows), centre = numbers(hidden),
       narrow = numbers(rows * width), compared = numbers(rows * hidden);
  const std::vector<dssl::Sequence> sequences{{.first = 0, .patches = 196, .references = 4},
                                              {.first = 201, .patches = 196, .references = 4}};
  const dssl::SequenceBatch batch{.sequences = {sequences.data(), {2}}, .rows = rows, .longest = 201};
  const std::vector<dssl::TargetRows> targets(static_cast<std::size_t>(rows), dssl::TargetRows{0, 1});
  const std::vector<std::int32_t> places(static_cast<std::size_t>(rows), 0);
  const std::vector<dssl::Segment> segments{{.size = hidden * width / 2, .adapted = true},
                                            {.offset = hidden * width / 2, .size = hidden * width / 2}};
  std::vector<double> norms(2, 1.0);
  auto w2 = w, w3 = w, w4 = w, w5 = w;
  // A head's end: unit vectors of width 384 on 1536 prototypes, every row compared with the first two.
  auto d_unit = x, unit = x, entropy = mean;

  for (const int threads : {1, 2}) {
    const dssl::Cpu cpu(dssl::CpuOptions{.threads = threads});
    const MatrixView<float> x_(x.data(), rows, width), y_(y.data(), rows, hidden),
        w_(w.data(), hidden, width), narrow_(narrow.data(), rows, width), log_(log_sum.data(), rows, heads),
        qkv_(qkv.data(), rows, 3 * width), d_qkv_(d_qkv.data(), rows, 3 * width);
    const VectorView<float> b_(b.data(), hidden), mean_(mean.data(), rows), c_(centre.data(), hidden),
        first(w.data(), hidden * width), second(w2.data(), hidden * width), third(w3.data(), hidden * width),
        fourth(w4.data(), hidden * width);
    const VectorView<const dssl::Segment> parts(segments.data(), 2);
    const VectorView<double> norms_(norms.data(), 2);
    const VectorView<float> fifth(w5.data(), hidden * width);
    const std::size_t workspace_bytes = cpu.prototype_loss_workspace(targets, rows, hidden, width);
    const dssl::Buffer workspace = cpu.allocate(workspace_bytes);
    const dssl::PrototypeRows<float> unit_{MatrixView<const float>(unit.data(), rows, width), w_, b_};
    const auto step = [&] {
      cpu.linear_forward(y_, x_, w_, b_);
      cpu.linear_backward_input(narrow_, y_, w_);
      cpu.linear_backward_weight(w_, b_, y_, x_);
      cpu.layer_norm_forward(narrow_, mean_, VectorView<float>(log_sum.data(), rows), x_, b_, b_, 1e-6);
      cpu.layer_norm_backward(narrow_, b_, c_, x_, x_, mean_, mean_, b_);
      cpu.batch_norm_forward(d_qkv_, c_, b_, qkv_, b_, b_, 1e-5);
      cpu.batch_norm_backward(d_qkv_, b_, c_, d_qkv_, qkv_, b_, b_, b_);
      cpu.batch_norm_evaluate_forward(d_qkv_, qkv_, b_, c_, {}, {}, 1e-5);
      cpu.batch_norm_evaluate_backward(d_qkv_, b_, c_, d_qkv_, qkv_, b_, c_, b_, 1e-5);
      cpu.batch_norm_update(b_, c_, b_, c_, rows, 0.1, 1e-5);
      cpu.relu_forward(y_, y_);
      cpu.relu_backward(y_, y_, y_);
      cpu.row_dots(mean_, x_, x_);
      cpu.add_weighted_rows(narrow_, x_, mean_);
      cpu.add_scaled(b_, c_, 0.5);
      cpu.gelu_forward(y_, y_);
      cpu.gelu_backward(y_, y_, y_);
      cpu.swiglu_forward(narrow_, MatrixView<float>(qkv.data(), rows, 2 * width));
      cpu.swiglu_again_backward(narrow_, MatrixView<float>(d_qkv.data(), rows, 2 * width), x_,
                                MatrixView<float>(qkv.data(), rows, 2 * width));
      cpu.rotation_rows(narrow_, MatrixView<float>(y.data(), rows, 2), VectorView<float>(b.data(), width / 4));
      cpu.rotate_heads(qkv_, MatrixView<float>(y.data(), 1, width / heads), dssl::RowIndex(places.data(), rows), {}, heads,
                       -1.0);
      cpu.gelu_again_backward(d_qkv_, qkv_, VectorView<float>(b.data(), 3 * width), qkv_, d_qkv_);
      cpu.residual_norm_forward(narrow_, {x_, mean_, VectorView<float>(log_sum.data(), rows)}, narrow_, x_,
                                {}, {}, b_, b_, 1e-6);
      cpu.norm_residual_backward(narrow_, b_, c_, narrow_, c_, x_, {}, x_, mean_, mean_, b_, {});
      cpu.attention_forward<dssl::private_relation>(narrow_, log_, qkv_, batch, heads, dssl::all_groups);
      cpu.attention_backward<dssl::private_relation>(d_qkv_, narrow_, narrow_, log_, qkv_, batch, heads,
                                                     dssl::all_groups);
      cpu.centred_softmax(y_, y_, c_, 0.1);
      cpu.cross_entropy(mean_, y_, y_, MatrixView<const float>(compared.data(), rows, hidden),
                        VectorView<const dssl::TargetRows>(targets.data(), rows), 0.1, 1.0);
      cpu.add_column_sum(c_, y_, {}, 1.0);
      cpu.prototype_loss({mean_,
                          VectorView<float>(entropy.data(), rows),
                          MatrixView<float>(d_unit.data(), rows, width),
                          MatrixView<float>(w5.data(), hidden, width),
                          {},
                          c_},
                         unit_, unit_, {c_, VectorView<const dssl::TargetRows>(targets.data(), rows), {}}, {},
                         VectorView<std::byte>(workspace.data(), static_cast<Index>(workspace_bytes)));
      cpu.squared_norms(norms_, fourth, parts);
      cpu.adamw_step(first, second, third, fourth, norms_, parts, dssl::AdamWStep{.learning_rate = 1e-3});
      cpu.lars_step(first, second, fourth, norms_, parts, dssl::MomentumStep{.learning_rate = 1e-3});
      cpu.adamw_step(first, second, third, fourth, norms_, parts, dssl::AdamWStep{.learning_rate = 1e-3},
                     fifth, 0.9);
    };
    step();
    const std::size_t scratch = cpu.scratch_bytes();
    CHECK(scratch > 0);
    const long before = allocations;
    for (int repeat = 0; repeat < 3; ++repeat) step();
      // The thread sanitizer's builds have a stand-in for oneTBB, which takes memory for what it shares out.
#if defined(__SANITIZE_THREAD__)
    const bool counts = threads == 1;
#else
    const bool counts = true;
#endif
    CHECK((!counts || allocations - before == 0));
    CHECK(cpu.scratch_bytes() == scratch);
  }
}

TEST_CASE("the loss over prototypes works in memory that does not grow with the batch", "[backend][cpu]") {
  const auto bytes = [](std::int32_t rows) {
    std::vector<dssl::TargetRows> targets;
    for (std::int32_t i = 0; i < rows; ++i) targets.push_back({i, -1});
    return dssl::Cpu({.threads = 1}).prototype_loss_workspace(targets, rows, 65'536, 256);
  };
  const std::size_t group = bytes(96);
  // Two numbers a prototype and row, whole registers, and the parts of the unit vectors' gradients.
  CHECK(group <= sizeof(float) * (65'536 * (96 + 112 + 1) + 64 * 96 * 256) + 1'000'000);
  CHECK(bytes(20 * 96) <= group + 20 * 96 * 16);  // some row numbers more; all logits would be 1 GB
  CHECK(bytes(4) <= sizeof(float) * 65'536 * (16 + 16 + 1) + 1'000'000);
}

TEST_CASE("the backend takes its memory from the resource it was given, and gives all of it back") {
  /// Counts what it hands out.
  class Counting : public std::pmr::memory_resource {
   public:
    std::size_t in_use = 0;
    std::size_t largest = 0;

   private:
    void* do_allocate(std::size_t bytes, std::size_t alignment) override {
      in_use += bytes;
      largest = std::max(largest, in_use);
      return std::pmr::new_delete_resource()->allocate(bytes, alignment);
    }
    void do_deallocate(void* p, std::size_t bytes, std::size_t alignment) override {
      in_use -= bytes;
      std::pmr::new_delete_resource()->deallocate(p, bytes, alignment);
    }
    [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
  };
  Counting counting;
  {
    const dssl::Cpu cpu({.threads = 1, .memory = &counting});
    const dssl::Buffer buffer = cpu.allocate(4096);
    CHECK(counting.in_use == 4096);
    CHECK(std::all_of(buffer.data(), buffer.data() + 4096, [](std::byte b) { return b == std::byte{0}; }));
    float* const x = reinterpret_cast<float*>(buffer.data());
    cpu.linear_forward(dssl::MatrixView<float>(x, 8, 8), dssl::MatrixView<const float>(x + 64, 8, 8),
                       dssl::MatrixView<const float>(x + 128, 8, 8), {});
    CHECK(counting.in_use == 4096 + cpu.scratch_bytes());
    CHECK(cpu.scratch_bytes() > 0);
  }
  CHECK(counting.in_use == 0);
  CHECK(counting.largest > 4096);
}
