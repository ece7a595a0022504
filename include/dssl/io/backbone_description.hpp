// What a file of published weights says of its backbone, and what its family adds that no file says.
// Tests: tests/io/backbone_names.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Whose code reads the weights: it decides the tensors' names, how the position table is read at other
/// sizes, and the norms' epsilon.
enum class WeightFamily : std::uint8_t { dino, densedino, dinov2, dinov3, timm, torchvision, hugging_face };

/// How tokens learn where they are. Of the tables (g cells a side, read at h): where cell i of h lies, and
/// the cubic kernel's a.
enum class PositionScheme : std::uint8_t {
  offset,            ///< (i+.5) g/(h+.1) - .5, a = -.75
  size,              ///< (i+.5) g/h - .5, a = -.75
  size_antialiased,  ///< (i+.5) g/h - .5, a = -.5, the kernel widened where h < g and its weights made to sum
                     ///< to 1
  corners,           ///< i (g-1)/(h-1), a = -.75
  rotary             ///< no table: queries and keys are rotated by their patch's place
};

enum class MlpKind : std::uint8_t {
  gelu,   ///< fc2(gelu(fc1(x)))
  swiglu  ///< w3(silu(gate) value), [gate, value] = w12(x)
};

/// Names of the families, in the order of `WeightFamily`.
inline constexpr std::array<std::string_view, 7> weight_family_names{
    "dino", "densedino", "dinov2", "dinov3", "timm", "torchvision", "hf"};

namespace detail {

inline constexpr std::array<std::string_view, 5> position_scheme_names{"offset", "size", "size, antialiased",
                                                                       "corners", "rotary"};

}  // namespace detail

/// What `family_name` may be, in words, as errors say it.
inline constexpr const char* weight_families_in_words = "dino, densedino, dinov2, dinov3, timm, torchvision or hf";

/// One of `weight_families_in_words`.
[[nodiscard]] constexpr std::string_view family_name(WeightFamily family) {
  return weight_family_names[static_cast<std::size_t>(family)];
}

/// The family of this name; nothing if there is none.
[[nodiscard]] constexpr std::optional<WeightFamily> family_named(std::string_view name) {
  for (std::size_t i = 0; i < weight_family_names.size(); ++i) {
    if (weight_family_names[i] == name) return static_cast<WeightFamily>(i);
  }
  return std::nullopt;
}

/// The scheme of this name; nothing if there is none.
[[nodiscard]] constexpr std::optional<PositionScheme> position_scheme_named(std::string_view name) {
  for (std::size_t i = 0; i < detail::position_scheme_names.size(); ++i) {
    if (detail::position_scheme_names[i] == name) return static_cast<PositionScheme>(i);
  }
  return std::nullopt;
}

/// The rule in a word or two: "size, antialiased".
[[nodiscard]] constexpr std::string_view position_scheme_name(PositionScheme rule) {
  return detail::position_scheme_names[static_cast<std::size_t>(rule)];
}

/// How a family's code reads a position table at other sizes, with so many registers.
[[nodiscard]] constexpr PositionScheme table_scheme(WeightFamily family, Index registers) {
  switch (family) {
    case WeightFamily::dinov2:
      return registers > 0 ? PositionScheme::size_antialiased : PositionScheme::offset;
    case WeightFamily::timm:
      return PositionScheme::size_antialiased;
    case WeightFamily::torchvision:
      return PositionScheme::corners;
    case WeightFamily::hugging_face:
      return registers > 0 ? PositionScheme::size_antialiased : PositionScheme::size;
    default:
      return PositionScheme::offset;
  }
}

/// The heads that published models of this width D have, 0 where none are known: one for 64 of it, and 16 in ViT-H, g
/// and G (D 1280, 1408, 1664; MAE's, timm's), but in DINOv3's, which rotate, and of which that of 7B (D 4096) has one for
/// 128. Test: tests/io/backbone_names.cpp.
[[nodiscard]] constexpr Index usual_heads(Index width, PositionScheme position) {
  if (position == PositionScheme::rotary && width == 4096) return 32;
  if (position != PositionScheme::rotary && (width == 1280 || width == 1408 || width == 1664)) return 16;
  return width % 64 == 0 ? width / 64 : 0;
}

/// A vision transformer as its file of weights and its family describe it.
struct BackboneDescription {
  WeightFamily family = WeightFamily::dino;
  Index width = 0;               ///< D
  Index depth = 0;               ///< blocks
  Index heads = 0;               ///< H; 0: the file does not say and no number is usual
  bool heads_are_known = false;  ///< from the file; else `usual_heads`
  Index patch = 0;               ///< pixels a side
  Index channels = 0;
  Index table_side = 0;  ///< cells a side of the position table; 0: there is none
  Index hidden = 0;      ///< of the MLP: rows of fc1, or of gate and of value each
  Index registers = 0;
  MlpKind mlp = MlpKind::gelu;
  bool layer_scale = false;  ///< each branch times a number a channel
  bool mask_token = false;
  bool reference_token = false;
  bool class_norm = false;   ///< class tokens have a last norm of their own
  bool local_class_norm = false;  ///< so have those of local views, in training alone
  bool qkv_bias = true;      ///< queries and values have a bias, as in all but some that rotate
  bool key_bias = true;      ///< some key has a bias that is not 0; of what rotates, and known to `BackboneFile`
  PositionScheme position = PositionScheme::offset;
  bool layer_scale_folded = false;  ///< the family's LayerScale was multiplied into the layers before it: it is ones
  double norm_epsilon = 1e-6;  ///< of every layer norm

  /// Pixels a side of the image whose patches are the table's cells; 0 without table.
  [[nodiscard]] Index native_image() const { return table_side * patch; }
  /// The same, and without table 224 pixels, or as many of them as whole patches are.
  [[nodiscard]] Index usual_image() const {
    if (table_side > 0) return native_image();
    return patch > 0 && patch < 224 ? 224 / patch * patch : patch;
  }
};

/// All of it in one line: "dinov2: width 384, depth 12, heads 6 (usual), patch 14, ...".
[[nodiscard]] inline std::string describe(const BackboneDescription& d) {
  return join(family_name(d.family), ": width ", d.width, ", depth ", d.depth, ", heads ",
              d.heads == 0 ? std::string("unknown") : join(d.heads, d.heads_are_known ? "" : " (usual)"),
              ", patch ", d.patch, d.channels == 3 ? "" : join(", channels ", d.channels),
              d.mlp == MlpKind::swiglu ? ", SwiGLU of " : ", MLP of ", d.hidden,
              d.registers > 0 ? join(", registers ", d.registers) : "",
              d.layer_scale          ? ", LayerScale"
              : d.layer_scale_folded ? ", LayerScale multiplied in"
                                     : "",
              ", positions ",
              d.table_side > 0
                  ? join(d.table_side, "x", d.table_side, " (", position_scheme_name(d.position), ")")
                  : std::string(position_scheme_name(d.position)),
              d.qkv_bias ? "" : ", queries, keys and values without bias", ", norm epsilon ", d.norm_epsilon, d.class_norm ? ", a norm of class tokens" : "");
}

}  // namespace dssl
