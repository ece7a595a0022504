// Views of pairs of images that two cameras took of one plane: one global view from each.
// Tests: tests/views/lens.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <variant>
#include <vector>

#include <dssl/core/camera.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/homography.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/lens.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/multi_crop_options.hpp>
#include <dssl/views/quarter_turn.hpp>
#include <dssl/views/view_pack.hpp>
#include <dssl/views/view_plan.hpp>
#include <dssl/views/warped_views.hpp>

namespace dssl {

/// The map of a view from one of two cameras. The scene is the picture of the first, which points of all
/// views lie in; a view of the second is read out of that one's own picture. Test: tests/views/lens.cpp.
class PairMap {
 public:
  static constexpr bool framed = false;

  PairMap() = default;
  /// Of a view from the first camera, or of one picture alone.
  explicit PairMap(const LensMap& picture) : x_scene(picture), x_picture(picture) {}
  /// Of a view from the second: `scene`, where it lies in the picture of the first, `picture`, where in its
  /// own.
  PairMap(const LensMap& scene, const LensMap& picture)
      : x_scene(scene), x_picture(picture), x_second(true) {}

  /// Whether the view is from the second camera.
  [[nodiscard]] bool second() const noexcept { return x_second; }
  /// To the picture that the view is read out of.
  [[nodiscard]] const LensMap& picture() const noexcept { return x_picture; }

  [[nodiscard]] ScenePoint to_scene(const Point& p) const { return x_scene.to_scene(p); }
  [[nodiscard]] Point to_view(const ScenePoint& s) const { return x_scene.to_view(s); }
  /// Whether a point of the first picture lies in the view, and in the picture that this is read out of.
  [[nodiscard]] bool shows(const ScenePoint& s) const {
    return x_scene.shows(s) && (!x_second || x_picture.shows(x_picture.to_scene(x_scene.to_view(s))));
  }
  [[nodiscard]] SceneRegion bounds() const { return x_scene.bounds(); }
  [[nodiscard]] bool operator==(const PairMap&) const = default;

 private:
  LensMap x_scene, x_picture;
  bool x_second = false;
};

/// The upright region of the first picture that has all that both views show of it.
[[nodiscard]] inline SceneRegion overlap(const PairMap& a, const PairMap& b) {
  return shared_region(a.bounds(), b.bounds());
}

static_assert(ChecksPoints<PairMap>);

/// Where a view of a pair lies, the box of its own picture that it was before it was turned, its size and
/// colours.
struct PairedPlan {
  PairMap map;
  ViewPlan view;
  QuarterTurn quarter_turn{};

  [[nodiscard]] bool operator==(const PairedPlan&) const = default;
};

/// The views of a generator of boxes for pairs of images from two cameras with a known map between them:
/// views 0, 2, 4, ... from the first, views 1, 3, 5, ... from the second, so that the two global views are
/// one from each and what a loss compares was seen by two cameras.
///
/// An image is a pair (`ImagePairs`, dssl/data/image_pairs.hpp): the second picture below the first,
/// `MultiCropOptions::pair` its extents. Boxes are drawn in the first picture, so that they overlap as ever;
/// one for the second camera goes through `pair.between`, and the upright box there that has all of it, cut
/// at the picture's edges, is the view's. So it is seen as that camera sees it, upright in its own picture.
/// Each is turned and seen at an angle as `Warped` views are, and corrected for its own camera's lens,
/// `camera` and `pair.second`. A point of two views is the same of the plane, to 1e-6 of a pixel, and valid
/// where both views show it and both pictures have it.
///
/// The map holds for what lies in the plane: of other things the pictures differ by parallax. Without a pair
/// the views are those of `Warped<Views>` to the bit. Test: tests/views/lens.cpp.
template <PlansViews Views>
class Paired : public Warped<Views> {
  using x_Base = Warped<Views>;

 public:
  using Plan = PairedPlan;
  using Map = PairMap;
  using Workspace = ViewWorkspace;

