// A frozen teacher of a file of weights of any family: its sizes, and its weights for pixels as a run normalises them.
// Tests: tests/train/imitation_term.cpp, tests/programs/weights.sh.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/pixel_scale.hpp>
#include <dssl/io/tensor_file.hpp>
#include <dssl/train/loaded_weights.hpp>
#include <dssl/train/rescaled_patches.hpp>

namespace dssl {

/// How a teacher's file is taken.
struct TeacherFileOptions {
  BackboneFileOptions file{.fold_layer_scale = true};
  /// What the pixels were normalised by that it was trained on; empty: by what `pixels_of` says.
  PixelScale pixels{};
};

/// A frozen teacher in a file of any family, for views whose pixels are of the scale `views`: its sizes are
/// `NetworkConfig::teacher`, and it is a file that `TrainingRun::teach_with(file, "")` reads, tensor by tensor, with a patch
/// embedding of the views' channels and scale.
class TeacherFile final : public TensorFile {
 public:
  /// Throws `FileError`, `CheckpointError` where the ViT does not run what the file holds; `OptionError` naming
  /// 'teacher_heads', or 'teacher_mean', 'teacher_deviation' where these do not fit its channels; 'channels' where the views'
  /// do not.
  TeacherFile(const std::string& path, const TeacherFileOptions& options, const PixelScale& views)
      : TensorFile(path),
        x_file(BackboneFile::open(path, x_named(options.file))),
        x_sizes(config_of_weights(x_file, x_named(options.file))),
        x_description(described_as_run(x_file, options.file)),
        x_pixels(options.pixels) {
    const Index channels = x_sizes.channels;
    if (x_pixels == PixelScale{}) x_pixels = pixels_of(x_file);
    require_pixels(x_pixels, channels, path, "teacher_");
    if (views.channels() != channels && views.channels() != 1) {
      throw OptionError("channels", views.channels(), join(channels, ", those of the teacher ", path, channels > 1 ? ", or 1" : ""));
    }
    std::vector<StoredTensor> tensors = x_file.tensors();
    if (x_pixels != views) x_rescale(tensors, views);
    set_tensors(std::move(tensors), x_file.metadata());
  }

  [[nodiscard]] const ViTConfig& sizes() const { return x_sizes; }  ///< with the channels of the views
  /// Of the file, with the heads that it is run with.
  [[nodiscard]] const BackboneDescription& description() const { return x_description; }
  /// Tensors of the file that are no part of the backbone.
  [[nodiscard]] std::size_t ignored() const { return x_file.ignored().size(); }
  /// That it was trained on.
  [[nodiscard]] const PixelScale& pixels() const { return x_pixels; }

 private:
  static constexpr std::string_view x_heads = "teacher_heads";  // as there may be weights of the student's too
  static BackboneFileOptions x_named(BackboneFileOptions options) {
    options.heads_field = x_heads;
    return options;
  }

  static constexpr std::string_view x_weight = "patch_embed.proj.weight", x_bias = "patch_embed.proj.bias";

  /// Of what is no floating type, or not there, whoever loads it says so.
  void x_rescale(std::vector<StoredTensor>& tensors, const PixelScale& views) {
    for (const std::string_view name : {x_weight, x_bias}) {
      if (!x_file.contains(name) || !is_floating(x_file.tensor(name).type)) return;
    }
    x_patch_bias = x_file.read<float>(x_bias);
    x_patches = rescaled_patches(x_file.read<float>(x_weight), x_patch_bias, x_pixels, views);
    x_sizes.channels = views.channels();
    for (StoredTensor& tensor : tensors) {
      if (tensor.name != x_weight && tensor.name != x_bias) continue;
      tensor.type = ElementType::f32;
      if (tensor.name == x_weight) tensor.shape[1] = views.channels();
    }
  }

  [[nodiscard]] std::span<const std::byte> x_elements(std::size_t place, std::vector<std::byte>& scratch) const override {
    const std::string& name = tensors()[place].name;
    if (!x_patches.empty() && name == x_weight) return std::as_bytes(std::span(x_patches));
    if (!x_patches.empty() && name == x_bias) return std::as_bytes(std::span(x_patch_bias));
    return x_file.elements(name, scratch);
  }

  BackboneFile x_file;
  ViTConfig x_sizes;
  BackboneDescription x_description;
  PixelScale x_pixels;
  std::vector<float> x_patches, x_patch_bias;  // where pixels are of another scale: (D,C,p,p) and (D) for the views'
};

}  // namespace dssl
