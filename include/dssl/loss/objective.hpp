// The objective: self-distillation at the image level, at the point level, or both.
// Tests: tests/train/loss_parity.cpp.
#pragma once

#include <concepts>

#include <dssl/core/error.hpp>

namespace dssl {

/// Numbers of the objective; defaults are the published ones.
struct LossOptions {
  double alpha = 0.5;                ///< weight of the image level where both levels are on
  double student_temperature = 0.1;
  double centre_momentum = 0.9;
  bool image_all_views = false;      ///< student views of the image level: all, or the two global ones
  bool point_all_views = true;       ///< the same for the point level

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate() const {
    if (!(alpha >= 0 && alpha <= 1)) throw OptionError("loss.alpha", alpha, "0 to 1");
    if (!(student_temperature > 0)) throw OptionError("loss.student_temperature", student_temperature, "above 0");
    if (!(centre_momentum >= 0 && centre_momentum < 1)) {
      throw OptionError("loss.centre_momentum", centre_momentum, "at least 0 and below 1");
    }
  }
};

/// Image and point level: total = alpha image + (1 - alpha) point.
struct ImageAndPointLoss {
  static constexpr bool image = true;
  static constexpr bool point = true;
};

/// Class tokens only: total = image.
struct ImageLoss {
  static constexpr bool image = true;
  static constexpr bool point = false;
};

/// Points only: total = point.
struct PointLoss {
  static constexpr bool image = false;
  static constexpr bool point = true;
};

/// Weights of the two levels in the total.
template <class L>
[[nodiscard]] constexpr double image_weight(const LossOptions& options) {
  return !L::image ? 0.0 : L::point ? options.alpha : 1.0;
}
template <class L>
[[nodiscard]] constexpr double point_weight(const LossOptions& options) {
  return !L::point ? 0.0 : L::image ? 1.0 - options.alpha : 1.0;
}

}  // namespace dssl
