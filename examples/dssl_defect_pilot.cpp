// dssl-defect-pilot: what normal images and a few labels make of finding defects, in one report.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <dssl/core/error.hpp>
#include <dssl/data/few_bits.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/version.hpp>

#include "common/output_files.hpp"
#include "common/program.hpp"
#include "defect_pilot/report.hpp"
#include "defect_pilot/settings.hpp"
#include "defect_pilot/study.hpp"

namespace {

using namespace dssl::programs;
using dssl::Index;
using dssl::join;

/// Pretrains with dssl-pretrain, which lies beside this program, on the images that banks and heads learn
/// from, neither those held out for a threshold nor the test's; gives the teacher's file.
std::string pretrained(const PilotSettings& s, const PilotSets& sets) {
  const std::string list = s.out + "/pretraining.txt";
  std::string lines;
  Index count = 0;
  for (const Inspected* set : {&sets.normal, &sets.defects}) {
    for (Index i = 0; i < set->size(); ++i, ++count)
      lines += std::filesystem::absolute(set->name(i)).string() + "\n";
  }
  dssl::write_bytes(list, std::as_bytes(std::span(lines)));
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "dssl-pretrain";
  const std::string folder = s.out + "/pretraining";
  // Views of the size that patches are read at; 16 is a multiple of every architecture's patch.
  const auto [height, width] = dssl::extents_of("size", s.backbone.size);
  const Index global = std::max<Index>(16, std::min(height, width) / 16 * 16);
  const Index local = std::max<Index>(16, global / 2 / 16 * 16);
  std::vector<std::string> words{program,
                                 "--data",
                                 list,
                                 "--arch",
                                 s.backbone.arch,
                                 "--channels",
                                 join(s.backbone.channels),
                                 "--epochs",
                                 join(s.pretrain_epochs),
                                 "--batch",
                                 join(std::min<Index>(32, std::max<Index>(1, count / 2))),
                                 "--views-global",
                                 join(global),
                                 "--views-local",
                                 join(local),
                                 "--prototypes",
                                 "2048",
                                 "--backend",
                                 s.backbone.backend,
                                 "--threads",
                                 join(s.backbone.threads),
                                 "--precision",
                                 s.backbone.precision,
                                 "--seed",
                                 join(s.backbone.seed),
                                 "--white",
                                 join(s.backbone.read.white),
                                 "--largest-pixels",
                                 join(s.backbone.read.largest_pixels),
                                 "--largest-bytes",
                                 join(s.backbone.read.largest_bytes),
                                 "--out",
                                 folder};
  if (!s.backbone.read.orient) words.emplace_back("--no-orient");
  if (const dssl::PixelScale& pixels = s.backbone.published.pixels; pixels != dssl::PixelScale{}) {
    words.insert(words.end(), {"--mean", dssl::detail::number_list(pixels.mean, ","), "--deviation",
                               dssl::detail::number_list(pixels.deviation, ",")});
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::fflush(stdout);
  pid_t child = 0;
  const int problem = ::posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments.data(), environ);
  if (problem != 0) throw dssl::FileError(program, join("cannot be run: ", std::strerror(problem)));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throw dssl::Error(join("pretraining: ", std::strerror(errno)));
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw dssl::Error("pretraining failed; no report was written");
  return folder + "/teacher.safetensors";
}

/// Throws `FileError` where something would be written over what is read.
void require_output_apart(const PilotSettings& s, const PilotSets& sets) {
  const OutputFiles output({s.out + "/result.json", s.out + "/report.html", s.out + "/pretraining.txt"});
  for (const auto& [option, given] : {std::pair("--normal", &s.normal),
                                      {"--defects", &s.defects},
                                      {"--test-normal", &s.test_normal},
                                      {"--test-defects", &s.test_defects}}) {
    output.require_other_than_given(option, *given);
  }
  for (const Inspected* set : {&sets.normal, &sets.held_out, &sets.defects, &sets.test_normal, &sets.test_defects}) {
    output.require_other_than_all("the images", *set);
    for (Index i = 0; i < set->size(); ++i) {
      for (const std::string& mask : set->files().truth_names(i)) output.require_other_than("--masks", mask);
      for (const std::string& mask : set->files().foreground_names(i)) output.require_other_than("--foreground", mask);
    }
  }
  if (!s.backbone.weights.empty() && !s.backbone.random_weights())
    output.require_other_than_weights("--weights", s.backbone.weights);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "A pilot for finding defects: from normal images and some images with masked defects, one HTML report "
      "that says how "
      "many defects are missed without labels and with 1, 5, 10, 50 or all of them, at what speed, with heat "
      "maps of the "
      "best and worst cases, in other light, and beside random weights and plain differences.",
      "dssl-defect-pilot");
  app.set_version_flag("--version", std::string(dssl::version_string));
  PilotSettings s;
  add_options(app, s);
  return run_program(app, argc, argv, [&] {
    s.validate();
    // Whatever can be wrong with settings and images shows before hours of pretraining.
    const PilotSets sets = open_pilot_sets(s);
    require_usable(s);
    require_output_apart(s, sets);
    const dssl::FolderClaim claim = claim_output_folder(s.out, {"result.json", "report.html", "pretraining.txt"});
    if (const std::string few = dssl::few_bits_warning(dssl::ImagesOf(sets.normal)); !few.empty())
      print_error("dssl-defect-pilot", "warning: " + few);
    for (const Inspected* set : {&sets.normal, &sets.held_out, &sets.defects, &sets.test_normal, &sets.test_defects}) {
      if (const std::string& without = set->files().without_foreground(); !without.empty())
        print_error("dssl-defect-pilot", "warning: " + without);
    }
    const std::string weights = s.pretrain_epochs > 0 ? pretrained(s, sets) : s.backbone.weights;
    const Interruption interruption;
    const Study study = run_study(s, sets, weights, interruption);
    nlohmann::ordered_json result = study.json();
    result["settings"] = s.json();
    result["version"] = dssl::version_string;
    write_json(s.out + "/result.json", result);
    for (const Inspected* set : {&sets.defects, &sets.test_defects}) {
      for (const std::string& text : set->files().findings().texts()) print_error("dssl-defect-pilot", "warning: " + text);
    }
    for (const std::string& text : study.warnings()) print_error("dssl-defect-pilot", "warning: " + text);
    const std::string html = pilot_report(s, sets, study);
    dssl::write_bytes(s.out + "/report.html", std::as_bytes(std::span(html)));
    std::printf("%s\n%s/report.html\n", study.relied_on().c_str(), s.out.c_str());
    return 0;
  });
}
