// Pictures of what a backbone sees; needs dssl::codecs for files.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/features/token_trace.hpp>
#include <dssl/io/png.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/pictures/heat_map.hpp>
#include <dssl/pictures/patch_matches.hpp>
#include <dssl/pictures/picture.hpp>
#include <dssl/pictures/principal_components.hpp>
#include <dssl/pictures/view_pictures.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/views/multi_crop.hpp>

namespace snippets {

// [trace]
using Trace = dssl::TokenTrace<dssl::ViT<dssl::vit_nano8>, dssl::Cpu>;

Trace trace_of(const std::string& weights) {
  Trace trace(dssl::Cpu(), {.height = 96, .width = 128, .references = 1});
  trace.load(dssl::SafetensorsFile::open(weights));
  return trace;
}
// [trace end]

// [attention]
/// What a reference token at a point attends to, a picture a head of the last block, on one sheet.
void draw_attention(Trace& trace, const std::vector<float>& input, const dssl::Image<std::uint8_t>& picture,
                    dssl::Point point, const std::string& path) {
  trace.forward(input, std::vector<dssl::Point>{point});
  std::vector<dssl::CaptionedPicture> sheet{{picture, "image"}};
  for (dssl::Index head = 0; head < trace.config().heads; ++head) {
    const dssl::AttentionRow row = trace.attention(-1, head, dssl::TokenGroup::reference);
    const std::span<const double> cells(row.patches);
    sheet.push_back({dssl::heat_overlay(picture, cells, trace.grid(), dssl::range_of(cells)),
                     "head " + std::to_string(head)});
  }
  dssl::write_png(path, dssl::contact_sheet(sheet, {.columns = 5}));
}
// [attention end]

// [components]
/// Patch features (N,D) of several images as colours in one basis; alike patches have alike colours.
std::vector<dssl::Image<std::uint8_t>> component_pictures(const std::vector<float>& patches,
                                                          dssl::Index width, dssl::GridSize grid) {
  const auto rows = static_cast<dssl::Index>(patches.size()) / width;
  const dssl::ComponentColours found = dssl::component_colours(
      dssl::MatrixView<const float>(patches.data(), rows, width), {.foreground = 0.4});
  std::vector<dssl::Image<std::uint8_t>> out;
  const auto each = static_cast<std::size_t>(3 * grid.size());
  for (std::size_t first = 0; first < found.colours.size(); first += each) {
    out.push_back(dssl::component_picture(std::span(found.colours).subspan(first, each), grid,
                                          8 * grid.height, 8 * grid.width));
  }
  return out;
}
// [components end]

// [matches]
/// Lines between the patches of two images that find each other. Features (N,D) in the backend's memory.
dssl::Image<std::uint8_t> matches(const dssl::Cpu& backend, dssl::MatrixView<const float> left,
                                  dssl::MatrixView<const float> right, dssl::GridSize grid,
                                  const dssl::Image<std::uint8_t>& left_picture,
                                  const dssl::Image<std::uint8_t>& right_picture) {
  const auto pixel = [&](dssl::Index patch, const dssl::Image<std::uint8_t>& picture) {
    return dssl::pixel_of(dssl::patch_middle(patch, grid), picture.height(), picture.width());
  };
  std::vector<dssl::JoinedPoints> lines;
  for (const dssl::PatchMatch& match : dssl::match_patches(backend, left, right)) {
    if (!match.mutual || match.cosine < 0.6) continue;
    lines.push_back(
        {pixel(match.from, left_picture), pixel(match.to, right_picture), dssl::mark_colour(match.from)});
  }
  return dssl::match_picture(left_picture, right_picture, lines);
}
// [matches end]

// [views]
/// What epoch 0 of a run with seed 7 sees of the image that is number `sample` of its data.
dssl::ViewPictures views_of(const dssl::AnyImage& image, std::uint64_t sample) {
  const dssl::MultiCrop<> views(dssl::dino_multi_crop_options());
  const dssl::RandomPoints<4> points;
  return dssl::view_pictures(views, points, image, {.seed = 7, .sample = sample});
}
// [views end]

}  // namespace snippets
