// The ranks of a run that several processes share, as the environment and the command line say.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <dssl/core/communicator.hpp>

namespace dssl {
class MpiRanks;
class NcclRanks;
}

namespace dssl::programs {

/// What `--communicator` takes, and what it does.
inline constexpr const char* communicator_help =
    "Processes that share the run: mpi, those that mpirun or srun started; alone, this one; auto: mpi where it was started so";

/// This process among those that share the run. One object a program, from before the run to after the last word is said.
class RunRanks {
 public:
  RunRanks();
  RunRanks(const RunRanks&) = delete;
  RunRanks& operator=(const RunRanks&) = delete;
  ~RunRanks();

  /// `communicator`: auto, mpi or alone. Throws `OptionError` where it is mpi, or the process was started as one of several,
  /// in a program that was built without MPI; `RankError` where MPI counts other processes than the launcher started.
  void start(const std::string& communicator, double timeout_seconds);

  [[nodiscard]] Communicator communicator() const;
  /// Of ranks that compute on GPUs, each on its own of so many that are here: gives its number, 0 for one rank alone. Where the
  /// program was built with NCCL, `communicator` adds what lies in their memory there. All ranks call it.
  [[nodiscard]] int take_device(int devices);
  /// Threads of each rank where none were named: 0 for all, or of the processors that this one may run on, a share of those that
  /// other ranks may run on too.
  [[nodiscard]] int threads() const;
  /// "2 ranks, 2 of them on this machine, 1 thread each"; empty for one rank alone.
  [[nodiscard]] std::string describe() const;

  /// Of how many processes a launcher started this one, before anything is started: 1 without one.
  static int launched_size();

 private:
  std::unique_ptr<MpiRanks> x_mpi;
  std::unique_ptr<NcclRanks> x_nccl;
  double x_timeout_seconds = 0;
  Index x_allowed = 0;  // processors; 0: not known
  Index x_sharing = 1;  // ranks on them
};

}  // namespace dssl::programs
