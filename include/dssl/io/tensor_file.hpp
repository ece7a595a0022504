// Named tensors in a file, whatever its format: what they are, and their values when they are asked for.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/core/bf16.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/element_type.hpp>

namespace dssl {

namespace detail {

/// Characters of a tensor's name, with what stands before it: messages and lists quote names.
inline constexpr std::size_t longest_tensor_name = 4096;

/// One element of a tensor, for messages: "tensor 'a' has the element nan at 3".
[[nodiscard]] inline std::string element_words(std::string_view name, TextPart value, std::size_t place) {
  return join("tensor '", name, "' has the element ", value, " at ", place);
}

/// Throws `CheckpointError` naming the first element that is not finite, of a tensor's elements from `first` on.
template <std::floating_point T>
void require_finite(std::span<const T> values, const std::string& path, std::string_view name, std::size_t first = 0) {
  // |x| <= largest holds for no NaN: a loop without a way out, which compilers take several numbers at a time.
  bool finite = true;
  for (const T x : values) finite &= std::abs(x) <= std::numeric_limits<T>::max();
  if (finite) return;
  const auto bad = std::ranges::find_if(values, [](T x) { return !std::isfinite(x); });
  const auto place = first + static_cast<std::size_t>(bad - values.begin());
  throw CheckpointError(path, join(element_words(name, *bad, place), "; expected finite numbers"));
}

}  // namespace detail

/// One tensor of a file: its name, type, extents and, in safetensors, where its bytes lie in the data section.
struct StoredTensor {
  std::string name;
  ElementType type = ElementType::f32;
  std::vector<Index> shape;  ///< empty for a scalar
  std::size_t begin = 0;     ///< bytes from the start of the data section
  std::size_t end = 0;

