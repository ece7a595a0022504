// Array files, byte by byte, and what happens when the elements do not fit the shape.
#include "catch.hpp"

#include <cstring>
#include <string>
#include <vector>

#include <dssl/io/npy.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

std::string header_of(const std::string& bytes) { return bytes.substr(10, bytes.find('\n') - 9); }

}  // namespace

TEST_CASE("an array file has the published header and its elements in C order") {
  const TemporaryFolder folder;
  const std::vector<float> values{1, 2, 3, 4, 5.5F, -6};
  NpyWriter writer(folder / "a.npy", {2, 3});
  writer.write(std::span(values).first(4));
  writer.write(std::span(values).last(2));
  writer.commit();
  const std::string bytes = read_text(folder / "a.npy");
  CHECK(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\x00", 8));
  const std::string header = header_of(bytes);
  CHECK(header.substr(0, header.find('}') + 1) ==
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  CHECK(header.find_first_not_of(' ', header.find('}') + 1) == header.size() - 1);
  CHECK(static_cast<unsigned char>(bytes[8]) + 256 * static_cast<unsigned char>(bytes[9]) ==
        static_cast<int>(header.size()));
  CHECK((10 + header.size()) % 64 == 0);
  REQUIRE(bytes.size() == 10 + header.size() + 24);
  std::vector<float> read(6);
  std::memcpy(read.data(), bytes.data() + 10 + header.size(), 24);
  CHECK(read == values);

  // One extent has a comma behind it, none is a number alone.
  for (const auto& [shape, text] : {std::pair<std::vector<Index>, std::string>{{1}, "(1,)"}, {{}, "()"}}) {
    NpyWriter small(folder / "b.npy", shape);
    small.write(std::span(values).first(1));
    small.commit();
    CHECK(contains(header_of(read_text(folder / "b.npy")), "'shape': " + text + ","));
  }
}

TEST_CASE("an array file of too many or too few elements is an error, and leaves no file") {
  const TemporaryFolder folder;
  const std::vector<float> values{1, 2, 3};
  CHECK(contains(thrown_by<ShapeError>([&] {
                   NpyWriter writer(folder / "a.npy", {2});
                   writer.write(values);
                 }),
                 "3 elements more than the shape's 2"));
  CHECK(contains(thrown_by<ShapeError>([&] {
                   NpyWriter writer(folder / "a.npy", {4});
                   writer.write(values);
                   writer.commit();
                 }),
                 "1 elements of the shape were not written"));
  CHECK(folder.entries() == 0);
  CHECK(contains(thrown_by<FileError>([&] { NpyWriter(folder / "no/a.npy", {1}); }), "cannot open"));
}

TEST_CASE("an array of more extents or elements than NumPy counts is refused before there is a file") {
  const TemporaryFolder folder;
  const Index half = Index{1} << 40;
  CHECK(contains(thrown_by<ShapeError>([&] { NpyWriter(folder / "a.npy", {half, 0, half}); }),
                 "a.npy: an array of more bytes than can be counted, at the extent 1099511627776"));
  CHECK(contains(thrown_by<ShapeError>([&] { NpyWriter(folder / "a.npy", {Index{1} << 61}); }), "at the extent"));
  CHECK(contains(thrown_by<ShapeError>([&] { NpyWriter(folder / "a.npy", std::vector<Index>(33, 1)); }),
                 "an array of 33 extents; expected at most 32"));
  CHECK(contains(thrown_by<ShapeError>([&] { NpyWriter(folder / "a.npy", {2, -3}); }), "an extent is -3"));
  CHECK_NOTHROW(NpyWriter(folder / "a.npy", std::vector<Index>(32, 1)));
  CHECK(folder.entries() == 0);
}
