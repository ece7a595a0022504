// One sheet a kind.
#include "show/pictures.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/data/camera_images.hpp>
#include <dssl/data/image_pairs.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/io/mask_file.hpp>
#include <dssl/io/png.hpp>
#include <dssl/pictures/drawing.hpp>
#include <dssl/pictures/heat_map.hpp>
#include <dssl/pictures/overlay.hpp>
#include <dssl/pictures/patch_matches.hpp>
#include <dssl/pictures/picture.hpp>
#include <dssl/pictures/principal_components.hpp>
#include <dssl/pictures/view_pictures.hpp>
#include <dssl/points/any_sampler.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/paired_views.hpp>

#include "common/camera_pairs.hpp"
#include "common/output_files.hpp"
#include "common/read_options.hpp"
#include "show/eye.hpp"
#include "show/scenes.hpp"

namespace dssl::programs {

namespace {

using Picture = Image<std::uint8_t>;

std::string number(const char* format, double value) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// Everything a sheet is made from.
class Sheet {
 public:
  explicit Sheet(const ShowSettings& settings) : x_settings(settings), x_scenes(open_scenes(settings)) {
    if (x_scenes.empty()) throw DataError("there are no images to show");
    if (!settings.needs_backbone()) return;
    x_reference = x_query() == "reference";
    x_eye = open_eye(settings, x_reference);
    std::printf("%s\n", x_eye->describe().c_str());
    std::fflush(stdout);
    const auto [height, width] = settings.input_size();
    x_renderer.emplace(InputOptions{.height = height,
                                    .width = width,
                                    .channels = settings.channels,
                                    .fit = settings.fit == "pad" ? InputFit::pad : InputFit::stretch,
                                    .mean = x_eye->pixels().mean,
                                    .deviation = x_eye->pixels().deviation},
                       ClassMap({.classes = 1}));
  }

  [[nodiscard]] Picture draw() {
    if (x_settings.kind == "attention") return x_attention();
    if (x_settings.kind == "pca") return x_components();
    if (x_settings.kind == "similarity") return x_similarity();
    if (x_settings.kind == "correspondence") return x_correspondence();
    if (x_settings.kind == "views") return x_views();
    return x_overlay();
  }

 private:
  /// Which token asks.
  [[nodiscard]] std::string x_query() const {
    if (!x_settings.query.empty()) return x_settings.query;
    if (x_settings.kind == "attention") return x_settings.point.empty() ? "class" : "reference";
    return "patch";
  }

  [[nodiscard]] Picture x_finish(const std::vector<CaptionedPicture>& pictures, Index columns) const {
    return contact_sheet(pictures, {.columns = x_settings.columns > 0 ? x_settings.columns : columns,
                                    .gap = 2 + 2 * x_settings.letters,
                                    .scale = x_settings.letters});
  }

  [[nodiscard]] std::vector<float> x_input(const AnyImage& image) const {
    return x_renderer->render({image, Image<std::uint8_t>(height(image), width(image), 1)}, 1, 1).image;
  }

  /// As large as the sheet shows it; pixels stay squares.
  [[nodiscard]] Picture x_zoomed(const Picture& picture) const {
    return enlarged(picture, picture.height() * x_settings.zoom, picture.width() * x_settings.zoom,
                    Enlargement::nearest);
  }

  [[nodiscard]] static double x_radius(const Picture& picture) {
    return std::max(2.0, 0.018 * static_cast<double>(std::min(picture.height(), picture.width())));
  }

  [[nodiscard]] Picture x_marked(Picture picture) const {
    if (const auto point = x_settings.chosen())
      draw_point(picture, pixel_of(*point, picture.height(), picture.width()), x_radius(picture),
                 mark_colour(0));
    return picture;
  }

