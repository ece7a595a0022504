// Images of an inspection: with masks or boxes of their defects, and with templates.
#pragma once

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <unistd.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/io/png.hpp>

namespace dssl {

/// Where the truth about an image's defects lies; all empty: nothing is known of them.
struct DefectFilesOptions {
  /// Folder of masks: `<id>.png`, `<id>_mask.png`, or either of these for the last part of the id. A pixel
  /// that is not 0 is a defect's; an image without a mask has none.
  std::string masks{};
  /// Folder of boxes: `<id>.txt`, a line "x1 y1 x2 y2 ..." each, in pixels, the right and lower edges
  /// outside. Where there is a template, only pixels inside that differ from it are a defect's.
  std::string boxes{};
  std::string templates{};           ///< folder of templates
  std::string template_file = "{}";  ///< an image's template in it: "{}" stands for the id
  ReadOptions read{};                ///< of templates, and the limits for masks
};

/// Image files, each with a mask of its defects (1; 0 elsewhere) and, where there are any, its template.
/// Test: tests/data/image_files.cpp.
class DefectFiles {
 public:
  /// Throws `OptionError` where both masks and boxes are named, `DataError` where a folder is missing.
  DefectFiles(ImageFiles files, DefectFilesOptions options)
      : x_files(std::move(files)), x_options(std::move(options)) {
    if (!x_options.masks.empty() && !x_options.boxes.empty()) {
      throw OptionError("boxes", x_options.boxes, "masks or boxes, not both");
    }
    for (const std::string& folder : {x_options.masks, x_options.boxes, x_options.templates}) {
      if (!folder.empty() && ::access((folder + "/.").c_str(), R_OK) != 0)
        throw DataError(join(folder, ": ", detail::system_message(errno)));
    }
  }

  [[nodiscard]] const ImageFiles& files() const { return x_files; }
  [[nodiscard]] Index size() const { return x_files.size(); }
  [[nodiscard]] std::string name(Index i) const { return x_files.name(i); }
  [[nodiscard]] bool has_truth() const { return !x_options.masks.empty() || !x_options.boxes.empty(); }
  [[nodiscard]] bool has_templates() const { return !x_options.templates.empty(); }

  /// Path of the mask of image i; empty where it has none.
  [[nodiscard]] std::string mask_name(Index i) const {
    if (x_options.masks.empty()) return {};
    const std::string& id = x_files.id(i);
    for (const std::string_view stem : {std::string_view(id), detail::last_part(id)}) {
      for (const std::string_view ending : {".png", "_mask.png"}) {
        std::string path = join(x_options.masks, "/", stem, ending);
        if (::access(path.c_str(), F_OK) == 0) return path;
      }
    }
    return {};
  }

  /// Path of the template of image i.
  [[nodiscard]] std::string template_name(Index i) const {
    return detail::image_path(
        join(x_options.templates, "/", detail::filled_in(x_options.template_file, x_files.id(i))));
  }

  /// The template of image i. Throws `ImageError`.
  [[nodiscard]] AnyImage load_template(Index i) const { return read_image(template_name(i), x_options.read); }

  /// Image i and its mask. Throws `ImageError` where a file cannot be read, `DataError` naming both where
  /// sizes differ, and for boxes that are no numbers.
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out{.image = x_files.load(i), .mask = {}};
    const Index rows = height(out.image);
    const Index columns = width(out.image);
    const std::string mask = mask_name(i);
    if (mask.empty()) {
      out.mask = Image<std::uint8_t>(rows, columns, 1);
      if (!x_options.boxes.empty()) x_mark_boxes(out, i);
      return out;
    }
    out.mask = read_png_indices(mask, x_options.read);
    if (out.mask.height() != rows || out.mask.width() != columns) {
      throw DataError(join(mask, ": the mask has ", out.mask.height(), " x ", out.mask.width(),
                           " pixels, its image ", name(i), " has ", rows, " x ", columns));
    }
    for (std::uint8_t& id : out.mask.pixels()) id = id != 0 ? 1 : 0;
    return out;
  }

 private:
  /// The numbers at the beginning of a line. Throws `DataError`.
  [[nodiscard]] static std::vector<Index> x_box(const std::string& path, std::string_view line) {
    std::vector<Index> box;
    std::string_view rest = line;
    for (int n = 0; n < 4; ++n) {
      rest.remove_prefix(std::min(rest.find_first_not_of(" \t,"), rest.size()));
      Index value = 0;
      const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
      if (problem != std::errc{})
        throw DataError(join(path, ": '", line, "' is no box; expected \"x1 y1 x2 y2\" in pixels"));
      rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
      box.push_back(value);
    }
    return box;
  }

  void x_mark_boxes(LabelledImage& out, Index i) const {
    const std::string path = join(x_options.boxes, "/", x_files.id(i), ".txt");
    if (::access(path.c_str(), F_OK) != 0) return;
    std::vector<std::uint8_t> differs;
    if (has_templates()) differs = x_differences(out.image, load_template(i), i);
    const Index rows = out.mask.height();
    const Index columns = out.mask.width();
    for (const std::string& line : detail::read_lines(path)) {
      const std::vector<Index> box = x_box(path, line);
      for (Index y = std::max<Index>(0, box[1]); y < std::min(rows, box[3]); ++y) {
        for (Index x = std::max<Index>(0, box[0]); x < std::min(columns, box[2]); ++x) {
          if (differs.empty() || differs[static_cast<std::size_t>(y * columns + x)] != 0)
            out.mask(y, x, 0) = 1;
        }
      }
    }
  }

  /// 1 for each pixel (H,W) that is not the template's.
  [[nodiscard]] std::vector<std::uint8_t> x_differences(const AnyImage& image, const AnyImage& pattern,
                                                        Index i) const {
    return std::visit(
        [&](const auto& a) {
          using Pixels = std::decay_t<decltype(a)>;
          const auto* const b = std::get_if<Pixels>(&pattern);
          if (b == nullptr || b->height() != a.height() || b->width() != a.width() ||
              b->channels() != a.channels()) {
            throw DataError(join(template_name(i), ": the template is ", height(pattern), " x ",
                                 width(pattern), " x ", channels(pattern), ", its image ", name(i), " is ",
                                 a.height(), " x ", a.width(), " x ", a.channels(),
                                 "; expected the same, and the same depth"));
          }
          std::vector<std::uint8_t> out(static_cast<std::size_t>(a.height() * a.width()));
          const auto each = static_cast<std::size_t>(a.channels());
          for (std::size_t p = 0; p < out.size(); ++p) {
            const auto x = a.pixels().subspan(p * each, each);
            out[p] =
                std::equal(x.begin(), x.end(), b->pixels().begin() + static_cast<std::ptrdiff_t>(p * each))
                    ? 0
                    : 1;
          }
          return out;
        },
        image);
  }

  ImageFiles x_files;
  DefectFilesOptions x_options;
};

static_assert(SegmentationSource<DefectFiles>);

}  // namespace dssl
