// Pieces of an HTML page that needs no other file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <dssl/views/image.hpp>

namespace dssl::programs {

/// Text with the characters that mean something in HTML made harmless.
[[nodiscard]] std::string escaped(std::string_view text);

/// A number with that many decimals; "–" where it is not finite.
[[nodiscard]] std::string decimals(double value, int places);

/// The picture as a PNG in a data URL.
[[nodiscard]] std::string data_url(const Image<std::uint8_t>& picture);

/// An <img> of the picture, enlarged pixel by pixel as the page's width asks.
[[nodiscard]] std::string picture(const Image<std::uint8_t>& image, std::string_view alternative);

/// The whole page around its body.
[[nodiscard]] std::string page(std::string_view title, std::string_view body);

}  // namespace dssl::programs
