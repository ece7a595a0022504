// A classifier that a program learned on a backbone's tokens, linear or of neighbours, as a file that dssl-export makes part of
// a model.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/bank_settings.hpp>
#include <dssl/features/extents.hpp>
#include <dssl/io/pixel_scale.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/tensor_file.hpp>

#include <common/json_text.hpp>

namespace dssl::programs {

/// Where a program writes the linear one in its folder, and that of neighbours.
[[nodiscard]] inline std::string classifier_file(const std::string& folder) { return folder + "/classifier.safetensors"; }
[[nodiscard]] inline std::string neighbours_file(const std::string& folder) { return folder + "/neighbours.safetensors"; }

/// What a classifier reads, in strings beside its numbers.
struct HeadReads {
  std::string token;             ///< "class", "mean" (of patches), "both", "patch", "reference"
  std::vector<Index> blocks{};   ///< as `FeatureOptions`
  bool norm = true;
  bool flips = false;
  PixelScale pixels{};           ///< that images were normalised by
  BackboneRules ran{};           ///< how the backbone was run; in files of before its heads at most
  std::string size{};            ///< of the images, as `--size`; empty: not known
};

/// What classifiers have in common in their files: `settings`, what they read and the classes' names, and what pixels were
/// normalised by.
[[nodiscard]] inline SafetensorsWriter classifier_writer(const HeadReads& reads, const std::vector<std::string>& classes,
                                                         const nlohmann::ordered_json& more = nlohmann::ordered_json::object()) {
  SafetensorsWriter writer;
  nlohmann::ordered_json settings{{"token", reads.token}, {"blocks", reads.blocks}, {"norm", reads.norm},
                                  {"flips", reads.flips}, {"size", reads.size}, {"heads", reads.ran.heads},
                                  {"norm_epsilon", reads.ran.norm_epsilon}, {"positions", reads.ran.positions}, {"classes", classes}};
  settings.update(more);
  writer.metadata("settings", json_text(settings));
  for (const auto& [key, value] : pixels_as_metadata(reads.pixels)) writer.metadata(key, value);
  return writer;
}

/// Writes tensors `weight` (C,W) and `bias` (C). Throws `FileError`.
inline void write_linear_head(const std::string& path, std::span<const float> weight, std::span<const float> bias,
                              const HeadReads& reads, const std::vector<std::string>& classes) {
  const auto count = static_cast<Index>(bias.size());
  SafetensorsWriter writer = classifier_writer(reads, classes);
  writer.add("weight", {count, static_cast<Index>(weight.size()) / count}, weight);
  writer.add("bias", {count}, bias);
  writer.write(path);
}

/// How training features vote: as `KnnOptions`, and how many.
struct NeighbourVotes {
  Index neighbours = 0;
  double temperature = 0;
};

/// Writes tensors `features` (n,W) and `labels` (n) of the training images, and in `settings` how they vote. `fingerprint`: of
/// the weights that gave them. Throws `FileError`.
inline void write_neighbours(const std::string& path, MatrixView<const float> features, std::span<const std::int64_t> labels,
                             const NeighbourVotes& votes, const HeadReads& reads, const std::vector<std::string>& classes,
                             const std::string& fingerprint) {
  SafetensorsWriter writer = classifier_writer(reads, classes, {{"k", votes.neighbours}, {"temperature", votes.temperature}});
  writer.metadata("weights_fingerprint", fingerprint);
  writer.add("features", {features.rows(), features.cols()},
             std::span<const float>(features.data(), static_cast<std::size_t>(features.size())));
  writer.add("labels", {features.rows()}, labels);
  writer.write(path);
}

/// Gives `take` what a file of dssl's classifiers says of itself; false where it says nothing, as others' do. Throws
/// `CheckpointError` where that is not `fields`, `FileError` where it is nested deeper than programs write it.
template <class Take>
[[nodiscard]] bool read_settings(const TensorFile& file, std::string_view fields, const Take& take) {
  const auto said = file.metadata().find("settings");
  if (said == file.metadata().end()) return false;
  const auto settings = parse_json(said->second, file.path(), "has settings whose JSON ");
  try {
    take(settings);
  } catch (const nlohmann::json::exception&) {
    throw CheckpointError(file.path(), join("has settings that do not say its ", fields, "; expected those of a classifier"));
  }
  return true;
}

/// What such a file says beside its features.
struct Neighbours {
  std::string token, size;
  NeighbourVotes votes{};
  std::vector<std::string> classes{};
  std::vector<std::int64_t> labels{};
};

/// Throws `CheckpointError` for what `write_neighbours` does not write; whether numbers go together is told by whoever votes.
[[nodiscard]] inline Neighbours read_neighbours(const SafetensorsFile& file) {
  const auto refuse = [&](const auto&... what) {
    throw CheckpointError(file.path(), join(what..., "; expected what dssl-classify --keep-neighbours writes"));
  };
  for (const char* const name : {"features", "labels"}) {
    if (!file.contains(name)) refuse("has no tensor '", name, "'");
  }
  Neighbours out;
  const bool said = read_settings(file, "token, k, temperature, size and classes", [&](const nlohmann::json& settings) {
    out.token = settings.at("token").get<std::string>();
    out.votes = {.neighbours = settings.at("k").get<Index>(), .temperature = settings.at("temperature").get<double>()};
    out.size = settings.at("size").get<std::string>();
    out.classes = settings.at("classes").get<std::vector<std::string>>();
  });
  if (!said) refuse("has no settings");
  if (!file.metadata().contains("weights_fingerprint")) refuse("does not say which weights gave its features");
  out.labels = file.read<std::int64_t>("labels");
  return out;
}

/// What a model gives whoever reads its tokens.
struct ModelGives {
  std::vector<Index> blocks{};
  Index depth = 0;  ///< of the backbone
  bool norm = true;
  PixelScale pixels{};  ///< that its images are normalised by
  BackboneRules ran{};
  Index patch = 0;       ///< pixels a side
  Index table_side = 0;  ///< cells a side of the position table
  std::string weights{};
};

/// Throws `CheckpointError` where a classifier of dssl's was learned on other tokens than `tokens`, or otherwise than a model
/// gives them. What others trained says nothing of that.
inline void require_reads(const TensorFile& head, const std::vector<std::string_view>& tokens, const ModelGives& model) {
  HeadReads own;
  const bool said = read_settings(head, "token, blocks, norm and flips", [&](const nlohmann::json& settings) {
    own.token = settings.at("token").get<std::string>();
    own.blocks = settings.at("blocks").get<std::vector<Index>>();
    own.norm = settings.at("norm").get<bool>();
    own.flips = settings.at("flips").get<bool>();
    // Not said by those of before.
    own.ran = {.heads = settings.value("heads", Index{0}),
               .norm_epsilon = settings.value("norm_epsilon", 0.0),
               .positions = settings.value("positions", std::string())};
    own.size = settings.value("size", std::string());
  });
  if (!said) return;
  const auto refuse = [&](const auto&... what) { throw CheckpointError(head.path(), join("was learned ", what...)); };
  std::string expected;
  for (const std::string_view token : tokens) expected += join(expected.empty() ? "" : " or ", token);
  if (std::ranges::find(tokens, own.token) == tokens.end()) refuse("on tokens '", own.token, "'; expected ", expected);
  if (own.flips) refuse("with --flips, of which a model of one pass knows nothing");
  const auto list = [&](std::vector<Index> numbers) {
    if (numbers.empty()) numbers.push_back(-1);
    std::string out;
    for (const Index number : numbers) out += join(out.empty() ? "" : ",", number < 0 ? number + model.depth : number);
    return out;
  };
  const std::string learned = list(own.blocks), given = list(model.blocks);
  if (learned != given) refuse("on blocks ", learned, ", and the model gives ", given, "; expected --blocks ", learned);
  if (own.ran.heads != 0 && own.ran.heads != model.ran.heads)
    refuse("with heads ", own.ran.heads, ", and the model has ", model.ran.heads, "; expected --heads ", own.ran.heads);
  const auto [height, width] = own.size.empty() ? std::pair<Index, Index>() : extents_of("size", own.size);
  const bool at_own_size = height / model.patch == model.table_side && width / model.patch == model.table_side;
  own.ran.require_same(head.path(), model.ran, at_own_size, model.weights, "a classifier of their own");
  own.pixels = pixels_in_strings(head).value_or(usual_pixels(model.pixels.channels()));
  if (own.pixels != model.pixels) {
    refuse("on images ", describe(own.pixels), ", and the model's are ", describe(model.pixels), "; expected --mean ",
           dssl::detail::number_list(own.pixels.mean, ","), " --deviation ", dssl::detail::number_list(own.pixels.deviation, ","));
  }
  if (own.norm != model.norm) refuse(own.norm ? "under" : "without", " the last norm; expected ", own.norm ? "no --no-norm" : "--no-norm");
}

/// The names of the classes that such a file of dssl's tells; empty where it is others'. Throws as `read_settings`.
[[nodiscard]] inline std::vector<std::string> class_names_in(const TensorFile& file) {
  std::vector<std::string> out;
  static_cast<void>(read_settings(file, "classes", [&](const nlohmann::json& settings) {
    out = settings.at("classes").get<std::vector<std::string>>();
  }));
  return out;
}

}  // namespace dssl::programs
