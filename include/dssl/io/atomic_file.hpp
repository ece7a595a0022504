// A file that appears whole or not at all: written beside its place, flushed, then renamed.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include <dssl/core/error.hpp>
#include <dssl/io/mapped_file.hpp>

namespace dssl {

/// Writes to `<path>.tmp-<pid>` in the folder of `path`; `commit` flushes it to the disk and renames it to
/// `path`.
///
/// Until `commit` returns, whatever stood at `path` before is untouched; without `commit` (an exception, an
/// early return) the temporary file is removed. Every failure throws `FileError` with the path and the
/// system's reason. Test: tests/io/atomic_file.cpp.
class AtomicFile {
 public:
  /// Opens the temporary file. Throws `FileError` if the folder is missing or may not be written.
  explicit AtomicFile(std::string path) : x_path(std::move(path)) {
    const std::string stem = join(x_path, ".tmp-", ::getpid());
    x_temporary = stem;
    // A second writer of the same file in this process, or a file left by a crash, takes the next name.
    for (int attempt = 1;; ++attempt) {
      x_file =
          detail::FileDescriptor(::open(x_temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      if (x_file.is_open()) break;
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
    if (std::rename(x_temporary.c_str(), x_path.c_str()) != 0) fail("cannot rename into place", errno);
    x_temporary.clear();
    // The name is durable only once the folder is on the disk too; some file systems have no such call.
    const std::size_t slash = x_path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : x_path.substr(0, slash);
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

}  // namespace dssl
