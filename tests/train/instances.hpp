// The kinds of steps that several tests take, on the oracle and in double: compiled once, by instances.cpp. Those on Cpu in
// float are in dssl::cpu.
#pragma once

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/instances.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_step.hpp>

#ifndef DSSL_TEST_INSTANCE
#define DSSL_TEST_INSTANCE extern template
#endif

namespace dssl::test {
using DenseKind = NetworkKindOf<DenseDino>;
using DinoKind = NetworkKindOf<Dino>;
using SampledKind = NetworkKindOf<FeatureMapDino>;
using PointsKind = NetworkKindOf<DenseDino::with_loss<PointLoss>>;
}  // namespace dssl::test

DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::test::DenseKind, dssl::Reference<double>>;
DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::test::DinoKind, dssl::Reference<double>>;
DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::test::SampledKind, dssl::Reference<double>>;
DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::test::PointsKind, dssl::Reference<double>>;
DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::test::DenseKind, dssl::Reference<float>>;
DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::test::DenseKind, dssl::BasicCpu<double>>;
DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::test::DinoKind, dssl::BasicCpu<double>>;
DSSL_TEST_INSTANCE class dssl::BasicTrainingStep<dssl::test::SampledKind, dssl::BasicCpu<double>>;
