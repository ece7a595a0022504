// The published kinds of steps and runs on Cuda, which several tests take: compiled once, by kinds.cpp.
#pragma once

#include <dssl/backend/cuda.hpp>
#include <dssl/instances.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_run.hpp>

#ifndef DSSL_TEST_INSTANCE
#define DSSL_TEST_INSTANCE extern template
#endif

DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::NetworkKindOf<dssl::DenseDino>, dssl::Cuda>;
DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::NetworkKindOf<dssl::Dino>, dssl::Cuda>;
DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::NetworkKindOf<dssl::FeatureMapDino>, dssl::Cuda>;
DSSL_TEST_INSTANCE class dssl::TrainingRun<dssl::NetworkKindOf<dssl::DenseDino>, dssl::Cuda>;
DSSL_TEST_INSTANCE class dssl::TrainingRun<dssl::NetworkKindOf<dssl::Dino>, dssl::Cuda>;
