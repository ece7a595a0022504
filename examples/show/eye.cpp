#include "show/eye.hpp"

#include <type_traits>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/features/feature_options.hpp>
#include <dssl/nn/position.hpp>

#include "common/architectures.hpp"
#include "common/backbone.hpp"
#include "common/backend.hpp"
#include "common/published.hpp"
#include "common/references.hpp"

namespace dssl::programs {

namespace {

template <Backend B>
class EyeOf final : public Eye {
 public:
  EyeOf(const ShowSettings& s, bool reference, const B& backend)
      : EyeOf(s, reference, reference ? references_of(s.weights) : ReferenceFacts{}, s.map.map(s.weights), backend) {}
  EyeOf(ShowSettings s, bool reference, const ReferenceFacts& facts, const ReferenceMap& map, const B& backend)
      : x_weights(s.weights, s.arch, s.channels, s.published),
        x_map(map),
        x_reference(reference),
        x_trace(backend,
                {.height = s.input_size().first,
                 .width = s.input_size().second,
                 .channels = s.channels,
                 .references = references_for(s, map, x_weights.config()) + (reference ? 1 : 0),
                 .learned_reference = facts.learned || map.learned,
                 .content = facts.content || map.content},
                x_weights.config()) {
    if (x_map.any()) {
      for (const Taps<double>& centre : coordinate_reads<double>(grid())) x_points.push_back({.x = centre.weight[1], .y = centre.weight[0]});
    }
    std::vector<float> flat(static_cast<std::size_t>(x_trace.layout().total()));
    x_weights.load(flat, x_trace.layout(), s.seed, x_trace.config(), x_trace.grid());
    x_trace.load(flat);
  }

  [[nodiscard]] GridSize grid() const override { return x_map.any() ? x_map.grid(x_trace.grid()) : x_trace.grid(); }
  [[nodiscard]] Index width() const override { return x_trace.config().width; }
  [[nodiscard]] Index heads() const override { return x_trace.config().heads; }
  [[nodiscard]] std::string describe() const override { return describe_backbone(x_trace, x_weights); }
  [[nodiscard]] const PixelScale& pixels() const override { return x_weights.pixels(); }

  [[nodiscard]] Seen look(std::span<const float> input, const std::optional<Point>& point) override {
    std::vector<Point> points = x_points;
    if (x_reference) points.push_back(point.value());
    x_trace.forward(input, points);
    const auto of_map = static_cast<Index>(x_points.size());
    Seen out;
    out.patches = x_host(x_map.any() ? x_trace.references().rows(0, of_map) : x_trace.patches());
    if (x_reference) out.reference = x_host(x_trace.references().rows(of_map, 1));
    return out;
  }

  [[nodiscard]] AttentionRow attention(Index block, Index head, TokenGroup group,
                                       Index number) const override {
    return x_trace.attention(block, head, group, number);
  }

  [[nodiscard]] std::vector<PatchMatch> match(std::span<const float> from,
                                              std::span<const float> to) const override {
    const B& backend = x_trace.backend();
    const Index n = grid().size();
    Buffer memory =
        backend.allocate(2 * static_cast<std::size_t>(n * width()) * sizeof(float) + Arena::alignment);
    Arena arena(memory);
    const MatrixView<float> left = arena.matrix<float>(n, width());
    const MatrixView<float> right = arena.matrix<float>(n, width());
    backend.upload(left.data(), from);
    backend.upload(right.data(), to);
    return match_patches(backend, MatrixView<const float>(left), MatrixView<const float>(right));
  }

 private:
  /// References of the map. Throws `OptionError` where there would be too many.
  [[nodiscard]] static Index references_for(const ShowSettings& s, const ReferenceMap& map, const ViTConfig& config) {
    if (!map.any()) return 0;
    const auto [height, width] = s.input_size();
    // A trace keeps what every block computes.
    static_cast<void>(with_usable_map({.height = height, .width = width, .batch = config.depth, .references = map}, config, s.backend,
                                      false, s.map.option));
    return map.grid({height / config.patch, width / config.patch}).size();
  }

  [[nodiscard]] std::vector<float> x_host(MatrixView<const float> rows) const {
    std::vector<float> out(static_cast<std::size_t>(rows.size()));
    x_trace.backend().download(std::span<float>(out), rows.data());
    return out;
  }

  ProgramWeights x_weights;
  ReferenceMap x_map;
  bool x_reference;  // one more, at the point that is looked at
  TokenTrace<ViTFamily, B> x_trace;
  std::vector<Point> x_points{};  // of the map's references
};

}  // namespace

std::unique_ptr<Eye> open_eye(const ShowSettings& settings, bool reference) {
  std::unique_ptr<Eye> out;
  with_backend(settings, [&](const auto& backend) {
    out = std::make_unique<EyeOf<std::decay_t<decltype(backend)>>>(settings, reference, backend);
  });
  return out;
}

}  // namespace dssl::programs
