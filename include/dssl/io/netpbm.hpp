// PGM, PPM and PFM: the plainest image files, as cameras' and measuring programs write them. Needs no library.
// Tests: tests/io/netpbm.cpp.
#pragma once

#include <bit>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// The bytes of a PGM, PPM or PFM file, read from front to back. Blanks part the words of its header; a comment goes
/// from '#', behind the kind or a number too, to the end of its line.
class NetpbmText {
 public:
  NetpbmText(std::span<const std::byte> bytes, std::string_view path) : x_bytes(bytes), x_path(path) {}

  [[nodiscard]] std::span<const std::byte> rest() const { return x_bytes.subspan(x_at); }

  /// The next word. Throws `ImageError` where the file ends before it.
  [[nodiscard]] std::string_view word(std::string_view what) {
    while (x_at < x_bytes.size() && (is_blank(x_at) || letter(x_at) == '#')) {
      if (letter(x_at) == '#') {
        skip_comment();
      } else {
        note_line_end();
        ++x_at;
      }
    }
    const std::size_t first = x_at;
    while (x_at < x_bytes.size() && !is_blank(x_at) && letter(x_at) != '#') ++x_at;
    if (first == x_at) throw ImageError(x_path, join("is truncated: ends before its ", what));
    return {reinterpret_cast<const char*>(x_bytes.data()) + first, x_at - first};
  }

  /// The next word as a whole number. Throws `ImageError` where it is none, or not `least` to `most`.
  [[nodiscard]] std::uint32_t number(std::string_view what, std::uint32_t least, std::uint32_t most) {
    const std::string_view text = word(what);
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
      throw ImageError(x_path, join("its ", what, " is '", text.substr(0, 20), "'; expected ", least, " to ", most));
    }
    return value;
  }

  /// What a header begins with.
  struct Head {
    char kind;
    std::uint32_t height, width;
    std::uint32_t largest;  ///< value; of floats 0: what follows is their scale

    [[nodiscard]] Index channels() const { return kind == '3' || kind == '6' || kind == 'F' ? 3 : 1; }
    [[nodiscard]] bool deep() const { return largest > 255; }
    [[nodiscard]] std::uint64_t pixel_bytes() const { return static_cast<std::uint64_t>(channels() * (largest == 0 ? 4 : deep() ? 2 : 1)); }
  };
  [[nodiscard]] Head head() {
    constexpr std::uint32_t longest_side = 0x7FFFFFFF;
    Head out{};
    out.kind = word("kind").at(1);
    out.width = number("width", 1, longest_side);
    out.height = number("height", 1, longest_side);
    if (out.kind != 'f' && out.kind != 'F') out.largest = number("largest value", 1, 65535);
    return out;
  }

  /// Goes past the one blank that ends the header; of a comment that is its line's end. `pixels`: bytes of what
  /// follows.
  ///
  /// A header whose lines end otherwise ends with one blank. Where "\r\n" stands there, the second byte is a pixel's by the format, and a line's end as Windows writes it: that
  /// it is where the file has one byte more than its pixels take. With more than one more, line ends among the pixels
  /// may have got a byte too: an `ImageError`.
  void end_header(std::size_t pixels) {
    if (x_at < x_bytes.size() && letter(x_at) == '#') skip_comment();
    if (x_at >= x_bytes.size()) throw ImageError(x_path, "is truncated: ends before its pixels");
    ++x_at;
    if (x_plain_ends && !x_windows_ends) return;
    if (letter(x_at - 1) != '\r' || x_at == x_bytes.size() || letter(x_at) != '\n' || rest().size() <= pixels) return;
    if (rest().size() > pixels + 1) {
      throw ImageError(x_path, join("its header ends with a line end of Windows (\\r\\n), and where its pixels begin cannot be told: ",
                                    rest().size() - 1, " bytes follow, and they take ", pixels,
                                    "; expected one blank behind the largest value or scale"));
    }
    ++x_at;
  }

 private:
  /// Which line ends the header has, of the one that stands or begins here.
  void note_line_end() {
    const bool first = letter(x_at) == '\r' && x_at + 1 < x_bytes.size() && letter(x_at + 1) == '\n';
    const bool second = letter(x_at) == '\n' && x_at > 0 && letter(x_at - 1) == '\r';
    x_windows_ends = x_windows_ends || first;
    x_plain_ends = x_plain_ends || (!first && !second && (letter(x_at) == '\r' || letter(x_at) == '\n'));
  }
  void skip_comment() {
    while (x_at < x_bytes.size() && letter(x_at) != '\n' && letter(x_at) != '\r') ++x_at;
  }
  [[nodiscard]] char letter(std::size_t i) const { return static_cast<char>(std::to_integer<unsigned char>(x_bytes[i])); }
  [[nodiscard]] bool is_blank(std::size_t i) const {
    const char c = letter(i);
    return c == ' ' || (c >= '\t' && c <= '\r');
  }

  std::span<const std::byte> x_bytes;
  std::string_view x_path;
  std::size_t x_at = 0;
  bool x_windows_ends = false;
  bool x_plain_ends = false;
};

/// Whether these bytes begin as a file that `decode_netpbm` reads.
[[nodiscard]] inline bool is_netpbm(std::span<const std::byte> bytes) {
  if (bytes.size() < 3 || std::to_integer<char>(bytes[0]) != 'P') return false;
  const char kind = std::to_integer<char>(bytes[1]);
  const char after = std::to_integer<char>(bytes[2]);
  return std::string_view("2356fF").find(kind) != std::string_view::npos && (after == ' ' || after == '#' || (after >= '\t' && after <= '\r'));
}

