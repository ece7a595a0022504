// A frozen backbone that turns images into class tokens and patch maps.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/packed_weights.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/concepts.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/features/feature_options.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/residual.hpp>
#include <dssl/nn/token_layout.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/multi_crop.hpp>

namespace dssl {

/// A backbone with its weights and buffers for images of one size, in a backend's memory; forward passes only.
///
/// Without reference tokens the four relations in which class and patches see each other are one and the same, so the
/// default serves a backbone trained under any of them; `all_query_relation` is the exception. With several blocks a token
/// has W = D x blocks numbers, those of the first block named first; W = D otherwise. With `FeatureOptions::references` the
/// map is one of reference tokens, at any resolution; an extractor of patches and one of references share weights where
/// neither has a learned reference vector. Flips double the cost. Nothing is allocated after construction, but by
/// `features`, and in the second pass, in which `Cpu` packs the weights in their memory to stay: what
/// `bytes_beside_weights` says, and scratch of a panel of the deepest; features are the same bits
/// (tests/features/packed_weights.cpp). Test: checkpoints.safetensors, and each block's own output
/// (tests/features/features.cpp).
template <class Backbone, Backend B, AttentionRelation Relation = private_relation>
class FeatureExtractor {
 public:
  using T = typename B::Scalar;
  using Config = typename Backbone::Config;

  static_assert(GoesForward<Backbone, B>,
                "the backbone has no forward() for this backend, see GoesForward in dssl/concepts.hpp");

  /// Weights are zero until `load`. Throws `OptionError` naming the field.
  ///
  /// `config`: the backbone's sizes, needed where they are no part of its type (`ViTFamily`, which is compiled once for
  /// all of them).
  FeatureExtractor(const B& backend, const FeatureOptions& options, const Config& config = Backbone::config)
      : FeatureExtractor(backend, options, config, nullptr) {}

  /// An extractor for images of another size, or of other blocks, with the weights of `other`: the two share
  /// one copy, so that `load` of either changes both. Throws `OptionError`, also for other channels.
  FeatureExtractor(const FeatureExtractor& other, const FeatureOptions& options)
      : FeatureExtractor(other.x_backend, other.x_sharing(options), other.x_config, other.x_weight_memory) {}

  [[nodiscard]] const B& backend() const { return x_backend; }
  [[nodiscard]] const FeatureOptions& options() const { return x_options; }
  [[nodiscard]] const Config& config() const { return x_config; }
  /// The backbone's parameters, as `load` takes them.
  [[nodiscard]] const ParameterLayout& layout() const { return x_layout; }
  [[nodiscard]] const MemoryPlan& memory_plan() const { return x_plan; }
  /// Bytes that the backend keeps beside the weights, since their columns fill no whole panels: below 32 columns a matrix.
  /// They come with the second pass, and are shared as the weights are.
  [[nodiscard]] std::size_t bytes_beside_weights() const { return x_weight_memory->packed.bytes(); }
  /// Patches of an image down and across.
  [[nodiscard]] GridSize patch_grid() const {
    return {x_options.height / x_config.patch, x_options.width / x_config.patch};
  }
  /// The map that is read: patches down and across, or references.
  [[nodiscard]] GridSize grid() const {
    return x_options.references.any() ? x_options.references.grid(patch_grid()) : patch_grid();
  }
  /// W: numbers of a token.
  [[nodiscard]] Index width() const { return x_config.width * static_cast<Index>(x_blocks.size()); }
  /// Values of one image: C h w.
  [[nodiscard]] Index image_size() const { return x_config.channels * x_options.height * x_options.width; }

  /// Takes the weights from host memory, laid out by `layout()`. Throws `ShapeError`.
  void load(std::span<const T> weights) {
    require_shape(static_cast<Index>(weights.size()) == x_layout.total(), "weights of ", weights.size(),
                  " elements; the layout has ", x_layout.total());
    x_weight_memory->packed.forget();
    x_backend.upload(x_weights.data(), weights);
    x_weight_memory->given = true;
  }

