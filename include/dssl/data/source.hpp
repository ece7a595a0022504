// Where images come from: the concepts of a source, and images in memory.
// Tests: tests/train/trainer.cpp.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// An image and the class id of each of its pixels: mask (H,W,1), same height and width.
struct LabelledImage {
  AnyImage image;
  Image<std::uint8_t> mask;
  Image<std::uint8_t> foreground{};  ///< (H,W,1), 0 where nothing counts to those that ask for it (`Foreground`); empty: not known
};

/// Has a number of samples, each with a name for messages.
template <class S>
concept NamedSamples = requires(const S& source, Index i) {
  { source.size() } -> std::convertible_to<Index>;
  { source.name(i) } -> std::convertible_to<std::string>;
};

/// Unlabelled images: `load(i)` for i in [0, size()) gives image i, the same at every call: an `AnyImage`, or, so that
/// nothing is copied, a reference to one or an `AnyImageView` of pixels that stay where they are.
///
/// `load` is called by several threads at once. It throws `ImageError` for an image that cannot be used
/// (reported and skipped by loaders); any other exception ends the run.
template <class S>
concept ImageSource = NamedSamples<S> && requires(const S& source, Index i) {
  { source.load(i) } -> std::convertible_to<AnyImageView>;
};

/// Says how large what image i is made of is, without loading it: the bytes of its pixels in memory, say. Sources that do
/// not have a say are asked for the files of their names (`fingerprint_of`).
template <class S>
concept SizedSamples = requires(const S& source, Index i) {
  { source.bytes(i) } -> std::convertible_to<Index>;
};

/// Says what sides image i has without loading it, by its header say; throws `ImageError` where that cannot be told.
template <class S>
concept MeasuredSamples = requires(const S& source, Index i) {
  { source.extent(i) } -> std::same_as<ImageExtent>;
};

/// Which image a sample is of, and what takes the sample's place where that cannot be read.
struct ImageOfSample {
  std::string name;
  Index image = 0;         ///< its number
  Index images = 0;        ///< how many images there are
  Index samples = 1;       ///< how many are of this image
  Index number = 0;        ///< of this sample among them
  Index next = 0;          ///< the first sample of the next image, which stands in
  Index next_samples = 1;  ///< how many that one has
};

/// Says of which image sample i is, where several samples are of one (`ImageTiles`).
template <class S>
concept SamplesOfImages = requires(const S& source, Index i) {
  { source.image_of(i) } -> std::same_as<ImageOfSample>;
};

/// Which image sample i of a source is of. Where the source has no say each sample is an image of its own, and the next stands in for it.
template <NamedSamples Source>
[[nodiscard]] ImageOfSample image_of_sample(const Source& source, Index i) {
  if constexpr (SamplesOfImages<Source>) {
    return source.image_of(i);
  } else {
    const Index size = source.size();
    return {.name = source.name(i), .image = i, .images = size, .next = (i + 1) % size};
  }
}

/// Images with masks: as `ImageSource`, but `load(i)` gives a `LabelledImage`.
template <class S>
concept SegmentationSource = NamedSamples<S> && requires(const S& source, Index i) {
  { source.load(i) } -> std::same_as<LabelledImage>;
};

/// True; where a type is no `ImageSource`, a sentence says why.
template <class S>
inline constexpr bool gives_images = [] {
  static_assert(NamedSamples<S>,
                "a source of images needs size() const and name(i) const, see ImageSource in dssl/data/source.hpp");
  static_assert(!SegmentationSource<S>,
                "this source gives images with masks; to train on its images say dssl::ImagesOf{source}");
  static_assert(requires(const S& source, Index i) { source.load(i); } || !requires(S& source, Index i) { source.load(i); },
                "load(i) of a source must be const: loaders call it from several threads at once");
  static_assert(SegmentationSource<S> || ImageSource<S>,
                "load(i) const of a source of images must give a dssl::AnyImage or a view of one, see ImageSource in dssl/data/source.hpp");
  return true;
}();

/// Image i of a source, held for as long as it is used: not copied where the source gives a reference or a view.
template <ImageSource Source>
[[nodiscard]] HeldImage hold_image(const Source& source, Index i) {
  using Loaded = decltype(source.load(i));
  if constexpr (std::is_reference_v<Loaded> || !std::convertible_to<Loaded, AnyImage>) {
    return HeldImage(AnyImageView(source.load(i)));
  } else {
    return HeldImage(AnyImage(source.load(i)));
  }
}

