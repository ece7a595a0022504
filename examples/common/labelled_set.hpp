// Labelled sets of programs that measure segmentation: their options, and the sets behind one type.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/error.hpp>
#include <dssl/data/apart.hpp>
#include <dssl/data/few_bits.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/data/voc.hpp>
#include <dssl/io/image_codec.hpp>

#include "common/mask_classes.hpp"
#include "common/output_files.hpp"
#include "common/program.hpp"

namespace dssl::programs {

/// Which images with masks, and what their ids mean.
struct LabelledData : MaskClasses {
  std::string data;
  std::string train = "train";
  std::string val = "val";
  bool absent_zero = false;
  Index scenes = 400;
  Index val_scenes = 100;
  Index scene_size = 128;
  Index scene_classes = 7;

  [[nodiscard]] bool synthetic() const { return data == "synthetic"; }

  [[nodiscard]] nlohmann::ordered_json json() const {
    nlohmann::ordered_json object{{"data", data}, {"classes", classes}, {"void", voids()}, {"only", only}};
    if (synthetic()) {
      object.update({{"scenes", scenes}, {"val_scenes", val_scenes}, {"scene_size", scene_size}});
    } else {
      object.update({{"train", train}, {"val", val}});
    }
    object["absent_classes"] = absent_zero ? "zero" : "excluded";
    return object;
  }
};

/// Adds all options, with their help, to the program. `trained`: what the training split is for.
inline void add_labelled_data_options(CLI::App& app, LabelledData& s, const std::string& trained) {
  app.add_option("--data", s.data,
                 "Folder in VOC layout (JPEGImages, SegmentationClass, ImageSets/Segmentation), or "
                 "'synthetic' for generated scenes")
      ->required();
  const std::string classes = "Classes";
  add_mask_class_options(app, s, classes);
  app.add_flag(
         "--absent-zero", s.absent_zero,
         "Classes without a pixel in truth and predictions count as IoU 0, as published; without it "
         "they are left out of the mean")
      ->group(classes);
  const std::string data = "Data";
  app.add_option("--train", s.train, trained)->capture_default_str()->group(data);
  app.add_option("--val", s.val, "Split it is evaluated on")->capture_default_str()->group(data);
  const auto scenes = CLI::Range(Index{1}, Index{100000000});
  app.add_option("--scenes", s.scenes, "Generated scenes to train on (--data synthetic)")
      ->check(scenes)
      ->capture_default_str()
      ->group(data);
  app.add_option("--val-scenes", s.val_scenes, "Generated scenes to evaluate on")
      ->check(scenes)
      ->capture_default_str()
      ->group(data);
  app.add_option("--scene-size", s.scene_size, "Height and width of generated scenes in pixels")
      ->check(CLI::Range(Index{16}, Index{8192}))
      ->capture_default_str()
      ->group(data);
  app.add_option("--scene-classes", s.scene_classes, "Classes of generated scenes, the ground among them")
      ->check(CLI::Range(Index{2}, Index{255}))
      ->capture_default_str()
      ->group(data);
}

/// Up to `shown` images of a set, spread over it: each of a number that this divides.
[[nodiscard]] inline Index every_shown(Index images, Index shown) {
  return shown > 0 ? std::max<Index>(1, (images + shown - 1) / shown) : 0;
}

/// A labelled source whose kind is known at run time.
struct LabelledSet {
  Index count = 0;
  std::function<std::string(Index)> name_of;
  std::function<std::string(Index)> short_name_of;  ///< for file names
  std::function<LabelledImage(Index)> load_one;
  std::shared_ptr<const VocFolder> files{};  ///< what it is read from; none where scenes are generated

