// Pages of a TIFF as images: their names, each read without the others, thumbnails and masks left aside.
#include "catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/data/apart.hpp>
#include <dssl/data/fingerprint.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/io/mask_file.hpp>
#include <dssl/io/page_name.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "tiff_samples.hpp"

namespace {

using namespace dssl;
using namespace dssl::test;

using Grey = Image<std::uint8_t>;
using Names = std::vector<std::string>;

/// Pages of two pixels each.
std::string pages_of(std::string_view values, std::vector<std::uint32_t> kinds = {}) {
  return tiff_file({.width = 2, .height = 1, .pages = static_cast<std::uint16_t>(values.size() / 2), .kinds = std::move(kinds)}, values);
}

std::size_t number_at(const std::string& bytes, std::size_t at, std::size_t count) {
  std::size_t out = 0;
  for (std::size_t i = count; i-- > 0;) out = out << 8U | static_cast<unsigned char>(bytes[at + i]);
  return out;
}

/// Where the link to the next directory stands, of one in a file of little endian.
std::size_t link_of(const std::string& bytes, std::size_t directory) { return directory + 2 + 12 * number_at(bytes, directory, 2); }

/// Where the directories of such a file begin.
std::vector<std::size_t> directories_of(const std::string& bytes) {
  std::vector<std::size_t> out;
  for (std::size_t at = number_at(bytes, 4, 4); at != 0; at = number_at(bytes, link_of(bytes, at), 4)) out.push_back(at);
  return out;
}

template <class Source>
Names names_below(const Source& source, const std::string& folder) {
  Names out;
  for (Index i = 0; i < source.size(); ++i) out.push_back(source.name(i).substr(folder.size() + 1));
  return out;
}

/// The two pixels of each image.
template <class Source>
std::string values_of(const Source& source) {
  std::string out;
  for (Index i = 0; i < source.size(); ++i) {
    const auto image = std::get<Grey>(source.load(i));
    for (const std::uint8_t v : image.pixels()) out += static_cast<char>(v);
  }
  return out;
}

template <class Source>
std::string print_of(const Source& source) {
  return fingerprint_of(SourceView(source)).text();
}

std::string refused(const std::string& path) {
  return thrown_by<ImageError>([&] { static_cast<void>(read_image(path)); });
}

}  // namespace

TEST_CASE("TIFF pages: a name stands for a page where the ending before it is a TIFF's") {
  const auto place = [](std::string_view name) {
    const ImagePlace of = place_of_image(name);
    return join(of.file, "|", of.page);
  };
  CHECK(place("a/scan.tif, page 2") == "a/scan.tif|2");
  CHECK(place("scan.TIFF, page 12") == "scan.TIFF|12");
  CHECK(place("scan.tif, page 1") == "scan.tif|1");
  for (const std::string_view file : {"scan.tif", "scan.png, page 2", "scan, page 2", "scan.tif, page 02", "scan.tif, page 0", "scan.tif, page ",
                                      "scan.tif, page 2b", "scan.tif, page 1234567890", ".tif, page 2", ", page 2", "scan.tif, page -2"}) {
    CHECK(place(file) == join(file, "|1"));
  }
  CHECK(name_of_page("scan.tif", 1) == "scan.tif");
  CHECK(name_of_page("scan.tif", 3) == "scan.tif, page 3");
  CHECK(detail::without_ending("a/scan.tif, page 3") == "a/scan, page 3");
}

TEST_CASE("TIFF pages: each of a folder's is an image, in the file's order behind its first") {
  const TemporaryFolder folder;
  write_text(folder / "deep/a.tif", pages_of("abcdefghijklmnopqrstuv"));  // 11: by the bytes of names the 10th came before the 2nd
  write_text(folder / "deep/a.tif b.tif", pages_of("AB"));              // a blank is less than a comma
  write_text(folder / "z.TIFF", pages_of("CDEF"));
  write_text(folder / "no.tif", std::string_view("no TIFF"));
  write_text(folder / "b.gif", std::string_view("GIF89a"));
  const ImageFolder images(folder.path());
  Names expected{"deep/a.tif"};
  for (int page = 2; page <= 11; ++page) expected.push_back(join("deep/a.tif, page ", page));
  expected.insert(expected.end(), {"deep/a.tif b.tif", "no.tif", "z.TIFF", "z.TIFF, page 2"});
  REQUIRE(names_below(images, folder.path()) == expected);
  CHECK(images.left_aside() == LeftAside{{".gif", 1}});
  std::filesystem::remove(folder / "no.tif");
  CHECK(values_of(ImageFolder(folder.path())) == "abcdefghijklmnopqrstuvABCDEF");

  const ImageFiles files(folder.path());
  REQUIRE(files.size() == 14);
  CHECK(values_of(files) == "abcdefghijklmnopqrstuvABCDEF");
  CHECK(files.id(1) == "deep/a, page 2");
  CHECK(files.label(1) == "deep");
  CHECK(files.extent(1) == ImageExtent{1, 2});

  const ImageFolder first(folder.path(), {.pages = false});
  CHECK(names_below(first, folder.path()) == Names{"deep/a.tif", "deep/a.tif b.tif", "z.TIFF"});
  CHECK(first.left_aside() == LeftAside{{".gif", 1}, {"TIFF pages after the first", 11}});
  CHECK(ImageFiles(folder.path(), {.pages = false}).size() == 3);
}