/// Images that are in memory already. Copies of this object, each trainer's pass among them, share one set of pixels.
/// Test: tests/data/memory_images.cpp.
class MemoryImages {
 public:
  /// Names default to "image 0", "image 1", ... Throws `DataError` if there are no images, or other than one
  /// name each.
  explicit MemoryImages(std::vector<AnyImage> images, std::vector<std::string> names = {}) : x_names(std::move(names)) {
    auto owned = std::make_shared<const std::vector<AnyImage>>(std::move(images));
    x_views.assign(owned->begin(), owned->end());
    x_owned = std::move(owned);
    x_check();
  }
  /// Of pixels that lie elsewhere and stay there for as long as this is used. Throws likewise.
  [[nodiscard]] static MemoryImages of_views(std::vector<AnyImageView> images, std::vector<std::string> names = {}) {
    return {std::move(images), std::move(names), x_OfViews{}};
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(x_views.size()); }
  /// A view: valid as long as this object or a copy of it.
  [[nodiscard]] AnyImageView load(Index i) const { return x_views[static_cast<std::size_t>(i)]; }
  [[nodiscard]] ImageExtent extent(Index i) const { return extent_of(load(i)); }
  [[nodiscard]] std::string name(Index i) const {
    return x_names.empty() ? join("image ", i) : x_names[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] Index bytes(Index i) const {
    const AnyImageView image = load(i);
    return std::visit(
        []<class T>(const ImageView<T>& of) { return of.height() * of.width() * of.channels() * Index{sizeof(T)}; }, image);
  }

 private:
  struct x_OfViews {};
  MemoryImages(std::vector<AnyImageView> views, std::vector<std::string> names, x_OfViews /*tag*/)
      : x_views(std::move(views)), x_names(std::move(names)) {
    x_check();
  }

  void x_check() const {
    if (x_views.empty()) throw DataError("no images were given");
    if (!x_names.empty() && x_names.size() != x_views.size()) {
      throw DataError(join(x_names.size(), " names were given for ", x_views.size(), " images"));
    }
  }

  std::shared_ptr<const std::vector<AnyImage>> x_owned;  // what the views show, or null
  std::vector<AnyImageView> x_views;
  std::vector<std::string> x_names;
};

/// The images of a labelled source without their masks, for pretraining on them.
///
/// A source that has `load_image(i)` is spared the work on the mask.
template <SegmentationSource Source>
class ImagesOf {
 public:
  explicit ImagesOf(Source source) : x_source(std::move(source)) {}

  [[nodiscard]] Index size() const { return x_source.size(); }
  [[nodiscard]] std::string name(Index i) const { return x_source.name(i); }
  [[nodiscard]] AnyImage load(Index i) const {
    if constexpr (requires {
                    { x_source.load_image(i) } -> std::convertible_to<AnyImage>;
                  }) {
      return x_source.load_image(i);
    } else {
      return x_source.load(i).image;
    }
  }

  [[nodiscard]] Index bytes(Index i) const
    requires SizedSamples<Source>
  {
    return x_source.bytes(i);
  }
  [[nodiscard]] ImageExtent extent(Index i) const
    requires MeasuredSamples<Source>
  {
    return x_source.extent(i);
  }

  [[nodiscard]] const Source& source() const { return x_source; }

 private:
  Source x_source;
};

/// Some samples of a source, in the order of their numbers there that are given.
template <NamedSamples Source>
class ChosenSamples {
 public:
  /// `source` must outlive this.
  ChosenSamples(const Source& source, std::vector<Index> chosen) : x_source(source), x_chosen(std::move(chosen)) {}

  [[nodiscard]] Index size() const { return static_cast<Index>(x_chosen.size()); }
  [[nodiscard]] std::string name(Index i) const { return x_source.name(number(i)); }
  [[nodiscard]] decltype(auto) load(Index i) const { return x_source.load(number(i)); }
  /// Of sample i in the source.
  [[nodiscard]] Index number(Index i) const { return x_chosen[static_cast<std::size_t>(i)]; }

 private:
  const Source& x_source;
  std::vector<Index> x_chosen;
};

/// A source without its type, so that what goes through it is compiled once. Test: tests/data/memory_images.cpp.
class SourceView {
 public:
  /// The source must outlive it.
  template <ImageSource Source>
    requires(!std::same_as<Source, SourceView>)
  explicit SourceView(const Source& source) : SourceView(&source, x_Pointer{}) {}
  /// Holds the source together with its other owners.
  template <ImageSource Source>
  explicit SourceView(std::shared_ptr<Source> source) : SourceView(std::move(source), x_Pointer{}) {}
  [[nodiscard]] Index size() const { return x_size; }
  [[nodiscard]] std::string name(Index i) const { return x_name(i); }
  /// Image i, not copied where the source has it in memory.
  [[nodiscard]] HeldImage hold(Index i) const { return x_load(i); }
  /// A copy of it.
  [[nodiscard]] AnyImage load(Index i) const { return x_load(i).take(); }
  /// As `SizedSamples`; -1 where the source has no say.
  [[nodiscard]] Index bytes(Index i) const { return x_bytes ? x_bytes(i) : -1; }
  /// As `MeasuredSamples`; image i is loaded where the source has no say.
  [[nodiscard]] ImageExtent extent(Index i) const { return x_extent ? x_extent(i) : extent_of(hold(i).view()); }
  /// As `image_of_sample` of the source.
  [[nodiscard]] ImageOfSample image_of(Index i) const { return x_image_of(i); }

 private:
  struct x_Pointer {};
  template <class Pointer>
  SourceView(Pointer source, x_Pointer /*tag*/)
      : x_size(source->size()),
        x_load([source](Index i) { return hold_image(*source, i); }),
        x_name([source](Index i) -> std::string { return source->name(i); }),
        x_image_of([source](Index i) { return image_of_sample(*source, i); }) {
    if constexpr (SizedSamples<std::remove_cvref_t<decltype(*source)>>) {
      x_bytes = [source](Index i) -> Index { return source->bytes(i); };
    }
    if constexpr (MeasuredSamples<std::remove_cvref_t<decltype(*source)>>) {
      x_extent = [source](Index i) { return source->extent(i); };
    }
  }

  Index x_size;
  std::function<HeldImage(Index)> x_load;
  std::function<std::string(Index)> x_name;
  std::function<ImageOfSample(Index)> x_image_of;
  std::function<Index(Index)> x_bytes;
  std::function<ImageExtent(Index)> x_extent;
};

static_assert(ImageSource<MemoryImages> && ImageSource<SourceView>);

}  // namespace dssl
