// ONNX files for tests: read without a library, and computed in double by plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/tensor_view.hpp>

#include "temporary_folder.hpp"

namespace dssl::test {

/// A field of a protobuf message.
struct WireField {
  std::uint64_t number = 0;
  std::uint64_t kind = 0;   // 0 varint, 2 bytes, 5 four bytes
  std::uint64_t value = 0;  // of the first and the last
  std::string_view bytes{};
};

/// The fields of a message in their order; throws where it is none.
inline std::vector<WireField> fields_of(std::string_view message) {
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      if (at >= message.size() || shift > 63) throw std::runtime_error("a varint without end");
      const auto byte = static_cast<unsigned char>(message[at++]);
      value |= static_cast<std::uint64_t>(byte & 127U) << shift;
      if (byte < 128) return value;
    }
  };
  std::vector<WireField> out;
  while (at < message.size()) {
    const std::uint64_t tag = varint();
    WireField field{.number = tag >> 3U, .kind = tag & 7U};
    if (field.kind == 0) {
      field.value = varint();
    } else {
      if (field.kind != 2 && field.kind != 5) throw std::runtime_error("a field of another kind");
      const std::uint64_t length = field.kind == 5 ? 4 : varint();
      if (length > message.size() - at) throw std::runtime_error("a field beyond its message");
      field.bytes = message.substr(at, length);
      at += length;
      if (field.kind == 5) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, field.bytes.data(), 4);
        field.value = bits;
      }
    }
    out.push_back(field);
  }
  return out;
}

/// The last field of that number as text; empty without one.
inline std::string text_of(std::string_view message, std::uint64_t number) {
  std::string out;
  for (const WireField& field : fields_of(message)) {
    if (field.number == number) out = std::string(field.bytes);
  }
  return out;
}

/// A tensor of any type, its elements as doubles.
struct PlainTensor {
  std::vector<Index> shape;
  std::vector<double> values;
};

struct PlainNode {
  std::string type;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, std::vector<double>> attributes{};

  [[nodiscard]] Index whole(const std::string& name) const {
    return static_cast<Index>(attributes.at(name).at(0));
  }
};

/// What an ONNX file holds.
struct PlainModel {
  std::uint64_t ir_version = 0, opset = 0;
  std::string producer, description;
  std::map<std::string, std::string> metadata{};
  std::vector<PlainNode> nodes{};
  std::map<std::string, PlainTensor> constants{};
  std::map<std::string, std::string> locations{};          // of tensors in another file
  std::map<std::string, std::string> inputs{}, outputs{};  // extents as "batch 3 height"
};

inline PlainTensor tensor_of(std::string_view message, const std::string& folder, PlainModel& model,
                             std::string& name) {
  PlainTensor out;
  std::uint64_t type = 0;
  std::string raw, location;
  std::size_t offset = 0, length = 0;
  for (const WireField& field : fields_of(message)) {
    if (field.number == 1) out.shape.push_back(static_cast<Index>(field.value));
    if (field.number == 2) type = field.value;
    if (field.number == 8) name = field.bytes;
    if (field.number == 9) raw = field.bytes;
    if (field.number == 13) {
      const std::string key = text_of(field.bytes, 1), value = text_of(field.bytes, 2);
      if (key == "location") location = value;
      if (key == "offset") offset = std::stoul(value);
      if (key == "length") length = std::stoul(value);
    }
  }
  if (!location.empty()) {
    raw = read_text(folder + "/" + location).substr(offset, length);
    model.locations[name] = location + ":" + std::to_string(offset);
  }
  const auto take = [&](auto each) {
    for (std::size_t i = 0; i + sizeof each <= raw.size(); i += sizeof each) {
      std::memcpy(&each, raw.data() + i, sizeof each);
      out.values.push_back(static_cast<double>(each));
    }
  };
  if (type == 1) take(float{});
  if (type == 7) take(std::int64_t{});
  return out;
}

/// Name and extents of an input or output.
inline std::pair<std::string, std::string> value_of(std::string_view message) {
  const std::string shape = text_of(text_of(text_of(message, 2), 1), 2);
  std::string extents;
  for (const WireField& dimension : fields_of(shape)) {
    const WireField extent = fields_of(dimension.bytes).at(0);
    if (!extents.empty()) extents += ' ';
    extents += extent.number == 1 ? std::to_string(extent.value) : std::string(extent.bytes);
  }
  return {text_of(message, 1), extents};
}