  /// `more`: what `Views` takes beside its options. Throws `OptionError` naming the field that has a value it
  /// may not have.
  template <class... More>
    requires std::constructible_from<Views, const MultiCropOptions&, const More&...>
  explicit Paired(const MultiCropOptions& options = x_Base::default_options(), const More&... more)
      : x_Base(x_first_of(options), more...),
        x_pair(options.pair),
        x_second(options.pair.second, "pair.second") {
    if (!x_pair.known()) return;
    if (const Camera& first = options.camera;
        first.known() && (first.height != x_pair.first_height || first.width != x_pair.first_width)) {
      throw OptionError("camera", join("of ", first.height, " x ", first.width, " pixels"),
                        join("one of the first pictures' ", x_pair.first_height, " x ", x_pair.first_width));
    }
    // Pixels here begin at their corner.
    x_there = Homography::shift(0.5, 0.5) * Homography(x_pair.between) * Homography::shift(-0.5, -0.5);
    x_back = x_there.inverse();
    x_require_near(x_there, x_pair.first_height, x_pair.first_width);
    x_require_near(x_back, x_pair.second_height, x_pair.second_width);
    x_require_shared();
  }

  /// Draws the V views of a pair, replacing what `out` held. Throws `ShapeError` for an image of other
  /// extents than a pair's.
  void plan(std::vector<PairedPlan>& out, Index height, Index width, const RandomKey& base) const {
    std::vector<WarpedPlan> first;
    out.clear();
    if (!x_pair.known()) {
      x_Base::plan(first, height, width, base);
      for (const WarpedPlan& plan : first) out.push_back({PairMap(plan.map), plan.view, plan.quarter_turn});
      return;
    }
    require_shape(height == x_pair.first_height + x_pair.second_height &&
                      width == std::max(x_pair.first_width, x_pair.second_width),
                  "views of a pair of ", x_pair.first_height, " x ", x_pair.first_width, " and ",
                  x_pair.second_height, " x ", x_pair.second_width, " pixels, of an image of ", height, " x ",
                  width);
    x_Base::plan(first, x_pair.first_height, x_pair.first_width, base);
    for (const WarpedPlan& plan : first) {
      if (out.size() % 2 == 0) {
        out.push_back({PairMap(plan.map), plan.view, plan.quarter_turn});
        continue;
      }
      ViewPlan view = plan.view;
      view.map.box = x_box_of(view.map);
      const HomographyMap there = x_Base::turned(view.map, x_pair.second_height, x_pair.second_width,
                                                 static_cast<Index>(out.size()), base, plan.quarter_turn);
      const HomographyMap here(x_back * there.plane(), x_pair.first_height, x_pair.first_width);
      out.push_back({PairMap({here, x_Base::lens(), x_pair.first_height, x_pair.first_width},
                             {there, x_second, x_pair.second_height, x_pair.second_width}),
                     view, plan.quarter_turn});
    }
  }

  /// The view as a picture, before it is normalised: planes (C,h,w) in `workspace`, valid until its next use.
  template <PixelType T>
  const PlanarImage<work_type<T>>& draw(const ImageView<T>& image, const PairedPlan& plan,
                                        Workspace& workspace) const {
    return x_Base::draw(x_picture(image, plan), x_of_picture(plan), workspace);
  }
  template <PixelType T>
  const PlanarImage<work_type<T>>& draw(const Image<T>& image, const PairedPlan& plan,
                                        Workspace& workspace) const {
    return draw(ImageView<T>(image), plan, workspace);
  }

  /// How a backend reads the view.
  [[nodiscard]] ViewReading reading(const PairedPlan& plan) const {
    ViewReading out = x_Base::reading(x_of_picture(plan));
    if (x_pair.known()) out.picture = x_place_of(plan);
    return out;
  }

  /// The view as the network's input: out (C,h,w), normalised. Throws `ShapeError` as that of `Views`.
  void render(const AnyImageView& image, const PairedPlan& plan, std::span<float> out,
              Workspace& workspace) const {
    const AnyImageView picture =
        std::visit([&](const auto& typed) -> AnyImageView { return x_picture(typed, plan); }, image);
    x_Base::render(picture, x_of_picture(plan), out, workspace);
  }

