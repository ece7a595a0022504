// An MLP with the memory of its passes, for tests that write its weights and inputs themselves.
#pragma once

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/nn/mlp.hpp>

namespace dssl::test {

/// An MLP over memory that begins as infinity, but for weights, which are 0: what a pass reads, it must have written.
template <class B>
class MlpInMemory {
 public:
  using T = typename B::Scalar;

  MlpInMemory(const B& backend, const MlpConfig& sizes, Index rows, Index groups, Index width, const Communicator& ranks = {})
      : config(sizes), x_backend(backend) {
    add_mlp_parameters(layout, config, width, "");
    const auto place = [&](Arena& arena) {
      weights = arena.vector<T>(layout.total());
      gradients = arena.vector<T>(layout.total());
      statistics = MlpStatistics<T>::take(arena, config);
      x = arena.matrix<T>(rows, width);
      a = MlpActivations<T>::take(arena, config, x, arena.matrix<T>(rows, config.out), groups, ranks);
      const MatrixView<T> d_out = arena.matrix<T>(rows, config.out);
      g = MlpGradients<T>::take(arena, config, d_out, arena.matrix<T>(rows, width));
    };
    Arena measure;
    place(measure);
    x_memory = backend.allocate(measure.high_water());
    std::fill_n(reinterpret_cast<T*>(x_memory.data()), x_memory.bytes() / sizeof(T),
                std::numeric_limits<T>::infinity());
    Arena live(x_memory);
    place(live);
    std::fill_n(weights.data(), weights.size(), T{0});
    ParameterCursor<const T> weight_cursor(layout, weights.data());
    ParameterCursor<T> gradient_cursor(layout, gradients.data());
    p = MlpParameters<const T>::bind(weight_cursor, config);
    d_p = MlpParameters<T>::bind(gradient_cursor, config);
  }

  static std::span<T> tensor(VectorView<T> flat, const ParameterSpec& spec) {
    return flat.flat().subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
  }

  void forward() const { mlp_forward(x_backend, a, p, config); }
  void backward() const { mlp_backward(x_backend, g, d_p, a, p, config); }
  void update(double momentum = batch_norm_momentum) const { mlp_update_statistics(x_backend, statistics, a, momentum); }
  void evaluate() const { mlp_evaluate(x_backend, a, p, statistics, config); }
  void evaluate_backward() const { mlp_evaluate_backward(x_backend, g, d_p, a, p, statistics, config); }
  void clear_gradients() const { x_backend.fill(gradients, T{0}); }

  MlpConfig config;
  ParameterLayout layout;
  VectorView<T> weights, gradients;
  MatrixView<T> x;
  MlpStatistics<T> statistics;
  MlpActivations<T> a;
  MlpGradients<T> g;
  MlpParameters<const T> p;
  MlpParameters<T> d_p;

 private:
  const B& x_backend;
  Buffer x_memory;
};

}  // namespace dssl::test