  /// Takes the weights that `fill(flat)` writes into `layout().total()` zeros in host memory. First weights of a backend that
  /// computes in host memory are written where they stay, so that there is no second copy. Where `fill` throws, the weights
  /// are as before.
  template <std::invocable<std::span<T>> Fill>
  void load_by(Fill&& fill) {
    if constexpr (ComputesInHostMemory<B>) {
      if (!x_weight_memory->given) {
        const std::span<T> flat(x_weights.data(), static_cast<std::size_t>(x_layout.total()));
        x_weight_memory->packed.forget();
        try {
          std::forward<Fill>(fill)(flat);
        } catch (...) {
          std::ranges::fill(flat, T{0});
          throw;
        }
        x_weight_memory->given = true;
        return;
      }
    }
    std::vector<T> flat(static_cast<std::size_t>(x_layout.total()));
    std::forward<Fill>(fill)(std::span<T>(flat));
    load(std::span<const T>(flat));
  }

  /// Takes the weights from a file, as `load_backbone`. Throws `CheckpointError`.
  LoadedBackbone load(const TensorFile& file) {
    LoadedBackbone loaded;
    load_by([&](std::span<T> flat) { loaded = load_fresh_backbone(flat, x_layout, file); });
    return loaded;
  }

  /// Computes the tokens of images (n,C,h,w) in host memory, n at most the batch; they are then in
  /// `class_tokens()` and `patch_map(i)`. Returns n. Throws `ShapeError`.
  Index forward(std::span<const float> images) {
    const auto each = static_cast<std::size_t>(image_size());
    const auto count = static_cast<Index>(images.size() / each);
    require_shape(images.size() % each == 0 && count >= 1 && count <= x_options.batch, "features of ",
                  images.size(), " values; expected 1 to ", x_options.batch, " images of ", each);
    x_use_points(0);
    x_compute(images);
    if (x_options.flips) {
      x_backend.copy(VectorView<T>(x_mean.data(), x_mean.size()),
                     VectorView<const T>(x_read_out().data(), x_mean.size()));
      x_mirror(images);
      x_use_points(1);
      x_compute(x_mirrored_images);
      x_backend.copy_rows(x_mirrored, RowIndex{}, x_read_out(), x_mirror_rows);
      x_backend.lerp(VectorView<T>(x_mean.data(), x_mean.size()),
                     VectorView<const T>(x_mirrored.data(), x_mirrored.size()), 0.5);
    }
    return count;
  }

  /// (B,W) in the backend's memory, of the last `forward`; empty where class tokens are not read.
  [[nodiscard]] MatrixView<const T> class_tokens() const {
    if (!x_options.reads.class_token) return {};
    return x_out().rows(x_tokens.output_begin(TokenGroup::class_token), x_options.batch);
  }

  /// (N,W) of image i of the last `forward`, in the backend's memory: its patches, or its references where the options have
  /// any; empty where neither is read.
  [[nodiscard]] MatrixView<const T> patch_map(Index i) const {
    if (!x_options.reads.patch) return {};
    return x_out().rows(x_tokens.output_begin(x_map_group()) + i * grid().size(), grid().size());
  }

  /// class_out (n,W) =, patch_out (n,N,W) =: the tokens of n images (n,C,h,w), all in host memory; either may
  /// be empty. Any n: images are taken a batch at a time. Throws `ShapeError`.
  void extract(std::span<T> class_out, std::span<T> patch_out, std::span<const float> images) {
    const auto each = static_cast<std::size_t>(image_size());
    const auto class_each = static_cast<std::size_t>(width());
    const auto patch_each = static_cast<std::size_t>(grid().size() * width());
    const std::size_t n = images.size() / each;
    require_shape(images.size() == n * each, "extract: ", images.size(), " values; expected images of ",
                  each);
    require_shape(class_out.empty() || (x_options.reads.class_token && class_out.size() == n * class_each),
                  "extract: room for ", class_out.size(), " values of class tokens; expected ",
                  n * class_each, " and an extractor that reads them");
    require_shape(patch_out.empty() || (x_options.reads.patch && patch_out.size() == n * patch_each),
                  "extract: room for ", patch_out.size(), " values of patch maps; expected ", n * patch_each,
                  " and an extractor that reads them");
    const auto batch = static_cast<std::size_t>(x_options.batch);
    for (std::size_t first = 0; first < n; first += batch) {
      const std::size_t count = std::min(batch, n - first);
      forward(images.subspan(first * each, count * each));
      if (!class_out.empty()) {
        x_backend.download(class_out.subspan(first * class_each, count * class_each), class_tokens().data());
      }
      if (!patch_out.empty()) {
        x_backend.download(patch_out.subspan(first * patch_each, count * patch_each), patch_map(0).data());
      }
    }
  }

