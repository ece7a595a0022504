// A backbone's weights under their published names: read from any checkpoint that holds them, written whole.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/tensor_file.hpp>

namespace dssl {

/// Named tensors in one flat buffer, as a model's `ParameterLayout` describes them.
template <class L>
concept TensorLayout = requires(const L& layout) {
  { layout.total() } -> std::convertible_to<Index>;
  { layout.specs().front().name.view() } -> std::convertible_to<std::string_view>;
  { layout.specs().front().shape() } -> std::convertible_to<std::vector<Index>>;
  { layout.specs().front().offset } -> std::convertible_to<Index>;
  { layout.specs().front().size } -> std::convertible_to<Index>;
};

/// What `load_backbone` did.
struct LoadedBackbone {
  std::string prefix;              ///< what stood before the published names in the file
  std::vector<std::string> given;  ///< tensors of the file that were used, as they are named there
  std::size_t ignored = 0;         ///< tensors of the file that were not (heads, optimiser, other networks)
};

namespace detail {

/// What may stand before a backbone's names, in the order of preference: the teacher's weights before a file's only ones
/// (alone, or under a key that says no more) before the student's, both also under such a key; wrapped for several processes
/// (`module.`) or not, within a whole network or alone.
[[nodiscard]] inline std::vector<std::string> backbone_prefixes() {
  std::vector<std::string> prefixes;
  for (const std::string_view owner : {"teacher.", "state_dict.teacher.", "model.teacher.", "", "model.", "state_dict.", "student.",
                                       "state_dict.student.", "model.student."}) {
    for (const std::string_view wrapped : {"", "module."}) {
      for (const std::string_view part : {"backbone.", ""}) prefixes.push_back(join(owner, wrapped, part));
    }
  }
  return prefixes;
}

/// What families call the class token.
inline constexpr std::array<std::string_view, 3> class_token_names{"cls_token", "embeddings.cls_token", "class_token"};

/// A class token: what stands before its family's name, and that name.
struct FoundClassToken {
  std::string prefix;
  std::string_view name;
};

/// The one class token of a file in which none stands where `backbone_prefixes` and the like say: behind a wrapper's name
/// that nobody told, as `_orig_mod.`, `net.` or `state_dict.model.backbone.`. Throws `CheckpointError` where there is none,
/// or where there are several, which it names.
[[nodiscard]] inline FoundClassToken only_class_token(const TensorFile& file) {
  std::vector<FoundClassToken> found;
  for (const StoredTensor& tensor : file.tensors()) {
    // The second ends like the first.
    for (const std::string_view name : {class_token_names[1], class_token_names[0], class_token_names[2]}) {
      if (tensor.name != name && !tensor.name.ends_with(join(".", name))) continue;
      found.push_back({tensor.name.substr(0, tensor.name.size() - name.size()), name});
      break;
    }
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    const std::string first = file.tensors().empty() ? std::string("it holds no tensors")
                                                     : join("its first tensor is '", file.tensors().front().name, "'");
    throw CheckpointError(file.path(), join("holds no backbone with a class token: no tensor 'cls_token', "
                                            "'embeddings.cls_token' or 'class_token', alone or after other words and a dot; ",
                                            first));
  }
  constexpr std::size_t most = 4;
  std::string candidates;
  for (std::size_t i = 0; i < std::min(found.size(), most); ++i)
    candidates += join(i > 0 ? ", " : "", "'", found[i].prefix, found[i].name, "'");
  if (found.size() > most) candidates += join(" and ", found.size() - most, " more");
  throw CheckpointError(file.path(), join("holds ", found.size(), " backbones, none of them after 'backbone.', 'module.', "
                                          "'teacher.', 'model.', 'state_dict.' or 'student.': ", candidates,
                                          "; expected one"));
}

/// One position table for class token and patches, as older files have it: (1,1+N,D).
inline constexpr std::string_view joint_table = "pos_embed";
inline constexpr std::string_view class_table = "cls_pos_embed";
inline constexpr std::string_view patch_table = "patch_pos_embed";

/// The first part of a published name: "blocks" of "blocks.0.ls1.gamma".
[[nodiscard]] inline std::string_view first_part(std::string_view name) { return name.substr(0, name.find('.')); }

/// Whether a tensor under the backbone's prefix, by its name behind it, would change what the backbone computes if it
/// were there; `own`: first parts of the layout's names.
///
/// Heads and state of a training do not. Where the prefix is a backbone's alone everything else does; else only
/// what stands within the backbone's parts, or is a token of a kind that some backbones have.
[[nodiscard]] inline bool belongs_to_network(std::string_view name, std::string_view prefix,
                                             const std::vector<std::string_view>& own) {
  const std::string_view part = first_part(name);
  const auto is_one_of = [&](const auto& names) { return std::find(names.begin(), names.end(), part) != names.end(); };
  // What is masked in other methods, references that a frozen backbone does not see, and a table beside its two halves.
  // And the norm of local views' class tokens, which only training has.
  constexpr std::array<std::string_view, 4> unused{"mask_token", "ref_learn_token", "pos_embed", "local_cls_norm"};
  constexpr std::array<std::string_view, 9> tokens{"register_tokens", "reg_token", "storage_tokens", "dist_token", "norm_pre",
                                                   "rope_embed", "rope", "pre_norm", "cls_norm"};
  if (is_one_of(unused)) return false;
  if (is_one_of(own) || is_one_of(tokens)) return true;
  if (!prefix.ends_with("backbone.")) return false;
  constexpr std::array<std::string_view, 7> heads{"head", "fc", "classifier", "project", "prototype", "optim", "pooler"};
  return std::none_of(heads.begin(), heads.end(),
                      [&](std::string_view word) { return part.find(word) != std::string_view::npos; });
}

/// The tensor of the file that a tensor of the layout is read from, and which of its elements.
struct StoredPart {
  std::string name;
  Index first = 0;
  bool joint = false;  ///< part of the joint position table
};

}  // namespace detail

/// The first prefix, in the order of preference, under which the file has a class token; without any, what stands before
/// its only one.
///
/// Order: `teacher.` (also behind `state_dict.` or `model.`) before none before `model.`, `state_dict.` and `student.` (as
/// `teacher.`); within each `backbone.`, none, `module.backbone.`,
/// `module.`. Throws `CheckpointError` if there is no class token at all, or if there are several behind other prefixes,
/// which it names.
[[nodiscard]] inline std::string backbone_prefix(const TensorFile& file) {
  for (const std::string& prefix : detail::backbone_prefixes()) {
    if (file.contains(prefix + "cls_token")) return prefix;
  }
  return detail::only_class_token(file).prefix;
}

namespace detail {

/// Whether all that a backbone says of an image goes through this tensor: of zeros alone it makes all images the same.
[[nodiscard]] inline bool all_goes_through(std::string_view name) {
  return name == "patch_embed.proj.weight" || name == "norm.weight";
}

/// Throws `CheckpointError` naming the tensor unless its values, as they were converted, can be a backbone's: finite,
/// and not all 0 where all goes through them.
template <std::floating_point T>
void require_weights(std::span<const T> values, const std::string& path, const StoredPart& part, std::string_view name) {
  require_finite(values, path, part.name, static_cast<std::size_t>(part.first));
  if (all_goes_through(name) && std::ranges::all_of(values, [](T x) { return x == T{0}; })) {
    throw CheckpointError(path, join("tensor '", part.name, "' is 0 everywhere; expected weights through which images can be "
                                     "told apart"));
  }
}

/// Calls read(i) for every i below `count`, on `threads` threads, this one among them, or fewer where the system has no more.
/// Where some throw, rethrows what the first of them by i threw. Test: tests/io/backbone_names.cpp.
template <class Read>
void read_each(std::size_t count, std::size_t threads, const Read& read) {
  std::atomic<std::size_t> next{0};
  std::mutex alone;
  std::size_t failed = count;
  std::exception_ptr problem;
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      try {
        read(i);
      } catch (...) {
        const std::scoped_lock lock(alone);
        if (i < failed) problem = std::current_exception();
        failed = std::min(failed, i);
        return;
      }
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      while (others.size() + 1 < std::min(threads, count)) others.emplace_back(work);
    } catch (const std::system_error&) {  // those that there are do it
    }
    work();
  }
  if (problem) std::rethrow_exception(problem);
}

