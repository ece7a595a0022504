// Folders, lists and memory as sources of images.
#include "catch.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <sys/stat.h>

#include <dssl/data/image_folder.hpp>
#include <dssl/data/skip.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

namespace {

using dssl::DataError;
using dssl::Image;
using dssl::ImageFolder;
using dssl::ImageList;
using dssl::Index;
using dssl::test::contains;
using dssl::test::TemporaryFolder;
using dssl::test::thrown_by;
using dssl::test::write_text;

/// An image whose every pixel has one value, to be told apart.
void put_image(const std::string& path, std::uint8_t value, Index channels = 3) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  Image<std::uint8_t> image(2, 3, channels);
  for (std::uint8_t& p : image.pixels()) p = value;
  dssl::write_png(path, image);
}

int first_value(const dssl::AnyImage& image) { return std::get<Image<std::uint8_t>>(image)(0, 0, 0); }

std::vector<std::string> names_below(const ImageFolder& folder, const std::string& root) {
  std::vector<std::string> names;
  for (Index i = 0; i < folder.size(); ++i) names.push_back(folder.name(i).substr(root.size() + 1));
  return names;
}

}  // namespace

TEST_CASE("a folder is listed in byte order, nested, endings in any case") {
  const TemporaryFolder root;
  put_image(root / "b.png", 1);
  put_image(root / "a.JPG", 2);
  put_image(root / "deep/er/c.Jpeg", 3);
  put_image(root / "deep/a.png", 4);
  put_image(root / ".hidden.png", 5);
  put_image(root / ".cache/d.png", 6);
  write_text(root / "notes.txt", std::string_view("no image"));
  write_text(root / "png", std::string_view("no ending"));

  const ImageFolder all(root.path());
  REQUIRE(names_below(all, root.path()) ==
          std::vector<std::string>{"a.JPG", "b.png", "deep/a.png", "deep/er/c.Jpeg"});
  REQUIRE(first_value(all.load(0)) == 2);
  REQUIRE(first_value(all.load(3)) == 3);

  const ImageFolder flat(root.path(), {.nested = false});
  REQUIRE(names_below(flat, root.path()) == std::vector<std::string>{"a.JPG", "b.png"});
  const ImageFolder jpegs(root.path(), {.extensions = {".jpg", ".jpeg"}});
  REQUIRE(names_below(jpegs, root.path()) == std::vector<std::string>{"a.JPG", "deep/er/c.Jpeg"});
  const ImageFolder grey(root.path(), {.read = {.channels = 1}});
  REQUIRE(dssl::channels(grey.load(0)) == 1);
}

TEST_CASE("pictures of other kinds are counted by ending, and .jfif is a JPEG") {
  const TemporaryFolder root;
  dssl::write_jpeg(root / "a.jfif", Image<std::uint8_t>(2, 3, 3));
  for (const char* const name : {"b.gif", "c.GIF", "deep/d.tga", "e.heic", "notes.txt", "mask.json", ".gif"})
    write_text(root / name, std::string_view("x"));
  const ImageFolder folder(root.path());
  REQUIRE(names_below(folder, root.path()) == std::vector<std::string>{"a.jfif"});
  REQUIRE(dssl::width(folder.load(0)) == 3);
  REQUIRE(folder.left_aside() == dssl::LeftAside{{".gif", 2}, {".heic", 1}, {".tga", 1}});
  REQUIRE(dssl::left_aside_text(folder.left_aside()) == "2 .gif, 1 .heic, 1 .tga");
  std::filesystem::remove(root / "a.jfif");
  REQUIRE(contains(thrown_by<DataError>([&] { ImageFolder{root.path()}; }),
                   "; of kinds that cannot be read: 2 .gif, 1 .heic, 1 .tga"));
}

TEST_CASE("a FIFO among images is counted and not opened, which would last for ever") {
  const TemporaryFolder root;
  dssl::write_jpeg(root / "a.jpg", Image<std::uint8_t>(2, 3, 3));
  for (const char* const name : {"b.jpg", "notes"}) REQUIRE(::mkfifo((root / name).c_str(), 0600) == 0);
  std::filesystem::create_symlink("b.jpg", root / "c.png");
  std::filesystem::create_symlink("/dev/null", root / "d.png");
  const ImageFolder folder(root.path());
  REQUIRE(names_below(folder, root.path()) == std::vector<std::string>{"a.jpg"});
  REQUIRE(folder.left_aside() == dssl::LeftAside{{"FIFO", 2}, {"device", 1}});
  REQUIRE(dssl::left_aside_text(folder.left_aside()) == "2 FIFO, 1 device");
  REQUIRE(thrown_by<dssl::ImageError>([&] { (void)dssl::read_image(root / "b.jpg"); }) ==
          root / "b.jpg" + ": is a FIFO; expected a regular file");
  REQUIRE(thrown_by<DataError>([&] { dssl::ImageList{root / "notes"}; }) ==
          root / "notes" + ": is a FIFO; expected a regular file");
}

TEST_CASE("links are followed, circles are not") {
  const TemporaryFolder root;
  put_image(root / "real/a.png", 1);
  std::filesystem::create_directory_symlink(root.path(), root / "real/back");
  std::filesystem::create_symlink(root / "real/a.png", root / "link.png");
  const ImageFolder folder(root.path());
  REQUIRE(names_below(folder, root.path()) == std::vector<std::string>{"link.png", "real/a.png"});
}

