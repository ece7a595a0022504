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
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/mlp.hpp>
#include <dssl/nn/stochastic_depth.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_run.hpp>

DSSL_INSTANCE void dssl::save_backbone(const std::string&, std::span<const float>, const dssl::ParameterLayout&,
                                       const std::map<std::string, std::string>&, std::string_view);
DSSL_INSTANCE dssl::LoadedBackbone dssl::load_backbone(std::span<float>, const dssl::ParameterLayout&,
                                                       const dssl::TensorFile&, std::optional<std::string>);
DSSL_INSTANCE dssl::LoadedBackbone dssl::load_fresh_backbone(std::span<float>, const dssl::ParameterLayout&,
                                                             const dssl::TensorFile&, std::optional<std::string>);
// Of layers and of steps, whatever the kind.
DSSL_INSTANCE void dssl::draw_initial(std::span<float>, const dssl::ParameterSpec&, dssl::RandomStream&);
DSSL_INSTANCE double dssl::spread_of(dssl::MatrixView<float>, const dssl::Communicator&);
DSSL_INSTANCE std::vector<dssl::TensorView<float, 4>> dssl::place_views(dssl::Arena&, const dssl::BatchShape&);
DSSL_INSTANCE void dssl::sum_over_ranks(const Cpu&, const dssl::Communicator&, dssl::VectorView<float>, dssl::SentAs);
DSSL_INSTANCE void dssl::sum_parts_over_ranks(const Cpu&, const dssl::Communicator&, dssl::VectorView<float>,
                                              const dssl::RankPart&, dssl::SentAs);
DSSL_INSTANCE void dssl::gather_parts_over_ranks(const Cpu&, const dssl::Communicator&, dssl::VectorView<float>,
                                                 const dssl::RankPart&);
DSSL_INSTANCE void dssl::gather_over_ranks(const Cpu&, const dssl::Communicator&, dssl::MatrixView<float>,
                                           dssl::MatrixView<const float>, dssl::Index);
DSSL_INSTANCE dssl::DeviceTokenLayout dssl::DeviceTokenLayout::place(const Cpu&, dssl::Arena&, const dssl::TokenLayout&);
DSSL_INSTANCE void dssl::StochasticDepth<float>::set(const Cpu&, const dssl::TokenLayout&, std::span<const float>);
DSSL_INSTANCE dssl::ViTInputs<float> dssl::ViTInputs<float>::place(const Cpu&, dssl::Arena&, const dssl::ViTConfig&,
                                                                   const dssl::TokenLayout&,
                                                                   std::vector<dssl::TensorView<float, 4>>, dssl::Index);
DSSL_INSTANCE dssl::MlpActivations<float> dssl::MlpActivations<float>::take(dssl::Arena&, const dssl::MlpConfig&,
                                                                            dssl::MatrixView<const float>,
                                                                            dssl::MatrixView<float>, dssl::Index,
                                                                            const dssl::Communicator&);
DSSL_INSTANCE void dssl::mlp_forward(const Cpu&, const dssl::MlpActivations<float>&, const dssl::MlpParameters<const float>&,
                                     const dssl::MlpConfig&);
DSSL_INSTANCE void dssl::mlp_backward(const Cpu&, const dssl::MlpGradients<float>&, const dssl::MlpParameters<float>&,
                                      const dssl::MlpActivations<float>&, const dssl::MlpParameters<const float>&,
                                      const dssl::MlpConfig&);
DSSL_INSTANCE void dssl::detail::visit(const dssl::detail::FlatStates<float>&, const dssl::ParameterLayout&,
                                       const dssl::detail::StateVisitor<float>&);
DSSL_INSTANCE std::string dssl::detail::non_finite_parameter(const Cpu&, const dssl::OptimiserState<float>&,
                                                             const dssl::ParameterLayout&,
                                                             const dssl::detail::FlatStates<float>&);
DSSL_INSTANCE bool dssl::detail::finite_there(const Cpu&, const float*, dssl::Index);
// One relation serves every step without reference tokens, and those whose references are private.
DSSL_INSTANCE void dssl::vit_forward<dssl::private_relation>(
    const Cpu&, const ViTActivations<float>&, const ViTInputs<float>&, const ViTParameters<const float>&, const ViTConfig&,
    const TokenLayout&, const DeviceTokenLayout&, std::span<const BranchKeep<float>>, const IgnoreBlocks&);
DSSL_INSTANCE void dssl::vit_forward_references<dssl::private_relation>(
    const Cpu&, const ViTActivations<float>&, const ViTInputs<float>&, const ViTParameters<const float>&, const ViTConfig&,
    const TokenLayout&, const DeviceTokenLayout&);
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
