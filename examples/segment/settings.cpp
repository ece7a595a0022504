// The command line of dssl-segment: options, their help, their JSON.
#include "segment/settings.hpp"

#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>

#include "common/architectures.hpp"
#include "common/backbone.hpp"
#include "common/backend.hpp"
#include "common/read_options.hpp"

namespace dssl::programs {

std::pair<Index, Index> SegmentSettings::input_size() const { return extents_of("size", size); }

nlohmann::ordered_json SegmentSettings::json() const {
  nlohmann::ordered_json object{{"weights", weights}, {"arch", arch}, {"by", by}};
  object.update(set.json());
  if (tunes()) {
    object.update(tuning.json());
  } else {
    object.update({{"size", size}, {"fit", fit}, {"epochs", epochs}, {"batch", batch}, {"lr", learning_rate}, {"standardise", standardise}});
    map.add_to(object);
  }
  object.update({{"channels", channels},
                 {"augment", !no_augment && !cache_features},
                 {"backend", backend},
                 {"precision", precision_on(backend, precision)},
                 {"seed", seed},
                 {"read", read_json(read)}});
  published.add_to(object);
  return object;
}

void SegmentSettings::require_fitting(const CLI::App& app) const {
  const std::vector<std::string> linear{"--size", "--fit",            "--epochs",      "--batch",   "--lr", "--cache-features",
                                        "--standardise", "--at-once", "--read", "--points"};
  for (const std::string& option : tunes() ? linear : crop_tuning_options()) {
    if (app.count(option) > 0) throw OptionError(option.substr(2), "given", join("none with --by ", by));
  }
}

void add_options(CLI::App& app, SegmentSettings& s) {
  add_labelled_data_options(app, s.set, "Split the classifier is trained on");
  app.add_option("--weights", s.weights, weights_help)
      ->required();
  app.add_option("--arch", s.arch, architecture_help)
      ->check(CLI::IsMember(architecture_choices()))
      ->capture_default_str();
  add_published_options(app, s.published, "Data");
  app.add_option("--by", s.by,
                 "linear (a linear classifier of the frozen patch tokens, as published) or tune (the whole backbone is trained with "
                 "one, on crops of the images at their own resolution)")
      ->check(CLI::IsMember({"linear", "tune"}))
      ->capture_default_str();
  app.add_option("--out", s.out, "Folder for result.json, overlays and the linear classifier, classifier.safetensors; made where it is missing")->required();

  app.add_option("--size", s.size,
                 "Input in pixels: one number, or HEIGHTxWIDTH for inputs that are not square")
      ->capture_default_str()
      ->group("Data");
  add_map_options(app, s.map, "Data");
  app.add_option("--fit", s.fit,
                 "How images of another shape fit: 'stretch' as published, or 'pad' to keep theirs")
      ->check(CLI::IsMember({"stretch", "pad"}))
      ->capture_default_str()
      ->group("Data");
  app.add_option("--channels", s.channels, "Channels of the backbone's images")
      ->check(CLI::Range(Index{1}, Index{1024}))
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
  app.add_flag("--no-augment", s.no_augment, "No resized crops and flips in training; with --by tune no flips, turns and changes of light")
      ->group("Training");
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
      ->check(CLI::IsMember({"f32", "bf16", "auto", "tf32"}))
      ->capture_default_str()
      ->group("Training");
  add_crop_tuning_options(app, s.tuning, "Training the whole backbone (--by tune)", 1, "");
  app.add_option("--seed", s.seed, "Seed of random weights, crops, and generated scenes")
      ->capture_default_str()
      ->group("Training");
  app.add_option("--overlays", s.overlays,
                 "Pictures of image, truth and prediction to write, spread over the split")
      ->check(CLI::Range(Index{0}, Index{1000000}))
      ->capture_default_str();
  add_read_options(app, s.read);
}

}  // namespace dssl::programs