inline PlainNode node_of(std::string_view message) {
  PlainNode node;
  for (const WireField& field : fields_of(message)) {
    if (field.number == 1) node.inputs.emplace_back(field.bytes);
    if (field.number == 2) node.outputs.emplace_back(field.bytes);
    if (field.number == 4) node.type = field.bytes;
    if (field.number != 5) continue;
    std::vector<double> values;
    for (const WireField& part : fields_of(field.bytes)) {
      if (part.number == 3 || part.number == 8) {
        values.push_back(static_cast<double>(static_cast<std::int64_t>(part.value)));
      }
      if (part.number == 2) {
        float real = 0;
        std::memcpy(&real, part.bytes.data(), 4);
        values.push_back(static_cast<double>(real));
      }
    }
    node.attributes[text_of(field.bytes, 1)] = values;
  }
  return node;
}

inline PlainModel read_onnx(const std::string& path) {
  const std::string file = read_text(path);
  const std::string folder = path.substr(0, path.rfind('/'));
  PlainModel model;
  for (const WireField& field : fields_of(file)) {
    if (field.number == 1) model.ir_version = field.value;
    if (field.number == 2) model.producer = field.bytes;
    if (field.number == 6) model.description = field.bytes;
    if (field.number == 14) model.metadata[text_of(field.bytes, 1)] = text_of(field.bytes, 2);
    if (field.number == 8) {
      for (const WireField& part : fields_of(field.bytes)) {
        if (part.number == 2) model.opset = part.value;
      }
    }
    if (field.number != 7) continue;
    for (const WireField& part : fields_of(field.bytes)) {
      if (part.number == 1) model.nodes.push_back(node_of(part.bytes));
      if (part.number == 5) {
        std::string name;
        PlainTensor tensor = tensor_of(part.bytes, folder, model, name);
        model.constants[name] = std::move(tensor);
      }
      if (part.number == 11) model.inputs.insert(value_of(part.bytes));
      if (part.number == 12) model.outputs.insert(value_of(part.bytes));
    }
  }
  return model;
}

// ---- the operators, by their definitions

inline Index count_of(const std::vector<Index>& shape) {
  Index count = 1;
  for (const Index extent : shape) count *= extent;
  return count;
}

/// Where element `at` of `shape` lies in a tensor that is repeated to that shape.
inline std::size_t repeated_at(Index at, const std::vector<Index>& shape, const std::vector<Index>& from) {
  Index place = 0, stride = 1;
  for (std::size_t back = 1; back <= shape.size(); ++back) {
    const Index extent = shape[shape.size() - back], digit = at % extent;
    at /= extent;
    if (back > from.size()) continue;
    const Index own = from[from.size() - back];
    if (own != extent && own != 1) throw std::runtime_error("shapes that do not go together");
    if (own != 1) place += digit * stride;
    stride *= own;
  }
  return static_cast<std::size_t>(place);
}

inline std::vector<Index> repeated_shape(const std::vector<Index>& a, const std::vector<Index>& b) {
  std::vector<Index> out(std::max(a.size(), b.size()), 1);
  for (const auto* const shape : {&a, &b}) {
    for (std::size_t i = 0; i < shape->size(); ++i) {
      Index& extent = out[out.size() - shape->size() + i];
      if ((*shape)[i] != 1) extent = (*shape)[i];
    }
  }
  return out;
}

template <class F>
PlainTensor pairwise(const PlainTensor& a, const PlainTensor& b, const F& f) {
  PlainTensor out{.shape = repeated_shape(a.shape, b.shape), .values = {}};
  for (Index i = 0; i < count_of(out.shape); ++i) {
    out.values.push_back(
        f(a.values[repeated_at(i, out.shape, a.shape)], b.values[repeated_at(i, out.shape, b.shape)]));
  }
  return out;
}

/// A tensor as (outer, extent, inner) about an axis.
struct Around {
  Index outer = 1, extent = 1, inner = 1;

  Around(const std::vector<Index>& shape, Index axis) {
    const auto place = static_cast<std::size_t>(axis < 0 ? axis + static_cast<Index>(shape.size()) : axis);
    for (std::size_t i = 0; i < shape.size(); ++i)
      (i < place ? outer : i == place ? extent : inner) *= shape[i];
  }
  [[nodiscard]] std::size_t at(Index o, Index e, Index i) const {
    return static_cast<std::size_t>((o * extent + e) * inner + i);
  }
};

