// A training that several processes share.
#include <dssl/dssl.hpp>

// [mpi include]
#include <dssl/backend/mpi.hpp>
// [mpi include end]
#include <dssl/backend/cuda.hpp>
// [nccl include]
#include <dssl/backend/nccl.hpp>
// [nccl include end]

namespace snippets {

dssl::RunSummary train_with_others(const dssl::MemoryImages& images) {
  // [mpi]
  dssl::MpiRanks mpi;  // from MPI_Init to MPI_Finalize: before what talks through it, in the main function
  dssl::Trainer<dssl::DenseDino, dssl::Cpu> trainer{{.epochs = 100, .batch = 256, .ranks = mpi.communicator()}};
  return trainer.fit(images);  // on every rank; callbacks are called on all of them
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
