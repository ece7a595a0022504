// The ranks of a run that several processes share, as the environment and the command line say.
#pragma once

#include <exception>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {
class MpiRanks;
class NcclRanks;
}

namespace dssl::programs {

/// What the command line says of the processes that share the work.
struct RankSettings {
  std::string communicator = "auto";  ///< auto, mpi or alone
  double timeout_seconds = 1800;      ///< that ranks wait for each other
};

/// `--communicator` and `--rank-timeout`. `work`: what the processes share.
inline void add_rank_options(CLI::App& app, RankSettings& settings, const std::string& work, const std::string& group) {
  app.add_option("--communicator", settings.communicator,
                 "Processes that share the " + work + ": mpi, those that mpirun or srun started; alone, this one; auto: mpi where it was started so")
      ->check(CLI::IsMember({"auto", "mpi", "alone"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--rank-timeout", settings.timeout_seconds, "Seconds that a process waits for the others before the " + work + " ends")
      ->check(CLI::Range(1.0, 1e6))
      ->capture_default_str()
      ->group(group);
}

/// This process among those that share the run. One object a program, from before the run to after the last word is said.
class RunRanks {
 public:
  RunRanks();
  RunRanks(const RunRanks&) = delete;
  RunRanks& operator=(const RunRanks&) = delete;
  ~RunRanks();

  /// Throws `OptionError` where the communicator is mpi, or the process was started as one of several, in a program that was
  /// built without MPI; `RankError` where MPI counts other processes than the launcher started.
  void start(const RankSettings& settings);

  [[nodiscard]] Communicator communicator() const;
  /// Of so many GPUs on this machine the one of this rank; 0 for one rank alone.
  [[nodiscard]] int device(int devices) const;
  /// Of ranks with a GPU each, this one's number: where the program was built with NCCL, `communicator` adds what lies in their
  /// memory there. All ranks call it.
  void join_devices(int device);
  /// Threads of each rank where none were named: 0 for all, or of the processors that this one may run on, a share of those that
  /// other ranks may run on too.
  [[nodiscard]] int threads() const;
  /// "2 ranks, 2 of them on this machine, 1 thread each"; empty for one rank alone.
  [[nodiscard]] std::string describe() const;

 private:
  std::unique_ptr<MpiRanks> x_mpi;
  std::unique_ptr<NcclRanks> x_nccl;
  double x_timeout_seconds = 0;
  Index x_allowed = 0;  // processors; 0: not known
  Index x_sharing = 1;  // ranks on them
};

/// body() on each rank, which tells the others where it fails, in `words(error)`: the first alone throws then, and says what went
/// wrong, whoever's error it was. The others end quietly with the status that the error has by `run_program`.
template <class Body, class Words>
[[nodiscard]] int on_all_ranks(const RunRanks& ranks, const Body& body, const Words& words) {
  try {
    return body();
  } catch (const std::exception& error) {
    ranks.communicator().leave(words(error));
    if (ranks.communicator().first()) throw;
    return dynamic_cast<const OptionError*>(&error) != nullptr ? 2 : 1;
  }
}

}  // namespace dssl::programs