  /// Number of elements: the product of the extents, 1 for a scalar.
  [[nodiscard]] Index size() const {
    Index product = 1;
    for (const Index extent : shape) product *= extent;
    return product;
  }
};

/// Extents as text: "[3, 64]".
[[nodiscard]] inline std::string shape_text(const std::vector<Index>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

/// A file of named tensors, opened to read. What it lists is checked when it is opened; values are read, and converted,
/// when they are asked for.
///
/// `SafetensorsFile` and `TorchFile` are such files; `open_tensor_file` tells which one a file is.
/// Tests: tests/io/safetensors.cpp, tests/io/torch_file.cpp.
class TensorFile {
 public:
  virtual ~TensorFile() = default;
  TensorFile(const TensorFile&) = delete;
  TensorFile& operator=(const TensorFile&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return x_path; }

  /// All tensors, in the order of the file.
  [[nodiscard]] const std::vector<StoredTensor>& tensors() const noexcept { return x_tensors; }

  /// The strings stored beside the tensors.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept { return x_metadata; }

  [[nodiscard]] bool contains(std::string_view name) const { return x_places.find(name) != x_places.end(); }

  /// The entry of a tensor. Throws `CheckpointError` if there is none of this name.
  [[nodiscard]] const StoredTensor& tensor(std::string_view name) const { return x_tensors[place_of(name)]; }

  [[nodiscard]] const std::vector<Index>& shape(std::string_view name) const { return tensor(name).shape; }

  /// The little-endian bytes of a tensor's elements, row-major: those of the mapped file where they lie there in this
  /// order, else in `scratch`. Not aligned; valid as long as this object and the scratch. Throws `CheckpointError`.
  [[nodiscard]] std::span<const std::byte> elements(std::string_view name, std::vector<std::byte>& scratch) const {
    return x_elements(place_of(name), scratch);
  }

  /// All elements of a tensor, row-major, converted to T.
  ///
  /// Floating T takes every stored type (F64 to float rounds); integral T takes stored integers that fit.
  /// Throws `CheckpointError` if the tensor is missing, or holds fractions or values outside T where T is
  /// integral.
  template <StoredNumber T>
  [[nodiscard]] std::vector<T> read(std::string_view name) const {
    std::vector<T> values(static_cast<std::size_t>(tensor(name).size()));
    read_into(std::span<T>(values), name);
    return values;
  }

  /// As `read`, into memory of the caller. Throws `ShapeError` unless `out` has the tensor's number of
  /// elements.
  template <StoredNumber T>
  void read_into(std::span<T> out, std::string_view name) const {
    const StoredTensor& entry = tensor(name);
    require_shape(static_cast<Index>(out.size()) == entry.size(), "tensor '", name, "' of ", x_path,
                  " has shape ", shape_text(entry.shape), "; ", out.size(), " elements were asked for");
    std::vector<std::byte> scratch;
    const std::byte* const from = elements(name, scratch).data();
    switch (entry.type) {
      case ElementType::boolean:
      case ElementType::u8:
        return convert<std::uint8_t>(out, from, entry);
      case ElementType::i8:
        return convert<std::int8_t>(out, from, entry);
      case ElementType::u16:
        return convert<std::uint16_t>(out, from, entry);
      case ElementType::i16:
        return convert<std::int16_t>(out, from, entry);
      case ElementType::f16:
        return convert<std::uint16_t>(out, from, entry, &float_from_half);
      case ElementType::bf16:
        return convert<std::uint16_t>(out, from, entry, &float_from_bfloat16);
      case ElementType::u32:
        return convert<std::uint32_t>(out, from, entry);
      case ElementType::i32:
        return convert<std::int32_t>(out, from, entry);
      case ElementType::f32:
        return convert<float>(out, from, entry);
      case ElementType::u64:
        return convert<std::uint64_t>(out, from, entry);
      case ElementType::i64:
        return convert<std::int64_t>(out, from, entry);
      case ElementType::f64:
        return convert<double>(out, from, entry);
    }
  }

 protected:
  explicit TensorFile(std::string path) : x_path(std::move(path)) {}
  TensorFile(TensorFile&&) = default;
  TensorFile& operator=(TensorFile&&) = default;

  /// What the file lists. Every name is there once, and no product of extents overflows.
  void set_tensors(std::vector<StoredTensor> tensors, std::map<std::string, std::string> metadata = {}) {
    x_tensors = std::move(tensors);
    x_metadata = std::move(metadata);
    x_places.clear();
    for (std::size_t i = 0; i < x_tensors.size(); ++i) x_places.emplace(x_tensors[i].name, i);
  }

 private:
  [[nodiscard]] std::size_t place_of(std::string_view name) const {
    const auto place = x_places.find(name);
    if (place == x_places.end()) throw CheckpointError(x_path, join("has no tensor '", name, "'"));
    return place->second;
  }

  /// `elements` of the tensor at this place in `tensors()`.
  [[nodiscard]] virtual std::span<const std::byte> x_elements(std::size_t place, std::vector<std::byte>& scratch) const = 0;

  struct Same {
    template <class Stored>
    constexpr Stored operator()(Stored value) const {
      return value;
    }
  };

  template <class Stored, class T, class Value = Same>
  void convert(std::span<T> out, const std::byte* from, const StoredTensor& entry,
               Value value_of = {}) const {
    if constexpr (std::is_same_v<Stored, T> && std::is_same_v<Value, Same>) {
      if (!out.empty()) std::memcpy(out.data(), from, out.size_bytes());
    } else {
      using Number = decltype(value_of(Stored{}));
      if constexpr (std::is_integral_v<T> && !std::is_integral_v<Number>) {
        throw CheckpointError(x_path, join("tensor '", entry.name, "' holds ", element_name(entry.type),
                                           "; expected whole numbers"));
      } else {
        for (std::size_t i = 0; i < out.size(); ++i) {
          Stored stored;
          std::memcpy(&stored, from + i * sizeof(Stored), sizeof(Stored));
          const Number value = value_of(stored);
          if constexpr (std::is_integral_v<T>) {
            if (!std::in_range<T>(value)) {
              throw CheckpointError(x_path,
                                    join(detail::element_words(entry.name, +value, i), ", which does not fit ",
                                         element_name(*element_type_of<T>())));
            }
          }
          out[i] = static_cast<T>(value);
        }
      }
    }
  }

  std::string x_path;
  std::vector<StoredTensor> x_tensors;
  std::map<std::string, std::string> x_metadata;
  std::map<std::string, std::size_t, std::less<>> x_places;
};

}  // namespace dssl
