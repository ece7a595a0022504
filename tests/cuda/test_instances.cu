// What the tests want of nvcc, beside the backend itself.
#include <dssl/loss/objective.hpp>
#include <dssl/loss/two_view_terms.hpp>

#include "cuda/test_instances.cuh"

// Sums of terms, and names of heads, which nvcc writes out again for the host's compiler.
static_assert(dssl::Objective<dssl::ImageAndPointLoss>);
static_assert(dssl::Objective<dssl::WeightedSum<dssl::ImageLevel, dssl::NtXent<dssl::simclr_projector, "pairs">>>);
template struct dssl::NtXent<dssl::simclr_projector, "pairs">;
