// Files of torch.save: every container gives the same tensors, and hostile files one line.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/weights.hpp>

#include "catch.hpp"
#include "interop.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "zip_samples.hpp"

using namespace dssl;
using test::contains;
using test::thrown_by;

namespace {

/// Reads a file as a backbone's weights are: all tensors of the first prefix that has a class token, else
/// all.
void read_whole(const std::string& path) {
  const auto file = open_tensor_file(path);
  const std::string prefix = backbone_prefix(*file);
  for (const StoredTensor& tensor : file->tensors()) static_cast<void>(file->read<float>(tensor.name));
}

std::vector<char> bytes_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void write_bytes(const std::string& path, std::span<const char> bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string four_bytes(std::size_t value) {
  std::string out;
  for (unsigned i = 0; i < 4; ++i) out += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
  return out;
}

std::string pickled(const std::string& text) { return "X" + four_bytes(text.size()) + text; }

std::string pickled_global(const std::string& module, const std::string& name) { return "c" + module + "\n" + name + "\n"; }

/// A storage '0' of a class of torch's, which is said to have `held` elements.
std::string pickled_storage(const std::string& type, std::size_t held) {
  return "(" + pickled("storage") + type + pickled("0") + pickled("cpu") + "J" + four_bytes(held) + "tQ";
}

/// A tensor of `size` floats from `offset` of the storage '0', which is said to have `held`; made by torch's function, or another.
std::string pickled_tensor(std::size_t size, std::size_t offset, std::size_t held,
                           const std::string& made_by = pickled_global("torch._utils", "_rebuild_tensor_v2"),
                           const std::string& type = pickled_global("torch", "FloatStorage")) {
  return made_by + "(" + pickled_storage(type, held) + "J" + four_bytes(offset) + "(J" + four_bytes(size) + "t(J" +
         four_bytes(1) + "t\x89}tR";
}

std::span<const std::byte> as_bytes_of(const std::string& text) { return std::as_bytes(std::span(text.data(), text.size())); }

/// A file of torch.save of a dictionary's items and a storage; either may be deflated.
std::string torch_sample(const std::string& items, const std::vector<float>& storage, bool packed_pickle, bool packed_storage) {
  const std::string pickle = "\x80\x02}(" + items + "u.";
  test::ZipSample zip;
  zip.add("a/data.pkl", as_bytes_of(pickle), packed_pickle);
  zip.add("a/data/0", std::as_bytes(std::span(storage)), packed_storage);
  return zip.finished();
}

}  // namespace

TEST_CASE("torch file: every container holds the same tensors", "[torch_file]") {
  const auto expected = open_tensor_file(test::weights_of("container_safetensors"));
  REQUIRE(expected->tensors().size() == 18);
  struct Case {
    std::string name, prefix;
    double tolerance = 0;    // relative to the largest element
    std::size_t others = 0;  // tensors beside the backbone's
  };
  const std::vector<Case> cases{{"container_zip", ""},
                                {"container_legacy", ""},
                                {"container_dict", ""},
                                {"container_parameters", ""},
                                {"container_module_prefix", "module."},
                                {"container_under_model", "model."},
                                {"container_under_state_dict", "state_dict."},
                                {"container_under_teacher", "teacher."},
                                {"container_backbone_prefix", "teacher.backbone."},
                                {"container_f16", "", 0x1p-10},
                                {"container_bf16", "", 0x1p-7},
                                {"container_f64", ""},
                                {"container_views", ""},
                                {"container_other_tensors", "", 0, 5},
                                {"container_deflated", ""},
                                {"container_zip64", ""},
                                {"torch17_backbone", ""},
                                {"torch17_backbone_legacy", ""}};
  for (const Case& c : cases) {
    INFO(c.name);
    const auto file = open_tensor_file(test::weights_of(c.name));
    REQUIRE(dynamic_cast<const TorchFile*>(file.get()) != nullptr);
    CHECK(file->tensors().size() == expected->tensors().size() + c.others);
    CHECK(backbone_prefix(*file) == c.prefix);
    for (const StoredTensor& tensor : expected->tensors()) {
      INFO(tensor.name);
      REQUIRE(file->contains(c.prefix + tensor.name));
      REQUIRE(file->shape(c.prefix + tensor.name) == tensor.shape);
      const auto want = expected->read<float>(tensor.name);
      const auto got = file->read<float>(c.prefix + tensor.name);
      double largest = 0;
      double apart = 0;
      for (std::size_t i = 0; i < want.size(); ++i) {
        largest = std::max(largest, std::abs(double{want[i]}));
        apart = std::max(apart, std::abs(double{got[i]} - want[i]));
      }
      CHECK(apart <= c.tolerance * largest);
    }
  }
}

TEST_CASE("torch file: types, scalars and empty tensors beside a backbone", "[torch_file]") {
  const auto file = open_tensor_file(test::weights_of("container_other_tensors"));
  std::set<ElementType> types;
  std::size_t scalars = 0;
  std::size_t empty = 0;
  for (const StoredTensor& tensor : file->tensors()) {
    types.insert(tensor.type);
    scalars += tensor.shape.empty();
    empty += tensor.size() == 0;
    CHECK(file->read<double>(tensor.name).size() == static_cast<std::size_t>(tensor.size()));
  }
  CHECK(types == std::set{ElementType::boolean, ElementType::f32, ElementType::i64});
  CHECK(scalars == 1);
  CHECK(empty == 1);
  CHECK(open_tensor_file(test::weights_of("container_f64"))->tensors().front().type == ElementType::f64);
  CHECK(open_tensor_file(test::weights_of("container_bf16"))->tensors().front().type == ElementType::bf16);
}

TEST_CASE("torch file: hostile, damaged and wrong files get one line", "[torch_file]") {
  // What the line says beside the file's name.
  const std::map<std::string, std::vector<std::string>> answers{
      {"system.pth", {"'posix.system'", "nothing of it is run"}},
      {"eval.pth", {"'builtins.eval'", "nothing of it is run"}},
      {"stack_global.pth", {"opcode 0x8c"}},
      {"extension.pth", {"opcode 0x82"}},
      {"inst.pth", {"opcode 0x69"}},
      {"obj.pth", {"'posix.system'"}},
      {"persistent_module.pth", {"'builtins.print'"}},
      {"whole_module.pth", {"whole module", "'vision_transformer.VisionTransformer'", "model.state_dict()"}},
      {"deep.pth", {"holds a list; expected a dictionary"}},
      {"doubling.pth", {"holds a tuple; expected a dictionary"}},
      {"marks.pth", {"more than 4096 things within each other"}},
      {"empty_stack.pth", {"opcode 0x30"}},
      {"memo_missing.pth", {"recalls a value that it did not keep"}},
      {"memo_huge.pth", {"holds a list; expected a dictionary"}},
      {"string_length.pth", {"it ends early"}},
      {"string8_length.pth", {"opcode 0x8d"}},
      {"long_integer.pth", {"opcode 0x8b"}},
      {"no_stop.pth", {"it ends early"}},
      {"opcode.pth", {"opcode 0xff"}},
      {"protocol.pth", {"protocol 9"}},
      {"self.pth", {"holds a list; expected a dictionary"}},
      {"storage_short.pth", {"'cls_token'", "a storage of 1000, of which the file has 10"}},
      {"storage_view_outside.pth", {"'cls_token'", "leaves its storage of 10"}},
      {"stride_outside.pth", {"'cls_token'", "leaves its storage of 10"}},
      {"stride_negative.pth", {"'cls_token'", "no whole numbers from 0 on"}},
      {"offset_negative.pth", {"'cls_token'", "begins at element -4"}},
      {"shape_giant.pth", {"'cls_token'", "too large"}},
      {"shape_expanded.pth", {"'cls_token'", "repeats a storage of 1 elements"}},
      {"shape_overflow.pth", {"'cls_token'", "too large"}},
      {"shape_negative.pth", {"'cls_token'", "no whole numbers from 0 on"}},
      {"ranks_differ.pth", {"'cls_token'", "3 sizes and 2 strides"}},
      {"storage_missing.pth", {"'cls_token'", "'7', which is not in the file"}},
      {"storage_path.pth", {"'cls_token'", "'../../../../etc/passwd', which is not in the file"}},
      {"storage_quantised.pth", {"'cls_token'", "QInt8Storage"}},
      {"not_a_dict.pth", {"holds one tensor; expected a dictionary"}},
      {"no_backbone.pth", {"no tensor 'cls_token'", "'fc.weight'"}},
      {"zip_truncated.pth", {"truncated", "directory"}},
      {"zip_crc.pth", {"'archive/data/0'", "CRC-32"}},
      {"zip_directory_outside.pth", {"directory", "outside the file"}},
      {"zip_size_outside.pth", {"'archive/data/0'", "2147483632 bytes"}},
      {"zip_overlapping.pth", {"has the name 'archive/data.pkl' in its own header"}},
      {"zip_two_pickles.pth", {"'archive/data.pkl' is there twice"}},
      {"zip_no_pickle.pth", {"without 'data.pkl'"}},
      {"torchscript.pth", {"TorchScript"}},
      {"big_endian.pth", {"big-endian"}},
      {"empty.pth", {"is empty"}},
      {"html.pth", {"web server"}},
      {"lfs_pointer.pth", {"Git LFS pointer"}},
      {"tar.pth", {"the tar format of 2017", "is not read"}},
      {"legacy_truncated.pth", {"truncated", "10 elements"}},
      {"legacy_count.pth", {"1152921504606846976 elements"}},
      {"legacy_count_differs.pth", {"'cls_token'", "a storage of 10, of which the file has 4"}},
      {"legacy_keys.pth", {"'2', which no tensor uses"}},
      {"legacy_system.pth", {"'posix.system'", "nothing of it is run"}},
      {"legacy_magic.pth", {"plain pickle"}}};
  std::size_t seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::interop_folder() + "/hostile")) {
    if (entry.path().extension() != ".pth") continue;
    ++seen;
    const std::string path = entry.path().string();
    const std::string name = entry.path().filename().string();
    INFO(name);
    if (name == "zip_bomb.pth") {  // read, within what it declares
      const auto file = open_tensor_file(path);
      REQUIRE(file->tensors().size() == 1);
      CHECK(file->tensors().front().size() == 4 * 1024 * 1024);
      read_whole(path);
      continue;
    }
    if (name == "unknown_global.pth") {  // passed over, and no tensor
      const auto file = open_tensor_file(path);
      REQUIRE(file->tensors().size() == 1);
      CHECK(file->tensors().front().name == "cls_token");
      continue;
    }
    const std::string said = thrown_by<CheckpointError>([&] { read_whole(path); });
    INFO(said);
    CHECK(contains(said, path + ": "));
    CHECK(!contains(said, "\n"));
    REQUIRE(answers.contains(name));
    for (const std::string& part : answers.at(name)) CHECK(contains(said, part));
  }
  CHECK(seen == answers.size() + 2);
  CHECK(!std::filesystem::exists("/tmp/dssl-interop-was-executed"));
}

