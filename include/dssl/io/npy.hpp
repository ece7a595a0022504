// Arrays as NumPy reads them.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/atomic_file.hpp>

namespace dssl {

/// Writes one array of floats as a .npy file (version 1.0), part by part, in C order: memory does not grow
/// with it.
///
/// The file appears whole with `commit`, or not at all. Source: numpy.lib.format. Test: tests/io/npy.cpp.
class NpyWriter {
 public:
  static_assert(std::endian::native == std::endian::little, "arrays are written as they lie in memory");

  /// Throws `FileError` if the file cannot be made, `ShapeError` for a negative extent, and for more extents or elements
  /// than an array has in NumPy: 32, and bytes that a signed number of 64 bits counts.
  NpyWriter(std::string path, std::vector<Index> shape) : x_file(std::move(path)) {
    constexpr std::size_t most_extents = 32;
    require_shape(shape.size() <= most_extents, x_file.path(), ": an array of ", shape.size(),
                  " extents; expected at most ", most_extents);
    std::string extents;
    x_left = 1;
    Index bytes = sizeof(float);  // as if no extent were 0, as NumPy counts them
    for (const Index e : shape) {
      require_shape(e >= 0, x_file.path(), ": an extent is ", e, "; expected at least 0");
      extents += join(extents.empty() ? "" : ", ", e);
      const Index factor = std::max<Index>(1, e);
      require_shape(bytes <= std::numeric_limits<Index>::max() / factor, x_file.path(),
                    ": an array of more bytes than can be counted, at the extent ", e);
      bytes *= factor;
      x_left *= e;
    }
    if (shape.size() == 1) extents += ",";
    std::string header = join("{'descr': '<f4', 'fortran_order': False, 'shape': (", extents, "), }");
    constexpr std::size_t before = 10;  // magic, version, length of what follows
    while ((before + header.size() + 1) % 64 != 0) header += ' ';
    header += '\n';
    const auto length = static_cast<std::uint16_t>(header.size());
    x_file.write(std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(length & 255U) +
                 static_cast<char>(length >> 8U) + header);
  }

  /// Appends elements. Throws `ShapeError` beyond the shape, `FileError`.
  void write(std::span<const float> values) {
    require_shape(static_cast<Index>(values.size()) <= x_left, x_file.path(), ": ", values.size(),
                  " elements more than the shape's ", x_left, " that are left");
    x_left -= static_cast<Index>(values.size());
    x_file.write(std::as_bytes(values));
  }

  /// Puts the file in its place. Throws `ShapeError` if elements are missing, `FileError`.
  void commit() {
    require_shape(x_left == 0, x_file.path(), ": ", x_left, " elements of the shape were not written");
    x_file.commit();
  }

 private:
  AtomicFile x_file;
  Index x_left = 0;
};

}  // namespace dssl
