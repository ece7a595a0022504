#include <dssl/backend/cuda/instantiate.cuh>
