// The MLP of a term in a training step.
// Tests: tests/train/two_view_terms.cpp.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/mlp.hpp>

namespace dssl {

/// An MLP in a training step: its buffers, and running statistics that outlive them.
template <class T>
class StepMlp {
 public:
  StepMlp() = default;
  /// `ranks`: whose rows batch norms norm together, where each has its own.
  StepMlp(const MlpConfig& config, Index groups, const Communicator& ranks = {})
      : x_config(config), x_groups(groups), x_ranks(ranks) {}

  [[nodiscard]] bool there() const { return x_config.layers > 0; }
  [[nodiscard]] Index width() const { return x_config.out; }
  [[nodiscard]] MatrixView<T> out() const { return x_activations.out; }

  /// Running statistics, and those of the last pass, which are read once its other buffers may be overwritten.
  template <Backend B>
  void place_lasting(const B& backend, Arena& arena) {
    x_running = MlpStatistics<T>::take(arena, x_config);
    if (!x_running.norms.empty() && x_running.norms.front().mean.data() != nullptr) x_running.reset(backend);
    x_mean.clear();
    x_inverse_std.clear();
    for (Index i = 0; i < x_config.layers; ++i) {
      const bool normed = x_config.norm_of(i) != BatchNorm::none;
      x_mean.push_back(normed ? arena.matrix<T>(x_groups, x_config.width_of(i)) : MatrixView<T>{});
      x_inverse_std.push_back(normed ? arena.matrix<T>(x_groups, x_config.width_of(i)) : MatrixView<T>{});
    }
  }
  /// Buffers of a pass of the rows of `x` to `out`, which lie where the caller wants them.
  void place(Arena& arena, MatrixView<const T> x, MatrixView<T> out) {
    x_activations = MlpActivations<T>::take(arena, x_config, x, out, x_groups, x_ranks);
    for (std::size_t i = 0; i < x_activations.layers.size(); ++i) {
      if (x_mean[i].cols() == 0) continue;
      x_activations.layers[i].mean = x_mean[i];
      x_activations.layers[i].inverse_std = x_inverse_std[i];
    }
    x_placed = x_activations;
  }
  /// Those of the way back.
  void place_back(Arena& arena, MatrixView<T> d_out, MatrixView<T> d_x) {
    x_gradients = MlpGradients<T>::take(arena, x_config, d_out, d_x);
    x_placed_back = x_gradients;
  }
  /// From here on a pass is of the first `rows` of those that it was placed for, of one group.
  void use_rows(Index rows) {
    require_shape(x_groups == 1 && x_ranks.alone(), "StepMlp: ", x_groups, " groups, or rows of other ranks; expected one group of its own");
    x_activations = x_placed.first(rows);
    x_gradients = x_placed_back.first(rows);
  }

  template <Backend B>
  void forward(const B& backend, const MlpParameters<const T>& p) const {
    mlp_forward(backend, x_activations, p, x_config);
  }
  template <Backend B>
  void backward(const B& backend, const MlpParameters<T>& d_p, const MlpParameters<const T>& p) const {
    mlp_backward(backend, x_gradients, d_p, x_activations, p, x_config);
  }
  template <Backend B>
  void update(const B& backend) const {
    if (there()) mlp_update_statistics(backend, x_running, x_activations);
  }
  /// f(name, view, shape) for each running mean and variance.
  template <class F>
  void for_each_state(std::string_view prefix, F&& f) const {
    x_running.for_each(prefix, [&](const std::string& name, VectorView<T> values) {
      f(name, values, std::vector<Index>{values.size()});
    });
  }

 private:
  MlpConfig x_config = no_mlp;
  Index x_groups = 1;
  Communicator x_ranks;
  MlpStatistics<T> x_running;
  std::vector<MatrixView<T>> x_mean, x_inverse_std;
  MlpActivations<T> x_activations, x_placed;
  MlpGradients<T> x_gradients, x_placed_back;
};

}  // namespace dssl
