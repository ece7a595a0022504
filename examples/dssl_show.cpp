// dssl-show: pictures of what a backbone sees, and of what it is shown.
#include <CLI/CLI.hpp>

#include "common/program.hpp"
#include "show/pictures.hpp"
#include "show/settings.hpp"

int main(int argc, char** argv) {
  CLI::App app("Draws what a backbone sees in images, several on one sheet, as a PNG.", "dssl-show");
  dssl::programs::ShowSettings settings;
  dssl::programs::add_options(app, settings);
  return dssl::programs::run_program(app, argc, argv, [&] {
    dssl::programs::show(settings);
    return 0;
  });
}
