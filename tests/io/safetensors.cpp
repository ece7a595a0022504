// Safetensors files: written and read back, half precision, and every kind of damage named.
#include "catch.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/io/safetensors.hpp>

#include "fixtures.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

namespace {

using dssl::CheckpointError;
using dssl::ElementType;
using dssl::Index;
using dssl::SafetensorsFile;
using dssl::SafetensorsWriter;
using dssl::test::contains;
using dssl::test::read_text;
using dssl::test::TemporaryFolder;
using dssl::test::thrown_by;
using dssl::test::write_text;

/// A file with this header and that many bytes of data.
std::string file_text(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string text(8, '\0');
  std::memcpy(text.data(), &length, 8);
  return text + header + std::string(data_bytes, '\1');
}

std::string tensor_entry(const std::string& name, const std::string& type, const std::string& shape,
                         int begin, int end) {
  return dssl::join('"', name, "\":{\"dtype\":\"", type, "\",\"shape\":", shape, ",\"data_offsets\":[", begin,
                    ",", end, "]}");
}

/// What opening a file of this text throws.
std::string refusal(const std::string& text) {
  const TemporaryFolder folder;
  write_text(folder / "weights.safetensors", std::string_view(text));
  const std::string error =
      thrown_by<CheckpointError>([&] { (void)SafetensorsFile::open(folder / "weights.safetensors"); });
  // The file is named first, always.
  if (!error.starts_with("(") && !error.starts_with(folder / "weights.safetensors: "))
    return "path missing: " + error;
  return error;
}

const std::string good_header =
    "{" + tensor_entry("a", "F32", "[2]", 0, 8) + "," + tensor_entry("b", "U8", "[3]", 8, 11) + "}";

}  // namespace

TEST_CASE("tensors of every written type come back to the bit") {
  const TemporaryFolder folder;
  const std::vector<float> floats{1.5F, -0.0F, std::numeric_limits<float>::infinity(), 1e-42F, 0, 7};
  const std::vector<double> doubles{1.0 / 3, -2e300};
  const std::vector<std::uint8_t> bytes{0, 255, 7};
  const std::vector<std::int32_t> ints{-2147483647, 5};
  const std::vector<std::int64_t> longs{std::numeric_limits<std::int64_t>::min()};
  const std::vector<std::uint64_t> words{std::numeric_limits<std::uint64_t>::max()};
  SafetensorsWriter writer;
  writer.add("floats", {2, 3}, std::span(floats));
  writer.add("doubles", {2}, std::span(doubles));
  writer.add("bytes", {3, 1}, std::span(bytes));
  writer.add("ints", {2}, std::span(ints));
  writer.add("longs", {}, std::span(longs));
  writer.add("words", {1, 1, 1}, std::span(words));
  writer.add("empty", {0, 4}, std::span<const float>());
  writer.write(folder / "all.safetensors");
  REQUIRE(folder.entries() == 1);

  const SafetensorsFile file = SafetensorsFile::open(folder / "all.safetensors");
  REQUIRE(file.tensors().size() == 7);
  REQUIRE(file.tensors()[0].name == "floats");
  REQUIRE(file.shape("floats") == std::vector<Index>{2, 3});
  REQUIRE(file.shape("longs").empty());
  const std::vector<float> back = file.read<float>("floats");
  REQUIRE(std::memcmp(back.data(), floats.data(), 24) == 0);
  REQUIRE(file.read<double>("doubles") == doubles);
  REQUIRE(file.read<std::uint8_t>("bytes") == bytes);
  REQUIRE(file.read<std::int32_t>("ints") == ints);
  REQUIRE(file.read<std::int64_t>("longs") == longs);
  REQUIRE(file.read<std::uint64_t>("words") == words);
  REQUIRE(file.read<float>("empty").empty());
  REQUIRE(file.contains("ints"));
  REQUIRE_FALSE(file.contains("int"));
  REQUIRE(file.bytes("bytes").size() == 3);
}

TEST_CASE("a moved file object still reads") {
  const TemporaryFolder folder;
  const std::vector<float> values{1, 2};
  SafetensorsWriter writer;
  writer.add("x", {2}, std::span(values));
  writer.write(folder / "x.safetensors");
  SafetensorsFile first = SafetensorsFile::open(folder / "x.safetensors");
  const SafetensorsFile second = std::move(first);
  REQUIRE(second.read<float>("x") == values);
}

