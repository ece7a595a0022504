// A frozen teacher of a file of weights of any family: its sizes, and its weights for pixels as a run normalises them.
// Tests: tests/train/imitation_term.cpp, tests/programs/weights.sh.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/pixel_scale.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/token_layout.hpp>
#include <dssl/train/loaded_weights.hpp>
#include <dssl/train/rescaled_patches.hpp>
#include <dssl/train/training_run.hpp>

namespace dssl {

/// How a teacher's file is taken.
struct TeacherFileOptions {
  BackboneFileOptions file{.fold_layer_scale = true};
  /// What the pixels were normalised by that it was trained on; empty: by what `pixels_of` says, and else by what dssl's are.
  PixelScale pixels{};
};

/// A frozen teacher: what `NetworkConfig::teacher` and `TrainingRun::teach_with` take.
struct TeacherOfFile {
  ViTConfig sizes;  ///< with the channels of the views
  BackboneWeights<float> weights;
  BackboneDescription description;  ///< of the file, with the heads that it is run with
  PixelScale pixels;                ///< that it was trained on
};

/// What pixels the weights of a file were trained on, as Transformers says beside them or as is usual with their family;
/// nothing where they are not of three channels. Throws as `PixelScale::beside`.
[[nodiscard]] inline std::optional<PixelScale> pixels_of(const BackboneFile& file) {
  const BackboneDescription& d = file.description();
  std::optional<PixelScale> said;
  if (d.family == WeightFamily::hugging_face) said = PixelScale::beside(file.path());
  if (said || d.channels != 3) return said;
  return PixelScale{{d.mean.begin(), d.mean.end()}, {d.deviation.begin(), d.deviation.end()}};
}

/// The teacher in a file of any family, for views whose pixels are of the scale `views`. Throws `FileError`,
/// `CheckpointError` where the ViT does not run what the file holds; `OptionError` naming 'heads', or 'teacher_mean',
/// 'teacher_deviation' where these do not fit its channels; 'channels' where the views' do not.
[[nodiscard]] inline TeacherOfFile read_teacher(const std::string& path, const TeacherFileOptions& options,
                                                const PixelScale& views) {
  auto opened = open_tensor_file(path);
  require_readable_relation(*opened);
  const BackboneFile file(std::move(opened), options.file);
  TeacherOfFile out{.sizes = config_of_weights(file, options.file.heads),
                    .weights = {},
                    .description = file.description(),
                    .pixels = options.pixels};
  out.description.heads = out.sizes.heads;
  out.description.heads_are_known = out.description.heads_are_known || options.file.heads != 0;
  const Index channels = out.sizes.channels;
  PixelScale& pixels = out.pixels;
  if (pixels == PixelScale{}) pixels = pixels_of(file).value_or(usual_pixels(channels));
  if (options.pixels == PixelScale{} && pixels.channels() != channels) {
    throw CheckpointError(path, join("has ", channels, " channels, and preprocessor_config.json beside it ", pixels.channels(),
                                     " means; expected as many"));
  }
  const auto require_values = [&](const char* field, const std::vector<float>& values, bool (*fits)(double), const char* expected) {
    if (static_cast<Index>(values.size()) != channels) {
      throw OptionError(field, join(values.size(), " values"), join("one a channel of ", path, ", ", channels));
    }
    for (const float value : values) {
      if (!fits(static_cast<double>(value))) throw OptionError(field, value, expected);
    }
  };
  require_values("teacher_mean", pixels.mean, &PixelScale::is_mean, "-10 to 10, for pixels of 0 to 1");
  require_values("teacher_deviation", pixels.deviation, &PixelScale::is_deviation, "1e-6 to 10, for pixels of 0 to 1");
  if (views.channels() != channels && views.channels() != 1) {
    throw OptionError("channels", views.channels(), join(channels, ", those of the teacher ", path, channels > 1 ? ", or 1" : ""));
  }

  ParameterLayout layout;
  ViTFamily::add_parameters(layout, out.sizes, LearnedTokens{}, "");
  std::vector<float> flat(static_cast<std::size_t>(layout.total()));
  load_fresh_backbone(std::span<float>(flat), layout, file, "");
  if (pixels == views) {
    out.weights = {std::move(layout), std::move(flat)};
    return out;
  }
  const auto of = [](const ParameterLayout& l, std::vector<float>& values, std::string_view name) {
    const ParameterSpec& spec = l.find(name);
    return std::span<float>(values).subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
  };
  const std::vector<float> patches =
      rescaled_patches(of(layout, flat, "patch_embed.proj.weight"), of(layout, flat, "patch_embed.proj.bias"), pixels, views);
  out.sizes.channels = views.channels();
  ViTFamily::add_parameters(out.weights.layout, out.sizes, LearnedTokens{}, "");
  out.weights.values.resize(static_cast<std::size_t>(out.weights.layout.total()));
  for (const ParameterSpec& spec : out.weights.layout.specs()) {
    const std::string_view name = spec.name.view();
    const std::span<float> to = of(out.weights.layout, out.weights.values, name);
    std::ranges::copy(name == "patch_embed.proj.weight" ? std::span<const float>(patches) : of(layout, flat, name), to.begin());
  }
  return out;
}

}  // namespace dssl
