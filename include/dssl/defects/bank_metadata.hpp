// Numbers beside the tensors of a bank's file: what every kind of bank keeps as strings.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/foreground.hpp>
#include <dssl/defects/size_trend.hpp>
#include <dssl/io/safetensors.hpp>

namespace dssl {

namespace detail {

/// The number a metadata entry holds. Throws `CheckpointError` naming the entry.
[[nodiscard]] inline double metadata_number(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  double value = 0;
  if (found != file.metadata().end()) {
    const std::string& text = found->second;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem == std::errc{} && end == text.data() + text.size()) return value;
  }
  throw CheckpointError(
      file.path(),
      join("metadata '", key, "' is ", found == file.metadata().end() ? "missing" : "'" + found->second + "'",
           "; expected a number, as in a bank of normal patches"));
}

/// The number, or `missing` where there is no such entry: files of before the entry was written.
[[nodiscard]] inline double metadata_number_or(const SafetensorsFile& file, const std::string& key, double missing) {
  return file.metadata().contains(key) ? metadata_number(file, key) : missing;
}

/// A count that is at least `least`, or `missing`. Throws `CheckpointError` naming the entry.
[[nodiscard]] inline Index metadata_count(const SafetensorsFile& file, const std::string& key, Index least, Index missing) {
  const double value = metadata_number_or(file, key, static_cast<double>(missing));
  // Up to 2^53 every whole number is a double.
  if (!(value >= static_cast<double>(least) && value <= 0x1p53 && value == std::floor(value)))
    throw CheckpointError(file.path(), join("metadata '", key, "' is ", value, "; expected a whole number from ", least, " on"));
  return static_cast<Index>(value);
}

/// A number that is 0 or more, or 0 where it is missing. Throws `CheckpointError` naming the entry.
[[nodiscard]] inline double metadata_measure(const SafetensorsFile& file, const std::string& key) {
  const double value = metadata_number_or(file, key, 0);
  if (!(value >= 0 && std::isfinite(value)))
    throw CheckpointError(file.path(), join("metadata '", key, "' is ", value, "; expected 0 or more"));
  return value;
}

/// The trend of scores over sizes; none where the file has none. Throws `CheckpointError` naming the entry.
[[nodiscard]] inline SizeTrend stored_trend(const SafetensorsFile& file) {
  const double slope = metadata_measure(file, "size_slope");
  if (slope == 0) return {};
  const double usual = metadata_number(file, "size_usual");
  if (!(usual >= 1 && std::isfinite(usual)))
    throw CheckpointError(file.path(), join("metadata 'size_usual' is ", usual, "; expected a number of patches, 1 or more"));
  return {.slope = slope, .usual = usual};
}

/// A foreground that a bank's file says. Throws `CheckpointError` where it cannot be.
inline Foreground foreground_of_file(std::string_view path, const Foreground& foreground) {
  try {
    foreground.validate();
  } catch (const OptionError& error) {
    throw CheckpointError(std::string(path), join("has a foreground that cannot be: ", error.what()));
  }
  return foreground;
}

/// The foreground; that of files without one is all of an image. Throws `CheckpointError` naming the entry.
[[nodiscard]] inline Foreground stored_foreground(const SafetensorsFile& file) {
  const auto value = [&](const char* key) -> std::optional<double> {
    if (!file.metadata().contains(key)) return std::nullopt;
    return metadata_number(file, key);
  };
  return foreground_of_file(file.path(), {.masks = metadata_count(file, "foreground_masks", 0, 0) != 0,
                                          .above = value("foreground_above"),
                                          .below = value("foreground_below")});
}

inline void store_foreground(SafetensorsWriter& writer, const Foreground& foreground) {
  if (foreground.masks) writer.metadata("foreground_masks", "1");
  if (foreground.above) writer.metadata("foreground_above", exact_text(*foreground.above));
  if (foreground.below) writer.metadata("foreground_below", exact_text(*foreground.below));
}

inline void store_trend(SafetensorsWriter& writer, const SizeTrend& trend) {
  if (!(trend.slope > 0)) return;
  writer.metadata("size_slope", exact_text(trend.slope));
  writer.metadata("size_usual", exact_text(trend.usual));
}

}  // namespace detail

/// Where image scores of a bank raise an alarm: taken from normal images that nothing was learned from, and the share of
/// such images that lies there or above.
struct BankThreshold {
  double score = 0;
  double false_alarms = 0;
};

/// The threshold in a bank's file (metadata `threshold`, `false_alarms`), if it has one. Throws `CheckpointError` where it
/// is no number. Test: tests/defects/defect_bank.cpp.
[[nodiscard]] inline std::optional<BankThreshold> bank_threshold(const SafetensorsFile& file) {
  if (!file.metadata().contains("threshold")) return std::nullopt;
  return BankThreshold{.score = detail::metadata_number(file, "threshold"),
                       .false_alarms = detail::metadata_number(file, "false_alarms")};
}

}  // namespace dssl
