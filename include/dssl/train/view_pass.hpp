// A backbone's pass over some views of a batch: tokens, inputs, activations, and the features that the loss reads.
// Tests: tests/train/training_parity.cpp, step_oracle.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/concepts.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/stochastic_depth.hpp>
#include <dssl/nn/token_layout.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/view_batch.hpp>

namespace dssl {

/// A backbone's forward pass over views of a batch that follow one another, with all its buffers.
///
/// Features of class level are the class tokens, one a sequence; those of points the reference tokens, or reads of the
/// patches' map (`Kind::Tokens::point_features`); those of the map the patches. All are ordered by sequences: view-major,
/// then image.
template <class Kind, Backend B>
class ViewPass {
 public:
  using T = typename B::Scalar;
  using Backbone = typename Kind::Backbone;
  using Tokens = typename Kind::Tokens;
  using BackboneConfig = typename Backbone::Config;
  using Inputs = typename Backbone::template Inputs<T>;
  using Activations = typename Backbone::template Activations<T>;
  using Parameters = typename Backbone::template Parameters<const T>;

  static constexpr bool reference_tokens =
      Kind::Loss::reads.points && Tokens::point_features == PointFeatures::reference_tokens;
  /// Whether references begin with what is embedded at their points.
  static constexpr bool content = reference_tokens && content_of<Tokens> != PointContent::none;
  static constexpr bool sampled =
      Kind::Loss::reads.points && Tokens::point_features == PointFeatures::sampled_patches;
  /// Whether references can be computed at other points without another pass of the tokens that do not see them.
  static constexpr bool references_alone =
      reference_tokens && hides_references(Tokens::relation) && ForwardsReferences<Backbone, B>;
  /// Whether patches are masked, and read where they are.
  static constexpr bool masked = Kind::Loss::reads.masked;
  /// Whether the backbone offers to keep only what enters its blocks.
  static constexpr bool recomputes = requires(Arena& arena, const TokenLayout& tokens) {
    Activations::take(arena, BackboneConfig{}, tokens, true, true);
  };

  ViewPass() = default;

  /// Of `views` views from `first` on, each read at so many points where `reads`, what the loss reads of this network, has
  /// points; those behind the two global ones where a term reads these. `registers`: tokens of the backbone's own. `tells_local`: views behind
  /// the two global ones are marked as local.
  ViewPass(const BatchShape& shape, Index first, Index views, Index points, Index patch, FeatureKinds reads,
           Index registers = 0, bool tells_local = false)
      : x_first(first), x_points(points), x_batch(shape.batch), x_most_masked(masked ? shape.masked : 0) {
    // A backbone that masks patches gives those of the groups that are read; another gives all of them.
    const bool reads_map = reads.map || (reads.global_map && !MasksTokens<Backbone>);
    const bool reads_globals = masked || reads.global_map;
    std::vector<ViewGroup> groups;
    for (Index v = first; v < first + views; ++v) {
      const ViewSize& size = shape.views[static_cast<std::size_t>(v)];
      const GridSize grid{size.height / patch, size.width / patch};
      const bool at_points = reads.points && (v < 2 || Kind::Loss::reads_local_points);
      if (at_points) x_point_sequences += static_cast<std::size_t>(shape.batch);
      const bool patches_read = reads_map || (sampled && at_points) || (reads_globals && v < 2);
      const bool local = tells_local && v >= 2;
      if (groups.empty() || !(groups.back().grid == grid) || groups.back().patches_read != patches_read ||
          groups.back().local != local || (reference_tokens && (groups.back().references > 0) != at_points)) {
        groups.push_back({.count = 0,
                          .grid = grid,
                          .references = reference_tokens && at_points ? points : 0,
                          .registers = registers,
                          .patches_read = patches_read,
                          .local = local});
      }
      groups.back().count += shape.batch;
    }
    x_tokens = TokenLayout(std::move(groups), {.class_token = reads.class_level,
                                               .reference = reference_tokens,
                                               .patch = sampled || reads_map || reads_globals});
  }

