// dssl-defects: finds what does not look like normal images, or like its template.
#include <string>

#include <CLI/CLI.hpp>

#include <dssl/version.hpp>

#include "common/program.hpp"
#include "common/ranks.hpp"
#include "defects/inspect.hpp"
#include "defects/settings.hpp"

int main(int argc, char** argv) {
  CLI::App app(
      "Scores images by how far their patches are from those of normal images, or of a template: no labels "
      "are "
      "needed. A threshold is taken from normal images that were held out. Where masks or labels tell which "
      "images "
      "have defects, says what the scores are worth. Writes result.json, scores.jsonl, scores.csv, the bank "
      "of "
      "normal patches, and score maps.",
      "dssl-defects");
  app.set_version_flag("--version", std::string(dssl::version_string));
  dssl::programs::DefectSettings settings;
  dssl::programs::add_options(app, settings);
  dssl::programs::RunRanks ranks;
  const auto work = [&] {
    dssl::programs::inspect(settings, ranks);
    return 0;
  };
  return dssl::programs::run_program(app, argc, argv, [&] { return dssl::programs::on_all_ranks(ranks, work, dssl::programs::words_of(app)); });
}
