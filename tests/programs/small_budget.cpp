// The rule of dssl-pretrain --preset small: every row of the table in docs/recipe.md, by numbers that were written by hand from it.
#include "catch.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/data/source.hpp>
#include <dssl/train/options.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/views/image.hpp>
#include <pretrain/small_budget.hpp>

using namespace dssl;
using namespace dssl::programs;

namespace {

/// As they would be typed: "--batch 16 --accumulate 1".
std::string typed(const std::vector<OptionWords>& options) {
  std::string out;
  for (const OptionWords& option : options) {
    out += join(out.empty() ? "" : " ", option.option);
    for (const std::string& word : option.words) out += join(" ", word);
  }
  return out;
}

/// One option's words.
std::string words_of(const std::vector<OptionWords>& options, std::string_view name) {
  std::string out;
  for (const OptionWords& option : options) {
    if (option.option != name) continue;
    for (const std::string& word : option.words) out += join(out.empty() ? "" : " ", word);
  }
  return out;
}

/// Photographs seen by nano8.
constexpr SmallBudgetFacts photographs{.images = 1080, .side = 300};
const RecipeFacts dense_contrast = facts_of<DenseSimClr>("densesimclr"), contrast = facts_of<SimClr>("simclr");
const RecipeFacts dense = facts_of<DenseDino>("densedino"), masked = facts_of<Ibot>("ibot"), assigned = facts_of<Swav>("swav");
const RecipeFacts told = facts_of<ContrastDenseDino>("densedino-contrast");

TEST_CASE("without prototypes") {
  const std::string numbers =
      "--epochs 10 --weight-decay-end 0.1 --stochastic-depth 0 --batch 16 --accumulate 1 --lr 0.004 --warmup-epochs 1 "
      "--views-global 96 --global-scale 0.05 0.3 ";
  CHECK(typed(small_budget(dense_contrast, photographs)) == numbers + "--points 16 --sampler grid --projector-hidden 512 --projector-out 128");
  CHECK(typed(small_budget(contrast, photographs)) == numbers + "--projector-hidden 512 --projector-out 128");
}

TEST_CASE("with prototypes") {
  const std::string numbers =
      "--epochs 20 --weight-decay-end 0.1 --stochastic-depth 0 --batch 2 --accumulate 2 --lr 0.0128 --warmup-epochs 2 "
      "--views-global 96 --global-scale 0.1 0.6 --views-local 48 --locals 4 --local-scale 0.02 0.2 ";
  const std::string teacher = " --teacher-temp 0.02 --warmup-teacher-temp 0.02";
  CHECK(typed(small_budget(dense, photographs)) == numbers + "--points 4 --prototypes 512" + teacher + " --image-all-views true --momentum 0.996");
  CHECK(typed(small_budget(dino_facts(), photographs)) == numbers + "--prototypes 512" + teacher + " --image-all-views true --momentum 0.996");
  CHECK(typed(small_budget(masked, photographs)) == numbers + "--prototypes 512" + teacher + " --momentum 0.996");
  CHECK(typed(small_budget(assigned, photographs)) == numbers + "--prototypes 512");
}

TEST_CASE("with prototypes and a contrast") {
  CHECK(typed(small_budget(told, photographs)) ==
        "--epochs 20 --weight-decay-end 0.1 --stochastic-depth 0 --batch 8 --accumulate 1 --lr 0.0128 --warmup-epochs 2 "
        "--views-global 96 --global-scale 0.1 0.6 --views-local 48 --locals 4 --local-scale 0.02 0.2 --points 16 --sampler grid "
        "--prototypes 512 --teacher-temp 0.02 --warmup-teacher-temp 0.02 --momentum 0.996 --projector-hidden 512 --projector-out 128");
  for (const auto& [images, batch] : std::map<Index, std::string>{{2, "2"}, {16, "4"}, {31, "4"}, {32, "8"}, {9999, "8"}}) {
    CAPTURE(images);
    SmallBudgetFacts facts = photographs;
    facts.images = images;
    CHECK(words_of(small_budget(told, facts), "--batch") == batch);
    CHECK(words_of(small_budget(told, facts), "--accumulate") == "1");
  }
}

TEST_CASE("points on a grid where their number is not said") {
  SmallBudgetFacts facts = photographs;
  facts.points = true;
  for (const RecipeFacts& recipe : {dense_contrast, told}) {
    CHECK(words_of(small_budget(recipe, photographs), "--sampler") == "grid");
    CHECK(words_of(small_budget(recipe, facts), "--sampler").empty());
  }
  CHECK(words_of(small_budget(dense, photographs), "--sampler").empty());
  CHECK(words_of(small_budget(contrast, photographs), "--sampler").empty());
}

TEST_CASE("epochs and their warm-up by the number of images") {
  struct Row {
    Index images;
    std::string contrasted, warmup, assigned, assigned_warmup;
  };
  // 10 800 / N and 21 600 / N, at least 1; a tenth of them, at least 1, of fewer than 3 none.
  for (const Row& row : {Row{6, "1800", "180", "3600", "360"}, Row{540, "20", "2", "40", "4"}, Row{3600, "3", "1", "6", "1"},
                         Row{5400, "2", "0", "4", "1"}, Row{10800, "1", "0", "2", "0"}, Row{100000, "1", "0", "1", "0"}}) {
    CAPTURE(row.images);
    SmallBudgetFacts facts = photographs;
    facts.images = row.images;
    CHECK(words_of(small_budget(contrast, facts), "--epochs") == row.contrasted);
    CHECK(words_of(small_budget(contrast, facts), "--warmup-epochs") == row.warmup);
    CHECK(words_of(small_budget(dense, facts), "--epochs") == row.assigned);
    CHECK(words_of(small_budget(dense, facts), "--warmup-epochs") == row.assigned_warmup);
  }
  SmallBudgetFacts facts = photographs;
  facts.epochs = 50;
  CHECK(words_of(small_budget(contrast, facts), "--warmup-epochs") == "5");
  CHECK(words_of(small_budget(dense, facts), "--warmup-epochs") == "5");
}

TEST_CASE("batches by the number of images") {
  for (const auto& [images, batch] : std::map<Index, std::string>{{2, "2"}, {15, "2"}, {16, "4"}, {32, "8"}, {63, "8"}, {64, "16"}, {9999, "16"}}) {
    CAPTURE(images);
    SmallBudgetFacts facts = photographs;
    facts.images = images;
    CHECK(words_of(small_budget(contrast, facts), "--batch") == batch);
    CHECK(words_of(small_budget(contrast, facts), "--accumulate") == "1");
    CHECK(words_of(small_budget(dense, facts), "--batch") == "2");
    CHECK(words_of(small_budget(dense, facts), "--accumulate") == (images < 4 ? "1" : "2"));
  }
}

TEST_CASE("updates by the batch that is said") {
  for (const auto& [batch, accumulate] : std::map<Index, std::string>{{1, "4"}, {2, "2"}, {3, "1"}, {4, "1"}, {16, "1"}}) {
    CAPTURE(batch);
    SmallBudgetFacts facts = photographs;
    facts.batch = batch;
    CHECK(words_of(small_budget(dense, facts), "--batch") == join(batch));
    CHECK(words_of(small_budget(dense, facts), "--accumulate") == accumulate);
    CHECK(words_of(small_budget(contrast, facts), "--accumulate") == "1");
  }
}

TEST_CASE("batches that ranks divide") {
  struct Row {
    Index ranks;
    std::string contrasted, assigned, accumulate;
  };
  for (const Row& row : {Row{2, "16", "2", "2"}, Row{3, "15", "3", "1"}, Row{4, "16", "4", "1"}, Row{5, "15", "5", "1"}, Row{6, "18", "6", "1"},
                         Row{7, "14", "7", "1"}, Row{32, "32", "32", "1"}}) {
    CAPTURE(row.ranks);
    SmallBudgetFacts facts = photographs;
    facts.ranks = row.ranks;
    CHECK(words_of(small_budget(contrast, facts), "--batch") == row.contrasted);
    CHECK(words_of(small_budget(contrast, facts), "--accumulate") == "1");
    CHECK(words_of(small_budget(dense, facts), "--batch") == row.assigned);
    CHECK(words_of(small_budget(dense, facts), "--accumulate") == row.accumulate);
  }
}

TEST_CASE("rates are those of AdamW from drawn weights") {
  SmallBudgetFacts facts = photographs;
  facts.adamw = false;
  CHECK(words_of(small_budget(dense, facts), "--lr").empty());
  CHECK(words_of(small_budget(dense, facts), "--warmup-epochs") == "2");
  facts = photographs;
  facts.begun = true;
  CHECK(words_of(small_budget(dense, facts), "--lr").empty());
  CHECK(words_of(small_budget(dense, facts), "--warmup-epochs").empty());
}

TEST_CASE("views by the shorter side of the images") {
  struct Row {
    Index side, patch, view;
    std::string global, local, share, contrasted, local_share;
  };
  const std::string large = "0.1 0.6", contrasted = "0.05 0.3", large_local = "0.02 0.2";
  const std::string whole = "0.25 1", whole_local = "0.05 0.3";
  // From 4/3 of a view on crops are small; smaller images are shown whole, in whole patches.
  for (const Row& row : {Row{0, 8, 96, "96", "48", large, contrasted, large_local}, Row{128, 8, 96, "96", "48", large, contrasted, large_local},
                         Row{127, 8, 96, "96", "48", whole, whole, whole_local}, Row{95, 8, 96, "88", "40", whole, whole, whole_local},
                         Row{32, 8, 96, "32", "16", whole, whole, whole_local}, Row{9, 8, 96, "16", "8", whole, whole, whole_local},
                         Row{1000, 14, 224, "224", "112", large, contrasted, large_local}, Row{200, 16, 224, "192", "96", whole, whole, whole_local}}) {
    CAPTURE(row.side, row.patch, row.view);
    SmallBudgetFacts facts = photographs;
    facts.side = row.side;
    facts.patch = row.patch;
    facts.view = row.view;
    const std::vector<OptionWords> of_levels = small_budget(dense, facts), of_contrast = small_budget(contrast, facts);
    CHECK(words_of(of_levels, "--views-global") == row.global);
    CHECK(words_of(of_contrast, "--views-global") == row.global);
    CHECK(words_of(of_levels, "--views-local") == row.local);
    CHECK(words_of(of_levels, "--global-scale") == row.share);
    CHECK(words_of(of_contrast, "--global-scale") == row.contrasted);
    CHECK(words_of(of_levels, "--local-scale") == row.local_share);
    CHECK(words_of(of_contrast, "--locals").empty());
  }
}

TEST_CASE("a run that is gone on from keeps what was chosen where it began") {
  SmallBudgetFacts facts = photographs;
  std::vector<OptionWords> now = small_budget(dense, facts);
  facts = {.images = 100, .side = 50, .epochs = 37, .ranks = 3};
  const std::vector<OptionWords> begun = small_budget(dense, facts);
  keep_words_of_run(now, {{"option.epochs", "37"},
                          {"option.batch", "3"},
                          {"option.accumulate", "1"},
                          {"option.optimiser.warmup_epochs", "3"},
                          {"option.views.global_size.height", "48"},
                          {"option.views.global_area.low", "0.25"},
                          {"option.views.global_area.high", "1"},
                          {"option.views.local_size.height", "24"},
                          {"option.views.local_area.low", "0.05"},
                          {"option.views.local_area.high", "0.3"}});
  CHECK(typed(now) == typed(begun));
  keep_words_of_run(now, {{"step", "3"}});
  CHECK(typed(now) == typed(begun));
}

TEST_CASE("what hangs on images is in checkpoints by the names that options have there") {
  std::set<std::string> names;
  for_each_option(TrainerOptionsOf<DenseDino>{}, [&](const char* name, const auto& /*value*/) { names.insert(name); });
  for (const OptionWords& option : small_budget(dense, photographs)) {
    for (const std::string_view field : option.in_checkpoint) CHECK(names.contains(std::string(field)));
  }
}

/// Images of these sides, square and one row higher; of a side of 0 none can be read.
struct Squares {
  std::vector<Index> sides;
  [[nodiscard]] Index size() const { return static_cast<Index>(sides.size()); }
  [[nodiscard]] std::string name(Index i) const { return join("image ", i); }
  [[nodiscard]] AnyImage load(Index i) const {
    const Index side = sides[static_cast<std::size_t>(i)];
    if (side == 0) throw ImageError(name(i), "is damaged");
    return Image<std::uint8_t>(side + 1, side, 1);
  }
};

Index side_of(const std::vector<Index>& sides) {
  const Squares images{sides};
  return usual_side(SourceView(images));
}

TEST_CASE("the usual side is the median of nine at most") {
  CHECK(side_of({40}) == 40);
  CHECK(side_of({10, 50, 30}) == 30);
  CHECK(side_of({0, 0, 20}) == 20);
  CHECK(side_of({0, 0}) == 0);
  std::vector<Index> many(90, 7);  // every tenth is looked at
  for (std::size_t i = 0; i < many.size(); i += 10) many[i] = 60;
  CHECK(side_of(many) == 60);
}

}  // namespace
