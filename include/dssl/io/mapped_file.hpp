// A file's bytes in memory: mapped read-only, or read whole.
// Tests: tests/io/safetensors.cpp, tests/io/image_file.cpp.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dssl/core/error.hpp>

namespace dssl {

namespace detail {

/// "No such file or directory", ... for an errno value; does not touch global state.
[[nodiscard]] inline std::string system_message(int code) { return std::system_category().message(code); }

/// An open file, closed at the end of its life.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int number) : x_number(number) {}
  FileDescriptor(FileDescriptor&& other) noexcept : x_number(std::exchange(other.x_number, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(x_number, other.x_number);
    return *this;
  }
  ~FileDescriptor() {
    if (x_number >= 0) ::close(x_number);
  }

  [[nodiscard]] int get() const { return x_number; }
  [[nodiscard]] bool is_open() const { return x_number >= 0; }
  [[nodiscard]] int release() { return std::exchange(x_number, -1); }

 private:
  int x_number = -1;
};

/// "folder", "FIFO", "socket" or "device" for the mode of what is no regular file; empty for one.
[[nodiscard]] inline std::string_view other_kind(::mode_t mode) {
  return S_ISREG(mode)    ? std::string_view()
         : S_ISDIR(mode)  ? "folder"
         : S_ISFIFO(mode) ? "FIFO"
         : S_ISSOCK(mode) ? "socket"
                          : "device";
}

/// Opens a regular file to read and tells its size. What else lies there is refused unopened: a FIFO would let its
/// reader wait for ever. Throws `FileError`.
[[nodiscard]] inline FileDescriptor open_to_read(std::size_t& size, const std::string& path) {
  struct stat status {};
  const auto require_regular = [&] {
    const std::string_view kind = other_kind(status.st_mode);
    if (!kind.empty()) throw FileError(path, join("is a ", kind, "; expected a regular file"));
  };
  if (::stat(path.c_str(), &status) != 0) throw FileError(path, join("cannot open to read: ", system_message(errno)));
  require_regular();
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) throw FileError(path, join("cannot open to read: ", system_message(errno)));
  if (::fstat(file.get(), &status) != 0) throw FileError(path, join("cannot read: ", system_message(errno)));
  require_regular();
  size = static_cast<std::size_t>(status.st_size);
  return file;
}

}  // namespace detail

/// A whole file mapped read-only into memory; pages are read when first touched.
///
/// The file must not be shortened while it is mapped (the system then ends the process with SIGBUS);
/// replacing it by rename, as `AtomicFile` does, is safe.
class MappedFile {
 public:
  MappedFile() = default;

  /// Throws `FileError` if `path` is no regular file or cannot be mapped.
  explicit MappedFile(const std::string& path) {
    const detail::FileDescriptor file = detail::open_to_read(x_size, path);
    if (x_size == 0) return;
    void* const address = ::mmap(nullptr, x_size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED) throw FileError(path, join("cannot map: ", detail::system_message(errno)));
    x_data = static_cast<const std::byte*>(address);
  }

  MappedFile(MappedFile&& other) noexcept
      : x_data(std::exchange(other.x_data, nullptr)), x_size(std::exchange(other.x_size, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(x_data, other.x_data);
    std::swap(x_size, other.x_size);
    return *this;
  }
  ~MappedFile() {
    // munmap takes a mutable pointer though it changes no byte.
    if (x_data != nullptr) ::munmap(const_cast<std::byte*>(x_data), x_size);
  }

  [[nodiscard]] std::span<const std::byte> bytes() const { return {x_data, x_size}; }

 private:
  const std::byte* x_data = nullptr;
  std::size_t x_size = 0;
};

namespace detail {

/// Bytes of an open file from `at` on, fewer than `count` only where it ends before. Throws `FileError`.
[[nodiscard]] inline std::size_t read_at(std::byte* out, std::size_t count, std::size_t at, const FileDescriptor& file,
                                         const std::string& path) {
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got = ::pread(file.get(), out + done, count - done, static_cast<off_t>(at + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw FileError(path, join("cannot read: ", system_message(errno)));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

/// The first bytes of an open file of `size`, at most so many. Throws `FileError`.
[[nodiscard]] inline std::vector<std::byte> first_bytes(std::size_t most, std::size_t size, const FileDescriptor& file,
                                                        const std::string& path) {
  std::vector<std::byte> bytes(std::min(size, most));
  bytes.resize(read_at(bytes.data(), bytes.size(), 0, file, path));
  return bytes;
}

}  // namespace detail

/// All bytes of a file, read into memory: for small files that are decoded at once. Throws `FileError`.
[[nodiscard]] inline std::vector<std::byte> read_bytes(const std::string& path) {
  std::size_t size = 0;
  const detail::FileDescriptor file = detail::open_to_read(size, path);
  return detail::first_bytes(size, size, file, path);
}

}  // namespace dssl
