// What cuda.hpp declares, compiled by the host's compiler for the stand-in.
#include <dssl/backend/cuda/instantiate.cuh>

#include "cuda/test_instances.cuh"

template class dssl::BasicCuda<double>;
template struct dssl::cuda::AttentionUnder<double, dssl::open_relation>;
template struct dssl::cuda::AttentionUnder<double, dssl::hidden_relation>;
template struct dssl::cuda::AttentionUnder<double, dssl::hidden_no_class_relation>;
template struct dssl::cuda::AttentionUnder<double, dssl::private_relation>;
template struct dssl::cuda::AttentionUnder<double, dssl::all_query_relation>;
template struct dssl::cuda::AttentionUnder<double, dssl::test::gap_relation>;
template struct dssl::cuda::AttentionUnder<double, dssl::test::lonely_relation>;
