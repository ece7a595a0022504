// A labelled image as a network and a classifier take it: cut out, resized, mirrored, normalised.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/label_census.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/photometric.hpp>
#include <dssl/views/planar_image.hpp>
#include <dssl/views/resample.hpp>

namespace dssl {

/// How an image of another shape gets into the input.
enum class InputFit : std::uint8_t {
  stretch,  ///< resized to the input's height and width, as published
  pad  ///< resized by one factor so that it fits, in the middle of an input of mean colour; outside it all is
       ///< void
};

/// Size and values of the inputs.
struct InputOptions {
  Index height = 448;  ///< of the network's input
  Index width = 448;
  Index channels = 3;
  InputFit fit = InputFit::stretch;
  Interpolation interpolation = Interpolation::bilinear;  ///< of images; masks are read at the nearest pixel
  /// Mean and deviation of each channel on the scale 0..1. Both empty: (0.485, 0.456, 0.406) and
  /// (0.229, 0.224, 0.225) for three channels, 0.5 and 0.25 for any other number, as in training.
  std::vector<float> mean{};
  std::vector<float> deviation{};

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (height < 1) throw OptionError("height", height, "at least 1");
    if (width < 1) throw OptionError("width", width, "at least 1");
    if (channels < 1) throw OptionError("channels", channels, "at least 1");
    const auto count = static_cast<std::size_t>(channels);
    if (!mean.empty() && mean.size() != count)
      throw OptionError("mean", mean.size(), "a value for each channel");
    if (deviation.size() != mean.size())
      throw OptionError("deviation", deviation.size(), "as many values as 'mean'");
    for (const float d : deviation) {
      if (!(d > 0)) throw OptionError("deviation", d, "positive values");
    }
  }
};

/// An input and its labels in host memory.
struct LabelledInput {
  std::vector<float> image;          ///< (C,h,w) normalised
  std::vector<std::uint8_t> labels;  ///< (label_height, label_width): classes, or `ClassMap::ignored`
  LabelCensus census{};              ///< ids of the mask's pixels that the labels were taken from
};

/// Renders labelled images. Pure functions of their arguments: one object serves any number of threads.
/// Test: tests/features/labelled_input.cpp.
class InputRenderer {
 public:
  /// Throws `OptionError`.
  InputRenderer(InputOptions options, ClassMap classes)
      : x_options(std::move(options)), x_classes(std::move(classes)) {
    x_options.validate();
    default_normalisation(x_options.mean, x_options.deviation, x_options.channels);
  }

  /// The options, with mean and deviation filled in.
  [[nodiscard]] const InputOptions& options() const { return x_options; }
  [[nodiscard]] const ClassMap& classes() const { return x_classes; }

  /// The part of a picture that `map` shows, with labels of label_height x label_width.
  ///
  /// Label (i, j) is that of the mask's pixel under the middle of cell (i, j) of the input.
  /// Throws `ShapeError` if mask and image differ in size, the box lies outside, or the channels are not the
  /// options'.
  [[nodiscard]] LabelledInput render(const AnyImageView& image, const Image<std::uint8_t>& mask, const CropMap& map,
                                     Index label_height, Index label_width) const {
    require_shape(height(image) == mask.height() && width(image) == mask.width(), "an image of ", height(image), " x ",
                  width(image), " pixels with a mask of ", mask.height(), " x ", mask.width());
    LabelledInput out{.image = render_image(image, map), .labels = {}, .census = {}};
    out.labels.resize(static_cast<std::size_t>(label_height * label_width));
    x_render_labels(out, mask, map, x_place(map.box), label_height, label_width);
    return out;
  }
  [[nodiscard]] LabelledInput render(const LabelledImage& picture, const CropMap& map, Index label_height,
                                     Index label_width) const {
    return render(picture.image, picture.mask, map, label_height, label_width);
  }

  /// The whole picture.
  [[nodiscard]] LabelledInput render(const LabelledImage& picture, Index label_height,
                                     Index label_width) const {
    const CropMap whole{.box = {0, 0, picture.mask.height(), picture.mask.width()}};
    return render(picture, whole, label_height, label_width);
  }

  /// The part of an image that `map` shows, without labels: (C,h,w). Throws `ShapeError` likewise.
  [[nodiscard]] std::vector<float> render_image(const AnyImageView& image, const CropMap& map) const {
    require_shape(channels(image) == x_options.channels, "an image of ", channels(image), " channels; expected ",
                  x_options.channels);
    require_shape(inside(map.box, height(image), width(image)), "the box of an input is not inside its image");
    std::vector<float> out(static_cast<std::size_t>(x_options.channels * x_options.height * x_options.width));
    const Box place = x_place(map.box);
    std::visit([&](const auto& typed) { x_render_image(out, typed, map, place); }, image);
    return out;
  }
  /// The whole image.
  [[nodiscard]] std::vector<float> render_image(const AnyImageView& image) const {
    return render_image(image, {.box = {0, 0, height(image), width(image)}});
  }

