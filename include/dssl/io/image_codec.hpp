// What the image codecs share: reading options, the limit on size, and channel conversion.
// Tests: tests/io/image_file.cpp.
#pragma once

#include <algorithm>
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