TEST_CASE("metadata comes back, whatever the characters") {
  const TemporaryFolder folder;
  const std::string odd = "quote \" backslash \\ line\nfeed tab\t bell\a zero" + std::string(1, '\0') +
                          " umlaut \u00e4 clef \U0001D11E";
  SafetensorsWriter writer;
  writer.metadata("first", "{\"depth\": 2}");
  writer.metadata(odd, odd);
  writer.metadata("first", "replaced");
  writer.write(folder / "m.safetensors");
  const SafetensorsFile file = SafetensorsFile::open(folder / "m.safetensors");
  REQUIRE(file.metadata().size() == 2);
  REQUIRE(file.metadata().at("first") == "replaced");
  REQUIRE(file.metadata().at(odd) == odd);
  REQUIRE(file.tensors().empty());
}

TEST_CASE("escapes of other writers are understood") {
  const TemporaryFolder folder;
  const std::string header = R"({"__metadata__" : {"k\u0065y": "\u00e4\u20AC\ud834\udd1e\/\b\f\r"}})";
  write_text(folder / "e.safetensors", std::string_view(file_text(header + "   ", 0)));
  const SafetensorsFile file = SafetensorsFile::open(folder / "e.safetensors");
  REQUIRE(file.metadata().at("key") == "\u00e4\u20ac\U0001D11E/\b\f\r");
}

TEST_CASE("the same tensors give the same bytes") {
  const TemporaryFolder folder;
  const std::vector<float> values{1, 2, 3};
  for (const char* const name : {"one", "two"}) {
    SafetensorsWriter writer;
    writer.add("b", {3}, std::span(values));
    writer.add("a", {3, 1}, std::span(values));
    writer.metadata("z", "1");
    writer.metadata("y", "2");
    writer.write(folder / name);
  }
  REQUIRE(read_text(folder / "one") == read_text(folder / "two"));
  // The data starts at a multiple of eight bytes.
  REQUIRE((read_text(folder / "one").size() - 24) % 8 == 0);
}

TEST_CASE("half precision is widened exactly") {
  const TemporaryFolder folder;
  const std::vector<std::uint16_t> halves{0x3C00, 0xC000, 0x0001, 0x83FF, 0x7BFF,
                                          0x7C00, 0xFC00, 0x0000, 0x8000, 0x3555};
  const std::vector<std::uint16_t> brains{0x3F80, 0xC000, 0x7F80, 0x0001};
  SafetensorsWriter writer;
  writer.add_bytes("f16", ElementType::f16, {10}, std::as_bytes(std::span(halves)));
  writer.add_bytes("bf16", ElementType::bf16, {4}, std::as_bytes(std::span(brains)));
  writer.write(folder / "h.safetensors");
  const SafetensorsFile file = SafetensorsFile::open(folder / "h.safetensors");
  const std::vector<float> f = file.read<float>("f16");
  const float infinity = std::numeric_limits<float>::infinity();
  REQUIRE(f == std::vector<float>{1, -2, 0x1p-24F, -1023 * 0x1p-24F, 65504, infinity, -infinity, 0, 0,
                                  0x1.554p-2F});
  REQUIRE(std::signbit(f[8]));
  REQUIRE(std::isnan(dssl::float_from_half(0x7E00)));
  REQUIRE(file.read<double>("bf16") == std::vector<double>{1, -2, infinity, 0x1p-133});
}

TEST_CASE("numbers are converted where they fit, and refused by name where not") {
  const TemporaryFolder folder;
  const std::vector<std::int64_t> longs{3, -1, 300};
  const std::vector<float> floats{1.5F};
  SafetensorsWriter writer;
  writer.add("longs", {3}, std::span(longs));
  writer.add("floats", {1}, std::span(floats));
  writer.write(folder / "n.safetensors");
  const SafetensorsFile file = SafetensorsFile::open(folder / "n.safetensors");
  REQUIRE(file.read<double>("longs") == std::vector<double>{3, -1, 300});
  REQUIRE(file.read<std::int32_t>("longs") == std::vector<std::int32_t>{3, -1, 300});
  const std::string narrow = thrown_by<CheckpointError>([&] { (void)file.read<std::uint8_t>("longs"); });
  REQUIRE(contains(narrow, "'longs'"));
  REQUIRE(contains(narrow, "-1"));
  REQUIRE(contains(thrown_by<CheckpointError>([&] { (void)file.read<std::int32_t>("floats"); }),
                   "'floats' holds F32"));
  REQUIRE(contains(thrown_by<CheckpointError>([&] { (void)file.read<float>("none"); }), "no tensor 'none'"));
  std::vector<float> wrong(2);
  REQUIRE(
      contains(thrown_by<dssl::ShapeError>([&] { file.read_into(std::span(wrong), "longs"); }), "'longs'"));
}