  /// Class token and patch map of one image of any size and pixel type, in host memory: the whole image, resized and
  /// normalised as the options say. One channel is repeated to fill more, three become grey for one.
  ///
  /// Costs as much as a whole batch: for many images `pass_features` (dssl/features/feature_pass.hpp). Throws
  /// `ImageError` for any other number of channels. Test: tests/features/image_features.cpp.
  [[nodiscard]] ImageFeatures<T> features(const AnyImageView& image) {
    const HeldImage held = with_channels(HeldImage(image), x_config.channels, "the image");
    const ViewPlan whole{.map = {.box = {0, 0, dssl::height(image), dssl::width(image)}},
                         .height = x_options.height,
                         .width = x_options.width,
                         .colour = {}};
    x_view_workspace.mean = x_options.mean;
    x_view_workspace.deviation = x_options.deviation;
    default_normalisation(x_view_workspace.mean, x_view_workspace.deviation, x_config.channels);
    x_input.resize(static_cast<std::size_t>(image_size()));
    render_view(x_input, held.view(), whole, x_options.interpolation, x_view_workspace);
    ImageFeatures<T> out{.grid = grid(), .class_token = {}, .patches = {}};
    if (x_options.reads.class_token) out.class_token.resize(static_cast<std::size_t>(width()));
    if (x_options.reads.patch) out.patches.resize(static_cast<std::size_t>(grid().size() * width()));
    extract(out.class_token, out.patches, x_input);
    return out;
  }

 private:
  struct x_WeightMemory {
    Buffer buffer;
    PackedWeights<T> packed{};
    bool given = false;  // they are not the zeros any more with which it was made
  };

  /// Options of one that shares these weights. Throws `OptionError` before anything of theirs is touched.
  [[nodiscard]] const FeatureOptions& x_sharing(const FeatureOptions& options) const {
    if (options.channels != 0 && options.channels != x_config.channels)
      throw OptionError("channels", options.channels, join("those of the weights, ", x_config.channels));
    if (options.references.learned != x_options.references.learned)
      throw OptionError("references.learned", options.references.learned ? "true" : "false", "as of the other's weights");
    return options;
  }

  FeatureExtractor(const B& backend, const FeatureOptions& options, const Config& config,
                   std::shared_ptr<x_WeightMemory> weights)
      : x_backend(backend),
        x_options(options),
        x_config(config),
        x_weight_memory(std::move(weights)) {
    if (options.channels != 0) x_config.channels = options.channels;
    x_options.channels = x_config.channels;
    x_options.validate(x_config.patch);
    x_resolve_blocks();
    x_place_references();
    Backbone::add_parameters(x_layout, x_config, x_learned(), "");
    x_tokens = TokenLayout({{.count = options.batch,
                             .grid = patch_grid(),
                             .references = static_cast<Index>(x_points.size()),
                             .registers = registers_of(x_config)}},
                           {.class_token = options.reads.class_token,
                            .reference = !x_points.empty(),
                            .patch = options.reads.patch && x_points.empty()});
    const std::size_t weight_bytes = static_cast<std::size_t>(x_layout.total()) * sizeof(T);
    const bool own_weights = x_weight_memory == nullptr;
    if (own_weights) x_weight_memory = std::make_shared<x_WeightMemory>(x_WeightMemory{backend.allocate(weight_bytes)});
    x_weights = VectorView<T>(reinterpret_cast<T*>(x_weight_memory->buffer.data()), x_layout.total());
    if (own_weights) x_weight_memory->packed = PackedWeights<T>(x_weights.data(), x_layout.size());
    Arena measure;
    x_place(measure);
    x_plan = measure.plan();
    if (own_weights) x_plan.entries.insert(x_plan.entries.begin(), {"weights", weight_bytes});
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live);
    x_upload_points();
    // Rows of a batch that is not full are computed too: what lies there must be numbers.
    x_backend.fill(VectorView<T>(x_images().data(), x_images().size()), T{0});
    const auto image_values = static_cast<std::size_t>(options.batch * image_size());
    if constexpr (!std::is_same_v<T, float>) x_staging.resize(image_values);
    if (options.flips) x_mirrored_images.reserve(image_values);
  }