/// The elements of an axis that `places` lists.
inline PlainTensor taken(const PlainTensor& x, Index axis, const std::vector<Index>& places) {
  const Around around(x.shape, axis);
  PlainTensor out{.shape = x.shape, .values = {}};
  out.shape[static_cast<std::size_t>(axis < 0 ? axis + static_cast<Index>(x.shape.size()) : axis)] =
      static_cast<Index>(places.size());
  for (Index o = 0; o < around.outer; ++o) {
    for (const Index place : places) {
      for (Index i = 0; i < around.inner; ++i) out.values.push_back(x.values.at(around.at(o, place, i)));
    }
  }
  return out;
}

inline PlainTensor joined(const std::vector<PlainTensor>& parts, Index axis) {
  PlainTensor out = parts.at(0);
  const auto place = static_cast<std::size_t>(axis < 0 ? axis + static_cast<Index>(out.shape.size()) : axis);
  out.shape[place] = 0;
  for (const PlainTensor& part : parts) out.shape[place] += part.shape[place];
  out.values.clear();
  for (Index o = 0; o < Around(out.shape, axis).outer; ++o) {
    for (const PlainTensor& part : parts) {
      const Around around(part.shape, axis);
      const Index run = around.extent * around.inner;
      out.values.insert(out.values.end(), part.values.begin() + o * run, part.values.begin() + (o + 1) * run);
    }
  }
  return out;
}

inline PlainTensor product(const PlainTensor& a, const PlainTensor& b) {
  const Index rows = a.shape.at(a.shape.size() - 2), inner = a.shape.back(), columns = b.shape.back();
  if (b.shape.at(b.shape.size() - 2) != inner) throw std::runtime_error("a product of other shapes");
  const std::vector<Index> a_outer(a.shape.begin(), a.shape.end() - 2),
      b_outer(b.shape.begin(), b.shape.end() - 2);
  PlainTensor out{.shape = repeated_shape(a_outer, b_outer), .values = {}};
  const std::vector<Index> outer = out.shape;
  for (Index o = 0; o < count_of(outer); ++o) {
    const double* const left =
        a.values.data() + static_cast<Index>(repeated_at(o, outer, a_outer)) * rows * inner;
    const double* const right =
        b.values.data() + static_cast<Index>(repeated_at(o, outer, b_outer)) * inner * columns;
    for (Index r = 0; r < rows; ++r) {
      for (Index c = 0; c < columns; ++c) {
        double sum = 0;
        for (Index k = 0; k < inner; ++k) sum += left[r * inner + k] * right[k * columns + c];
        out.values.push_back(sum);
      }
    }
  }
  out.shape.push_back(rows);
  out.shape.push_back(columns);
  return out;
}

/// A convolution whose strides are its kernel's sizes.
inline PlainTensor patches_of(const PlainTensor& x, const PlainTensor& w, const PlainTensor& bias,
                              Index stride) {
  const Index p = w.shape.at(2), channels = x.shape.at(1);
  if (stride != p || w.shape.at(3) != p) throw std::runtime_error("a convolution that is not of patches");
  PlainTensor out{.shape = {x.shape[0], w.shape[0], x.shape[2] / p, x.shape[3] / p}, .values = {}};
  for (Index i = 0; i < count_of(out.shape); ++i) {
    const Index column = i % out.shape[3], row = i / out.shape[3] % out.shape[2];
    const Index o = i / out.shape[3] / out.shape[2] % out.shape[1],
                image = i / out.shape[3] / out.shape[2] / out.shape[1];
    double sum = bias.values.at(static_cast<std::size_t>(o));
    for (Index c = 0; c < channels; ++c) {
      for (Index k = 0; k < p * p; ++k) {
        const Index y = row * p + k / p, at = column * p + k % p;
        sum +=
            w.values[static_cast<std::size_t>((o * channels + c) * p * p + k)] *
            x.values[static_cast<std::size_t>(((image * channels + c) * x.shape[2] + y) * x.shape[3] + at)];
      }
    }
    out.values.push_back(sum);
  }
  return out;
}

inline PlainTensor transposed(const PlainTensor& x, const std::vector<double>& order) {
  PlainTensor out;
  std::vector<Index> strides(x.shape.size(), 1);
  for (std::size_t i = x.shape.size() - 1; i-- > 0;) strides[i] = strides[i + 1] * x.shape[i + 1];
  for (const double axis : order) out.shape.push_back(x.shape.at(static_cast<std::size_t>(axis)));
  for (Index i = 0; i < count_of(out.shape); ++i) {
    Index rest = i, place = 0;
    for (std::size_t d = order.size(); d-- > 0; rest /= out.shape[d]) {
      place += rest % out.shape[d] * strides[static_cast<std::size_t>(order[d])];
    }
    out.values.push_back(x.values[static_cast<std::size_t>(place)]);
  }
  return out;
}