TEST_CASE("a file cut short anywhere is refused") {
  const TemporaryFolder folder;
  const std::string whole = file_text(good_header, 11);
  write_text(folder / "whole", std::string_view(whole));
  REQUIRE(SafetensorsFile::open(folder / "whole").tensors().size() == 2);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    REQUIRE(refusal(whole.substr(0, length)) != "(nothing was thrown)");
  }
  REQUIRE(contains(refusal(whole.substr(0, whole.size() - 1)), "truncated: tensor 'b'"));
}

TEST_CASE("each kind of damage is named") {
  const auto header = [](const std::string& text, std::size_t bytes) {
    return refusal(file_text(text, bytes));
  };
  REQUIRE(contains(refusal("PNG"), "has 3 bytes"));
  REQUIRE(contains(refusal("this is a text and no tensors"), "header length"));
  REQUIRE(contains(refusal("PK\x03\x04 and more"), "is a zip file or a pickle, as torch.save writes them; expected safetensors"));
  REQUIRE(contains(refusal("\x80\x02}q.and more"), "is a zip file or a pickle"));
  REQUIRE(contains(header("{" + tensor_entry(std::string(4097, 'w'), "U8", "[1]", 0, 1) + "}", 1),
                   "has a name of 4097 characters; expected at most 4096"));
  REQUIRE(header("{" + tensor_entry(std::string(4096, 'w'), "U8", "[1]", 0, 1) + "}", 1) == "(nothing was thrown)");
  REQUIRE(contains(header("[]", 0), "starts with '{'"));
  REQUIRE(
      contains(header("{" + tensor_entry("w", "F33", "[2]", 0, 8) + "}", 8), "'w' has unknown dtype 'F33'"));
  REQUIRE(contains(header("{" + tensor_entry("w", "F32", "[3]", 0, 8) + "}", 8),
                   "'w' of F32 [3] takes 8 bytes; expected 12"));
  REQUIRE(contains(header("{" + tensor_entry("w", "F32", "[2]", 8, 0) + "}", 8), "'w' has data_offsets"));
  REQUIRE(contains(header("{" + tensor_entry("w", "F32", "[-2]", 0, 8) + "}", 8), "whole number"));
  REQUIRE(contains(header("{" + tensor_entry("w", "U8", "[4294967296, 4294967296]", 0, 0) + "}", 0), "'w'"));
  // A zero does not hide extents whose product no integer holds: whoever counts the elements multiplies them.
  REQUIRE(contains(header("{" + tensor_entry("w", "U8", "[4294967296, 4294967296, 0]", 0, 0) + "}", 0),
                   "expected a size that fits in memory"));
  REQUIRE(header("{" + tensor_entry("w", "U8", "[3, 0]", 0, 0) + "}", 0) == "(nothing was thrown)");
  REQUIRE(contains(header("{" + tensor_entry("w", "F32", "[2]", 0, 8) + "}", 4), "truncated: tensor 'w'"));
  REQUIRE(
      contains(header("{" + tensor_entry("w", "F32", "[2]", 0, 8) + "}", 12), "the tensors end at byte 8"));
  REQUIRE(contains(
      header("{" + tensor_entry("a", "U8", "[4]", 0, 4) + "," + tensor_entry("b", "U8", "[4]", 2, 6) + "}",
             6),
      "'b' starts at byte 2 of the data and overlaps"));
  REQUIRE(contains(
      header("{" + tensor_entry("a", "U8", "[4]", 0, 4) + "," + tensor_entry("b", "U8", "[4]", 6, 10) + "}",
             10),
      "leaves a gap"));
  REQUIRE(contains(
      header("{" + tensor_entry("a", "U8", "[1]", 0, 1) + "," + tensor_entry("a", "U8", "[1]", 1, 2) + "}",
             2),
      "'a' is listed twice"));
  REQUIRE(contains(header(R"({"w":{"dtype":"U8","shape":[1]}})", 1), "'w' lacks data_offsets"));
  REQUIRE(contains(header(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}})", 1),
                   "unknown field 'more'"));
  REQUIRE(contains(header(R"({"__metadata__":{"k":1}})", 0), "damaged at byte"));
  REQUIRE(contains(header(R"({"__metadata__":{"k":"\ud834"}})", 0), "surrogate"));
  REQUIRE(contains(header(R"({"__metadata__":{"k":"\x"}})", 0), "escape"));
  REQUIRE(contains(header("{} {}", 0), "nothing after"));
  REQUIRE(contains(header("{" + tensor_entry("w", "U8", "[01]", 0, 1) + "}", 1), "whole number"));
}

