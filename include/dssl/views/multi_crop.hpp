// Two global and any number of local views of an image, each a random box, flip and change of colour.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/box_search.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/multi_crop_options.hpp>
#include <dssl/views/photometric.hpp>
#include <dssl/views/photometric_plan.hpp>
#include <dssl/views/resample.hpp>
#include <dssl/views/view_plan.hpp>

namespace dssl {

/// What of multi-crop is fixed when it is compiled.
struct MultiCropConfig {
  Interpolation interpolation = Interpolation::bicubic;

  [[nodiscard]] constexpr bool operator==(const MultiCropConfig&) const = default;
};

/// The memory of rendering views of images of any type, reused from one to the next; one for each thread.
class ViewWorkspace {
 public:
  template <WorkType W>
  struct Part {
    ResampleWorkspace<W> resample;
    BlurWorkspace<W> blur;
    PlanarImage<W> planes;
    PlanarImage<W> reduced;  ///< what is warped, about as dense as the view
  };

  template <WorkType W>
  [[nodiscard]] Part<W>& part() {
    if constexpr (std::is_same_v<W, std::uint8_t>) {
      return x_bytes;
    } else {
      return x_floats;
    }
  }

  /// What views are normalised by.
  std::vector<float> mean;
  std::vector<float> deviation;

  PhotometricWorkspace photometric;

 private:
  Part<std::uint8_t> x_bytes;
  Part<float> x_floats;
};

/// Views that see most of the scene: the first two.
inline constexpr Index multi_crop_globals = 2;

/// Draws the views of an image of `image_height` x `image_width` pixels: what `MultiCrop::plan` does.
DSSL_INLINE void plan_multi_crop(std::vector<ViewPlan>& out, const MultiCropOptions& options, Index image_height,
                                 Index image_width, const RandomKey& base);

/// A view of an image of any type as the network's input: out (C,h,w) =, normalised by the workspace's mean and deviation.
DSSL_INLINE void render_view(std::span<float> out, const AnyImageView& image, const ViewPlan& plan, Interpolation kind,
                             ViewWorkspace& workspace);

/// All that a plan does to the values of a view that was cut out into the workspace's planes.
template <WorkType W>
const PlanarImage<W>& change_values(ViewWorkspace& workspace, const ViewPlan& plan) {
  auto& part = workspace.part<W>();
  apply(part.planes, plan.colour, part.blur);
  apply(part.planes, plan.parts, workspace.photometric);
  return part.planes;
}

/// The view as a picture, before it is normalised: planes (C,h,w) in `workspace`, valid until its next use.
template <PixelType T>
const PlanarImage<work_type<T>>& draw_view(const ImageView<T>& image, const ViewPlan& plan, Interpolation kind,
                                           ViewWorkspace& workspace) {
  auto& part = workspace.template part<work_type<T>>();
  resample(part.planes, image, plan.map.box, plan.height, plan.width, kind, plan.map.flip, part.resample);
  return change_values<work_type<T>>(workspace, plan);
}

#if defined(DSSL_WITH_DEFINITIONS)
namespace detail {

/// Every number is drawn whether it is used or not, so that changing one probability changes nothing else.
[[nodiscard]] inline ColourPlan plan_colour(const MultiCropOptions& o, Index view, const RandomKey& base) {
  ColourPlan colour;
  auto random = view_stream(base, view, Purpose::colour);
  const auto factor = [&](double strength) {
    return random.uniform(std::max(0.0, 1.0 - strength), 1.0 + strength);
  };
  const bool jitter = random.bernoulli(o.jitter);
  const auto order = random_order(random);
  const double brightness = factor(o.brightness);
  const double contrast = factor(o.contrast);
  const double saturation = factor(o.saturation);
  const double hue = random.uniform(-o.hue, o.hue);
  if (jitter) {
    colour.order = order;
    colour.brightness = brightness;
    colour.contrast = contrast;
    colour.saturation = saturation;
    colour.hue = hue;
  }
  colour.grey = random.bernoulli(o.grey);

  auto blur = view_stream(base, view, Purpose::blur);
  const bool blurred = blur.bernoulli(view == 0   ? o.blur_first_global
                                      : view == 1 ? o.blur_second_global
                                                  : o.blur_local);
  const double radius = blur.uniform(o.blur_radius_low, o.blur_radius_high);
  if (blurred) colour.blur_radius = radius;
  if (view == 1) {
    colour.solarise = view_stream(base, view, Purpose::solarise).bernoulli(o.solarise_second_global);
  }
  return colour;
}

}  // namespace detail

DSSL_INLINE void plan_multi_crop(std::vector<ViewPlan>& out, const MultiCropOptions& options, Index image_height,
                                 Index image_width, const RandomKey& base) {
  require_shape(image_height >= 1 && image_width >= 1, "views of an image of ", image_height, " x ",
                image_width, " pixels; expected at least 1 x 1");
  const Index views = multi_crop_globals + options.locals;
  out.resize(static_cast<std::size_t>(views));
  std::array<Box, multi_crop_globals> global_boxes;
  for (Index v = 0; v < views; ++v) {
    const bool global = v < multi_crop_globals;
    const ViewSize& size = global ? options.global_size : options.local_size;
    const Index earlier = std::min(v, multi_crop_globals);
    auto random = view_stream(base, v, Purpose::box);
    const AreaRange area = global ? area_shown(options.global_area, options.global_zoom, size, image_height, image_width)
                                  : area_shown(options.local_area, options.local_zoom, size, image_height, image_width);
    const Box box = overlapping_box(
        image_height, image_width, area, options.aspect,
        std::span<const Box>(global_boxes).first(static_cast<std::size_t>(earlier)),
        global ? options.global_overlap : options.local_overlap, options.redraws, random);
    if (global) global_boxes[static_cast<std::size_t>(v)] = box;
    const bool flip = view_stream(base, v, Purpose::flip).bernoulli(options.flip);
    out[static_cast<std::size_t>(v)] = {{box, flip},
                                        size.height,
                                        size.width,
                                        detail::plan_colour(options, v, base),
                                        plan_parts(options.parts, view_stream(base, v, Purpose::photometric))};
  }
}

DSSL_INLINE void render_view(std::span<float> out, const AnyImageView& image, const ViewPlan& plan, Interpolation kind,
                             ViewWorkspace& workspace) {
  std::visit(
      [&](const auto& typed) {
        normalise(out, draw_view(typed, plan, kind, workspace), workspace.mean, workspace.deviation);
      },
      image);
}
#endif

/// The view generator of DINO and DenseDINO: views 0 and 1 global, the others local.
///
/// A view is first planned (a few random numbers and the map to the scene), then rendered. Both are pure
/// functions of the image, the options and the random key; an object may be used by any number of threads at
/// once, each with its own workspace. Source: docs/method.md, "Views and their geometry". Test:
/// tests/views/multi_crop.cpp.
template <MultiCropConfig Config = MultiCropConfig{}>
class MultiCrop {
 public:
  using Options = MultiCropOptions;
  using Plan = ViewPlan;
  using Map = CropMap;
  using Workspace = ViewWorkspace;

