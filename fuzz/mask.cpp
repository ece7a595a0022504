// Mask files of any kind: ids, and what is marked.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <dssl/io/mask_file.hpp>

#include "fuzz.hpp"
#include "image_target.hpp"
#include "png_mutator.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string path = fuzz::file_of("in.png", fuzz::bytes_of(data, size));
  const ReadOptions options = fuzz::small_images();
  fuzz::parses<LabelError>([&] { fuzz::check_image(read_mask(path, options), ReadOptions{.channels = 1}); });
  for (const std::optional<int> threshold : {std::optional<int>(), std::optional<int>(100)}) {
    fuzz::parses<LabelError>([&] {
      const MarkedMask marked = read_marked_mask(path, options, threshold);
      fuzz::check_image(marked.mask, ReadOptions{.channels = 1});
      const auto pixels = marked.mask.pixels();
      fuzz::require(std::all_of(pixels.begin(), pixels.end(), [](std::uint8_t v) { return v <= 1; }),
                    "what is marked is 1, the rest 0");
      fuzz::require(marked.values >= 1 && marked.values <= 65536, "a mask has values");
    });
  }
  fuzz::parses<ImageError>([&] { fuzz::check_image(read_image(path, options), options); });
  return 0;
}