TEST_CASE("TIFF pages: thumbnails and masks are left aside and counted, and pages keep the numbers they have in the file") {
  const TemporaryFolder folder;
  write_text(folder / "a.tif", pages_of("abcdefghij", {0, FILETYPE_REDUCEDIMAGE, FILETYPE_PAGE, FILETYPE_MASK, 0}));
  write_text(folder / "b.tif", pages_of("AB", {FILETYPE_REDUCEDIMAGE}));  // a first page is read whatever it says
  const ImageFolder images(folder.path());
  CHECK(names_below(images, folder.path()) == Names{"a.tif", "a.tif, page 3", "a.tif, page 5", "b.tif"});
  CHECK(values_of(images) == "abefijAB");
  CHECK(images.left_aside() == LeftAside{{"TIFF thumbnails or masks", 2}});
  CHECK(values_of(ImageFolder(folder.path(), {.pages = false})) == "abAB");
  std::filesystem::remove(folder / "b.tif");
  for (const std::string_view mode : {"wb", "w8", "wb8"}) {
    write_text(folder / "a.tif", tiff_file({.width = 2, .height = 1, .mode = mode, .pages = 4, .kinds = {0, FILETYPE_REDUCEDIMAGE, 0, FILETYPE_MASK}}, "abcdefgh"));
    CHECK(values_of(ImageFolder(folder.path())) == "abef");
  }
  // As old writers say it, by SubfileType: 2 a smaller copy, 3 a page.
  std::string old = pages_of("abcdef", {0, FILETYPE_REDUCEDIMAGE, FILETYPE_REDUCEDIMAGE});
  const std::vector<std::size_t> at = directories_of(old);
  for (const std::size_t page : {std::size_t{1}, std::size_t{2}}) {
    REQUIRE(number_at(old, at[page] + 2, 2) == 254);
    old.replace(at[page] + 2, 12, std::string("\xff\0\3\0\1\0\0\0", 8) + static_cast<char>(page + 1) + std::string(3, '\0'));
  }
  write_text(folder / "a.tif", old);
  CHECK(names_below(ImageFolder(folder.path()), folder.path()) == Names{"a.tif", "a.tif, page 3"});
}

TEST_CASE("TIFF pages: one is read on its own, damaged others or not, and one that is not there is said") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.tif";
  write_text(path, pages_of("abcdef"));
  std::string bytes = read_text(path);
  CHECK(contains(refused(join(path, ", page 4")), "a.tif, page 4: is a TIFF of 3 pages; expected page 4 of it"));
  CHECK(contains(refused(folder / "b.tif, page 2"), "b.tif, page 2: cannot open to read"));
  write_text(folder / "c.tif", std::string_view("P5 1 1 255\n\x01"));
  CHECK(contains(refused(folder / "c.tif, page 2"), "is a page of a file that is no TIFF"));
  CHECK(std::get<Grey>(read_image(folder / "c.tif")) == Grey(1, 1, 1, {1}));
  CHECK(std::get<Grey>(decode_tiff(std::as_bytes(std::span(bytes)), "in", {}, 3)) == Grey(1, 2, 1, {'e', 'f'}));

  // The first directory says a height of 0: width and height stand first in it, each of type SHORT (3) or LONG (4).
  const auto first = static_cast<std::size_t>(static_cast<unsigned char>(bytes[4]));
  std::string broken = bytes;
  for (std::size_t entry = first + 2; entry + 12 < broken.size(); entry += 12) {
    if (broken[entry] == '\x01' && broken[entry + 1] == '\x01') {  // ImageLength, 257
      std::fill_n(broken.begin() + static_cast<std::ptrdiff_t>(entry + 8), 4, '\0');
      break;
    }
  }
  REQUIRE(broken != bytes);
  write_text(path, broken);
  CHECK(contains(refused(path), "a.tif: "));
  CHECK(std::get<Grey>(read_image(join(path, ", page 2"))) == Grey(1, 2, 1, {'c', 'd'}));

  // A file may be larger than one image may be: its page is not.
  write_text(path, pages_of(std::string(398, '.') + "yz"));
  const ReadOptions small{.largest_bytes = 10000};
  REQUIRE(std::filesystem::file_size(path) > 20000);
  CHECK(std::get<Grey>(read_image(path, small)) == Grey(1, 2, 1, {'.', '.'}));
  CHECK(std::get<Grey>(read_image(join(path, ", page 200"), small)) == Grey(1, 2, 1, {'y', 'z'}));
}

