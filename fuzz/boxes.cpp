// Box files of defects: pixels inside are marked, and no others.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include <dssl/data/defect_files.hpp>
#include <dssl/io/png.hpp>

#include "fuzz.hpp"

using namespace dssl;

namespace {

/// A data set of one image whose boxes lie in `boxes/a.txt`.
const DefectFiles& data_set() {
  static const DefectFiles set = [] {
    const std::string root = fuzz::scratch() / "data";
    test::write_text(root + "/images/a.png", encode_png(Image<std::uint8_t>(5, 7, 1)));
    test::write_text(root + "/boxes/a.txt", std::string_view("0 0 1 1\n"));
    return DefectFiles(ImageFiles(root + "/images"), {.boxes = root + "/boxes"});
  }();
  return set;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const DefectFiles& set = data_set();
  static_cast<void>(fuzz::file_of("data/boxes/a.txt", fuzz::bytes_of(data, size)));
  fuzz::parses<DataError>([&] {
    const LabelledImage image = set.load(0);
    fuzz::require(image.mask.height() == 5 && image.mask.width() == 7, "a mask has its image's size");
    const auto pixels = image.mask.pixels();
    fuzz::require(std::all_of(pixels.begin(), pixels.end(), [](std::uint8_t v) { return v <= 1; }),
                  "what is marked is 1, the rest 0");
  });
  return 0;
}
