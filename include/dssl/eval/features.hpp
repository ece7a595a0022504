// A frozen backbone that turns images into class tokens and patch maps.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

/// Sizes a feature extractor is made for.
struct FeatureOptions {
  Index height = 224;  ///< of the images in pixels; a multiple of the backbone's patch
  Index width = 224;
  Index batch = 1;                                     ///< images at a time, at most
  Index channels = 0;                                  ///< 0: the backbone's own number
  GroupSet reads{.class_token = true, .patch = true};  ///< which tokens are read; no references
};

/// A backbone with its weights and buffers for images of one size, in a backend's memory; forward passes
/// only.
///
/// Without reference tokens the four relations in which class and patches see each other are one and the
/// same, so the default serves a backbone trained under any of them; `all_query_relation` is the exception.
/// Nothing is allocated after construction. Test: checkpoints.safetensors (tests/eval/features.cpp).
template <class Backbone, Backend B, AttentionRelation Relation = private_relation>
class FeatureExtractor {
 public:
  using T = typename B::Scalar;
  using Config = typename Backbone::Config;

  /// Weights are zero until `load`. Throws `OptionError` naming the field.
  FeatureExtractor(const B& backend, const FeatureOptions& options)
      : x_backend(backend), x_options(options), x_config(Backbone::config) {
    if (options.channels != 0) x_config.channels = options.channels;
    x_options.channels = x_config.channels;
    x_check();
    Backbone::add_parameters(x_layout, x_config, false, "");
    x_tokens = TokenLayout({{.count = options.batch, .grid = grid(), .references = 0}}, options.reads);
    Arena measure;
    x_place(measure);
    x_plan = measure.plan();
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live);
    // Rows of a batch that is not full are computed too: what lies there must be numbers.
    x_backend.fill(VectorView<T>(x_images().data(), x_images().size()), T{0});
    if constexpr (!std::is_same_v<T, float>) {
      x_staging.resize(static_cast<std::size_t>(options.batch * image_size()));
    }
  }

  [[nodiscard]] const B& backend() const { return x_backend; }
  [[nodiscard]] const FeatureOptions& options() const { return x_options; }
  [[nodiscard]] const Config& config() const { return x_config; }
  /// The backbone's parameters, as `load` takes them.
  [[nodiscard]] const ParameterLayout& layout() const { return x_layout; }
  [[nodiscard]] const MemoryPlan& memory_plan() const { return x_plan; }
  /// Patches down and across.
  [[nodiscard]] GridSize grid() const {
    return {x_options.height / x_config.patch, x_options.width / x_config.patch};
  }
  /// D.
  [[nodiscard]] Index width() const { return x_config.width; }
  /// Values of one image: C h w.
  [[nodiscard]] Index image_size() const { return x_config.channels * x_options.height * x_options.width; }

  /// Takes the weights from host memory, laid out by `layout()`. Throws `ShapeError`.
  void load(std::span<const T> weights) {
    require_shape(static_cast<Index>(weights.size()) == x_layout.total(), "weights of ", weights.size(),
                  " elements; the layout has ", x_layout.total());
    x_backend.upload(x_weights.data(), weights);
  }

  /// Takes the weights from a file, as `load_backbone`. Throws `CheckpointError`.
  LoadedBackbone load(const SafetensorsFile& file) {
    std::vector<T> flat(static_cast<std::size_t>(x_layout.total()));
    LoadedBackbone loaded = load_backbone(std::span<T>(flat), x_layout, file);
    load(std::span<const T>(flat));
    return loaded;
  }

  /// Computes the tokens of images (n,C,h,w) in host memory, n at most the batch; they are then in
  /// `class_tokens()` and `patch_map(i)`. Returns n. Throws `ShapeError`.
  Index forward(std::span<const float> images) {
    const auto each = static_cast<std::size_t>(image_size());
    const auto count = static_cast<Index>(images.size() / each);
    require_shape(images.size() % each == 0 && count >= 1 && count <= x_options.batch, "features of ",
                  images.size(), " values; expected 1 to ", x_options.batch, " images of ", each);
    if constexpr (std::is_same_v<T, float>) {
      x_backend.upload(x_images().data(), images);
    } else {
      std::copy(images.begin(), images.end(), x_staging.begin());
      x_backend.upload(x_images().data(), std::span<const T>(x_staging).first(images.size()));
    }
    Backbone::template forward<Relation>(x_backend, x_activations, x_inputs, x_bound, x_config, x_tokens,
                                         x_device, {});
    return count;
  }

  /// (B,D) in the backend's memory, of the last `forward`; empty where class tokens are not read.
  [[nodiscard]] MatrixView<const T> class_tokens() const {
    if (!x_options.reads.class_token) return {};
    return x_activations.out.rows(x_tokens.output_begin(TokenGroup::class_token), x_options.batch);
  }

  /// (N,D) of image i of the last `forward`, in the backend's memory; empty where patches are not read.
  [[nodiscard]] MatrixView<const T> patch_map(Index i) const {
    if (!x_options.reads.patch) return {};
    return x_activations.out.rows(x_tokens.output_begin(TokenGroup::patch) + i * grid().size(),
                                  grid().size());
  }

  /// class_out (n,D) =, patch_out (n,N,D) =: the tokens of n images (n,C,h,w), all in host memory; either may
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

 private:
  void x_check() const {
    const auto check_extent = [&](const char* field, Index value) {
      if (value < x_config.patch || value % x_config.patch != 0) {
        throw OptionError(field, value, join("a multiple of the patch, ", x_config.patch, " pixels"));
      }
    };
    check_extent("height", x_options.height);
    check_extent("width", x_options.width);
    if (x_options.batch < 1) throw OptionError("batch", x_options.batch, "at least 1");
    if (x_options.channels < 1) throw OptionError("channels", x_options.channels, "at least 1");
    if (x_options.reads.reference)
      throw OptionError("reads", "reference tokens", "class token, patches or both");
    if (!x_options.reads.class_token && !x_options.reads.patch) {
      throw OptionError("reads", "nothing", "class token, patches or both");
    }
  }

  [[nodiscard]] TensorView<T, 4> x_images() const { return x_inputs.images[0]; }

  void x_place(Arena& arena) {
    x_weights = arena.template vector<T>(x_layout.total());
    arena.name_part("weights");
    x_device = DeviceTokenLayout::place(x_backend, arena, x_tokens);
    x_inputs = Backbone::template Inputs<T>::place(x_backend, arena, x_config, x_tokens);
    arena.name_part("images and token layout");
    x_activations = Backbone::template Activations<T>::take(arena, x_config, x_tokens, false);
    arena.name_part("activations");
    ParameterCursor<const T> next(x_layout, x_weights.data());
    x_bound = Backbone::template Parameters<const T>::bind(next, x_config, false);
  }

  B x_backend;
  FeatureOptions x_options;
  Config x_config;
  ParameterLayout x_layout;
  TokenLayout x_tokens;
  MemoryPlan x_plan;
  Buffer x_buffer;
  VectorView<T> x_weights;
  DeviceTokenLayout x_device;
  typename Backbone::template Inputs<T> x_inputs;
  typename Backbone::template Activations<T> x_activations;
  typename Backbone::template Parameters<const T> x_bound;
  std::vector<T> x_staging;
};

}  // namespace dssl