TEST_CASE("TIFF pages: one whose directory says no size is an image that whoever reads it names, and those behind it are images") {
  const TemporaryFolder folder;
  const std::string good = pages_of("abcdefgh");
  for (const std::size_t page : {std::size_t{0}, std::size_t{1}}) {
    std::string bytes = good;
    const std::size_t width = directories_of(bytes)[page] + 2;
    REQUIRE(bytes.substr(width, 2) == std::string("\0\1", 2));  // tag 256, ImageWidth
    bytes.replace(width, 2, std::string("\xfd\0", 2));          // below the others: tag 253
    write_text(folder / "a.tif", bytes);
    const ImageFolder images(folder.path());
    REQUIRE(names_below(images, folder.path()) == Names{"a.tif", "a.tif, page 2", "a.tif, page 3", "a.tif, page 4"});
    CHECK(images.damaged().empty());
    CHECK(images.left_aside().empty());
    for (std::size_t i = 0; i < 4; ++i) {
      if (i == page) {
        CHECK(contains(refused(images.name(static_cast<Index>(i))), i == 0 ? "a.tif: " : "a.tif, page 2: "));
      } else {
        CHECK(std::get<Grey>(images.load(static_cast<Index>(i))) ==
              Grey(1, 2, 1, {static_cast<std::uint8_t>('a' + 2 * i), static_cast<std::uint8_t>('b' + 2 * i)}));
      }
    }
  }
}

TEST_CASE("TIFF pages: where the chain of directories is damaged the pages before are images, and the rest is counted and said") {
  const TemporaryFolder folder;
  const std::string good = pages_of("abcdefgh"), path = folder / "a.tif";
  const std::vector<std::size_t> at = directories_of(good);
  REQUIRE(at.size() == 4);
  const auto leads = [&](std::size_t page, std::size_t to) {
    std::string bytes = good;
    const std::size_t link = link_of(bytes, at[page - 1]);
    for (std::size_t i = 0; i < 4; ++i) bytes[link + i] = static_cast<char>(to >> (8 * i) & 255U);
    return bytes;
  };
  std::string crowded = good;
  crowded[at[2] + 1] = '\x20';  // more than 8192 entries
  crowded += std::string(200000, '\0');
  const std::string last = good.substr(0, link_of(good, at[3]) + 2);  // of which the link alone is cut
  for (const auto& [bytes, pages] : std::vector<std::pair<std::string, Index>>{{leads(2, good.size() + 8), 2},
                                                                               {leads(2, good.size()) + std::string(64, '\0'), 2},
                                                                               {leads(2, good.size() - 1), 2},
                                                                               {leads(3, at[0]), 3},
                                                                               {leads(1, at[0]), 1},
                                                                               {leads(3, at[1]), 3},
                                                                               {good.substr(0, at[3] + 20), 3},
                                                                               {crowded, 2},
                                                                               {last, 4}}) {
    write_text(path, bytes);
    const ImageFolder images(folder.path());
    REQUIRE(images.size() == pages);
    const std::string said = join("is a TIFF whose directories are damaged after page ", pages, "; what follows cannot be known");
    CHECK(images.damaged() == Names{join(path, ": ", said)});
    CHECK(images.left_aside() == LeftAside{{"TIFF files from a damaged directory on", 1}});
    for (Index i = 0; i < std::min<Index>(pages, 3); ++i) {
      CHECK(std::get<Grey>(images.load(i)) == Grey(1, 2, 1, {static_cast<std::uint8_t>('a' + 2 * i), static_cast<std::uint8_t>('b' + 2 * i)}));
    }
    CHECK(contains(refused(join(path, ", page ", pages + 1)), said));
    const ImageFiles files(folder.path());
    CHECK(files.damaged() == images.damaged());
    CHECK(files.left_aside() == images.left_aside());
  }
  write_text(folder / "b.tif", leads(1, 3));
  const ImageFolder two(folder.path());
  REQUIRE(two.damaged().size() == 2);  // in the order of names
  CHECK(contains(two.damaged()[0], "a.tif: is a TIFF whose directories are damaged after page 4"));
  CHECK(contains(two.damaged()[1], "b.tif: is a TIFF whose directories are damaged after page 1"));
  CHECK(two.left_aside() == LeftAside{{"TIFF files from a damaged directory on", 2}});
  std::filesystem::remove(folder / "b.tif");

  // A first that cannot be found is what whoever reads the file says.
  std::string lost = good;
  lost[6] = '\x7f';
  write_text(path, lost);
  const ImageFolder none(folder.path());
  CHECK(none.size() == 1);
  CHECK(none.damaged().empty());
  CHECK(contains(refused(path), "a.tif: damaged or unsupported TIFF"));
  CHECK(contains(refused(join(path, ", page 2")), "is a TIFF whose first directory is damaged"));
}

