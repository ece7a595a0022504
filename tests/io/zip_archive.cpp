// Zip files: check sums, unpacking, and records by name.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/io/crc32.hpp>
#include <dssl/io/inflate.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/io/zip_archive.hpp>

#include "catch.hpp"
#include "interop.hpp"
#include "thrown.hpp"
#include "zip_samples.hpp"

using namespace dssl;
using test::contains;
using test::thrown_by;

namespace {

std::vector<std::byte> from_hex(std::string_view digits) {
  std::vector<std::byte> out;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
    out.push_back(static_cast<std::byte>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16)));
  return out;
}

std::string unpacked(std::span<const std::byte> packed, std::size_t size) {
  std::vector<std::byte> out;
  inflate(out, packed, size, [](std::string_view problem) { throw CheckpointError("packed", problem); });
  return {reinterpret_cast<const char*>(out.data()), out.size()};
}

std::string refusal(std::string_view hex, std::size_t size) {
  return thrown_by<CheckpointError>([&] { static_cast<void>(unpacked(from_hex(hex), size)); });
}

// Made by zlib: the same text stored and with fixed codes, and a longer one with codes of its own.
constexpr std::string_view text = "a view, a view, a crop of a view";
constexpr std::string_view as_stored =
    "012000dfff6120766965772c20612076696577"
    "2c20612063726f70206f6620612076696577";
constexpr std::string_view with_fixed_codes = "4b5428cb4c2dd7514884d3c945f9050af969501100";
constexpr std::string_view with_own_codes =
    "734c2eca2f70720291aeaeae20ca1908603498e18a50e2e8e808e1c07540f5403420990253e2e8"
    "08d30391849a8c6c11dc14a806a87698148a5b9c11a6205900b3d009ee5cb80dc8a6c095388e7a7ad4d3d4f53400";

}  // namespace

TEST_CASE("the check sum of zip files", "[zip]") {
  const auto sum = [](std::string_view of) { return crc32(std::as_bytes(std::span(of.data(), of.size()))); };
  CHECK(sum("123456789") == 0xCBF43926U);
  CHECK(sum("") == 0);
  // Eight bytes at a time and one by one give the same, wherever the text begins.
  const std::string longer(1000, 'x');
  std::uint32_t one_by_one = 0xFFFFFFFFU;
  for (const char c : longer) {
    one_by_one ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit)
      one_by_one = (one_by_one >> 1U) ^ ((one_by_one & 1U) != 0 ? 0xEDB88320U : 0U);
  }
  CHECK(sum(longer) == ~one_by_one);
}

TEST_CASE("deflated bytes are unpacked, to the size that was said", "[zip]") {
  CHECK(unpacked(from_hex(as_stored), text.size()) == text);
  CHECK(unpacked(from_hex(with_fixed_codes), text.size()) == text);
  std::string expected;
  for (std::size_t i = 0; i < 120; ++i)
    expected += std::string(1 + i % 5, static_cast<char>('A' + i * i % 7)) + "crop";
  CHECK(unpacked(from_hex(with_own_codes), expected.size()) == expected);

  CHECK(contains(refusal(with_fixed_codes, text.size() - 1), "more bytes than it says"));
  CHECK(contains(refusal(with_fixed_codes, text.size() + 1), "fewer bytes than it says"));
  CHECK(contains(refusal(as_stored, text.size() - 1), "more bytes than it says"));
  CHECK(contains(refusal(as_stored.substr(0, 40), text.size()), "an early end"));
  CHECK(contains(refusal("", 0), "an early end"));
  CHECK(contains(refusal(with_fixed_codes, std::size_t{1} << 40U), "more bytes than such a stream can have"));
  CHECK(contains(refusal("07", 1), "a block of an unknown kind"));
  CHECK(contains(refusal("012000dffe61", 32), "a block whose length is damaged"));
  CHECK(contains(refusal("030200", 4), "a distance to before its start"));
  for (std::size_t digits = 0; digits < with_own_codes.size(); digits += 2)
    CHECK(contains(refusal(with_own_codes.substr(0, digits), expected.size()), "an early end"));
}

TEST_CASE("records of a zip file are found by name", "[zip]") {
  for (const std::string name : {"container_zip", "container_zip64", "container_deflated"}) {
    INFO(name);
    const MappedFile file(test::weights_of(name));
    const ZipArchive archive(name, file.bytes());
    std::vector<std::byte> scratch;
    CHECK(archive.find("none") == nullptr);
    std::size_t pickles = 0;
    for (const ZipArchive::Record& record : archive.records()) {
      CHECK(archive.find(record.name) == &record);
      CHECK(archive.read(record, scratch).size() == record.size);
      pickles += record.name.ends_with("/data.pkl");
    }
    CHECK(pickles == 1);
  }
  CHECK(contains(thrown_by<CheckpointError>([] { ZipArchive("none.zip", {}); }), "none.zip: truncated"));
}

TEST_CASE("records that the directory does not count, or that share bytes, are refused", "[zip]") {
  const std::vector<std::byte> some(100, std::byte{7});
  const auto said_of = [](const std::string& file) {
    return thrown_by<CheckpointError>([&] { ZipArchive("in.zip", std::as_bytes(std::span(file.data(), file.size()))); });
  };
  test::ZipSample zip;
  zip.add("first", some);
  zip.add("empty", {});
  zip.add("packed", some, true);
  const std::string whole = zip.finished();
  const ZipArchive archive("in.zip", std::as_bytes(std::span(whole.data(), whole.size())));
  REQUIRE(archive.records().size() == 3);
  std::vector<std::byte> scratch;
  for (const char* const name : {"first", "packed"}) {
    const auto read = archive.read(*archive.find(name), scratch);
    CHECK(std::vector<std::byte>(read.begin(), read.end()) == some);
  }
  CHECK(contains(said_of(zip.finished(1)), "in.zip: the zip directory has 52 bytes behind its 2 records"));

  // A record whose bytes are another one, with its header.
  const std::string inner = test::ZipSample::header("inner", some, some.size(), false) + std::string(100, '\7');
  test::ZipSample within;
  within.add("outer", std::as_bytes(std::span(inner.data(), inner.size())));
  within.enter("inner", some, some.size(), 30 + 5, false);
  CHECK(contains(said_of(within.finished()), "the records 'outer' and 'inner' share bytes"));
}
