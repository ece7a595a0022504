// A backbone with a linear head, trained as a whole on labels: what fine-tuning moves.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/token_layout.hpp>
#include <dssl/optim/schedule.hpp>

namespace dssl {

/// Numbers of fine-tuning: AdamW, with a rate that falls from the head to the first block.
struct TuningOptions {
  Index height = 224;  ///< of the images in pixels; a multiple of the backbone's patch
  Index width = 224;
  Index channels = 0;           ///< 0: the backbone's own number
  Index batch = 8;              ///< images a step
  Index classes = 0;            ///< C
  Index steps = 500;            ///< of the whole training
  double learning_rate = 5e-4;  ///< of the head at its peak
  /// A block's rate is this share of the next one's: head and last norm 1, last block layer_decay, first
  /// block layer_decay^depth, embeddings and positions layer_decay^(depth + 1). 1: all alike; 0: the head
  /// and the last norm alone.
  double layer_decay = 0.75;
  double warmup = 0.1;  ///< share of the steps in which the rate rises in even steps; then a cosine to 0
  double weight_decay = 0.05;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double clip = 0;  ///< norm of each parameter tensor's gradient; 0: no clipping
  std::uint64_t seed = 0;

  /// Throws `OptionError` naming the field.
  void validate() const {
    const auto require = [](bool holds, const char* field, const auto& value, const char* expected) {
      if (!holds) throw OptionError(field, value, expected);
    };
    require(channels >= 0, "channels", channels, "0 (the backbone's own) or more");
    require(batch >= 1, "batch", batch, "at least 1");
    require(classes >= 1, "classes", classes, "at least 1");
    require(steps >= 1, "steps", steps, "at least 1");
    require(learning_rate > 0 && std::isfinite(learning_rate), "learning_rate", learning_rate, "above 0");
    require(layer_decay >= 0 && layer_decay <= 1, "layer_decay", layer_decay, "0 to 1");
    require(warmup >= 0 && warmup < 1, "warmup", warmup, "0 up to 1");
    require(weight_decay >= 0, "weight_decay", weight_decay, "0 or more");
    require(beta1 >= 0 && beta1 < 1, "beta1", beta1, "0 up to 1");
    require(beta2 >= 0 && beta2 < 1, "beta2", beta2, "0 up to 1");
    require(clip >= 0, "clip", clip, "0 (none) or more");
  }
};

/// The layer of a parameter for `TuningOptions::layer_decay`: 0 the embeddings, 1 .. depth the blocks, depth
/// + 1 the last norms and the head.
[[nodiscard]] inline Index tuning_layer(std::string_view name, Index depth) {
  if (const Index block = block_number(name); block >= 0) return block + 1;
  return is_last_norm(name) || name.starts_with("head.") ? depth + 1 : 0;
}

/// A backbone and a linear head on the tokens that are read, with gradients and optimiser, in a backend's
/// memory.
///
///   logits (M',C) = tokens (M',D) weight^T + bias
///
/// `forward` fills `logits()`; the caller replaces them by their gradient; `backward` adds to the gradients
/// of all parameters; `update` takes a step of AdamW with the rate of each layer. Which loss that is belongs
/// to `FineTunedClassifier` and `FineTunedSegmenter`. Nothing is allocated after construction. Memory:
/// weights, gradients and two moments, 16 bytes a parameter in float, and the activations of a batch. Source:
/// layer-wise decay as in the public BEiT and MAE. Test: gradients by central differences, rates layer by
/// layer (tests/probe/tuned_network.cpp).
template <class Backbone, Backend B>
class TunedNetwork {
 public:
  using T = typename B::Scalar;
  using Config = typename Backbone::Config;
  static constexpr AttentionRelation relation =
      private_relation;  // without references, all that see both are one

  /// Weights are zero until `load`. Throws `OptionError`.
  /// `config`: as in `FeatureExtractor`.
  TunedNetwork(const B& backend, const TuningOptions& options, GroupSet reads, const Config& config = Backbone::config)
      : x_backend(backend), x_options((options.validate(), options)), x_config(config) {
    if (options.channels != 0) x_config.channels = options.channels;
    x_options.channels = x_config.channels;
    const auto check_extent = [&](const char* field, Index value) {
      if (value < x_config.patch || value % x_config.patch != 0)
        throw OptionError(field, value, join("a multiple of the patch, ", x_config.patch, " pixels"));
    };
    check_extent("height", options.height);
    check_extent("width", options.width);
    Backbone::add_parameters(x_layout, x_config, LearnedTokens{}, "");
    x_backbone_size = x_layout.total();
    x_layout.add("head.weight", {options.classes, x_config.width},
                 {.initial = InitialValues::truncated_normal});
    x_layout.add("head.bias", {options.classes}, {});
    x_tokens = TokenLayout({{.count = options.batch, .grid = grid(), .registers = registers_of(x_config)}}, reads);
    Arena measure;
    x_place(measure);
    x_plan = measure.plan();
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live);
    x_backend.fill(VectorView<T>(x_inputs.images[0].data(), x_inputs.images[0].size()), T{0});
  }
  TunedNetwork(const TunedNetwork&) = delete;
  TunedNetwork& operator=(const TunedNetwork&) = delete;

