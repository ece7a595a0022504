// Layers of a backbone's file as nodes of an ONNX graph, and the constants that several nodes read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/onnx_model.hpp>
#include <dssl/io/weights.hpp>

namespace dssl::detail {

/// The graph of a file's backbone as it grows; what builds one derives from it. Strings are names of values,
/// as the model has them.
class OnnxLayers {
 protected:
  OnnxLayers(const BackboneFile& file, BackboneDescription vit) : x_file(file), x_d(std::move(vit)) {}

  [[nodiscard]] const BackboneFile& file() const { return x_file; }
  [[nodiscard]] const BackboneDescription& vit() const { return x_d; }
  [[nodiscard]] OnnxModel& model() { return x_model; }

  /// The values of a tensor of the file, checked as those that are loaded.
  [[nodiscard]] static std::vector<float> read_weights(const BackboneFile& file, const std::string& name) {
    std::vector<float> values = file.read<float>(name);
    require_weights(std::span<const float>(values), file.path(), StoredPart{.name = name}, name);
    return values;
  }

  /// A tensor of the file as it lies there, but for its extents; once, however often it is asked for.
  std::string weight(const std::string& name, std::vector<Index> shape = {}) {
    if (std::ranges::find(x_known, name) != x_known.end()) return name;
    x_known.push_back(name);
    if (shape.empty()) shape = x_file.shape(name);
    return x_model.weight(name, std::move(shape),
                          [&file = x_file, name] { return read_weights(file, name); });
  }

  /// A matrix (out,in) as (in,out), from whose left side rows come.
  std::string transposed(const std::string& name) {
    const std::vector<Index> shape = x_file.shape(name);
    const auto rows = static_cast<std::size_t>(shape[0]), columns = static_cast<std::size_t>(shape[1]);
    return x_model.weight(name, {shape[1], shape[0]}, [&file = x_file, name, rows, columns] {
      const std::vector<float> values = read_weights(file, name);
      std::vector<float> out(values.size());
      for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < columns; ++j) out[j * rows + i] = values[i * columns + j];
      }
      return out;
    });
  }

  std::string linear(const std::string& layer, const std::string& x) {
    const std::string product = x_model.node("MatMul", {x, transposed(layer + ".weight")});
    if (!x_file.contains(layer + ".bias")) return product;
    return x_model.node("Add", {product, weight(layer + ".bias")});
  }

  std::string norm(const std::string& layer, const std::string& x) {
    return x_model.node("LayerNormalization", {x, weight(layer + ".weight"), weight(layer + ".bias")},
                        {{"axis", -1}, {"epsilon", static_cast<float>(x_d.norm_epsilon)}});
  }

  // Constants are made when the first node asks.

  std::string number(float value) {
    const std::string name = join("number_", value);
    if (std::ranges::find(x_known, name) == x_known.end()) {
      x_known.push_back(name);
      x_model.constant(name, value);
    }
    return name;
  }
  std::string row(const std::vector<Index>& values) {
    std::string name = "row";
    for (const Index value : values) name += join("_", value);
    if (std::ranges::find(x_known, name) == x_known.end()) {
      x_known.push_back(name);
      x_model.constant(name, values);
    }
    return name;
  }
  std::string whole(Index value) {
    const std::string name = join("whole_", value);
    if (std::ranges::find(x_known, name) == x_known.end()) {
      x_known.push_back(name);
      x_model.constant(name, {}, std::span<const Index>(&value, 1));
    }
    return name;
  }
  std::string shared(const std::string& name, const std::vector<Index>& shape,
                     const std::vector<float>& values) {
    if (std::ranges::find(x_known, name) == x_known.end()) {
      x_known.push_back(name);
      x_model.constant<float>(name, shape, values);
    }
    return name;
  }

  std::string real(const std::string& whole) { return x_model.node("Cast", {whole}, {{"to", Index{1}}}); }
  std::string op(std::string_view type, const std::string& a, const std::string& b) {
    return x_model.node(type, {a, b});
  }
  std::string op(std::string_view type, const std::string& a, float b) { return op(type, a, number(b)); }

 private:
  const BackboneFile& x_file;
  BackboneDescription x_d;
  OnnxModel x_model;
  std::vector<std::string> x_known;
};

}  // namespace dssl::detail
