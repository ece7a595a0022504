// Images of an inspection: with masks or boxes of their defects, and with templates.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <unistd.h>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/data/list_file.hpp>
#include <dssl/data/mask_size.hpp>
#include <dssl/data/name_pairs.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/truth_survey.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/io/mask_file.hpp>

namespace dssl {

/// Where the truth about an image's defects lies; all empty: nothing is known of them.
struct DefectFilesOptions {
  /// Folder of masks that belong to images by `pair_by_name`: `<id>.png`, `<id>_mask.png`, or the files
  /// of a folder `<id>`, whose defects are taken together. What is marked (`read_marked_mask`) is a defect's.
  std::string masks{};
  /// Folder of boxes: `<id>.txt`, a line "x1 y1 x2 y2 ..." each, in pixels, the right and lower edges
  /// outside. What of a box lies outside the image is left off; one that lies outside altogether, or has no area, is an
  /// error. Where there is a template, only pixels inside that differ from it are a defect's.
  std::string boxes{};
  std::string templates{};           ///< folder of templates
  std::string template_file = "{}";  ///< an image's template in it: "{}" stands for the id
  /// Values of a mask above this, on the scale 0..255, are a defect's; none: as `read_marked_mask` chooses.
  std::optional<int> mask_threshold{};
  /// What of images counts: a mask for all of them, or a folder of masks that belong to images as those of `masks` do. What is
  /// marked is the foreground; an image without a mask cannot be used, as nobody knows what of it counts.
  std::string foreground{};
  std::vector<std::string> good{"good"};  ///< labels of normal images, where labels tell
  bool missing_is_normal = false;         ///< images whose label tells of a defect need no mask, and count as normal
  ReadOptions read{};                     ///< of templates, and the limits for masks
};

/// Image files, each with a mask of its defects (1; 0 elsewhere) and, where there are any, its template and its foreground.
///
/// That a mask or box file is not there is no knowledge of its own: an image without one counts as normal only where
/// others have theirs and no label tells of a defect. Labels tell where one of them is among `good`.
/// Test: tests/data/defect_files.cpp, tests/data/image_files.cpp.
class DefectFiles {
 public:
  /// Throws `OptionError` where both masks and boxes are named; `DataError` where a folder is missing, no image has a
  /// mask, or none where its label tells of a defect, and where names leave a choice; `LabelError` where the one mask of all
  /// foregrounds cannot be read.
  DefectFiles(ImageFiles files, DefectFilesOptions options)
      : x_files(std::move(files)),
        x_options(std::move(options)),
        x_met(std::make_shared<std::vector<std::atomic<std::uint8_t>>>(static_cast<std::size_t>(x_files.size()))) {
    if (!x_options.masks.empty() && !x_options.boxes.empty()) {
      throw OptionError("boxes", x_options.boxes, "masks or boxes, not both");
    }
    if (x_options.mask_threshold && (*x_options.mask_threshold < 0 || *x_options.mask_threshold > 254))
      throw OptionError("mask_threshold", *x_options.mask_threshold, "0 to 254");
    for (const std::string& folder : {x_options.masks, x_options.boxes, x_options.templates}) {
      if (!folder.empty() && ::access((folder + "/.").c_str(), R_OK) != 0)
        throw DataError(join(folder, ": ", detail::system_message(errno)));
    }
    if (has_truth()) x_pair();
    if (!x_options.foreground.empty()) x_pair_foreground();
  }

  [[nodiscard]] const ImageFiles& files() const { return x_files; }
  [[nodiscard]] Index size() const { return x_files.size(); }
  [[nodiscard]] std::string name(Index i) const { return x_files.name(i); }
  [[nodiscard]] bool has_truth() const { return !x_options.masks.empty() || !x_options.boxes.empty(); }
  [[nodiscard]] bool has_templates() const { return !x_options.templates.empty(); }

  /// Paths of the masks, or of the box file, of image i; none where it has none.
  [[nodiscard]] std::vector<std::string> truth_names(Index i) const {
    std::vector<std::string> out;
    if (!has_truth()) return out;
    for (const std::size_t file : x_pairs.files[static_cast<std::size_t>(i)])
      out.push_back(join(x_folder(), "/", x_truth[file]));
    return out;
  }

