// One image through a frozen backbone, with reference tokens at chosen points: tokens, and what each attends
// to.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/concepts.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/attention_shares.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

/// Sizes a trace is made for.
struct TokenTraceOptions {
  Index height = 224;  ///< of the image in pixels; a multiple of the backbone's patch
  Index width = 224;
  Index channels = 0;              ///< 0: the backbone's own number
  Index references = 0;            ///< reference tokens
  bool learned_reference = false;  ///< the weights have a learned reference vector
  bool content = false;            ///< they were trained with `PointContent`: references begin with what is embedded there
};

/// How much of one token's attention falls on each other; all of it sums to 1, with that on registers where there are any.
struct AttentionRow {
  double class_token = 0;
  std::vector<double> patches;     ///< (N), row-major over the grid
  std::vector<double> references;  ///< (R)
};

/// A backbone that keeps what its blocks compute for one image, in a backend's memory.
///
/// Unlike `FeatureExtractor` it has reference tokens, which stand where `forward` is told, and it can say who
/// attends to whom in every block. `Relation` is the one the weights were trained under. Memory: the
/// activations of all blocks for one image. Nothing is allocated by `forward`. Test:
/// tests/features/token_trace.cpp.
template <class Backbone, Backend B, AttentionRelation Relation = private_relation>
class TokenTrace {
 public:
  using T = typename B::Scalar;
  using Config = typename Backbone::Config;

  static_assert(
      KeepsAttention<Backbone>,
      "a backbone whose attention is looked at keeps the queries, keys and values of each block in "
      "its activations' blocks[i].qkv (M,3D)");

  /// Whether references of the backbone can begin with content.
  static constexpr bool reads_content = ReadsContent<Backbone>;

  /// Weights are zero until `load`. Throws `OptionError` naming the field.
  /// `config`: as in `FeatureExtractor`.
  TokenTrace(const B& backend, const TokenTraceOptions& options, const Config& config = Backbone::config)
      : x_backend(backend), x_options(options), x_config(config) {
    if (options.channels != 0) x_config.channels = options.channels;
    x_options.channels = x_config.channels;
    x_check();
    Backbone::add_parameters(x_layout, x_config, {.reference = options.learned_reference}, "");
    x_tokens = TokenLayout({{.count = 1, .grid = grid(), .references = options.references, .registers = registers_of(x_config)}},
                           {.class_token = true, .reference = options.references > 0, .patch = true});
    Arena measure;
    x_place(measure);
    x_buffer = backend.allocate(measure.high_water());
    Arena live(x_buffer);
    x_place(live);
  }

  [[nodiscard]] const B& backend() const { return x_backend; }
  [[nodiscard]] const TokenTraceOptions& options() const { return x_options; }
  [[nodiscard]] const Config& config() const { return x_config; }
  /// The backbone's parameters, as `load` takes them.
  [[nodiscard]] const ParameterLayout& layout() const { return x_layout; }
  /// Patches down and across.
  [[nodiscard]] GridSize grid() const {
    return {x_options.height / x_config.patch, x_options.width / x_config.patch};
  }
  /// Values of the image: C h w.
  [[nodiscard]] Index image_size() const { return x_config.channels * x_options.height * x_options.width; }

  /// Takes the weights from host memory, laid out by `layout()`. Throws `ShapeError`.
  void load(std::span<const T> weights) {
    require_shape(static_cast<Index>(weights.size()) == x_layout.total(), "weights of ", weights.size(),
                  " elements; the layout has ", x_layout.total());
    x_backend.upload(x_weights.data(), weights);
  }

  /// Takes the weights from a file, as `load_backbone`. Throws `CheckpointError`.
  LoadedBackbone load(const TensorFile& file) {
    std::vector<T> flat(static_cast<std::size_t>(x_layout.total()));
    LoadedBackbone loaded = load_fresh_backbone(std::span<T>(flat), x_layout, file);
    load(std::span<const T>(flat));
    return loaded;
  }