TEST_CASE("torch file: cut anywhere, a file is refused or whole", "[torch_file]") {
  const test::TemporaryFolder folder;
  for (const std::string name : {"container_zip", "container_legacy", "container_deflated"}) {
    INFO(name);
    const std::vector<char> bytes = bytes_of_file(test::weights_of(name));
    const std::string path = folder / "cut.pth";
    for (std::size_t length = 0; length < bytes.size(); length += 1 + bytes.size() / 97) {
      write_bytes(path, std::span(bytes).first(length));
      CHECK(contains(thrown_by<CheckpointError>([&] { read_whole(path); }), "cut.pth: "));
    }
  }
}

TEST_CASE("torch file: a changed byte of a storage is found by the check sum", "[torch_file]") {
  const test::TemporaryFolder folder;
  for (const std::string name : {"container_zip", "container_zip64", "container_deflated"}) {
    INFO(name);
    std::vector<char> bytes = bytes_of_file(test::weights_of(name));
    const auto original = bytes;
    const std::string path = folder / "changed.pth";
    std::size_t found = 0;
    std::size_t tried = 0;
    for (std::size_t at = 6000; at + 8000 < bytes.size(); at += 997) {
      bytes[at] = static_cast<char>(bytes[at] ^ 4);
      write_bytes(path, bytes);
      bytes[at] = original[at];
      ++tried;
      found += contains(thrown_by<CheckpointError>([&] { read_whole(path); }), "is damaged");
    }
    // What lies between the records, for alignment, is no part of them.
    CHECK(found >= tried - tried / 4);
    CHECK(tried > 10);
  }
}

