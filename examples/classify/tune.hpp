// Few-label fine-tuning of the whole backbone, and what it makes of the test images.
#pragma once

#include <cstdint>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/data/image_files.hpp>

#include "classify/settings.hpp"
#include "common/program.hpp"

namespace dssl::programs {

/// Images that could be read, by their numbers, and the class that each was given.
struct Predictions {
  std::vector<Index> images;
  std::vector<std::int64_t> classes;
};

/// Trains the settings' backbone with a linear classifier of `classes` classes, then classifies `test`.
[[nodiscard]] Predictions tune_and_predict(const ClassifySettings& settings, Index classes, const ImageFiles& train,
                                           const std::vector<std::int64_t>& labels, const ImageFiles& test,
                                           const Interruption& interruption);

}  // namespace dssl::programs
