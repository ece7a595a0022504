// The CUDA backend in float with the published relations, for the one source file that nvcc compiles to
// include.
#pragma once

#include <dssl/backend/cuda.cuh>

template class dssl::BasicCuda<float>;
template struct dssl::cuda::AttentionUnder<float, dssl::open_relation>;
template struct dssl::cuda::AttentionUnder<float, dssl::hidden_relation>;
template struct dssl::cuda::AttentionUnder<float, dssl::hidden_no_class_relation>;
template struct dssl::cuda::AttentionUnder<float, dssl::private_relation>;
template struct dssl::cuda::AttentionUnder<float, dssl::all_query_relation>;
