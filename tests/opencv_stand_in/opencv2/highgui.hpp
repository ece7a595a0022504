// A stand-in for what examples/c/camera.cpp calls, declared as OpenCV 4 documents it; compiled and never linked.
#pragma once

#include <string>

#include <opencv2/core/mat.hpp>

namespace cv {
void imshow(const std::string& window, const Mat& picture);
int waitKey(int milliseconds);
}  // namespace cv
