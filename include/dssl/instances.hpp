// What dssl::cpu holds compiled beside the kernels: the published kinds of network on Cpu, with backbones of any size, and
// the published views. A program that includes it, as dssl.hpp does, compiles none of these.
#pragma once

#include <dssl/core/compiled.hpp>

#if defined(DSSL_INSTANCE)
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/feature_instances.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_run.hpp>

DSSL_INSTANCE void dssl::save_backbone(const std::string&, std::span<const float>, const dssl::ParameterLayout&,
                                       const std::map<std::string, std::string>&, std::string_view);
DSSL_INSTANCE dssl::LoadedBackbone dssl::load_backbone(std::span<float>, const dssl::ParameterLayout&,
                                                       const dssl::TensorFile&, std::optional<std::string>);
DSSL_INSTANCE dssl::LoadedBackbone dssl::load_fresh_backbone(std::span<float>, const dssl::ParameterLayout&,
                                                             const dssl::TensorFile&, std::optional<std::string>);
// One relation serves every step without reference tokens, and those whose references are private.
DSSL_INSTANCE void dssl::vit_forward<dssl::private_relation>(
    const Cpu&, const ViTActivations<float>&, const ViTInputs<float>&, const ViTParameters<const float>&, const ViTConfig&,
    const TokenLayout&, const DeviceTokenLayout&, std::span<const BranchKeep<float>>, const IgnoreBlocks&);
DSSL_INSTANCE void dssl::vit_backward<dssl::private_relation>(
    const Cpu&, const ViTParameters<float>&, const BlockGradients<float>&, MatrixView<const float>, const ViTActivations<float>&,
    const ViTInputs<float>&, const ViTParameters<const float>&, const ViTConfig&, const TokenLayout&, const DeviceTokenLayout&,
    std::span<const BranchKeep<float>>, bool);
DSSL_INSTANCE class dssl::BasicTrainingStep<dssl::NetworkKindOf<dssl::DenseDino>, dssl::Cpu>;
DSSL_INSTANCE class dssl::BasicTrainingStep<dssl::NetworkKindOf<dssl::Dino>, dssl::Cpu>;
DSSL_INSTANCE class dssl::BasicTrainingStep<dssl::NetworkKindOf<dssl::FeatureMapDino>, dssl::Cpu>;
DSSL_INSTANCE class dssl::TrainingRun<dssl::NetworkKindOf<dssl::DenseDino>, dssl::Cpu>;
DSSL_INSTANCE class dssl::TrainingRun<dssl::NetworkKindOf<dssl::Dino>, dssl::Cpu>;
DSSL_INSTANCE class dssl::TrainingRun<dssl::NetworkKindOf<dssl::FeatureMapDino>, dssl::Cpu>;
#endif
