// A bank of normal patches in a file, so that images can be scored later without the normal ones.
#pragma once

#include <cmath>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/bank_metadata.hpp>
#include <dssl/defects/defect_bank.hpp>
#include <dssl/io/safetensors.hpp>

namespace dssl {

namespace detail {

inline constexpr std::string_view bank_tensor = "bank";

/// The rules that a bank's rows went through. Throws `CheckpointError` naming the entry.
[[nodiscard]] inline PatchRules stored_rules(const SafetensorsFile& file) {
  return {.border = metadata_count(file, "border", 0, 0),
          .standardise = metadata_count(file, "standardise", 0, 0) != 0,
          .place = metadata_measure(file, "place"),
          .foreground = stored_foreground(file)};
}

}  // namespace detail

/// Writes a built bank as a safetensors file: tensor `bank` (n,W), metadata `radius`, `reweighting`, where they are
/// not the defaults `top`, `border`, `standardise`, `place` and `place_unit`, `foreground_masks`, `foreground_above`, `foreground_below`, `size_slope` and `size_usual` of its `SizeTrend`, and what the caller adds (the backbone, the input's size: whatever makes features comparable). Throws `DataError`
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
  writer.metadata("radius", exact_text(bank.radius()));
  writer.metadata("reweighting", join(bank.options().reweighting));
  const DefectBankOptions& options = bank.options();
  if (options.top != 1) writer.metadata("top", join(options.top));
  if (options.rules.border != 0) writer.metadata("border", join(options.rules.border));
  if (options.rules.standardise) writer.metadata("standardise", "1");
  if (options.rules.place > 0) {
    writer.metadata("place", exact_text(options.rules.place));
    writer.metadata("place_unit", exact_text(options.place_unit));
  }
  detail::store_foreground(writer, options.rules.foreground);
  detail::store_trend(writer, bank.size_trend());
  for (const auto& [key, value] : metadata) writer.metadata(key, value);
  writer.write(path);
}

/// The fingerprint of the weights that a bank was made with; empty where its file does not say.
[[nodiscard]] inline std::string fingerprint_in(const SafetensorsFile& file) {
  const auto own = file.metadata().find("weights_fingerprint");
  return own == file.metadata().end() ? std::string() : own->second;
}

/// Throws `CheckpointError` where a bank's file says (metadata `weights_fingerprint`) that it was made with other weights
/// than `weights`, of this fingerprint, which is of the kind that `fingerprint_in` is. Test: tests/programs/defects.sh.
inline void require_bank_of(const SafetensorsFile& file, const std::string& fingerprint, const std::string& weights) {
  const std::string own = fingerprint_in(file);
  if (own.empty() || own == fingerprint) return;
  throw CheckpointError(file.path(), join("was made with other weights than ", weights, " (fingerprint ", own, ", not ", fingerprint, ")"));
}

/// The bank of such a file, or of one from before rules were kept, which has none: it gives the same scores to the bit, on the same backend. `width`: of the features that it is
/// for; 0: any. Throws `CheckpointError` naming what is missing, misshapen, or of another width.
template <Backend B>
[[nodiscard]] DefectBank<B> load_defect_bank(const B& backend, const SafetensorsFile& file, Index width = 0) {
  using T = typename B::Scalar;
  const StoredTensor& stored = file.tensor(detail::bank_tensor);
  if (stored.shape.size() != 2 || stored.size() < 1) {
    throw CheckpointError(file.path(),
                          join("tensor 'bank' is ", shape_text(stored.shape), "; expected rows of patches"));
  }
  const PatchRules rules = detail::stored_rules(file);
  if (const Index own = stored.shape[1] - (rules.place > 0 ? 2 : 0); width != 0 && own != width)
    throw CheckpointError(file.path(), join("holds patches of width ", own, "; these features have ", width));
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
      {.width = stored.shape[1],
       .pool = stored.shape[0],
       .reweighting = static_cast<Index>(reweighting),
       .top = detail::metadata_count(file, "top", 1, 1),
       .rules = rules,
       .place_unit = detail::metadata_measure(file, "place_unit")});
  bank.restore(MatrixView<const T>(rows.data(), stored.shape[0], stored.shape[1]),
               radius);
  bank.set_size_trend(detail::stored_trend(file));
  return bank;
}

}  // namespace dssl