  static constexpr bool reads_points = PlacesPoints<Backbone>;
  static constexpr bool reads_content = ReadsContent<Backbone>;
  /// Whether the backbone has blocks whose tokens can be read.
  static constexpr bool has_blocks = requires(const Config& sizes) { sizes.depth; };

  [[nodiscard]] LearnedTokens x_learned() const { return {.reference = x_options.references.learned}; }
  [[nodiscard]] TokenGroup x_map_group() const { return x_points.empty() ? TokenGroup::patch : TokenGroup::reference; }

  /// Where references stand.
  void x_place_references() {
    const ReferenceMap& map = x_options.references;
    if (!map.any()) return;
    if (!reads_points) throw OptionError("references", "given", "none: the backbone has no reference tokens");
    if (map.content && !reads_content) {
      throw OptionError("references.content", "true", "false: the backbone's references are positions alone");
    }
    x_points = map.points;
    if (!x_points.empty()) return;
    for (const Taps<double>& centre : coordinate_reads<double>(grid())) {
      x_points.push_back({.x = centre.weight[1], .y = centre.weight[0]});
    }
  }

  /// How they read positions and content, in the image and in its mirror image.
  void x_upload_points() {
    if constexpr (reads_points) {
      if (x_points.empty()) return;
      const auto batch = static_cast<std::size_t>(x_options.batch);
      std::vector<Point> points;
      for (std::size_t i = 0; i < batch; ++i) points.insert(points.end(), x_points.begin(), x_points.end());
      for (std::size_t way = 0; way < (x_options.flips ? 2U : 1U); ++way) {
        std::vector<Taps<T>> taps;
        append_point_reads<Backbone>(taps, x_config, std::span<const Point>(points));
        x_backend.upload(x_position_reads[way].data(), std::span<const Taps<T>>(taps));
        if (x_options.references.content) {
          taps.clear();
          append_patch_reads(taps, x_tokens, std::span<const Point>(points));
          x_backend.upload(x_content_reads[way].data(), std::span<const Taps<T>>(taps));
        }
        for (Point& point : points) point.x = -point.x;
      }
    }
  }

  /// Has references stand in the image, or in its mirror image.
  void x_use_points(std::size_t way) {
    if constexpr (reads_points) {
      if (!x_points.empty()) x_inputs.point_taps = x_position_reads[way];
    }
    if constexpr (reads_content) {
      if (x_options.references.content && !x_points.empty()) x_inputs.content_taps = x_content_reads[way];
    }
  }

  void x_resolve_blocks() {
    const Index depth = depth_of(x_config);
    if (!has_blocks && !x_options.blocks.empty()) {
      throw OptionError("blocks", x_options.blocks.front(), "none: the backbone has no blocks");
    }
    if (!has_blocks && !x_options.norm) {
      throw OptionError("norm", "false", "true: the backbone has no blocks whose tokens could be read before its last norm");
    }
    for (const Index block : x_options.blocks) {
      const Index number = block < 0 ? block + depth : block;
      if (number < 0 || number >= depth || std::count(x_blocks.begin(), x_blocks.end(), number) > 0) {
        throw OptionError("blocks", block, join("each block once, -", depth, " to ", depth - 1));
      }
      x_blocks.push_back(number);
    }
    if (x_blocks.empty()) x_blocks.push_back(depth - 1);
    // The last block's tokens under the last norm are what the backbone gives anyway.
    x_taps_blocks = x_blocks.size() > 1 || x_blocks.front() != depth - 1 || !x_options.norm;
  }

