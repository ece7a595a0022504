// A stand-in for what examples/c/camera.cpp calls, declared as OpenCV 4 documents it; compiled and never linked.
#pragma once

#include <opencv2/core/mat.hpp>

namespace cv {
class VideoCapture {
 public:
  explicit VideoCapture(int camera);
  bool isOpened() const;
  bool read(Mat& frame);
};
}  // namespace cv