  [[nodiscard]] Picture x_attention() {
    const std::string query = x_query();
    std::vector<CaptionedPicture> out;
    for (const Scene& scene : x_scenes) {
      const auto input = x_input(scene.image);
      const Picture picture = x_zoomed(x_renderer->picture(input));
      static_cast<void>(x_eye->look(input, x_settings.chosen()));
      const TokenGroup group = query == "class"       ? TokenGroup::class_token
                               : query == "reference" ? TokenGroup::reference
                                                      : TokenGroup::patch;
      const Index token =
          query == "patch" ? patch_at(x_settings.chosen().value_or(Point{}), x_eye->grid()) : 0;
      out.push_back({query == "class" ? picture : x_marked(picture), scene.name});
      std::vector<double> mean(static_cast<std::size_t>(x_eye->grid().size()), 0.0);
      const auto add = [&](const std::vector<double>& cells, const std::string& name) {
        const ValueRange range{0, range_of(std::span<const double>(cells)).high};
        out.push_back({heat_overlay(picture, std::span<const double>(cells), x_eye->grid(), range,
                                    x_settings.enlargement(Enlargement::nearest), x_settings.alpha),
                       name + number(": 0 to %.3g", range.high)});
      };
      for (Index head = 0; head < x_eye->heads(); ++head) {
        const AttentionRow row = x_eye->attention(x_settings.block, head, group, token);
        for (std::size_t i = 0; i < mean.size(); ++i)
          mean[i] += row.patches[i] / static_cast<double>(x_eye->heads());
        add(row.patches, join("head ", head));
      }
      add(mean, "mean");
    }
    return x_finish(out, x_eye->heads() + 2);
  }

  [[nodiscard]] Picture x_components() {
    std::vector<float> patches;
    std::vector<Picture> pictures;
    for (const Scene& scene : x_scenes) {
      const auto input = x_input(scene.image);
      pictures.push_back(x_zoomed(x_renderer->picture(input)));
      const Seen seen = x_eye->look(input, std::nullopt);
      patches.insert(patches.end(), seen.patches.begin(), seen.patches.end());
    }
    const GridSize grid = x_eye->grid();
    const MatrixView<const float> rows(patches.data(), static_cast<Index>(patches.size()) / x_eye->width(),
                                       x_eye->width());
    const ComponentColours found =
        component_colours(rows, {.foreground = x_settings.foreground, .reversed = x_settings.reversed});
    std::string shares = "components:";
    for (const double variance : found.components.variances) {
      const double share = found.components.total > 0 ? variance / found.components.total : 0.0;
      shares += number(" %.1f %%", 100 * share);
    }
    std::printf("%s of the variance of %td %s\n", shares.c_str(),
                std::count(found.foreground.begin(), found.foreground.end(), std::uint8_t{1}), x_settings.map.tokens());
    std::vector<CaptionedPicture> out;
    const auto each = static_cast<std::size_t>(3 * grid.size());
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      out.push_back({pictures[i], x_scenes[i].name});
      out.push_back(
          {component_picture(std::span(found.colours).subspan(i * each, each), grid, pictures[i].height(),
                             pictures[i].width(), x_settings.enlargement(Enlargement::nearest)),
           "components"});
    }
    return x_finish(out, x_scenes.size() > 2 ? 4 : 2);
  }

