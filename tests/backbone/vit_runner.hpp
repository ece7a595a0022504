// Runs a ViT forward and backward outside a trainer, on any backend.
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/nn/stochastic_depth.hpp>

namespace dssl::test {

/// Calls `f.template operator()<relation>()` for the relation of that published name.
template <class F>
void with_relation(const std::string& published_name, F&& f) {
  bool found = false;
  const auto visit = [&]<std::size_t I>() {
    if (named_relations[I].published_name == published_name) {
      found = true;
      f.template operator()<named_relations[I].relation>();
    }
  };
  [&]<std::size_t... I>(std::index_sequence<I...>) { (visit.template operator()<I>(), ...); }
  (std::make_index_sequence<named_relations.size()>{});
  if (!found) throw Error("no relation is named " + published_name);
}

/// A ViT with weights, gradients and all buffers for one token layout.
template <Backend B>
class VitRunner {
 public:
  using T = typename B::Scalar;

  VitRunner(const B& backend, const ViTConfig& config, bool learned_reference, const std::vector<ViewGroup>& groups,
            GroupSet reads, bool saved = true, bool recompute = false)
      : VitRunner(backend, config, LearnedTokens{.reference = learned_reference}, groups, reads, saved, recompute) {}
  VitRunner(const B& backend, const ViTConfig& config, LearnedTokens learned, const std::vector<ViewGroup>& groups,
            GroupSet reads, bool saved = true, bool recompute = false)
      : x_backend(backend),
        x_config(config),
        x_parameters(vit_layout(config, learned)),
        x_tokens(groups, reads),
        x_learned(learned) {
    Arena measure;
    x_place(measure, saved, recompute);
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live, saved, recompute);
  }

  [[nodiscard]] const ParameterLayout& parameters() const { return x_parameters; }
  [[nodiscard]] const TokenLayout& tokens() const { return x_tokens; }
  [[nodiscard]] const ViTActivations<T>& activations() const { return x_activations; }
  [[nodiscard]] std::span<T> weights() { return x_weights.flat(); }
  [[nodiscard]] std::span<T> gradients() { return x_gradients.flat(); }
  [[nodiscard]] std::span<T> image(std::size_t group) { return x_inputs.images[group].flat(); }

  /// Points of all sequences in order, (x, y) each.
  template <class U>
  void points(std::span<const U> xy) {
    for (std::size_t i = 0; i < xy.size() / 2; ++i) {
      x_inputs.point_taps.data()[i] = ViTFamily::point_taps<T>(
          x_config, {static_cast<double>(xy[2 * i]), static_cast<double>(xy[2 * i + 1])});
    }
  }

  /// References of those points begin with what is embedded there.
  template <class U>
  void content(std::span<const U> xy, bool attached) {
    std::vector<Point> at;
    for (std::size_t i = 0; i < xy.size() / 2; ++i) at.push_back({static_cast<double>(xy[2 * i]), static_cast<double>(xy[2 * i + 1])});
    std::vector<Taps<T>> taps;
    append_patch_reads(taps, x_tokens, at);
    x_backend.upload(x_content.data(), std::span<const Taps<T>>(taps));
    x_inputs.content_taps = x_content;
    x_inputs.content_attached = attached;
  }

  /// Fills the buffers of the backward pass with what must not survive.
  void spoil() {
    const auto& derived = x_activations.derived;
    for (const MatrixView<T> m : {x_block_gradients.d_x, x_block_gradients.d_branch, x_block_gradients.d_tail,
                                  derived.proj_weight, derived.fc2_weight, derived.d_proj_weight, derived.d_fc2_weight}) {
      x_backend.fill(VectorView<T>(m.data(), m.size()), std::numeric_limits<T>::infinity());
    }
    for (const MatrixView<T>& m : x_activations.between) {
      x_backend.fill(VectorView<T>(m.data(), m.size()), std::numeric_limits<T>::infinity());
    }
    for (const VectorView<T> v : {derived.proj_bias, derived.fc2_bias, derived.d_proj_bias, derived.d_fc2_bias[0],
                                  derived.d_fc2_bias[1], derived.dots}) {
      x_backend.fill(v, std::numeric_limits<T>::infinity());
    }
  }
  /// Masks these patches, by their numbers.
  void mask(const std::vector<std::int32_t>& patches) {
    x_backend.upload(x_masked.data(), std::span<const std::int32_t>(patches));
    x_inputs.masked_patches = RowIndex(x_masked.data(), static_cast<Index>(patches.size()));
  }

  /// Multipliers (depth,2,S) as a training step sets them.
  std::span<const BranchKeep<T>> branches(std::span<const T> keep) {
    x_depth.set(x_backend, x_tokens, keep);
    return x_depth.branches();
  }
  [[nodiscard]] std::size_t bytes() const { return x_buffer.bytes(); }

  template <AttentionRelation R>
  MatrixView<const T> forward(std::span<const BranchKeep<T>> keep = {}) {
    ParameterCursor<const T> cursor(x_parameters, x_weights.data());
    x_bound = ViTParameters<const T>::bind(cursor, x_config, x_learned);
    vit_forward<R>(x_backend, x_activations, x_inputs, x_bound, x_config, x_tokens, x_device, keep);
    return x_activations.out;
  }

  /// After `forward`, without it anew: the references of other points.
  template <AttentionRelation R>
  MatrixView<const T> forward_references() {
    vit_forward_references<R>(x_backend, x_activations, x_inputs, x_bound, x_config, x_tokens, x_device);
    return x_activations.out;
  }

  template <AttentionRelation R>
  void backward(MatrixView<const T> d_out, bool detached = false, std::span<const BranchKeep<T>> keep = {}) {
    x_backend.fill(x_gradients, T{0});
    ParameterCursor<T> cursor(x_parameters, x_gradients.data());
    const auto bound = ViTParameters<T>::bind(cursor, x_config, x_learned);
    vit_backward<R>(x_backend, bound, x_block_gradients, d_out, x_activations, x_inputs, x_bound, x_config, x_tokens, x_device,
                    keep, detached);
  }

 private:
  void x_place(Arena& arena, bool saved, bool recompute) {
    x_weights = arena.template vector<T>(x_parameters.total());
    x_gradients = arena.template vector<T>(x_parameters.total());
    x_device = DeviceTokenLayout::place(x_backend, arena, x_tokens);
    x_inputs = ViTInputs<T>::place(x_backend, arena, x_config, x_tokens, {}, x_learned.mask ? x_tokens.patch_count() : 0);
    x_content = arena.template vector<Taps<T>>(x_tokens.reference_count());
    if (x_learned.mask) x_masked = arena.template vector<std::int32_t>(x_tokens.patch_count());
    x_activations = ViTActivations<T>::take(arena, x_config, x_tokens, saved, recompute);
    x_depth = StochasticDepth<T>::place(x_backend, arena, x_tokens, x_config.depth);
    x_block_gradients = BlockGradients<T>::take(arena, x_config.block(), x_tokens.rows(), x_tokens.read_count());
  }

  B x_backend;
  ViTConfig x_config;
  ParameterLayout x_parameters;
  TokenLayout x_tokens;
  LearnedTokens x_learned;
  Buffer x_buffer;
  VectorView<T> x_weights, x_gradients;
  VectorView<std::int32_t> x_masked;
  VectorView<Taps<T>> x_content;
  DeviceTokenLayout x_device;
  ViTInputs<T> x_inputs;
  ViTActivations<T> x_activations;
  BlockGradients<T> x_block_gradients;
  StochasticDepth<T> x_depth;
  ViTParameters<const T> x_bound;
};

}  // namespace dssl::test
