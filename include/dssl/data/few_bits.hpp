// 16-bit images whose values use few bits: nearly black to a network, unless their white level is known.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <variant>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// What to warn of where 16-bit images use few bits; empty where they do not, or there are none.
///
/// Looks at up to `count` images spread over the source, and warns where most of the 16-bit ones have no value from
/// 2^14 on: cameras give 10, 12 or 14 bits, while a single image may just be dark. Images that cannot be read are passed over. Cost: reading them.
/// Test: tests/data/few_bits.cpp.
template <ImageSource Source>
[[nodiscard]] std::string few_bits_warning(const Source& source, Index count = 4) {
  const Index looks = std::min(count, static_cast<Index>(source.size()));
  Index deep = 0;
  Index few = 0;
  std::uint16_t largest = 0;
  for (Index n = 0; n < looks; ++n) {
    try {
      const HeldImage held(source.load(n * source.size() / looks));
      const AnyImageView image = held.view();
      const auto* const words = std::get_if<ImageView<std::uint16_t>>(&image);
      if (words == nullptr || words->height() == 0 || words->width() == 0) continue;
      ++deep;
      std::uint16_t own = 0;
      for (Index y = 0; y < words->height(); ++y) {
        own = std::max(own, *std::max_element(words->row(y), words->row(y) + words->width() * words->channels()));
      }
      if (own >= 1U << 14U) continue;
      ++few;
      largest = std::max(largest, own);
    } catch (const ImageError&) {
      continue;
    }
  }
  if (2 * few <= deep || largest == 0) return {};
  const int bits = std::max(8, static_cast<int>(std::bit_width(static_cast<unsigned>(largest))));
  return join("16-bit images use few bits: ", few, " of ", deep, " looked at have no value above ", largest,
              " of 65535, nearly black to a network; if their white is that of ", bits,
              " bits, say so (option 'white', ", (1 << bits) - 1, ")");
}

}  // namespace dssl
