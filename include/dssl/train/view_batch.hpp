// What a training step eats: views of a batch of images and the points that pair them.
// Tests: tests/train/training_parity.cpp.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/multi_crop_options.hpp>

namespace dssl {

/// Sizes of a batch: B images, V views of each (the first two are the global ones), K points a view pair.
struct BatchShape {
  Index batch = 0;
  Index channels = 0;
  Index points = 0;
  std::vector<ViewSize> views{};

  [[nodiscard]] Index view_count() const { return static_cast<Index>(views.size()); }
  [[nodiscard]] bool operator==(const BatchShape&) const = default;
};

/// The views of a batch in host memory.
struct ViewBatch {
  BatchShape shape;
  std::vector<std::vector<float>> images;  ///< a view each: (B,C,h,w), normalised; none: they are in the step's inputs
  std::vector<Point> teacher_points;       ///< (2,B,V,K): points of teacher view q shared with student view v
  std::vector<Point> student_points;       ///< (V,B,2,K): the same points in student view v
  std::vector<std::int64_t> samples;       ///< (B) numbers of the images in the data set
  Index epoch = 0;

  /// A batch of zeros of that shape, with images or without.
  static ViewBatch of(const BatchShape& shape, bool with_images = true) {
    ViewBatch out;
    out.shape = shape;
    for (const ViewSize& size : shape.views) {
      if (!with_images) break;
      out.images.emplace_back(static_cast<std::size_t>(shape.batch * shape.channels * size.height * size.width));
    }
    const auto pairs = static_cast<std::size_t>(2 * shape.batch * shape.view_count() * shape.points);
    out.teacher_points.resize(pairs);
    out.student_points.resize(pairs);
    out.samples.resize(static_cast<std::size_t>(shape.batch));
    return out;
  }
};

}  // namespace dssl
