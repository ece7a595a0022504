// Writes images for the programs that find defects: make_inspection FOLDER NORMAL GOOD DEFECT.
//
// normal/ holds striped images, test/good more of them, test/spot some with a bright spot, masks/spot their
// masks; pairs/ holds <n>_test.png and <n>_temp.png, boxes/<n>.txt boxes around spots, pairs.txt the numbers.
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/png.hpp>
#include <dssl/views/image.hpp>

namespace {

using Picture = dssl::Image<std::uint8_t>;
using dssl::Index;
constexpr Index height = 40, width = 56, side = 12;

struct Inspected {
  Picture image{height, width, 1};
  Picture mask{height, width, 1};
  Index top = 0, left = 0;
};

/// Stripes with noise; `spot`: a bright square at a random place.
Inspected make(std::uint64_t number, bool spot) {
  dssl::RandomStream random({.seed = 1, .sample = number});
  Inspected out;
  out.top = random.below(height - side);
  out.left = random.below(width - side);
  for (Index y = 0; y < height; ++y) {
    for (Index x = 0; x < width; ++x) {
      const bool bright = spot && y >= out.top && y < out.top + side && x >= out.left && x < out.left + side;
      const auto noise = static_cast<int>(random.below(20));
      out.image(y, x, 0) = static_cast<std::uint8_t>((bright ? 200 : x / 5 % 2 == 0 ? 100 : 60) + noise);
      out.mask(y, x, 0) = bright ? 255 : 0;
    }
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s FOLDER NORMAL GOOD DEFECT\n", argv[0]);
    return 2;
  }
  const std::string root = argv[1];
  for (const char* below : {"normal", "test/good", "test/spot", "masks/spot", "pairs", "boxes"})
    std::filesystem::create_directories(root + "/" + below);
  std::uint64_t number = 0;
  const auto name = [](Index i) { return dssl::join(i / 10, i % 10); };
  for (Index i = 0; i < std::stol(argv[2]); ++i)
    dssl::write_png(root + "/normal/" + name(i) + ".png", make(number++, false).image);
  for (Index i = 0; i < std::stol(argv[3]); ++i)
    dssl::write_png(root + "/test/good/" + name(i) + ".png", make(number++, false).image);
  std::string pairs;
  for (Index i = 0; i < std::stol(argv[4]); ++i) {
    const Inspected found = make(number, true);
    dssl::write_png(root + "/test/spot/" + name(i) + ".png", found.image);
    dssl::write_png(root + "/masks/spot/" + name(i) + ".png", found.mask);
    dssl::write_png(root + "/pairs/" + name(i) + "_test.png", found.image);
    dssl::write_png(root + "/pairs/" + name(i) + "_temp.png", make(number++, false).image);
    const std::string box =
        dssl::join(found.left, " ", found.top, " ", found.left + side, " ", found.top + side, " 1\n");
    dssl::write_bytes(root + "/boxes/" + name(i) + ".txt", std::as_bytes(std::span(box)));
    pairs += name(i) + "\n";
  }
  dssl::write_bytes(root + "/pairs.txt", std::as_bytes(std::span(pairs)));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "make_inspection: %s\n", error.what());
  return 1;
}
