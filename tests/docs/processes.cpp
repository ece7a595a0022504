// A training that several processes share.
#include <cstdio>
#include <exception>

#include <dssl/dssl.hpp>

// [mpi include]
#include <dssl/backend/mpi.hpp>
// [mpi include end]
#include <dssl/backend/cuda.hpp>
// [nccl include]
#include <dssl/backend/nccl.hpp>
// [nccl include end]

namespace snippets {

int train_with_others(const dssl::MemoryImages& images) {
  // [mpi]
  dssl::MpiRanks mpi;  // from MPI_Init to MPI_Finalize: before what talks through it, in the main function
  try {
    dssl::Trainer<dssl::DenseDino, dssl::Cpu> trainer{{.epochs = 100, .batch = 256, .ranks = mpi.communicator()}};
    trainer.fit(images);  // on every rank; callbacks are called on all of them
  } catch (const std::exception& error) {  // while MPI lives: the end of `mpi` is the program's, where a rank has left
    mpi.communicator().leave(error.what());
    if (mpi.communicator().first()) std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
  // [mpi end]
}

dssl::RunSummary train_on_gpus(const dssl::MpiRanks& mpi, const dssl::MemoryImages& images) {
  // [nccl]
  const int device = static_cast<int>(mpi.rank_here());
  dssl::NcclRanks nccl(mpi.communicator(), device);  // on every rank, each with a device of its own
  dssl::Trainer<dssl::DenseDino, dssl::Cuda> trainer({.epochs = 100, .batch = 256, .ranks = nccl.communicator()},
                                                     dssl::Cuda({.device = device}));
  // [nccl end]
  return trainer.fit(images);
}

}  // namespace snippets
