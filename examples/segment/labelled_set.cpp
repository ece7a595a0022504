// Opens the data sets dssl-segment reads.
#include "segment/labelled_set.hpp"

#include <memory>
#include <utility>

#include <unistd.h>

#include <dssl/core/error.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/data/voc.hpp>

namespace dssl::programs {

namespace {

LabelledSet open_split(const SegmentSettings& settings, const std::string& split) {
  const auto folder = std::make_shared<const VocFolder>(settings.data, split,
                                                        VocOptions{.read = {.channels = settings.channels}});
  return {.count = folder->size(),
          .name_of = [folder](Index i) { return folder->name(i); },
          .short_name_of = [folder](Index i) { return folder->id(i); },
          .load_one = [folder](Index i) { return folder->load(i); }};
}

LabelledSet generate(const SegmentSettings& settings, Index count, std::uint64_t seed) {
  const auto scenes =
      std::make_shared<const SyntheticScenes>(SyntheticOptions{.seed = seed,
                                                               .count = count,
                                                               .height = settings.scene_size,
                                                               .width = settings.scene_size,
                                                               .channels = settings.channels,
                                                               .classes = settings.scene_classes});
  return {.count = count,
          .name_of = [scenes](Index i) { return scenes->name(i); },
          .short_name_of = [](Index i) { return "scene-" + std::to_string(i); },
          .load_one = [scenes](Index i) { return scenes->load(i); }};
}

}  // namespace

LabelledSets open_sets(SegmentSettings& settings) {
  LabelledSets sets;
  if (settings.synthetic()) {
    if (settings.classes == 0) settings.classes = settings.scene_classes;
    // Scenes of one seed train and those of another test: no scene is in both.
    sets.train = generate(settings, settings.scenes, settings.seed);
    sets.val = generate(settings, settings.val_scenes, settings.seed + 1);
    sets.class_names.emplace_back("ground");
    for (Index c = 1; c < settings.scene_classes; ++c) sets.class_names.push_back(join("object ", c));
    return sets;
  }
  sets.train = open_split(settings, settings.train);
  sets.val = open_split(settings, settings.val);
  const std::string names = settings.data + "/classes.txt";
  if (::access(names.c_str(), R_OK) == 0) sets.class_names = dssl::detail::read_lines(names);
  if (settings.classes == 0) settings.classes = static_cast<Index>(sets.class_names.size());
  if (settings.classes == 0) {
    throw OptionError("classes", "not given", join("a number of classes, as there is no ", names));
  }
  return sets;
}

}  // namespace dssl::programs
