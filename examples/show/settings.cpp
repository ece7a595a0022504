// The command line of dssl-show: options, their help, what goes together.
#include "show/settings.hpp"

#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/io/camera_file.hpp>
#include <dssl/version.hpp>

#include "common/architectures.hpp"
#include "common/backbone.hpp"
#include "common/backend.hpp"
#include "common/read_options.hpp"
#include "common/turned_views.hpp"

namespace dssl::programs {

namespace {

std::string text_of(const AreaRange& area) { return join(area.low, " ", area.high); }

}  // namespace

std::pair<Index, Index> ShowSettings::input_size() const { return extents_of("size", size); }

std::optional<Point> ShowSettings::chosen() const {
  if (point.empty()) return std::nullopt;
  return Point{2 * point[0] - 1, 2 * point[1] - 1};
}

Enlargement ShowSettings::enlargement(Enlargement otherwise) const {
  return enlarge.empty() ? otherwise : enlarge == "nearest" ? Enlargement::nearest : Enlargement::bilinear;
}

MultiCropOptions ShowSettings::views() const {
  const auto [height, width] = input_size();
  MultiCropOptions options;
  options.locals = locals;
  options.global_size = {height, width};
  options.local_size = {height, width};
  if (!global_scale.empty()) options.global_area = {global_scale[0], global_scale[1]};
  if (!local_scale.empty()) options.local_area = {local_scale[0], local_scale[1]};
  if (!global_zoom.empty()) options.global_zoom = {global_zoom[0], global_zoom[1]};
  if (!local_zoom.empty()) options.local_zoom = {local_zoom[0], local_zoom[1]};
  camera_views.set(options);
  options.rotation = rotation;
  options.perspective = perspective;
  if (!camera.empty()) options.camera = read_camera(camera);
  return options;
}

void ShowSettings::validate() const {
  check_backend(backend, precision);
  if (needs_backbone() && weights.empty())
    throw OptionError("weights", "not given", join("a file, or 'random', for --kind ", kind));
  const bool maps = kind == "pca" || kind == "similarity" || kind == "correspondence";
  if (map.references() && !maps)
    throw OptionError("read", map.read, join("patches with --kind ", kind, "; pca, similarity and correspondence draw maps"));
  map.validate();
  if (kind == "similarity" && point.empty())
    throw OptionError("point", "not given", "X Y for --kind similarity");
  if (query == "reference" && point.empty())
    throw OptionError("point", "not given", "X Y for --query reference");
  if (!query.empty() && kind != "attention" && kind != "similarity")
    throw OptionError("query", query, "none for --kind " + kind);
  if (query == "patch" && point.empty()) throw OptionError("point", "not given", "X Y for --query patch");
  if (query == "class" && kind != "attention") throw OptionError("query", query, "patch or reference");
  if (kind != "views" && rotation != 0) throw OptionError("rotate", rotation, join("0 with --kind ", kind, ", but with views"));
  if (kind != "views" && perspective != 0)
    throw OptionError("perspective", perspective, join("0 with --kind ", kind, ", but with views"));
  if (kind != "views") camera_views.require_none(join("none with --kind ", kind, ", but with views"));
  if (kind != "views" && !camera.empty()) throw OptionError("camera", camera, join("none with --kind ", kind, ", but with views"));
  for (const auto& [name, value] : {std::pair{"second", &second}, {"between", &between}, {"second-camera", &second_camera}}) {
    if (kind != "views" && !value->empty()) throw OptionError(name, *value, join("none with --kind ", kind, ", but with views"));
  }
  for (const auto& [name, value] : {std::pair{"global_scale", &global_scale}, {"local_scale", &local_scale}, {"global_zoom", &global_zoom},
                                  {"local_zoom", &local_zoom}}) {
    if (kind != "views" && kind != "correspondence" && !value->empty())
      throw OptionError(name, join((*value)[0], " ", (*value)[1]), join("none with --kind ", kind, ", but with views and correspondence"));
  }
  if (!second.empty() && !points.weights.empty())
    throw OptionError("point_weights", points.weights, no_weights_of_pairs);
  if (kind != "views" && points.sampler != SamplerSettings{}.sampler)
    throw OptionError("sampler", points.sampler, join("none with --kind ", kind, ", but with views"));
  if (kind != "views" && !points.weights.empty())
    throw OptionError("point_weights", points.weights, join("none with --kind ", kind, ", but with views"));
  if (kind == "overlay" && masks.empty() == heat.empty())
    throw OptionError("masks", masks.empty() ? "not given" : "given with 'heat'",
                      "one of --masks and --heat");
  for (const double at : point) {
    if (!(at >= 0 && at <= 1))
      throw OptionError("point", at, "shares of the input's width and height, 0 to 1");
  }
}

void add_options(CLI::App& app, ShowSettings& s) {
  app.set_version_flag("--version", std::string(version_string));
  app.add_option("images", s.images, "Image files and folders, or 'synthetic' for generated scenes")
      ->required();
  app.add_option("--kind", s.kind,
                 "attention: what the class token, or a reference token at --point, attends to in each head; "
                 "pca: principal components of patch tokens as colours, one basis for all images; "
                 "similarity: of every patch of every image to --point of the first; "
                 "correspondence: best matches between the patches of two images, or of two views of one; "
                 "views: the views and points of a training step; "
                 "overlay: masks or heat maps over images")
      ->required()
      ->check(CLI::IsMember({"attention", "pca", "similarity", "correspondence", "views", "overlay"}))
      ->option_text("KIND");
  app.add_option("--out", s.out, "PNG file to write")->capture_default_str()->option_text("FILE");
  app.add_option("--count", s.count, "Images of a folder, spread over it, and generated scenes")
      ->check(CLI::Range(Index{1}, Index{10000}))
      ->capture_default_str();

  const std::string backbone = "Backbone";
  app.add_option("--weights", s.weights, weights_help)
      ->group(backbone);
  app.add_option("--arch", s.arch, architecture_help)
      ->check(CLI::IsMember(architecture_choices()))
      ->capture_default_str()
      ->group(backbone);
  add_published_options(app, s.published, backbone);
  app.add_option("--size", s.size,
                 "Input in pixels, and size of pictures and views: one number, or HEIGHTxWIDTH")
      ->capture_default_str()
      ->group(backbone);
  app.add_option("--fit", s.fit, "How images of another shape fit: 'stretch', or 'pad' to keep theirs")
      ->check(CLI::IsMember({"stretch", "pad"}))
      ->capture_default_str()
      ->group(backbone);
  app.add_option("--channels", s.channels, "Channels of the backbone's images")
      ->check(CLI::Range(Index{1}, Index{1024}))
      ->capture_default_str()
      ->group(backbone);
  app.add_option("--backend", s.backend, backend_help)->capture_default_str()->group(backbone);
  app.add_option("--precision", s.precision, precision_help)
      ->check(CLI::IsMember({"f32", "bf16", "auto", "tf32"}))
      ->capture_default_str()
      ->group(backbone);
  app.add_option("--threads", s.threads, "Threads; 0 takes all processors")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str()
      ->group(backbone);
  app.add_option("--seed", s.seed, "Seed of random weights, generated scenes and views")
      ->capture_default_str()
      ->group(backbone);

  add_map_options(app, s.map, backbone);

  const std::string look = "Look";
  app.add_option("--point", s.point,
                 "Point of the first image (attention: of each), as shares of the input's width and height")
      ->expected(2)
      ->option_text("X Y")
      ->group(look);
  app.add_option("--query", s.query,
                 "attention: class, or the reference or patch token at --point; similarity: patch or reference; default: "
                 "attention class, with --point reference; similarity patch")
      ->check(CLI::IsMember({"class", "reference", "patch"}))
      ->group(look);
  app.add_option("--block", s.block, "attention: block, from 0, or from the end with -1 the last")
      ->capture_default_str()
      ->group(look);
  app.add_option("--foreground", s.foreground,
                 "pca: colours only patches whose first component is above this share of its range; 0: all")
      ->check(CLI::Range(0.0, 0.999))
      ->capture_default_str()
      ->group(look);
  app.add_flag("--reversed", s.reversed, "pca: the foreground lies below instead")->group(look);
  app.add_option("--matches", s.matches,
                 "correspondence: lines drawn, the most similar mutual matches; 0: all")
      ->check(CLI::Range(Index{0}, Index{1000000}))
      ->capture_default_str()
      ->group(look);
  app.add_option("--points", s.points.points, "views: points a view pair")
      ->check(CLI::Range(Index{1}, Index{1000}))
      ->capture_default_str()
      ->group(look);
  app.add_option("--sampler", s.points.sampler, join("views: ", sampler_help))->capture_default_str()->group(look);
  app.add_option("--point-weights", s.points.weights, join("views: ", point_weights_help))->option_text("DIR")->group(look);
  app.add_option("--locals", s.locals, "views: local views")
      ->check(CLI::Range(Index{0}, Index{1000}))
      ->capture_default_str()
      ->group(look);
  app.add_option("--global-scale", s.global_scale,
                 "Share of the image that a global view shows; default: " + text_of(MultiCropOptions{}.global_area))
      ->expected(2)
      ->option_text("LO HI")
      ->group(look);
  app.add_option("--local-scale", s.local_scale,
                 "The same for a local view; default: " + text_of(MultiCropOptions{}.local_area))
      ->expected(2)
      ->option_text("LO HI")
      ->group(look);
  app.add_option("--global-zoom", s.global_zoom, join("views: ", global_zoom_help))
      ->expected(2)
      ->option_text("LO HI")
      ->excludes("--global-scale")
      ->group(look);
  app.add_option("--local-zoom", s.local_zoom, join("views: ", local_zoom_help))
      ->expected(2)
      ->option_text("LO HI")
      ->excludes("--local-scale")
      ->group(look);
  app.add_option("--rotate", s.rotation, join("views: ", rotate_help))
      ->check(CLI::Range(0.0, 180.0))
      ->capture_default_str()
      ->group(look);
  app.add_option("--perspective", s.perspective, join("views: ", perspective_help))
      ->check(CLI::Range(0.0, 0.5))
      ->capture_default_str()
      ->group(look);
  add_camera_views(app, s.camera_views, look, "views: ");
  app.add_option("--camera", s.camera, join("views: ", camera_help, "; an image of another size is an error; default: none"))->option_text("FILE")->group(look);
  CLI::Option* const second = app.add_option("--second", s.second, join("views: ", second_shown_help))->option_text("DIR")->group(look);
  app.add_option("--between", s.between, join("views: ", between_help))->option_text("FILE")->needs(second)->group(look);
  app.add_option("--second-camera", s.second_camera, join("views: ", second_camera_help))->option_text("FILE")->needs(second)->group(look);
  app.add_option("--masks", s.masks,
                 "overlay: masks (palette or grey PNG), paired with images by name: NAME.png, NAME_mask.png; single files "
                 "of other names, one for each image, in their order")
      ->group(look);
  app.add_option("--heat", s.heat,
                 "overlay: grey PNG images of 8 or 16 bits whose values are drawn as heat; likewise")
      ->group(look);
  app.add_option("--enlarge", s.enlarge, "How patches become pixels: nearest (squares) or bilinear; default: by the kind")
      ->check(CLI::IsMember({"nearest", "bilinear"}))
      ->group(look);
  app.add_option("--alpha", s.alpha, "Weight of the colours over the image")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group(look);
  app.add_option("--columns", s.columns, "Pictures a row of the sheet; 0: as the kind needs")
      ->check(CLI::Range(Index{0}, Index{1000}))
      ->capture_default_str()
      ->group(look);
  app.add_option("--zoom", s.zoom, "Pixels of the sheet for one of the input's, a side")
      ->check(CLI::Range(Index{1}, Index{64}))
      ->capture_default_str()
      ->group(look);
  app.add_option("--letters", s.letters, "Size of the captions' letters")
      ->check(CLI::Range(Index{1}, Index{16}))
      ->capture_default_str()
      ->group(look);
  add_read_options(app, s.read);
}

}  // namespace dssl::programs