 private:
  static MultiCropOptions x_first_of(MultiCropOptions options) {
    validate(options);
    options.pair = {};
    return options;
  }
  /// Throws `OptionError` where the second picture has nothing of what the first shows at a grid of places.
  void x_require_shared() const {
    constexpr int places = 32;
    for (int i = 0; i < places * places; ++i) {
      const ScenePoint at = x_there((i % places + 0.5) / places * static_cast<double>(x_pair.first_width),
                                    (i / places + 0.5) / places * static_cast<double>(x_pair.first_height));
      if (at.x >= 0 && at.y >= 0 && at.x <= static_cast<double>(x_pair.second_width) &&
          at.y <= static_cast<double>(x_pair.second_height)) {
        return;
      }
    }
    throw OptionError("pair.between", "one that leads past the second's pictures", "a map of one camera's pictures to the other's");
  }
  /// Throws `OptionError` where a map has its horizon within a picture's extents of the picture, where views
  /// may reach.
  static void x_require_near(const Homography& map, Index height, Index width) {
    const auto h = static_cast<double>(height), w = static_cast<double>(width);
    const double middle = map.depth(0.5 * w, 0.5 * h);
    for (const double x : {-w, 2 * w}) {
      for (const double y : {-h, 2 * h}) {
        if (!(map.depth(x, y) * middle > 0)) {
          throw OptionError("pair.between", "with its horizon near the pictures",
                            "a map of one camera's pictures to the other's");
        }
      }
    }
  }
  /// The upright box of the second picture that has all of a view of the first; where that lies outside, as
  /// much at the nearest edge.
  [[nodiscard]] Box x_box_of(const CropMap& view) const {
    ScenePoint first{1e300, 1e300}, last{-1e300, -1e300};
    for (const Point& corner : {Point{-1, -1}, Point{1, -1}, Point{1, 1}, Point{-1, 1}}) {
      const ScenePoint in_first = view.to_scene(corner);
      const ScenePoint at = x_there(in_first.x, in_first.y);
      first = {std::min(first.x, at.x), std::min(first.y, at.y)};
      last = {std::max(last.x, at.x), std::max(last.y, at.y)};
    }
    // From `low` to `high`, within 0 to `extent` and a pixel long at least.
    const auto along = [](double low, double high, Index extent) {
      const auto most = static_cast<double>(extent);
      const auto begin = static_cast<Index>(std::clamp(std::floor(low + 1e-9), 0.0, most - 1));
      const auto end =
          static_cast<Index>(std::clamp(std::ceil(high - 1e-9), static_cast<double>(begin) + 1, most));
      return std::array<Index, 2>{begin, end - begin};
    };
    const auto [y, height] = along(first.y, last.y, x_pair.second_height);
    const auto [x, width] = along(first.x, last.x, x_pair.second_width);
    return {y, x, height, width};
  }
  [[nodiscard]] static WarpedPlan x_of_picture(const PairedPlan& plan) {
    return {plan.map.picture(), plan.view, plan.quarter_turn};
  }
  /// Where in a pair the picture lies that the view is read out of.
  [[nodiscard]] Box x_place_of(const PairedPlan& plan) const {
    if (plan.map.second()) return {x_pair.first_height, 0, x_pair.second_height, x_pair.second_width};
    return {0, 0, x_pair.first_height, x_pair.first_width};
  }
  template <PixelType T>
  [[nodiscard]] ImageView<T> x_picture(const ImageView<T>& image, const PairedPlan& plan) const {
    if (!x_pair.known()) return image;
    const Box place = x_place_of(plan);
    return {image.row(place.y), place.height, place.width, image.channels(), image.stride()};
  }

  CameraPair x_pair;
  Lens x_second;
  Homography x_there, x_back;
};

}  // namespace dssl