  [[nodiscard]] Index size() const { return count; }
  [[nodiscard]] std::string name(Index i) const { return name_of(i); }
  [[nodiscard]] LabelledImage load(Index i) const { return load_one(i); }
};

static_assert(SegmentationSource<LabelledSet>);

/// Where the overlay of image i of a set is written.
[[nodiscard]] inline std::string overlay_file(const std::string& folder, const LabelledSet& set, Index i) {
  return folder + "/overlays/" + file_name(set.short_name_of(i)) + ".png";
}

/// result.json, and the overlays of every `every`-th image (0: none).
[[nodiscard]] inline std::vector<std::string> measured_files(const std::string& folder, const LabelledSet& set, Index every) {
  std::vector<std::string> paths{folder + "/result.json"};
  for (Index i = 0; every > 0 && i < set.size(); i += every) paths.push_back(overlay_file(folder, set, i));
  return paths;
}

struct LabelledSets {
  LabelledSet train, val;
  std::vector<std::string> class_names;  ///< by id; empty where nobody names them
  std::vector<std::string> warnings{};   ///< worth knowing before the work begins
  std::string names_file{};              ///< that names the classes; empty where none can

  /// Throws `FileError` where an output is one of the files that the sets are read from.
  void require_apart(const OutputFiles& output) const {
    if (!names_file.empty()) output.require_other_than("--data", names_file);
    for (const auto& [option, set] : {std::pair("--train", &train), {"--val", &val}}) {
      if (!set->files) continue;
      output.require_other_than(option, set->files->list_name());
      output.require_other_than_all(option, *set->files);
      for (Index i = 0; i < set->size(); ++i) output.require_other_than(option, set->files->mask_name(i));
    }
  }

  [[nodiscard]] std::string class_name(std::uint8_t id) const {
    return id < class_names.size() ? class_names[id] : join("class ", int{id});
  }
};

/// Opens both splits, and fills in the number of classes where it was not given.
/// Throws `DataError`, `OptionError`.
[[nodiscard]] inline LabelledSets open_sets(LabelledData& s, const ReadOptions& read, std::uint64_t seed) {
  LabelledSets sets;
  if (s.synthetic()) {
    const auto generate = [&](Index count, std::uint64_t own_seed) -> LabelledSet {
      const auto scenes =
          std::make_shared<const SyntheticScenes>(SyntheticOptions{.seed = own_seed,
                                                                   .count = count,
                                                                   .height = s.scene_size,
                                                                   .width = s.scene_size,
                                                                   .channels = read.channels,
                                                                   .classes = s.scene_classes});
      return {.count = count,
              .name_of = [scenes](Index i) { return scenes->name(i); },
              .short_name_of = [](Index i) { return "scene-" + std::to_string(i); },
              .load_one = [scenes](Index i) { return scenes->load(i); }};
    };
    if (s.classes == 0) s.classes = s.scene_classes;
    // Scenes of one seed train and those of another test: no scene is in both.
    sets.train = generate(s.scenes, seed);
    sets.val = generate(s.val_scenes, seed + 1);
    sets.class_names.emplace_back("ground");
    for (Index c = 1; c < s.scene_classes; ++c) sets.class_names.push_back(join("object ", c));
    return sets;
  }
  const auto open_split = [&](const std::string& split) -> LabelledSet {
    const auto folder =
        std::make_shared<const VocFolder>(s.data, split, VocOptions{.read = read});
    if (const std::string few = few_bits_warning(ImagesOf(*folder)); !few.empty()) sets.warnings.push_back(few);
    return {.count = folder->size(),
            .name_of = [folder](Index i) { return folder->name(i); },
            .short_name_of = [folder](Index i) { return folder->id(i); },
            .load_one = [folder](Index i) { return folder->load(i); },
            .files = folder};
  };
  sets.train = open_split(s.train);
  sets.val = open_split(s.val);
  // What holds for both splits is told once.
  sets.warnings.erase(std::unique(sets.warnings.begin(), sets.warnings.end()), sets.warnings.end());
  if (const std::string same = same_or_apart(sets.train, "the training images (" + s.train + ")", sets.val,
                                             "the images of the evaluation (" + s.val + ")");
      !same.empty()) {
    sets.warnings.push_back(same);
  }
  sets.class_names = settle_classes(s, s.data);
  sets.names_file = s.data + "/classes.txt";
  return sets;
}

}  // namespace dssl::programs
