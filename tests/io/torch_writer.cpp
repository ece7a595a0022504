// .pth files as they are written: read again bit for bit, aligned, in zip64 where sizes ask for it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <dssl/io/mapped_file.hpp>
#include <dssl/io/torch_file.hpp>
#include <dssl/io/torch_writer.hpp>
#include <dssl/io/zip_archive.hpp>
#include <dssl/io/zip_writer.hpp>

#include "catch.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using test::contains;
using test::thrown_by;

TEST_CASE("a written .pth holds its tensors bit for bit, in order, aligned") {
  const test::TemporaryFolder folder;
  const std::array<float, 6> numbers{1, -0.0F, std::numeric_limits<float>::denorm_min(), std::numeric_limits<float>::quiet_NaN(), 3e38F, -7};
  const std::array<double, 2> doubles{0.1, -1e300};
  const std::array<std::int64_t, 1> scalar{std::int64_t{1} << 60};
  const std::array<std::uint8_t, 3> bytes{0, 128, 255};
  const std::array<std::uint16_t, 4> halves{0x3C00, 0xFC00, 1, 0x8000};
  const auto fill = [&](TorchWriter& writer) {
    writer.add("blocks.0.attn.qkv.weight", {2, 1, 3}, std::span<const float>(numbers));
    writer.add("a", {2}, std::span<const double>(doubles));
    writer.add("num_batches", {}, std::span<const std::int64_t>(scalar));
    writer.add("bytes", {3, 1}, std::span<const std::uint8_t>(bytes));
    writer.add_bytes("half", ElementType::f16, {2, 2}, std::as_bytes(std::span(halves)));
    writer.add_bytes("brain", ElementType::bf16, {4}, std::as_bytes(std::span(halves)));
    writer.add("empty", {0, 7}, std::span<const float>());
  };
  TorchWriter writer;
  fill(writer);
  writer.write(folder / "out.pth");
  const TorchFile file = TorchFile::open(folder / "out.pth");
  const std::vector<std::string> names{"blocks.0.attn.qkv.weight", "a", "num_batches", "bytes", "half", "brain", "empty"};
  REQUIRE(file.tensors().size() == names.size());
  const auto is = [&](std::size_t i, ElementType type, const std::vector<Index>& shape, std::span<const std::byte> expected) {
    INFO(names[i]);
    CHECK(file.tensors()[i].name == names[i]);
    CHECK(file.tensors()[i].type == type);
    CHECK((file.tensors()[i].shape == shape));
    std::vector<std::byte> scratch;
    const auto read = file.elements(names[i], scratch);
    REQUIRE(read.size() == expected.size());
    CHECK((read.empty() || std::memcmp(read.data(), expected.data(), read.size()) == 0));
    CHECK(scratch.empty());
  };
  is(0, ElementType::f32, {2, 1, 3}, std::as_bytes(std::span(numbers)));
  is(1, ElementType::f64, {2}, std::as_bytes(std::span(doubles)));
  is(2, ElementType::i64, {}, std::as_bytes(std::span(scalar)));
  is(3, ElementType::u8, {3, 1}, std::as_bytes(std::span(bytes)));
  is(4, ElementType::f16, {2, 2}, std::as_bytes(std::span(halves)));
  is(5, ElementType::bf16, {4}, std::as_bytes(std::span(halves)));
  is(6, ElementType::f32, {0, 7}, {});

  const MappedFile mapped(folder / "out.pth");
  const ZipArchive archive("out.pth", mapped.bytes());
  for (const auto& record : archive.records()) CHECK(record.begin % 64 == 0);
  TorchWriter again;
  fill(again);
  again.write(folder / "again.pth");
  const MappedFile same(folder / "again.pth");
  REQUIRE(same.bytes().size() == mapped.bytes().size());
  CHECK(std::memcmp(same.bytes().data(), mapped.bytes().data(), same.bytes().size()) == 0);
}

TEST_CASE("what a .pth has no place for is refused") {
  const std::array<float, 2> two{1, 2};
  const std::array<std::uint16_t, 2> wide{1, 2};
  TorchWriter writer;
  writer.add("a", {2}, std::span<const float>(two));
  CHECK(contains(thrown_by<OptionError>([&] { writer.add("a", {2}, std::span<const float>(two)); }), "'tensor name' is a"));
  CHECK(contains(thrown_by<ShapeError>([&] { writer.add("b", {3}, std::span<const float>(two)); }), "tensor 'b' of F32 [3] was given 8 bytes"));
  CHECK(contains(thrown_by<OptionError>([&] { writer.add("c", {2}, std::span<const std::uint16_t>(wide)); }), "is U16 of tensor 'c'; expected F64"));
  // A name that was refused is not used.
  CHECK_NOTHROW(writer.add("b", {2}, std::span<const float>(two)));
  CHECK_NOTHROW(writer.add("c", {2}, std::span<const float>(two)));
}

TEST_CASE("a zip file in zip64 is read as one without") {
  const test::TemporaryFolder folder;
  const std::vector<std::byte> bytes(100000, std::byte{7});
  ZipWriter writer;
  writer.add("root/first", std::span(bytes));
  writer.add("root/second", std::span(bytes).first(70));
  writer.add("root/empty", {});
  CHECK(contains(thrown_by<OptionError>([&] { writer.add("root/first", {}); }), "that is not used yet"));
  for (const std::uint64_t largest : {std::uint64_t{0}, std::uint64_t{90}, std::uint64_t{99999}, std::uint64_t{100100}, std::uint64_t{0xFFFFFFFE}}) {
    INFO(largest);
    writer.write(folder / "out.zip", largest);
    const MappedFile file(folder / "out.zip");
    const ZipArchive archive("out.zip", file.bytes());
    REQUIRE(archive.records().size() == 3);
    std::vector<std::byte> scratch;
    const auto is = [&](const char* name, std::size_t size) {
      const auto* const record = archive.find(name);
      REQUIRE(record != nullptr);
      CHECK(record->begin % ZipWriter::alignment == 0);
      const auto read = archive.read(*record, scratch);
      CHECK(std::vector<std::byte>(read.begin(), read.end()) == std::vector<std::byte>(size, std::byte{7}));
    };
    is("root/first", 100000);
    is("root/second", 70);
    is("root/empty", 0);
  }
}
