// Writes a picture of a given size: make_image FILE HEIGHT WIDTH CHANNELS [VALUE...]. With values, that many upright stripes.
// A JPEG where the file's name ends in .jpg, else a PNG.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>

#include <dssl/io/jpeg.hpp>
#include <dssl/io/png.hpp>
#include <dssl/views/image.hpp>

int main(int argc, char** argv) try {
  if (argc < 5) {
    std::fprintf(stderr, "usage: %s FILE HEIGHT WIDTH CHANNELS [VALUE...]\n", argv[0]);
    return 2;
  }
  dssl::Image<std::uint8_t> image(std::stol(argv[2]), std::stol(argv[3]), std::stol(argv[4]));
  const dssl::Index stripes = argc - 5;
  // A ramp a row: something to see that compresses well.
  for (dssl::Index y = 0; y < image.height(); ++y) {
    for (dssl::Index i = 0; i < image.width() * image.channels(); ++i) {
      const dssl::Index x = i / image.channels();
      image.row(y)[i] = static_cast<std::uint8_t>(stripes == 0 ? x : std::stol(argv[5 + x * stripes / image.width()]));
    }
  }
  if (std::string(argv[1]).ends_with(".jpg"))
    dssl::write_jpeg(argv[1], image);
  else
    dssl::write_png(argv[1], image);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "make_image: %s\n", error.what());
  return 1;
}