  /// What lives from step to step. `views`: where all views of the batch lie.
  void place_lasting(const B& backend, Arena& arena, const BackboneConfig& config,
                     std::span<const TensorView<T, 4>> views) {
    x_device = DeviceTokenLayout::place(backend, arena, x_tokens);
    std::vector<TensorView<T, 4>> images;
    auto next = static_cast<std::size_t>(x_first);
    for (const ViewGroup& group : x_tokens.groups()) {
      const TensorView<T, 4>& view = views[next];
      images.emplace_back(view.data(), group.count, view.extent(1), view.extent(2), view.extent(3));
      next += static_cast<std::size_t>(group.count / view.extent(0));
    }
    if constexpr (masked) {
      x_inputs = Inputs::place(backend, arena, config, x_tokens, std::move(images), x_most_masked);
      x_masked_rows = arena.vector<std::int32_t>(x_most_masked);
    } else {
      x_inputs = Inputs::place(backend, arena, config, x_tokens, std::move(images));
    }
    if constexpr (sampled) x_taps = arena.vector<Taps<T>>(static_cast<Index>(x_point_sequences) * x_points);
    if constexpr (content) {
      x_inputs.content_taps = arena.vector<Taps<T>>(x_tokens.reference_count());
      x_inputs.content_attached = content_of<Tokens> == PointContent::attached;
    }
  }

  /// What nothing is needed of after the pass: with `saved`, and its backward pass.
  void place_passing(Arena& arena, const BackboneConfig& config, bool saved, bool recompute = false) {
    if constexpr (recomputes) {
      x_activations = Activations::take(arena, config, x_tokens, saved, recompute);
    } else {
      x_activations = Activations::take(arena, config, x_tokens, saved);
    }
    if constexpr (sampled) x_sampled = arena.matrix<T>(x_taps.size(), config.width);
    if constexpr (masked) x_masked = arena.matrix<T>(x_most_masked, config.width);
  }

  /// Takes the points of a step, those of each sequence after one another, also of those that are not read at points.
  /// `staging` has room for them.
  void set_points(const B& backend, std::span<const Point> points, [[maybe_unused]] const BackboneConfig& config,
                  std::vector<Taps<T>>& staging) {
    if constexpr (reference_tokens || sampled) {
      staging.clear();
      const auto each = static_cast<std::size_t>(x_points);
      if constexpr (reference_tokens) {
        append_point_reads<Backbone>(staging, config, points.first(x_point_sequences * each));
      } else {
        Index first_row = 0;  // points read that sequence's own patches
        for (std::size_t s = 0; s < x_point_sequences; ++s) {
          const GridSize grid = x_tokens.grid_of(s);
          for (const Point point : points.subspan(s * each, each)) staging.push_back(point_read<T>(point, grid, first_row));
          first_row += grid.size();
        }
      }
      VectorView<Taps<T>> to = x_taps;
      if constexpr (reference_tokens) to = x_inputs.point_taps;
      backend.upload(to.data(), std::span<const Taps<T>>(staging));
    }
    if constexpr (content) {
      staging.clear();
      append_patch_reads(staging, x_tokens, points);
      backend.upload(x_inputs.content_taps.data(), std::span<const Taps<T>>(staging));
    }
  }

  /// Takes the masks of a step, (2,B,N) of the global views, and says which patches they are. `seen`: the patches are
  /// read, but not masked, as the teacher's. `rows` is overwritten.
  void set_masks(const B& backend, std::span<const std::uint8_t> masks, bool seen, MaskedRows& rows) {
    if constexpr (masked) {
      const auto views = static_cast<std::size_t>(x_tokens.sequence_count());  // of one image each
      const auto each = masks.empty() ? 0 : static_cast<std::size_t>(x_tokens.grid_of(0).size());
      require_shape(masks.empty() || x_first >= 2 || masks.size() == 2 * static_cast<std::size_t>(x_batch) * each,
                    "masks of ", masks.size(), " patches for 2 views of ", x_batch, " images of ", each);
      const auto masked_of = [](std::span<const std::uint8_t> some) {
        return std::count_if(some.begin(), some.end(), [](std::uint8_t mask) { return mask != 0; });
      };
      const std::size_t before = std::min(masks.size(), static_cast<std::size_t>(x_first) * (masks.size() / 2));
      rows.patches.clear();
      rows.each.clear();
      rows.first = static_cast<Index>(masked_of(masks.first(before)));
      rows.all = static_cast<Index>(masked_of(masks));
      const std::span<const std::uint8_t> own = masks.subspan(before);
      for (std::size_t s = 0; s < views && (s + 1) * each <= own.size() && each > 0; ++s) {
        const std::span<const std::uint8_t> mask = own.subspan(s * each, each);
        const auto count = static_cast<std::int32_t>(masked_of(mask));
        for (std::size_t n = 0; n < each; ++n) {
          if (mask[n] == 0) continue;
          rows.patches.push_back(static_cast<std::int32_t>(s * each + n));
          rows.each.push_back(count);
        }
      }
      const auto count = static_cast<Index>(rows.patches.size());
      require_shape(count <= x_most_masked, count, " masked patches; at most ", x_most_masked, " were planned for");
      backend.upload(x_masked_rows.data(), std::span<const std::int32_t>(rows.patches));
      x_masked_count = count;
      x_inputs.masked_patches = seen ? RowIndex{} : x_masked_patches();
    }
  }