TEST_CASE("flipped bits in the header never get past the checks unseen or out of the file") {
  const TemporaryFolder folder;
  const std::string whole = file_text(good_header, 11);
  for (std::size_t at = 0; at < 8 + good_header.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      write_text(folder / "d", std::string_view(damaged));
      bool inside = true;
      try {
        const SafetensorsFile file = SafetensorsFile::open(folder / "d");
        // What is accepted (a letter of a name, another type of the same size) must be readable within the
        // file.
        for (const auto& tensor : file.tensors())
          inside = inside && file.read<double>(tensor.name).size() <= 11;
      } catch (const CheckpointError&) {
      }
      CAPTURE(at, bit);
      REQUIRE(inside);
    }
  }
}

TEST_CASE("what cannot be opened is named with the reason") {
  const TemporaryFolder folder;
  REQUIRE(thrown_by<dssl::FileError>([&] { (void)SafetensorsFile::open(folder / "none"); }) ==
          (folder / "none: cannot open to read: No such file or directory"));
  REQUIRE(contains(thrown_by<dssl::FileError>([&] { (void)SafetensorsFile::open(folder.path()); }),
                   "is a folder; expected a regular file"));
}

TEST_CASE("a failed write leaves the old file as it was") {
  const TemporaryFolder folder;
  const std::vector<float> values{1};
  SafetensorsWriter writer;
  writer.add("x", {1}, std::span(values));
  const std::string missing = folder / "none/x.safetensors";
  REQUIRE(contains(thrown_by<dssl::FileError>([&] { writer.write(missing); }),
                   missing + ": cannot open to write"));
  writer.write(folder / "x.safetensors");
  REQUIRE(folder.entries() == 1);
}

TEST_CASE("a writer refuses names and shapes that make no file") {
  const std::vector<float> values{1, 2};
  SafetensorsWriter writer;
  writer.add("x", {2}, std::span(values));
  REQUIRE_THROWS_AS(writer.add("x", {2}, std::span(values)), dssl::OptionError);
  REQUIRE_THROWS_AS(writer.add("__metadata__", {2}, std::span(values)), dssl::OptionError);
  REQUIRE_THROWS_AS(writer.add("y", {3}, std::span(values)), dssl::ShapeError);
  REQUIRE_THROWS_AS(writer.add("y", {-1, -2}, std::span(values)), dssl::ShapeError);
}

TEST_CASE("the reference numbers are read, and survive being written again") {
  const TemporaryFolder folder;
  const SafetensorsFile file = SafetensorsFile::open(dssl::test::fixture_path("evaluation.safetensors"));
  const dssl::test::FixtureConfig config(file);
  REQUIRE(config.get<std::string>("kind") == "evaluation");
  REQUIRE(config.section("probe").get<Index>("classes") > 0);
  SafetensorsWriter writer;
  for (const auto& tensor : file.tensors()) {
    writer.add_bytes(tensor.name, tensor.type, tensor.shape, file.bytes(tensor.name));
  }
  for (const auto& [key, value] : file.metadata()) writer.metadata(key, value);
  writer.write(folder / "again.safetensors");
  const SafetensorsFile again = SafetensorsFile::open(folder / "again.safetensors");
  REQUIRE(again.metadata() == file.metadata());
  for (const auto& tensor : file.tensors()) {
    CAPTURE(tensor.name);
    REQUIRE(again.shape(tensor.name) == tensor.shape);
    REQUIRE(again.read<double>(tensor.name) == file.read<double>(tensor.name));
  }
}
