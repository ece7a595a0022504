// PNG: as an image, as indices, its palette; what was read is written and read again.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

#include <dssl/io/png.hpp>

#include "fuzz.hpp"
#include "image_target.hpp"
#include "png_mutator.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  for (const ReadOptions& options : fuzz::ways_to_read()) {
    fuzz::parses<ImageError>([&] {
      const AnyImage image = decode_png(bytes, "in.png", options);
      fuzz::check_image(image, options);
      std::visit(
          [&]<class T>(const Image<T>& pixels) {
            if constexpr (!std::is_same_v<T, float>) {
              ReadOptions whole{.keep_alpha = true};
              fuzz::require(decode_png(encode_png(pixels), "out.png", whole) == AnyImage(pixels),
                            "an image comes back as it was written");
            }
          },
          image);
    });
  }
  fuzz::parses<ImageError>([&] {
    const auto mask = decode_png_indices(bytes, "in.png", fuzz::small_images());
    fuzz::check_image(mask, fuzz::small_images());
    fuzz::require(decode_png_indices(encode_png_indices(mask), "out.png") == mask, "indices come back as they were written");
  });
  const std::string path = fuzz::file_of("in.png", bytes);
  fuzz::parses<ImageError>([&] { fuzz::require(read_png_palette(path).size() <= 256, "a palette has at most 256 colours"); });
  return 0;
}
