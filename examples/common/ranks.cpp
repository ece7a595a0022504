#include <common/ranks.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <system_error>
#include <thread>

#include <unistd.h>

#ifdef DSSL_WITH_MPI
#include <dssl/backend/mpi.hpp>
#endif
#include <dssl/core/error.hpp>

#ifndef DSSL_WITH_MPI
namespace dssl {
class MpiRanks {};
}
#endif

namespace dssl::programs {
namespace {

/// The first of these variables that is a number; Open MPI, MPICH and Intel MPI, and Slurm's way to start either.
int number_of(std::initializer_list<const char*> names, int otherwise) {
  for (const char* const name : names) {
    const char* const text = std::getenv(name);
    if (text == nullptr) continue;
    int value = 0;
    const char* const end = text + std::strlen(text);
    if (std::from_chars(text, end, value).ptr == end && *text != '\0') return value;
  }
  return otherwise;
}

}  // namespace

RunRanks::RunRanks() = default;
RunRanks::~RunRanks() = default;

int RunRanks::launched_size() {
  if (const int size = number_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, 0); size > 0) return size;
  return std::getenv("PMIX_RANK") != nullptr ? number_of({"SLURM_STEP_NUM_TASKS"}, 1) : 1;
}
int RunRanks::launched_rank() { return number_of({"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"}, 0); }

void RunRanks::start(const std::string& communicator, [[maybe_unused]] double timeout_seconds) {
  const bool wanted = communicator == "mpi" || (communicator == "auto" && launched_size() > 1);
  if (!wanted) return;
#ifdef DSSL_WITH_MPI
  x_mpi = std::make_unique<MpiRanks>(std::chrono::milliseconds(static_cast<std::int64_t>(1000 * timeout_seconds)));
#else
  throw OptionError("communicator", communicator,
                    join("alone: this program was built without MPI (Debian: libopenmpi-dev), and was started as one of ",
                         launched_size(), " processes"));
#endif
}

Communicator RunRanks::communicator() const {
#ifdef DSSL_WITH_MPI
  if (x_mpi) return x_mpi->communicator();
#endif
  return {};
}

int RunRanks::threads() const {
#ifdef DSSL_WITH_MPI
  if (x_mpi && x_mpi->ranks_here() > 1) {
    const auto allowed = static_cast<long>(std::thread::hardware_concurrency());
    // Bound to processors of its own by the launcher: all of these.
    if (allowed < ::sysconf(_SC_NPROCESSORS_ONLN)) return 0;
    return static_cast<int>(std::max(1L, allowed / x_mpi->ranks_here()));
  }
#endif
  return 0;
}

std::string RunRanks::describe() const {
#ifdef DSSL_WITH_MPI
  if (x_mpi && !communicator().alone()) {
    const auto allowed = static_cast<long>(std::thread::hardware_concurrency()), all = ::sysconf(_SC_NPROCESSORS_ONLN);
    return join(communicator().size(), " by MPI, ", x_mpi->ranks_here(), " of them on this machine",
                allowed < all ? join("; the launcher binds each to ", allowed, " of ", all,
                                     " processors (mpirun --bind-to none: they share all)")
                              : std::string());
  }
#endif
  return {};
}

}  // namespace dssl::programs
