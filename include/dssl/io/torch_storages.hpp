// The classes of PyTorch's storages, which say the type of a tensor's elements in files of torch.save.
// Tests: tests/io/torch_file.cpp, tests/io/torch_writer.cpp.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include <dssl/io/element_type.hpp>

namespace dssl::detail {

inline constexpr std::array<std::pair<std::string_view, ElementType>, 10> torch_storages{
    {{"FloatStorage", ElementType::f32},
     {"DoubleStorage", ElementType::f64},
     {"HalfStorage", ElementType::f16},
     {"BFloat16Storage", ElementType::bf16},
     {"LongStorage", ElementType::i64},
     {"IntStorage", ElementType::i32},
     {"ShortStorage", ElementType::i16},
     {"CharStorage", ElementType::i8},
     {"ByteStorage", ElementType::u8},
     {"BoolStorage", ElementType::boolean}}};

/// The type of a class's elements; nothing for what is not read.
[[nodiscard]] constexpr std::optional<ElementType> type_of_torch_storage(std::string_view name) {
  for (const auto& [known, type] : torch_storages) {
    if (known == name) return type;
  }
  return std::nullopt;
}

/// The class of a type; empty for what torch has no storage of.
[[nodiscard]] constexpr std::string_view torch_storage_of(ElementType wanted) {
  for (const auto& [name, type] : torch_storages) {
    if (type == wanted) return name;
  }
  return {};
}

}  // namespace dssl::detail
