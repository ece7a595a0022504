// dssl-scenes: writes generated scenes with exact masks as a VOC folder.
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include <common/program.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/data/synthetic_voc.hpp>
#include <dssl/version.hpp>

int main(int argc, char** argv) {
  dssl::SyntheticOptions scenes;
  dssl::Index size = 128, train = 500, val = 100;
  std::string out;
  CLI::App app(
      "Writes generated scenes, textured objects on textured ground, with exact masks, as a VOC folder with "
      "the "
      "splits train and val.",
      "dssl-scenes");
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", std::string(dssl::version_string));
  app.add_option("--out", out, "Folder to write")->required()->option_text("DIR");
  app.add_option("--train", train, "Scenes of the split train")->check(CLI::Range(0, 10000000));
  app.add_option("--val", val, "Scenes of the split val")->check(CLI::Range(0, 10000000));
  app.add_option("--size", size, "Height and width in pixels");
  app.add_option("--classes", scenes.classes, "Class ids, the ground's 0 among them");
  app.add_option("--channels", scenes.channels, "3: colour, 1: grey");
  app.add_flag("--defects", scenes.defects, "Draws small defects and writes their masks");
  app.add_option("--seed", scenes.seed, "Seed of every random number");
  return dssl::programs::run_program(app, argc, argv, [&] {
    scenes.height = scenes.width = size;
    scenes.count = train + val;
    const dssl::SyntheticScenes source(scenes);
    dssl::programs::prepare_output_folder(out);
    dssl::write_voc(out, source, train, val);
    std::printf("%td scenes for training and %td for evaluation: %s\n", train, val, out.c_str());
    return 0;
  });
}
