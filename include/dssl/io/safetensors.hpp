// Tensor files in the safetensors format: read with every check, written whole or not at all.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/json_writer.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/io/safetensors_header.hpp>
#include <dssl/io/tensor_file.hpp>

namespace dssl {

/// A safetensors file opened to read; the tensors stay in the mapped file until they are asked for.
///
/// Format: a little-endian u64 header length, a JSON header, the tensors' bytes.
/// Test: tests/io/safetensors.cpp.
class SafetensorsFile final : public TensorFile {
 public:
  /// Opens and checks the whole header against the file's size.
  /// Throws `FileError` if the file cannot be read, `CheckpointError` naming the tensor if it is damaged.
  [[nodiscard]] static SafetensorsFile open(const std::string& path) { return SafetensorsFile(path); }

  /// The bytes of a tensor as they lie in the file: not aligned, valid as long as this object.
  [[nodiscard]] std::span<const std::byte> bytes(std::string_view name) const {
    const StoredTensor& entry = tensor(name);
    return x_data.subspan(entry.begin, entry.end - entry.begin);
  }

 private:
  // The published implementation refuses longer headers too.
  static constexpr std::uint64_t longest_header = 100'000'000;

  explicit SafetensorsFile(const std::string& path) : TensorFile(path), x_file(path) {
    const std::span<const std::byte> bytes = x_file.bytes();
    if (bytes.size() < 8)
      throw CheckpointError(path, join("has ", bytes.size(), " bytes; not a safetensors file"));
    const bool zip = std::memcmp(bytes.data(), "PK\x03\x04", 4) == 0, pickle = bytes[0] == std::byte{0x80} && bytes[1] <= std::byte{5};
    if ((zip || pickle) && (bytes.size() < 9 || bytes[8] != std::byte{'{'}))
      throw CheckpointError(path, "is a zip file or a pickle, as torch.save writes them; expected safetensors");
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    if (length > longest_header) {
      throw CheckpointError(path, join("header length is ", length, "; expected at most ", longest_header,
                                       " (is this a safetensors file?)"));
    }
    if (length > bytes.size() - 8) {
      throw CheckpointError(path,
                            join("truncated: the header has ", length, " bytes, the file ", bytes.size()));
    }
    const std::span<const std::byte> header = bytes.subspan(8, static_cast<std::size_t>(length));
    detail::SafetensorsHeaderParser parser(
        path, std::string_view(reinterpret_cast<const char*>(header.data()), header.size()));
    detail::SafetensorsHeader parsed = parser.parse();
    x_data = bytes.subspan(8 + header.size());
    detail::check_tensors(parsed.tensors, path, x_data.size());
    set_tensors(std::move(parsed.tensors), std::move(parsed.metadata));
  }

  [[nodiscard]] std::span<const std::byte> x_elements(std::size_t place, std::vector<std::byte>&) const override {
    const StoredTensor& entry = tensors()[place];
    return x_data.subspan(entry.begin, entry.end - entry.begin);
  }

  MappedFile x_file;
  std::span<const std::byte> x_data;
};

/// Collects tensors and strings and writes them as one safetensors file.
///
/// Tensors are not copied: their memory must live and stay unchanged until `write` returns. The bytes of the
/// file depend on nothing but what was added, in the order it was added.
class SafetensorsWriter {
 public:
  /// Adds a tensor of the given extents (none for a scalar), row-major.
  /// Throws `ShapeError` if the extents do not give the span's size, `OptionError` if the name is taken.
  template <StoredNumber T>
  void add(std::string name, std::vector<Index> shape, std::span<const T> values) {
    add_bytes(std::move(name), *element_type_of<T>(), std::move(shape), std::as_bytes(values));
  }

  /// Adds a tensor of any stored type from its little-endian bytes (for half precision).
  void add_bytes(std::string name, ElementType type, std::vector<Index> shape,
                 std::span<const std::byte> bytes) {
    if (name == "__metadata__" || x_names.contains(name)) {
      throw OptionError("tensor name", name, "a name that is not used yet");
    }
    StoredTensor tensor{name, type, std::move(shape), x_size, x_size + bytes.size()};
    const bool positive =
        std::all_of(tensor.shape.begin(), tensor.shape.end(), [](Index e) { return e >= 0; });
    require_shape(positive && static_cast<std::size_t>(tensor.size()) * element_bytes(type) == bytes.size(),
                  "tensor '", name, "' of ", element_name(type), " ", shape_text(tensor.shape), " was given ",
                  bytes.size(), " bytes");
    x_size = tensor.end;
    x_names.emplace(std::move(name), true);
    x_tensors.push_back(std::move(tensor));
    x_bytes.push_back(bytes);
  }

  /// Stores a string beside the tensors; a key given again is replaced.
  void metadata(std::string key, std::string value) {
    const auto same =
        std::find_if(x_metadata.begin(), x_metadata.end(), [&](const auto& m) { return m.first == key; });
    if (same != x_metadata.end()) {
      same->second = std::move(value);
    } else {
      x_metadata.emplace_back(std::move(key), std::move(value));
    }
  }

  /// Writes the file through `AtomicFile`: whole and flushed, or not at all.
  /// Throws `FileError` naming the path and the reason (full disk, folder missing or not writable).
  void write(const std::string& path) const {
    AtomicFile file(path);
    const std::string text = header();
    const std::uint64_t length = text.size();
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(text);
    for (const std::span<const std::byte> bytes : x_bytes) file.write(bytes);
    file.commit();
  }

 private:
  [[nodiscard]] std::string header() const {
    std::string text = "{";
    if (!x_metadata.empty()) {
      text += "\"__metadata__\":{";
      for (const auto& [key, value] : x_metadata) {
        text += detail::json_string(key) + ":" + detail::json_string(value) + ",";
      }
      text.back() = '}';
      text += ',';
    }
    for (const StoredTensor& tensor : x_tensors) {
      text += join(detail::json_string(tensor.name), ":{\"dtype\":\"", element_name(tensor.type),
                   "\",\"shape\":", shape_text(tensor.shape), ",\"data_offsets\":[", tensor.begin, ",",
                   tensor.end, "]},");
    }
    if (text.size() > 1) text.pop_back();
    text += '}';
    // Eight-byte alignment of the data lets other readers map it in place.
    text.append((8 - text.size() % 8) % 8, ' ');
    return text;
  }

  std::vector<StoredTensor> x_tensors;
  std::vector<std::span<const std::byte>> x_bytes;
  std::vector<std::pair<std::string, std::string>> x_metadata;
  std::map<std::string, bool> x_names;
  std::size_t x_size = 0;
};

}  // namespace dssl
