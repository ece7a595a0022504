// Writes a picture of a given size: make_image FILE HEIGHT WIDTH CHANNELS [VALUE...]. With values, that many upright stripes.
// A JPEG where the file's name ends in .jpg, where it ends in .tif a further page of it, else a PNG.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>

#include <dssl/core/error.hpp>
#include <dssl/io/jpeg.hpp>
#include <dssl/io/png.hpp>
#include <dssl/views/image.hpp>

#ifdef DSSL_WITH_TIFF
#include <tiffio.h>
#endif

namespace {

/// A page behind those that the file has, of LZW in strips of all rows.
void append_tiff(const std::string& path, [[maybe_unused]] const dssl::Image<std::uint8_t>& image) {
#ifdef DSSL_WITH_TIFF
  const std::unique_ptr<TIFF, decltype(&TIFFClose)> file(TIFFOpen(path.c_str(), "a"), &TIFFClose);
  if (!file) throw dssl::FileError(path, "cannot be opened");
  TIFFSetField(file.get(), TIFFTAG_IMAGEWIDTH, static_cast<std::uint32_t>(image.width()));
  TIFFSetField(file.get(), TIFFTAG_IMAGELENGTH, static_cast<std::uint32_t>(image.height()));
  TIFFSetField(file.get(), TIFFTAG_ROWSPERSTRIP, static_cast<std::uint32_t>(image.height()));
  TIFFSetField(file.get(), TIFFTAG_BITSPERSAMPLE, 8);
  TIFFSetField(file.get(), TIFFTAG_SAMPLESPERPIXEL, static_cast<int>(image.channels()));
  TIFFSetField(file.get(), TIFFTAG_PHOTOMETRIC, image.channels() < 3 ? PHOTOMETRIC_MINISBLACK : PHOTOMETRIC_RGB);
  TIFFSetField(file.get(), TIFFTAG_COMPRESSION, COMPRESSION_LZW);
  TIFFSetField(file.get(), TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  for (dssl::Index y = 0; y < image.height(); ++y) {
    dssl::Image<std::uint8_t> row(1, image.width(), image.channels());  // libtiff takes what may be changed
    std::copy_n(image.row(y), image.width() * image.channels(), row.row(0));
    if (TIFFWriteScanline(file.get(), row.row(0), static_cast<std::uint32_t>(y), 0) != 1) throw dssl::FileError(path, "cannot be written");
  }
  if (TIFFWriteDirectory(file.get()) != 1) throw dssl::FileError(path, "cannot be written");
#else
  throw dssl::FileError(path, "is a TIFF, and this build is without libtiff");
#endif
}

}  // namespace

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
  const std::string path = argv[1];
  if (path.ends_with(".jpg"))
    dssl::write_jpeg(path, image);
  else if (path.ends_with(".tif"))
    append_tiff(path, image);
  else
    dssl::write_png(path, image);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "make_image: %s\n", error.what());
  return 1;
}