  [[nodiscard]] Picture x_similarity() {
    const GridSize grid = x_eye->grid();
    const auto point = x_settings.chosen();
    std::vector<float> query;
    std::vector<Picture> pictures;
    std::vector<std::vector<double>> maps;
    std::vector<double> all;
    for (const Scene& scene : x_scenes) {
      const auto input = x_input(scene.image);
      const Seen seen = x_eye->look(input, point);
      const MatrixView<const float> patches(seen.patches.data(), grid.size(), x_eye->width());
      if (query.empty()) {
        const float* const patch = patches.row(patch_at(point.value(), grid));
        query = x_reference ? seen.reference : std::vector<float>(patch, patch + x_eye->width());
      }
      pictures.push_back(x_zoomed(x_renderer->picture(input)));
      maps.emplace_back(static_cast<std::size_t>(grid.size()));
      cosines(std::span<double>(maps.back()), std::span<const float>(query), patches);
      all.insert(all.end(), maps.back().begin(), maps.back().end());
    }
    const ValueRange range = range_of(std::span<const double>(all));
    std::vector<CaptionedPicture> out;
    for (std::size_t i = 0; i < pictures.size(); ++i) {
      out.push_back({i == 0 ? x_marked(pictures[i]) : pictures[i], x_scenes[i].name});
      Picture map = heat_overlay(pictures[i], std::span<const double>(maps[i]), grid, range,
                                 x_settings.enlargement(Enlargement::nearest), x_settings.alpha);
      if (i == 0) map = x_marked(std::move(map));
      out.push_back(
          {std::move(map), x_reference || x_settings.map.references() ? "cosine with the reference token" : "cosine with the patch"});
      out.push_back({colour_scale(pictures[i].height(), range, x_settings.letters)});
    }
    return x_finish(out, 3);
  }

  /// Two images, or two views of one whose maps say where each point went.
  [[nodiscard]] Picture x_correspondence() {
    std::vector<std::vector<float>> inputs;
    std::vector<std::string> names;
    std::vector<CropMap> maps;
    if (x_scenes.size() == 1) {
      MultiCropOptions options = x_settings.views();
      options.locals = 0;
      const MultiCrop<> crop(options);
      ViewWorkspace workspace;
      const AnyImage& image = x_scenes.front().image;
      for (const ViewPlan& plan : crop.plan(height(image), width(image), {.seed = x_settings.seed})) {
        inputs.emplace_back(static_cast<std::size_t>(x_settings.channels * plan.height * plan.width));
        crop.render(image, plan, inputs.back(), workspace);
        maps.push_back(plan.map);
      }
      names = {"view 1", "view 2"};
    } else if (x_scenes.size() == 2) {
      for (const Scene& scene : x_scenes) {
        inputs.push_back(x_input(scene.image));
        names.push_back(scene.name);
      }
    } else {
      throw OptionError("images", x_scenes.size(), "one image, whose views are compared, or two");
    }
    const Seen left = x_eye->look(inputs[0], std::nullopt);
    const Seen right = x_eye->look(inputs[1], std::nullopt);
    std::vector<PatchMatch> matches = x_eye->match(left.patches, right.patches);
    const auto total = static_cast<Index>(matches.size());
    std::erase_if(matches, [](const PatchMatch& match) { return !match.mutual; });
    const auto mutual = static_cast<Index>(matches.size());
    std::stable_sort(matches.begin(), matches.end(),
                     [](const PatchMatch& a, const PatchMatch& b) { return a.cosine > b.cosine; });
    if (x_settings.matches > 0 && mutual > x_settings.matches)
      matches.resize(static_cast<std::size_t>(x_settings.matches));
    return x_joined(inputs, names, maps, matches, total, mutual);
  }

