// The command line of dssl-segment: options, their help, their JSON.
#include "segment/settings.hpp"

#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

#include <dssl/core/error.hpp>

#include "common/architectures.hpp"
#include "common/backend.hpp"

namespace dssl::programs {

std::pair<Index, Index> SegmentSettings::input_size() const {
  const auto number = [&](std::string_view text) {
    Index value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || end != text.data() + text.size() || value < 1 || value > 16384) {
      throw OptionError("size", size, "a number of pixels, or two joined by x such as 352x480");
    }
    return value;
  };
  const std::string_view text = size;
  const std::size_t cross = text.find('x');
  if (cross == std::string_view::npos) return {number(text), number(text)};
  return {number(text.substr(0, cross)), number(text.substr(cross + 1))};
}

nlohmann::ordered_json SegmentSettings::json() const {
  nlohmann::ordered_json object{{"data", data},
                                {"weights", weights},
                                {"arch", arch},
                                {"classes", classes},
                                {"void", void_ids},
                                {"only", only},
                                {"train", train},
                                {"val", val},
                                {"size", size},
                                {"fit", fit},
                                {"channels", channels},
                                {"epochs", epochs},
                                {"batch", batch},
                                {"lr", learning_rate},
                                {"augment", !no_augment && !cache_features},
                {"standardise", standardise},
                                {"absent_classes", absent_zero ? "zero" : "excluded"},
                                {"backend", backend},
                                {"precision", precision},
                {"seed", seed}};
  if (synthetic()) {
    object.erase("train");
    object.erase("val");
    object["scenes"] = scenes;
    object["val_scenes"] = val_scenes;
    object["scene_size"] = scene_size;
  }
  return object;
}

void add_options(CLI::App& app, SegmentSettings& s) {
  app.add_option("--data", s.data,
                 "Folder in VOC layout (JPEGImages, SegmentationClass, ImageSets/Segmentation), or "
                 "'synthetic' for generated scenes")
      ->required();
  app.add_option("--weights", s.weights, "Backbone weights (safetensors, published names), or 'random'")
      ->required();
  app.add_option("--arch", s.arch, "Architecture of the weights")
      ->check(CLI::IsMember(architecture_names()))
      ->capture_default_str();
  app.add_option("--out", s.out, "Folder for result.json and overlays; made where it is missing")->required();

  app.add_option("--classes", s.classes, "Classes: mask ids 0 to N-1 (default: as many as classes.txt names)")
      ->check(CLI::Range(Index{1}, Index{256}))
      ->group("Classes");
  app.add_option("--void", s.void_ids, "Mask ids that are ignored, joined by commas")
      ->delimiter(',')
      ->capture_default_str()
      ->group("Classes");
  app.add_option("--only", s.only,
                 "Mask ids that are learned and scored, joined by commas; all others are ignored")
      ->delimiter(',')
      ->group("Classes");
  app.add_flag(
         "--absent-zero", s.absent_zero,
         "Classes without a pixel in truth and predictions count as IoU 0, as published; by default they are "
         "left out of the mean")
      ->group("Classes");

  app.add_option("--train", s.train, "Split the classifier is trained on")
      ->capture_default_str()
      ->group("Data");
  app.add_option("--val", s.val, "Split it is evaluated on")->capture_default_str()->group("Data");
  app.add_option("--size", s.size,
                 "Input in pixels: one number, or HEIGHTxWIDTH for inputs that are not square")
      ->capture_default_str()
      ->group("Data");
  app.add_option("--fit", s.fit,
                 "How images of another shape fit: 'stretch' as published, or 'pad' to keep theirs")
      ->check(CLI::IsMember({"stretch", "pad"}))
      ->capture_default_str()
      ->group("Data");
  app.add_option("--channels", s.channels, "Channels of the backbone's images")
      ->check(CLI::Range(Index{1}, Index{1024}))
      ->capture_default_str()
      ->group("Data");
  app.add_option("--scenes", s.scenes, "Generated scenes to train on (--data synthetic)")
      ->check(CLI::Range(Index{1}, Index{100000000}))
      ->capture_default_str()
      ->group("Data");
  app.add_option("--val-scenes", s.val_scenes, "Generated scenes to evaluate on")
      ->check(CLI::Range(Index{1}, Index{100000000}))
      ->capture_default_str()
      ->group("Data");
  app.add_option("--scene-size", s.scene_size, "Height and width of generated scenes in pixels")
      ->check(CLI::Range(Index{16}, Index{8192}))
      ->capture_default_str()
      ->group("Data");
  app.add_option("--scene-classes", s.scene_classes, "Classes of generated scenes, the ground among them")
      ->check(CLI::Range(Index{2}, Index{255}))
      ->capture_default_str()
      ->group("Data");

  app.add_option("--epochs", s.epochs,
                 "Passes over the training split; the rate falls to a tenth after 80 % of them")
      ->check(CLI::Range(Index{1}, Index{1000000}))
      ->capture_default_str()
      ->group("Training");
  app.add_option("--batch", s.batch, "Images a step")
      ->check(CLI::Range(Index{1}, Index{1000000}))
      ->capture_default_str()
      ->group("Training");
  app.add_option("--lr", s.learning_rate, "Learning rate for a batch of 60; scaled with the batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group("Training");
  app.add_flag("--no-augment", s.no_augment, "No resized crops and flips in training")->group("Training");
  app.add_flag("--cache-features", s.cache_features,
               "Compute the features of the training split once and keep them; implies --no-augment")
      ->group("Training");
  app.add_flag("--standardise", s.standardise,
               "Train on features of mean 0 and deviation 1 a channel, which converges sooner; needs --cache-features. "
               "The classifier stays linear in the features")
      ->group("Training");
  app.add_option("--at-once", s.at_once,
                 "Images the backbone takes at a time; changes memory and speed alone")
      ->check(CLI::Range(Index{1}, Index{4096}))
      ->capture_default_str()
      ->group("Training");
  app.add_option("--backend", s.backend, backend_help)->capture_default_str()->group("Training");
  app.add_option("--threads", s.threads, "Threads; 0 takes all processors")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str()
      ->group("Training");
  app.add_option("--precision", s.precision, precision_help)
      ->check(CLI::IsMember({"f32", "bf16", "tf32"}))
      ->capture_default_str()
      ->group("Training");
  app.add_option("--seed", s.seed, "Seed of random weights, crops, and generated scenes")
      ->capture_default_str()
      ->group("Training");
  app.add_option("--overlays", s.overlays,
                 "Pictures of image, truth and prediction to write, spread over the split")
      ->check(CLI::Range(Index{0}, Index{1000000}))
      ->capture_default_str();
}

}  // namespace dssl::programs