  static constexpr std::string_view name = "multi-crop";
  static constexpr MultiCropConfig config = Config;
  static constexpr Index globals = multi_crop_globals;
  static constexpr Interpolation interpolation = Config.interpolation;

  /// Throws `OptionError` naming the field that has a value it may not have.
  explicit MultiCrop(MultiCropOptions options = {}) : x_options(std::move(options)) {
    validate(x_options);
    require_boxes(x_options);
  }

  [[nodiscard]] const MultiCropOptions& options() const noexcept { return x_options; }

  /// V = 2 + L.
  [[nodiscard]] Index views() const noexcept { return globals + x_options.locals; }

  /// The extents of view v in pixels.
  [[nodiscard]] ViewSize size(Index view) const noexcept {
    return view < globals ? x_options.global_size : x_options.local_size;
  }

  /// Draws the V views of an image of `image_height` x `image_width` pixels, replacing what `out` held.
  ///
  /// Uses `base.seed`, `base.epoch` and `base.sample`; each view and purpose has its own stream, so a view's
  /// colours do not depend on how often its box was drawn. Throws `ShapeError` for an image without pixels.
  void plan(std::vector<ViewPlan>& out, Index image_height, Index image_width, const RandomKey& base) const {
    plan_multi_crop(out, x_options, image_height, image_width, base);
  }

  /// The same as a new vector.
  [[nodiscard]] std::vector<ViewPlan> plan(Index image_height, Index image_width,
                                           const RandomKey& base) const {
    std::vector<ViewPlan> plans;
    plan(plans, image_height, image_width, base);
    return plans;
  }

  /// The view as a picture, before it is normalised: planes (C,h,w) in `workspace`, valid until its next use.
  /// Throws `ShapeError` if the plan's box is not inside the image.
  template <PixelType T>
  const PlanarImage<work_type<T>>& draw(const ImageView<T>& image, const ViewPlan& plan, Workspace& workspace) const {
    return draw_view(image, plan, Config.interpolation, workspace);
  }
  template <PixelType T>
  const PlanarImage<work_type<T>>& draw(const Image<T>& image, const ViewPlan& plan, Workspace& workspace) const {
    return draw(ImageView<T>(image), plan, workspace);
  }

  /// What views are normalised by: mean (C) and deviation (C), whatever they held.
  /// Throws `ShapeError` if the options give means for another number of channels.
  void normalisation(std::vector<float>& mean, std::vector<float>& deviation, Index channels) const {
    require_shape(x_options.mean.empty() || x_options.mean.size() == static_cast<std::size_t>(channels),
                  "options 'mean' and 'deviation' have ", x_options.mean.size(), " values; the image has ",
                  channels, " channels");
    mean = x_options.mean;
    deviation = x_options.deviation;
    default_normalisation(mean, deviation, channels);
  }

  /// The view as the network's input: out (C,h,w), normalised. Allocates only to grow the workspace.
  /// Throws `ShapeError` if `out` has another size, the box is not inside the image, or the options give
  /// means for another number of channels.
  void render(const AnyImageView& image, const ViewPlan& plan, std::span<float> out, Workspace& workspace) const {
    normalisation(workspace.mean, workspace.deviation, channels(image));
    render_view(out, image, plan, Config.interpolation, workspace);
  }

 private:
  MultiCropOptions x_options;
};

}  // namespace dssl
