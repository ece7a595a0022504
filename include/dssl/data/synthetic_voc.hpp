// Synthetic scenes written to disk in the layout of PASCAL VOC.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include <sys/stat.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/jpeg.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/io/png.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

namespace detail {

/// Makes a folder unless it is there. Throws `FileError`.
inline void make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) == 0) return;
  const int code = errno;
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return;
  throw FileError(path, join("cannot make the folder: ", system_message(code)));
}

/// What scene i is called: its number, of six digits at least.
[[nodiscard]] inline std::string scene_id(Index i) {
  const std::string digits = std::to_string(i);
  return std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
}

}  // namespace detail

/// Writes scenes 0 .. train - 1 as the split "train" and the next `val` as "val", in the layout `VocFolder`
/// reads.
///
/// 8-bit scenes of 1 or 3 channels become JPEG files of quality 95, 16-bit ones PNG files; masks are palette
/// PNGs, and those of defects, if drawn, lie in "DefectMasks". Throws `OptionError` for pixels or channels no
/// such file holds, `FileError` if something cannot be written. Test: tests/data/synthetic.cpp.
inline void write_voc(const std::string& folder, const SyntheticScenes& scenes, Index train, Index val) {
  const SyntheticOptions& options = scenes.options();
  if (options.channels != 1 && options.channels != 3) {
    throw OptionError("channels", options.channels, "1 or 3 to write image files");
  }
  if (options.pixels == ScenePixels::real)
    throw OptionError("pixels", "real", "8 or 16 bits to write image files");
  for (const char* const inner :
       {"", "/JPEGImages", "/SegmentationClass", "/ImageSets", "/ImageSets/Segmentation"}) {
    detail::make_folder(folder + inner);
  }
  if (options.defects) detail::make_folder(folder + "/DefectMasks");
  std::array<std::string, 2> lists;
  for (Index i = 0; i < train + val; ++i) {
    const std::string id = detail::scene_id(i);
    lists[i < train ? 0 : 1] += id + "\n";
    const Scene made = scenes.scene(i);
    const std::string stem = folder + "/JPEGImages/" + id;
    if (options.pixels == ScenePixels::bits8) {
      write_jpeg(stem + ".jpg", std::get<Image<std::uint8_t>>(made.image), 95);
    } else {
      write_png(stem + ".png", std::get<Image<std::uint16_t>>(made.image));
    }
    write_png_indices(folder + "/SegmentationClass/" + id + ".png", made.mask);
    if (options.defects) write_png_indices(folder + "/DefectMasks/" + id + ".png", made.defects);
  }
  const std::string splits = folder + "/ImageSets/Segmentation/";
  if (train > 0) write_bytes(splits + "train.txt", std::as_bytes(std::span(lists[0])));
  if (val > 0) write_bytes(splits + "val.txt", std::as_bytes(std::span(lists[1])));
}

}  // namespace dssl