inline PlainTensor reshaped(PlainTensor x, const std::vector<double>& asked) {
  std::vector<Index> shape;
  Index known = 1;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    shape.push_back(asked[i] == 0 ? x.shape.at(i) : static_cast<Index>(asked[i]));
    if (shape.back() > 0) known *= shape.back();
  }
  for (Index& extent : shape) {
    if (extent < 0) extent = static_cast<Index>(x.values.size()) / known;
  }
  if (count_of(shape) != static_cast<Index>(x.values.size()))
    throw std::runtime_error("a shape of another size");
  x.shape = shape;
  return x;
}

/// The smallest or largest along an axis, its place, or the mean.
inline PlainTensor along(const PlainTensor& x, Index axis, bool keep, const std::string& type) {
  const Around around(x.shape, axis);
  PlainTensor out{.shape = x.shape, .values = {}};
  const auto place = static_cast<std::size_t>(axis < 0 ? axis + static_cast<Index>(x.shape.size()) : axis);
  out.shape[place] = 1;
  if (!keep) out.shape.erase(out.shape.begin() + static_cast<Index>(place));
  for (Index o = 0; o < around.outer; ++o) {
    for (Index i = 0; i < around.inner; ++i) {
      Index best = 0;
      double sum = 0;
      for (Index e = 0; e < around.extent; ++e) {
        const double value = x.values[around.at(o, e, i)], known = x.values[around.at(o, best, i)];
        if (type == "ArgMin" ? value < known : value > known) best = e;
        sum += value;
      }
      out.values.push_back(type == "ReduceMax"    ? x.values[around.at(o, best, i)]
                           : type == "ReduceMean" ? sum / static_cast<double>(around.extent)
                                                  : static_cast<double>(best));
    }
  }
  return out;
}

/// GatherND of one place of each batch: (B,N,...) and (B,1) give (B,...).
inline PlainTensor of_batches(const PlainTensor& x, const PlainTensor& places, Index batch_dims) {
  if (batch_dims != 1 || places.shape != std::vector<Index>{x.shape.at(0), 1})
    throw std::runtime_error("places that are not one of each batch");
  PlainTensor out{.shape = x.shape, .values = {}};
  out.shape.erase(out.shape.begin() + 1);
  const Index run = count_of(out.shape) / out.shape.at(0);
  for (Index b = 0; b < x.shape[0]; ++b) {
    const Index from = (b * x.shape[1] + static_cast<Index>(places.values[static_cast<std::size_t>(b)])) * run;
    out.values.insert(out.values.end(), x.values.begin() + from, x.values.begin() + from + run);
  }
  return out;
}

/// The k smallest or largest of each row, and their places; the lower place among equals first.
inline std::vector<PlainTensor> foremost(const PlainTensor& x, Index axis, Index k, bool largest) {
  const Around around(x.shape, axis);
  if (around.inner != 1) throw std::runtime_error("of rows that do not lie together");
  PlainTensor values{.shape = x.shape, .values = {}};
  values.shape.back() = k;
  PlainTensor places = values;
  for (Index o = 0; o < around.outer; ++o) {
    std::vector<Index> order;
    for (Index e = 0; e < around.extent; ++e) order.push_back(e);
    std::ranges::stable_sort(order, {}, [&](Index e) { return (largest ? -1 : 1) * x.values[around.at(o, e, 0)]; });
    for (Index n = 0; n < k; ++n) {
      const Index place = order.at(static_cast<std::size_t>(n));
      values.values.push_back(x.values[around.at(o, place, 0)]);
      places.values.push_back(static_cast<double>(place));
    }
  }
  return {values, places};
}

