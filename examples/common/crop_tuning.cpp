// The options of `CropTuning`, with their help.
#include "common/crop_tuning.hpp"

namespace dssl::programs {

void add_crop_tuning_options(CLI::App& app, CropTuning& s, const std::string& group, Index least_steps,
                             const std::string& steps_help) {
  app.add_option("--crop", s.crop,
                 "Crops in training and windows afterwards, in pixels of the image: one number, or HEIGHTxWIDTH")
      ->capture_default_str()
      ->group(group);
  app.add_option("--crop-overlap", s.overlap, "Pixels that neighbouring windows share, at least")
      ->check(CLI::Range(Index{0}, Index{1} << 20))
      ->capture_default_str()
      ->group(group);
  app.add_option("--crop-scale", s.scale, "Factor that every image is resized by before it is cut into crops and windows")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(group);
  app.add_option("--balanced", s.balanced,
                 "Share of the crops that lie about labelled pixels of another class than the first; the rest are from "
                 "anywhere")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str()
      ->group(group);
  add_tuning_steps(app, s,
                   {.group = group,
                    .crops = ", at most",
                    .no_steps = steps_help,
                    .batch = "Crops a step, and windows at a time",
                    .head = "head",
                    .least_steps = least_steps});
  app.add_option("--look-every", s.look_every,
                 "Steps between two looks at held-out labelled images, which say how long to train")
      ->check(CLI::Range(Index{1}, Index{1000000000}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--patience", s.patience, "Of 20 and more labelled images: looks without a better one after which training ends")
      ->check(CLI::Range(Index{1}, Index{1000000000}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--folds", s.folds,
                 "Of fewer than 20 labelled images so many parts are held out in turn, for all the steps, before all "
                 "of them train")
      ->check(CLI::Range(Index{2}, Index{20}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--hold-out", s.hold_out,
                 "Of 20 and more the first of round(1 / share) blocks is held out once, and the weights of the best look are kept")
      ->check(CLI::Range(0.01, 0.5))
      ->capture_default_str()
      ->group(group);
}

std::vector<std::string> crop_tuning_options() {
  return {"--crop",        "--crop-overlap", "--crop-scale", "--balanced", "--tune-steps", "--tune-batch", "--tune-rate",
          "--layer-decay", "--look-every",   "--patience", "--folds",      "--hold-out"};
}

}  // namespace dssl::programs
