// A linear classifier that a program learned on a backbone's tokens, as a file that dssl-export makes part of a model.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/tensor_file.hpp>

namespace dssl::programs {

/// Where a program writes it in its folder.
[[nodiscard]] inline std::string classifier_file(const std::string& folder) { return folder + "/classifier.safetensors"; }

/// What a linear classifier reads, in strings beside its numbers.
struct HeadReads {
  std::string token;             ///< "class", "mean" (of patches), "both", "patch", "reference"
  std::vector<Index> blocks{};   ///< as `FeatureOptions`
  bool norm = true;
  bool flips = false;
  PixelScale pixels{};           ///< that images were normalised by
  Index heads = 0;               ///< of the backbone's attention; 0: not known
};

/// Writes tensors `weight` (C,W) and `bias` (C), and beside them in `settings` what they read and the classes' names. Throws
/// `FileError`.
inline void write_linear_head(const std::string& path, std::span<const float> weight, std::span<const float> bias,
                              const HeadReads& reads, const std::vector<std::string>& classes) {
  const auto count = static_cast<Index>(bias.size());
  SafetensorsWriter writer;
  writer.metadata("settings", nlohmann::ordered_json{{"token", reads.token}, {"blocks", reads.blocks}, {"norm", reads.norm},
                                                     {"flips", reads.flips}, {"heads", reads.heads}, {"classes", classes}}.dump());
  for (const auto& [key, value] : pixels_as_metadata(reads.pixels)) writer.metadata(key, value);
  writer.add("weight", {count, static_cast<Index>(weight.size()) / count}, weight);
  writer.add("bias", {count}, bias);
  writer.write(path);
}

/// Throws `CheckpointError` where a linear layer of dssl's was learned on other tokens than a model of these blocks, of
/// so many, with attention of so many heads, gives it, `on_patches` or on class tokens. What others trained says nothing of that.
inline void require_reads(const TensorFile& head, bool on_patches, std::vector<Index> blocks, Index depth, bool norm, Index heads) {
  const auto said = head.metadata().find("settings");
  if (said == head.metadata().end()) return;
  const auto settings = nlohmann::json::parse(said->second, nullptr, false);
  HeadReads own;
  try {
    own.token = settings.at("token").get<std::string>();
    own.blocks = settings.at("blocks").get<std::vector<Index>>();
    own.norm = settings.at("norm").get<bool>();
    own.flips = settings.at("flips").get<bool>();
    own.heads = settings.value("heads", Index{0});  // not said by those of before
  } catch (const nlohmann::json::exception&) {
    throw CheckpointError(head.path(), "has settings that do not say its token, blocks, norm and flips; expected those of a linear classifier");
  }
  const auto refuse = [&](const auto&... what) { throw CheckpointError(head.path(), join("was learned ", what...)); };
  const bool fits = on_patches ? own.token == "patch" : own.token == "class" || own.token == "both";
  if (!fits) refuse("on tokens '", own.token, "'; expected ", on_patches ? "patch" : "class, or both");
  if (own.flips) refuse("with --flips, of which a model of one pass knows nothing");
  const auto list = [&](std::vector<Index>& numbers) {
    if (numbers.empty()) numbers.push_back(-1);
    std::string out;
    for (Index& number : numbers) out += join(out.empty() ? "" : ",", number = number < 0 ? number + depth : number);
    return out;
  };
  const std::string learned = list(own.blocks), given = list(blocks);
  if (learned != given) refuse("on blocks ", learned, ", and the model gives ", given, "; expected --blocks ", learned);
  if (own.heads != 0 && own.heads != heads) refuse("with heads ", own.heads, ", and the model has ", heads, "; expected --heads ", own.heads);
  if (own.norm != norm) refuse(own.norm ? "under" : "without", " the last norm; expected ", own.norm ? "no --no-norm" : "--no-norm");
}

}  // namespace dssl::programs