  /// Computes all tokens of an image (C,h,w) in host memory, with a reference token at each point of
  /// [-1, 1]^2. Throws `ShapeError`.
  void forward(std::span<const float> image, std::span<const Point> points = {}) {
    require_shape(static_cast<Index>(image.size()) == image_size() &&
                      static_cast<Index>(points.size()) == x_options.references,
                  "a trace of ", image.size(), " values and ", points.size(), " points; expected ",
                  image_size(), " and ", x_options.references);
    if constexpr (std::is_same_v<T, float>) {
      x_backend.upload(x_inputs.images[0].data(), image);
    } else {
      const std::vector<T> converted(image.begin(), image.end());
      x_backend.upload(x_inputs.images[0].data(), std::span<const T>(converted));
    }
    if (!points.empty()) {
      std::vector<Taps<T>> taps;
      if constexpr (reads_content) {
        if (x_options.content) {
          append_patch_reads(taps, x_tokens, points);
          x_backend.upload(x_inputs.content_taps.data(), std::span<const Taps<T>>(taps));
          taps.clear();
        }
      }
      append_point_reads<Backbone>(taps, x_config, points);
      x_backend.upload(x_inputs.point_taps.data(), std::span<const Taps<T>>(taps));
    }
    Backbone::template forward<Relation>(x_backend, x_activations, x_inputs, x_bound, x_config, x_tokens,
                                         x_device, {});
  }

  /// Output tokens of the last `forward`, under the last norm, in the backend's memory: class token (1,D),
  /// reference tokens (R,D), patches (N,D).
  [[nodiscard]] MatrixView<const T> class_token() const { return x_out(TokenGroup::class_token, 1); }
  [[nodiscard]] MatrixView<const T> references() const {
    return x_out(TokenGroup::reference, x_options.references);
  }
  [[nodiscard]] MatrixView<const T> patches() const { return x_out(TokenGroup::patch, grid().size()); }

  /// What token `number` of `group` attends to in a head of a block (negative blocks count from the end):
  /// softmax over the tokens it sees of q . k / sqrt(D / H), in double from the queries and keys of the last
  /// `forward`. Throws `OptionError` for a block, head or token that is not there.
  [[nodiscard]] AttentionRow attention(Index block, Index head, TokenGroup group, Index number = 0) const {
    const Index depth = x_config.depth;
    if (block < -depth || block >= depth) throw OptionError("block", block, join(-depth, " to ", depth - 1));
    if (head < 0 || head >= x_config.heads)
      throw OptionError("head", head, join("0 to ", x_config.heads - 1));
    const Sequence sequence = x_tokens.sequences().front();
    const Index registers = registers_of(x_config);
    const Index count = sequence.count(group) - (group == TokenGroup::patch ? registers : 0);
    if (number < 0 || number >= count) throw OptionError("token", number, join("0 to ", count - 1, " of its kind"));
    const MatrixView<T> device =
        x_activations.blocks[static_cast<std::size_t>(block < 0 ? block + depth : block)].qkv;
    std::vector<T> host(static_cast<std::size_t>(device.size()));
    x_backend.download(std::span<T>(host), static_cast<const T*>(device.data()));
    const MatrixView<const T> qkv(host.data(), device.rows(), device.cols());

    const Index query = sequence.begin(group) + number + (group == TokenGroup::patch ? registers : 0);
    std::vector<double> shares(static_cast<std::size_t>(sequence.tokens()));
    attention_shares<Relation>(std::span(shares), qkv, sequence, group, query, x_config.heads, head);
    const auto of = [&](TokenGroup g) { return shares.begin() + sequence.begin(g); };
    return {.class_token = shares[0],
            .patches = {of(TokenGroup::patch) + registers, of(TokenGroup::patch) + sequence.patches},
            .references = {of(TokenGroup::reference), of(TokenGroup::reference) + sequence.references}};
  }

