// What a pretraining run tells: metrics, options, progress, warnings.
#pragma once

#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <common/program.hpp>
#include <common/progress.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/train/report.hpp>
#include <pretrain/job.hpp>

namespace dssl::programs {

/// The files and the terminal of one run: everything of it that does not depend on the recipe.
class RunLog {
 public:
  using Json = nlohmann::ordered_json;

  /// `command`: the program's arguments, for options.json.
  RunLog(const Job& job, std::vector<std::string> command);

  /// Says what is about to run, and makes sure that there is room for it. No file is changed before the first
  /// step is done: until then a resume may turn out to be impossible. `steps_done`: 0, or where a resumed run
  /// stands. Throws `FileError`.
  void begin(std::string_view recipe, std::string_view backend, const MemoryPlan& plan, Index parameters,
             Index steps_done);

  /// Keeps the figures of a step; before the first, writes options.json and cuts metrics.jsonl back to where
  /// the run stands. Stops on Ctrl-C and at the end of the budget. Throws `FileError`.
  [[nodiscard]] Continue step(const StepReport& report);

  /// One line on stderr, the first time it is said.
  void warn(std::string_view message);

  /// Says how the run ended; gives the program's exit status.
  [[nodiscard]] int end(const RunSummary& summary);

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  [[nodiscard]] std::string x_metrics_path() const { return x_job.out + "/metrics.jsonl"; }
  void x_require_space(Index parameters) const;
  void x_open_files();
  void x_cut_metrics() const;
  void x_line(const std::string& text) const;

  const Job& x_job;
  std::vector<std::string> x_command;
  Interruption x_interruption;
  Json x_options;
  std::unique_ptr<std::FILE, CloseFile> x_metrics;
  std::optional<Progress> x_progress;
  std::set<std::string, std::less<>> x_warned;
  Index x_first_step = 0;
  std::string x_budget;  ///< which budget ended the run
};

}  // namespace dssl::programs