/// Greys or colours whose largest value is `most`, spread over all of T's where `spread`.
template <class T>
[[nodiscard]] Image<T> netpbm_values(NetpbmText& text, std::string_view path, bool plain, Index height, Index width,
                                     Index channels, std::uint32_t most, bool spread) {
  const auto count = static_cast<std::size_t>(height * width * channels);
  constexpr std::size_t each = sizeof(T);
  if (!plain) text.end_header(count * each);
  // A number of text takes a digit and a blank, but for the last.
  if ((text.rest().size() + (plain ? 1 : 0)) / (plain ? 2 : each) < count) {
    throw ImageError(path, join("is truncated: ", height, " x ", width, " pixels cannot lie in ", text.rest().size(), " bytes"));
  }
  Image<T> image(height, width, channels);
  constexpr std::uint32_t white = std::numeric_limits<T>::max();
  const std::span<const std::byte> bytes = text.rest();
  const std::span<T> pixels = image.pixels();
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t value = 0;
    if (plain) {
      value = text.number("value of a pixel", 0, most);
    } else if constexpr (each == 1) {
      value = std::to_integer<std::uint32_t>(bytes[i]);
    } else {
      value = std::to_integer<std::uint32_t>(bytes[2 * i]) << 8U | std::to_integer<std::uint32_t>(bytes[2 * i + 1]);
    }
    if (value > most) throw ImageError(path, join("is damaged: holds the value ", value, "; its largest is ", most));
    pixels[i] = static_cast<T>(spread ? (value * white + most / 2) / most : value);
  }
  return image;
}

/// Floats of 4 bytes, the lowest row first.
[[nodiscard]] inline Image<float> pfm_values(NetpbmText& text, std::string_view path, Index height, Index width, Index channels) {
  const std::string_view scale = text.word("scale");
  double value = 0;
  const auto [end, error] = std::from_chars(scale.data(), scale.data() + scale.size(), value);
  if (error != std::errc() || end != scale.data() + scale.size() || !std::isfinite(value) || value == 0) {
    throw ImageError(path, join("its scale is '", scale.substr(0, 20), "'; expected a number that is not 0"));
  }
  text.end_header(4 * static_cast<std::size_t>(height * width * channels));
  const std::span<const std::byte> bytes = text.rest();
  if (bytes.size() / 4 < static_cast<std::size_t>(height * width * channels)) {
    throw ImageError(path, join("is truncated: ", height, " x ", width, " pixels cannot lie in ", bytes.size(), " bytes"));
  }
  Image<float> image(height, width, channels);
  const bool little = value < 0;
  std::size_t at = 0;
  for (Index y = height - 1; y >= 0; --y) {
    for (Index i = 0; i < width * channels; ++i, at += 4) {
      std::uint32_t bits = 0;
      for (std::size_t b = 0; b < 4; ++b) bits |= std::to_integer<std::uint32_t>(bytes[at + b]) << 8U * (little ? b : 3 - b);
      const float pixel = std::bit_cast<float>(bits);
      if (!std::isfinite(pixel)) {
        throw ImageError(path, join("holds a value that is not finite, in row ", y, ", column ", i / channels));
      }
      image.row(y)[i] = pixel;
    }
  }
  return image;
}

/// `spread` off: values as they are written, as ids are.
[[nodiscard]] inline AnyImage netpbm_image(std::span<const std::byte> bytes, std::string_view path,
                                           const ReadOptions& options, bool spread) {
  return within_memory(path, [&]() -> AnyImage {
    if (!is_netpbm(bytes)) throw ImageError(path, "not a PGM, PPM or PFM file");
    NetpbmText text(bytes, path);
    const NetpbmText::Head head = text.head();
    const Index height = head.height, width = head.width, channels = head.channels();
    check_image_size(path, head.height, head.width, head.pixel_bytes(), options);
    if (head.largest == 0) {
      Image<float> image = pfm_values(text, path, height, width, channels);
      if (spread) stretch_to_white(image, options.white);
      return with_channels(std::move(image), options.channels, path);
    }
    const bool plain = head.kind < '4';
    if (!head.deep()) {
      return with_channels(netpbm_values<std::uint8_t>(text, path, plain, height, width, channels, head.largest, spread),
                           options.channels, path);
    }
    auto image = netpbm_values<std::uint16_t>(text, path, plain, height, width, channels, head.largest, spread && options.white == 0);
    if (spread) stretch_to_white(image, options.white);
    return with_channels(std::move(image), options.channels, path);
  });
}

}  // namespace detail

/// Decodes a PGM or PPM (of bytes or of text), or a PFM, from memory; `path` is named in errors.
///
/// PGM and PFM of one channel give one, PPM and PFM of three give three. Largest values up to 255 give 8-bit images,
/// those up to 65535 16-bit ones: value x 255 / largest or value x 65535 / largest, rounded, so that the camera's white
/// is white; `options.white` takes the place of the largest value of 16-bit files. The floats of a PFM are divided
/// by it where it is given, and must be finite. Of a file of several images the first is read. A header that ends with "\r\n" is read
/// where the file's size says that both are its end, and refused where that cannot be told. Throws `ImageError`.
/// Test: tests/io/netpbm.cpp.
[[nodiscard]] inline AnyImage decode_netpbm(std::span<const std::byte> bytes, const std::string& path,
                                            const ReadOptions& options = {}) {
  return detail::netpbm_image(bytes, path, options, true);
}

}  // namespace dssl
