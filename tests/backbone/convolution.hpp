// A small convolutional backbone, written from primitives: what it takes to train another network than a ViT.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/stochastic_depth.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl::test {

/// Sizes: a stem of non-overlapping patches, then residual 3 x 3 convolutions on the map.
struct ConvolutionConfig {
  Index patch = 4;
  Index width = 16;  // D
  Index layers = 2;
  Index channels = 3;

  [[nodiscard]] constexpr bool operator==(const ConvolutionConfig&) const = default;
};

/// x_0 = W patch + b; x_(i+1) = x_i + relu(sum over the 9 neighbours of W_k x_i + b). The map is LN(x_L), the row of class
/// level its mean over the view. Neighbours outside the view are 0.
struct Convolution {
  using Config = ConvolutionConfig;
  static constexpr Index neighbours = 9;
  static constexpr double epsilon = 1e-6;

  template <class T>
  struct Parameters {
    MatrixView<T> stem_weight;
    VectorView<T> stem_bias;
    struct Layer {
      MatrixView<T> weight;  // (9 D,D), a neighbour after the other
      VectorView<T> bias;
    };
    std::vector<Layer> layers;
    VectorView<T> norm_weight, norm_bias;

    static Parameters bind(ParameterCursor<T>& next, const Config& config, LearnedTokens /*learned*/) {
      Parameters p;
      p.stem_weight = next.matrix();
      p.stem_bias = next.vector();
      for (Index i = 0; i < config.layers; ++i) {
        auto& layer = p.layers.emplace_back();
        layer.weight = next.matrix();
        layer.bias = next.vector();
      }
      p.norm_weight = next.vector();
      p.norm_bias = next.vector();
      return p;
    }
  };

  static constexpr void add_parameters(ParameterLayout& layout, const Config& c, LearnedTokens /*learned*/, std::string_view prefix) {
    const Index fan_in = c.channels * c.patch * c.patch;
    layout.prefix(prefix);
    layout.add("stem.weight", {c.width, fan_in}, {.initial = InitialValues::uniform, .fan_in = fan_in});
    layout.add("stem.bias", {c.width}, {.initial = InitialValues::uniform, .fan_in = fan_in});
    for (Index i = 0; i < c.layers; ++i) {
      layout.prefix(ParameterName(prefix).append("layers.").append(i).append(".").view());
      layout.add("weight", {neighbours * c.width, c.width}, {.initial = InitialValues::uniform, .fan_in = neighbours * c.width});
      layout.add("bias", {c.width}, {.initial = InitialValues::uniform, .fan_in = neighbours * c.width});
    }
    layout.prefix(prefix);
    layout.add("norm.weight", {c.width}, {.initial = InitialValues::one});
    layout.add("norm.bias", {c.width}, {});
    layout.prefix("");
  }

  [[nodiscard]] static std::string describe(const Config& c) {
    return join("convolution, patch ", c.patch, ", width ", c.width, ", layers ", c.layers, ", channels ", c.channels);
  }

  /// Rows of the map, each with its neighbour in one of nine directions.
  struct Shift {
    RowIndex row, neighbour;
  };

  template <class T>
  struct Inputs {
    std::vector<TensorView<T, 4>> images;  // a group each: (count,C,H,W)
    std::array<Shift, neighbours> shifts;
    RowIndex view_of_row;                  // of each row of the map

    template <Backend B>
    static Inputs place(const B& backend, Arena& arena, const Config& c, const TokenLayout& layout,
                        std::vector<TensorView<T, 4>> images = {}) {
      Inputs in;
      in.images = std::move(images);
      if (in.images.empty()) {
        for (const ViewGroup& g : layout.groups()) {
          in.images.emplace_back(arena.take<T>(g.count * c.channels * g.grid.size() * c.patch * c.patch), g.count, c.channels,
                                 g.grid.height * c.patch, g.grid.width * c.patch);
        }
      }
      std::array<std::pair<std::vector<std::int32_t>, std::vector<std::int32_t>>, neighbours> lists;
      std::vector<std::int32_t> views;
      Index first = 0;
      for (std::size_t s = 0; s < layout.sequences().size(); ++s) {
        const GridSize grid = layout.grid_of(s);
        for (Index n = 0; n < grid.size(); ++n) {
          views.push_back(static_cast<std::int32_t>(s));
          for (Index k = 0; k < neighbours; ++k) {
            const Index y = n / grid.width + k / 3 - 1, x = n % grid.width + k % 3 - 1;
            if (y < 0 || y >= grid.height || x < 0 || x >= grid.width) continue;
            lists[static_cast<std::size_t>(k)].first.push_back(static_cast<std::int32_t>(first + n));
            lists[static_cast<std::size_t>(k)].second.push_back(static_cast<std::int32_t>(first + y * grid.width + x));
          }
        }
        first += grid.size();
      }
      for (std::size_t k = 0; k < neighbours; ++k) {
        in.shifts[k] = {place_copy(backend, arena, lists[k].first), place_copy(backend, arena, lists[k].second)};
      }
      in.view_of_row = place_copy(backend, arena, views);
      return in;
    }
  };

