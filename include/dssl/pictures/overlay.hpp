// Pictures of predictions: classes as colours over the image, and truth beside prediction.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <dssl/core/class_colour.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// An RGB image (H,W,3) with each pixel's class (H,W) mixed in as its id's colour: (1 - alpha) image + alpha
/// colour. Ignored pixels show the image alone. alpha in [0, 1]. Throws `ShapeError`, `OptionError`. Test:
/// tests/features/labelled_input.cpp.
[[nodiscard]] inline Image<std::uint8_t> overlay(const Image<std::uint8_t>& image,
                                                 std::span<const std::uint8_t> labels,
                                                 const ClassMap& classes, double alpha = 0.6) {
  require_shape(image.channels() == 3 && static_cast<Index>(labels.size()) == image.height() * image.width(),
                "overlay of ", labels.size(), " labels on an image of ", image.height(), " x ", image.width(),
                " x ", image.channels(), "; expected a label for each pixel of an RGB image");
  if (!(alpha >= 0 && alpha <= 1)) throw OptionError("alpha", alpha, "0 to 1");
  Image<std::uint8_t> out = image;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (static_cast<Index>(labels[i]) >= classes.classes()) continue;
    const auto colour = class_colour(classes.id_of(labels[i]));
    for (std::size_t c = 0; c < 3; ++c) {
      std::uint8_t& pixel = out.pixels()[3 * i + c];
      pixel = static_cast<std::uint8_t>((1 - alpha) * pixel + alpha * colour[c] + 0.5);
    }
  }
  return out;
}

/// Pictures of one height from left to right, white between them. Throws `ShapeError` if heights or channels
/// differ.
[[nodiscard]] inline Image<std::uint8_t> side_by_side(std::span<const Image<std::uint8_t>> pictures,
                                                      Index gap = 4) {
  require_shape(!pictures.empty() && gap >= 0, "side by side: ", pictures.size(),
                " pictures; expected at least 1");
  const Image<std::uint8_t>& first = pictures.front();
  Index width = -gap;
  for (const auto& picture : pictures) {
    require_shape(picture.height() == first.height() && picture.channels() == first.channels(),
                  "side by side: pictures of ", first.height(), " and ", picture.height(), " rows, ",
                  first.channels(), " and ", picture.channels(), " channels");
    width += gap + picture.width();
  }
  Image<std::uint8_t> out(first.height(), width, first.channels());
  std::fill(out.pixels().begin(), out.pixels().end(), std::uint8_t{255});
  Index x = 0;
  for (const auto& picture : pictures) {
    for (Index y = 0; y < picture.height(); ++y) {
      std::copy_n(picture.row(y), picture.width() * picture.channels(), out.row(y) + x * out.channels());
    }
    x += picture.width() + gap;
  }
  return out;
}

/// Image, truth and prediction side by side; classes coloured as in `overlay`.
[[nodiscard]] inline Image<std::uint8_t> prediction_overlay(const Image<std::uint8_t>& image,
                                                            std::span<const std::uint8_t> truth,
                                                            std::span<const std::uint8_t> predicted,
                                                            const ClassMap& classes, double alpha = 0.6) {
  const std::array<Image<std::uint8_t>, 3> pictures{image, overlay(image, truth, classes, alpha),
                                                    overlay(image, predicted, classes, alpha)};
  return side_by_side(pictures);
}

}  // namespace dssl