  /// What the references attend to among the patches, in all heads of a block: out (H,R,N) =, each row divided by its sum,
  /// so that even attention is 1/N. Of `attention`'s numbers, computed at once. Throws `OptionError`.
  [[nodiscard]] std::vector<double> attention_to_patches(Index block) const {
    if (block < 0 || block >= x_config.depth) throw OptionError("block", block, join("0 to ", x_config.depth - 1));
    const Sequence sequence = x_tokens.sequences().front();
    const Index first = sequence.begin(TokenGroup::patch) + registers_of(x_config), count = grid().size();
    const Index size = x_config.width / x_config.heads;
    const MatrixView<T> device = x_activations.blocks[static_cast<std::size_t>(block)].qkv;
    std::vector<T> host(static_cast<std::size_t>(device.size()));
    x_backend.download(std::span<T>(host), static_cast<const T*>(device.data()));
    const MatrixView<const T> qkv(host.data(), device.rows(), device.cols());
    std::vector<double> out;
    out.reserve(static_cast<std::size_t>(x_config.heads * x_options.references * count));
    for (Index head = 0; head < x_config.heads; ++head) {
      for (Index r = 0; r < x_options.references; ++r) {
        const T* const q = qkv.row(sequence.begin(TokenGroup::reference) + r) + head * size;
        const std::size_t row = out.size();
        for (Index n = 0; n < count; ++n) {
          const T* const k = qkv.row(first + n) + x_config.width + head * size;
          double sum = 0;
          for (Index d = 0; d < size; ++d) sum += static_cast<double>(q[d]) * static_cast<double>(k[d]);
          out.push_back(sum / std::sqrt(static_cast<double>(size)));
        }
        const auto own = std::span(out).subspan(row);
        const double largest = *std::max_element(own.begin(), own.end());
        double total = 0;
        for (double& share : own) total += share = std::exp(share - largest);
        for (double& share : own) share /= total;
      }
    }
    return out;
  }

 private:
  void x_check() const {
    const auto check_extent = [&](const char* field, Index value) {
      if (value < x_config.patch || value % x_config.patch != 0)
        throw OptionError(field, value, join("a multiple of the patch, ", x_config.patch, " pixels"));
    };
    check_extent("height", x_options.height);
    check_extent("width", x_options.width);
    if (x_options.channels < 1) throw OptionError("channels", x_options.channels, "at least 1");
    if (x_options.references < 0) throw OptionError("references", x_options.references, "at least 0");
    if (!reads_content && x_options.content) {
      throw OptionError("content", "true", "false: the backbone's references are positions alone");
    }
  }

  [[nodiscard]] MatrixView<const T> x_out(TokenGroup group, Index count) const {
    if (count == 0) return {};
    return MatrixView<const T>(x_activations.out).rows(x_tokens.output_begin(group), count);
  }

  void x_place(Arena& arena) {
    x_weights = arena.template vector<T>(x_layout.total());
    x_device = DeviceTokenLayout::place(x_backend, arena, x_tokens);
    x_inputs = Backbone::template Inputs<T>::place(x_backend, arena, x_config, x_tokens);
    if constexpr (reads_content) {
      if (x_options.content) x_inputs.content_taps = arena.template vector<Taps<T>>(x_options.references);
    }
    x_activations = Backbone::template Activations<T>::take(arena, x_config, x_tokens, true);
    ParameterCursor<const T> next(x_layout, x_weights.data());
    x_bound = Backbone::template Parameters<const T>::bind(next, x_config, {.reference = x_options.learned_reference});
  }

  B x_backend;
  TokenTraceOptions x_options;
  Config x_config;
  ParameterLayout x_layout;
  TokenLayout x_tokens;
  Buffer x_buffer;
  VectorView<T> x_weights;
  DeviceTokenLayout x_device;
  typename Backbone::template Inputs<T> x_inputs;
  typename Backbone::template Activations<T> x_activations;
  typename Backbone::template Parameters<const T> x_bound;
};

}  // namespace dssl
