#include <report/runs.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <sstream>
#include <system_error>

#include <common/json_text.hpp>
#include <dssl/core/error.hpp>
#include <dssl/io/mapped_file.hpp>

namespace dssl::programs {
namespace {

Json parse_file(const std::string& path) {
  const auto bytes = read_bytes(path);
  Json value = parse_json<Json>({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
  if (!value.is_object()) throw FileError(path, "is not a JSON object");
  return value;
}

/// A value for a message: its beginning where it is long.
std::string shown(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  const std::string text = json_text(value);
  constexpr std::size_t longest = 40;
  return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

void require_fields(const Json& value, const std::string& path, std::initializer_list<const char*> fields) {
  for (const char* const field : fields) {
    if (!value.contains(field)) throw FileError(path, join("has no field '", field, "'"));
  }
}

/// Of a file, or of what of it `where` says ("line 3").
void require_numbers(const Json& value, const std::string& path, const std::string& where,
                     std::initializer_list<const char*> fields) {
  for (const char* const field : fields) {
    if (!value[field].is_number())
      throw FileError(path, join(where, " has '", field, "' ", shown(value[field]), "; expected a number"));
  }
}

}  // namespace

NamedFolder NamedFolder::parse(const std::string& field, const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == text.size()) {
    throw OptionError(field, text, "NAME=FOLDER");
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

PretrainRun PretrainRun::read(const NamedFolder& folder) {
  const std::string options_path = folder.path + "/options.json";
  const std::string metrics_path = folder.path + "/metrics.jsonl";
  PretrainRun run{.name = folder.name, .options = parse_file(options_path), .metrics = {}};
  require_fields(run.options, options_path, {"options", "arch", "recipe", "backend", "compiler", "version"});
  const auto bytes = read_bytes(metrics_path);
  std::istringstream lines(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  for (std::string line; std::getline(lines, line);) {
    Json step = parse_json<Json>(line, metrics_path, join("line ", run.metrics.size() + 1, " "));
    if (!step.is_object())
      throw FileError(metrics_path, join("line ", run.metrics.size() + 1, " is no JSON object"));
    require_fields(step, metrics_path, {"step", "images", "loss", "seconds"});
    require_numbers(step, metrics_path, join("line ", run.metrics.size() + 1), {"step", "images", "loss", "seconds"});
    run.seconds += step["seconds"].get<double>();
    run.metrics.push_back(std::move(step));
  }
  if (run.metrics.empty()) throw FileError(metrics_path, "holds no steps");
  return run;
}

double PretrainRun::number(const std::string& option) const {
  const Json& all = options["options"];
  if (!all.contains(option) || !all[option].is_number()) {
    throw FileError(name + "/options.json", join("has no number '", option, "'"));
  }
  return all[option].get<double>();
}

ProbeRun ProbeRun::read(const NamedFolder& folder) {
  const std::string path = folder.path + "/result.json";
  ProbeRun run{.name = folder.name, .path = folder.path, .result = parse_file(path), .overlays = {}};
  require_fields(run.result, path, {"miou", "pixel_accuracy", "per_class", "settings"});
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path + "/overlays", problem)) {
    if (entry.path().extension() == ".png") run.overlays.push_back(entry.path().filename().string());
  }
  std::sort(run.overlays.begin(), run.overlays.end());
  return run;
}

}  // namespace dssl::programs
