// Images of OpenCV: a cv::Mat as an image, viewed where it lies or copied with its colours in order.
// Needs OpenCV, and nothing else of dssl does. Tests: tests/opencv/mat.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <variant>

#include <opencv2/core/mat.hpp>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// The pixels of a matrix without a copy: (rows, cols, channels), CV_8U, CV_16U or CV_32F, a region of interest too.
///
/// Channels stay as they lie: three of them are blue, green, red where `cv::imread` made them, and training on such
/// images is as good as on red, green, blue, but weights that others trained, and grey made of colour, expect the
/// latter: `image_of`. Floats span 0 to 1. The matrix must keep its memory for as long as the view is used. Throws
/// `ShapeError` for an empty matrix, one of other than two dimensions, or of another depth.
[[nodiscard]] inline AnyImageView view_of(const cv::Mat& mat) {
  require_shape(mat.dims == 2 && mat.rows > 0 && mat.cols > 0, "cv::Mat of ", mat.dims, " dimensions, ", mat.rows, " x ",
                mat.cols, "; expected two dimensions of at least 1 each");
  const auto typed = [&mat]<PixelType T>(T /*zero*/) {
    require_shape(mat.step[0] % sizeof(T) == 0, "cv::Mat with rows ", mat.step[0], " bytes apart; expected a multiple of ",
                  sizeof(T));
    return ImageView<T>(mat.ptr<T>(0), mat.rows, mat.cols, mat.channels(), static_cast<Index>(mat.step[0] / sizeof(T)));
  };
  switch (mat.depth()) {
    case CV_8U: return typed(std::uint8_t{});
    case CV_16U: return typed(std::uint16_t{});
    case CV_32F: return typed(float{});
    default: break;
  }
  throw ShapeError(join("cv::Mat of depth ", mat.depth(), "; expected CV_8U (", CV_8U, "), CV_16U (", CV_16U, ") or CV_32F (",
                        CV_32F, ")"));
}

/// A copy of a matrix whose colours are blue, green, red (and alpha), as OpenCV's own functions make them: red, green,
/// blue (and alpha). Other numbers of channels are copied as they are. Throws `ShapeError` as `view_of`.
[[nodiscard]] inline AnyImage image_of(const cv::Mat& mat) {
  AnyImage out = view_of(mat).copy();
  std::visit(
      [](auto& image) {
        const Index channels = image.channels();
        if (channels != 3 && channels != 4) return;
        for (Index y = 0; y < image.height(); ++y) {
          auto* const row = image.row(y);
          for (Index x = 0; x < image.width(); ++x) std::swap(row[x * channels], row[x * channels + 2]);
        }
      },
      out);
  return out;
}

}  // namespace dssl
