// Every term of the library, in sums that tests make small. A term that is added and in none of these sums fails "the
// catalogue holds every term", and so does one that may have targets of its own and is in none with them; one whose slopes are
// not taken alone fails "slopes of every term are taken alone and in a sum", and so does one that is in no sum (catalogue.cpp).
#pragma once

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/loss/alignment_term.hpp>
#include <dssl/loss/dense_terms.hpp>
#include <dssl/loss/gram_term.hpp>
#include <dssl/loss/imitation_term.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/loss/pixel_term.hpp>
#include <dssl/loss/point_contrast.hpp>
#include <dssl/loss/point_terms.hpp>
#include <dssl/loss/pooled_term.hpp>
#include <dssl/loss/spread_terms.hpp>
#include <dssl/loss/swapped_term.hpp>
#include <dssl/loss/two_view_terms.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/recipes.hpp>

namespace dssl::test {

/// A sum of terms, and the tokens that it is read of.
template <class LossT, class TokensT = ClassToken>
struct Listed {
  using Loss = LossT;
  using Tokens = TokensT;
  std::string_view name;
  std::vector<std::string> unfelt{};  ///< tensors whose gradient is 0: by a batch norm, or as rows are compared
};

/// A frozen teacher: wider and less deep than the student of the tests, with registers, which it has not.
inline constexpr ViTConfig listed_teacher{
    .image = 8, .patch = 2, .width = 12, .depth = 1, .heads = 3, .mlp_ratio = 2, .channels = 1, .registers = 2};

/// SimSiam's predictor at the widths of the tests' head.
inline constexpr MlpConfig listed_predictor{.hidden = 4, .out = 0, .hidden_bias = Bias::none, .last_bias = Bias::learned};

using ListedByol = WeightedSum<Cosine<Ema, by_head(byol_mlp), by_head(byol_mlp)>>;
using ListedSimSiam = WeightedSum<Cosine<StopGradient, by_head(simsiam_projector), listed_predictor>>;
using ListedSimClr = WeightedSum<NtXent<by_head(simclr_projector)>>;
using ListedPointContrast = WeightedSum<NtXent<by_head(simclr_projector)>, PointNtXent<by_head(simclr_projector)>>;
/// The terms of `LevelAndContrasts`.
using ListedTold = WeightedSum<SinkhornImageLevel<>, NtXent<by_head(simclr_projector)>, PointNtXent<by_head(simclr_projector)>>;
using ListedMocoV3 = WeightedSum<InfoNce<by_head(moco_v3_projector), by_head(moco_v3_predictor)>>;
using ListedBarlow = WeightedSum<CrossCorrelation<by_head(barlow_projector)>>;
using ListedVicReg = WeightedSum<VarianceCovariance<by_head(vicreg_expander)>>;
using ListedDenseCl = WeightedSum<QueueContrast<by_head(moco_v2_projector)>, DenseContrast<by_head(moco_v2_projector)>>;
using ListedPlaced =
    WeightedSum<PooledAgreement, DenseContrast<by_head(moco_v2_projector), Partners::geometry>, UncentredImageLevel>;
using ListedSwav = WeightedSum<SwappedAssignment<StopGradient, by_head(swav_projector)>>;
using ListedSwapped = WeightedSum<SwappedAssignment<Ema, by_head(swav_projector)>>;
using ListedPixPro = WeightedSum<PixelConsistency<by_head(pixpro_projector), by_head(pixpro_transform)>>;
using ListedIbot = WeightedSum<ImageLevel, IbotLevel>;
using ListedDinoV2 = WeightedSum<SinkhornImageLevel<>, SinkhornMaskedLevel<>, KoLeo, Gram<>>;
using ListedShared = WeightedSum<CentredImageLevel, SharedMaskedLevel<CentredImageLevel>, Gram<Ema>>;
using ListedPoints = WeightedSum<PointLevel, PointAgreement<>, MaskedLevel>;
using ListedAlignment = WeightedSum<KernelAlignment>;
using ListedDistilled = WeightedSum<Imitate<Imitated::class_level, Frozen<ViT<listed_teacher>>>,
                                    Imitate<Imitated::map, Frozen<ViT<listed_teacher>>>>;
/// As many terms as a sum takes, of class tokens, points and maps: each adds to the rows of those before it.
using ListedTogether =
    WeightedSum<KernelAlignment, DenseContrast<by_head(moco_v2_projector)>, PointLevel,
                PixelConsistency<by_head(pixpro_projector), by_head(pixpro_transform)>,
                SwappedAssignment<Ema, by_head(swav_projector)>, KoLeo, ImageLevel,
                Imitate<Imitated::map, Frozen<ViT<listed_teacher>>>>;

// The list, in parts that a test file can compile. "backbone.norm.bias" shifts all rows alike.

inline auto listed_two_views() {
  const std::string shift = "backbone.norm.bias";
  return std::tuple{
      Listed<ListedByol>{"BYOL", {shift, "projector.0.bias", "predictor.0.bias", "projector.3.bias"}},
      Listed<ListedSimSiam>{"SimSiam"},
      Listed<ListedSimClr>{"SimCLR", {shift}},
      Listed<ListedPointContrast, ContentReferences<>>{"SimCLR of images and of references", {shift}},
      Listed<ListedMocoV3>{"MoCo v3", {shift}},
      Listed<ListedBarlow>{"Barlow Twins", {shift}},
      Listed<ListedVicReg>{"VICReg", {shift, "projector.0.bias", "projector.3.bias"}},
  };
}
inline auto listed_dense() {
  return std::tuple{
      Listed<ListedDenseCl>{"DenseCL"},
      Listed<ListedAlignment>{"kernel alignment", {"backbone.norm.bias"}},
      Listed<ListedPlaced>{"pooled maps, a contrast of patches that lie near each other, prototypes without a centre"},
  };
}
inline auto listed_swapped() {
  return std::tuple{Listed<ListedSwav>{"SwAV"},
                    Listed<ListedSwapped>{"SwAV, targets of a teacher", {"backbone.norm.bias", "projector.0.bias"}}};
}
inline auto listed_pixels() {
  return std::tuple{Listed<ListedPixPro>{"PixPro", {"backbone.norm.bias", "pixel_projector.0.bias"}}};
}
inline auto listed_masked() {
  return std::tuple{Listed<ListedIbot>{"iBOT"}, Listed<ListedDinoV2>{"DINOv2, anchored"}};
}
inline auto listed_frozen() { return std::tuple{Listed<ListedDistilled>{"distilled"}}; }
inline auto listed_rest() {
  return std::tuple{
      Listed<ListedShared>{"one head for both levels"},
      Listed<ListedPoints, ContentReferences<>>{"points with their content, beside masked patches"},
  };
}
inline auto listed() {
  return std::tuple_cat(listed_two_views(), listed_dense(), listed_swapped(), listed_pixels(), listed_masked(), listed_frozen(),
                        listed_rest());
}

// What of every term's slopes, alone and in a sum, the list has not, in such parts too.

inline auto slopes_two_views() {
  return std::tuple{
      Listed<WeightedSum<QueueContrast<by_head(moco_v2_projector)>>>{"MoCo v2"},
      Listed<WeightedSum<KoLeo>>{"KoLeo"},
      Listed<WeightedSum<ImageLevel, KoLeo>>{"DINO and KoLeo, who reads the rows after it"},
      Listed<WeightedSum<SinkhornImageLevel<>, KoLeo>>{"prototypes assigned by Sinkhorn-Knopp"},
      Listed<ListedTold, ContentReferences<>>{"prototypes assigned by Sinkhorn-Knopp, and contrasts of images and of references"},
      Listed<WeightedSum<ImageLevel, PointNtXent<by_head(simclr_projector)>>, FeatureMap>{"DINO, and a contrast of reads of the map"},
      Listed<WeightedSum<ImageLevel, NtXent<by_head(simclr_projector)>, KoLeo>>{"three terms, each adding to the rows of those before"},
  };
}
inline auto slopes_dense() { return std::tuple{Listed<WeightedSum<DenseContrast<by_head(moco_v2_projector)>>>{"mined patches"}}; }
inline auto slopes_masked() { return std::tuple{Listed<WeightedSum<MaskedLevel>>{"masked patches"}}; }
inline auto slopes_frozen() {
  return std::tuple{Listed<WeightedSum<Imitate<Imitated::class_level, Frozen<ViT<listed_teacher>>>>>{"class tokens"},
                    Listed<WeightedSum<Imitate<Imitated::map, Frozen<ViT<listed_teacher>>>>>{"maps"}};
}
inline auto slopes_rest() {
  return std::tuple{
      Listed<WeightedSum<PointAgreement<>>, FeatureMap>{"points that agree"},
      Listed<WeightedSum<PointNtXent<by_head(simclr_projector)>>, FeatureMap>{"points among all"},
      Listed<ListedTogether, FeatureMap>{"as many terms as a sum takes", {"pixel_projector.0.bias", "projector.0.bias"}},
  };
}
inline auto slopes_alone() {
  return std::tuple{
      Listed<WeightedSum<ImageLevel>>{"DINO"},
      Listed<WeightedSum<CentredImageLevel>>{"class tokens of DINOv2"},
      Listed<WeightedSum<SinkhornImageLevel<>>>{"the same, by Sinkhorn-Knopp"},
      Listed<WeightedSum<UncentredImageLevel>>{"the same, by softmax alone"},
      Listed<WeightedSum<PointLevel>, FeatureMap>{"points"},
      Listed<WeightedSum<IbotLevel>>{"masked patches of iBOT"},
      Listed<WeightedSum<SinkhornMaskedLevel<>>>{"masked patches of DINOv2"},
      Listed<WeightedSum<PooledAgreement>>{"pooled maps"},
      Listed<WeightedSum<DenseContrast<by_head(moco_v2_projector), Partners::geometry>>>{"patches that lie near each other"},
      Listed<WeightedSum<Gram<Ema>>>{"Gram matrices"},
  };
}
/// Two projectors of two sizes, which have names of their own.
using ListedApart = WeightedSum<DenseContrast<by_head(moco_v2_projector)>, CrossCorrelation<by_head(barlow_projector)>>;
inline auto slopes_summed() {
  return std::tuple{
      Listed<WeightedSum<ImageLevel, Cosine<Ema, by_head(byol_mlp), by_head(byol_mlp)>>>{
          "DINO and BYOL", {"projector.0.bias", "predictor.0.bias", "projector.3.bias"}},
      Listed<WeightedSum<ImageLevel, InfoNce<by_head(moco_v3_projector), by_head(moco_v3_predictor)>>>{"DINO and MoCo v3"},
      Listed<WeightedSum<ImageLevel, VarianceCovariance<by_head(vicreg_expander)>>>{
          "DINO and VICReg", {"projector.0.bias", "projector.3.bias"}},
      Listed<ListedApart>{"DenseCL's dense half and Barlow Twins"},
  };
}
inline auto slopes() {
  return std::tuple_cat(slopes_two_views(), slopes_dense(), slopes_masked(), slopes_frozen(), slopes_rest(), slopes_alone(),
                        slopes_summed());
}

/// Calls `visit(entry)` for each.
template <class List, class F>
void for_each_listed(const List& list, F&& visit) {
  std::apply([&](const auto&... entry) { (visit(entry), ...); }, list);
}

}  // namespace dssl::test
