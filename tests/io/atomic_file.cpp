// Files that appear whole or not at all.
#include "catch.hpp"

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/resource.h>

#include <dssl/io/atomic_file.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

namespace {

using dssl::AtomicFile;
using dssl::FileError;
using dssl::test::contains;
using dssl::test::read_text;
using dssl::test::TemporaryFolder;
using dssl::test::thrown_by;
using dssl::test::write_text;

/// Limits the size of files to be written, so that writing fails as on a full disk.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &x_before);
    rlimit small = x_before;
    small.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &small);
    x_handler = std::signal(SIGXFSZ, SIG_IGN);
  }
  ~SmallDisk() {
    ::setrlimit(RLIMIT_FSIZE, &x_before);
    std::signal(SIGXFSZ, x_handler);
  }

 private:
  rlimit x_before{};
  void (*x_handler)(int) = nullptr;
};

}  // namespace

TEST_CASE("a committed file holds what was written, and nothing else is left") {
  const TemporaryFolder folder;
  const std::string big(200000, 'b');
  AtomicFile file(folder / "out.txt");
  file.write("first ");
  file.write(big);
  file.write(" last");
  REQUIRE_FALSE(std::filesystem::exists(folder / "out.txt"));
  file.commit();
  REQUIRE(read_text(folder / "out.txt") == "first " + big + " last");
  REQUIRE(folder.entries() == 1);
}

TEST_CASE("a file that is given up leaves the old one as it was") {
  const TemporaryFolder folder;
  write_text(folder / "out.txt", std::string_view("old"));
  {
    AtomicFile file(folder / "out.txt");
    file.write("new");
  }
  REQUIRE(read_text(folder / "out.txt") == "old");
  REQUIRE(folder.entries() == 1);
}

TEST_CASE("a full disk is an error that names the file and leaves the old one as it was") {
  const TemporaryFolder folder;
  write_text(folder / "out.txt", std::string_view("old"));
  std::string error;
  {
    const SmallDisk disk(100000);
    error = thrown_by<FileError>([&] {
      AtomicFile file(folder / "out.txt");
      file.write(std::string(1000000, 'x'));
      file.commit();
    });
  }
  REQUIRE(contains(error, folder / "out.txt"));
  REQUIRE(contains(error, "cannot write: "));
  REQUIRE(read_text(folder / "out.txt") == "old");
  REQUIRE(folder.entries() == 1);

  // Where everything still fits into the buffer, the failure comes with the commit.
  {
    const SmallDisk disk(10);
    error = thrown_by<FileError>([&] {
      AtomicFile file(folder / "out.txt");
      file.write(std::string(1000, 'x'));
      file.commit();
    });
  }
  REQUIRE(contains(error, "cannot write: "));
  REQUIRE(read_text(folder / "out.txt") == "old");
  REQUIRE(folder.entries() == 1);
}

TEST_CASE("a folder that cannot be written to is an error that names the file") {
  const TemporaryFolder folder;
  const std::string missing = folder / "none/out.txt";
  const std::string error = thrown_by<FileError>([&] { AtomicFile{missing}; });
  REQUIRE(contains(error, missing));
  REQUIRE(contains(error, "cannot open to write: No such file or directory"));

  write_text(folder / "file", std::string_view("x"));
  REQUIRE(contains(thrown_by<FileError>([&] { AtomicFile{folder / "file/out.txt"}; }), "Not a directory"));
}

TEST_CASE("a folder in the file's place is an error and stays") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "out");
  const std::string error = thrown_by<FileError>([&] {
    AtomicFile file(folder / "out");
    file.write("x");
    file.commit();
  });
  REQUIRE(contains(error, "cannot rename into place"));
  REQUIRE(std::filesystem::is_directory(folder / "out"));
  REQUIRE(folder.entries() == 1);
}

TEST_CASE("two writers of one file do not mix") {
  const TemporaryFolder folder;
  AtomicFile one(folder / "out.txt");
  AtomicFile two(folder / "out.txt");
  one.write("one");
  two.write("two!");
  two.commit();
  one.commit();
  REQUIRE(read_text(folder / "out.txt") == "one");
  REQUIRE(folder.entries() == 1);
}