TEST_CASE("TIFF pages: lists name them, with or without the ending, and a file by itself is its first") {
  const TemporaryFolder folder;
  write_text(folder / "a.tif", pages_of("abcd"));
  write_text(folder / "sub/b.tif", pages_of("efgh"));
  write_text(folder / "list.txt", "a\na.tif, page 2 good\nsub/b, page 2\nsub/b.tif, page 1\n");
  const ImageList list(folder / "list.txt");
  CHECK(names_below(list, folder.path()) == Names{"a.tif", "a.tif, page 2", "sub/b.tif, page 2", "sub/b.tif, page 1"});
  CHECK(values_of(list) == "abcdghef");
  const ImageFiles files(folder / "list.txt");
  CHECK(values_of(files) == "abcdghef");
  CHECK(files.id(1) == "a, page 2");
  CHECK(files.label(1) == "good");
  CHECK(files.id(2) == "sub/b, page 2");
  CHECK(files.label(2) == "list");
  CHECK(detail::found_image(folder / "a, page 2") == folder / "a.tif, page 2");
  CHECK(detail::found_image(folder / "c, page 2").empty());
  write_text(folder / "a, page 2.png", std::string_view("x"));  // a file of that name comes first
  CHECK(detail::found_image(folder / "a, page 2") == folder / "a, page 2.png");
}

TEST_CASE("TIFF pages: sets of single pages keep their fingerprint, and pages of one file are images of their own") {
  const TemporaryFolder folder;
  write_text(folder / "one/a.tif", pages_of("ab"));
  write_text(folder / "one/b.tif", pages_of("cd"));
  const std::string single = print_of(ImageFolder(folder / "one"));
  CHECK(single == print_of(ImageFolder(folder / "one", {.pages = false})));

  write_text(folder / "two/a.tif", pages_of("abef"));
  write_text(folder / "two/b.tif", pages_of("cd"));
  const ImageFolder all(folder / "two");
  CHECK(print_of(all) != print_of(ImageFolder(folder / "two", {.pages = false})));
  write_text(folder / "two/list.txt", "a\nb\n");  // a run on first pages alone goes on with a list
  CHECK(print_of(ImageList(folder / "two/list.txt")) == print_of(ImageFolder(folder / "two", {.pages = false})));
  write_text(folder / "two/list.txt", "a.tif\na.tif, page 2\nb.tif\n");
  CHECK(print_of(ImageList(folder / "two/list.txt")) == print_of(all));
  write_text(folder / "two/list.txt", "a.tif, page 2\n");
  const ImageList second(folder / "two/list.txt");
  const std::string before = print_of(second);
  write_text(folder / "two/a.tif", pages_of("abefgh"));
  CHECK(print_of(second).substr(0, 16) == before.substr(0, 16));
  CHECK(print_of(second).substr(17) != before.substr(17));

  std::filesystem::create_symlink(folder / "two/a.tif", folder / "two/link.tif");
  write_text(folder / "link.txt", "two/link, page 2\n");
  CHECK(shared_files(second, ImageList(folder / "link.txt")).size() == 1);
  write_text(folder / "link.txt", "two/link\n");
  CHECK(shared_files(second, ImageList(folder / "link.txt")).empty());
}

TEST_CASE("TIFF pages: a mask may be one") {
  const TemporaryFolder folder;
  write_text(folder / "m.tif", pages_of(std::string_view("\0\1\2\3", 4)));
  CHECK(read_mask(folder / "m.tif") == Grey(1, 2, 1, {0, 1}));
  CHECK(read_mask(folder / "m.tif, page 2") == Grey(1, 2, 1, {2, 3}));
  // The page alone is read: a file may be larger than a mask may be.
  write_text(folder / "many.tif", pages_of(std::string(398, '.') + "\4\5"));
  REQUIRE(std::filesystem::file_size(folder / "many.tif") > 20000);
  CHECK(read_mask(folder / "many.tif, page 200", {.largest_bytes = 10000}) == Grey(1, 2, 1, {4, 5}));
  CHECK(contains(thrown_by<LabelError>([&] { static_cast<void>(read_mask(folder / "m.tif, page 3")); }), "is a TIFF of 2 pages"));
}
