// dssl-pretrain: pretrains a vision transformer on unlabelled images.
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <common/output_files.hpp>
#include <common/program.hpp>
#include <common/ranks.hpp>
#include <dssl/core/error.hpp>
#include <dssl/data/few_bits.hpp>
#include <dssl/data/voc.hpp>
#include <dssl/io/atomic_file.hpp>
#include <pretrain/command_line.hpp>
#include <pretrain/job.hpp>
#include <pretrain/monitor_files.hpp>
#include <pretrain/recipes.hpp>
#include <pretrain/run_log.hpp>

namespace {

using namespace dssl::programs;

/// Throws `FileError` where something would be written over what is read. A checkpoint that is gone on from may be the
/// one that is written: it is held in memory by then.
void require_output_apart(const Job& job, const std::optional<MonitorFiles>& monitor) {
  const OutputFiles output({job.checkpoint_path(), job.teacher_path(), job.best_path(), job.out + "/options.json",
                            job.out + "/metrics.jsonl"});
  output.require_other_than("--data", job.data);
  output.require_other_than_all("--data", job.files());
  if (!job.split.empty()) output.require_other_than("--split", dssl::VocFolder(job.data, job.split).list_name());
  output.require_outside("--second", job.second);
  output.require_outside("--point-weights", job.points.weights);
  for (const auto& [option, file] : {std::pair{"--camera", &job.camera}, {"--between", &job.between}, {"--second-camera", &job.second_camera}}) {
    if (!file->empty()) output.require_other_than(option, *file);
  }
  if (!job.init.empty()) output.require_other_than_weights("--init", job.init);
  if (!job.teacher.empty()) output.require_other_than_weights("--teacher", job.teacher);
  if (monitor) monitor->require_apart(output);
}

/// Throws `FileError` where the folder of a run is in use or holds another one. Rank 0 alone looks, and claims it.
dssl::FolderClaim claimed_folder(const Job& job) {
  dssl::FolderClaim claim =
      claim_output_folder(job.out, {"checkpoint.safetensors", "teacher.safetensors", "best.safetensors", "options.json",
                                    "metrics.jsonl"});
  if (job.resume.empty() && !job.overwrite && std::filesystem::exists(job.checkpoint_path())) {
    throw dssl::FileError(
        job.checkpoint_path(),
        "is the checkpoint of an earlier run; --resume goes on with it, --overwrite begins anew");
  }
  std::error_code ignored;
  if (!job.resume.empty() && !job.overwrite && std::filesystem::exists(job.checkpoint_path()) &&
      !std::filesystem::equivalent(job.resume, job.checkpoint_path(), ignored)) {
    throw dssl::FileError(job.checkpoint_path(), dssl::join("is the checkpoint of another run than ", job.resume,
                                                            "; --overwrite replaces that run, or use another --out"));
  }
  if (job.resume.empty() && !job.overwrite && std::filesystem::exists(job.best_path())) {
    throw dssl::FileError(job.best_path(),
                          "holds the best weights of an earlier run; --overwrite begins anew");
  }
  return claim;
}

int pretrain(CommandLine& line, RunRanks& ranks, const std::vector<std::string>& command) {
  const Job job = line.job(ranks);
  const bool first = job.options.ranks.first();
  const std::optional<MonitorFiles> monitor =
      job.monitor.empty() ? std::nullopt : std::optional<MonitorFiles>(job.monitor);
  if (first) require_output_apart(job, monitor);
  const dssl::FolderClaim claim = first ? claimed_folder(job) : dssl::FolderClaim();
  RunLog log(job, command);
  if (!first) return log.end(recipe_of(job).run(job, log));
  if (const std::string few = dssl::few_bits_warning(job.files()); !few.empty()) log.warn(few);
  if (monitor) {
    if (const std::string shared = monitor->shared_warning(job.files()); !shared.empty()) log.warn(shared);
  }
  for (const std::string& option : line.without_effect()) {
    log.warn(dssl::join(option, " has no effect with --recipe ", job.recipe));
  }
  if (const std::string left = line.rate_left(); !left.empty()) log.warn(left);
  return log.end(recipe_of(job).run(job, log));
}

}  // namespace

int main(int argc, char** argv) {
  RunRanks ranks;
  CommandLine line;  // its job has what carries bytes between ranks, which ends first
  const auto words = [&line](const std::exception& error) {
    return words_of(error, [&line](std::string message, std::string_view field) { return line.in_options_of_program(std::move(message), field); });
  };
  const auto body = [&] { return pretrain(line, ranks, std::vector<std::string>(argv, argv + argc)); };
  return run_program(line.app(), argc, argv, [&] { return on_all_ranks(ranks, body, words); }, words);
}
