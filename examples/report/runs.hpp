// What the other programs left behind: metrics, options, results.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace dssl::programs {

using Json = nlohmann::ordered_json;

/// A folder under a name that the report calls it by.
struct NamedFolder {
  std::string name;
  std::string path;

  /// From "NAME=FOLDER". Throws `OptionError`.
  [[nodiscard]] static NamedFolder parse(const std::string& field, const std::string& text);
};

/// A pretraining run.
struct PretrainRun {
  std::string name;
  Json options;               ///< options.json
  std::vector<Json> metrics;  ///< metrics.jsonl, a step each
  double seconds = 0;         ///< of all steps

  /// Reads the files of a run. Throws `FileError` naming the one that does not hold what it should.
  [[nodiscard]] static PretrainRun read(const NamedFolder& folder);

  /// An option by the name options.json gives it. Throws `FileError`.
  [[nodiscard]] double number(const std::string& option) const;
  [[nodiscard]] bool has_points() const { return !metrics.empty() && metrics.front().contains("point"); }
};

/// A segmentation probe.
struct ProbeRun {
  std::string name;
  std::string path;
  Json result;                        ///< result.json
  std::vector<std::string> overlays;  ///< file names in overlays/, sorted

  /// Reads the files of a probe. Throws `FileError`.
  [[nodiscard]] static ProbeRun read(const NamedFolder& folder);
};

}  // namespace dssl::programs
