// Calibrations: cameras whose numbers may be, and homographies.
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <dssl/core/camera.hpp>
#include <dssl/io/camera_file.hpp>
#include <dssl/views/lens.hpp>

#include "fuzz.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string path = fuzz::file_of("camera.yml", fuzz::bytes_of(data, size));
  fuzz::parses<FileError>([&] {
    const Camera camera = read_camera(path);
    fuzz::require(camera.known(), "a camera that is read has a size");
    fuzz::require(camera_of_text(text_of(camera)) == camera, "a camera comes back from its text");
    fuzz::parses<OptionError>([&] {
      const Lens lens(camera);
      for (const double share : {0.0, 0.3, 1.0}) {
        const ScenePoint s{share * static_cast<double>(camera.width),
                           (1 - share) * static_cast<double>(camera.height)};
        const ScenePoint to = lens(s.x, s.y);
        fuzz::require(std::isfinite(to.x) && std::isfinite(to.y), "a lens has finite points");
        if (const auto back = lens.back(s)) {
          fuzz::require(std::isfinite(back->x) && std::isfinite(back->y), "the way back has finite points");
        }
      }
    });
  });
  fuzz::parses<FileError>([&] {
    for (const double value : read_homography(path))
      fuzz::require(std::isfinite(value), "a homography has finite numbers");
  });
  return 0;
}