TEST_CASE("tensor files are told by their content", "[torch_file]") {
  const test::TemporaryFolder folder;
  const std::vector<char> zip = bytes_of_file(test::weights_of("container_zip"));
  const std::vector<char> safetensors = bytes_of_file(test::weights_of("container_safetensors"));
  write_bytes(folder / "a.safetensors", zip);
  write_bytes(folder / "b.pth", safetensors);
  CHECK(dynamic_cast<const TorchFile*>(open_tensor_file(folder / "a.safetensors").get()) != nullptr);
  CHECK(dynamic_cast<const SafetensorsFile*>(open_tensor_file(folder / "b.pth").get()) != nullptr);
  write_bytes(folder / "c.safetensors", std::string("neither"));
  CHECK(contains(
      thrown_by<CheckpointError>([&] { static_cast<void>(open_tensor_file(folder / "c.safetensors")); }),
      "not a safetensors file"));
  write_bytes(folder / "d.pth", std::string("neither nor"));
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(open_tensor_file(folder / "d.pth")); }),
                 "neither a file of torch.save nor safetensors"));
  CHECK(contains(thrown_by<FileError>([&] { static_cast<void>(open_tensor_file(folder / "none.pth")); }),
                 "cannot open"));
}

TEST_CASE("what is no safetensors file, but named like one, is said what it is") {
  const test::TemporaryFolder folder;
  const auto said = [&](const std::string& bytes) {
    const std::string path = folder / "model.safetensors";
    std::ofstream(path, std::ios::binary) << bytes;
    return test::thrown_by<CheckpointError>([&] { (void)open_tensor_file(path); });
  };
  CHECK(test::contains(said("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "is a Git LFS pointer"));
  CHECK(test::contains(said("<html>not found</html>"), "is a page of a web server"));
  CHECK(test::contains(said(""), "is empty; expected weights"));
  CHECK(test::contains(said("0123456789"), "model.safetensors: "));
}

TEST_CASE("torch file: names that many dictionaries share are counted each time", "[torch_file]") {
  // A dictionary of a thousand names that twenty keys of 3900 characters hold: 78 million characters.
  const test::TemporaryFolder folder;
  const std::vector<float> storage(1, 0.0F);
  std::string items = pickled("tensor") + pickled_tensor(1, 0, 1) + "r" + four_bytes(1) + pickled("inner") + "}r" + four_bytes(2) + "(";
  for (int i = 0; i < 1000; ++i) items += pickled(std::to_string(i)) + "j" + four_bytes(1);
  items += "u";
  const auto file_of = [&](int keys) {
    std::string all = items;
    for (int i = 0; i < keys; ++i) all += pickled(std::to_string(100 + i) + std::string(3900, 'x')) + "j" + four_bytes(2);
    const std::string file = torch_sample(all, storage, false, false);
    write_bytes(folder / "names.pth", file);
    return folder / "names.pth";
  };
  CHECK(TorchFile::open(file_of(1)).tensors().size() == 2001);
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(TorchFile::open(file_of(20))); }),
                 "names.pth: has names of more than 67108864 characters together"));
}

