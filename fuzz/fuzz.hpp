// What the fuzz targets share: the contract that they hold, and files of the bytes that they are given.
//
// A target defines `LLVMFuzzerTestOneInput`. Under libFuzzer it is called with bytes that look for trouble; in the
// ordinary tests `replay.cpp` calls it with the files of its corpus. What breaks the contract ends the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>

#include <dssl/core/error.hpp>

#include "../tests/temporary_folder.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace dssl::fuzz {

/// Ends the process: libFuzzer keeps the input, a test fails.
[[noreturn]] inline void fail(std::string_view what, std::string_view detail = {}) {
  std::fprintf(stderr, "contract broken: %.*s%s%.*s\n", static_cast<int>(what.size()), what.data(),
               detail.empty() ? "" : ": ", static_cast<int>(detail.size()), detail.data());
  std::abort();
}

inline void require(bool holds, std::string_view what) {
  if (!holds) fail(what);
}

/// Runs `parse`, which gives back a value (true) or throws one of the kinds `Allowed` with a message of one line
/// (false).
template <class... Allowed, class Parse>
bool parses(const Parse& parse) {
  try {
    parse();
    return true;
  } catch (const Error& error) {
    if (!(... || (dynamic_cast<const Allowed*>(&error) != nullptr)))
      fail(std::string("threw a kind of error that is not documented, ") + typeid(error).name(), error.what());
    const std::string_view message = error.what();
    require(!message.empty(), "an error without a message");
    for (const char c : message) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) fail("an error whose message is not one line of text", message);
    }
  } catch (const std::exception& error) {
    fail(std::string("threw what is no dssl::Error, ") + typeid(error).name(), error.what());
  }
  return false;
}

[[nodiscard]] inline std::span<const std::byte> bytes_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const std::byte*>(data), size};
}

/// A folder for the files of this process, in memory where the system has such a place.
[[nodiscard]] inline const test::TemporaryFolder& scratch() {
  static const test::TemporaryFolder folder;
  return folder;
}

/// The path of a file in `scratch` that holds these bytes; the file is replaced by the next of the same name.
[[nodiscard]] inline std::string file_of(std::string_view name, std::span<const std::byte> bytes) {
  std::string path = scratch() / name;
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) fail("cannot write", path);
  return path;
}

/// Numbers taken from the front of the input, for targets whose input is not a file alone.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : x_rest(bytes_of(data, size)) {}

  /// The next byte; 0 where there is none.
  [[nodiscard]] std::uint8_t byte() {
    if (x_rest.empty()) return 0;
    const auto value = std::to_integer<std::uint8_t>(x_rest.front());
    x_rest = x_rest.subspan(1);
    return value;
  }

  /// The next eight bytes, little-endian.
  [[nodiscard]] std::uint64_t word() {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < 8; ++i) value |= std::uint64_t{byte()} << (8 * i);
    return value;
  }

  [[nodiscard]] std::span<const std::byte> rest() const { return x_rest; }

 private:
  std::span<const std::byte> x_rest;
};

}  // namespace dssl::fuzz
