// 16-bit images whose values use few bits, nearly black to a network, and floats beyond 1, all white: unless their white is known.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <variant>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// What to warn of where 16-bit images use few bits, or images of floats go beyond 1, which is white; empty where they do not, or
/// there are none.
///
/// Looks at up to `count` images spread over the source. Warns where most of the 16-bit ones have no value from 2^14 on: cameras
/// give 10, 12 or 14 bits, while a single image may just be dark; and where most of those of floats have a value of 2 or more.
/// Images that cannot be read are passed over. Cost: reading them.
/// Test: tests/data/few_bits.cpp.
template <ImageSource Source>
[[nodiscard]] std::string few_bits_warning(const Source& source, Index count = 4) {
  const Index looks = std::min(count, static_cast<Index>(source.size()));
  struct Seen {
    Index all = 0, odd = 0;
    double largest = 0;
  };
  Seen deep, floats;
  for (Index n = 0; n < looks; ++n) {
    try {
      const HeldImage held(source.load(n * source.size() / looks));
      std::visit(
          [&]<class T>(const ImageView<T>& image) {
            if constexpr (!std::is_same_v<T, std::uint8_t>) {
              if (image.height() == 0 || image.width() == 0) return;
              constexpr bool whole = std::is_same_v<T, std::uint16_t>;
              Seen& seen = whole ? deep : floats;
              ++seen.all;
              double own = 0;
              for (Index y = 0; y < image.height(); ++y) {
                own = std::max(own, static_cast<double>(*std::max_element(image.row(y), image.row(y) + image.width() * image.channels())));
              }
              if (whole ? own >= 1 << 14 : !(own >= 2)) return;
              ++seen.odd;
              seen.largest = std::max(seen.largest, own);
            }
          },
          held.view());
    } catch (const ImageError&) {
      continue;
    }
  }
  const auto white = [](double largest) {  // of as many bits as that takes, 8 or more
    const auto bits = std::bit_width(static_cast<std::uint32_t>(std::min(largest, 65535.0)));
    return (1 << std::max<int>(8, static_cast<int>(bits))) - 1;
  };
  if (2 * deep.odd > deep.all && deep.largest > 0) {
    const int top = white(deep.largest);
    return join("16-bit images use few bits: ", deep.odd, " of ", deep.all, " looked at have no value above ", deep.largest,
                " of 65535, nearly black to a network; if their white is that of ", std::bit_width(static_cast<unsigned>(top)),
                " bits, say so (option 'white', ", top, ")");
  }
  if (2 * floats.odd > floats.all) {
    return join("images of floats go beyond white, which is 1: ", floats.odd, " of ", floats.all, " looked at have values up to ",
                floats.largest, "; if their white is another, say so (option 'white', such as ", white(floats.largest), ")");
  }
  return {};
}

}  // namespace dssl
