// dssl-segment: how well a backbone segments, frozen by the published linear probe, or trained as a whole.
#include <CLI/CLI.hpp>

#include "common/program.hpp"
#include "segment/measure.hpp"
#include "segment/settings.hpp"

int main(int argc, char** argv) {
  CLI::App app(
      "Measures a backbone by segmentation: trains a linear classifier on its frozen patch tokens, or the whole backbone "
      "with one (--by tune), and prints the mean "
      "IoU on the evaluation split. Writes result.json and overlays (image, truth, prediction) to the output "
      "folder.",
      "dssl-segment");
  dssl::programs::SegmentSettings settings;
  dssl::programs::add_options(app, settings);
  return dssl::programs::run_program(app, argc, argv, [&] {
    settings.require_fitting(app);
    dssl::programs::measure_segmentation(settings);
    return 0;
  });
}
