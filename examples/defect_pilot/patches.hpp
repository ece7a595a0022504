// Patch features and masks of all images of a set, in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/nn/position.hpp>

#include "common/backbone.hpp"
#include "common/program.hpp"
#include "defect_pilot/exposure.hpp"
#include "defects/inspected.hpp"

namespace dssl::programs {

/// One image of a set.
struct PatchImage {
  Index index = 0;                  ///< in its source
  bool defect = false;              ///< in its mask as it lies in the file
  std::vector<float> patches;       ///< (N,W), each the mean of its 3 x 3 neighbourhood
  std::vector<std::uint8_t> truth;  ///< (h,w) at the input's size
};

struct PatchSet {
  GridSize grid{};
  Index width = 0;
  std::vector<PatchImage> images;
  Index unreadable = 0;
  double seconds = 0;  ///< of reading and features together
};

/// A backbone, whose kind is known at run time, that gives them.
class PatchReader {
 public:
  PatchReader() = default;
  PatchReader(const PatchReader&) = delete;
  PatchReader& operator=(const PatchReader&) = delete;
  virtual ~PatchReader() = default;

  /// Throws what went wrong; `Error` where the process was asked to stop.
  [[nodiscard]] virtual PatchSet read(const Inspected& images, const Exposure& how, const char* label,
                                      const Interruption& interruption) = 0;
  [[nodiscard]] virtual const std::string& description() const = 0;
};

/// The reader of the settings' architecture with those weights ("random" or a file). Throws `OptionError`,
/// `CheckpointError`, `FileError`.
[[nodiscard]] std::unique_ptr<PatchReader> make_patch_reader(const BackboneSettings& settings,
                                                             const std::string& weights);

}  // namespace dssl::programs
