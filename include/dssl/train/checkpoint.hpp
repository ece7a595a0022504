// A whole run in one file: weights, optimiser, centres, position, options, recipe.
// Tests: tests/train/trainer.cpp.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/hash.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/train/lasting_state.hpp>
#include <dssl/train/options.hpp>

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

/// Writes everything a run needs to go on, whole or not at all.
///
/// One safetensors file: `student.*`, `teacher.*` (published names), `optimiser.first.*`, `optimiser.second.*`,
/// `center`, `ref_center`; the rest is metadata, with a check sum over all tensors.
/// Throws `NonFiniteError` naming the first tensor that holds what is not finite, `FileError` naming the path; the file
/// that was there before stays then.
DSSL_INLINE void save_checkpoint(const std::string& path, const LastingState& state, const RunOptions& options,
                                 const RunPosition& position, std::string_view recipe);

/// Puts a checkpoint back. Throws `CheckpointError` that says what does not fit (recipe, option, a tensor that is
/// missing, not finite or not of this run) or that the file is damaged; what lasts of the step is unchanged then. `extends`: the
/// checkpoint's run may have fewer epochs.
[[nodiscard]] DSSL_INLINE RunPosition load_checkpoint(const LastingState& state, const std::string& path, const RunOptions& options,
                                                      std::string_view recipe, bool extends = false);

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE void save_checkpoint(const std::string& path, const LastingState& state, const RunOptions& options,
                                 const RunPosition& position, std::string_view recipe) {
  SafetensorsWriter writer;
  std::vector<std::vector<std::byte>> host;
  std::uint64_t sum = 0;
  for (const LastingTensor& tensor : state.tensors()) {
    auto& copy = host.emplace_back(state.bytes(tensor));
    state.download(copy, tensor);
    if (!state.finite(copy)) throw NonFiniteError(join(path, ": was not written: ", tensor.name, " is not finite"));
    sum = detail::check_sum(sum, copy);
    writer.add_bytes(tensor.name, state.element(), tensor.shape, copy);
  }
  writer.metadata("format", "dssl checkpoint 1");
  writer.metadata("recipe", std::string(recipe));
  writer.metadata("step", std::to_string(position.step));
  writer.metadata("dataset_images", std::to_string(position.dataset_images));
  if (!position.dataset.empty()) writer.metadata("dataset", position.dataset);
  writer.metadata("unreadable", std::to_string(position.unreadable));
  writer.metadata("collapsed_steps", std::to_string(position.collapsed_steps));
  writer.metadata("check_sum", std::to_string(sum));
  if (const auto frozen = state.frozen()) writer.metadata("frozen_teacher", std::to_string(frozen->check_sum));
  // For who takes it as weights; a run that goes on has it among the options.
  for (const auto& [key, value] : pixels_as_metadata({options.views.mean, options.views.deviation})) writer.metadata(key, value);
  for_each_option(options, [&](std::string_view name, const auto& value) {
    writer.metadata(join("option.", name), detail::option_text(value));
  });
  writer.write(path);
}

namespace detail {

/// A tensor's numbers as floats or doubles.
DSSL_INLINE std::vector<std::byte> read_bytes(const SafetensorsFile& file, std::string_view name, ElementType element) {
  const auto read = [&]<class T>(T /*type*/) {
    std::vector<std::byte> out(static_cast<std::size_t>(file.tensor(name).size()) * sizeof(T));
    file.read_into(std::span(reinterpret_cast<T*>(out.data()), out.size() / sizeof(T)), name);
    return out;
  };
  return element == ElementType::f32 ? read(float{}) : read(double{});
}

}  // namespace detail

DSSL_INLINE RunPosition load_checkpoint(const LastingState& state, const std::string& path, const RunOptions& options,
                                        std::string_view recipe, bool extends) {
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
  state.require_taught();
  const auto frozen = state.frozen();
  if (frozen) {  // before the recipe, whose words hold the teacher's sizes
    const bool other = file.metadata().contains("frozen_teacher") && text("frozen_teacher") != std::to_string(frozen->check_sum);
    if (other) {
      throw CheckpointError(path, join("was made with other weights of the frozen teacher",
                                       frozen->from.empty() ? "" : join(" than those of ", frozen->from), "; expected the same ones, read with the same options"));
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
    if (stored != detail::option_text(value)) {
      throw CheckpointError(path, join("was made with option '", name, "' ", stored, "; this run has ",
                                       detail::option_text(value)));
    }
  });
  if (frozen) static_cast<void>(text("frozen_teacher"));
  const RunPosition position{.step = number("step"),
                             .dataset_images = number("dataset_images"),
                             .unreadable = number("unreadable"),
                             .collapsed_steps = number("collapsed_steps"),
                             .dataset = file.metadata().contains("dataset") ? text("dataset") : std::string()};
  // All tensors are read and checked before the first one is put in place.
  const std::vector<LastingTensor> tensors = state.tensors();
  std::vector<std::vector<std::byte>> host;
  std::uint64_t sum = 0;
  std::string unsound;
  std::set<std::string, std::less<>> known;
  for (const auto& [name, shape, data, size] : tensors) {
    known.insert(name);
    if (!file.contains(name)) throw CheckpointError(path, join("has no tensor '", name, "'"));
    if (file.shape(name) != shape) throw CheckpointError(path, join("tensor '", name, "' has another shape"));
    const std::span<const std::byte> bytes = file.bytes(name);
    if (bytes.size() != static_cast<std::size_t>(size) * element_bytes(state.element())) {
      throw CheckpointError(path, join("tensor '", name, "' has another precision than this backend"));
    }
    sum = detail::check_sum(sum, bytes);
    host.push_back(detail::read_bytes(file, name, state.element()));
    if (unsound.empty() && !state.finite(host.back())) unsound = name;
  }
  for (const StoredTensor& tensor : file.tensors()) {
    if (!known.contains(tensor.name)) {
      throw CheckpointError(path, join("has a tensor '", tensor.name, "' that is not of this run"));
    }
  }
  if (std::to_string(sum) != text("check_sum")) {
    throw CheckpointError(path, "is damaged: its tensors do not agree with its check sum");
  }
  if (!unsound.empty()) throw CheckpointError(path, join("tensor '", unsound, "' is not finite; expected a run that can go on"));
  for (std::size_t i = 0; i < tensors.size(); ++i) state.upload(tensors[i], host[i]);
  return position;
}
#endif

}  // namespace dssl
