// dssl-retrieve: what the patches of a frozen backbone know of classes, without training anything.
#include <string>

#include <CLI/CLI.hpp>

#include <dssl/version.hpp>

#include "common/program.hpp"
#include "common/ranks.hpp"
#include "retrieve/measure.hpp"
#include "retrieve/settings.hpp"

int main(int argc, char** argv) {
  CLI::App app(
      "Measures a backbone by segmentation without training: each patch gets the label of the nearest "
      "patches of the "
      "training split, and patches are clustered and the clusters named after classes. Prints the mean IoU "
      "on the "
      "evaluation split; writes result.json and overlays (image, truth, prediction).",
      "dssl-retrieve");
  app.set_version_flag("--version", std::string(dssl::version_string));
  dssl::programs::RetrieveSettings settings;
  dssl::programs::add_options(app, settings);
  dssl::programs::RunRanks ranks;
  const auto work = [&] {
    dssl::programs::retrieve(settings, ranks);
    return 0;
  };
  return dssl::programs::run_program(app, argc, argv, [&] { return dssl::programs::on_all_ranks(ranks, work, dssl::programs::words_of(app)); });
}