TEST_CASE("a folder without images, a missing folder and a file are errors that name it") {
  const TemporaryFolder root;
  std::filesystem::create_directory(root / "empty");
  write_text(root / "file.png", std::string_view("x"));
  const std::string empty = thrown_by<DataError>([&] { ImageFolder{root / "empty"}; });
  REQUIRE(contains(empty, root / "empty: the folder holds no images (.jpg, .png, .jpeg, .jfif, .jpe, .bmp, .dib, .pgm, .ppm, .pnm, .pfm"));
  REQUIRE(thrown_by<DataError>([&] { ImageFolder{root / "none"}; }) ==
          (root / "none: No such file or directory"));
  REQUIRE(contains(thrown_by<DataError>([&] { ImageFolder{root / "file.png"}; }), "expected a folder"));
}

TEST_CASE("many files are listed quickly") {
  const TemporaryFolder root;
  for (int i = 0; i < 1500; ++i) std::ofstream(root / ("image_" + std::to_string(i) + ".jpg"));
  const auto start = std::chrono::steady_clock::now();
  const ImageFolder folder(root.path());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  REQUIRE(folder.size() == 1500);
  // Generous, for loaded machines: a million take about a second.
  REQUIRE(seconds < 1.0);
}

TEST_CASE("text named .jpg and damaged images are passed over, named once") {
  const TemporaryFolder root;
  for (int i = 0; i < 6; ++i)
    put_image(root / ("good" + std::to_string(i) + ".png"), static_cast<std::uint8_t>(i));
  write_text(root / "text.jpg", std::string_view("I am no picture"));
  write_text(root / "cut.png", std::string_view("\x89PNG\r\n\x1a\n"));
  const ImageFolder folder(root.path());
  std::vector<std::string> warnings;
  dssl::SampleLoader<ImageFolder> loader(
      folder, 2 * folder.size(), [&](Index n) { return n % folder.size(); }, {},
      [&](std::string_view, std::string_view message) { warnings.emplace_back(message); });
  Index loaded = 0;
  while (loader.next()) ++loaded;
  REQUIRE(loaded == 16);
  REQUIRE(warnings.size() == 2);
  REQUIRE(contains(warnings[0], "cut.png: damaged PNG"));
  REQUIRE(contains(warnings[1], "text.jpg: not a " + std::string(dssl::detail::read_kinds) + " file (starts with 'I am no ')"));
  REQUIRE(loader.skips().unreadable() == 2);
  // In each epoch: cut.png, text.jpg, and cut.png again, as the list goes on from its start behind text.jpg.
  REQUIRE(loader.skips().skipped() == 6);
}

TEST_CASE("a list names images relative to itself") {
  const TemporaryFolder root;
  put_image(root / "data/a.png", 1);
  put_image(root / "data/sub dir/b.png", 2);
  write_text(root / "data/list.txt",
             std::string_view("# my images\n\nsub dir/b.png\r\n  a.png  \na.png\n" + (root / "data/a.png")));
  const ImageList list(root / "data/list.txt");
  REQUIRE(list.size() == 4);
  REQUIRE(list.name(0) == (root / "data/sub dir/b.png"));
  REQUIRE(first_value(list.load(0)) == 2);
  REQUIRE(list.name(3) == (root / "data/a.png"));
  for (Index i = 1; i < 4; ++i) REQUIRE(first_value(list.load(i)) == 1);
}

TEST_CASE("a list of any name, with labels, comments and names without ending, lists images") {
  const TemporaryFolder root;
  put_image(root / "a b.png", 1);
  put_image(root / "c.png", 2);
  write_text(root / "all.lst", std::string_view("\xef\xbb\xbf" "a b.png 0\r\nc 1 # second\r\n"));
  const ImageList list(root / "all.lst");
  REQUIRE(list.size() == 2);
  REQUIRE(list.name(0) == (root / "a b.png"));
  REQUIRE(list.name(1) == (root / "c.png"));
  REQUIRE(first_value(list.load(1)) == 2);
}

TEST_CASE("a missing and an empty list are errors that name it") {
  const TemporaryFolder root;
  write_text(root / "empty.txt", std::string_view("\n# nothing\n"));
  REQUIRE(contains(thrown_by<DataError>([&] { ImageList{root / "none.txt"}; }), "none.txt: cannot open"));
  REQUIRE(contains(thrown_by<DataError>([&] { ImageList{root / "empty.txt"}; }),
                   "empty.txt: the list names no images"));
}

TEST_CASE("images in memory") {
  const dssl::MemoryImages images({Image<float>(2, 3, 4), Image<std::uint16_t>(1, 1, 1)}, {"one", "two"});
  REQUIRE(images.size() == 2);
  REQUIRE(images.name(1) == "two");
  REQUIRE(dssl::channels(images.load(0)) == 4);
  REQUIRE(dssl::MemoryImages({Image<float>(1, 1, 1)}).name(0) == "image 0");
  REQUIRE_THROWS_AS(dssl::MemoryImages({}), DataError);
  REQUIRE_THROWS_AS(dssl::MemoryImages({Image<float>(1, 1, 1)}, {"a", "b"}), DataError);
}
