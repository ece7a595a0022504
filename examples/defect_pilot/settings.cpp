// The command line of dssl-defect-pilot: options, their help, their JSON.
#include "defect_pilot/settings.hpp"

#include <dssl/core/error.hpp>

namespace dssl::programs {

void PilotSettings::validate() const {
  backbone.validate();
  if (backbone.weights.empty() == (pretrain_epochs == 0)) {
    throw OptionError("weights", backbone.weights.empty() ? "not given" : backbone.weights,
                      "a file of weights or 'random', or else --pretrain with a number of epochs");
  }
  if (test_normal.empty() != test_defects.empty())
    throw OptionError("test-normal", test_normal.empty() ? "not given" : "given alone",
                      "both test sets, or neither");
  if (!(false_alarms > 0 && false_alarms < 1))
    throw OptionError("false-alarms", false_alarms, "above 0, below 1");
  const LookSettings plain{};
  if (!look.tiles && !choose) {
    if (look.scale != plain.scale) throw OptionError("scale", look.scale, "none without --tiles or --choose");
    if (look.overlap != plain.overlap) throw OptionError("overlap", look.overlap, "none without --tiles or --choose");
  }
  if (backbone.map.references() && tuning.steps > 0) {  // whose border and top are counted in whole patches
    throw OptionError("read", backbone.map.read, "patches with --tune-steps above 0, whose head is one of patches");
  }
  look.rules().validate();
  if (look.foreground().any() && backbone.fit == "pad" && tuning.steps > 0)  // where the image lies in its margins is told by what counts
    throw OptionError("fit", backbone.fit, "stretch with a foreground and --tune-steps above 0");
}

nlohmann::ordered_json PilotSettings::json() const {
  nlohmann::ordered_json object = backbone.json();
  object.update({{"normal", normal},
                 {"defects", defects},
                 {"test_normal", test_normal},
                 {"test_defects", test_defects},
                 {"images", images},
                 {"masks", masks},
                 {"foreground", foreground},
                 {"test_share", test_share},
                 {"false_alarms", false_alarms},
                 {"pretrain_epochs", pretrain_epochs},
                 {"labels", labels},
                 {"draws", draws},
                 {"pool", pool},
                 {"coreset", coreset},
                 {"smoothing", smoothing},
                 {"choose", choose},
                 {"choose_images", choose_images}});
  object.update(look_json(look));
  object.update(tuning.json());
  object["tune_draws"] = tune_draws;
  return object;
}

void add_options(CLI::App& app, PilotSettings& s) {
  add_backbone_options(app, s.backbone, false);
  add_map_options(app, s.backbone.map, "Backbone");
  app.add_option("--out", s.out, "Folder for report.html and result.json; made where it is missing")
      ->required();
  app.add_option("--title", s.title, "Title of the report")->capture_default_str();
  const std::string data =
      "Images (each a folder, or a text file with a name, or a name and a label, a line)";
  app.add_option("--normal", s.normal, "Normal images, in the order in which they were taken")
      ->required()
      ->group(data);
  app.add_option("--defects", s.defects, "Images with defects, likewise")->required()->group(data);
  app.add_option("--masks", s.masks,
                 "Folder of their masks, NAME.png, NAME_mask.png or a folder NAME of them; what is not 0 is a defect")
      ->required()
      ->group(data);
  app.add_option("--mask-threshold", s.mask_threshold,
                 "Values of masks above this are a defect's, 0 to 254 (default: 0, or of masks with many values half of "
                 "the largest)")
      ->check(CLI::Range(0, 254))
      ->group(data);
  app.add_option("--images", s.images, "Folder that names in lists are relative to (default: the list's own)")
      ->group(data);
  app.add_option("--test-normal", s.test_normal, "Normal images for the test, with --test-defects")
      ->group(data);
  app.add_option("--test-defects", s.test_defects, "Images with defects for the test")->group(data);
  app.add_option("--test-share", s.test_share,
                 "Or the share of each, from its end, that is kept for the test")
      ->check(CLI::Range(0.05, 0.9))
      ->capture_default_str()
      ->group(data);
  const std::string study = "Study";
  app.add_option("--pretrain", s.pretrain_epochs,
                 "Epochs of pretraining, without labels, on the images that banks and heads learn from, by "
                 "dssl-pretrain; in place of "
                 "--weights")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(study);
  app.add_option("--labels", s.labels,
                 "Numbers of labelled images, joined by commas; 0 and all come by themselves")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(study);
  app.add_option("--draws", s.draws, "Draws of labelled images for each number")
      ->check(CLI::Range(Index{1}, Index{1000}))
      ->capture_default_str()
      ->group(study);
  app.add_option("--false-alarms", s.false_alarms,
                 "Share of normal images that may raise an alarm at the threshold")
      ->capture_default_str()
      ->group(study);
  app.add_option("--pool", s.pool, "Normal patches that the bank is chosen from, at most")
      ->check(CLI::Range(Index{1}, Index{1} << 40))
      ->capture_default_str()
      ->group(study);
  app.add_option("--coreset", s.coreset, "Share of them that is kept")->capture_default_str()->group(study);
  app.add_option("--smoothing", s.smoothing,
                 "Standard deviation of the blur of heat maps in pixels of the input")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(study);
  add_look_options(app, s.look, s.foreground, study);
  const std::string tune = "Training the whole backbone on labelled images, beside the head on frozen features";
  add_crop_tuning_options(app, s.tuning, tune, 0, "; 0 leaves this path out");
  app.add_option("--tune-draws", s.tune_draws, "Draws of labelled images for each number that it is trained on, at most --draws")
      ->check(CLI::Range(Index{1}, Index{1000}))
      ->capture_default_str()
      ->group(tune);
  app.add_flag("--choose", s.choose,
               "Choose --tiles, --standardise-images, --flatten, --standardise-features, --border, --top and --free-of-size by defects that are pasted on "
               "normal images to learn from; no label and no test image is looked at, and what is given takes part")
      ->group(study);
  app.add_option("--choose-images", s.choose_images, "Normal images that are looked at for it, at most")
      ->check(CLI::Range(Index{10}, Index{1} << 30))
      ->capture_default_str()
      ->group(study);
  app.add_option("--shown", s.shown, "Best and worst cases shown of each kind")
      ->check(CLI::Range(Index{0}, Index{50}))
      ->capture_default_str()
      ->group(study);
}

}  // namespace dssl::programs
