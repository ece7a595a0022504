// dssl-classify: how well a frozen backbone tells classes of images apart.
#include <string>

#include <CLI/CLI.hpp>

#include <dssl/version.hpp>

#include "classify/measure.hpp"
#include "classify/settings.hpp"
#include "common/program.hpp"

int main(int argc, char** argv) {
  CLI::App app(
      "Measures a backbone by classification of whole images: weighted votes of the nearest training images, "
      "and linear "
      "classifiers on frozen features. Writes result.json and predictions.csv.",
      "dssl-classify");
  app.set_version_flag("--version", std::string(dssl::version_string));
  dssl::programs::ClassifySettings settings;
  dssl::programs::add_options(app, settings);
  return dssl::programs::run_program(app, argc, argv, [&] {
    dssl::programs::classify(settings);
    return 0;
  });
}