  template <class T>
  struct Activations {
    MatrixView<T> patches;               // (N total, C p p)
    std::vector<MatrixView<T>> x;        // (N total,D): what enters each layer, and the last one's result
    std::vector<MatrixView<T>> relu;     // (N total,D)
    MatrixView<T> product;               // (N total,D)
    MatrixView<T> map;                   // (N total,D) normed
    MatrixView<T> sums;                  // (views,D)
    VectorView<T> mean, inverse_std;
    MatrixView<T> out;                   // rows that are read, class level first

    static Activations take(Arena& arena, const Config& c, const TokenLayout& layout, bool /*saved*/) {
      Activations a;
      const Index rows = layout.patch_count();
      a.patches = arena.matrix<T>(rows, c.channels * c.patch * c.patch);
      for (Index i = 0; i <= c.layers; ++i) a.x.push_back(arena.matrix<T>(rows, c.width));
      for (Index i = 0; i < c.layers; ++i) a.relu.push_back(arena.matrix<T>(rows, c.width));
      a.product = arena.matrix<T>(rows, c.width);
      a.map = arena.matrix<T>(rows, c.width);
      a.sums = arena.matrix<T>(layout.sequence_count(), c.width);
      a.mean = arena.vector<T>(rows);
      a.inverse_std = arena.vector<T>(rows);
      a.out = arena.matrix<T>(layout.read_count(), c.width);
      return a;
    }
  };

  template <class T>
  struct Gradients {
    MatrixView<T> d_x, d_sum, d_product, d_map;  // (N total,D)
    MatrixView<T> d_views;                       // (views,D)

    static Gradients take(Arena& arena, const Config& c, const TokenLayout& layout) {
      const auto rows = [&] { return arena.matrix<T>(layout.patch_count(), c.width); };
      Gradients g;
      g.d_x = rows();
      g.d_sum = rows();
      g.d_product = rows();
      g.d_map = rows();
      g.d_views = arena.matrix<T>(layout.sequence_count(), c.width);
      return g;
    }
  };

  template <class B>
  using Scalar = typename B::Scalar;

  template <AttentionRelation R, Backend B>
  static void forward(const B& backend, const Activations<Scalar<B>>& a, const Inputs<Scalar<B>>& in,
                      const Parameters<const Scalar<B>>& p, const Config& c, const TokenLayout& layout,
                      const DeviceTokenLayout& /*device*/, std::span<const BranchKeep<Scalar<B>>> /*keep*/) {
    using T = Scalar<B>;
    Index first = 0;
    for (std::size_t g = 0; g < in.images.size(); ++g) {
      const Index count = layout.groups()[g].count * layout.groups()[g].grid.size();
      backend.unfold_patches(a.patches.rows(first, count), in.images[g], c.patch);
      first += count;
    }
    backend.linear_forward(a.x[0], a.patches, p.stem_weight, p.stem_bias);
    for (std::size_t i = 0; i < p.layers.size(); ++i) {
      // The neighbour in the middle is the row itself, and brings the bias.
      backend.linear_forward(a.relu[i], a.x[i], x_weight(p.layers[i].weight, 4), p.layers[i].bias);
      for (Index k = 0; k < neighbours; ++k) {
        if (k == 4) continue;
        backend.linear_forward(a.product, a.x[i], x_weight(p.layers[i].weight, k), {});
        add_shifted(backend, a.relu[i], in.shifts[static_cast<std::size_t>(k)].row, a.product, in.shifts[static_cast<std::size_t>(k)].neighbour);
      }
      backend.relu_forward(a.relu[i], a.relu[i]);
      backend.copy_rows(a.x[i + 1], {}, a.x[i], {});
      backend.add_rows(a.x[i + 1], {}, a.relu[i], {});
    }
    backend.layer_norm_forward(a.map, a.mean, a.inverse_std, a.x.back(), p.norm_weight, p.norm_bias, epsilon);
    if (layout.reads().class_token) {
      const MatrixView<T> rows = a.out.rows(0, layout.sequence_count());
      backend.fill(VectorView<T>(rows.data(), rows.size()), T{0});
      for_each_view(layout, [&](Index view, Index at, Index count) {
        backend.add_column_sum(VectorView<T>(rows.row(view), rows.cols()), a.map.rows(at, count), {}, 1.0 / static_cast<double>(count));
      });
    }
    if (layout.reads().patch) backend.copy_rows(a.out.rows(layout.output_begin(TokenGroup::patch), layout.patch_count()), {}, a.map, {});
  }

