// ONNX files, byte by byte and field by field, and what is refused.
#include "catch.hpp"

#include <cstddef>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <dssl/io/onnx_model.hpp>

#include "onnx_reader.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// y = x w + c
OnnxModel small_model() {
  OnnxModel model;
  model.describe("a product and a sum");
  model.metadata("patch", "14");
  model.input("x", {"batch", 2}, "two numbers");
  model.weight("w", {2, 300}, [] { return std::vector<float>(600, 0.5F); });
  const std::string product = model.node("MatMul", {"x", "w"});
  const std::string row = model.constant<float>("c", {1, 1}, std::vector<float>{-2.5F});
  model.scope("end");
  const std::string sum = model.node(
      "Add", {product, row}, {{"axis", -1}, {"epsilon", 0.25F}, {"perm", std::vector<Index>{0, 300}}});
  model.output("y", sum, {"batch", 300});
  return model;
}

}  // namespace

TEST_CASE("protobuf: the bytes of fields are those of its description") {
  dssl::detail::ProtobufMessage m;
  m.number(1, 150);
  CHECK(m.bytes() == std::string("\x08\x96\x01", 3));
  m = {};
  m.number(16, -1);
  CHECK(m.bytes() == std::string("\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12));
  m = {};
  m.real(2, 1.0F);
  CHECK(m.bytes() == std::string("\x15\x00\x00\x80\x3f", 5));
  m = {};
  m.text(2, "testing");
  CHECK(m.bytes() == "\x12\x07testing");
  dssl::detail::ProtobufMessage outer;
  outer.message(3, m);
  CHECK(outer.bytes() == "\x1a\x09\x12\x07testing");
  m = {};
  m.begin(7, 300);
  CHECK(m.bytes() == std::string("\x3a\xac\x02", 3));
  m = {};
  m.number(1, std::numeric_limits<std::int64_t>::max());
  CHECK(fields_of(m.bytes()).at(0).value == 0x7fffffffffffffffU);
}

TEST_CASE("an ONNX model: what was added is what the file holds") {
  const TemporaryFolder folder;
  small_model().write(folder / "m.onnx");
  CHECK(folder.entries() == 1);
  const PlainModel read = read_onnx(folder / "m.onnx");
  CHECK(read.ir_version == 8);
  CHECK(read.opset == 17);
  CHECK(read.producer == "dssl");
  CHECK(read.description == "a product and a sum");
  CHECK(read.metadata == std::map<std::string, std::string>{{"patch", "14"}});
  CHECK(read.inputs == std::map<std::string, std::string>{{"x", "batch 2"}});
  CHECK(read.outputs == std::map<std::string, std::string>{{"y", "batch 300"}});
  REQUIRE(read.nodes.size() == 3);
  CHECK(read.nodes[0].type == "MatMul");
  CHECK(read.nodes[0].inputs == std::vector<std::string>{"x", "w"});
  CHECK(read.nodes[0].outputs == std::vector<std::string>{"MatMul_1"});
  CHECK(read.nodes[1].outputs == std::vector<std::string>{"end/Add_2"});
  CHECK(read.nodes[1].attributes.at("axis") == std::vector<double>{-1});
  CHECK(read.nodes[1].attributes.at("epsilon") == std::vector<double>{0.25});
  CHECK(read.nodes[1].attributes.at("perm") == std::vector<double>{0, 300});
  CHECK(read.nodes[2].outputs == std::vector<std::string>{"y"});
  CHECK(read.constants.at("w").shape == std::vector<Index>{2, 300});
  CHECK(read.constants.at("w").values == std::vector<double>(600, 0.5));
  CHECK(read.constants.at("c").values == std::vector<double>{-2.5});
  const auto values = run_onnx(read, "x", {.shape = {1, 2}, .values = {3, 4}});
  CHECK(values.at("y").values == std::vector<double>(300, 1.0));
  const std::string bytes = read_text(folder / "m.onnx");
  small_model().write(folder / "m.onnx");
  CHECK(read_text(folder / "m.onnx") == bytes);
}

TEST_CASE("an ONNX model: large tensors lie in a second file where they are too many for one") {
  const TemporaryFolder folder;
  OnnxModel model = small_model();
  model.weight("v", {257}, [] { return std::vector<float>(257, 3.0F); });
  model.weight("small", {255}, [] { return std::vector<float>(255, 7.0F); });
  CHECK(!model.has_external_data());
  CHECK(!model.has_external_data({.external_above = 10'000}));
  CHECK(model.has_external_data({.external_above = 4'000}));
  model.write(folder / "m.onnx", {.external_above = 4'000});
  CHECK(folder.entries() == 2);
  const PlainModel read = read_onnx(folder / "m.onnx");
  CHECK(read.locations ==
        std::map<std::string, std::string>{{"w", "m.onnx.data:0"}, {"v", "m.onnx.data:4096"}});
  CHECK(std::filesystem::file_size(folder / "m.onnx.data") == 4096 + 257 * 4);
  CHECK(read.constants.at("w").values == std::vector<double>(600, 0.5));
  CHECK(read.constants.at("v").values == std::vector<double>(257, 3.0));
  CHECK(read.constants.at("small").values == std::vector<double>(255, 7.0));
}

TEST_CASE("an ONNX model: names and sizes that do not go together are refused, and no file is left") {
  const TemporaryFolder folder;
  OnnxModel model = small_model();
  const auto message = [](const auto& call) { return thrown_by<Error>(call); };
  CHECK(contains(message([&] { model.node("Add", {"x", "z"}); }), "'z', of a node Add"));
  CHECK(
      contains(message([&] { model.input("w", {}); }), "option 'name' is 'w'; expected a name that nothing"));
  CHECK(contains(message([&] { model.output("y", "x", {}); }), "'y'"));
  CHECK(contains(message([&] {
                   model.constant<float>("d", {2, 2}, std::vector<float>(3));
                 }),
                 "constant 'd' of 4 elements was given 3"));
  const auto none = [] { return std::vector<float>(); };
  CHECK(contains(message([&] { model.weight("e", {2, 0}, none); }), "weight 'e' has an extent of 0"));
  CHECK(contains(message([&] { model.weight("f", {1 << 20, 1 << 20, 2}, none); }), "2^40 elements at most"));
  model.weight("g", {5}, [] { return std::vector<float>(4); });
  CHECK(contains(message([&] { model.write(folder / "m.onnx"); }), "weight 'g' of 5 elements was given 4"));
  CHECK(folder.entries() == 0);
  CHECK(contains(message([&] { small_model().write(folder / "none/m.onnx"); }),
                 "none/m.onnx: cannot open to write"));
}
