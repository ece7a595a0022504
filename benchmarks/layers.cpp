// Whole layers at the shapes of the published step: a block, a head, the backbone; forward and backward.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/core/random.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/head.hpp>

#include "workload.hpp"

namespace {

using namespace dssl;

/// Memory that a layer's buffers are cut from: `place` is called with a measuring arena, then with a live
/// one.
template <class B, class Place>
Buffer placed(const B& backend, const Place& place) {
  Arena measure;
  place(measure);
  Buffer buffer = backend.allocate(measure.high_water());
  Arena live(buffer);
  place(live);
  return buffer;
}

template <class T>
void draw(std::span<T> values, std::uint64_t seed, double scale) {
  RandomStream random({.seed = seed});
  for (T& x : values) x = static_cast<T>(scale * random.normal());
}

/// A block of the published step: all student views of a batch of two, private relation.
template <Backend B>
class BlockCase {
 public:
  using T = typename B::Scalar;

  BlockCase(const B& backend, const ViTConfig& config)
      : x_backend(backend),
        x_size(config.block()),
        x_tokens({{.count = 12, .grid = config.native_grid(), .references = 4}},
                 {.class_token = true, .reference = true}) {
    add_block_parameters(x_layout, x_size);
    x_buffer = placed(backend, [&](Arena& arena) {
      x_device = DeviceTokenLayout::place(backend, arena, x_tokens);
      const Index rows = x_tokens.rows();
      x_weights = arena.vector<T>(x_layout.total());
      x_weight_gradients = arena.vector<T>(x_layout.total());
      x_x = arena.matrix<T>(rows, x_size.width);
      x_branch = arena.matrix<T>(rows, x_size.width);
      x_scratch = BlockScratch<T>::take(arena, x_size, rows);
      x_activations = BlockActivations<T>::saved(arena, x_size, x_scratch, rows, false);
      x_gradients = BlockGradients<T>::take(arena, x_size, rows, rows);
    });
    initialise(x_weights.flat(), x_layout, 1);
    draw(x_x.flat(), 2, 1.0);
    ParameterCursor<const T> weights(x_layout, x_weights.data());
    x_bound = BlockParameters<const T>::bind(weights);
    ParameterCursor<T> gradients(x_layout, x_weight_gradients.data());
    x_d_bound = BlockParameters<T>::bind(gradients);
    forward();
    x_hidden.assign(x_activations.hidden.data(), x_activations.hidden.data() + x_activations.hidden.size());
  }

  void forward() {
    block_forward<private_relation>(x_backend, x_activations, MatrixView<const T>(x_x), x_bound, x_size,
                                    x_device, {}, x_branch, x_tokens.reads(), false);
  }
  void backward() {
    draw(x_gradients.d_x.flat().first(64), 3, 1e-3);  // the rest drifts, but stays ordinary numbers
    std::copy(x_hidden.begin(), x_hidden.end(), x_activations.hidden.data());  // the last pass overwrote them
    block_backward<private_relation>(x_backend, x_gradients, x_d_bound, x_activations, x_scratch,
                                     MatrixView<const T>(x_x), x_bound, x_size, x_device, {},
                                     x_tokens.reads(), false);
  }
  [[nodiscard]] double flop() const {
    const auto d = static_cast<double>(x_size.width);
    double sum = 24.0 * static_cast<double>(x_tokens.rows()) * d * d;
    for (const Sequence& s : x_tokens.sequences()) {
      sum += 4.0 * static_cast<double>((1 + s.patches) * (1 + s.patches + s.references)) * d;
    }
    return sum;
  }

