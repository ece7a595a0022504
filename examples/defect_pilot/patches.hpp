// Patch features and masks of all images of a set, in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/nn/position.hpp>

#include "common/backbone.hpp"
#include "common/program.hpp"
#include "defect_pilot/exposure.hpp"
#include "defects/inspected.hpp"
#include "defects/look.hpp"

namespace dssl::programs {

/// One image of a set.
struct PatchImage {
  Index index = 0;      ///< in the inspected images
  std::string name{};
  bool defect = false;  ///< in its mask as it lies in the file, or pasted
  ImageFacts facts{};
  GridSize grid{};
  Index height = 0, width = 0;      ///< of `truth`
  std::vector<std::int32_t> cells;  ///< of the grid whose patches there are, ascending
  std::vector<float> patches;       ///< (n,W), a row a cell, each the mean of its 3 x 3 neighbourhood
  std::vector<std::uint8_t> truth;  ///< (h,w)
};

struct PatchSet {
  Index width = 0;
  Index patch = 0;  ///< pixels
  std::vector<PatchImage> images;
  bool padded = false;  ///< images lie in margins
  Index unreadable = 0;
  Index windows = 0, smaller = 0;  ///< with tiles
  double seconds = 0;              ///< of reading and features together

  /// Patches of all images.
  [[nodiscard]] Index rows() const {
    Index sum = 0;
    for (const PatchImage& image : images) sum += static_cast<Index>(image.cells.size());
    return sum;
  }
};

/// The cell of a grid of patches that a pixel of an image so wide lies in.
[[nodiscard]] constexpr std::size_t cell_of(Index pixel, Index width, GridSize grid, Index patch) {
  return static_cast<std::size_t>(pixel / width / patch * grid.width + pixel % width / patch);
}

/// The set with the patches that count, after the rules; places are left to the bank. Throws `DataError` naming the image of
/// which the border leaves nothing.
[[nodiscard]] PatchSet ruled(PatchSet set, const PatchRules& rules);

/// A backbone, whose kind is known at run time, that gives them.
class SetReader {
 public:
  SetReader() = default;
  SetReader(const SetReader&) = delete;
  SetReader& operator=(const SetReader&) = delete;
  virtual ~SetReader() = default;

  /// All patches, before any rule, of images with a patch on their foreground; the others are said and counted as unreadable. Throws what went wrong; `Error` where the process was asked to stop.
  [[nodiscard]] virtual PatchSet read(const PilotView& view, const LookSettings& look, const char* label,
                                      const Interruption& interruption) = 0;
  [[nodiscard]] virtual const std::string& description() const = 0;
  /// Throws `OptionError` for windows or a border that cannot be.
  virtual void require_usable(const LookSettings& look) const = 0;
};

/// The reader of the settings' architecture with those weights ("random" or a file). Throws `OptionError`,
/// `CheckpointError`, `FileError`.
[[nodiscard]] std::unique_ptr<SetReader> make_set_reader(const BackboneSettings& settings,
                                                         const std::string& weights);

}  // namespace dssl::programs
