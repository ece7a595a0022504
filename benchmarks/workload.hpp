// The workloads whose training step is measured, and what a step of them costs by the published method.
#pragma once

#include <string_view>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/error.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/view_batch.hpp>

namespace dssl::benchmarks {

/// Sizes of a measured step.
struct Workload {
  Index batch = 0;
  Index locals = 4;
  Index global_size = 224;  ///< pixels a side
  Index local_size = 224;
  Index points = 2;      ///< K
  Index prototypes = 0;  ///< P

  [[nodiscard]] BatchShape shape(Index channels) const {
    BatchShape out{.batch = batch, .channels = channels, .points = points, .views = {}};
    for (Index v = 0; v < 2 + locals; ++v) {
      const Index size = v < 2 ? global_size : local_size;
      out.views.push_back({size, size});
    }
    return out;
  }
};

/// The published recipe with another backbone and head.
template <class Backbone, class Head = ProjectionHead<HeadConfig{}>>
using Published = typename DenseDino::with_backbone<Backbone>::template with_head<Head>;

/// Calls `visit.template operator()<Recipe>(name, workload)` for every workload.
template <class Visit>
void each_workload(const Visit& visit) {
  visit.template operator()<Published<ViT<vit_small16>>>("small16",
                                                         Workload{.batch = 2, .prototypes = 65'536});
  visit.template operator()<Published<ViT<vit_tiny16>>>("tiny16", Workload{.batch = 8, .prototypes = 4'096});
  visit.template operator()<Published<
      ViT<vit_nano8>, ProjectionHead<HeadConfig{.hidden = 512, .bottleneck = 128, .prototypes = 1024}>>>(
      "nano8", Workload{.batch = 16, .global_size = 96, .local_size = 48, .prototypes = 1024});
}

/// FLOP of one backbone pass over a view of `patches` patches and `references` reference tokens, multiply-add
/// = 2: F(T) = L (24 T D^2 + 4 T^2 D) + 2 N C p^2 D, as if every token saw every token.
[[nodiscard]] inline double backbone_flop(const ViTConfig& c, Index patches, Index references) {
  const auto d = static_cast<double>(c.width);
  const auto n = static_cast<double>(patches);
  const double t = 1.0 + n + static_cast<double>(references);
  const auto ratio = static_cast<double>(c.mlp_ratio);
  return static_cast<double>(c.depth) * ((8.0 + 4.0 * ratio) * t * d * d + 4.0 * t * t * d) +
         2.0 * n * static_cast<double>(c.channels * c.patch * c.patch) * d;
}

/// FLOP of one row through a projection head of three layers: 2 (D h + h^2 + h b + b P).
[[nodiscard]] inline double head_flop(const HeadConfig& c, Index width) {
  const auto h = static_cast<double>(c.hidden);
  const auto b = static_cast<double>(c.bottleneck);
  return 2.0 * (static_cast<double>(width) * h + h * h + h * b + b * static_cast<double>(c.prototypes));
}

/// FLOP of a training step by the published method, whatever an implementation leaves out:
///
///   B (3 sum_v F(1 + N_v + 2K) + 2 F(1 + N_g + V K) + 3 V (1 + 2K) Hd + 2 (1 + V K) Hd).
///
/// The backward pass counts twice the forward pass. 387.8 GFLOP for small16, 423.5 for tiny16.
[[nodiscard]] inline double step_flop(const ViTConfig& backbone, HeadConfig head, const Workload& w) {
  head.prototypes = w.prototypes;
  const auto patches = [&](Index size) { return (size / backbone.patch) * (size / backbone.patch); };
  const Index views = 2 + w.locals;
  const double student =
      2.0 * backbone_flop(backbone, patches(w.global_size), 2 * w.points) +
      static_cast<double>(w.locals) * backbone_flop(backbone, patches(w.local_size), 2 * w.points);
  const double teacher = 2.0 * backbone_flop(backbone, patches(w.global_size), views * w.points);
  const double rows =
      3.0 * static_cast<double>(views * (1 + 2 * w.points)) + 2.0 * static_cast<double>(1 + views * w.points);
  return static_cast<double>(w.batch) * (3.0 * student + teacher + rows * head_flop(head, backbone.width));
}

}  // namespace dssl::benchmarks