  /// Paths of the foreground masks of image i; none where it has none.
  [[nodiscard]] std::vector<std::string> foreground_names(Index i) const {
    if (x_one_foreground) return {x_options.foreground};
    std::vector<std::string> out;
    if (x_options.foreground.empty()) return out;
    for (const std::size_t file : x_foreground_pairs.files[static_cast<std::size_t>(i)])
      out.push_back(join(x_options.foreground, "/", x_foregrounds[file]));
    return out;
  }

  /// "3 of 16 images have no foreground mask in masks, the first a.png, and are left out"; empty where all have one, or none is
  /// asked for.
  [[nodiscard]] const std::string& without_foreground() const { return x_without_foreground; }

  /// Who has truth, and what of it is nobody's.
  [[nodiscard]] const TruthSurvey& survey() const { return x_survey; }
  /// "mask" or "box file".
  [[nodiscard]] std::string_view truth_kind() const { return x_options.masks.empty() ? "box file" : "mask"; }
  /// Whether labels tell normal images from others.
  [[nodiscard]] bool labels_tell() const { return x_labels_tell; }

  /// What showed in the images that were loaded so far, by this object or a copy.
  [[nodiscard]] TruthFindings findings() const {
    TruthFindings out;
    Index first_empty = -1;
    for (Index i = 0; i < size(); ++i) {
      const unsigned met = (*x_met)[static_cast<std::size_t>(i)];
      if ((met & x_between) != 0) ++out.between;
      if ((met & x_clipped) != 0 && out.clipped++ == 0) out.first_clipped = name(i);
      if (!x_labels_tell || (met & x_loaded) == 0) continue;
      const bool marked = (met & x_marked) != 0;
      if (marked && x_is_good(i) && out.marked_good++ == 0) out.first = name(i);
      const bool has_truth_of_its_own = !x_pairs.files[static_cast<std::size_t>(i)].empty();
      if (!marked && has_truth_of_its_own && !x_is_good(i) && out.empty_defects++ == 0) first_empty = i;
    }
    if (out.marked_good == 0 && first_empty >= 0) out.first = name(first_empty);
    return out;
  }

  /// Makes known here what showed in the images that other ranks loaded. Every rank calls it.
  void share_findings(const Communicator& ranks) const {
    const std::vector<std::uint8_t> own(x_met->begin(), x_met->end());
    std::vector<std::uint8_t> all(own.size() * static_cast<std::size_t>(ranks.size()));
    ranks.all_gather(std::span(all), std::span(own));
    for (std::size_t i = 0; i < all.size(); ++i) (*x_met)[i % own.size()] |= all[i];
  }

  /// Path of the template of image i.
  [[nodiscard]] std::string template_name(Index i) const {
    return detail::image_path(
        join(x_options.templates, "/", detail::filled_in(x_options.template_file, x_files.id(i))));
  }

  /// The template of image i. Throws `ImageError`.
  [[nodiscard]] AnyImage load_template(Index i) const { return read_image(template_name(i), x_options.read); }

  /// Image i alone. Throws `ImageError`.
  [[nodiscard]] AnyImage load_image(Index i) const { return x_files.load(i); }

  /// Image i and its masks. Throws `ImageError` where the image cannot be read, `LabelError` where a mask of it cannot, or it has
  /// none of its foreground,
  /// `DataError` naming both where sizes differ, and `read.orient` where that is why, and for boxes that cannot be read, are
  /// no numbers, have no area or lie outside the image.
  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out{.image = x_files.load(i), .mask = {}};
    const Index rows = height(out.image);
    const Index columns = width(out.image);
    out.mask = Image<std::uint8_t>(rows, columns, 1);
    if (!x_options.foreground.empty()) x_load_foreground(out, i);
    unsigned met = x_loaded;
    for (const std::string& path : truth_names(i)) {
      if (!x_options.boxes.empty()) {
        if (x_mark_boxes(out, path, i)) met |= x_clipped;
        continue;
      }
      const MarkedMask read = read_marked_mask(path, x_options.read, x_options.mask_threshold);
      x_add_marked(out.mask, out.image, i, read.mask, path);
      if (read.between) met |= x_between;
    }
    const auto pixels = out.mask.pixels();
    if (std::find(pixels.begin(), pixels.end(), std::uint8_t{1}) != pixels.end()) met |= x_marked;
    if (has_truth()) (*x_met)[static_cast<std::size_t>(i)].store(static_cast<std::uint8_t>(met));
    return out;
  }