/// How many threads read so many bytes: at most four, of the processors that there are, and one for less than 32 MB. They wait
/// for pages of the mapped file and of new memory, and count check sums.
[[nodiscard]] inline std::size_t threads_to_read(std::size_t bytes) {
  const std::size_t processors = std::max(std::thread::hardware_concurrency(), 1U);
  return std::clamp<std::size_t>(bytes / (std::size_t{16} << 20), 1, std::min<std::size_t>(processors, 4));
}

}  // namespace detail

/// Throws `CheckpointError` for weights whose patches do not see the class token, by a relation that features are not
/// read in. Tests: tests/io/backbone_names.cpp, tests/train/imitation_term.cpp.
inline void require_readable_relation(const TensorFile& file) {
  const auto relation = file.metadata().find("relation");
  if (relation == file.metadata().end()) return;
  for (const NamedRelation& known : named_relations) {
    if (known.relation == all_query_relation && (relation->second == known.name || relation->second == known.published_name)) {
      throw CheckpointError(file.path(), join("was trained with relation ", known.name,
                                              ", whose patches do not see the class token; expected weights of another relation"));
    }
  }
}

/// `load_backbone` into memory of zeros that nobody reads where this throws: it makes no second copy of the weights. Large
/// ones are read by up to four threads.
template <std::floating_point T, TensorLayout L>
LoadedBackbone load_fresh_backbone(std::span<T> flat, const L& layout, const TensorFile& file,
                                   std::optional<std::string> prefix = std::nullopt) {
  require_shape(static_cast<Index>(flat.size()) == layout.total(), "load_backbone: a buffer of ", flat.size(),
                " elements for a layout of ", layout.total());
  LoadedBackbone loaded;
  loaded.prefix = prefix ? *prefix : backbone_prefix(file);
  const auto stored_name = [&](std::string_view name) { return join(loaded.prefix, name); };
  const std::string joint_name = stored_name(detail::joint_table);
  const bool joint = file.contains(joint_name) && !file.contains(stored_name(detail::class_table)) &&
                     !file.contains(stored_name(detail::patch_table));
  std::vector<detail::StoredPart> parts;
  std::vector<std::string> missing;
  std::vector<std::string> misshapen;
  for (const auto& spec : layout.specs()) {
    const std::string_view name = spec.name.view();
    std::vector<Index> expected = spec.shape();
    detail::StoredPart part{.name = stored_name(name)};
    if (joint && name == detail::class_table) {
      parts.push_back({.name = joint_name, .joint = true});  // the shape is checked with the patches' table
      continue;
    }
    if (joint && name == detail::patch_table) {
      part = {.name = joint_name, .first = expected.back(), .joint = true};
      ++expected[1];
    }
    if (!file.contains(part.name)) {
      missing.push_back(join("'", part.name, "' ", shape_text(expected)));
    } else if (file.shape(part.name) != expected) {
      misshapen.push_back(join("'", part.name, "' is ", shape_text(file.shape(part.name)), ", expected ",
                               shape_text(expected)));
    }
    parts.push_back(std::move(part));
  }
  const auto refuse = [&](const std::vector<std::string>& problems, std::string_view kind) {
    if (problems.empty()) return;
    const std::string more =
        problems.size() > 1 ? join(" (and ", problems.size() - 1, " more)") : std::string();
    throw CheckpointError(file.path(), join(kind, problems.front(), more));
  };
  refuse(misshapen, "does not fit this architecture: ");
  refuse(missing, "lacks the tensor ");
  std::vector<std::string_view> own;
  for (const auto& spec : layout.specs()) own.push_back(detail::first_part(spec.name.view()));
  std::vector<std::string> foreign;
  for (const auto& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    if (!name.starts_with(loaded.prefix)) continue;
    const auto used = [&](const detail::StoredPart& part) { return part.name == name; };
    if (std::any_of(parts.begin(), parts.end(), used)) continue;
    if (detail::belongs_to_network(name.substr(loaded.prefix.size()), loaded.prefix, own))
      foreign.push_back(join("'", name, "' ", shape_text(file.shape(name))));
  }
  refuse(foreign, "is of another network: this architecture has no tensor ");

  for (const detail::StoredPart& part : parts) {
    const ElementType type = file.tensor(part.name).type;
    if (!is_floating(type)) {
      throw CheckpointError(file.path(), join("tensor '", part.name, "' holds ", element_name(type),
                                              "; expected F64, F32, F16 or BF16"));
    }
  }
  const std::vector<T> table = joint ? file.read<T>(joint_name) : std::vector<T>();
  detail::read_each(parts.size(), detail::threads_to_read(flat.size_bytes()), [&](std::size_t i) {
    const auto& spec = layout.specs()[i];
    const auto out = flat.subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
    if (parts[i].joint) {
      std::copy_n(table.begin() + parts[i].first, out.size(), out.begin());
    } else {
      file.read_into(out, parts[i].name);
    }
    detail::require_weights(std::span<const T>(out), file.path(), parts[i], spec.name.view());
  });
  for (const detail::StoredPart& part : parts) {
    if (loaded.given.empty() || loaded.given.back() != part.name) loaded.given.push_back(part.name);
  }
  loaded.ignored = file.tensors().size() - loaded.given.size();
  return loaded;
}

