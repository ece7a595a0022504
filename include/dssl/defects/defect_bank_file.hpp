// A bank of normal patches in a file, so that images can be scored later without the normal ones.
#pragma once

#include <charconv>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/defect_bank.hpp>
#include <dssl/io/safetensors.hpp>

namespace dssl {

namespace detail {

inline constexpr std::string_view bank_tensor = "bank";

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

}  // namespace detail

/// Writes a built bank as a safetensors file: tensor `bank` (n,W), metadata `radius`, `reweighting`, and what
/// the caller adds (the backbone, the input's size: whatever makes features comparable). Throws `DataError`
/// where the bank was not built, `FileError`. Test: tests/defects/defect_bank.cpp.
template <Backend B>
void save_defect_bank(const std::string& path, const DefectBank<B>& bank,
                      const std::map<std::string, std::string>& metadata = {}) {
  using T = typename B::Scalar;
  const MatrixView<const T> rows = bank.rows();
  if (rows.empty()) throw DataError("defect bank: it was to be saved before it was built");
  std::vector<T> host(static_cast<std::size_t>(rows.size()));
  bank.backend().download(std::span<T>(host), rows.data());
  SafetensorsWriter writer;
  writer.add(std::string(detail::bank_tensor), {rows.rows(), rows.cols()}, std::span<const T>(host));
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, bank.radius()).ptr;
  writer.metadata("radius", std::string(text, end));
  writer.metadata("reweighting", join(bank.options().reweighting));
  for (const auto& [key, value] : metadata) writer.metadata(key, value);
  writer.write(path);
}

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

/// Throws `CheckpointError` where a bank's file says (metadata `weights_fingerprint`) that it was made with other weights
/// than `weights`, of this fingerprint. Test: tests/programs/defects.sh.
inline void require_bank_of(const SafetensorsFile& file, const std::string& fingerprint, const std::string& weights) {
  const auto own = file.metadata().find("weights_fingerprint");
  if (own == file.metadata().end() || own->second == fingerprint) return;
  throw CheckpointError(file.path(), join("was made with other weights than ", weights, " (fingerprint ", own->second, ", not ",
                                          fingerprint, ")"));
}

/// The bank of such a file: it gives the same scores to the bit, on the same backend. `width`: of the features that it is
/// for; 0: any. Throws `CheckpointError` naming what is missing, misshapen, or of another width.
template <Backend B>
[[nodiscard]] DefectBank<B> load_defect_bank(const B& backend, const SafetensorsFile& file, Index width = 0) {
  using T = typename B::Scalar;
  const StoredTensor& stored = file.tensor(detail::bank_tensor);
  if (stored.shape.size() != 2 || stored.size() < 1) {
    throw CheckpointError(file.path(),
                          join("tensor 'bank' is ", shape_text(stored.shape), "; expected rows of patches"));
  }
  if (width != 0 && stored.shape[1] != width)
    throw CheckpointError(file.path(), join("holds patches of width ", stored.shape[1], "; these features have ", width));
  const std::vector<T> rows = file.template read<T>(detail::bank_tensor);
  for (const T value : rows) {
    if (!std::isfinite(value))
      throw CheckpointError(file.path(), "tensor 'bank' holds values that are not finite");
  }
  const double reweighting = detail::metadata_number(file, "reweighting");
  // Up to 2^53 every whole number is a double.
  if (!(reweighting >= 0 && reweighting <= 0x1p53 && reweighting == std::floor(reweighting)))
    throw CheckpointError(file.path(), join("metadata 'reweighting' is ", reweighting, "; expected a number of neighbours"));
  const double radius = detail::metadata_number(file, "radius");
  if (!(radius >= 0 && std::isfinite(radius)))
    throw CheckpointError(file.path(), join("metadata 'radius' is ", radius, "; expected a distance"));
  DefectBank<B> bank(
      backend,
      {.width = stored.shape[1], .pool = stored.shape[0], .reweighting = static_cast<Index>(reweighting)});
  bank.restore(MatrixView<const T>(rows.data(), stored.shape[0], stored.shape[1]),
               radius);
  return bank;
}

}  // namespace dssl
