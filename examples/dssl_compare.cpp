// dssl-compare: one training step by all that can compute it, side by side.
#include <cstdio>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include <dssl/core/error.hpp>
#include <dssl/version.hpp>

#include "common/output_files.hpp"
#include "common/program.hpp"
#include "compare/measure.hpp"
#include "compare/settings.hpp"
#include "compare/table.hpp"

namespace {

using namespace dssl::programs;

int run(const CompareSettings& s) {
  s.validate();
  if (!s.out.empty()) OutputFiles({s.out}).require_writable();  // not after all the turns
  const Comparison comparison = compare(s);
  std::fputs(comparison_text(s, comparison).c_str(), stdout);
  if (!s.out.empty()) write_json(s.out, comparison_json(s, comparison));
  if (comparison.any()) return 0;
  print_error("dssl-compare", "none of the combinations can run here");
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Times one training step by every combination of backends, products, precisions and numbers of threads, in turn, "
      "and holds its loss against the oracle's: a table in Markdown, and JSON. Combinations that cannot run here are "
      "listed with the reason.",
      "dssl-compare");
  app.set_version_flag("--version", std::string(dssl::version_string));
  CompareSettings settings;
  add_options(app, settings);
  return run_program(app, argc, argv, [&] { return run(settings); });
}
