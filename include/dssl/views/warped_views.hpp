// Views that are turned, seen at an angle and corrected for a lens: those of another generator, through other maps.
// Tests: tests/views/warped_views.cpp.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/homography.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/lens.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/multi_crop_options.hpp>
#include <dssl/views/photometric.hpp>
#include <dssl/views/quarter_turn.hpp>
#include <dssl/views/resample.hpp>
#include <dssl/views/view_pack.hpp>
#include <dssl/views/view_plan.hpp>
#include <dssl/views/warp.hpp>

namespace dssl {

/// Where a view lies in the scene, and the box that it was before it was turned, with its size and colours.
struct WarpedPlan {
  LensMap map;
  ViewPlan view;
  QuarterTurn quarter_turn{};

  [[nodiscard]] bool operator==(const WarpedPlan&) const = default;
};

/// The views of a generator of boxes, each turned about its middle and seen at an angle.
///
/// `MultiCropOptions::rotation` r and `perspective` p: a box's corners move into it, each by uniform shares of [0, p] of its
/// half width and half height, and what they span is turned by uniform degrees of [-r, r]. Where it then lies outside the
/// image, the view shows the image reflected at its edges (`warp`), and points there are not valid. With both at 0 the views
/// are those of `Views` to the bit, whose name they have in checkpoints. Sizes, boxes, flips and colours are those of `Views` in any case.
///
/// `vertical_flip` and `quarter_turns`: before that, views are upside down and turned by quarters with these probabilities, each
/// within its own square: the box stays where it is, and no pixel lies between pixels.
///
/// With a `MultiCropOptions::camera` boxes lie in the picture that its lens would have taken without distortion (`Lens`), and
/// views are read out of the one that it took: what is straight is straight in them. Points go the same way, so that a point
/// of two views is the same of the scene, to 1e-6 of a pixel. All images are the camera's, of its size.
///
///   using Turned = DenseDino::with_views<Warped<MultiCrop<>>>;  // TrainerOptions::views.rotation = 30
///
/// Rendered on the host, or by a backend that renders views. Terms that ask for the views' frames (`PixelConsistency`, partners by geometry) are refused.
/// Test: tests/views/warped_views.cpp.
template <PlansViews Views>
class Warped : public Views {
 public:
  using Plan = WarpedPlan;
  using Map = LensMap;
  using Workspace = ViewWorkspace;

  /// Those of `Views`, where it publishes some.
  [[nodiscard]] static MultiCropOptions published()
    requires requires { Views::published(); }
  {
    return Views::published();
  }

  /// `more`: what `Views` takes beside its options. Throws `OptionError` naming the field that has a value it may not have.
  template <class... More>
    requires std::constructible_from<Views, const MultiCropOptions&, const More&...>
  explicit Warped(const MultiCropOptions& options = default_options(), const More&... more)
      : Views(x_boxes_of(options), more...),
        x_bent(options.rotation != 0 || options.perspective != 0),
        x_lens(options.camera),
        x_rotation(options.rotation),
        x_perspective(options.perspective),
        x_vertical_flip(options.vertical_flip),
        x_quarter_turns(options.quarter_turns) {}

  /// Draws the V views of an image, replacing what `out` held. Throws `ShapeError` for an image without pixels, or of another
  /// size than the camera's.
  void plan(std::vector<WarpedPlan>& out, Index height, Index width, const RandomKey& base) const {
    if (const Camera& camera = x_lens.camera(); camera.known()) {
      require_shape(height == camera.height && width == camera.width, "views through a camera of ", camera.height, " x ", camera.width,
                    " pixels of an image of ", height, " x ", width);
    }
    std::vector<ViewPlan> boxes;
    Views::plan(boxes, height, width, base);
    out.clear();
    for (const ViewPlan& box : boxes) {
      const auto view = static_cast<Index>(out.size());
      const QuarterTurn quarters = quarter_turn(view, base);
      out.push_back({{turned(box.map, height, width, view, base, quarters), x_lens, height, width}, box, quarters});
    }
  }