TEST_CASE("torch file: what unknown classes make is passed over, and refused in a tensor's place", "[torch_file]") {
  const test::TemporaryFolder folder;
  const std::vector<float> storage(1, 2.5F);
  const std::string path = folder / "checkpoint.pth";
  const auto write = [&](const std::string& items) {
    write_bytes(path, torch_sample(pickled("w") + pickled_tensor(1, 0, 1) + items, storage, false, false));
  };
  const auto said = [&](const std::string& items) {
    write(items);
    return thrown_by<CheckpointError>([&] { static_cast<void>(TorchFile::open(path)); });
  };
  const auto names = [&](const std::string& items) {
    write(items);
    const TorchFile file = TorchFile::open(path);
    CHECK(file.read<float>("w") == storage);
    std::string all;
    for (const StoredTensor& tensor : file.tensors()) all += tensor.name + " ";
    return all;
  };
  // As Python writes a path among options: pathlib.PosixPath("runs", "a"), in a Namespace's state; an enumeration's value; a set.
  const std::string posix_path = pickled_global("pathlib", "PosixPath") + pickled("runs") + pickled("a") + "\x86R";
  const std::string options = pickled_global("argparse", "Namespace") + ")\x81}" + pickled("output_dir") + posix_path + "sb";
  const std::string member = pickled_global("my_package", "Mode") + pickled("fine") + "\x85R";
  const std::string set = pickled_global("__builtin__", "set") + "]" + pickled("a") + "a\x85R";
  CHECK(names(pickled("args") + options + pickled("path") + posix_path + pickled("mode") + member + pickled("set") + set) == "w ");
  // What they make is called, given a state, items and elements, and makes others: all as opaque.
  CHECK(names(pickled("made") + member + ")R}b" + pickled("x") + "a" + pickled("y") + "K\x01sNN\x86R") == "w ");
  // A tensor among an object's state is the object's own.
  CHECK(names(pickled("object") + pickled_global("my_package", "State") + ")\x81}" + pickled("t") + pickled_tensor(1, 0, 1) + "sb") == "w ");

  const std::string other = pickled_tensor(1, 0, 1, pickled_global("my_package.tensors", "rebuild"));
  CHECK(contains(said(pickled("inner") + "}" + pickled("v") + other + "s"),
                 "checkpoint.pth: tensor 'inner.v' is made by 'my_package.tensors.rebuild', which is not read"));
  const std::string parameter = pickled_global("torch._utils", "_rebuild_parameter");
  CHECK(contains(said(pickled("v") + parameter + other + "\x88}\x87R"), "tensor 'v' is made by 'my_package.tensors.rebuild'"));
  CHECK(contains(said(pickled("v") + parameter + posix_path + "\x88}\x87R"), "tensor 'v' is made by 'pathlib.PosixPath'"));
  const std::string subclass = pickled_global("torch._tensor", "_rebuild_from_type_v2") + "(" +
                               pickled_global("torch._utils", "_rebuild_tensor_v2") + pickled_global("my_package", "Kind") + "(" +
                               pickled_storage(pickled_global("torch", "FloatStorage"), 1) + "K" + std::string(1, '\0') + "t}tR";
  CHECK(contains(said(pickled("v") + subclass), "tensor 'v' is made by 'torch._tensor._rebuild_from_type_v2'"));
  // Made by NEWOBJ of a tensor, with tensors in a dictionary as torch's wrapper subclasses are, of bytes.
  CHECK(contains(said(pickled("v") + pickled_global("my_package", "Holder") + pickled_tensor(1, 0, 1) + "\x85\x81"),
                 "tensor 'v' is made by 'my_package.Holder'"));
  CHECK(contains(said(pickled("v") + pickled_global("my_package", "wrapped") + "}" + pickled("data") + pickled_tensor(1, 0, 1) + "s\x85R"),
                 "tensor 'v' is made by 'my_package.wrapped'"));
  CHECK(contains(said(pickled("v") + pickled_global("torch._utils", "_rebuild_device_tensor_from_numpy") + ")R"),
                 "tensor 'v' is made by 'torch._utils._rebuild_device_tensor_from_numpy'"));
  // A key that is an object names nothing that could be asked for.
  CHECK(names(posix_path + "N") == "w ");
  CHECK(contains(said(posix_path + pickled_tensor(1, 0, 1)), "has a dictionary with a key that is an object"));
  const std::string untyped = pickled_global("torch.storage", "UntypedStorage");
  CHECK(names(pickled("v") + pickled_global("my_package", "Holder") + ")\x81" + pickled_storage(untyped, 1) + "b") == "w ");
  CHECK(contains(said(pickled("v") + pickled_tensor(1, 0, 1, pickled_global("torch._utils", "_rebuild_tensor_v2"), untyped)),
                 "tensor 'v' is not described by a storage"));
  // What runs things is refused wherever it stands, though nothing would be run.
  CHECK(contains(said(pickled("v") + pickled_global("posix", "system") + pickled("true") + "\x85R"),
                 "refers to 'posix.system', which files of weights do not need; nothing of it is run"));
  CHECK(contains(said(pickled("v") + pickled_global("os.path", "join") + ")R"), "refers to 'os.path.join'"));
  CHECK(contains(said(pickled("v") + pickled_global("__builtin__", "getattr") + ")R"), "refers to '__builtin__.getattr'"));

  test::ZipSample zip;
  zip.add("a/data.pkl", as_bytes_of("\x80\x02" + posix_path + "."), false);
  write_bytes(path, zip.finished());
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(TorchFile::open(path)); }),
                 "checkpoint.pth: holds an object of 'pathlib.PosixPath'; expected a dictionary of named tensors"));
}

