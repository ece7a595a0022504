// What the image codecs share: reading options, the limit on size, and channel conversion.
// Tests: tests/io/image_file.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// How an image file becomes an image.
struct ReadOptions {
  /// Channels of the result; 0 keeps those of the file. One channel is repeated to any number, three channels
  /// become one by luma (0.299 R + 0.587 G + 0.114 B); any other change is an `ImageError`.
  Index channels = 0;
  /// Keeps transparency as the last channel; by default it is dropped.
  bool keep_alpha = false;
  /// Turns pictures and masks as their EXIF orientation says, as every viewer shows them.
  bool orient = true;
  /// The value of 16-bit images that is white, such as 4095 for cameras of 12 bits, and of images of floats; what is above it
  /// is white too. 0: 65535, of floats 1.
  Index white = 0;
  /// Largest height x width that is decoded, so that a small file cannot ask for all memory.
  Index largest_pixels = Index{1} << 27;
  /// Most bytes of a file, and of its pixels when decoded; of a TIFF's pixels alone, as of its pages one is read.
  Index largest_bytes = Index{1} << 30;

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (channels < 0) throw OptionError("channels", channels, "0 (the file's) or more");
    if (white < 0 || white > 65535) throw OptionError("white", white, "0 (65535, of floats 1) to 65535");
    if (largest_pixels < 1) throw OptionError("largest_pixels", largest_pixels, "at least 1");
    if (largest_bytes < 1) throw OptionError("largest_bytes", largest_bytes, "at least 1");
  }
};

namespace detail {

[[nodiscard]] inline bool starts_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](char c, std::byte b) { return static_cast<std::byte>(c) == b; });
}

/// Throws `ImageError` if a file of so many bytes is larger than the options allow.
inline void check_file_size(std::string_view path, std::size_t size, const ReadOptions& options) {
  if (size > static_cast<std::size_t>(options.largest_bytes)) {
    throw ImageError(path, join("has ", size, " bytes; expected at most ", options.largest_bytes, " bytes (option 'largest_bytes')"));
  }
}

/// Throws `ImageError` if an image of this size, with so many bytes a pixel, is empty or larger than the options
/// allow.
inline void check_image_size(std::string_view path, std::uint64_t height, std::uint64_t width,
                             std::uint64_t pixel_bytes, const ReadOptions& options) {
  if (height == 0 || width == 0) throw ImageError(path, join("has ", height, " x ", width, " pixels"));
  if (height > static_cast<std::uint64_t>(options.largest_pixels) / width) {
    throw ImageError(path, join("has ", height, " x ", width, " pixels; expected at most ", options.largest_pixels,
                                " (option 'largest_pixels')"));
  }
  if (height * width > static_cast<std::uint64_t>(options.largest_bytes) / pixel_bytes) {
    throw ImageError(path, join("has ", height, " x ", width, " pixels of ", pixel_bytes,
                                " bytes; expected at most ", options.largest_bytes, " bytes (option 'largest_bytes')"));
  }
}

/// Throws `ImageError` if a file of so many bytes cannot hold an image of this size, of which a byte holds at most so
/// many pixels: a few bytes that name a size get no memory for pixels that cannot follow.
inline void check_pixels_follow(std::string_view path, std::uint64_t height, std::uint64_t width,
                                std::uint64_t pixels_a_byte, std::size_t bytes) {
  if (height * width / pixels_a_byte > bytes) {
    throw ImageError(path, join("is truncated or damaged: ", height, " x ", width, " pixels cannot lie in ", bytes,
                                " bytes"));
  }
}

/// What `decode` gives; where it runs out of memory this one image is unreadable, and the run goes on.
template <class Decode>
[[nodiscard]] auto within_memory(std::string_view path, const Decode& decode) {
  try {
    return decode();
  } catch (const std::bad_alloc&) {
    throw ImageError(path, "does not fit into memory");
  }
}

/// What `read` gives of a file; one that cannot be read is an unreadable image like any other.
template <class Read>
[[nodiscard]] auto as_image(const std::string& path, const Read& read) {
  try {
    return within_memory(path, read);
  } catch (const ImageError&) {
    throw;
  } catch (const FileError& error) {
    throw ImageError(path, error.problem());
  }
}

/// All bytes of an image file. Throws `ImageError`, also where it is too large.
[[nodiscard]] inline std::vector<std::byte> read_image_bytes(const std::string& path, const ReadOptions& options) {
  return as_image(path, [&] {
    std::size_t size = 0;
    const FileDescriptor file = open_to_read(size, path);
    check_file_size(path, size, options);
    return first_bytes(size, size, file, path);
  });
}

/// Floats with `white` as white, the number 1: value / white.
inline void stretch_to_white(Image<float>& image, Index white) {
  if (white == 0) return;
  for (float& value : image.pixels()) value /= static_cast<float>(white);
}

/// 16-bit values with `white` as white: value x 65535 / white, rounded, at most 65535.
inline void stretch_to_white(Image<std::uint16_t>& image, Index white) {
  if (white == 0 || white == 65535) return;
  const auto top = static_cast<std::uint32_t>(white);
  for (std::uint16_t& value : image.pixels()) {
    value = value >= top ? std::uint16_t{65535} : static_cast<std::uint16_t>((value * 65535U + top / 2) / top);
  }
}

}  // namespace detail

/// The image with `wanted` channels by the rule of `ReadOptions::channels`; `path` is named in the
/// `ImageError`.
[[nodiscard]] inline HeldImage with_channels(HeldImage image, Index wanted, std::string_view path) {
  const Index has = channels(image.view());
  if (wanted == 0 || wanted == has) return image;
  return HeldImage(std::visit(
      [&]<class T>(const ImageView<T>& from) -> AnyImage {
        if (has != 1 && !(has == 3 && wanted == 1)) {
          throw ImageError(path, join("has ", has, " channels; expected ", wanted));
        }
        Image<T> to(from.height(), from.width(), wanted);
        for (Index y = 0; y < from.height(); ++y) {
          const T* const source = from.row(y);
          T* const target = to.row(y);
          if (has == 1) {
            for (Index x = 0; x < from.width(); ++x) std::fill_n(target + x * wanted, wanted, source[x]);
          } else {
            for (Index x = 0; x < from.width(); ++x) {
              target[x] = luma(source[x * 3], source[x * 3 + 1], source[x * 3 + 2]);
            }
          }
        }
        return to;
      },
      image.view()));
}
[[nodiscard]] inline AnyImage with_channels(AnyImage image, Index wanted, std::string_view path) {
  return with_channels(HeldImage(std::move(image)), wanted, path).take();
}

}  // namespace dssl
