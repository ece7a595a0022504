// ONNX models, written without a protobuf library.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/version.hpp>

namespace dssl {

namespace detail {

/// A message in protobuf's wire format, field after field. Source: protobuf.dev, "Encoding".
///
/// A field is its number and its kind in a varint (7 bits a byte, the lowest first), then a varint, four
/// bytes, or a length and as many bytes. Test: tests/io/onnx_model.cpp.
class ProtobufMessage {
 public:
  void number(std::uint32_t field, std::int64_t value) {
    varint(field << 3U);
    varint(static_cast<std::uint64_t>(value));
  }
  void real(std::uint32_t field, float value) {
    varint(field << 3U | 5U);
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (std::uint32_t shift = 0; shift < 32; shift += 8) x_bytes += static_cast<char>(bits >> shift & 255U);
  }
  void text(std::uint32_t field, std::string_view value) {
    begin(field, value.size());
    x_bytes += value;
  }
  void message(std::uint32_t field, const ProtobufMessage& value) { text(field, value.x_bytes); }
  /// The beginning of a field of so many bytes, which the caller puts behind it.
  void begin(std::uint32_t field, std::size_t length) {
    varint(field << 3U | 2U);
    varint(length);
  }
  [[nodiscard]] const std::string& bytes() const noexcept { return x_bytes; }

 private:
  void varint(std::uint64_t value) {
    for (; value > 127; value >>= 7U) x_bytes += static_cast<char>((value & 127U) | 128U);
    x_bytes += static_cast<char>(value);
  }

  std::string x_bytes;
};

}  // namespace detail

/// Extents of a model's input or output: numbers, or names of what is free.
using OnnxShape = std::vector<std::variant<Index, std::string>>;
/// An attribute of a node: a whole number, a real one, several whole numbers.
using OnnxAttribute = std::variant<Index, float, std::vector<Index>>;
using OnnxAttributes = std::vector<std::pair<std::string, OnnxAttribute>>;

/// How a model is written.
struct OnnxWriteOptions {
  /// A model of more bytes keeps its large tensors in a second file, `<path>.data`: protobuf's readers take
  /// no more than 2^31 - 1. 0: always.
  std::size_t external_above = 2'000'000'000;
};

/// A graph of operators with its weights, and the ONNX file of it: IR version 8, opset 17.
///
/// Nodes are added in the order in which they are computed; each gives the name of its value to those behind
/// it. Weights are asked for one by one while the file is written, so that memory holds one of them. The
/// bytes depend on nothing but what was added, in the order it was added. Source: onnx/onnx.proto. Test:
/// tests/io/onnx_model.cpp.
class OnnxModel {
 public:
  static_assert(std::endian::native == std::endian::little, "tensors are written as they lie in memory");

  static constexpr Index opset = 17;
  static constexpr std::size_t external_alignment =
      4096;  ///< of tensors in a second file: a page, to map them
  static constexpr std::size_t smallest_external = 1024;  ///< bytes of a tensor that goes there

  /// What the values of the next nodes are named after: "blocks.0" gives "blocks.0/MatMul_1".
  void scope(std::string name) { x_scope = std::move(name); }
  /// What the model is, for people.
  void describe(std::string text) { x_description = std::move(text); }
  [[nodiscard]] const std::string& description() const noexcept { return x_description; }
  /// A string beside the graph.
  void metadata(std::string key, std::string value) {
    x_metadata.emplace_back(std::move(key), std::move(value));
  }

  /// An input of floats. Returns its name. Throws `OptionError` where that is taken, as all that name
  /// something do.
  std::string input(const std::string& name, const OnnxShape& shape, std::string_view meaning = {}) {
    claim(name);
    x_inputs.message(11, value_info(name, shape, meaning));
    return name;
  }

  /// Makes a value an output of floats under a name of its own.
  void output(const std::string& name, const std::string& value, const OnnxShape& shape,
              std::string_view meaning = {}) {
    add("Identity", {value}, {name}, {});
    x_outputs.message(12, value_info(name, shape, meaning));
  }

  /// A weight that `values` gives when the file is written, row-major. Returns its name.
  std::string weight(const std::string& name, std::vector<Index> shape,
                     std::function<std::vector<float>()> values) {
    // So that no size overflows, and what is asked for is what fits.
    Index left = Index{1} << 40U;
    for (const Index extent : shape) {
      require_shape(extent >= 1 && extent <= left, "weight '", name, "' has an extent of ", extent,
                    "; expected at least 1, and 2^40 elements at most");
      left /= extent;
    }
    claim(name);
    x_weights.push_back({.name = name, .shape = std::move(shape), .values = std::move(values)});
    return name;
  }

