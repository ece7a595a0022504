// A stand-in for OpenCV's header of the same name: the few members of cv::Mat that dssl/io/opencv.hpp reads, under the
// names and with the meaning that OpenCV 4 documents, and declarations of those that examples/c/camera.cpp calls. Where OpenCV is installed, its own header is compiled instead.
#pragma once

#include <array>
#include <cstddef>

#define CV_8U 0
#define CV_16U 2
#define CV_32S 4
#define CV_32F 5
#define CV_MAKETYPE(depth, channels) ((depth) + (((channels) - 1) << 3))

namespace cv {

struct Size {
  int width = 0;
  int height = 0;
};

class Scalar {
 public:
  static Scalar all(double value);
};

class Mat {
 public:
  Mat() = default;
  /// Of somebody's memory; `row_bytes`: from row to row, 0: without a gap.
  Mat(int height, int width, int type, void* data, std::size_t row_bytes = 0)
      : dims(2), rows(height), cols(width), step{row_bytes}, x_type(type), x_data(static_cast<unsigned char*>(data)) {
    constexpr std::array<std::size_t, 8> bytes{1, 1, 2, 2, 4, 4, 8, 2};
    if (row_bytes == 0) {
      step[0] = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels()) * bytes[static_cast<std::size_t>(depth())];
    }
  }

  [[nodiscard]] int depth() const { return x_type & 7; }
  [[nodiscard]] int channels() const { return (x_type >> 3) + 1; }
  template <class T>
  [[nodiscard]] const T* ptr(int row) const {
    return reinterpret_cast<const T*>(x_data + static_cast<std::size_t>(row) * step[0]);
  }

  [[nodiscard]] Size size() const { return {cols, rows}; }
  Mat& setTo(const Scalar& value, const Mat& mask);

  int dims = 0;
  int rows = 0;
  int cols = 0;
  std::array<std::size_t, 1> step{};

 private:
  int x_type = 0;
  unsigned char* x_data = nullptr;
};

[[nodiscard]] Mat operator>=(const Mat& a, double value);

}  // namespace cv
