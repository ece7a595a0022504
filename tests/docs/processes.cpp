// A training that several processes share.
#include <dssl/dssl.hpp>

// [mpi include]
#include <dssl/backend/mpi.hpp>
// [mpi include end]

namespace snippets {

dssl::RunSummary train_with_others(const dssl::MemoryImages& images) {
  // [mpi]
  dssl::MpiRanks mpi;  // from MPI_Init to MPI_Finalize: before what talks through it, in the main function
  dssl::Trainer<dssl::DenseDino, dssl::Cpu> trainer{{.epochs = 100, .batch = 256, .ranks = mpi.communicator()}};
  return trainer.fit(images);  // on every rank; callbacks are called on all of them
  // [mpi end]
}

}  // namespace snippets