 private:
  // What is known of an image once it was loaded.
  static constexpr unsigned x_loaded = 1, x_marked = 2, x_between = 4, x_clipped = 8;

  [[nodiscard]] const std::string& x_folder() const {
    return x_options.masks.empty() ? x_options.boxes : x_options.masks;
  }

  [[nodiscard]] bool x_is_good(Index i) const {
    return std::find(x_options.good.begin(), x_options.good.end(), x_files.label(i)) != x_options.good.end();
  }

  /// Marks in `to` what a mask of image i does.
  void x_add_marked(Image<std::uint8_t>& to, const AnyImage& image, Index i, const Image<std::uint8_t>& marked, const std::string& path) const {
    detail::require_same_size(image, name(i), marked, path, x_options.read);
    const auto from = marked.pixels();
    for (std::size_t p = 0; p < from.size(); ++p) to.pixels()[p] |= from[p];
  }

  /// The files of a folder that belong to images: their names below it, appended to `files`, and whose they are.
  [[nodiscard]] NamePairs x_paired(std::vector<std::string>& files, const std::string& folder, bool pictures, std::string_view what) const {
    std::set<std::string> images;
    std::vector<std::string> ids;
    for (Index i = 0; i < size(); ++i) {
      ids.push_back(x_files.id(i));
      images.insert(name(i));
    }
    // Also pictures that cannot be read: that a mask is a TIFF shall be said, not that there is none.
    ImageFolderOptions kinds{.extensions = {".txt"}};
    if (pictures) {
      kinds.extensions.assign(detail::read_endings.begin(), detail::read_endings.end());
      kinds.extensions.insert(kinds.extensions.end(), {".tif", ".tiff", ".webp", ".gif"});
    }
    detail::NameList listed;
    detail::FolderListing(listed, folder, kinds).list("");
    listed.sort();
    std::vector<std::string> stems;
    for (std::size_t f = 0; f < listed.size(); ++f) {
      const std::string_view file = listed[f];
      if (images.contains(join(folder, "/", file))) continue;  // masks beside the images
      files.emplace_back(file);
      stems.emplace_back(file.substr(0, file.rfind('.')));
    }
    return pair_by_name(ids, stems, what);
  }

  /// Finds each image's foreground, or the one of all.
  void x_pair_foreground() {
    const std::string& path = x_options.foreground;
    if (::access((path + "/.").c_str(), R_OK) != 0) {
      x_one_foreground = std::make_shared<const Image<std::uint8_t>>(read_marked_mask(path, x_options.read).mask);
      return;
    }
    x_foreground_pairs = x_paired(x_foregrounds, path, true, "foreground mask");
    Index without = 0, first = -1;
    for (Index i = 0; i < size(); ++i) {
      if (x_foreground_pairs.files[static_cast<std::size_t>(i)].empty() && without++ == 0) first = i;
    }
    if (without == size())
      throw DataError(join("none of ", size(), " images has a foreground mask in ", path, ", such as ", x_files.id(0), ".png or _mask.png for ", name(0)));
    if (without > 0)
      x_without_foreground = join(without, " of ", size(), " images have no foreground mask in ", path, ", the first ", name(first), ", and are left out");
  }

  void x_load_foreground(LabelledImage& out, Index i) const {
    const std::vector<std::string> paths = foreground_names(i);
    if (paths.empty()) throw LabelError(name(i), join("has no foreground mask in ", x_options.foreground));
    out.foreground = Image<std::uint8_t>(out.mask.height(), out.mask.width(), 1);
    for (const std::string& path : paths)
      x_add_marked(out.foreground, out.image, i, x_one_foreground ? *x_one_foreground : read_marked_mask(path, x_options.read).mask, path);
  }

