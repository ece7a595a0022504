#include <common/ranks.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdint>

#include <sched.h>
#include <unistd.h>

#ifdef DSSL_WITH_MPI
#include <dssl/backend/mpi.hpp>
#endif
#ifdef DSSL_WITH_NCCL
#include <dssl/backend/nccl.hpp>
#endif
#include <dssl/core/error.hpp>

#include <common/launched.hpp>

namespace dssl {
#ifndef DSSL_WITH_MPI
class MpiRanks {};
#endif
#ifndef DSSL_WITH_NCCL
class NcclRanks {};
#endif
}  // namespace dssl

namespace dssl::programs {
namespace {

#ifdef DSSL_WITH_MPI
std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(1000 * seconds));
}

/// The processors that this process may run on; none where the system does not say.
cpu_set_t allowed_processors() {
  cpu_set_t out;
  CPU_ZERO(&out);
  if (::sched_getaffinity(0, sizeof out, &out) != 0) CPU_ZERO(&out);
  return out;
}
#endif

}  // namespace

RunRanks::RunRanks() = default;
RunRanks::~RunRanks() = default;

void RunRanks::start(const RankSettings& settings) {
  const bool wanted = settings.communicator == "mpi" || (settings.communicator == "auto" && launched_size() > 1);
  if (!wanted) return;
#ifdef DSSL_WITH_MPI
  x_timeout_seconds = settings.timeout_seconds;
  x_mpi = std::make_unique<MpiRanks>(milliseconds_of(settings.timeout_seconds),
                                     [](const std::string& words) { std::fprintf(stderr, "%s\n", words.c_str()); });
  const Communicator ranks = x_mpi->communicator();
  if (launched_size() > 1 && ranks.size() != launched_size()) {
    throw RankError(join("this process was started as one of ", launched_size(), ", but MPI counts ", ranks.size(),
                         "; expected the mpirun (or srun --mpi) of the MPI library that this program was built with"));
  }
  const cpu_set_t own = allowed_processors();
  x_allowed = CPU_COUNT(&own);
  // Of all machines, which have as many ranks with these processors each.
  Index alike = 0;
  for (const cpu_set_t& other : ranks.all_say(own)) alike += CPU_EQUAL(&own, &other) ? 1 : 0;
  x_sharing = std::max(Index{1}, alike * x_mpi->ranks_here() / ranks.size());
#else
  throw OptionError("communicator", settings.communicator,
                    join("alone: this program was built without MPI (Debian: libopenmpi-dev), and was started as one of ",
                         launched_size(), " processes"));
#endif
}

Communicator RunRanks::communicator() const {
#ifdef DSSL_WITH_NCCL
  if (x_nccl) return x_nccl->communicator();
#endif
#ifdef DSSL_WITH_MPI
  if (x_mpi) return x_mpi->communicator();
#endif
  return {};
}

int RunRanks::device([[maybe_unused]] int devices) const {
#ifdef DSSL_WITH_MPI
  // By srun a rank may see its own alone.
  if (x_mpi) return static_cast<int>(x_mpi->rank_here()) % std::max(1, devices);
#endif
  return 0;
}

void RunRanks::join_devices([[maybe_unused]] int device) {
#ifdef DSSL_WITH_NCCL
  if (!communicator().alone()) {
    x_nccl = std::make_unique<NcclRanks>(x_mpi->communicator(), device, milliseconds_of(x_timeout_seconds));
  }
#endif
}

int RunRanks::threads() const {
#ifdef DSSL_WITH_MPI
  if (x_mpi && x_mpi->ranks_here() > 1 && x_allowed > 0) return static_cast<int>(std::max(Index{1}, x_allowed / x_sharing));
#endif
  return 0;
}

std::string RunRanks::describe() const {
#ifdef DSSL_WITH_MPI
  if (x_mpi && !communicator().alone()) {
    const Index all = ::sysconf(_SC_NPROCESSORS_ONLN);
    return join(communicator().size(), " by MPI, ", x_mpi->ranks_here(), " of them on this machine",
                x_allowed > 0 && x_allowed < all
                    ? join("; this one may use ", x_allowed, " of ", all, " processors (mpirun --bind-to none: what its shell may)")
                    : std::string(),
                x_nccl ? "; their GPUs talk by NCCL" : "");
  }
#endif
  return {};
}

}  // namespace dssl::programs
