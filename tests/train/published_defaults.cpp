// What the options of a recipe begin with: its published views and weights.
#include <type_traits>

#include "catch.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/reference.hpp>
#include <dssl/loss/spread_terms.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/trainer.hpp>

using namespace dssl;

// Recipes that publish nothing of their own share one type of options.
static_assert(std::is_same_v<TrainerOptionsOf<DenseDino>, TrainerOptions>);
static_assert(std::is_same_v<TrainerOptionsOf<Dino>, TrainerOptions>);
static_assert(std::is_same_v<TrainerOptionsOf<FeatureMapDino>, TrainerOptions>);

TEST_CASE("options begin with the recipe's published views") {
  CHECK(TrainerOptions{}.views == MultiCropOptions{});
  CHECK(TrainerOptionsOf<Byol>{}.views == byol_view_options());
  CHECK(TrainerOptionsOf<MocoV3>{}.views == byol_view_options());
  CHECK(TrainerOptionsOf<BarlowTwins>{}.views == byol_view_options());
  CHECK(TrainerOptionsOf<VicReg>{}.views == byol_view_options());
  CHECK(TrainerOptionsOf<SimSiam>{}.views == moco_view_options());
  CHECK(TrainerOptionsOf<MocoV2>{}.views == moco_view_options());
  CHECK(TrainerOptionsOf<DenseCl>{}.views == moco_view_options());
  CHECK(TrainerOptionsOf<SimClr>{}.views == simclr_view_options());
  CHECK(TrainerOptionsOf<Swav>{}.views == swav_view_options());
  // What is said takes their place, and the view generator alone decides.
  CHECK(TrainerOptionsOf<Byol>{.epochs = 3, .views = {.locals = 1}}.views.locals == 1);
  CHECK(TrainerOptionsOf<DenseDino::with_views<TwoViews>>{}.views == byol_view_options());
  CHECK(TrainerOptionsOf<Byol::with_views<MultiCrop<>>>{}.views == MultiCropOptions{});
}

TEST_CASE("options begin with the published weights of terms") {
  const TrainerOptionsOf<DenseCl> dense;
  CHECK(dense.loss.of<QueueContrast<by_head(moco_v2_projector)>>().weight == 0.5);
  CHECK(dense.loss.of<DenseContrast<by_head(moco_v2_projector)>>().weight == 0.5);
  const TrainerOptionsOf<ContrastDenseDino> told;
  CHECK(told.views == MultiCropOptions{});
  const auto of_third = [](const auto& slot) { return slot.weight == Approx(1.0 / 3); };
  CHECK(of_third(told.loss.of<SinkhornImageLevel<>>()));
  CHECK(told.loss.of<SinkhornImageLevel<>>().options.all_views);
  CHECK(of_third(told.loss.of<NtXent<by_head(simclr_projector)>>()));
  CHECK(of_third(told.loss.of<PointNtXent<by_head(simclr_projector)>>()));
  CHECK(told.loss.of<PointNtXent<by_head(simclr_projector)>>().options.temperature == 0.5);
  CHECK(TrainerOptionsOf<MocoV2>{}.loss.of<QueueContrast<by_head(moco_v2_projector)>>().weight == 1);
  using Spread = Dino::with_loss<WeightedSum<SinkhornImageLevel<>, KoLeo>>;
  CHECK(TrainerOptionsOf<Spread>{}.loss.of<KoLeo>().weight == 0.1);
  CHECK(TrainerOptionsOf<Spread>{}.loss.of<SinkhornImageLevel<>>().weight == 1);
}

TEST_CASE("a trainer has the recipe's views") {
  constexpr ViTConfig size{.image = 8, .patch = 4, .width = 8, .depth = 1, .heads = 2, .mlp_ratio = 2};
  using Small = DenseDino::with_backbone<ViT<size>>::with_head<ProjectionHead<HeadConfig{.hidden = 6, .bottleneck = 5, .prototypes = 6}>>;
  using Mine = Small::with_views<SwavViews>;
  TrainerOptionsOf<Mine> options{.batch = 2};
  options.views.global_size = {8, 8};
  options.views.local_size = {4, 4};
  const Trainer<Mine, Reference<float>> trainer(options);
  CHECK(trainer.options().views == options.views);
  CHECK(trainer.step().options().shape.views.size() == 8);
}
