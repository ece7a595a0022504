#include <report/views.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <common/samplers.hpp>
#include <dssl/core/camera.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/pictures/colour_map.hpp>
#include <dssl/pictures/picture.hpp>
#include <dssl/points/point_key.hpp>
#include <dssl/points/scene_points.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/lens.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/photometric_parts.hpp>
#include <dssl/views/warped_views.hpp>
#include <report/page.hpp>

namespace dssl::programs {
namespace {

/// A view's colour for CSS.
std::string colour_of(Index view) {
  const Colour c = mark_colour(view);
  return join("rgb(", int{c[0]}, ",", int{c[1]}, ",", int{c[2]}, ")");
}

/// Empty where it is not there, as in runs from before there was a choice.
std::string text_option(const PretrainRun& run, const char* option) {
  const Json& options = run.options["options"];
  if (!options.contains(option)) return {};
  if (!options[option].is_string()) throw FileError(run.name + "/options.json", join("has no text '", option, "'"));
  return options[option].get<std::string>();
}

MultiCropOptions view_options(const PretrainRun& run) {
  const auto whole = [&](const char* name) { return static_cast<Index>(run.number(name)); };
  MultiCropOptions o;
  o.locals = whole("views.locals");
  o.global_size = {whole("views.global_size.height"), whole("views.global_size.width")};
  o.local_size = {whole("views.local_size.height"), whole("views.local_size.width")};
  o.global_area = {run.number("views.global_area.low"), run.number("views.global_area.high")};
  o.local_area = {run.number("views.local_area.low"), run.number("views.local_area.high")};
  o.aspect.low = run.number("views.aspect.low");
  o.aspect.high = run.number("views.aspect.high");
  o.global_overlap = run.number("views.global_overlap");
  o.local_overlap = run.number("views.local_overlap");
  o.redraws = static_cast<int>(run.number("views.redraws"));
  o.flip = run.number("views.flip");
  const auto later = [&](const char* name) {  // not there in runs from before there was a choice
    return run.options["options"].contains(name) ? run.number(name) : 0.0;
  };
  o.global_zoom = {later("views.global_zoom.low"), later("views.global_zoom.high")};
  o.local_zoom = {later("views.local_zoom.low"), later("views.local_zoom.high")};
  o.rotation = later("views.rotation");
  o.perspective = later("views.perspective");
  o.vertical_flip = later("views.vertical_flip");
  o.quarter_turns = later("views.quarter_turns");
  try {
    o.parts = photometric_parts_of(text_option(run, "views.parts"));
  } catch (const OptionError& error) {
    throw FileError(run.name + "/options.json", error.what());
  }
  if (!text_option(run, "views.pair").empty())
    throw DataError(join(run.name, " sees pairs of images of two cameras, and one folder has no pairs"));
  if (run.options["options"].contains("tile"))
    throw DataError(join(run.name, " sees tiles of images, and these are whole"));
  if (const std::string camera = text_option(run, "views.camera"); !camera.empty()) {
    try {
      o.camera = camera_of_text(camera);
    } catch (const OptionError& error) {
      throw FileError(run.name + "/options.json", error.what());
    }
  }
  o.jitter = run.number("views.jitter");
  o.brightness = run.number("views.brightness");
  o.contrast = run.number("views.contrast");
  o.saturation = run.number("views.saturation");
  o.hue = run.number("views.hue");
  o.grey = run.number("views.grey");
  o.blur_first_global = run.number("views.blur_first_global");
  o.blur_second_global = run.number("views.blur_second_global");
  o.blur_local = run.number("views.blur_local");
  o.blur_radius_low = run.number("views.blur_radius_low");
  o.blur_radius_high = run.number("views.blur_radius_high");
  o.solarise_second_global = run.number("views.solarise_second_global");
  return o;
}

/// A picture with marks over it; the marks' coordinates are the picture's pixels.
std::string marked(const Image<std::uint8_t>& image, std::string_view alternative, const std::string& marks) {
  return join("<svg viewBox=\"0 0 ", image.width(), " ", image.height(), "\" role=\"img\" aria-label=\"",
              escaped(alternative), "\"><image width=\"", image.width(), "\" height=\"", image.height(),
              "\" href=\"", data_url(image), "\"/>", marks, "</svg>");
}

/// A point as a disc with a dark rim, its radius in hundredths of the picture's width.
std::string disc(double x, double y, Index view, double width) {
  return join("<circle cx=\"", decimals(x, 2), "\" cy=\"", decimals(y, 2), "\" r=\"",
              decimals(0.024 * width, 2), "\" fill=\"", colour_of(view),
              "\" stroke=\"#101418\" stroke-width=\"", decimals(0.01 * width, 2), "\"/>");
}

std::string view_name(Index view, const CropMap& box) {
  return join(view < 2 ? "global view " : "local view ", view < 2 ? view + 1 : view - 1,
              box.flip ? ", mirrored" : "");
}

/// The outline of a view on the scene, a line of so many pixels inside its edges.
std::string outline(const LensMap& map, Index view, double line) {
  const auto length = [&](const Point& a, const Point& b) {
    const ScenePoint from = map.to_scene(a), to = map.to_scene(b);
    return std::hypot(to.x - from.x, to.y - from.y);
  };
  const double x = 1 - line / length({-1, 0}, {1, 0}), y = 1 - line / length({0, -1}, {0, 1});
  std::string points;
  const auto to = [&](const Point& p) {
    const ScenePoint at = map.to_scene(p);
    points += join(points.empty() ? "" : " ", decimals(at.x, 2), ",", decimals(at.y, 2));
  };
  const int pieces = map.straight() ? 1 : 16;  // of an edge, which a lens bends
  const std::array<Point, 5> corners{Point{-x, -y}, Point{x, -y}, Point{x, y}, Point{-x, y}, Point{-x, -y}};
  for (std::size_t edge = 0; edge < 4; ++edge) {
    for (int i = 0; i < pieces; ++i) {
      const double t = static_cast<double>(i) / pieces;
      to({(1 - t) * corners[edge].x + t * corners[edge + 1].x, (1 - t) * corners[edge].y + t * corners[edge + 1].y});
    }
  }
  return join("<polygon points=\"", points, "\" fill=\"none\" stroke=\"", colour_of(view), "\" stroke-width=\"", line, "\"/>");
}

}  // namespace

AnySampler sampler_of_run(const PretrainRun& run, const VocFolder& images) {
  SamplerSettings settings{.points = static_cast<Index>(run.number("points"))};
  const auto text = [&](const char* option, std::string& to) {
    if (run.options["options"].contains(option)) to = text_option(run, option);
  };
  text("sampler", settings.sampler);
  text("point_weights", settings.weights);
  try {
    AnySampler out = sampler_of(settings, [&] { return WeightFiles::of(images, settings.weights); });
    if (!out.drawn_by_teacher().empty()) throw DataError("the run's teacher chose its points, and there is none here");
    return out;
  } catch (const OptionError& error) {
    throw FileError(run.name + "/options.json", error.what());
  }
}

std::string views_html(const PretrainRun& run, const AnySampler& sampler, const AnyImage& image, Index sample) {
  const MultiCropOptions options = view_options(run);
  const Camera& camera = options.camera;
  if (camera.known() && (height(image) != camera.height || width(image) != camera.width)) return {};
  const Warped<MultiCrop<>> crop(options);
  const RandomKey key{.seed = run.options["options"]["seed"].get<std::uint64_t>(),
                      .sample = static_cast<std::uint64_t>(sample)};
  std::vector<WarpedPlan> plans;
  crop.plan(plans, height(image), width(image), key);
  const auto points = points_of_scene(sampler, SampledScene{image, sample});
  ViewWorkspace workspace;

  const double scene_width = static_cast<double>(width(image));
  std::string outlines, scene_points;
  std::vector<std::string> marks(plans.size());
  for (Index v = 0; v < crop.views(); ++v) {
    const LensMap& map = plans[static_cast<std::size_t>(v)].map;
    const ViewPlan& plan = plans[static_cast<std::size_t>(v)].view;
    const ViewPlan& teacher = plans[0].view;
    const double line = (v < 2 ? 0.009 : 0.006) * scene_width;
    outlines += outline(map, v, line);
    if (v == 0) continue;  // the teacher's view paired with itself: the loss passes over it
    std::vector<Point> relative(static_cast<std::size_t>(sampler.count()));
    RandomStream random(point_key(key, 0, v, crop.views()));
    std::vector<std::uint8_t> valid(relative.size());
    sample_pair(relative, valid, plans[0].map, map, height(image), width(image),
                [&](std::span<Point> to, const ViewFrame& region) { points.sample(to, random, region); });
    for (std::size_t k = 0; k < relative.size(); ++k) {
      if (valid[k] == 0) continue;
      const PointPair pair = pair_points(plans[0].map, map, relative[k]);
      const ScenePoint at = plans[0].map.to_scene(pair.teacher);
      scene_points += disc(at.x, at.y, v, 0.6 * scene_width);
      const auto pixel = [](double x, Index extent) { return 0.5 * (x + 1) * static_cast<double>(extent); };
      marks[0] += disc(pixel(pair.teacher.x, teacher.width), pixel(pair.teacher.y, teacher.height), v,
                       static_cast<double>(teacher.width));
      marks[static_cast<std::size_t>(v)] +=
          disc(pixel(pair.student.x, plan.width), pixel(pair.student.y, plan.height), v,
               static_cast<double>(plan.width));
    }
  }

  const Image<std::uint8_t> whole = rgb_picture(image);
  std::string html = join(
      "<div class=\"views\"><figure>", marked(whole, "the scene and its views", outlines + scene_points),
      "<figcaption>the scene, its views, and the points of the pairs</figcaption></figure>");
  for (Index v = 0; v < crop.views(); ++v) {
    const auto& plan = plans[static_cast<std::size_t>(v)];
    const Image<std::uint8_t> view =
        std::visit([&](const auto& typed) { return rgb_picture(crop.draw(typed, plan, workspace)); }, image);
    html += join("<figure>", marked(view, view_name(v, plan.view.map), marks[static_cast<std::size_t>(v)]),
                 "<figcaption><span class=\"key\" style=\"background:", colour_of(v), "\"></span>",
                 view_name(v, plan.view.map), v == 0 ? " (teacher)" : "", "</figcaption></figure>");
  }
  return html + "</div>\n";
}

}  // namespace dssl::programs
