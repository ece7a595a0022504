// The precisions that programs know by name.
#pragma once

#include <string>
#include <string_view>

#include <dssl/backend/precision.hpp>
#include <dssl/core/error.hpp>

namespace dssl::programs {

/// What `--precision` does, for the help texts.
inline constexpr const char* precision_help =
    "Of products and attention: f32, bf16 (sums, statistics, losses and weights stay in float), auto (bf16 where the "
    "processor multiplies it, else f32), or on a GPU tf32";

/// Throws `OptionError`; "auto" is none yet, see `precision_on`.
[[nodiscard]] inline Precision precision_of(std::string_view name) {
  if (name == "f32") return Precision::full;
  if (name == "bf16") return Precision::bf16;
  if (name == "tf32") return Precision::tf32;
  throw OptionError("precision", name, "f32, bf16, auto or tf32");
}

}  // namespace dssl::programs
