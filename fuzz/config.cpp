// JSON that stands beside weights: config.json of Transformers, held against a backbone, preprocessor_config.json, and the
// settings in a bank's file.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/defects/bank_settings.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/pixel_scale.hpp>
#include <dssl/io/tensor_file.hpp>

#include "fuzz.hpp"

using namespace dssl;

namespace {

/// A file of weights of which the names alone matter, and its strings.
class Names final : public TensorFile {
 public:
  explicit Names(std::map<std::string, std::string> metadata = {}) : TensorFile("bank") {
    set_tensors({{.name = "layer.0.attention.query.bias", .type = ElementType::f32, .shape = {1}},
                 {.name = "layer.0.attention.q_proj.bias", .type = ElementType::f32, .shape = {1}}},
                std::move(metadata));
  }

 private:
  [[nodiscard]] std::span<const std::byte> x_elements(std::size_t, std::vector<std::byte>& scratch) const override {
    scratch.assign(sizeof(float), std::byte{});
    return scratch;
  }
};

/// One of each kind of model: ViT, Dinov2, the same with registers and a gate, DINOv3.
[[nodiscard]] BackboneDescription backbone(std::uint8_t which) {
  BackboneDescription d{.family = WeightFamily::hugging_face,
                        .width = 32,
                        .depth = 2,
                        .patch = 8,
                        .channels = 3,
                        .table_side = 7,
                        .hidden = 128};
  if (which % 4 == 1) d.layer_scale = true;
  if (which % 4 == 2) {
    d.registers = 4;
    d.mlp = MlpKind::swiglu;
    d.hidden = 88;
  }
  if (which % 4 == 3) {
    d.registers = 4;
    d.position = PositionScheme::rotary;
    d.table_side = 0;
  }
  return d;
}

void hold_config(std::string_view text, std::uint8_t which) {
  fuzz::parses<CheckpointError>([&] {
    const HuggingFaceConfig config("config.json", text);
    BackboneDescription d = backbone(which);
    const double theta = config.complete(d, Names());
    fuzz::require(d.heads_are_known && d.heads >= 1 && d.width % d.heads == 0, "heads divide the width");
    fuzz::require(d.norm_epsilon > 0 && d.norm_epsilon <= 1 && theta >= 1 && theta <= 1e9, "numbers are within their bounds");
    BackboneDescription again = backbone(which);
    fuzz::require(config.complete(again, Names()) == theta && again.heads == d.heads && again.norm_epsilon == d.norm_epsilon,
                  "the same is said twice");
    if (d.position == PositionScheme::rotary) return;
    // What is written for it is read as it is.
    BackboneDescription own = backbone(which);
    static_cast<void>(HuggingFaceConfig("config.json", hugging_face_config(d, "weights")).complete(own, Names()));
    fuzz::require(own.heads == d.heads && own.norm_epsilon == d.norm_epsilon, "a configuration comes back as it was written");
  });
}

void hold_pixels(std::string_view text) {
  fuzz::parses<CheckpointError>([&] {
    static_cast<void>(fuzz::file_of("preprocessor_config.json", std::as_bytes(std::span(text))));
    const auto pixels = pixels_beside(fuzz::scratch() / "model.safetensors");
    if (!pixels) return;
    fuzz::require(!pixels->mean.empty() && pixels->mean.size() == pixels->deviation.size(), "a mean and a deviation a channel");
    for (std::size_t c = 0; c < pixels->mean.size(); ++c) {
      fuzz::require(std::abs(pixels->mean[c]) <= 10.001F && pixels->deviation[c] > 0 && pixels->deviation[c] <= 10.001F,
                    "pixels' scale is within its bounds");
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'p') {
    hold_pixels(text);
    return 0;
  }
  if (data[0] != 'b') {
    hold_config(text, data[0]);
    return 0;
  }
  fuzz::parses<CheckpointError>([&] {
    const BankSettings settings = BankSettings::of(Names({{"settings", text}}));
    fuzz::require(settings.channels >= 1 && settings.smoothing >= 0 && std::isfinite(settings.smoothing) &&
                      (settings.fit == "stretch" || settings.fit == "pad"),
                  "settings are within their bounds");
    fuzz::require(BankSettings::of(Names({{"settings", settings.json()}})) == settings, "settings come back as they were written");
  });
  return 0;
}
