// A whole run in one file: weights, optimiser, centres, position, options, recipe.
// Tests: tests/train/trainer.cpp.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/train/lasting_state.hpp>
#include <dssl/train/options.hpp>
#include <dssl/train/training_step.hpp>

namespace dssl {

/// Where a run stands: everything that is not a tensor. Random numbers are counted, not stored: seed and position
/// give them all.
struct RunPosition {
  Index step = 0;            ///< updates made
  Index dataset_images = 0;  ///< images of the source; a resumed run must see as many
  Index unreadable = 0;      ///< images skipped so far
  Index collapsed_steps = 0; ///< steps in a row that looked collapsed
  /// Of the source's images (`fingerprint_of`); a resumed run must see the same. Empty: a file from before there was one.
  std::string dataset{};
};

namespace detail {

/// The name that a policy gives itself in a static member `name`, or "own".
template <class Policy>
[[nodiscard]] constexpr std::string_view policy_name() {
  if constexpr (requires { std::string_view(Policy::name); }) {
    return Policy::name;
  } else {
    return "own";
  }
}

/// An option's value as text from which the same value can be read back.
template <class Value>
[[nodiscard]] std::string exact_text(const Value& value) {
  if constexpr (std::is_floating_point_v<Value>) {
    std::array<char, 64> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
  } else {
    return join(value);
  }
}

/// Sizes of a frozen teacher that are the run's, in words; empty where they are a type's, as its term says.
template <class Loss, class Config>
[[nodiscard]] std::string words_of_teacher([[maybe_unused]] const Config& config) {
  if constexpr (std::is_same_v<typename Loss::FrozenSizes, NoSizes>) {
    return {};
  } else {
    return join("; frozen teacher: ", Loss::FrozenTeacher::Backbone::describe(config.teacher));
  }
}

}  // namespace detail

/// The recipe in words: what a checkpoint must agree with to be resumed. `sampler`: of its points, where the type does not say.
template <class Recipe>
[[nodiscard]] std::string describe_recipe(const NetworkConfigOf<Recipe>& config, Index points,
                                          std::string_view sampler = detail::policy_name<typename Recipe::Points>()) {
  const auto& h = config.head;
  using Tokens = typename Recipe::Tokens;
  std::string relation = join("code ", Tokens::relation.code);
  for (const auto& named : named_relations) {
    if (named.relation == Tokens::relation) relation = named.name;
  }
  const std::string_view features = Tokens::point_features == PointFeatures::none               ? "none"
                                    : Tokens::point_features == PointFeatures::reference_tokens ? "reference tokens"
                                                                                                : "sampled patches";
  return join("backbone: ", Recipe::Backbone::describe(config.backbone), "; tokens: ", features, ", relation ",
              relation, ", learned ", Tokens::reference.learned, ", detached ", Tokens::reference.detached,
              content_of<Tokens> == PointContent::none       ? ""
              : content_of<Tokens> == PointContent::attached ? ", content attached"
                                                             : ", content detached",
              "; points: ", sampler, " ", points,
              "; views: ", detail::policy_name<typename Recipe::Views>(), "; loss: ",
              Recipe::Loss::describe(),
              "; head: layers ", h.layers, ", hidden ", h.hidden, ", bottleneck ", h.bottleneck, ", prototypes ",
              h.prototypes, ", learned norm ", h.learned_norm,
              // Said only where there is one: runs from before there could be are resumed as they were.
              h.batch_norm ? ", batch norm" : "", h.plain_prototypes ? ", plain prototypes" : "",
              detail::words_of_teacher<typename Recipe::Loss>(config));
}

/// Writes everything a run needs to go on, whole or not at all.
///
/// One safetensors file: `student.*`, `teacher.*` (published names), `optimiser.first.*`, `optimiser.second.*`,
/// `center`, `ref_center`; the rest is metadata, with a check sum over all tensors.
/// Throws `NonFiniteError` naming the first tensor that holds what is not finite, `FileError` naming the path; the file
/// that was there before stays then.
template <class Kind, Backend B>
void save_checkpoint(const std::string& path, const BasicTrainingStep<Kind, B>& step, const BasicTrainerOptions<typename Kind::Loss::Options>& options,
                     const RunPosition& position, std::string_view recipe) {
  using T = typename B::Scalar;
  SafetensorsWriter writer;
  std::vector<std::vector<T>> host;
  std::uint64_t sum = 0;
  detail::for_each_state(step, [&](const std::string& name, VectorView<T> values, const std::vector<Index>& shape) {
    auto& copy = host.emplace_back(static_cast<std::size_t>(values.size()));
    step.backend().download(std::span<T>(copy), static_cast<const T*>(values.data()));
    if (!detail::all_finite(std::span<const T>(copy))) {
      throw NonFiniteError(join(path, ": was not written: ", name, " is not finite"));
    }
    sum = detail::check_sum(sum, std::as_bytes(std::span(copy)));
    writer.add(name, shape, std::span<const T>(copy));
  });
  writer.metadata("format", "dssl checkpoint 1");
  writer.metadata("recipe", std::string(recipe));
  writer.metadata("step", std::to_string(position.step));
  writer.metadata("dataset_images", std::to_string(position.dataset_images));
  if (!position.dataset.empty()) writer.metadata("dataset", position.dataset);
  writer.metadata("unreadable", std::to_string(position.unreadable));
  writer.metadata("collapsed_steps", std::to_string(position.collapsed_steps));
  writer.metadata("check_sum", std::to_string(sum));
  if constexpr (Kind::Loss::has_frozen) writer.metadata("frozen_teacher", std::to_string(step.frozen().check_sum()));
  // For who takes it as weights; a run that goes on has it among the options.
  for (const auto& [key, value] : pixels_as_metadata({options.views.mean, options.views.deviation})) writer.metadata(key, value);
  for_each_option(options, [&](std::string_view name, const auto& value) {
    writer.metadata(join("option.", name), detail::exact_text(value));
  });
  writer.write(path);
}

/// Puts a checkpoint back. Throws `CheckpointError` that says what does not fit (recipe, option, a tensor that is
/// missing, not finite or not of this run) or that the file is damaged; the step is unchanged then. `extends`: the
/// checkpoint's run may have fewer epochs.
template <class Kind, Backend B>
[[nodiscard]] RunPosition load_checkpoint(const BasicTrainingStep<Kind, B>& step, const std::string& path,
                                          const BasicTrainerOptions<typename Kind::Loss::Options>& options, std::string_view recipe, bool extends = false) {
  using T = typename B::Scalar;
  const auto file = SafetensorsFile::open(path);
  const auto text = [&](const std::string& key) {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end() && key.starts_with("option.")) {
      for (const LaterOption& later : later_options) {
        if (std::string_view(key).substr(7) == later.name) return std::string(later.value);
      }
    }
    if (found == file.metadata().end()) throw CheckpointError(path, join("is not a checkpoint: it has no '", key, "'"));
    return found->second;
  };
  const auto number = [&](const std::string& key) {
    const std::string stored = text(key);
    Index value = 0;
    const auto [end, problem] = std::from_chars(stored.data(), stored.data() + stored.size(), value);
    if (problem != std::errc{} || end != stored.data() + stored.size() || value < 0) {
      throw CheckpointError(path, join("'", key, "' is '", stored, "'; expected a number of at least 0"));
    }
    return value;
  };
  if (text("format") != "dssl checkpoint 1") {
    throw CheckpointError(path, join("has format '", text("format"), "'; expected 'dssl checkpoint 1'"));
  }
  if constexpr (Kind::Loss::has_frozen) {  // before the recipe, whose words hold the teacher's sizes
    step.frozen().require_given();
    const bool other = file.metadata().contains("frozen_teacher") && text("frozen_teacher") != std::to_string(step.frozen().check_sum());
    if (other) {
      const std::string& from = step.frozen().from();
      throw CheckpointError(path, join("was made with other weights of the frozen teacher",
                                       from.empty() ? "" : join(" than those of ", from), "; expected the same ones, read with the same options"));
    }
  }
  if (text("recipe") != recipe) {
    throw CheckpointError(path, join("was made with another recipe: ", text("recipe"), "; expected: ", recipe));
  }
  for_each_option(options, [&](std::string_view name, const auto& value) {
    const std::string stored = text(join("option.", name));
    if (extends && name == "epochs") {
      const Index epochs = number("option.epochs");
      if (epochs > options.epochs) {
        throw CheckpointError(path, join("was made with ", epochs, " epochs; expected at most those it is extended to, ",
                                         options.epochs));
      }
      return;
    }
    if (stored != detail::exact_text(value)) {
      throw CheckpointError(path, join("was made with option '", name, "' ", stored, "; this run has ",
                                       detail::exact_text(value)));
    }
  });
  if constexpr (Kind::Loss::has_frozen) static_cast<void>(text("frozen_teacher"));
  const RunPosition position{.step = number("step"),
                             .dataset_images = number("dataset_images"),
                             .unreadable = number("unreadable"),
                             .collapsed_steps = number("collapsed_steps"),
                             .dataset = file.metadata().contains("dataset") ? text("dataset") : std::string()};
  // All tensors are read and checked before the first one is put in place.
  std::vector<std::vector<T>> host;
  std::uint64_t sum = 0;
  std::string unsound;
  std::set<std::string, std::less<>> known;
  detail::for_each_state(step, [&](const std::string& name, VectorView<T> values, const std::vector<Index>& shape) {
    known.insert(name);
    if (!file.contains(name)) throw CheckpointError(path, join("has no tensor '", name, "'"));
    if (file.shape(name) != shape) throw CheckpointError(path, join("tensor '", name, "' has another shape"));
    if (file.bytes(name).size() != static_cast<std::size_t>(values.size()) * sizeof(T)) {
      throw CheckpointError(path, join("tensor '", name, "' has another precision than this backend"));
    }
    sum = detail::check_sum(sum, file.bytes(name));
    host.push_back(file.read<T>(name));
    if (unsound.empty() && !detail::all_finite(std::span<const T>(host.back()))) unsound = name;
  });
  for (const StoredTensor& tensor : file.tensors()) {
    if (!known.contains(tensor.name)) {
      throw CheckpointError(path, join("has a tensor '", tensor.name, "' that is not of this run"));
    }
  }
  if (std::to_string(sum) != text("check_sum")) {
    throw CheckpointError(path, "is damaged: its tensors do not agree with its check sum");
  }
  if (!unsound.empty()) throw CheckpointError(path, join("tensor '", unsound, "' is not finite; expected a run that can go on"));
  std::size_t next = 0;
  detail::for_each_state(step, [&](const std::string&, VectorView<T> values, const std::vector<Index>&) {
    step.backend().upload(values.data(), std::span<const T>(host[next++]));
  });
  return position;
}

}  // namespace dssl
