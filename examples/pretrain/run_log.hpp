// What a pretraining run tells: metrics, options, progress, warnings.
#pragma once

#include <cstddef>
#include <cstdio>
#include <functional>
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
#include <dssl/monitor/reference_locality.hpp>
#include <dssl/train/report.hpp>
#include <dssl/train/trainer.hpp>
#include <pretrain/job.hpp>

namespace dssl {
class BestWeights;
}

namespace dssl::programs {

class HeldOut;

/// The files and the terminal of one run: everything of it that does not depend on the recipe. Of ranks that share a run the
/// first has files and tells; the others only warn, and stop on a signal.
class RunLog {
 public:
  using Json = nlohmann::ordered_json;

  /// `command`: the program's arguments, for options.json.
  RunLog(const Job& job, std::vector<std::string> command);
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;
  ~RunLog();

  /// Says what is about to run, and makes sure that there is room for it. No file is changed before the first
  /// step is done: until then a resume may turn out to be impossible. `steps_done`: 0, or where a resumed run
  /// stands. `options`: the numbers of the run by name. Opens the monitor. Throws `FileError`, `OptionError`, `DataError`, `CheckpointError`.
  void begin(std::string_view recipe, std::string_view backend, const MemoryPlan& plan, Index parameters,
             Index steps_done, Json options);

  /// Has the teacher's reference tokens looked at by `look`, after every `every`-th epoch and the last.
  void look_at_references(std::function<LocalityFigures(const BackboneWeights<float>&)> look, Index every);

  /// Keeps the figures of a step, and those of the teacher on held-out images where it is time to look; keeps
  /// the best weights. Before the first step, writes options.json and cuts metrics.jsonl back to where the
  /// run stands. Stops on Ctrl-C and at the end of the budget. Throws `FileError`.
  [[nodiscard]] Continue step(const StepReport& report,
                              const std::function<BackboneWeights<float>()>& teacher);

  /// One line of what is about to run.
  void note(const std::string& text) const { x_line(text); }

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
  void x_open_monitor(bool resumed);
  /// The figures of held-out images, for metrics.jsonl.
  [[nodiscard]] Json x_look(const StepReport& report, const BackboneWeights<float>& weights);
  /// How local the teacher's references are, for metrics.jsonl; a warning where they stay blind.
  [[nodiscard]] Json x_locality(const StepReport& report, const BackboneWeights<float>& weights);
  void x_line(const std::string& text) const;
  [[nodiscard]] bool x_first() const { return x_job.options.ranks.first(); }

  const Job& x_job;
  std::vector<std::string> x_command;
  std::string x_problem;  // why metrics cannot be written any more
  std::optional<Interruption> x_interruption;  // from the first step on: before it a signal ends the program
  Json x_options;
  std::unique_ptr<std::FILE, CloseFile> x_metrics;
  std::optional<Progress> x_progress;
  std::set<std::string, std::less<>> x_warned;
  Index x_first_step = 0;
  std::unique_ptr<HeldOut> x_held_out;  ///< none without --monitor
  std::unique_ptr<BestWeights> x_best;  ///< none without --keep-best
  std::function<LocalityFigures(const BackboneWeights<float>&)> x_look_at_references;  ///< none without reference tokens
  Index x_locality_every = 0;           ///< epochs
  std::string x_locality_note;          ///< the last look at references, for the progress line
  bool x_blind = false;                 ///< they were warned of
  std::string x_monitor_note;           ///< the last look, for the progress line
  std::string x_budget;                 ///< which budget ended the run
};

}  // namespace dssl::programs