 private:
  B x_backend;
  BlockSize x_size;
  TokenLayout x_tokens;
  ParameterLayout x_layout;
  Buffer x_buffer;
  DeviceTokenLayout x_device;
  VectorView<T> x_weights, x_weight_gradients;
  MatrixView<T> x_x, x_branch;
  BlockScratch<T> x_scratch;
  BlockActivations<T> x_activations;
  std::vector<T> x_hidden;  // what the forward pass left there
  BlockGradients<T> x_gradients;
  BlockParameters<const T> x_bound;
  BlockParameters<T> x_d_bound;
};

/// A head of the published step up to its unit vectors (the prototypes come with the loss: primitives.cpp).
template <Backend B>
class HeadCase {
 public:
  using T = typename B::Scalar;

  HeadCase(const B& backend, Index width, Index rows)
      : x_backend(backend), x_config{.prototypes = 1}, x_width(width), x_rows(rows) {
    add_head_parameters(x_layout, x_config, width, "");
    x_buffer = placed(backend, [&](Arena& arena) {
      x_weights = arena.vector<T>(x_layout.total());
      x_weight_gradients = arena.vector<T>(x_layout.total());
      x_activations = HeadActivations<T>::take(arena, x_config, width, arena.matrix<T>(rows, x_config.bottleneck));
      x_gradients = HeadGradients<T>::take(arena, x_config, width, rows);
    });
    initialise(x_weights.flat(), x_layout, 1);
    draw(x_activations.x.flat(), 2, 1.0);
    ParameterCursor<const T> weights(x_layout, x_weights.data());
    x_bound = HeadParameters<const T>::bind(weights, x_config);
    ParameterCursor<T> gradients(x_layout, x_weight_gradients.data());
    x_d_bound = HeadParameters<T>::bind(gradients, x_config);
    forward();
  }

  void forward() { head_forward(x_backend, x_activations, x_bound); }
  void backward() {
    draw(x_gradients.d_unit.flat(), 3, 1e-4);  // a pass overwrites it
    head_backward(x_backend, x_gradients, x_d_bound, x_activations, x_bound);
  }
  [[nodiscard]] double flop() const {
    return static_cast<double>(x_rows) * dssl::benchmarks::head_flop({.prototypes = 0}, x_width);
  }

 private:
  B x_backend;
  HeadConfig x_config;
  Index x_width;
  Index x_rows;
  ParameterLayout x_layout;
  Buffer x_buffer;
  VectorView<T> x_weights, x_weight_gradients;
  HeadActivations<T> x_activations;
  HeadGradients<T> x_gradients;
  HeadParameters<const T> x_bound;
  HeadParameters<T> x_d_bound;
};

/// Registers forward and backward of what `make(backend)` gives, for one and two threads.
template <Backend B, class Make>
void add(const std::string& name, const Make& make) {
  for (const bool backward : {false, true}) {
    for (const int threads : {1, 2}) {
      const std::string full =
          name + (backward ? "_backward" : "_forward") + "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(full.c_str(),
                                   [=](benchmark::State& state) {
                                     const auto layer = make(B({.threads = threads}));
                                     for (auto _ : state) {
                                       if (backward) {
                                         layer->backward();
                                       } else {
                                         layer->forward();
                                       }
                                     }
                                     state.counters["FLOP/s"] =
                                         benchmark::Counter((backward ? 2.0 : 1.0) * layer->flop(),
                                                            benchmark::Counter::kIsIterationInvariantRate);
                                   })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

template <Backend B>
void register_all(const std::string& backend) {
  add<B>(backend + "/block/small16", [](B b) { return std::make_unique<BlockCase<B>>(b, vit_small16); });
  add<B>(backend + "/block/tiny16", [](B b) { return std::make_unique<BlockCase<B>>(b, vit_tiny16); });
  add<B>(backend + "/head/width:384/rows:40", [](B b) { return std::make_unique<HeadCase<B>>(b, 384, 40); });
  add<B>(backend + "/head/width:192/rows:160", [](B b) { return std::make_unique<HeadCase<B>>(b, 192, 160); });
}

const bool registered = [] {
  register_all<Cpu>("Cpu");
  return true;
}();

}  // namespace
