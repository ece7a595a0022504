// How programs read image files, and what they say of what they found.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/data/image_folder.hpp>
#include <dssl/io/image_codec.hpp>

#include <common/program.hpp>

namespace dssl::programs {

/// Adds the options that are not the network's, with their help; they have the names of the fields.
inline void add_read_options(CLI::App& app, ReadOptions& read) {
  const std::string group = "Image files";
  app.add_option("--white", read.white, "Value of 16-bit images that is white, such as 4095 for 12 bits, and of images of floats; 0: 65535, of floats 1")
      ->check(CLI::Range(Index{0}, Index{65535}))
      ->capture_default_str()
      ->group(group);
  app.add_flag("!--no-orient", read.orient, "Pictures as they are stored, not turned by their EXIF orientation")
      ->group(group);
  app.add_option("--largest-pixels", read.largest_pixels,
                 "Height x width of an image, at most; larger ones are passed over as unreadable")
      ->check(CLI::Range(Index{1}, Index{1} << 40))
      ->capture_default_str()
      ->group(group);
  app.add_option("--largest-bytes", read.largest_bytes, "Bytes of a file that is no TIFF, and of an image's pixels, at most; likewise")
      ->check(CLI::Range(Index{1}, Index{1} << 42))
      ->capture_default_str()
      ->group(group);
}

/// The same with so many channels.
[[nodiscard]] inline ReadOptions with_channels_of(ReadOptions read, Index channels) {
  read.channels = channels;
  return read;
}

/// What changes pixels.
[[nodiscard]] inline nlohmann::ordered_json read_json(const ReadOptions& read) {
  return {{"white", read.white}, {"orient", read.orient}};
}

/// Says which pictures of the files' folders were left aside, and for what damage of TIFF files more of them may be missing.
template <class Files>
void print_left_aside(std::string_view program, const Files& files) {
  const LeftAside& left = files.left_aside();
  if (!left.empty())
    std::printf("left aside, as they are not read: %s\n", left_aside_text(left).c_str());
  for (const std::string& line : files.damaged()) print_error(program, "warning: " + line);
}

}  // namespace dssl::programs
