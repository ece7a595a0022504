// A camera that says which parts are not normal: camera WEIGHTS BANK [CAMERA]
//
// Needs OpenCV. BANK is the bank.safetensors that dssl-defects wrote, WEIGHTS what it was made with. Frames are scored where
// they lie, blue, green, red; what is shown is white where the heat map lies above the threshold. Esc ends it.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/highgui.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>

#include <dssl.h>

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: %s WEIGHTS BANK [CAMERA]\n", argv[0]);
    return 2;
  }
  char error[512];
  char* end = nullptr;
  const long number = argc > 3 ? std::strtol(argv[3], &end, 10) : 0;
  if (argc > 3 && (end == argv[3] || *end != '\0' || number < 0 || number > 1000)) {
    std::fprintf(stderr, "camera: CAMERA is %s; expected its number, 0 to 1000\n", argv[3]);
    return 2;
  }
  dssl_scorer* scorer = nullptr;
  if (dssl_scorer_open(&scorer, argv[1], argv[2], nullptr, error, sizeof error) != DSSL_OK) {
    std::fprintf(stderr, "camera: %s\n", error);
    return 1;
  }
  const dssl_shape shape = dssl_scorer_shape(scorer);
  const dssl_threshold threshold = dssl_scorer_threshold(scorer);
  std::vector<float> map(static_cast<std::size_t>(shape.height) * static_cast<std::size_t>(shape.width));

  int status = 0;
  cv::VideoCapture camera(static_cast<int>(number));
  if (!camera.isOpened()) {
    std::fprintf(stderr, "camera: cannot open camera %ld\n", number);
    status = 1;
  }
  for (cv::Mat frame; camera.read(frame);) {
    const dssl_image image{frame.ptr<unsigned char>(0), frame.rows, frame.cols, frame.channels() == 3 ? DSSL_BGR : DSSL_GREY,
                           frame.step[0]};
    double score = 0;
    if (dssl_score(scorer, &score, map.data(), &image, error, sizeof error) != DSSL_OK) {
      std::fprintf(stderr, "camera: %s\n", error);
      status = 1;
      break;
    }
    const bool alarm = threshold.known != 0 && score >= threshold.score;
    std::printf("%s %.4f\n", alarm ? "DEFECT" : "normal", score);

    cv::Mat heat;
    cv::resize(cv::Mat(shape.height, shape.width, CV_32F, map.data()), heat, frame.size());
    frame.setTo(cv::Scalar::all(255), heat >= (threshold.known != 0 ? threshold.score : score));
    cv::imshow("dssl", frame);
    if (cv::waitKey(1) == 27) break;
  }
  dssl_scorer_close(scorer);
  return status;
}
