// A file that appears whole or not at all: written beside its place, flushed, then renamed. What a killed
// process left behind of such a file, and the claim of a process to a folder.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dssl/core/error.hpp>
#include <dssl/io/mapped_file.hpp>

namespace dssl {

namespace detail {

/// Folder of a path; "." where it names none.
[[nodiscard]] inline std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

/// Takes the system's lock on an open file, which ends with its process; false where another process has it, or
/// the file system knows no locks.
[[nodiscard]] inline bool lock_file(int file) { return ::flock(file, LOCK_EX | LOCK_NB) == 0; }

/// Whether an open file is still the one at `path`.
[[nodiscard]] inline bool is_at(int file, const std::string& path) {
  struct stat opened {}, there {};
  return ::fstat(file, &opened) == 0 && ::stat(path.c_str(), &there) == 0 && opened.st_dev == there.st_dev &&
         opened.st_ino == there.st_ino;
}

/// Where a file is written that is asked for at `path`: the file that links at `path` lead to, there already or not,
/// or `path` itself. Throws `FileError` where something lies there that is no regular file, or links lead nowhere.
[[nodiscard]] inline std::string place_to_write(const std::string& path) {
  struct stat there {}, link {};
  const bool exists = ::stat(path.c_str(), &there) == 0;
  if (exists) {
    const std::string_view kind = other_kind(there.st_mode);
    if (!kind.empty()) throw FileError(path, join("is a ", kind, "; expected the name of a file to write"));
  }
  std::string place = path;
  for (int links = 0; ::lstat(place.c_str(), &link) == 0 && S_ISLNK(link.st_mode); ++links) {
    char text[4096];
    const ssize_t length = ::readlink(place.c_str(), text, sizeof text);
    if (length <= 0 || length == static_cast<ssize_t>(sizeof text) || links == 40)
      throw FileError(path, "is a link that leads nowhere; expected the name of a file to write");
    const std::string to(text, static_cast<std::size_t>(length));
    place = to.front() == '/' ? to : folder_of(place) + "/" + to;
  }
  // Links of the system to open files without a name (/proc) do not lead where they say.
  struct stat at {};
  if (exists && (::stat(place.c_str(), &at) != 0 || at.st_dev != there.st_dev || at.st_ino != there.st_ino))
    throw FileError(path, "is a link to a file without a name; expected the name of a file to write");
  return place;
}

}  // namespace detail

/// Writes to `<path>.tmp-<pid>` in the folder of `path`; `commit` flushes it to the disk and renames it to
/// `path`. Where `path` is a link all of that happens to the file that it leads to, and the link stays.
///
/// Until `commit` returns, whatever stood at `path` before is untouched; without `commit` (an exception, an
/// early return) the temporary file is removed; a process that is killed leaves it, for `remove_abandoned`. Every
/// failure throws `FileError` with the path and the system's reason. Test: tests/io/atomic_file.cpp.
class AtomicFile {
 public:
  /// Opens the temporary file. Throws `FileError` if the folder is missing or may not be written, or what lies at the
  /// path is no regular file: a folder, a FIFO or a device stays what it is.
  explicit AtomicFile(std::string path) : x_path(std::move(path)), x_place(detail::place_to_write(x_path)) {
    const std::string stem = join(x_place, ".tmp-", ::getpid());
    x_temporary = stem;
    // A second writer of the same file in this process, or a file left by a crash, takes the next name.
    for (int attempt = 1;; ++attempt) {
      x_file =
          detail::FileDescriptor(::open(x_temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      if (x_file.is_open()) {
        // While it is locked nobody takes it for abandoned; one that was, between these two lines, is made anew.
        const bool locked = detail::lock_file(x_file.get());
        if (!locked || detail::is_at(x_file.get(), x_temporary)) break;
        errno = EEXIST;
      }
      if (errno != EEXIST || attempt == 100) {
        const int code = errno;
        x_temporary.clear();
        throw FileError(x_path, join("cannot open to write: ", detail::system_message(code)));
      }
      x_temporary = join(stem, "-", attempt);
    }
    x_buffer.reserve(buffer_bytes);
  }

  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  ~AtomicFile() {
    if (!x_temporary.empty()) ::unlink(x_temporary.c_str());
  }

  [[nodiscard]] const std::string& path() const noexcept { return x_path; }

  /// Appends bytes; large spans go to the system without a copy. Throws `FileError`, e.g. on a full disk.
  void write(std::span<const std::byte> bytes) {
    if (x_buffer.size() + bytes.size() > buffer_bytes) flush_buffer();
    if (bytes.size() >= buffer_bytes) {
      write_through(bytes);
    } else {
      x_buffer.insert(x_buffer.end(), bytes.begin(), bytes.end());
    }
  }

  /// Appends text.
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

  /// Flushes to the disk and puts the file in its place. Call once, last. Throws `FileError`.
  void commit() {
    flush_buffer();
    if (::fsync(x_file.get()) != 0) fail("cannot flush", errno);
    if (::close(x_file.release()) != 0) fail("cannot close", errno);
    if (std::rename(x_temporary.c_str(), x_place.c_str()) != 0) fail("cannot rename into place", errno);
    x_temporary.clear();
    // The name is durable only once the folder is on the disk too; some file systems have no such call.
    const std::string folder = detail::folder_of(x_place);
    const detail::FileDescriptor entry(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (entry.is_open() && ::fsync(entry.get()) != 0 && errno != EINVAL && errno != EROFS) {
      throw FileError(x_path,
                      join("written, but its folder cannot be flushed: ", detail::system_message(errno)));
    }
  }

 private:
  static constexpr std::size_t buffer_bytes = std::size_t{1} << 16;

  [[noreturn]] void fail(std::string_view what, int code) const {
    throw FileError(x_path, join(what, ": ", detail::system_message(code)));
  }

  void write_through(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t done = ::write(x_file.get(), bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail("cannot write", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
  }

  void flush_buffer() {
    write_through(x_buffer);
    x_buffer.clear();
  }

  std::string x_path;
  std::string x_place;  // x_path, or where links there lead
  std::string x_temporary;
  detail::FileDescriptor x_file;
  std::vector<std::byte> x_buffer;
};

/// Writes a whole file from memory through `AtomicFile`. Throws `FileError`.
inline void write_bytes(const std::string& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

/// Removes what killed processes left of `AtomicFile`s of this path: `<path>.tmp-<digits>`, or with another
/// `-<digits>` behind it, where links at the path lead. A file that is still being written is locked by its process, on
/// this machine or another, and stays; so does every file of another name. Returns how many were removed. Throws
/// `FileError` as `AtomicFile` does for what cannot be written. Test: tests/io/atomic_file.cpp.
inline int remove_abandoned(const std::string& asked) {
  const std::string path = detail::place_to_write(asked);
  const std::string folder = detail::folder_of(path);
  const std::string start = path.substr(path.rfind('/') + 1) + ".tmp-";
  struct Close {
    void operator()(DIR* open) const { ::closedir(open); }
  };
  const std::unique_ptr<DIR, Close> listing(::opendir(folder.c_str()));
  if (!listing) return 0;
  std::vector<std::string> left;
  while (const dirent* const entry = ::readdir(listing.get())) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(start)) continue;
    const std::string_view number = name.substr(start.size());
    const std::size_t dash = number.find('-');
    const auto digits = [](std::string_view text) {
      return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
    };
    if (digits(number.substr(0, dash)) && (dash == std::string_view::npos || digits(number.substr(dash + 1))))
      left.push_back(join(folder, "/", name));
  }
  int removed = 0;
  for (const std::string& file : left) {
    const detail::FileDescriptor open(::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat status {};
    if (!open.is_open() || ::fstat(open.get(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    if (detail::lock_file(open.get()) && ::unlink(file.c_str()) == 0) ++removed;
  }
  return removed;
}

/// Throws `FileError` where an `AtomicFile` of this path could not be committed: its folder is missing or may not be
/// written, or what lies at the path is no regular file. What killed processes left of it is removed first. Nothing at
/// the path changes. Test: tests/io/atomic_file.cpp.
inline void require_writable(const std::string& path) {
  remove_abandoned(path);
  const AtomicFile trial(path);  // never committed: leaves nothing behind
}

/// Claims a folder for this process: another that tries is refused in words. The claim ends with the object, and
/// with the process however it ends; nothing that a dead process left is an obstacle.
///
/// It is a lock of the system on `<folder>/.lock`, which holds the owner's number for the message. Where the file
/// system knows no locks, nothing is claimed. Test: tests/io/atomic_file.cpp.
class FolderClaim {
 public:
  FolderClaim() = default;

  /// Throws `FileError` where another process has the folder, or it may not be written.
  explicit FolderClaim(const std::string& folder) : x_path(folder + "/.lock") {
    for (;;) {
      x_file = detail::FileDescriptor(::open(x_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
      if (!x_file.is_open())
        throw FileError(x_path, join("cannot open to write: ", detail::system_message(errno)));
      if (!detail::lock_file(x_file.get())) {
        if (errno != EWOULDBLOCK) return;
        char text[64] = {};
        const ssize_t got = ::read(x_file.get(), text, sizeof text - 1);
        const std::string owner(text, static_cast<std::size_t>(got > 0 ? got : 0));
        throw FileError(folder, join("is in use by another run", owner.empty() ? "" : " (process ", owner,
                                     owner.empty() ? "" : ")", "; expected a folder that no run writes to"));
      }
      // An owner that ended meanwhile took the file away: what was locked is no longer the one that others see.
      if (detail::is_at(x_file.get(), x_path)) break;
    }
    x_held = true;
    const std::string number = join(::getpid());
    if (::ftruncate(x_file.get(), 0) != 0 ||
        ::pwrite(x_file.get(), number.data(), number.size(), 0) != static_cast<ssize_t>(number.size())) {
      return;  // a full disk: the lock holds without the number
    }
  }

  FolderClaim(FolderClaim&& other) noexcept
      : x_path(std::move(other.x_path)), x_file(std::move(other.x_file)), x_held(std::exchange(other.x_held, false)) {}
  FolderClaim& operator=(FolderClaim&& other) noexcept {
    std::swap(x_path, other.x_path);
    std::swap(x_file, other.x_file);
    std::swap(x_held, other.x_held);
    return *this;
  }
  FolderClaim(const FolderClaim&) = delete;
  FolderClaim& operator=(const FolderClaim&) = delete;

  ~FolderClaim() {
    if (x_held) ::unlink(x_path.c_str());  // before the lock ends, so that nobody waits for a file that goes
  }

 private:
  std::string x_path;
  detail::FileDescriptor x_file;
  bool x_held = false;
};

}  // namespace dssl
