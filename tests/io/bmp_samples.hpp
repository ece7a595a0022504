// BMP files of any header, which the library itself does not write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dssl::test {

/// What a BMP's header says; nothing is checked.
struct BmpLayout {
  std::int32_t width = 1;
  std::int32_t height = 1;  ///< below 0: rows from above
  std::uint32_t bits = 24;
  std::uint32_t compression = 0;
  std::uint32_t header = 40;             ///< its bytes
  std::vector<std::uint32_t> masks{};    ///< red, green, blue, alpha
  std::vector<std::uint32_t> palette{};  ///< 0xRRGGBB
  std::uint32_t colours = 0;             ///< that the palette is said to have; 0: those of `palette`
  std::uint32_t pixels_at = 0;           ///< 0: where they are
};

/// The file of a layout and of rows as they lie in it.
inline std::string bmp_file(const BmpLayout& layout, std::string_view rows) {
  const auto number = [](std::uint32_t value, unsigned bytes) {
    std::string out;
    for (unsigned b = 0; b < bytes; ++b) out += static_cast<char>(value >> 8U * b);
    return out;
  };
  const auto size = [](const auto& list) { return static_cast<std::uint32_t>(list.size()); };
  const bool old = layout.header == 12;
  const unsigned side = old ? 2 : 4;
  std::string head = number(layout.header, 4) + number(static_cast<std::uint32_t>(layout.width), side) +
                     number(static_cast<std::uint32_t>(layout.height), side) + number(1, 2) + number(layout.bits, 2);
  if (!old) {
    head += number(layout.compression, 4) + number(0, 4) + number(0, 4) + number(0, 4);
    head += number(layout.colours != 0 ? layout.colours : size(layout.palette), 4) + number(0, 4);
    for (const std::uint32_t mask : layout.masks) head += number(mask, 4);
    if (head.size() < layout.header) head.resize(layout.header);
  }
  for (const std::uint32_t colour : layout.palette) head += number(colour, old ? 3 : 4);
  const std::uint32_t first = 14 + size(head);
  std::string file = "BM" + number(first + size(rows), 4) + number(0, 4) +
                     number(layout.pixels_at != 0 ? layout.pixels_at : first, 4) + head;
  return file.append(rows);
}

}  // namespace dssl::test
