// Sets of as many images are told apart by names, order and sizes, wherever they lie.
#include <filesystem>
#include <string>

#include <dssl/data/fingerprint.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/synthetic.hpp>
#include "catch.hpp"
#include "temporary_folder.hpp"

using namespace dssl;
using test::TemporaryFolder;
using test::write_text;

namespace {

template <class Source>
std::string print_of(const Source& source) {
  return fingerprint_of(SourceView(source)).text();
}

}  // namespace

TEST_CASE("a fingerprint depends on names, sizes and order, and not on where images lie or how they are named") {
  const TemporaryFolder folder;
  for (const std::string at : {"here", "else/where"}) {
    std::filesystem::create_directories(std::filesystem::path(folder / at) / "x");
    write_text(folder / (at + "/a.png"), "one");
    write_text(folder / (at + "/b.png"), "three");
    write_text(folder / (at + "/x/c.png"), "");
  }
  const std::string here = print_of(ImageFolder(folder / "here"));
  CHECK(here == "8f9867b150f64b0b-bb7fa7ba8466c4a3");  // what runs hold; made of the formulas by another language
  CHECK(print_of(ImageFolder(folder / "here")) == here);
  CHECK(print_of(ImageFolder(folder / "else/where")) == here);
  write_text(folder / "here/list.txt", "a.png\nb.png\nx/c.png\n");
  CHECK(print_of(ImageList(folder / "here/list.txt")) == here);

  const auto names = here.substr(0, 16), sizes = here.substr(17);
  write_text(folder / "here/list.txt", "b.png\na.png\nx/c.png\n");
  CHECK(print_of(ImageList(folder / "here/list.txt")).substr(0, 16) != names);
  write_text(folder / "here/a.png", "ones");
  const std::string larger = print_of(ImageFolder(folder / "here"));
  CHECK(larger.substr(0, 16) == names);
  CHECK(larger.substr(17) != sizes);
  std::filesystem::rename(folder / "else/where/b.png", folder / "else/where/bb.png");
  const std::string renamed = print_of(ImageFolder(folder / "else/where"));
  CHECK(renamed.substr(0, 16) != names);
  CHECK(renamed.substr(17) == sizes);
}

TEST_CASE("generated scenes and images in memory are told apart by their sizes") {
  const auto scenes = [](Index size, Index seed) {
    return print_of(ImagesOf(SyntheticScenes({.seed = static_cast<std::uint64_t>(seed), .count = 3, .height = size, .width = size})));
  };
  CHECK(scenes(32, 1) == scenes(32, 1));
  CHECK(scenes(32, 1) != scenes(33, 1));
  CHECK(scenes(32, 1) != scenes(32, 2));
  const auto in_memory = [](Index width) { return print_of(MemoryImages({Image<float>(2, width, 1)})); };
  CHECK(in_memory(3) == in_memory(3));
  CHECK(in_memory(3) != in_memory(4));
  CHECK(in_memory(3) != print_of(MemoryImages({Image<std::uint8_t>(2, 3, 1)})));
}