/// AveragePool of 3 x 3 cells in steps of one, over the cells that there are.
inline PlainTensor means_of_3x3(const PlainTensor& x, const PlainNode& node) {
  if (node.attributes.at("kernel_shape") != std::vector<double>{3, 3} || node.attributes.at("pads") != std::vector<double>{1, 1, 1, 1} ||
      node.attributes.contains("strides") || node.whole("count_include_pad") != 0)
    throw std::runtime_error("means of other cells");
  PlainTensor out = x;
  const Index height = x.shape.at(2), width = x.shape.at(3);
  for (Index i = 0; i < count_of(x.shape); ++i) {
    const Index column = i % width, row = i / width % height, plane = i - row * width - column;
    double sum = 0, count = 0;
    for (Index v = std::max<Index>(0, row - 1); v < std::min(height, row + 2); ++v) {
      for (Index u = std::max<Index>(0, column - 1); u < std::min(width, column + 2); ++u, ++count)
        sum += x.values[static_cast<std::size_t>(plane + v * width + u)];
    }
    out.values[static_cast<std::size_t>(i)] = sum / count;
  }
  return out;
}

/// What a node gives for its inputs.
inline std::vector<PlainTensor> computed(const PlainNode& node, const std::vector<PlainTensor>& in) {
  using Pairwise = std::function<double(double, double)>;
  static const std::map<std::string, Pairwise> pairs{
      {"Add", [](double a, double b) { return a + b; }},
      {"Sub", [](double a, double b) { return a - b; }},
      {"Mul", [](double a, double b) { return a * b; }},
      {"Div", [](double a, double b) { return a / b; }},
      {"Max", [](double a, double b) { return std::max(a, b); }},
      {"Equal", [](double a, double b) { return a == b ? 1.0 : 0.0; }},
      {"Less", [](double a, double b) { return a < b ? 1.0 : 0.0; }},
      {"And", [](double a, double b) { return a != 0 && b != 0 ? 1.0 : 0.0; }}};
  static const std::map<std::string, std::function<double(double)>> singles{{"Abs", [](double a) { return std::abs(a); }},
                                                                            {"Neg", [](double a) { return -a; }},
                                                                            {"Cos", [](double a) { return std::cos(a); }},
                                                                            {"Sin", [](double a) { return std::sin(a); }},
                                                                            {"Erf", [](double a) { return std::erf(a); }},
                                                                            {"Sigmoid", [](double a) { return 1 / (1 + std::exp(-a)); }},
                                                                            {"Sqrt", [](double a) { return std::sqrt(a); }},
                                                                            {"Exp", [](double a) { return std::exp(a); }},
                                                                            {"Cast", [](double a) { return a; }},
                                                                            {"Identity", [](double a) { return a; }}};
  const PlainTensor& x = in.at(0);
  if (const auto pair = pairs.find(node.type); pair != pairs.end())
    return {pairwise(x, in.at(1), pair->second)};
  PlainTensor out = x;
  if (const auto single = singles.find(node.type); single != singles.end()) {
    std::transform(x.values.begin(), x.values.end(), out.values.begin(), single->second);
    return {out};
  }
  const auto axis = [&] { return node.whole("axis"); };
  if (node.type == "Conv") {
    return {patches_of(x, in.at(1), in.at(2), static_cast<Index>(node.attributes.at("strides").at(0)))};
  }
  if (node.type == "MatMul") return {product(x, in.at(1))};
  if (node.type == "Reshape") return {reshaped(x, in.at(1).values)};
  if (node.type == "Transpose") return {transposed(x, node.attributes.at("perm"))};
  if (node.type == "Concat") return {joined(in, axis())};
  if (node.type == "Shape") {
    out = {.shape = {static_cast<Index>(x.shape.size())}, .values = {x.shape.begin(), x.shape.end()}};
    return {out};
  }
  if (node.type == "Gather") {
    out = taken(x, axis(), {in.at(1).values.begin(), in.at(1).values.end()});
    out.shape.erase(out.shape.begin() + axis());
    out.shape.insert(out.shape.begin() + axis(), in.at(1).shape.begin(), in.at(1).shape.end());
    return {out};
  }
  if (node.type == "GatherND") return {of_batches(x, in.at(1), node.whole("batch_dims"))};
  if (node.type == "AveragePool") return {means_of_3x3(x, node)};
  if (node.type == "TopK") return foremost(x, axis(), static_cast<Index>(in.at(1).values.at(0)), node.whole("largest") != 0);
  if (node.type == "ArgMin" || node.type == "ArgMax" || node.type == "ReduceMax" || node.type == "ReduceMean") {
    return {along(x, node.type.starts_with("Arg") ? axis() : static_cast<Index>(node.attributes.at("axes").at(0)),
                  node.whole("keepdims") != 0, node.type)};
  }
  if (node.type == "Slice") {
    const auto along = static_cast<Index>(in.at(3).values.at(0));
    std::vector<Index> places;
    for (auto i = static_cast<Index>(in.at(1).values.at(0));
         i < Around(x.shape, along).extent && static_cast<double>(i) < in.at(2).values.at(0); ++i) {
      places.push_back(i);
    }
    return {taken(x, along, places)};
  }
  if (node.type == "Split") {
    std::vector<PlainTensor> parts;
    const Index each = Around(x.shape, axis()).extent / static_cast<Index>(node.outputs.size());
    for (std::size_t part = 0; part < node.outputs.size(); ++part) {
      std::vector<Index> places;
      for (Index i = 0; i < each; ++i) places.push_back(static_cast<Index>(part) * each + i);
      parts.push_back(taken(x, axis(), places));
    }
    return parts;
  }
  if (node.type == "Expand") {
    std::vector<Index> asked;
    for (const double extent : in.at(1).values) asked.push_back(static_cast<Index>(extent));
    const PlainTensor shape{.shape = asked,
                            .values = std::vector<double>(static_cast<std::size_t>(count_of(asked)))};
    return {pairwise(x, shape, [](double a, double) { return a; })};
  }
  if (node.type == "Unsqueeze") {
    out.shape.insert(out.shape.begin() + static_cast<Index>(in.at(1).values.at(0)), 1);
    return {out};
  }
  if (node.type == "Range") {
    out = {.shape = {}, .values = {}};
    for (double v = x.values.at(0); v < in.at(1).values.at(0); v += in.at(2).values.at(0))
      out.values.push_back(v);
    out.shape = {static_cast<Index>(out.values.size())};
    return {out};
  }
  if (node.type == "Where") {
    const PlainTensor shaped = pairwise(in.at(1), in.at(2), [](double, double) { return 0.0; });
    const PlainTensor asked = pairwise(x, shaped, [](double a, double) { return a; });
    out = asked;
    for (Index i = 0; i < count_of(asked.shape); ++i) {
      const PlainTensor& from = asked.values[static_cast<std::size_t>(i)] != 0 ? in[1] : in[2];
      out.values[static_cast<std::size_t>(i)] = from.values[repeated_at(i, asked.shape, from.shape)];
    }
    return {out};
  }
  if (node.type == "ReduceSum" || node.type == "Softmax" || node.type == "LayerNormalization") {
    const Around around(x.shape,
                        node.type == "ReduceSum" ? static_cast<Index>(in.at(1).values.at(0)) : axis());
    if (around.inner != 1) throw std::runtime_error("rows that do not lie together");
    PlainTensor sums;
    for (Index o = 0; o < around.outer; ++o) {
      const std::span<double> row(out.values.data() + o * around.extent,
                                  static_cast<std::size_t>(around.extent));
      double sum = 0, most = row[0];
      for (const double v : row) sum += v, most = std::max(most, v);
      sums.values.push_back(sum);
      if (node.type == "Softmax") {
        double total = 0;
        for (double& v : row) total += v = std::exp(v - most);
        for (double& v : row) v /= total;
      } else {
        double square = 0;
        const double mean = sum / static_cast<double>(around.extent);
        for (const double v : row) square += (v - mean) * (v - mean);
        const double epsilon = node.type == "ReduceSum" ? 0 : node.attributes.at("epsilon").at(0);
        const double scale = 1 / std::sqrt(square / static_cast<double>(around.extent) + epsilon);
        for (std::size_t i = 0; node.type != "ReduceSum" && i < row.size(); ++i) {
          row[i] = (row[i] - mean) * scale * in.at(1).values[i] + in.at(2).values[i];
        }
      }
    }
    if (node.type != "ReduceSum") return {out};
    sums.shape = x.shape;
    sums.shape.back() = 1;
    if (node.whole("keepdims") == 0) sums.shape.pop_back();
    return {sums};
  }
  throw std::runtime_error("no operator " + node.type);
}

/// Every value of the model for one input.
inline std::map<std::string, PlainTensor> run_onnx(const PlainModel& model, const std::string& input,
                                                   PlainTensor x) {
  std::map<std::string, PlainTensor> values = model.constants;
  values[input] = std::move(x);
  for (const PlainNode& node : model.nodes) {
    std::vector<PlainTensor> in;
    for (const std::string& name : node.inputs) in.push_back(values.at(name));
    std::vector<PlainTensor> out = computed(node, in);
    for (std::size_t i = 0; i < node.outputs.size(); ++i) values[node.outputs[i]] = std::move(out.at(i));
  }
  return values;
}

}  // namespace dssl::test
