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
