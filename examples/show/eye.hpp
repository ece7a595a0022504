// A backbone whose architecture is known at run time, looking at one image after the other.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/features/token_trace.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/pictures/patch_matches.hpp>

#include "show/settings.hpp"

namespace dssl::programs {

/// What was seen of one image, in host memory.
struct Seen {
  std::vector<float> patches;    // (N,D): patches, or references on a grid
  std::vector<float> reference;  // (D) of the token at the point; empty without
};

class Eye {
 public:
  Eye() = default;
  Eye(const Eye&) = delete;
  Eye& operator=(const Eye&) = delete;
  virtual ~Eye() = default;

  [[nodiscard]] virtual GridSize grid() const = 0;  ///< of the map
  [[nodiscard]] virtual Index width() const = 0;
  [[nodiscard]] virtual Index heads() const = 0;
  /// What images are normalised by.
  [[nodiscard]] virtual const PixelScale& pixels() const = 0;
  /// Backend, architecture and weights in a few lines.
  [[nodiscard]] virtual std::string describe() const = 0;
  /// Takes an input (C,h,w), with a reference token at `point` where the eye was opened with one.
  [[nodiscard]] virtual Seen look(std::span<const float> input, const std::optional<Point>& point) = 0;
  /// Of the last look.
  [[nodiscard]] virtual AttentionRow attention(Index block, Index head, TokenGroup group,
                                               Index number) const = 0;
  /// Best matches of patches (N,D) of one look among those of another.
  [[nodiscard]] virtual std::vector<PatchMatch> match(std::span<const float> from,
                                                      std::span<const float> to) const = 0;
};

/// The backbone that the settings name. `reference`: with a reference token. Throws `CheckpointError`, also
/// where the weights know no reference tokens, or others than those under the private relation;
/// `OptionError`.
[[nodiscard]] std::unique_ptr<Eye> open_eye(const ShowSettings& settings, bool reference);

}  // namespace dssl::programs
