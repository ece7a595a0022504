// The whole of what nvcc compiles for a program with the CUDA backend.
#include <dssl/backend/cuda/instantiate.cuh>
