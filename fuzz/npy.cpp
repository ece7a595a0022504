// Array files, which are written only: any shape and any parts give a file that NumPy's rules read, or an error.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <dssl/io/npy.hpp>

#include "fuzz.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  // Up to 15 extents of one byte or of eight, or very many of one.
  const unsigned kind = input.byte();
  std::vector<Index> shape(kind >= 0xF0 ? 1000 * (kind & 15U) : kind & 15U, 1);
  if (kind < 0xF0) {
    for (Index& extent : shape)
      extent = (kind & 16U) != 0 ? std::bit_cast<std::int64_t>(input.word()) : static_cast<std::int8_t>(input.byte());
  }
  std::vector<float> values(input.rest().size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), input.rest().data(), values.size() * sizeof(float));
  const std::string path = fuzz::scratch() / "out.npy";
  fuzz::parses<ShapeError>([&] {
    NpyWriter writer(path, shape);
    const std::size_t half = values.size() / 2;
    writer.write(std::span<const float>(values).first(half));
    writer.write(std::span<const float>(values).subspan(half));
    writer.commit();
    const std::string file = test::read_text(path);
    fuzz::require(file.starts_with(std::string_view("\x93NUMPY\x01\x00", 8)), "an array file begins as one");
    const std::size_t length = static_cast<std::uint8_t>(file[8]) + 256U * static_cast<std::uint8_t>(file[9]);
    fuzz::require((10 + length) % 64 == 0 && file.size() == 10 + length + values.size() * sizeof(float),
                  "the header's length leaves the elements");
    fuzz::require(file[10 + length - 1] == '\n', "the header ends with its line");
    std::string extents;
    for (const Index extent : shape) extents += std::to_string(extent) + (shape.size() == 1 ? "," : ", ");
    if (shape.size() > 1) extents.resize(extents.size() - 2);
    fuzz::require(file.find("'shape': (" + extents + "), }") != std::string::npos, "the header tells the shape");
    fuzz::require(values.empty() || std::memcmp(file.data() + 10 + length, values.data(), values.size() * sizeof(float)) == 0,
                  "the elements follow");
  });
  return 0;
}