  /// The view as a picture, before it is normalised: planes (C,h,w) in `workspace`, valid until its next use.
  template <PixelType T>
  const PlanarImage<work_type<T>>& draw(const ImageView<T>& image, const WarpedPlan& plan, Workspace& workspace) const {
    const bool box = x_is_box(plan);
    if (box && plan.quarter_turn.upright()) return draw_view(image, plan.view, Views::interpolation, workspace);
    auto& part = workspace.template part<work_type<T>>();
    const auto read = [&](const auto& map) {
      warp(part.planes, image, map, plan.view.height, plan.view.width, Views::interpolation, part.reduced, part.resample);
    };
    if (box) {  // as exact as one that is not turned, and as quick
      const bool lies = plan.quarter_turn.lying();
      resample(part.reduced, image, plan.view.map.box, lies ? plan.view.width : plan.view.height,
               lies ? plan.view.height : plan.view.width, Views::interpolation, plan.view.map.flip, part.resample);
      turn(part.planes, part.reduced, plan.quarter_turn);
    } else if (plan.map.straight()) {
      read(plan.map.first());
    } else {
      read(plan.map);
    }
    return change_values<work_type<T>>(workspace, plan.view);
  }
  template <PixelType T>
  const PlanarImage<work_type<T>>& draw(const Image<T>& image, const WarpedPlan& plan, Workspace& workspace) const {
    return draw(ImageView<T>(image), plan, workspace);
  }

  /// How a backend reads the view: what `draw` does before values are changed.
  [[nodiscard]] ViewReading reading(const WarpedPlan& plan) const {
    if (x_is_box(plan)) return {.view = plan.view, .turn = plan.quarter_turn};
    return {.view = plan.view, .map = plan.map};
  }

  /// The view as the network's input: out (C,h,w), normalised. Throws `ShapeError` as that of `Views`.
  void render(const AnyImageView& image, const WarpedPlan& plan, std::span<float> out, Workspace& workspace) const {
    Views::normalisation(workspace.mean, workspace.deviation, channels(image));
    std::visit([&](const auto& typed) { normalise(out, draw(typed, plan, workspace), workspace.mean, workspace.deviation); }, image);
  }

 protected:
  /// Those of `Views`.
  static MultiCropOptions default_options() {
    if constexpr (requires { Views::published(); }) {
      return Views::published();
    } else {
      return {};
    }
  }
  /// Of the camera.
  [[nodiscard]] const Lens& lens() const noexcept { return x_lens; }

  /// How view `view` is turned in itself. Every number is drawn whether it is used or not.
  [[nodiscard]] QuarterTurn quarter_turn(Index view, const RandomKey& base) const {
    RandomStream random = view_stream(base, view, Purpose::quarter_turn);
    const bool upside_down = random.bernoulli(x_vertical_flip), any = random.bernoulli(x_quarter_turns);
    const auto quarters = 1 + static_cast<int>(random.below(3));
    return {upside_down, any ? quarters : 0};
  }

  /// Where a box of a picture of so many pixels lies when it is turned as view `view` is, and by its `quarters`. Every number is drawn whether it is used
  /// or not, so that changing one range changes nothing else.
  [[nodiscard]] HomographyMap turned(const CropMap& box, Index height, Index width, Index view, const RandomKey& base,
                                    const QuarterTurn& quarters) const {
    RandomStream random = view_stream(base, view, Purpose::warp);
    const double degrees = random.uniform(-x_rotation, x_rotation);
    std::array<ScenePoint, 4> corners{{{-1, -1}, {1, -1}, {1, 1}, {-1, 1}}};
    for (ScenePoint& corner : corners) {
      corner.x *= 1 - random.uniform(0, x_perspective);
      corner.y *= 1 - random.uniform(0, x_perspective);
    }
    HomographyMap flat(box, height, width);
    if (!x_bent && quarters.upright()) return flat;
    if (!quarters.upright()) flat = {flat.plane() * quarters.plane(), height, width};
    if (!x_bent) return flat;
    // About the middle, in pixels, so that a turned box keeps its shape.
    const ScenePoint middle = flat.to_scene({0, 0});
    const Homography turn = Homography::shift(middle.x, middle.y) * Homography::rotation(degrees) * Homography::shift(-middle.x, -middle.y);
    return {turn * flat.plane() * Homography::to_corners(corners), height, width};
  }

 private:
  /// Whether the view is a box of what the camera took, upright or turned by quarters.
  [[nodiscard]] bool x_is_box(const WarpedPlan& plan) const { return !x_bent && plan.map.straight(); }
  static MultiCropOptions x_boxes_of(MultiCropOptions options) {
    validate(options);
    require_one_camera(options);
    options.rotation = options.perspective = options.vertical_flip = options.quarter_turns = 0;
    options.camera = {};
    return options;
  }

  bool x_bent = false;
  Lens x_lens;
  double x_rotation = 0;
  double x_perspective = 0;
  double x_vertical_flip = 0;
  double x_quarter_turns = 0;
};

}  // namespace dssl