  [[nodiscard]] const B& backend() const { return x_backend; }
  [[nodiscard]] const TuningOptions& options() const { return x_options; }
  [[nodiscard]] const Config& config() const { return x_config; }
  [[nodiscard]] const MemoryPlan& memory_plan() const { return x_plan; }
  [[nodiscard]] GridSize grid() const {
    return {x_options.height / x_config.patch, x_options.width / x_config.patch};
  }
  /// Values of one image: C h w.
  [[nodiscard]] Index image_size() const { return x_config.channels * x_options.height * x_options.width; }
  /// Backbone and head, in one flat buffer; the backbone's part comes first, laid out as a
  /// `FeatureExtractor`'s.
  [[nodiscard]] const ParameterLayout& layout() const { return x_layout; }
  [[nodiscard]] VectorView<T> parameters() const { return x_parameters; }
  [[nodiscard]] VectorView<const T> gradients() const { return x_gradients; }

  /// Takes the backbone's weights from host memory, draws the head's, and begins the optimiser anew. Throws
  /// `ShapeError`.
  void load(std::span<const T> backbone) {
    require_shape(static_cast<Index>(backbone.size()) == x_backbone_size, "weights of ", backbone.size(),
                  " elements; the backbone has ", x_backbone_size);
    initialise(x_backend, x_parameters, x_layout, x_options.seed);
    x_backend.upload(x_parameters.data(), backbone);
    x_backend.fill(x_gradients, T{0});
    x_backend.fill(x_first, T{0});
    x_backend.fill(x_second, T{0});
    x_step = 0;
  }

  /// The backbone's weights = in host memory, for a `FeatureExtractor`. Throws `ShapeError`.
  void get_backbone(std::span<T> out) const {
    require_shape(static_cast<Index>(out.size()) == x_backbone_size, "room for ", out.size(),
                  " weights; the backbone has ", x_backbone_size);
    x_backend.download(out, static_cast<const T*>(x_parameters.data()));
  }

  /// All weights, backbone and head, in host memory: to be put back by `restore`.
  [[nodiscard]] std::vector<T> snapshot() const {
    std::vector<T> out(static_cast<std::size_t>(x_layout.total()));
    x_backend.download(std::span<T>(out), static_cast<const T*>(x_parameters.data()));
    return out;
  }
  /// Puts the weights of a `snapshot` back; optimiser and step stay as they are. Throws `ShapeError`.
  void restore(std::span<const T> all) {
    require_shape(static_cast<Index>(all.size()) == x_layout.total(), "weights of ", all.size(), " elements; backbone and head have ",
                  x_layout.total());
    x_backend.upload(x_parameters.data(), all);
  }

  /// Computes the logits of images (n,C,h,w) in host memory, n at most the batch; returns n. Throws
  /// `ShapeError`.
  Index forward(std::span<const float> images) {
    const auto each = static_cast<std::size_t>(image_size());
    const auto count = static_cast<Index>(images.size() / each);
    require_shape(images.size() % each == 0 && count >= 1 && count <= x_options.batch,
                  "fine-tuning: ", images.size(), " values; expected 1 to ", x_options.batch, " images of ",
                  each);
    x_staging.assign(images.begin(), images.end());
    x_backend.upload(x_inputs.images[0].data(), std::span<const T>(x_staging));
    Backbone::template forward<relation>(x_backend, x_activations, x_inputs, x_bound, x_config, x_tokens,
                                         x_device, {});
    x_backend.linear_forward(x_logits, MatrixView<const T>(x_activations.out), x_head_weight(x_parameters),
                             x_head_bias(x_parameters));
    return count;
  }

  /// (M',C) of the last `forward`, a row for each token that is read: class tokens (B), or patches (B N)
  /// image by image; then the place of their gradient.
  [[nodiscard]] MatrixView<T> logits() const { return x_logits; }

  /// Gradients += from the gradient that stands in `logits()`; rows of images beyond the last batch's number
  /// must be 0.
  void backward() {
    const MatrixView<const T> d_logits(x_logits);
    x_backend.linear_backward_weight(x_head_weight(x_gradients), x_head_bias(x_gradients), d_logits,
                                     MatrixView<const T>(x_activations.out));
    x_backend.linear_backward_input(x_d_out, d_logits, MatrixView<const T>(x_head_weight(x_parameters)));
    Backbone::template backward<relation>(x_backend, x_gradient_bound, x_block_gradients, x_d_out,
                                          x_activations, x_inputs, x_bound, x_config, x_tokens, x_device, {},
                                          false);
  }