TEST_CASE("torch file: what is no damage is said as what it is", "[torch_file]") {
  const test::TemporaryFolder folder;
  const std::vector<float> storage(1, 0.0F);
  const std::string path = folder / "other.pth";
  const auto said = [&](const std::string& file) {
    write_bytes(path, file);
    return thrown_by<CheckpointError>([&] { static_cast<void>(TorchFile::open(path)); });
  };
  CHECK(contains(said(torch_sample(pickled("tensor") + pickled_tensor(1, 0, 1) + "NK\x01", storage, false, false)),
                 "other.pth: has a dictionary with a key that is None; expected text or whole numbers"));
  // A frame, with which pickles of protocol 4 begin.
  test::ZipSample zip;
  zip.add("a/data.pkl", as_bytes_of(std::string("\x80\x04\x95\x01\0\0\0\0\0\0\0}.", 13)), false);
  CHECK(contains(said(zip.finished()), "has the opcode 0x95 at byte 2, which files of weights do not need; nothing of it is run (it is of "
                                       "protocol 4; save it with torch.save's own, which is 2)"));
}

TEST_CASE("torch file: a packed pickle is a short one", "[torch_file]") {
  const test::TemporaryFolder folder;
  const std::vector<float> storage(1, 0.0F);
  const std::string path = folder / "long.pth";
  const std::string items = pickled("tensor") + pickled_tensor(1, 0, 1) + pickled("note") + pickled(std::string(1U << 22U, 'x'));
  write_bytes(path, torch_sample(items, storage, false, false));
  CHECK(TorchFile::open(path).tensors().size() == 1);
  write_bytes(path, torch_sample(items, storage, true, false));
  const std::string said = thrown_by<CheckpointError>([&] { static_cast<void>(TorchFile::open(path)); });
  CHECK(contains(said, "long.pth: the record 'a/data.pkl' has 4194"));
  CHECK(contains(said, "; expected at most 4194304 of a packed pickle"));
}

