// Scores of patches by comparison with the same place of a template.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/search/nearest.hpp>

namespace dssl {

/// Numbers of a comparison.
struct TemplateOptions {
  Nearness by = Nearness::cosine;
  Index reach = 1;  ///< patches that test and template may be shifted against each other, in each direction

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (reach < 0) throw OptionError("reach", reach, "0 or more");
  }
};

/// scores (N) =: how much each patch of a test image differs from its place in an aligned template; returns
/// the largest.
///
///   score(y, x) = min over |v - y| <= reach, |u - x| <= reach of d(test(y, x), template(v, u))
///
/// with d = 1 - cosine, or the Euclidean distance. What is missing in the test image shows as well as what is
/// added, as long as it changes the features of the patches there. test and pattern (N,D) in the backend's
/// memory, of one grid. On the host, in double: 2 (2 reach + 1)^2 N D FLOP. Throws `ShapeError`,
/// `OptionError`. Test: tests/defects/template_comparison.cpp.
template <Backend B, class T = typename B::Scalar>
float compare_with_template(const B& backend, std::span<float> scores, MatrixView<const T> test,
                            MatrixView<const T> pattern, GridSize grid, const TemplateOptions& options = {}) {
  options.validate();
  require_shape(test.rows() == grid.size() && pattern.rows() == grid.size() &&
                    test.cols() == pattern.cols() && static_cast<Index>(scores.size()) == grid.size() &&
                    grid.size() >= 1,
                "template comparison: ", test.rows(), " x ", test.cols(), " patches with ", pattern.rows(),
                " x ", pattern.cols(), " in a grid of ", grid.height, " x ", grid.width, ", room for ",
                scores.size(), " scores");
  const Index width = test.cols();
  const auto fetch = [&](MatrixView<const T> rows) {
    std::vector<T> host(static_cast<std::size_t>(rows.size()));
    backend.download(std::span<T>(host), rows.data());
    if (options.by == Nearness::distance) return host;
    for (Index i = 0; i < rows.rows(); ++i) {
      T* const row = host.data() + i * width;
      double sum = 0;
      for (Index d = 0; d < width; ++d) sum += static_cast<double>(row[d]) * static_cast<double>(row[d]);
      const double length = std::max(std::sqrt(sum), 1e-12);
      for (Index d = 0; d < width; ++d) row[d] = static_cast<T>(static_cast<double>(row[d]) / length);
    }
    return host;
  };
  const std::vector<T> a = fetch(test);
  const std::vector<T> b = fetch(pattern);
  float largest = 0;
  for (Index y = 0; y < grid.height; ++y) {
    for (Index x = 0; x < grid.width; ++x) {
      const T* const own = a.data() + (y * grid.width + x) * width;
      double least = std::numeric_limits<double>::infinity();
      for (Index v = std::max<Index>(0, y - options.reach); v <= std::min(grid.height - 1, y + options.reach);
           ++v) {
        for (Index u = std::max<Index>(0, x - options.reach);
             u <= std::min(grid.width - 1, x + options.reach); ++u) {
          const T* const other = b.data() + (v * grid.width + u) * width;
          double squared = 0;
          for (Index d = 0; d < width; ++d) {
            const double apart = static_cast<double>(own[d]) - static_cast<double>(other[d]);
            squared += apart * apart;
          }
          least = std::min(least, squared);
        }
      }
      // Of rows at unit length: |a - b|^2 = 2 (1 - cosine).
      const double score = options.by == Nearness::cosine ? least / 2 : std::sqrt(least);
      scores[static_cast<std::size_t>(y * grid.width + x)] = static_cast<float>(score);
      largest = std::max(largest, static_cast<float>(score));
    }
  }
  return largest;
}

}  // namespace dssl
