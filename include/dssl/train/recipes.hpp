// Methods beside DenseDINO as recipes: each differs from DINO by its views, its loss and the widths of its MLPs.
// Tests: tests/train/two_view_terms.cpp, two_view_parity.cpp, masked_training.cpp, imitation_term.cpp, published_defaults.cpp.
#pragma once

#include <dssl/loss/dense_terms.hpp>
#include <dssl/loss/gram_term.hpp>
#include <dssl/loss/imitation_term.hpp>
#include <dssl/loss/pixel_term.hpp>
#include <dssl/loss/point_contrast.hpp>
#include <dssl/loss/spread_terms.hpp>
#include <dssl/loss/swapped_term.hpp>
#include <dssl/loss/two_view_terms.hpp>
#include <dssl/nn/mlp.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/views/masks.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/swav_views.hpp>
#include <dssl/views/two_views.hpp>

namespace dssl {

/// A published MLP whose widths are those of the recipe's head, so that `with_head` and programs can change them.
[[nodiscard]] constexpr MlpConfig by_head(MlpConfig config) {
  config.hidden = 0;
  config.out = 0;
  return config;
}

// The options of a recipe's trainer, `TrainerOptionsOf<Recipe>`, begin with the published views and weights of its terms.

/// The two views of a method, its loss, and the widths of its MLPs: `hidden` between layers, `out` at the end.
template <class Loss, Index Hidden, Index Out, class Views = TwoViews>
using TwoViewRecipe = Recipe<Dino::Backbone, Dino::Tokens, Views, Dino::Points, WeightedSum<Loss>,
                             ProjectionHead<HeadConfig{.hidden = Hidden, .bottleneck = Out}>>;

/// BYOL (Grill et al. 2020): a predictor's outputs held to an EMA teacher's projections of the other view.
using Byol = TwoViewRecipe<Cosine<Ema, by_head(byol_mlp), by_head(byol_mlp)>, 4096, 256>;

/// SimSiam (Chen and He 2021): the same without a teacher, targets without gradient.
using SimSiam = TwoViewRecipe<
    Cosine<StopGradient, by_head(simsiam_projector),
           MlpConfig{.hidden = 512, .out = 0, .hidden_bias = Bias::none, .last_bias = Bias::learned}>,
    2048, 2048, MocoViews>;

/// SimCLR (Chen et al. 2020): the other view of an image among all views of the batch.
using SimClr = TwoViewRecipe<NtXent<by_head(simclr_projector)>, 2048, 128, SimClrViews>;

/// SimCLR with reference tokens, which begin with what the image shows at their points: beside each image eight of its points,
/// each among all points of the batch, in equal parts. No publication; measured against the others: docs/results.md.
using DenseSimClr = Recipe<Dino::Backbone, ContentReferences<>, SimClrViews, RandomPoints<8>,
                           WeightedSum<NtXent<by_head(simclr_projector)>, PointNtXent<by_head(simclr_projector)>>,
                           ProjectionHead<HeadConfig{.hidden = 2048, .bottleneck = 128}>>;

/// DINOv2's prototypes for class tokens, and SimCLR's contrast of images and of points beside them, in equal parts.
struct LevelAndContrasts
    : WeightedSum<SinkhornImageLevel<>, NtXent<by_head(simclr_projector)>, PointNtXent<by_head(simclr_projector)>> {
  static Options published() {
    constexpr double third = 1.0 / 3;
    Options options;
    options.of<SinkhornImageLevel<>>().weight = third;
    options.of<NtXent<by_head(simclr_projector)>>().weight = third;
    options.of<PointNtXent<by_head(simclr_projector)>>().weight = third;
    return options;
  }
};

/// DenseDINO whose points are told apart in the place of being assigned to prototypes: references that begin with what the
/// image shows at their points, sixteen on a grid, each among all points of both global views of the batch, and images told
/// apart as well. Class tokens are assigned so that all prototypes get the same share, which keeps a young teacher from naming
/// all images alike. No publication; measured against the others: docs/results.md.
using ContrastDenseDino = LocalDenseDino::with_loss<LevelAndContrasts>::with_points<GridPoints<4>>;

/// MoCo v2 (Chen et al. 2020): among keys of earlier batches.
using MocoV2 = TwoViewRecipe<QueueContrast<by_head(moco_v2_projector)>, 2048, 128, MocoViews>;

/// MoCo v3 (Chen et al. 2021): among the teacher's projections of the batch, behind a predictor.
using MocoV3 = TwoViewRecipe<InfoNce<by_head(moco_v3_projector), by_head(moco_v3_predictor)>, 4096, 256>;

/// Barlow Twins (Zbontar et al. 2021): the correlation of both views' features held to the identity.
using BarlowTwins = TwoViewRecipe<CrossCorrelation<by_head(barlow_projector)>, 8192, 8192>;

/// VICReg (Bardes et al. 2022): features alike, of some variance, no two of them alike.
using VicReg = TwoViewRecipe<VarianceCovariance<by_head(vicreg_expander)>, 8192, 8192>;

/// DenseCL's loss: MoCo v2's, and that of patches, each at half its weight.
struct DenseClLoss : WeightedSum<QueueContrast<by_head(moco_v2_projector)>, DenseContrast<by_head(moco_v2_projector)>> {
  static Options published() {
    Options options;
    options.of<QueueContrast<by_head(moco_v2_projector)>>().weight = 0.5;
    options.of<DenseContrast<by_head(moco_v2_projector)>>().weight = 0.5;
    return options;
  }
};

/// DenseCL (Wang et al. 2021): MoCo v2, and its patches among keys of earlier images.
using DenseCl = Recipe<Dino::Backbone, Dino::Tokens, MocoViews, Dino::Points, DenseClLoss,
                       ProjectionHead<HeadConfig{.hidden = 2048, .bottleneck = 128}>>;

/// SwAV (Caron et al. 2020): all views predict the prototypes that the two global ones are assigned to.
using Swav = Recipe<Dino::Backbone, Dino::Tokens, SwavViews, Dino::Points,
                    WeightedSum<SwappedAssignment<StopGradient, by_head(swav_projector)>>,
                    ProjectionHead<HeadConfig{.hidden = 2048, .bottleneck = 128, .prototypes = 3000}>>;

/// PixPro (Xie et al. 2021), without its instance branch: patches held to those that lie near them in the other view.
using PixPro = Recipe<Dino::Backbone, Dino::Tokens, TwoViews, Dino::Points,
                      WeightedSum<PixelConsistency<by_head(pixpro_projector), by_head(pixpro_transform)>>,
                      ProjectionHead<HeadConfig{.hidden = 4096, .bottleneck = 256}>>;

/// DINO's views with some patches of the global ones masked for the student, as DINOv2 masks them.
template <class Loss>
using MaskedRecipe = Dino::with_views<Masked<MultiCrop<>>>::with_loss<Loss>;

/// iBOT (Zhou et al. 2022): DINO, and masked patches held to what the teacher makes of them. Both levels have heads of their
/// own (the published code shares one unless told otherwise), and masks are DINOv2's blocks.
using Ibot = MaskedRecipe<WeightedSum<ImageLevel, IbotLevel>>;

/// DINOv2 (Oquab et al. 2024): prototypes of class tokens and masked patches assigned by Sinkhorn-Knopp, and class tokens
/// kept apart. Heads are separate, as published for larger models; `SharedMaskedLevel` has one for both. LayerScale is the
/// backbone's (`ViTConfig::layer_scale`), rates by layer and clipping by part are the optimiser's (`RateOptions`, `ClipOver`):
/// with them it trains as published, number for number. Test: tests/train/dinov2_parity.cpp.
using DinoV2 = MaskedRecipe<WeightedSum<SinkhornImageLevel<>, SinkhornMaskedLevel<>, KoLeo>>;

/// DINOv2's terms, and similarities of patches held to a copy of the teacher as DINOv3's (Simeoni et al. 2025) are. With the
/// backbone's options (rotary positions, keys without bias, `local_class_norm`) and heads' `plain_prototypes` a step is
/// DINOv3's as published, number for number; its copy's larger views no generator makes yet. Test: tests/train/
/// dinov3_parity.cpp.
using DinoV2Gram = MaskedRecipe<WeightedSum<SinkhornImageLevel<>, SinkhornMaskedLevel<>, KoLeo, Gram<>>>;

/// Distillation from features: class tokens and maps of two views held to those of a larger network whose weights are given
/// (`teach_with`), each through a linear adapter. No publication is its reference; views are BYOL's.
template <class TeacherBackbone>
using DistilledFrom = Recipe<Dino::Backbone, Dino::Tokens, TwoViews, Dino::Points,
                             WeightedSum<Imitate<Imitated::class_level, Frozen<TeacherBackbone>>,
                                         Imitate<Imitated::map, Frozen<TeacherBackbone>>>,
                             Dino::Head>;
/// A ViT-S/16 held to a ViT-B/16.
using Distilled = DistilledFrom<ViT<vit_base16>>;

}  // namespace dssl
