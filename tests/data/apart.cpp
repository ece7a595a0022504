// Sets that must be apart are, whatever path leads to a file.
#include "catch.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include <dssl/data/apart.hpp>
#include <dssl/data/image_files.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

TEST_CASE("a common file is named, through links and lists too; the same set is told apart from an accident") {
  const TemporaryFolder folder;
  for (const char* const name : {"a/0.png", "a/1.png", "b/0.png"})
    write_text(folder / name, std::string_view("any"));
  std::filesystem::create_symlink(folder / "a/1.png", folder / "b/link.png");
  write_text(folder / "list.txt", std::string_view("a/0\n"));
  const ImageFiles a(folder / "a"), b(folder / "b"), list(folder / "list.txt");
  CHECK(shared_files(a, b) == std::vector<std::string>{folder / "b/link.png"});
  CHECK(shared_files(list, a) == std::vector<std::string>{folder / "a/0.png"});
  CHECK(contains(thrown_by<DataError>([&] { require_apart(a, "the normal images", b, "those to calibrate with"); }),
                 "b/link.png: is among the normal images and those to calibrate with (1 of 2 are)"));
  require_apart(list, "one", b, "other");
  CHECK(same_or_apart(list, "one", b, "other").empty());
  CHECK(contains(same_or_apart(a, "one", a, "other"), "one and other are the same files"));
  CHECK_THROWS_AS(same_or_apart(a, "one", b, "other"), DataError);
  CHECK_THROWS_AS(same_or_apart(a, "one", list, "other"), DataError);
}

TEST_CASE("shared files are counted, each image of the smaller set once for each time it is listed") {
  const TemporaryFolder folder;
  for (const char* const name : {"a/0.png", "a/1.png", "b/0.png"})
    write_text(folder / name, std::string_view("any"));
  std::filesystem::create_symlink(folder / "a/1.png", folder / "b/link.png");
  write_text(folder / "twice.txt", std::string_view("a/0\na/0\na/1\nb/0\n"));
  const ImageFiles a(folder / "a"), b(folder / "b"), twice(folder / "twice.txt");
  CHECK(count_shared_files(a, b) == 1);
  CHECK(count_shared_files(a, twice) == 3);
  CHECK(count_shared_files(twice, a) == 2);
  std::filesystem::remove(folder / "b/link.png");
  CHECK(count_shared_files(a, ImageFiles(folder / "b")) == 0);
}

TEST_CASE("a file of two classes is named with both, whatever paths lead to it") {
  const TemporaryFolder folder;
  for (const char* const name : {"cat/0.png", "cat/1.png", "dog/0.png"})
    write_text(folder / name, std::string_view("any"));
  require_one_label(ImageFiles(folder / "cat"));
  // The same file again, in the same class, is no doubt.
  std::filesystem::create_symlink(folder / "cat/0.png", folder / "cat/again.png");
  write_text(folder / "list.txt", std::string_view("cat/0 cat\ncat/0 cat\ndog/0 dog\n"));
  const ImageFiles list(folder / "list.txt");
  require_one_label(list, ImageFiles(folder / "cat"));
  std::filesystem::create_hard_link(folder / "cat/1.png", folder / "dog/7.png");
  CHECK(contains(thrown_by<DataError>([&] { require_one_label(ImageFiles({folder / "cat", folder / "dog"})); }),
                 "dog/7.png: is of class 'cat' and of class 'dog' (1 file is of more than one); expected one class for each"));
  // In lists, and of two sets.
  write_text(folder / "other.txt", std::string_view("cat/0 dog\ncat/1 dog\ncat/1 bird\n"));
  const ImageFiles other(folder / "other.txt");
  CHECK(contains(thrown_by<DataError>([&] { require_one_label(other); }), "cat/1.png: is of class 'dog' and of class 'bird'"));
  CHECK(contains(thrown_by<DataError>([&] { require_one_label(list, other); }),
                 "cat/0.png: is of class 'cat' and of class 'dog' (2 files are of more than one)"));
}