  /// Tokens of the last pass, in output order.
  [[nodiscard]] MatrixView<const T> x_read_out() const {
    return x_taps_blocks ? MatrixView<const T>(x_side_by_side) : MatrixView<const T>(x_activations.out);
  }
  [[nodiscard]] MatrixView<const T> x_out() const {
    return x_options.flips ? MatrixView<const T>(x_mean) : x_read_out();
  }

  void x_compute(std::span<const float> images) {
    if constexpr (std::is_same_v<T, float>) {
      x_backend.upload(x_images().data(), images);
    } else {
      std::copy(images.begin(), images.end(), x_staging.begin());
      x_backend.upload(x_images().data(), std::span<const T>(x_staging).first(images.size()));
    }
    if (!x_taps_blocks) {
      Backbone::template forward<Relation>(x_backend, x_activations, x_inputs, x_bound, x_config, x_tokens,
                                           x_device, {});
      return;
    }
    if constexpr (has_blocks) {
      const auto on_block = [this](Index block, MatrixView<const T> x) { x_read_block(block, x); };
      static_assert(
          requires {
            Backbone::template forward<Relation>(x_backend, x_activations, x_inputs, x_bound, x_config, x_tokens, x_device,
                                                 {}, on_block);
          },
          "a backbone with blocks (sizes with depth) whose features are extracted takes a function to call after each of them "
          "as its last argument");
      Backbone::template forward<Relation>(x_backend, x_activations, x_inputs, x_bound, x_config, x_tokens, x_device, {},
                                           on_block);
    }
  }

  /// Puts a block's tokens beside those of the others, if it is one of those that are read.
  void x_read_block(Index block, MatrixView<const T> x)
    requires has_blocks
  {
    const auto found = std::find(x_blocks.begin(), x_blocks.end(), block);
    if (found == x_blocks.end()) return;
    // Row r of the tokens is row r * blocks + place of the same memory cut into rows of D.
    const auto count = static_cast<Index>(x_blocks.size());
    const MatrixView<T> out(x_side_by_side.data(), x_side_by_side.rows() * count, x_config.width);
    const RowIndex place = x_places[static_cast<std::size_t>(found - x_blocks.begin())];
    const bool last = block + 1 == x_config.depth;  // holds the rows that are read alone
    const RowIndex rows = last ? RowIndex{} : x_device.read_rows;
    if (!x_options.norm) {
      x_backend.copy_rows(out, place, x, rows);
      return;
    }
    if (!last) {
      x_backend.copy_rows(x_block, RowIndex{}, x, rows);
      x = x_block;
    }
    // The backbone's own output is not written yet: a place for the normed rows.
    x_backend.layer_norm_forward(x_activations.out, x_activations.mean, x_activations.inverse_std, x,
                                 x_bound.norm_weight, x_bound.norm_bias, norm_epsilon_of(x_config));
    if constexpr (requires { Backbone::norm_class_rows(x_backend, x_activations, x, x_bound, x_config, x_tokens); }) {
      Backbone::norm_class_rows(x_backend, x_activations, x, x_bound, x_config, x_tokens);
    }
    x_backend.copy_rows(out, place, MatrixView<const T>(x_activations.out), RowIndex{});
  }

  /// Images with their rows reversed.
  void x_mirror(std::span<const float> images) {
    x_mirrored_images.assign(images.begin(), images.end());
    for (auto row = x_mirrored_images.begin(); row != x_mirrored_images.end(); row += x_options.width)
      std::reverse(row, row + x_options.width);
  }

