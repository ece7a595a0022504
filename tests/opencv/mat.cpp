// A cv::Mat as an image: viewed where it lies, or copied with its colours in order.
#include <cstdint>
#include <variant>
#include <vector>

#include <dssl/io/opencv.hpp>
#include "catch.hpp"
#include "thrown.hpp"

using namespace dssl;

TEST_CASE("A cv::Mat is read where it lies, its gaps between rows passed over", "[opencv]") {
  std::vector<std::uint8_t> bytes(2 * 16);  // two rows of 4 x 3 values, 16 bytes apart
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i);
  const cv::Mat mat(2, 4, CV_MAKETYPE(CV_8U, 3), bytes.data(), 16);
  const auto view = std::get<ImageView<std::uint8_t>>(view_of(mat));
  CHECK(view.height() == 2);
  CHECK(view.width() == 4);
  CHECK(view.channels() == 3);
  CHECK(view.row(0) == bytes.data());
  CHECK(view(1, 3, 2) == 16 + 11);

  std::vector<std::uint16_t> words(2 * 6, 7);  // 12 bytes a row: six words, of which five are pixels
  words[6 + 4] = 40000;
  const auto deep = std::get<ImageView<std::uint16_t>>(view_of(cv::Mat(2, 5, CV_MAKETYPE(CV_16U, 1), words.data(), 12)));
  CHECK(deep.stride() == 6);
  CHECK(deep(1, 4, 0) == 40000);

  std::vector<float> floats{0.25F, 0.5F};
  CHECK(std::get<ImageView<float>>(view_of(cv::Mat(1, 2, CV_MAKETYPE(CV_32F, 1), floats.data())))(0, 1, 0) == 0.5F);
}

TEST_CASE("A copy of a cv::Mat has its colours as red, green, blue", "[opencv]") {
  std::vector<std::uint8_t> bytes{1, 2, 3, 4, 5, 6};
  const AnyImage three = image_of(cv::Mat(1, 2, CV_MAKETYPE(CV_8U, 3), bytes.data()));
  CHECK(std::get<Image<std::uint8_t>>(three) == Image<std::uint8_t>(1, 2, 3, {3, 2, 1, 6, 5, 4}));
  std::vector<std::uint8_t> alpha{1, 2, 3, 4};
  CHECK(std::get<Image<std::uint8_t>>(image_of(cv::Mat(1, 1, CV_MAKETYPE(CV_8U, 4), alpha.data()))) ==
        Image<std::uint8_t>(1, 1, 4, {3, 2, 1, 4}));
  CHECK(std::get<Image<std::uint8_t>>(image_of(cv::Mat(1, 3, CV_MAKETYPE(CV_8U, 1), bytes.data()))) ==
        Image<std::uint8_t>(1, 3, 1, {1, 2, 3}));
}

TEST_CASE("A cv::Mat that is no image is refused in words", "[opencv]") {
  std::vector<std::int32_t> whole(4);
  CHECK(test::contains(test::thrown_by<ShapeError>([&] {
                         static_cast<void>(view_of(cv::Mat(2, 2, CV_MAKETYPE(CV_32S, 1), whole.data())));
                       }),
                       "cv::Mat of depth 4; expected CV_8U (0), CV_16U (2) or CV_32F (5)"));
  CHECK(test::contains(test::thrown_by<ShapeError>([] { static_cast<void>(view_of(cv::Mat())); }), "0 x 0"));
#ifdef DSSL_OPENCV_STAND_IN  // OpenCV itself makes no such matrix
  std::vector<std::uint8_t> bytes(16);
  CHECK(test::contains(test::thrown_by<ShapeError>([&] {
                         static_cast<void>(view_of(cv::Mat(2, 3, CV_MAKETYPE(CV_16U, 1), bytes.data(), 7)));
                       }),
                       "7 bytes apart"));
#endif
}
