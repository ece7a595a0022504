// The best weights of a run, by a figure: kept in a file of their own.
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/train/options.hpp>

namespace dssl {

/// Keeps the weights with the largest value of one figure.
///
/// The file is a backbone as `save_backbone` writes it, whole or not at all, with "best.figure", "best.value"
/// and "best.step" among its metadata: so file and record are never at odds, and a resumed run takes the
/// record from the file. Only a larger value replaces it: equal ones and what is not a number leave it as it
/// is. Test: tests/monitor/best_weights.cpp.
class BestWeights {
 public:
  /// What is in the file.
  struct Record {
    double value = 0;
    Index step = 0;  ///< updates made
  };

  /// Begins without a record: the first value that is offered replaces the file, if there is one.
  BestWeights(std::string path, std::string figure) : x_path(std::move(path)), x_figure(std::move(figure)) {}

  [[nodiscard]] const std::string& path() const { return x_path; }
  [[nodiscard]] const std::string& figure() const { return x_figure; }
  [[nodiscard]] const std::optional<Record>& record() const { return x_record; }

  /// Takes the record of an earlier part of the run from the file, if it is there. Throws `CheckpointError`
  /// where it was kept by another figure or has no record.
  void resume() {
    if (!std::filesystem::exists(x_path)) return;
    const auto file = SafetensorsFile::open(x_path);
    const std::string figure = x_text(file, "best.figure");
    if (figure != x_figure)
      throw CheckpointError(
          x_path, join("holds the best weights by '", figure, "'; this run keeps them by '", x_figure, "'"));
    const Record record{x_number<double>(file, "best.value"), x_number<Index>(file, "best.step")};
    // No value is larger than one that is no number: such a record would stand for ever.
    if (std::isnan(record.value)) throw CheckpointError(x_path, "'best.value' is 'nan'; expected a number");
    if (record.step < 0)
      throw CheckpointError(x_path, join("'best.step' is '", record.step, "'; expected a number of at least 0"));
    x_record = record;
  }

  /// Writes the weights if `value` is larger than that of the record; says whether it is. Throws `FileError`;
  /// the record and the file are as before then.
  template <class Weights>
  bool offer(double value, Index step, const Weights& weights,
             std::map<std::string, std::string> metadata = {}) {
    if (std::isnan(value) || (x_record && !(value > x_record->value))) return false;
    metadata["best.figure"] = x_figure;
    metadata["best.value"] = exact_text(value);
    metadata["best.step"] = join(step);
    save_backbone(x_path, weights, metadata);
    x_record = Record{value, step};
    return true;
  }

 private:
  [[nodiscard]] std::string x_text(const SafetensorsFile& file, const std::string& key) const {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end())
      throw CheckpointError(x_path, join("has no '", key, "'; expected the best weights of a run"));
    return found->second;
  }

  template <class Number>
  [[nodiscard]] Number x_number(const SafetensorsFile& file, const std::string& key) const {
    const std::string text = x_text(file, key);
    Number value{};
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || end != text.data() + text.size())
      throw CheckpointError(x_path, join("'", key, "' is '", text, "'; expected a number"));
    return value;
  }

  std::string x_path, x_figure;
  std::optional<Record> x_record;
};

}  // namespace dssl
