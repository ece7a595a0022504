// That a mask is as large as its image, and why it may not be. Tests: tests/data/voc.cpp, tests/data/image_files.cpp.
#pragma once

#include <cstdint>
#include <string>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/io/mask_file.hpp>
#include <dssl/views/image.hpp>

namespace dssl::detail {

/// Whether the mask would fit if EXIF orientations were followed, or not, other than `read` says: it was drawn on the picture
/// as it is stored, or as viewers show it. Reads both files again.
[[nodiscard]] inline bool fits_turned(const std::string& mask, const std::string& image, ReadOptions read) {
  read.orient = !read.orient;
  try {
    const AnyImage marks = decode_mask(mask, read).image, picture = read_image(image, read);
    return height(marks) == height(picture) && width(marks) == width(picture);
  } catch (const ImageError&) {
    return false;
  }
}

/// Throws `DataError` naming both files where their sizes differ, and the option `orient` where that is why.
inline void require_same_size(const AnyImage& picture, const std::string& image, const Image<std::uint8_t>& marks,
                              const std::string& mask, const ReadOptions& read) {
  if (height(picture) == marks.height() && width(picture) == marks.width()) return;
  const char* why = "";
  if (fits_turned(mask, image, read)) {
    why = read.orient ? ", turned by its EXIF orientation; as the file stores it they fit (option 'orient')"
                      : "; turned by its EXIF orientation, which option 'orient' leaves out, they fit";
  }
  throw DataError(join(mask, ": the mask has ", marks.height(), " x ", marks.width(), " pixels, its image ", image, " has ",
                       height(picture), " x ", width(picture), why));
}

}  // namespace dssl::detail
