// What the image codecs share: reading options, the limit on size, and channel conversion.
// Tests: tests/io/image_file.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
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
  /// Largest height x width that is decoded, so that a small file cannot ask for all memory.
  Index largest_pixels = Index{1} << 28;
};

namespace detail {

/// Throws `ImageError` if an image of this size is empty or larger than the options allow.
inline void check_image_size(std::string_view path, std::uint64_t height, std::uint64_t width,
                             const ReadOptions& options) {
  if (height == 0 || width == 0) throw ImageError(path, join("has ", height, " x ", width, " pixels"));
  if (height > static_cast<std::uint64_t>(options.largest_pixels) / width) {
    throw ImageError(
        path, join("has ", height, " x ", width, " pixels; expected at most ", options.largest_pixels));
  }
}

/// All bytes of an image file; one that cannot be read is an unreadable image like any other.
[[nodiscard]] inline std::vector<std::byte> read_image_bytes(const std::string& path) {
  try {
    return read_bytes(path);
  } catch (const FileError& error) {
    // Drops the path that both messages start with.
    throw ImageError(path, std::string_view(error.what()).substr(path.size() + 2));
  }
}

}  // namespace detail

/// The image with `wanted` channels by the rule of `ReadOptions::channels`; `path` is named in the
/// `ImageError`.
[[nodiscard]] inline AnyImage with_channels(AnyImage image, Index wanted, std::string_view path) {
  const Index has = channels(image);
  if (wanted == 0 || wanted == has) return image;
  return std::visit(
      [&]<class T>(const Image<T>& from) -> AnyImage {
        if (has != 1 && !(has == 3 && wanted == 1)) {
          throw ImageError(path, join("has ", has, " channels; expected ", wanted));
        }
        Image<T> to(from.height(), from.width(), wanted);
        const std::span<const T> source = from.pixels();
        const std::span<T> target = to.pixels();
        const auto step = static_cast<std::size_t>(wanted);
        if (has == 1) {
          for (std::size_t i = 0; i < source.size(); ++i) {
            for (std::size_t c = 0; c < step; ++c) target[i * step + c] = source[i];
          }
        } else {
          for (std::size_t i = 0; i < target.size(); ++i) {
            target[i] = luma(source[i * 3], source[i * 3 + 1], source[i * 3 + 2]);
          }
        }
        return to;
      },
      image);
}

}  // namespace dssl
