// Files that appear whole or not at all.
#include "catch.hpp"

#include <csignal>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

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
  REQUIRE(error == folder / "out" + ": is a folder; expected the name of a file to write");
  REQUIRE(std::filesystem::is_directory(folder / "out"));
  REQUIRE(folder.entries() == 1);
  const std::string later = thrown_by<FileError>([&] {
    AtomicFile file(folder / "later");
    std::filesystem::create_directory(folder / "later");
    file.commit();
  });
  REQUIRE(contains(later, "later: cannot rename into place"));
  REQUIRE(folder.entries() == 2);
}

TEST_CASE("a link stays, and what it leads to is replaced") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "far");
  write_text(folder / "far/there.txt", std::string_view("old"));
  std::filesystem::create_symlink("far/there.txt", folder / "near.txt");
  std::filesystem::create_symlink(folder / "near.txt", folder / "nearer.txt");
  write_text(folder / "far/there.txt.tmp-7", std::string_view("a dead writer's"));
  dssl::require_writable(folder / "nearer.txt");
  REQUIRE_FALSE(std::filesystem::exists(folder / "far/there.txt.tmp-7"));
  {
    AtomicFile file(folder / "nearer.txt");
    file.write("new");
    REQUIRE(folder.entries() == 3);  // the temporary file lies beside the one it becomes
    REQUIRE(read_text(folder / "far/there.txt") == "old");
    file.commit();
  }
  REQUIRE(std::filesystem::is_symlink(folder / "nearer.txt"));
  REQUIRE(std::filesystem::is_symlink(folder / "near.txt"));
  REQUIRE_FALSE(std::filesystem::is_symlink(folder / "far/there.txt"));
  REQUIRE(read_text(folder / "far/there.txt") == "new");

  // One whose file is yet to come, and those that lead nowhere.
  std::filesystem::create_symlink("far/coming.txt", folder / "ahead.txt");
  dssl::write_bytes(folder / "ahead.txt", {});
  REQUIRE(std::filesystem::exists(folder / "far/coming.txt"));
  std::filesystem::create_symlink("none/coming.txt", folder / "astray.txt");
  REQUIRE(contains(thrown_by<FileError>([&] { AtomicFile{folder / "astray.txt"}; }), "astray.txt: cannot open to write"));
  std::filesystem::create_symlink("circle.txt", folder / "circle.txt");
  REQUIRE(contains(thrown_by<FileError>([&] { AtomicFile{folder / "circle.txt"}; }),
                   "circle.txt: is a link that leads nowhere"));
}

TEST_CASE("a FIFO or a device is never replaced") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  std::filesystem::create_symlink("pipe", folder / "to-pipe");
  std::filesystem::create_symlink("/dev/null", folder / "to-null");
  for (const auto& [file, kind] : {std::pair{"pipe", "FIFO"}, {"to-pipe", "FIFO"}, {"to-null", "device"}}) {
    const char* const name = file;  // which clang++ 14 lets a lambda take
    const std::string wanted = std::string(": is a ") + kind + "; expected the name of a file to write";
    REQUIRE(thrown_by<FileError>([&] { dssl::require_writable(folder / name); }) == folder / name + wanted);
    REQUIRE(thrown_by<FileError>([&] { AtomicFile{folder / name}; }) == folder / name + wanted);
  }
  REQUIRE(folder.entries() == 3);

  // The system's link to an open file whose name was removed.
  write_text(folder / "gone", std::string_view("x"));
  const dssl::detail::FileDescriptor open(::open((folder / "gone").c_str(), O_RDONLY | O_CLOEXEC));
  std::filesystem::remove(folder / "gone");
  const std::string by_number = "/proc/self/fd/" + std::to_string(open.get());
  REQUIRE(contains(thrown_by<FileError>([&] { AtomicFile{by_number}; }), "is a link to a file without a name"));
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