  [[nodiscard]] Picture x_joined(const std::vector<std::vector<float>>& inputs,
                                 const std::vector<std::string>& names, const std::vector<CropMap>& maps,
                                 const std::vector<PatchMatch>& matches, Index total, Index mutual) const {
    const GridSize grid = x_eye->grid();
    const Picture left = x_zoomed(x_renderer->picture(inputs[0]));
    const Picture right = x_zoomed(x_renderer->picture(inputs[1]));
    std::vector<JoinedPoints> pairs;
    Index shown = 0, near = 0, in_both = 0;
    for (const PatchMatch& match : matches) {
      const Point from = patch_middle(match.from, grid);
      const Point to = patch_middle(match.to, grid);
      Colour colour = mark_colour(shown++);
      if (!maps.empty()) {
        // Right is within one patch and a half of where the point went; grey where the other view does not
        // show it.
        const Point truth = maps[1].to_view(maps[0].to_scene(from));
        const bool seen = std::abs(truth.x) <= 1 && std::abs(truth.y) <= 1;
        const double off = std::max(std::abs(truth.x - to.x) * static_cast<double>(grid.width),
                                    std::abs(truth.y - to.y) * static_cast<double>(grid.height)) /
                           2 / static_cast<double>(std::max<Index>(1, x_settings.map.per_patch()));
        const bool right_one = seen && off <= 1.5;
        in_both += seen ? 1 : 0;
        near += right_one ? 1 : 0;
        colour = !seen ? Colour{150, 150, 150} : right_one ? mark_colour(2) : mark_colour(1);
      }
      pairs.push_back(
          {pixel_of(from, left.height(), left.width()), pixel_of(to, right.height(), right.width()), colour});
    }
    std::string caption = join(names[0], " - ", names[1], ": ", shown, " of ", mutual, " mutual matches");
    std::printf("%td %s, %td mutual matches, %td shown", total, x_settings.map.tokens(), mutual, shown);
    if (!maps.empty()) {
      std::printf(", %td of them in both views, %td within 1.5 patches of where they belong", in_both, near);
      caption += join(", ", near, " of ", in_both, " right");
    }
    std::printf("\n");
    return x_finish({{match_picture(left, right, pairs), caption}}, 1);
  }

  /// The scenes with a second camera's pictures; sets the `options` of pairs.
  [[nodiscard]] ImagePairs x_pairs(MultiCropOptions& options) const {
    const ReadOptions read = with_channels_of(x_settings.read, x_settings.channels);
    std::vector<AnyImage> first, second;
    std::vector<std::string> names;
    for (const Scene& scene : x_scenes) {
      first.push_back(scene.image);
      names.push_back(scene.name);
    }
    const std::vector<std::string> files = files_of_scenes(x_scenes, x_settings.images, {x_settings.second}, "second camera's image");
    for (const std::string& file : files) second.push_back(read_image(file, read));
    const SourceView firsts(std::make_shared<const MemoryImages>(std::move(first), std::move(names)));
    const SourceView seconds(std::make_shared<const MemoryImages>(std::move(second), files));
    options.pair = camera_pair(x_settings.between, x_settings.second_camera, options.camera, firsts, seconds);
    return {firsts, seconds, options.pair};
  }

  [[nodiscard]] Picture x_views() const {
    MultiCropOptions options = x_settings.views();
    std::optional<ImagePairs> pairs;
    if (!x_settings.second.empty()) pairs.emplace(x_pairs(options));
    const Paired<MultiCrop<>> crop(options);
    std::vector<std::string> ids;
    for (const Scene& scene : x_scenes) {
      ids.push_back(scene.id);
      if (!pairs && options.camera.known()) require_size_of(options.camera, scene.image, scene.name);
    }
    const AnySampler points = sampler_of(x_settings.points, [&] {
      WeightFiles maps(ids, x_settings.points.weights, x_settings.read);
      std::printf("%s\n", maps.text().c_str());
      return maps;
    });
    if (!points.drawn_by_teacher().empty()) {
      throw OptionError("sampler", x_settings.points.sampler, "points that no teacher draws, as there is none here");
    }
    if (points.count() > 1000) {
      throw OptionError("sampler", x_settings.points.sampler, "at most 1000 points a pair of views");
    }
    std::vector<CaptionedPicture> out;
    std::uint64_t sample = 0;
    for (const Scene& scene : x_scenes) {
      const Index place = static_cast<Index>(sample);
      ViewPictures pictures = view_pictures(
          crop, points, pairs ? pairs->load(place) : scene.image, {.seed = x_settings.seed, .sample = sample++},
          {.zoom = x_settings.zoom, .scene_height = x_settings.zoom * x_settings.input_size().first});
      out.push_back({std::move(pictures.scene), scene.name});
      for (std::size_t v = 0; v < pictures.views.size(); ++v) {
        Picture& view = pictures.views[v];
        draw_box(view, {0, 0, view.height(), view.width()}, mark_colour(static_cast<Index>(v)), 2);
        out.push_back({std::move(view), v < 2 ? join("global view ", v) : join("local view ", v)});
      }
    }
    return x_finish(out, crop.views() + 1);
  }