  template <AttentionRelation R, Backend B>
  static void backward(const B& backend, const Parameters<Scalar<B>>& d_p, const Gradients<Scalar<B>>& g,
                       MatrixView<const Scalar<B>> d_out, const Activations<Scalar<B>>& a, const Inputs<Scalar<B>>& in,
                       const Parameters<const Scalar<B>>& p, const Config& /*config*/, const TokenLayout& layout,
                       const DeviceTokenLayout& /*device*/, std::span<const BranchKeep<Scalar<B>>> /*keep*/, bool /*detached*/) {
    using T = Scalar<B>;
    const auto zero = [&](MatrixView<T> x) { backend.fill(VectorView<T>(x.data(), x.size()), T{0}); };
    zero(g.d_map);
    if (layout.reads().patch) backend.copy_rows(g.d_map, {}, d_out.rows(layout.output_begin(TokenGroup::patch), layout.patch_count()), {});
    if (layout.reads().class_token) {
      zero(g.d_views);
      for_each_view(layout, [&](Index view, Index, Index count) {
        backend.add_scaled(VectorView<T>(g.d_views.row(view), g.d_views.cols()), VectorView<const T>(d_out.row(view), d_out.cols()),
                           1.0 / static_cast<double>(count));
      });
      backend.add_rows(g.d_map, {}, g.d_views, in.view_of_row);
    }
    zero(g.d_x);
    backend.layer_norm_backward(g.d_x, d_p.norm_weight, d_p.norm_bias, g.d_map, a.x.back(), a.mean, a.inverse_std, p.norm_weight);
    for (std::size_t i = p.layers.size(); i-- > 0;) {
      backend.relu_backward(g.d_sum, g.d_x, a.relu[i]);
      for (Index k = 0; k < neighbours; ++k) {
        const Shift& shift = in.shifts[static_cast<std::size_t>(k)];
        if (shift.row.empty()) continue;  // to a primitive, no rows are all of them
        zero(g.d_product);
        backend.add_rows(g.d_product, shift.neighbour, g.d_sum, shift.row);
        const VectorView<T> d_bias = k == 4 ? d_p.layers[i].bias : VectorView<T>{};
        backend.linear_backward_weight(x_weight(d_p.layers[i].weight, k), d_bias, g.d_product, a.x[i]);
        backend.linear_backward_input(g.d_map, g.d_product, x_weight(p.layers[i].weight, k));
        backend.add_rows(g.d_x, {}, g.d_map, {});
      }
    }
    backend.linear_backward_weight(d_p.stem_weight, d_p.stem_bias, g.d_x, a.patches);
  }

 private:
  template <class T>
  static MatrixView<T> x_weight(MatrixView<T> all, Index neighbour) {
    return all.rows(neighbour * all.cols(), all.cols());
  }
  template <class B, class T>
  static void add_shifted(const B& backend, MatrixView<T> to, RowIndex rows, MatrixView<T> from, RowIndex neighbours_of) {
    if (!rows.empty()) backend.add_rows(to, rows, from, neighbours_of);
  }
  template <class F>
  static void for_each_view(const TokenLayout& layout, F&& f) {
    Index at = 0;
    for (std::size_t s = 0; s < layout.sequences().size(); ++s) {
      f(static_cast<Index>(s), at, layout.grid_of(s).size());
      at += layout.grid_of(s).size();
    }
  }
};

/// Of given sizes, as a recipe takes it.
template <ConvolutionConfig C>
struct Convolutional : Convolution {
  using Family = Convolution;
  static constexpr Config config = C;
};

}  // namespace dssl::test