TEST_CASE("torch file: a packed storage is its tensors' own, and unpacked once for those that follow one another", "[torch_file]") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "packed.pth";
  std::vector<float> storage(1000);
  for (std::size_t i = 0; i < storage.size(); ++i) storage[i] = static_cast<float>(i);
  write_bytes(path, torch_sample(pickled("a") + pickled_tensor(2, 0, 2), storage, true, true));
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(TorchFile::open(path)); }),
                 "packed.pth: tensor 'a' has its elements in a storage of 2, 8 bytes; its packed record 'a/data/0' has 4000"));
  // Stored, it costs nothing, and is a view as torch saves one.
  write_bytes(path, torch_sample(pickled("a") + pickled_tensor(2, 0, 2), storage, true, false));
  CHECK(TorchFile::open(path).read<float>("a") == std::vector<float>{0, 1});

  const std::string sample = torch_sample(pickled("a") + pickled_tensor(2, 7, 1000) + pickled("b") + pickled_tensor(1, 999, 1000),
                                          storage, true, true);
  write_bytes(path, sample);
  const TorchFile file = TorchFile::open(path);
  CHECK(file.read<float>("a") == std::vector<float>{7, 8});
  // The mapped file is damaged under the reader: whoever unpacks again finds it.
  std::fstream(path, std::ios::binary | std::ios::in | std::ios::out).seekp(static_cast<std::streamoff>(sample.find("a/data/0") + 100)).put('!');
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(TorchFile::open(path).read<float>("b")); }), "is damaged"));
  CHECK(file.read<float>("b") == std::vector<float>{999});
}