  [[nodiscard]] Picture x_overlay() const {
    const bool masks = !x_settings.masks.empty();
    const std::vector<std::string>& paths = masks ? x_settings.masks : x_settings.heat;
    const std::vector<std::string> files =
        files_of_scenes(x_scenes, x_settings.images, paths, masks ? "mask" : "heat map");
    std::vector<CaptionedPicture> out;
    for (std::size_t i = 0; i < files.size(); ++i) {
      const Picture plain = rgb_picture(x_scenes[i].image);
      const Picture picture = x_zoomed(plain);
      out.push_back({picture, x_scenes[i].name});
      const std::string name = std::filesystem::path(files[i]).stem().string();
      if (masks) {
        const Image<std::uint8_t> mask = read_mask(files[i], x_settings.read);
        x_require_size(files[i], mask, plain);
        out.push_back(
            {x_zoomed(overlay(plain, mask.pixels(), ClassMap({.classes = 255}), x_settings.alpha)), name});
        continue;
      }
      const std::vector<float> values = x_values(files[i], plain);
      const ValueRange range = range_of(std::span<const float>(values));
      out.push_back({heat_overlay(picture, std::span<const float>(values), {plain.height(), plain.width()},
                                  range, x_settings.enlargement(Enlargement::nearest), x_settings.alpha),
                     name});
      out.push_back({colour_scale(picture.height(), range, x_settings.letters)});
    }
    return x_finish(out, masks ? 2 : 3);
  }

  template <class Map>
  static void x_require_size(const std::string& file, const Map& map, const Picture& picture) {
    if (map.height() != picture.height() || map.width() != picture.width()) {
      throw ImageError(file, join("has ", map.height(), " x ", map.width(), " pixels, its image ",
                                  picture.height(), " x ", picture.width()));
    }
  }

  /// A grey image's values, 0 to 1.
  static std::vector<float> x_values(const std::string& file, const Picture& picture) {
    return std::visit(
        [&]<PixelType T>(const Image<T>& map) {
          x_require_size(file, map, picture);
          std::vector<float> out;
          for (const T value : map.pixels()) out.push_back(static_cast<float>(value) / full_scale<T>);
          return out;
        },
        read_image(file, {.channels = 1}));
  }

  const ShowSettings& x_settings;
  std::vector<Scene> x_scenes;
  std::unique_ptr<Eye> x_eye;
  std::optional<InputRenderer> x_renderer;
  bool x_reference = false;
};

/// Throws `FileError` where the sheet would be written over what it is made from, or among it.
void require_output_apart(const ShowSettings& settings) {
  const OutputFiles output({settings.out});
  if (settings.images != std::vector<std::string>{"synthetic"}) output.require_other_than_given("images", settings.images);
  output.require_other_than_given("--masks", settings.masks);
  output.require_outside("--point-weights", settings.points.weights);
  output.require_other_than_given("--heat", settings.heat);
  for (const auto& [option, file] : {std::pair{"--camera", &settings.camera}, {"--second", &settings.second}, {"--between", &settings.between},
                                     {"--second-camera", &settings.second_camera}}) {
    if (!file->empty()) output.require_other_than_given(option, {*file});
  }
  if (settings.weights != "random") output.require_other_than_weights("--weights", settings.weights);
  output.require_writable();
}

}  // namespace

void show(const ShowSettings& settings) {
  settings.validate();
  require_output_apart(settings);
  const Picture sheet = Sheet(settings).draw();
  write_png(settings.out, sheet);
  std::printf("%s: %td x %td pixels\n", settings.out.c_str(), sheet.height(), sheet.width());
}

}  // namespace dssl::programs