  /// Constant numbers of any shape (empty: a scalar), row-major. Returns its name.
  template <class T>
    requires(std::is_same_v<T, float> || std::is_same_v<T, Index>)
  std::string constant(const std::string& name, const std::vector<Index>& shape, std::span<const T> values) {
    Index size = 1;
    for (const Index extent : shape) size *= extent;
    require_shape(size == static_cast<Index>(values.size()), "constant '", name, "' of ", size,
                  " elements was given ", values.size());
    claim(name);
    detail::ProtobufMessage tensor = tensor_of(name, shape, std::is_same_v<T, float> ? 1 : 7);
    const auto bytes = std::as_bytes(values);
    tensor.text(9, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    x_constants.message(5, tensor);
    return name;
  }
  std::string constant(const std::string& name, float value) {
    return constant(name, {}, std::span<const float>(&value, 1));
  }
  /// Whole numbers in a row, as shapes and axes are given.
  std::string constant(const std::string& name, const std::vector<Index>& values) {
    return constant(name, {static_cast<Index>(values.size())}, std::span<const Index>(values));
  }

  /// A node of several values. Returns their names. Throws `OptionError` for an input that nothing before it
  /// gives.
  std::vector<std::string> nodes(std::string_view type, const std::vector<std::string>& inputs,
                                 std::size_t outputs, const OnnxAttributes& attributes = {}) {
    const std::string stem = join(x_scope, x_scope.empty() ? "" : "/", type, "_", ++x_node_count);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < outputs; ++i) names.push_back(outputs == 1 ? stem : join(stem, ".", i));
    add(type, inputs, names, attributes);
    return names;
  }
  /// A node of one value. Returns its name.
  std::string node(std::string_view type, const std::vector<std::string>& inputs,
                   const OnnxAttributes& attributes = {}) {
    return nodes(type, inputs, 1, attributes).front();
  }

  /// Whether `write` makes a second file.
  [[nodiscard]] bool has_external_data(const OnnxWriteOptions& options = {}) const {
    std::size_t bytes = x_nodes.bytes().size() + x_constants.bytes().size();
    for (const Weight& weight : x_weights) bytes += weight.bytes() + weight.name.size() + 64;
    return bytes > options.external_above;
  }
  /// The file that large tensors are written to beside a model's.
  [[nodiscard]] static std::string data_path(const std::string& path) { return path + ".data"; }

  /// Writes the model, and its data before it where that is a file of its own; each appears whole or not at
  /// all.
  ///
  /// Throws `FileError`; `ShapeError` where a weight gives another number of values than its shape; what
  /// weights throw.
  void write(const std::string& path, const OnnxWriteOptions& options = {}) const {
    const bool external = has_external_data(options);
    std::vector<detail::ProtobufMessage> headers;
    std::vector<bool> outside;
    std::size_t offset = 0;
    std::size_t graph_bytes = graph_text().size();
    for (const Weight& weight : x_weights) {
      outside.push_back(external && weight.bytes() >= smallest_external);
      detail::ProtobufMessage tensor = tensor_of(weight.name, weight.shape, 1);
      if (outside.back()) {
        offset = (offset + external_alignment - 1) / external_alignment * external_alignment;
        entry(tensor, 13, "location", data_path(path).substr(path.rfind('/') + 1));
        entry(tensor, 13, "offset", join(offset));
        entry(tensor, 13, "length", join(weight.bytes()));
        tensor.number(14, 1);
        offset += weight.bytes();
      } else {
        tensor.begin(9, weight.bytes());
      }
      detail::ProtobufMessage header;
      header.begin(5, tensor.bytes().size() + (outside.back() ? 0 : weight.bytes()));
      graph_bytes += header.bytes().size() + tensor.bytes().size() + (outside.back() ? 0 : weight.bytes());
      headers.push_back(std::move(header));
      headers.push_back(std::move(tensor));
    }
    if (external) write_data(data_path(path), outside);

    AtomicFile file(path);
    detail::ProtobufMessage model;
    model.number(1, 8);
    model.text(2, "dssl");
    model.text(3, version_string);
    if (!x_description.empty()) model.text(6, x_description);
    detail::ProtobufMessage operators;
    operators.text(1, "");
    operators.number(2, opset);
    model.message(8, operators);
    for (const auto& [key, value] : x_metadata) entry(model, 14, key, value);
    model.begin(7, graph_bytes);
    file.write(model.bytes());
    file.write(graph_text());
    for (std::size_t i = 0; i < x_weights.size(); ++i) {
      file.write(headers[2 * i].bytes());
      file.write(headers[2 * i + 1].bytes());
      if (!outside[i]) write_values(file, x_weights[i]);
    }
    file.commit();
  }