  /// An input as an 8-bit RGB picture again: the first three channels, or the first as grey.
  [[nodiscard]] Image<std::uint8_t> picture(std::span<const float> input) const {
    return picture(input, x_options.height, x_options.width);
  }
  /// The same of an input of another size, with the options' channels and values.
  [[nodiscard]] Image<std::uint8_t> picture(std::span<const float> input, Index input_height, Index input_width) const {
    const Index cells = input_height * input_width;
    require_shape(static_cast<Index>(input.size()) == x_options.channels * cells, "an input of ",
                  input.size(), " values; expected ", x_options.channels * cells);
    Image<std::uint8_t> out(input_height, input_width, 3);
    for (Index c = 0; c < 3; ++c) {
      const auto from = static_cast<std::size_t>(x_options.channels >= 3 ? c : 0);
      for (Index i = 0; i < cells; ++i) {
        const float value = input[from * static_cast<std::size_t>(cells) + static_cast<std::size_t>(i)];
        const float level = 255.0F * (value * x_options.deviation[from] + x_options.mean[from]);
        out.pixels()[static_cast<std::size_t>(3 * i + c)] =
            static_cast<std::uint8_t>(std::clamp(level, 0.0F, 255.0F) + 0.5F);
      }
    }
    return out;
  }

 private:
  /// Where in the input the box lies.
  [[nodiscard]] Box x_place(const Box& box) const {
    if (x_options.fit == InputFit::stretch) return {0, 0, x_options.height, x_options.width};
    const double scale = std::min(static_cast<double>(x_options.height) / static_cast<double>(box.height),
                                  static_cast<double>(x_options.width) / static_cast<double>(box.width));
    const auto extent = [&](Index from, Index limit) {
      return std::clamp<Index>(static_cast<Index>(std::lround(scale * static_cast<double>(from))), 1, limit);
    };
    const Index h = extent(box.height, x_options.height);
    const Index w = extent(box.width, x_options.width);
    return {(x_options.height - h) / 2, (x_options.width - w) / 2, h, w};
  }

  template <PixelType P>
  void x_render_image(std::span<float> out, const ImageView<P>& image, const CropMap& map,
                      const Box& place) const {
    ResampleWorkspace<work_type<P>> workspace;
    PlanarImage<work_type<P>> planes;
    resample(planes, image, map.box, place.height, place.width, x_options.interpolation, map.flip, workspace);
    if (place.height == x_options.height && place.width == x_options.width) {
      normalise(out, planes, x_options.mean, x_options.deviation);
      return;
    }
    std::vector<float> inner(static_cast<std::size_t>(x_options.channels * place.area()));
    normalise(std::span<float>(inner), planes, x_options.mean, x_options.deviation);
    std::fill(out.begin(), out.end(), 0.0F);
    for (Index c = 0; c < x_options.channels; ++c) {
      for (Index y = 0; y < place.height; ++y) {
        const auto from = inner.begin() + (c * place.height + y) * place.width;
        std::copy_n(from, place.width,
                    out.begin() + (c * x_options.height + place.y + y) * x_options.width + place.x);
      }
    }
  }

  void x_render_labels(LabelledInput& out, const Image<std::uint8_t>& mask, const CropMap& map,
                       const Box& place, Index label_height, Index label_width) const {
    const std::vector<Index> columns =
        x_sources(label_width, x_options.width, place.x, place.width, map.box.x, map.box.width, map.flip);
    const std::vector<Index> rows =
        x_sources(label_height, x_options.height, place.y, place.height, map.box.y, map.box.height, false);
    auto to = out.labels.begin();
    for (const Index y : rows) {
      for (const Index x : columns) {
        *to = ClassMap::ignored;
        if (y >= 0 && x >= 0) {
          const std::uint8_t id = mask(y, x, 0);
          *to = x_classes.class_of(id);
          ++out.census.pixels[id];
        }
        ++to;
      }
    }
  }

  /// The mask's row or column for each row or column of labels; -1 outside the picture.
  [[nodiscard]] static std::vector<Index> x_sources(Index labels, Index input, Index place,
                                                    Index place_extent, Index box, Index box_extent,
                                                    bool flip) {
    std::vector<Index> sources;
    for (Index i = 0; i < labels; ++i) {
      // The middle of the label's cell, (i + 0.5) input / labels, in units of 1 / (2 labels): exact in
      // integers.
      const Index at = (2 * i + 1) * input - 2 * labels * place;
      const Index all = 2 * labels * place_extent;
      if (at < 0 || at >= all) {
        sources.push_back(-1);
      } else {
        sources.push_back(box + std::min((flip ? all - at : at) * box_extent / all, box_extent - 1));
      }
    }
    return sources;
  }

  InputOptions x_options;
  ClassMap x_classes;
};

}  // namespace dssl