  /// Finds each image's truth.
  void x_pair() {
    for (Index i = 0; i < size(); ++i) x_labels_tell = x_labels_tell || x_is_good(i);
    x_pairs = x_paired(x_truth, x_folder(), !x_options.masks.empty(), truth_kind());
    x_survey.images = size();
    Index first_missing = -1;
    for (Index i = 0; i < size(); ++i) {
      if (!x_pairs.files[static_cast<std::size_t>(i)].empty()) {
        ++x_survey.found;
      } else if (!x_labels_tell) {
        ++x_survey.others_without;
      } else if (x_is_good(i)) {
        ++x_survey.good_without;
      } else if (x_survey.defect_without++ == 0) {
        first_missing = i;
      }
    }
    x_survey.unused = static_cast<Index>(x_pairs.unused.size());
    if (x_survey.unused > 0) x_survey.first_unused = join(x_folder(), "/", x_truth[x_pairs.unused.front()]);
    if (x_options.missing_is_normal) return;
    if (x_survey.defect_without > 0) {
      throw DataError(join(x_survey.defect_without, " of ", x_survey.defect_without + x_survey.found,
                           " images whose label tells of a defect have no ", truth_kind(), " in ", x_folder(),
                           ", the first ", name(first_missing), " (", x_survey.text(truth_kind()), ")"));
    }
    if (x_survey.found == 0 && x_survey.good_without < size()) {
      throw DataError(join("none of ", size(), " images has a ", truth_kind(), " in ", x_folder(), ", such as ",
                           x_files.id(0), x_options.masks.empty() ? ".txt" : ".png or _mask.png", " for ", name(0)));
    }
  }

  /// The numbers at the beginning of a line, whole words each. Throws `DataError`.
  [[nodiscard]] static std::array<Index, 4> x_box(const std::string& path, const detail::NumberedLine& line) {
    std::array<Index, 4> box{};
    std::string_view rest = line.text;
    constexpr std::string_view between = " \t,";
    for (Index& value : box) {
      rest.remove_prefix(std::min(rest.find_first_not_of(between), rest.size()));
      const std::string_view word = rest.substr(0, rest.find_first_of(between));
      const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), value);
      if (problem != std::errc{} || end != word.data() + word.size())
        x_refuse(path, line, "is no box; expected \"x1 y1 x2 y2\" in whole pixels");
      rest.remove_prefix(word.size());
    }
    if (box[0] >= box[2] || box[1] >= box[3]) x_refuse(path, line, "has no area; expected \"x1 y1 x2 y2\" with x1 < x2 and y1 < y2");
    return box;
  }
  [[noreturn]] static void x_refuse(const std::string& path, const detail::NumberedLine& line, std::string_view problem) {
    constexpr std::size_t most = 80;  // characters of a line that are shown
    const std::string shown = line.text.size() > most ? line.text.substr(0, most) + "..." : line.text;
    throw DataError(join(path, ": line ", line.number, ": the box '", shown, "' ", problem));
  }

  /// Whether a box reaches outside the image.
  bool x_mark_boxes(LabelledImage& out, const std::string& path, Index i) const {
    std::vector<std::uint8_t> differs;
    if (has_templates()) differs = x_differences(out.image, load_template(i), i);
    const Index rows = out.mask.height();
    const Index columns = out.mask.width();
    std::vector<detail::NumberedLine> lines;
    try {
      lines = detail::numbered_lines(path);
    } catch (const FileError& error) {
      throw DataError(error.what());
    }
    bool clipped = false;
    for (const detail::NumberedLine& line : lines) {
      const std::array<Index, 4> box = x_box(path, line);
      if (box[0] >= columns || box[1] >= rows || box[2] <= 0 || box[3] <= 0)
        x_refuse(path, line, join("lies outside the image ", name(i), " of ", columns, " x ", rows, " pixels (across, down)"));
      clipped = clipped || box[0] < 0 || box[1] < 0 || box[2] > columns || box[3] > rows;
      for (Index y = std::max<Index>(0, box[1]); y < std::min(rows, box[3]); ++y) {
        for (Index x = std::max<Index>(0, box[0]); x < std::min(columns, box[2]); ++x) {
          if (differs.empty() || differs[static_cast<std::size_t>(y * columns + x)] != 0)
            out.mask(y, x, 0) = 1;
        }
      }
    }
    return clipped;
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
  std::vector<std::string> x_truth;  // files below the folder of masks or boxes
  NamePairs x_pairs;
  std::vector<std::string> x_foregrounds;  // likewise of foregrounds
  NamePairs x_foreground_pairs;
  std::shared_ptr<const Image<std::uint8_t>> x_one_foreground;  // of all images; null: a folder, or not asked for
  std::string x_without_foreground;
  TruthSurvey x_survey;
  bool x_labels_tell = false;
  std::shared_ptr<std::vector<std::atomic<std::uint8_t>>> x_met;  // of each image, by threads that load
};

static_assert(SegmentationSource<DefectFiles>);

}  // namespace dssl