/// Reads a backbone's tensors into flat (layout.total()) =, gaps between tensors zero.
///
/// Any stored floating type is converted; whole numbers are refused, and so is what is not finite afterwards, or is 0
/// everywhere in the patch embedding or the last norm's weight. One table `pos_embed` (1,1+N,D) is split into the class
/// token's row and the patches' rows. Other tensors of the file (heads, optimisers, other networks) are ignored, but none of the
/// backbone's own: a file with layer scale, register tokens or more blocks holds another network. `prefix`: what
/// stands before the names; by default `backbone_prefix`. Throws `CheckpointError` naming what is missing,
/// misshapen (with both shapes), of another network, or no weights; flat is unchanged then. Test:
/// checkpoints.safetensors (tests/features/features.cpp).
template <std::floating_point T, TensorLayout L>
LoadedBackbone load_backbone(std::span<T> flat, const L& layout, const TensorFile& file,
                             std::optional<std::string> prefix = std::nullopt) {
  std::vector<T> all(flat.size());
  LoadedBackbone loaded = load_fresh_backbone(std::span<T>(all), layout, file, std::move(prefix));
  std::copy(all.begin(), all.end(), flat.begin());
  return loaded;
}

/// Writes the tensors of flat (layout.total()) whose names begin with `prefix`, without it, as one
/// safetensors file.
///
/// For a backbone alone the prefix is empty; for a whole network it is "backbone.". The file appears whole or
/// not at all. Throws `FileError`; `OptionError` if no tensor has the prefix.
template <std::floating_point T, TensorLayout L>
void save_backbone(const std::string& path, std::span<const T> flat, const L& layout,
                   const std::map<std::string, std::string>& metadata = {}, std::string_view prefix = {}) {
  require_shape(static_cast<Index>(flat.size()) == layout.total(), "save_backbone: a buffer of ", flat.size(),
                " elements for a layout of ", layout.total());
  SafetensorsWriter writer;
  for (const auto& [key, value] : metadata) writer.metadata(key, value);
  bool any = false;
  for (const auto& spec : layout.specs()) {
    const std::string_view name = spec.name.view();
    if (!name.starts_with(prefix)) continue;
    any = true;
    writer.add(std::string(name.substr(prefix.size())), spec.shape(),
               flat.subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size)));
  }
  if (!any) throw OptionError("prefix", prefix, "the beginning of a tensor's name");
  writer.write(path);
}

/// The same for weights that come with their layout, such as a trainer's `teacher()`.
template <class Weights>
  requires TensorLayout<decltype(Weights::layout)>
void save_backbone(const std::string& path, const Weights& weights,
                   const std::map<std::string, std::string>& metadata = {}) {
  save_backbone(path, std::span(weights.values), weights.layout, metadata);
}

}  // namespace dssl
