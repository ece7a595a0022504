// Pairs of images that two cameras took of one thing, as one image each.
// Tests: tests/data/memory_images.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/camera.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/fingerprint.hpp>
#include <dssl/data/source.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// Two pictures as one image: the second below the first, what is narrower filled up with zeros on its right.
/// Throws `ImageError` naming `name` where their pixels are of other types, or have other channels.
[[nodiscard]] inline AnyImage stacked(const AnyImageView& first, const AnyImageView& second,
                                      std::string_view name) {
  return std::visit(
      [&]<class T>(const ImageView<T>& above) -> AnyImage {
        const auto* const below = std::get_if<ImageView<T>>(&second);
        if (below == nullptr || below->channels() != above.channels()) {
          throw ImageError(name, "has other channels, or pixels of another type, than the other of its pair");
        }
        Image<T> out(above.height() + below->height(), std::max(above.width(), below->width()),
                     above.channels());
        const auto put = [&out](const ImageView<T>& part, Index from) {
          for (Index y = 0; y < part.height(); ++y)
            std::copy_n(part.row(y), part.width() * part.channels(), out.row(from + y));
        };
        put(above, 0);
        put(*below, above.height());
        return out;
      },
      first);
}

/// Pairs of images, each as one image: what `Paired` views are read out of. Image i of one source and image i
/// of the other. Test: tests/data/memory_images.cpp.
class ImagePairs {
 public:
  /// `extents`: of the pictures; a pair of others is an `ImageError`. Throws `DataError` unless there are as
  /// many of one as of the other.
  ImagePairs(SourceView first, SourceView second, const CameraPair& extents)
      : x_first(std::move(first)), x_second(std::move(second)), x_extents(extents) {
    if (x_first.size() != x_second.size())
      throw DataError(join(x_first.size(), " images from the first camera and ", x_second.size(),
                           " from the second are no pairs"));
  }

  [[nodiscard]] Index size() const { return x_first.size(); }
  /// The first's.
  [[nodiscard]] std::string name(Index i) const { return x_first.name(i); }
  /// No number of bytes, but a hash of both images' and of the second's name without its folder: pairs with
  /// another second image have another fingerprint (`fingerprint_of`).
  [[nodiscard]] Index bytes(Index i) const {
    const std::string second = x_second.name(i);
    detail::NameHash hash;
    hash.add(detail::bytes_of_image(x_first, i, x_first.name(i)));
    hash.add(std::string_view(second).substr(second.rfind('/') + 1));  // none: all of it
    hash.add(detail::bytes_of_image(x_second, i, second));
    return static_cast<Index>(hash.value() >> 1U);  // 0 or more
  }
  [[nodiscard]] AnyImage load(Index i) const {
    const HeldImage first = x_first.hold(i), second = x_second.hold(i);
    x_require(first.view(), x_extents.first_height, x_extents.first_width, x_first.name(i));
    x_require(second.view(), x_extents.second_height, x_extents.second_width, x_second.name(i));
    return stacked(first.view(), second.view(), x_second.name(i));
  }

 private:
  static void x_require(const AnyImageView& image, Index rows, Index columns, const std::string& name) {
    if (height(image) == rows && width(image) == columns) return;
    throw ImageError(name, join("has ", height(image), " x ", width(image), " pixels; expected its camera's ",
                                rows, " x ", columns));
  }

  SourceView x_first, x_second;
  CameraPair x_extents;
};

/// Numbers in two lists of names of what has the same name in both, in the first's order. Throws `DataError`
/// where there is none, or a name stands twice in one.
[[nodiscard]] inline std::vector<std::pair<Index, Index>> same_names(const std::vector<std::string>& first,
                                                                     const std::vector<std::string>& second) {
  std::map<std::string_view, Index> places;
  for (std::size_t i = 0; i < second.size(); ++i) {
    if (!places.emplace(second[i], static_cast<Index>(i)).second)
      throw DataError(join("'", second[i], "' is the name of two images of the second camera"));
  }
  std::vector<std::pair<Index, Index>> out;
  for (std::size_t i = 0; i < first.size(); ++i) {
    const auto found = places.find(first[i]);
    if (found == places.end()) continue;
    if (found->second < 0)
      throw DataError(join("'", first[i], "' is the name of two images of the first camera"));
    out.emplace_back(static_cast<Index>(i), found->second);
    found->second = -1;
  }
  if (out.empty()) throw DataError("no image of the first camera has the name of one of the second");
  return out;
}

}  // namespace dssl
