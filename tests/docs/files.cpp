// Images, masks and models on disk; needs dssl::codecs.
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include <dssl/data/image_folder.hpp>
#include <dssl/data/image_tiles.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/data/synthetic_voc.hpp>
#include <dssl/data/voc.hpp>
#include <dssl/data/weight_files.hpp>
#include <dssl/features/onnx_backbone.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/points/weighted_points.hpp>

namespace snippets {

// [folders]
dssl::ImageFolder photos() { return dssl::ImageFolder("photos"); }  // all that can be read, nested

dssl::ImageFolder grey_top_level() {
  return dssl::ImageFolder("photos", {.nested = false, .extensions = {".png"}, .read = {.channels = 1}});
}

dssl::ImageList chosen() { return dssl::ImageList("photos/chosen.txt"); }  // one path a line
// [folders end]

// [tiles]
dssl::ImageTiles tiles_of(const dssl::ImageFolder& plates) {  // which must outlive it
  return {dssl::SourceView(plates), {.tile = {.height = 512, .width = 512}, .overlap = 64}};
}
// [tiles end]

// [point weights]
/// Four points a pair of views, by the grey pictures of a folder that are named after the images.
dssl::WeightedPoints by_maps(const dssl::ImageFolder& images, const std::string& folder) {
  const auto maps = std::make_shared<const dssl::WeightFiles>(dssl::WeightFiles::of(images, folder));
  std::puts(maps->text().c_str());  // "90 of 100 images have a weight map, 10 have none, the first ..."
  const auto map_of = [maps](const dssl::SampledScene& scene) -> std::optional<dssl::PointWeights> {
    const auto map = maps->load(scene.index, height(scene.image), width(scene.image));
    return map ? std::optional(dssl::weights_of(*map)) : std::nullopt;
  };
  return {4, map_of, maps->fingerprint()};
}
// [point weights end]

// [voc]
dssl::VocFolder labelled() { return dssl::VocFolder("VOC2012", "train"); }  // images and masks

dssl::ImagesOf<dssl::VocFolder> unlabelled() {  // its images alone, to pretrain on
  return dssl::ImagesOf(dssl::VocFolder("VOC2012", "train"));
}
// [voc end]

// [write voc]
void make_data_set(const std::string& folder) {
  dssl::write_voc(folder, dssl::SyntheticScenes({.count = 250}), 200, 50);  // splits "train" and "val"
}
// [write voc end]

/// A backbone of published weights as a model of other runtimes.
void write_onnx() {
  // [onnx]
  const auto file = dssl::BackboneFile::open("dinov2_vits14_reg4_pretrain.pth", {.fold_layer_scale = true});
  dssl::onnx_backbone(file, {.height = 448, .width = 448}).write("vits14.onnx");
  // [onnx end]
}

}  // namespace snippets