TEST_CASE("what killed processes left of a file is removed, and nothing else") {
  const TemporaryFolder folder;
  const std::string path = folder / "checkpoint.safetensors";
  // A process that is killed while it writes.
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile file(path);
    file.write(std::string(100000, 'x'));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  const std::string left = path + ".tmp-" + std::to_string(child);
  REQUIRE(std::filesystem::exists(left));
  // One of this process's number, as processes in containers have it again and again.
  write_text(path + ".tmp-" + std::to_string(::getpid()), std::string_view("dead"));
  write_text(path + ".tmp-17-3", std::string_view("dead"));
  const std::vector<std::string> others{"checkpoint.safetensors.tmp-", "checkpoint.safetensors.tmp-1a",
                                        "checkpoint.safetensors.tmp-1-", "teacher.safetensors.tmp-17",
                                        "checkpoint.safetensors.tmp-1.bak", "my.checkpoint.safetensors.tmp-1"};
  for (const std::string& name : others) write_text(folder / name, std::string_view("somebody's"));
  AtomicFile writing(path);
  writing.write("alive");
  REQUIRE(dssl::remove_abandoned(path) == 3);
  REQUIRE_FALSE(std::filesystem::exists(left));
  for (const std::string& name : others) REQUIRE(std::filesystem::exists(folder / name));
  writing.commit();
  REQUIRE(read_text(path) == "alive");
  REQUIRE(folder.entries() == static_cast<std::ptrdiff_t>(others.size()) + 1);
  REQUIRE(dssl::remove_abandoned(folder / "none/there") == 0);
}

TEST_CASE("a folder is claimed by one process at a time, and a dead one's claim is no obstacle") {
  const TemporaryFolder folder;
  int ready[2] = {}, go[2] = {};
  REQUIRE(::pipe(ready) == 0);
  REQUIRE(::pipe(go) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const dssl::FolderClaim claim(folder.path());
    static_cast<void>(!::write(ready[1], "x", 1));
    char wait = 0;
    static_cast<void>(!::read(go[0], &wait, 1));
    ::_exit(0);
  }
  char got = 0;
  REQUIRE(::read(ready[0], &got, 1) == 1);
  const auto refused = [&] { return thrown_by<FileError>([&] { dssl::FolderClaim{folder.path()}; }); };
  REQUIRE(contains(refused(), folder.path() + ": is in use by another run (process " + std::to_string(child) + ")"));
  ::kill(child, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(std::filesystem::exists(folder / ".lock"));  // left by the dead
  {
    const dssl::FolderClaim claim(folder.path());
    REQUIRE(contains(refused(), "(process " + std::to_string(::getpid()) + ")"));
    REQUIRE_THROWS_AS(dssl::FolderClaim(folder / "."), FileError);  // the same folder by another name
  }
  REQUIRE(folder.entries() == 0);
  dssl::FolderClaim moved;
  moved = dssl::FolderClaim(folder.path());
  REQUIRE(contains(refused(), "is in use"));
  moved = {};
  REQUIRE(refused() == "(nothing was thrown)");
  REQUIRE_THROWS_AS(dssl::FolderClaim(folder / "none"), FileError);
  for (const int end : {ready[0], ready[1], go[0], go[1]}) ::close(end);
}

TEST_CASE("whether a file can be written shows before there is anything to write") {
  const TemporaryFolder folder;
  dssl::require_writable(folder / "new.bin");
  REQUIRE(folder.entries() == 0);
  write_text(folder / "old.bin", std::string_view("old"));
  write_text(folder / "old.bin.tmp-7", std::string_view("a dead writer's"));
  dssl::require_writable(folder / "old.bin");
  REQUIRE(read_text(folder / "old.bin") == "old");
  REQUIRE(folder.entries() == 1);
  std::filesystem::create_directory(folder / "in");
  REQUIRE(contains(thrown_by<FileError>([&] { dssl::require_writable(folder / "in"); }), "in: is a folder"));
  REQUIRE(contains(thrown_by<FileError>([&] { dssl::require_writable(folder / "none/o.bin"); }),
                   "none/o.bin: cannot open to write"));
}
