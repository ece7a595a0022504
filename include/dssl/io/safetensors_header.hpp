// The header of a safetensors file: its restricted JSON, parsed strictly and checked against the file.
// Tests: tests/io/safetensors.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/json_reader.hpp>
#include <dssl/io/tensor_file.hpp>

namespace dssl {

namespace detail {

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  // as listed in the file
  std::map<std::string, std::string> metadata;
};

/// Reads the one JSON object a safetensors header consists of. Throws `CheckpointError` naming the byte.
class SafetensorsHeaderParser : JsonReader {
 public:
  SafetensorsHeaderParser(std::string_view path, std::string_view text) : JsonReader(path, text, "header ", 8) {}

  [[nodiscard]] SafetensorsHeader parse() {
    SafetensorsHeader header;
    std::set<std::string> names;
    // The format forbids white space before the object; it pads with spaces after it.
    if (!starts_with('{')) fail("a header that starts with '{'");
    object([&](const std::string& name) {
      if (name.size() > longest_tensor_name)
        throw CheckpointError(path(), join("has a name of ", name.size(), " characters; expected at most ", longest_tensor_name));
      if (!names.insert(name).second)
        throw CheckpointError(path(), join("tensor '", name, "' is listed twice"));
      if (name == "__metadata__") {
        object([&](const std::string& key) {
          const bool added = header.metadata.emplace(key, string()).second;
          if (!added) throw CheckpointError(path(), join("metadata '", key, "' is listed twice"));
        });
      } else {
        header.tensors.push_back(tensor(name));
      }
    });
    end("the header's object");
    return header;
  }

 private:
  [[nodiscard]] std::vector<Index> naturals() {
    std::vector<Index> values;
    expect('[');
    if (next_is(']')) return values;
    do values.push_back(natural());
    while (next_is(','));
    expect(']');
    return values;
  }

  [[nodiscard]] StoredTensor tensor(const std::string& name) {
    StoredTensor tensor;
    tensor.name = name;
    bool has_type = false;
    bool has_shape = false;
    bool has_offsets = false;
    const auto once = [&](bool& seen, const std::string& field) {
      if (seen) throw CheckpointError(path(), join("tensor '", name, "' has two fields '", field, "'"));
      seen = true;
    };
    object([&](const std::string& field) {
      if (field == "dtype") {
        once(has_type, field);
        const std::string type = string();
        const auto known = element_type_named(type);
        if (!known) {
          throw CheckpointError(path(), join("tensor '", name, "' has unknown dtype '", type, "'; expected ", element_names()));
        }
        tensor.type = *known;
      } else if (field == "shape") {
        once(has_shape, field);
        tensor.shape = naturals();
      } else if (field == "data_offsets") {
        once(has_offsets, field);
        const std::vector<Index> offsets = naturals();
        if (offsets.size() != 2 || offsets[0] > offsets[1]) {
          throw CheckpointError(path(), join("tensor '", name, "' has data_offsets ", shape_text(offsets),
                                             "; expected [begin, end] with begin <= end"));
        }
        tensor.begin = static_cast<std::size_t>(offsets[0]);
        tensor.end = static_cast<std::size_t>(offsets[1]);
      } else {
        throw CheckpointError(path(), join("tensor '", name, "' has unknown field '", field, "'"));
      }
    });
    if (!has_type || !has_shape || !has_offsets) {
      throw CheckpointError(path(), join("tensor '", name, "' lacks ",
                                         !has_type    ? "dtype"
                                         : !has_shape ? "shape"
                                                      : "data_offsets"));
    }
    return tensor;
  }
};

/// Checks that the tensors fill `data_bytes` without gap or overlap and agree with their shapes.
/// Throws `CheckpointError` naming the tensor.
inline void check_tensors(const std::vector<StoredTensor>& tensors, std::string_view path,
                          std::size_t data_bytes) {
  std::vector<const StoredTensor*> by_offset;
  for (const StoredTensor& tensor : tensors) {
    // Bytes by shape; a product that overflows can fit no file. That of the extents beside a zero may not either:
    // `size()` multiplies them all.
    std::size_t bytes = element_bytes(tensor.type);
    bool overflows = false;
    const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
    for (const Index extent : tensor.shape) {
      const auto factor = std::max<std::size_t>(1, static_cast<std::size_t>(extent));
      overflows = overflows || bytes > std::numeric_limits<std::size_t>::max() / 2 / factor;
      if (!overflows) bytes *= factor;
    }
    if (empty) bytes = 0;
    if (overflows || bytes != tensor.end - tensor.begin) {
      throw CheckpointError(
          path, join("tensor '", tensor.name, "' of ", element_name(tensor.type), " ",
                     shape_text(tensor.shape), " takes ", tensor.end - tensor.begin, " bytes; expected ",
                     overflows ? "a size that fits in memory" : std::to_string(bytes)));
    }
    if (tensor.end > data_bytes) {
      throw CheckpointError(path, join("truncated: tensor '", tensor.name, "' ends at byte ", tensor.end,
                                       " of the data, which has ", data_bytes));
    }
    by_offset.push_back(&tensor);
  }
  std::sort(by_offset.begin(), by_offset.end(), [](const StoredTensor* a, const StoredTensor* b) {
    return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
  });
  std::size_t filled = 0;
  for (const StoredTensor* tensor : by_offset) {
    if (tensor->begin != filled) {
      throw CheckpointError(
          path, join("tensor '", tensor->name, "' starts at byte ", tensor->begin, " of the data and ",
                     tensor->begin < filled ? "overlaps" : "leaves a gap after",
                     " the tensor before it, which ends at ", filled));
    }
    filled = tensor->end;
  }
  if (filled != data_bytes) {
    throw CheckpointError(path,
                          join("the tensors end at byte ", filled, " of the data, which has ", data_bytes));
  }
}

}  // namespace detail
}  // namespace dssl