  /// For each token that is read, the one that stands at its place in the mirror image.
  [[nodiscard]] std::vector<std::int32_t> x_mirrored_rows() const {
    std::vector<std::int32_t> out;
    const auto add = [&](Index row) { out.push_back(static_cast<std::int32_t>(row)); };
    if (x_options.reads.class_token) {
      for (Index i = 0; i < x_options.batch; ++i) add(i);
    }
    if (!x_points.empty()) {  // stood at the same points of the scene
      for (Index row = 0; row < x_tokens.reference_count(); ++row) add(x_tokens.output_begin(TokenGroup::reference) + row);
    } else if (x_options.reads.patch) {
      const Index begin = x_tokens.output_begin(TokenGroup::patch);
      for (Index line = 0; line < x_options.batch * grid().height; ++line) {
        for (Index x = 0; x < grid().width; ++x) add(begin + line * grid().width + grid().width - 1 - x);
      }
    }
    return out;
  }

  [[nodiscard]] TensorView<T, 4> x_images() const { return x_inputs.images[0]; }

  void x_place(Arena& arena) {
    x_device = DeviceTokenLayout::place(x_backend, arena, x_tokens);
    x_inputs = Backbone::template Inputs<T>::place(x_backend, arena, x_config, x_tokens);
    if constexpr (reads_points) {
      const Index references = x_tokens.reference_count();
      for (std::size_t way = 0; way < (x_options.flips ? 2U : 1U) && references > 0; ++way) {
        x_position_reads[way] = arena.template vector<Taps<T>>(references);
        if (x_options.references.content) x_content_reads[way] = arena.template vector<Taps<T>>(references);
      }
    }
    arena.name_part("images and token layout");
    x_activations = Backbone::template Activations<T>::take(arena, x_config, x_tokens, false);
    arena.name_part("activations");
    const Index rows = x_tokens.read_count();
    if (x_taps_blocks) {
      x_side_by_side = arena.template matrix<T>(rows, width());
      x_block = arena.template matrix<T>(rows, x_config.width);
      x_places.clear();
      const auto count = static_cast<Index>(x_blocks.size());
      for (Index block = 0; block < count; ++block) {
        std::vector<std::int32_t> place;
        for (Index row = 0; row < rows; ++row)
          place.push_back(static_cast<std::int32_t>(row * count + block));
        x_places.push_back(place_copy(x_backend, arena, place));
      }
      arena.name_part("tokens of blocks");
    }
    if (x_options.flips) {
      x_mean = arena.template matrix<T>(rows, width());
      x_mirrored = arena.template matrix<T>(rows, width());
      x_mirror_rows = place_copy(x_backend, arena, x_mirrored_rows());
      arena.name_part("flips");
    }
    ParameterCursor<const T> next(x_layout, x_weight_memory->packed);
    x_bound = Backbone::template Parameters<const T>::bind(next, x_config, x_learned());
  }

  B x_backend;
  FeatureOptions x_options;
  Config x_config;
  ParameterLayout x_layout;
  TokenLayout x_tokens;
  std::vector<Point> x_points;  // of references in every image; none: patches are read
  std::array<VectorView<Taps<T>>, 2> x_position_reads, x_content_reads;  // in the image, in its mirror image
  std::vector<Index> x_blocks;  // that are read, from 0
  bool x_taps_blocks = false;   // the backbone's own output is not what is read
  MemoryPlan x_plan;
  std::shared_ptr<x_WeightMemory> x_weight_memory;
  Buffer x_buffer;
  VectorView<T> x_weights;
  DeviceTokenLayout x_device;
  typename Backbone::template Inputs<T> x_inputs;
  typename Backbone::template Activations<T> x_activations;
  typename Backbone::template Parameters<const T> x_bound;
  std::vector<T> x_staging;
  ViewWorkspace x_view_workspace;
  std::vector<float> x_input;  // of `features`
  std::vector<float> x_mirrored_images;
  MatrixView<T> x_side_by_side;    // (M',W) tokens of the blocks
  MatrixView<T> x_block;           // (M',D) of one block
  std::vector<RowIndex> x_places;  // of each block's tokens among all
  MatrixView<T> x_mean;            // (M',W) of image and mirror image
  MatrixView<T> x_mirrored;        // (M',W)
  RowIndex x_mirror_rows;
};

}  // namespace dssl

#include <dssl/feature_instances.hpp>  // that of them which dssl::cpu holds, declared after the class
