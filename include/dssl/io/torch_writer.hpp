// Files that torch.load reads, `.pth`: a state dict written without Python.
// Tests: tests/io/torch_writer.cpp, tests/interop/strict_loads.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/tensor_file.hpp>
#include <dssl/io/torch_storages.hpp>
#include <dssl/io/zip_writer.hpp>

namespace dssl {

/// Collects tensors and writes them as one file of torch.save's zip format: an OrderedDict of contiguous tensors in the
/// order they were added, each with a storage of its own, which `torch.load(path, weights_only=True)` and `TorchFile` read.
///
/// Tensors are not copied: their memory must live and stay unchanged until `write` returns. The bytes of the file depend on
/// nothing but what was added.
class TorchWriter {
 public:
  /// Adds a tensor of the given extents (none for a scalar), row-major.
  /// Throws as `add_bytes`.
  template <StoredNumber T>
  void add(std::string name, std::vector<Index> shape, std::span<const T> values) {
    add_bytes(std::move(name), *element_type_of<T>(), std::move(shape), std::as_bytes(values));
  }

  /// Adds a tensor from its little-endian bytes. Throws `ShapeError` if the extents do not give their number,
  /// `OptionError` if the name is taken, or torch's storages have no such type (unsigned of more than a byte).
  void add_bytes(std::string name, ElementType type, std::vector<Index> shape, std::span<const std::byte> bytes) {
    if (x_names.contains(name)) throw OptionError("tensor name", name, "a name that is not used yet");
    if (detail::torch_storage_of(type).empty()) {
      throw OptionError("element type", join(element_name(type), " of tensor '", name, "'"),
                        "F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL, as a .pth holds");
    }
    StoredTensor tensor{.name = std::move(name), .type = type, .shape = std::move(shape)};
    bool positive = true;
    for (const Index extent : tensor.shape) positive = positive && extent >= 0;
    require_shape(positive && static_cast<std::size_t>(tensor.size()) * element_bytes(type) == bytes.size(), "tensor '",
                  tensor.name, "' of ", element_name(type), " ", shape_text(tensor.shape), " was given ", bytes.size(), " bytes");
    x_names.insert(tensor.name);  // last: what is refused may be added again
    x_tensors.push_back(std::move(tensor));
    x_bytes.push_back(bytes);
  }

  /// Writes the file through `AtomicFile`: whole and flushed, or not at all. Throws `FileError`.
  void write(const std::string& path) const {
    const std::string described = pickle();
    const auto bytes_of = [](std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); };
    ZipWriter zip;
    zip.add("archive/data.pkl", bytes_of(described));
    zip.add("archive/byteorder", bytes_of("little"));
    for (std::size_t i = 0; i < x_tensors.size(); ++i) zip.add(join("archive/data/", i), x_bytes[i]);
    zip.add("archive/version", bytes_of("3\n"));
    zip.write(path);
  }

 private:
  template <class Number>
  static void append(std::string& out, Number value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out.append(bytes, sizeof value);
  }

  /// BINUNICODE.
  static void text(std::string& out, std::string_view value) {
    out += 'X';
    append(out, static_cast<std::uint32_t>(value.size()));
    out += value;
  }

  /// BININT, or LONG1 of eight bytes.
  static void whole(std::string& out, Index value) {
    if (value <= 0x7FFFFFFF) {
      out += 'J';
      append(out, static_cast<std::int32_t>(value));
    } else {
      out += "\x8A\x08";
      append(out, static_cast<std::int64_t>(value));
    }
  }

  static void wholes(std::string& out, const std::vector<Index>& values) {
    out += '(';
    for (const Index value : values) whole(out, value);
    out += 't';
  }

  /// Protocol 2: OrderedDict() and its items, each a call of _rebuild_tensor_v2(storage, 0, sizes, strides, False,
  /// OrderedDict()), the storage a persistent id.
  [[nodiscard]] std::string pickle() const {
    constexpr std::string_view dictionary = "ccollections\nOrderedDict\n)R";
    std::string out = "\x80\x02";
    out += dictionary;
    out += '(';
    for (std::size_t i = 0; i < x_tensors.size(); ++i) {
      const StoredTensor& tensor = x_tensors[i];
      text(out, tensor.name);
      out += "ctorch._utils\n_rebuild_tensor_v2\n((";
      text(out, "storage");
      out += join("ctorch\n", detail::torch_storage_of(tensor.type), "\n");
      text(out, std::to_string(i));
      text(out, "cpu");
      whole(out, tensor.size());
      out += "tQ";
      whole(out, 0);
      wholes(out, tensor.shape);
      std::vector<Index> strides(tensor.shape.size(), 1);
      for (std::size_t d = strides.size(); d-- > 1;) strides[d - 1] = strides[d] * std::max<Index>(1, tensor.shape[d]);
      wholes(out, strides);
      out += '\x89';
      out += dictionary;
      out += "tR";
    }
    out += "u.";
    return out;
  }

  std::vector<StoredTensor> x_tensors;
  std::vector<std::span<const std::byte>> x_bytes;
  std::set<std::string, std::less<>> x_names;
};

}  // namespace dssl