  void forward(const B& backend, const Parameters& p, const BackboneConfig& config,
               std::span<const BranchKeep<T>> keep) const {
    Backbone::template forward<Tokens::relation>(backend, x_activations, x_inputs, p, config, x_tokens, x_device, keep);
  }

  /// After `forward` and then `set_points` with other points: gives what reads them theirs. Where references can be computed
  /// alone, the pass must have been placed as `saved`.
  void forward_points(const B& backend, const Parameters& p, const BackboneConfig& config) const {
    if (x_point_sequences == 0) return;
    if constexpr (references_alone) {
      Backbone::template forward_references<Tokens::relation>(backend, x_activations, x_inputs, p, config, x_tokens, x_device);
    } else if constexpr (reference_tokens) {
      forward(backend, p, config, {});
    }
  }

  [[nodiscard]] const TokenLayout& tokens() const { return x_tokens; }
  [[nodiscard]] const DeviceTokenLayout& device() const { return x_device; }
  [[nodiscard]] const Inputs& inputs() const { return x_inputs; }
  [[nodiscard]] const Activations& activations() const { return x_activations; }
  [[nodiscard]] VectorView<const Taps<T>> taps() const { return x_taps; }
  /// Has the output rows lie elsewhere than `place_passing` took them.
  void output_to(MatrixView<T> out) { x_activations.out = out; }

  /// Rows of a kind, of the output or of its gradient.
  [[nodiscard]] MatrixView<T> class_rows(MatrixView<T> out) const {
    return out.rows(x_tokens.output_begin(TokenGroup::class_token), x_tokens.sequence_count());
  }
  [[nodiscard]] MatrixView<T> reference_rows(MatrixView<T> out) const {
    return out.rows(x_tokens.output_begin(TokenGroup::reference), x_tokens.reference_count());
  }
  [[nodiscard]] MatrixView<T> patch_rows(MatrixView<T> out) const {
    return out.rows(x_tokens.output_begin(TokenGroup::patch), x_tokens.read_patch_count());
  }

  /// After `forward`: what a term reads. Points that are read of the map are, once `sample` was called.
  [[nodiscard]] Features<const T> features(FeatureKinds kinds) const {
    Features<const T> out;
    if (kinds.class_level) out.class_level = class_rows(x_activations.out);
    if (kinds.points) out.points = sampled ? x_sampled : reference_rows(x_activations.out);
    if (kinds.map || kinds.global_map) out.map = patch_rows(x_activations.out);
    if (kinds.masked) out.masked = x_masked;
    return out;
  }
  void sample(const B& backend) const {
    if constexpr (sampled) {
      if (!x_taps.empty()) backend.sample_rows_forward(x_sampled, patch_rows(x_activations.out), x_taps);
    }
  }

  /// The masked patches' rows, where `features` has them; rows beyond them are 0.
  void gather_masked(const B& backend) const {
    backend.fill(VectorView<T>(x_masked.data(), x_masked.size()), T{0});
    if (x_masked_count == 0) return;
    backend.copy_rows(x_masked.rows(0, x_masked_count), {}, patch_rows(x_activations.out), x_masked_patches());
  }
  /// d_out += the gradients of the masked patches' rows.
  void scatter_masked(const B& backend, MatrixView<T> d_out, MatrixView<const T> d_masked) const {
    if (x_masked_count == 0) return;
    backend.add_rows(patch_rows(d_out), x_masked_patches(), d_masked.rows(0, x_masked_count), {});
  }
  [[nodiscard]] Index most_masked() const { return x_most_masked; }

 private:
  [[nodiscard]] RowIndex x_masked_patches() const { return RowIndex(x_masked_rows.data(), x_masked_count); }

  Index x_first = 0;
  Index x_points = 0;
  Index x_batch = 0;
  std::size_t x_point_sequences = 0;  // that are read at points: the first
  Index x_most_masked = 0;
  Index x_masked_count = 0;
  TokenLayout x_tokens;
  DeviceTokenLayout x_device;
  Inputs x_inputs;
  Activations x_activations;
  VectorView<Taps<T>> x_taps;  // sampled patches only
  MatrixView<T> x_sampled;     // sampled patches only
  VectorView<std::int32_t> x_masked_rows;  // masked patches only: their numbers
  MatrixView<T> x_masked;                  // masked patches only
};

}  // namespace dssl
