// WebP files through libwebp: still pictures, lossy and lossless.
// Tests: tests/io/webp.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <webp/decode.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/io/orientation.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// What a status of libwebp means.
[[nodiscard]] inline std::string_view webp_problem(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY: return "does not fit into memory";
    case VP8_STATUS_BITSTREAM_ERROR: return "damaged WebP";
    case VP8_STATUS_UNSUPPORTED_FEATURE: return "a WebP of a kind that libwebp does not know";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA: return "truncated WebP";
    default: return "libwebp cannot read it";
  }
}

inline void check_webp(std::string_view path, VP8StatusCode status) {
  if (status != VP8_STATUS_OK) throw ImageError(path, webp_problem(status));
}

/// The header of a WebP.
[[nodiscard]] inline WebPBitstreamFeatures webp_features(std::span<const std::byte> bytes, std::string_view path) {
  WebPBitstreamFeatures features{};
  check_webp(path, WebPGetFeatures(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), &features));
  return features;
}

[[nodiscard]] inline Index webp_channels(const WebPBitstreamFeatures& features, const ReadOptions& options) {
  return options.keep_alpha && features.has_alpha != 0 ? 4 : 3;
}

/// Whether what is read is what was written.
[[nodiscard]] inline bool is_lossless(const WebPBitstreamFeatures& features) { return features.format == 2; }

/// The orientation that the chunk of EXIF data tells. Throws `ImageError` where the file is shorter than its header says.
[[nodiscard]] inline Orientation webp_orientation(std::span<const std::byte> bytes, std::string_view path) {
  const auto four = [&](std::size_t i) {
    std::uint32_t value = 0;
    for (std::size_t b = 0; b < 4; ++b) value |= std::to_integer<std::uint32_t>(bytes[i + b]) << (8 * b);
    return value;
  };
  constexpr std::size_t frame = 8;  // name and length
  if (bytes.size() < 12 || four(4) > bytes.size() - frame) throw ImageError(path, "truncated WebP");
  for (std::size_t at = 12; at + frame <= bytes.size();) {
    const std::size_t length = four(at + 4);
    if (length > bytes.size() - at - frame) break;
    if (std::memcmp(bytes.data() + at, "EXIF", 4) == 0) return exif_orientation(bytes.subspan(at + frame, length));
    at += frame + length + length % 2;
  }
  return Orientation::as_stored;
}

}  // namespace detail

/// Decodes a WebP from memory; `path` is named in errors.
///
/// Three channels of 8 bits; transparency, where there is any, is dropped unless `options.keep_alpha`. The orientation
/// of EXIF data is applied unless `options.orient` is off. Throws `ImageError`, for truncated, damaged and animated
/// files too. Test: tests/io/webp.cpp.
[[nodiscard]] inline AnyImage decode_webp(std::span<const std::byte> bytes, const std::string& path,
                                          const ReadOptions& options = {}) {
  return detail::within_memory(path, [&]() -> AnyImage {
    const WebPBitstreamFeatures features = detail::webp_features(bytes, path);
    if (features.has_animation != 0) throw ImageError(path, "is an animated WebP; expected a still picture");
    const Orientation orientation = detail::webp_orientation(bytes, path);
    const Index channels = detail::webp_channels(features, options);
    const auto height = static_cast<std::uint64_t>(features.height);
    const auto width = static_cast<std::uint64_t>(features.width);
    detail::check_image_size(path, height, width, static_cast<std::uint64_t>(channels), options);
    // A picture of one colour takes no bits a pixel; beyond this size there is something in it.
    constexpr std::uint64_t may_be_empty = std::uint64_t{1} << 24;
    if (height * width > may_be_empty) detail::check_pixels_follow(path, height, width, std::uint64_t{1} << 16, bytes.size());
    Image<std::uint8_t> image(features.height, features.width, channels);
    WebPDecoderConfig config;
    if (WebPInitDecoderConfig(&config) == 0) throw ImageError(path, "libwebp is of another version than its header");
    config.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = image.pixels().data();
    config.output.u.RGBA.stride = static_cast<int>(image.width() * channels);
    config.output.u.RGBA.size = image.pixels().size();
    detail::check_webp(path, WebPDecode(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), &config));
    if (options.orient) image = oriented(std::move(image), orientation);
    return with_channels(std::move(image), options.channels, path);
  });
}

}  // namespace dssl