  /// Rate of the head in the step to come.
  [[nodiscard]] double learning_rate() const {
    const auto warmup =
        static_cast<Index>(std::lround(x_options.warmup * static_cast<double>(x_options.steps)));
    const Index step = std::min(x_step, x_options.steps - 1);
    if (step < warmup)
      return x_options.learning_rate * static_cast<double>(step + 1) / static_cast<double>(warmup);
    return CosineSchedule{
        .start = x_options.learning_rate, .end = 0, .steps = x_options.steps - warmup}(step - warmup);
  }

  /// One step of AdamW from the gradients, which are 0 afterwards. Returns the steps made.
  Index update() {
    const double rate = learning_rate();
    ++x_step;
    x_backend.squared_norms(x_norms, VectorView<const T>(x_gradients), x_segments.back());
    for (std::size_t layer = 0; layer < x_segments.size(); ++layer) {
      const double share =
          std::pow(x_options.layer_decay, static_cast<double>(x_segments.size() - 1 - layer));
      if (!(share > 0)) continue;
      x_backend.adamw_step(x_parameters, x_first, x_second, VectorView<const T>(x_gradients), x_norms,
                           x_segments[layer],
                           AdamWStep{.learning_rate = rate * share,
                                     .weight_decay = x_options.weight_decay,
                                     .beta1 = x_options.beta1,
                                     .beta2 = x_options.beta2,
                                     .step = x_step,
                                     .prototype_step = x_step,
                                     .clip = x_options.clip});
    }
    x_backend.fill(x_gradients, T{0});
    return x_step;
  }

 private:
  [[nodiscard]] MatrixView<T> x_head_weight(VectorView<T> flat) const {
    const auto& spec = x_layout.specs()[x_layout.size() - 2];
    return MatrixView<T>(flat.data() + spec.offset, x_options.classes, x_config.width);
  }
  [[nodiscard]] VectorView<T> x_head_bias(VectorView<T> flat) const {
    return VectorView<T>(flat.data() + x_layout.specs().back().offset, x_options.classes);
  }

  void x_place(Arena& arena) {
    x_parameters = arena.template vector<T>(x_layout.total());
    x_gradients = arena.template vector<T>(x_layout.total());
    x_first = arena.template vector<T>(x_layout.total());
    x_second = arena.template vector<T>(x_layout.total());
    x_norms = arena.template vector<double>(static_cast<Index>(x_layout.size()));
    x_segments.clear();
    for (Index layer = 0; layer <= x_config.depth + 1; ++layer) {
      std::vector<Segment> segments = x_layout.segments();
      for (std::size_t i = 0; i < segments.size(); ++i)
        segments[i].updated = segments[i].updated && tuning_layer(x_layout.specs()[i].name.view(), x_config.depth) == layer;
      x_segments.push_back(place_copy(x_backend, arena, segments));
    }
    arena.name_part("parameters, gradients, moments");
    x_device = DeviceTokenLayout::place(x_backend, arena, x_tokens);
    x_inputs = Backbone::template Inputs<T>::place(x_backend, arena, x_config, x_tokens);
    arena.name_part("images and token layout");
    x_activations = Backbone::template Activations<T>::take(arena, x_config, x_tokens, true);
    x_logits = arena.template matrix<T>(x_tokens.read_count(), x_options.classes);
    x_d_out = arena.template matrix<T>(x_tokens.read_count(), x_config.width);
    x_block_gradients = Backbone::template Gradients<T>::take(arena, x_config, x_tokens);
    arena.name_part("activations and their gradients");
    ParameterCursor<const T> weights(x_layout, x_parameters.data());
    x_bound = Backbone::template Parameters<const T>::bind(weights, x_config, LearnedTokens{});
    ParameterCursor<T> slopes(x_layout, x_gradients.data());
    x_gradient_bound = Backbone::template Parameters<T>::bind(slopes, x_config, LearnedTokens{});
  }

  B x_backend;
  TuningOptions x_options;
  Config x_config;
  ParameterLayout x_layout;
  Index x_backbone_size = 0;
  TokenLayout x_tokens;
  MemoryPlan x_plan;
  Buffer x_buffer;
  VectorView<T> x_parameters, x_gradients, x_first, x_second;
  VectorView<double> x_norms;
  std::vector<VectorView<const Segment>>
      x_segments;  // of each layer: all tensors, its own alone to be updated
  DeviceTokenLayout x_device;
  typename Backbone::template Inputs<T> x_inputs;
  typename Backbone::template Activations<T> x_activations;
  typename Backbone::template Gradients<T> x_block_gradients;
  typename Backbone::template Parameters<const T> x_bound;
  typename Backbone::template Parameters<T> x_gradient_bound;
  MatrixView<T> x_logits, x_d_out;
  std::vector<T> x_staging;
  Index x_step = 0;
};

}  // namespace dssl
