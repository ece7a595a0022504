// What the tests want of nvcc, beside the backend itself.
#include "cuda/test_instances.cuh"