 private:
  struct Weight {
    std::string name;
    std::vector<Index> shape;
    std::function<std::vector<float>()> values;

    [[nodiscard]] std::size_t bytes() const {
      std::size_t product = sizeof(float);
      for (const Index extent : shape) product *= static_cast<std::size_t>(extent);
      return product;
    }
    [[nodiscard]] std::vector<float> read() const {
      std::vector<float> out = values();
      require_shape(out.size() * sizeof(float) == bytes(), "weight '", name, "' of ", bytes() / sizeof(float),
                    " elements was given ", out.size());
      return out;
    }
  };

  void claim(const std::string& name) {
    if (name.empty() || !x_names.insert(name).second)
      throw OptionError("name", join("'", name, "'"), "a name that nothing in the model has yet");
  }

  void add(std::string_view type, const std::vector<std::string>& inputs,
           const std::vector<std::string>& outputs, const OnnxAttributes& attributes) {
    detail::ProtobufMessage node;
    for (const std::string& name : inputs) {
      if (!x_names.contains(name)) {
        throw OptionError("inputs", join("'", name, "', of a node ", type),
                          "an input, a weight, a constant or what a node before it gives");
      }
      node.text(1, name);
    }
    for (const std::string& name : outputs) {
      claim(name);
      node.text(2, name);
    }
    node.text(3, outputs.front());
    node.text(4, type);
    for (const auto& [name, value] : attributes) {
      detail::ProtobufMessage attribute;
      attribute.text(1, name);
      if (const auto* const whole = std::get_if<Index>(&value)) {
        attribute.number(3, *whole);
        attribute.number(20, 2);
      } else if (const auto* const real = std::get_if<float>(&value)) {
        attribute.real(2, *real);
        attribute.number(20, 1);
      } else {
        for (const Index each : std::get<std::vector<Index>>(value)) attribute.number(8, each);
        attribute.number(20, 7);
      }
      node.message(5, attribute);
    }
    x_nodes.message(1, node);
  }

  [[nodiscard]] static detail::ProtobufMessage value_info(std::string_view name, const OnnxShape& shape,
                                                          std::string_view meaning) {
    detail::ProtobufMessage extents, tensor, type, info;
    for (const auto& extent : shape) {
      detail::ProtobufMessage dimension;
      if (const auto* const number = std::get_if<Index>(&extent)) {
        dimension.number(1, *number);
      } else {
        dimension.text(2, std::get<std::string>(extent));
      }
      extents.message(1, dimension);
    }
    tensor.number(1, 1);
    tensor.message(2, extents);
    type.message(1, tensor);
    info.text(1, name);
    info.message(2, type);
    if (!meaning.empty()) info.text(3, meaning);
    return info;
  }

  [[nodiscard]] static detail::ProtobufMessage tensor_of(std::string_view name,
                                                         const std::vector<Index>& shape, std::int64_t type) {
    detail::ProtobufMessage tensor;
    for (const Index extent : shape) tensor.number(1, extent);
    tensor.number(2, type);
    tensor.text(8, name);
    return tensor;
  }

  static void entry(detail::ProtobufMessage& of, std::uint32_t field, std::string_view key,
                    std::string_view value) {
    detail::ProtobufMessage pair;
    pair.text(1, key);
    pair.text(2, value);
    of.message(field, pair);
  }

  /// All of the graph but its weights.
  [[nodiscard]] std::string graph_text() const {
    detail::ProtobufMessage name;
    name.text(2, "dssl");
    return x_nodes.bytes() + name.bytes() + x_constants.bytes() + x_inputs.bytes() + x_outputs.bytes();
  }

  static void write_values(AtomicFile& file, const Weight& weight) {
    const std::vector<float> values = weight.read();
    file.write(std::as_bytes(std::span(values)));
  }

  void write_data(const std::string& path, const std::vector<bool>& outside) const {
    AtomicFile file(path);
    const std::string zeros(external_alignment, '\0');
    std::size_t offset = 0;
    for (std::size_t i = 0; i < x_weights.size(); ++i) {
      if (!outside[i]) continue;
      const std::size_t gap = (external_alignment - offset % external_alignment) % external_alignment;
      file.write(std::string_view(zeros).substr(0, gap));
      write_values(file, x_weights[i]);
      offset += gap + x_weights[i].bytes();
    }
    file.commit();
  }

  std::string x_scope, x_description;
  std::vector<std::pair<std::string, std::string>> x_metadata;
  detail::ProtobufMessage x_inputs, x_outputs, x_nodes, x_constants;
  std::vector<Weight> x_weights;
  std::set<std::string> x_names;
  std::size_t x_node_count = 0;
};

}  // namespace dssl
