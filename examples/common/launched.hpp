// Of how many processes a launcher started this one, as its environment says: without MPI.
#pragma once

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <system_error>

namespace dssl::programs {

/// The first of these variables that is a number.
[[nodiscard]] inline int number_in_environment(std::initializer_list<const char*> names, int otherwise) {
  for (const char* const name : names) {
    const char* const text = std::getenv(name);
    if (text == nullptr) continue;
    int value = 0;
    const char* const end = text + std::strlen(text);
    if (std::from_chars(text, end, value).ptr == end && *text != '\0') return value;
  }
  return otherwise;
}

/// Of how many processes a launcher started this one, before anything is started: 1 without one. Open MPI, MPICH and Intel MPI,
/// and Slurm's way to start either.
[[nodiscard]] inline int launched_size() {
  if (const int size = number_in_environment({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, 0); size > 0) return size;
  // By srun, also without a plugin that MPI knows: then MPI counts one process, which is said.
  const bool by_srun = std::getenv("PMIX_RANK") != nullptr || std::getenv("SLURM_PROCID") != nullptr;
  return by_srun ? number_in_environment({"SLURM_STEP_NUM_TASKS"}, 1) : 1;
}

/// Which of them it is.
[[nodiscard]] inline int launched_rank() {
  return number_in_environment({"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"}, 0);
}

}  // namespace dssl::programs
