// Which images of an inspection have their truth in a file, and what showed when it was read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Which images have their truth in a file, and which truth no image.
struct TruthSurvey {
  Index images = 0;
  Index found = 0;           ///< images with a mask, or boxes
  Index good_without = 0;    ///< none, as their label says too
  Index defect_without = 0;  ///< none, though their label tells of a defect
  Index others_without = 0;  ///< none, and labels tell nothing
  Index unused = 0;          ///< files of no image
  std::string first_unused{};

  /// "8 of 16 images have a mask, 8 have none and count as normal; 2 masks belong to no image, the first ...".
  [[nodiscard]] std::string text(std::string_view what) const {
    const auto have = [](Index n) { return n == 1 ? " has " : " have "; };
    const Index without = images - found;
    std::string out = join(found, " of ", images, " images", have(found), what == "mask" ? "a mask" : "boxes");
    if (without > 0) out += join(", ", without, have(without), "none and ", without == 1 ? "counts" : "count", " as normal");
    if (unused > 0)
      out += join("; ", unused, " ", what, unused == 1 ? " belongs" : "s belong", " to no image, the first ", first_unused);
    return out;
  }
};

/// What showed when masks were read: images, each counted once.
struct TruthFindings {
  Index marked_good = 0;    ///< with a defect in their truth, though their label says normal
  Index empty_defects = 0;  ///< without one, though their label tells of a defect
  Index between = 0;        ///< with a mask of many values, which was parted in the middle
  Index clipped = 0;        ///< with a box that reaches outside the image
  std::string first{};      ///< an image of the first kind, else of the second
  std::string first_clipped{};

  /// A sentence for each kind that there is.
  [[nodiscard]] std::vector<std::string> texts() const {
    std::vector<std::string> out;
    if (marked_good > 0)
      out.push_back(join(marked_good, " images have a defect in their mask though their label says normal, such as ", first));
    if (empty_defects > 0)
      out.push_back(join(empty_defects, " images have no defect in their mask though their label tells of one",
                         marked_good > 0 ? "" : ", such as ", marked_good > 0 ? "" : first));
    if (between > 0)
      out.push_back(join(between, " masks hold many values, as after JPEG or resizing; what is above half of the largest "
                                  "counts as a defect (option 'mask_threshold')"));
    if (clipped > 0)
      out.push_back(join(clipped, clipped == 1 ? " image has a box that reaches" : " images have a box that reaches",
                         " outside it; what lies inside counts", clipped == 1 ? ": " : ", such as in ", first_clipped));
    return out;
  }
};

}  // namespace dssl
