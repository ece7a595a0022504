// What fixed filters learned, in a file, so that images can be scored later without those that it was learned from.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/defects/bank_metadata.hpp>
#include <dssl/defects/boosted_trees.hpp>
#include <dssl/defects/filter_labels.hpp>
#include <dssl/defects/filter_probe.hpp>
#include <dssl/defects/local_filters.hpp>
#include <dssl/defects/row_gaussian.hpp>
#include <dssl/io/safetensors.hpp>

namespace dssl {

/// Writes what a probe learned as a safetensors file: tensors `filters.mean` (W), `filters.factor` (W,W) of its distribution, where
/// labelled images were learned from `trees.columns`, `trees.thresholds` (T, 2^D - 1), `trees.values` (T, 2^D) as in
/// `TreeNumbers`; metadata the probe's options, the trees' start and share and both scales, the `SizeTrend`, and what the caller
/// adds. Throws `DataError` before the probe learned, `FileError`. Test: tests/defects/filter_labels.cpp.
inline void save_filter_bank(const std::string& path, const FilterProbe& probe, const std::map<std::string, std::string>& metadata = {}) {
  if (probe.learned() == 0) throw DataError("filter probe: it was to be saved before it learned");
  const RowGaussian& normal = *probe.normal();
  const Index width = normal.width();
  const FilterProbeOptions& o = probe.options();
  SafetensorsWriter writer;
  writer.add("filters.mean", {width}, normal.mean());
  writer.add("filters.factor", {width, width}, normal.factor());
  for (const auto& [key, value] : {std::pair("patches", normal.count()), {"patch", o.filters.patch}, {"flatten", o.filters.flatten},
                                   {"border", o.border}, {"top", o.top}, {"channels", o.channels}})
    writer.metadata(key, join(value));
  writer.metadata("smoothing", exact_text(o.smoothing));
  detail::store_foreground(writer, o.foreground);
  detail::store_trend(writer, probe.size_trend());
  if (probe.labels()) {
    const FilterLabels& labels = *probe.labels();
    const TreeNumbers& n = labels.trees.numbers();
    const Index leaves = Index{1} << n.depth;
    writer.add("trees.columns", {labels.trees.size(), leaves - 1}, std::span<const std::int32_t>(n.columns));
    writer.add("trees.thresholds", {labels.trees.size(), leaves - 1}, std::span<const float>(n.thresholds));
    writer.add("trees.values", {labels.trees.size(), leaves}, std::span<const float>(n.values));
    for (const auto& [key, value] : {std::pair("trees_start", n.start), {"share", labels.scales.share}, {"distance_mean", labels.scales.distance.mean},
                                     {"distance_deviation", labels.scales.distance.deviation}, {"logit_mean", labels.scales.logit.mean},
                                     {"logit_deviation", labels.scales.logit.deviation}})
      writer.metadata(key, exact_text(value));
  }
  for (const auto& [key, value] : metadata) writer.metadata(key, value);
  writer.write(path);
}

namespace detail {

/// The mean and deviation of that name. Throws `CheckpointError`.
[[nodiscard]] inline NormalScale stored_scale(const SafetensorsFile& file, const std::string& name) {
  const NormalScale out{.mean = metadata_number(file, name + "_mean"), .deviation = metadata_number(file, name + "_deviation")};
  if (!std::isfinite(out.mean) || !(out.deviation > 0 && std::isfinite(out.deviation)))
    throw CheckpointError(file.path(), join("metadata '", name, "_mean' and '", name, "_deviation' are ", out.mean, " and ", out.deviation,
                                            "; expected finite numbers, the second above 0"));
  return out;
}

/// What labelled images added; nothing where the file has no trees. Throws `CheckpointError`, or `Error` without the path.
[[nodiscard]] inline std::optional<FilterLabels> stored_labels(const SafetensorsFile& file, Index width) {
  if (!file.contains("trees.values")) return std::nullopt;
  const std::vector<Index>& shape = file.shape("trees.values");
  Index depth = 0;
  while (depth < 12 && shape.size() == 2 && (Index{1} << depth) < shape[1]) ++depth;
  if (shape.size() != 2 || shape[1] != Index{1} << depth || depth == 0)
    throw CheckpointError(file.path(), join("tensor 'trees.values' is ", shape_text(shape), "; expected trees by leaves, of which there are 2, 4, 8 ... 4096"));
  const double share = metadata_number(file, "share");
  if (!(share >= 0 && share <= 1)) throw CheckpointError(file.path(), join("metadata 'share' is ", share, "; expected 0 to 1"));
  TreeNumbers numbers{.width = 7 * width,
                      .depth = depth,
                      .start = metadata_number(file, "trees_start"),
                      .columns = file.read<std::int32_t>("trees.columns"),
                      .thresholds = file.read<float>("trees.thresholds"),
                      .values = file.read<float>("trees.values")};
  return FilterLabels{.trees = BoostedTrees(std::move(numbers)), 
                      .scales = {.share = share, .distance = stored_scale(file, "distance"), .logit = stored_scale(file, "logit")}};
}

}  // namespace detail

/// The probe of such a file: it gives the same scores to the bit. Throws `CheckpointError` naming what is missing, misshapen or
/// no number that can be.
[[nodiscard]] inline FilterProbe load_filter_bank(const SafetensorsFile& file, const LoaderOptions& loader = {}, const SkipPolicy& skip = {}) {
  const auto whole = [&](const char* key, Index least, Index most) {
    const Index value = detail::metadata_count(file, key, least, -1);
    if (value > most) throw CheckpointError(file.path(), join("metadata '", key, "' is ", value, "; expected ", least, " to ", most));
    return value;
  };
  if (!file.contains("filters.mean")) throw CheckpointError(file.path(), "is no bank of fixed filters: it has no tensor 'filters.mean'");
  const FilterProbeOptions options{.filters = {.patch = whole("patch", 2, 4096), .flatten = whole("flatten", 1, Index{1} << 20)},
                                   .border = whole("border", 0, 1024),
                                   .foreground = detail::stored_foreground(file),
                                   .top = whole("top", 1, Index{1} << 30),
                                   .channels = whole("channels", 1, 1024),
                                   .smoothing = detail::metadata_measure(file, "smoothing"),
                                   .loader = loader,
                                   .skip = skip};
  if (options.smoothing > 16384)
    throw CheckpointError(file.path(), join("metadata 'smoothing' is ", options.smoothing, "; expected 0 to 16384 pixels"));
  const Index patches = detail::metadata_count(file, "patches", 2, -1);
  FilterProbe probe(options);
  try {
    RowGaussian normal(LocalFilters::width);
    normal.restore(file.read<double>("filters.mean"), file.read<double>("filters.factor"), patches);
    probe.take(std::move(normal), detail::stored_labels(file, LocalFilters::width), detail::stored_trend(file));
  } catch (const FileError&) {
    throw;
  } catch (const Error& error) {  // numbers that do not fit together, which know nothing of the file
    throw CheckpointError(file.path(), error.what());
  }
  return probe;
}

}  // namespace dssl
